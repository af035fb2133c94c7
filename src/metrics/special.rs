//! Special functions and the exact distributions built on them.
//!
//! The regularised incomplete beta function is evaluated here, not by `statrs`: its continued fraction stops
//! after 140 terms, too few for counts of 10⁵, and its inverse is good to about 1e-8 only.

use statrs::function::erf::{erfc, erfc_inv};
use statrs::function::gamma::ln_gamma;

/// Standard normal distribution function Φ(x).
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

/// Standard normal quantile Φ⁻¹(p); −∞ at 0 and +∞ at 1.
pub fn normal_quantile(p: f64) -> f64 {
    if p <= 0.0 {
        f64::NEG_INFINITY
    } else if p >= 1.0 {
        f64::INFINITY
    } else {
        -std::f64::consts::SQRT_2 * erfc_inv(2.0 * p)
    }
}

/// Continued fraction of the incomplete beta function, modified Lentz evaluation
/// (DLMF 8.17.22; Lentz 1976; Thompson & Barnett 1986). Needs O(√max(a, b)) terms.
fn beta_continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let guard = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..100_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        let change = d * c;
        h *= change;
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    h
}

/// ln B(a, b).
fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

fn beta_regularized_with(x: f64, a: f64, b: f64, ln_beta: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (a * x.ln() + b * (-x).ln_1p() - ln_beta).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_continued_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_continued_fraction(1.0 - x, b, a) / b
    }
}

/// Regularised incomplete beta function I_x(a, b) for a, b > 0, the distribution function of Beta(a, b).
pub fn beta_regularized(x: f64, a: f64, b: f64) -> f64 {
    beta_regularized_with(x, a, b, ln_beta(a, b))
}

/// Quantile of Beta(a, b): the x with I_x(a, b) = p, for a, b > 0. Newton steps on ln I over ln x (where the
/// function is concave, so they do not overshoot), kept inside a bisection bracket.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    if p > 0.5 {
        return 1.0 - beta_quantile(1.0 - p, b, a);
    }
    let ln_beta = ln_beta(a, b);
    let (mut low, mut high) = (0.0, 1.0);
    let mut x = a / (a + b);
    for _ in 0..300 {
        let value = beta_regularized_with(x, a, b, ln_beta);
        if value > p {
            high = x;
        } else {
            low = x;
        }
        // d ln I / d ln x = x · density / I.
        let x_density = (a * x.ln() + (b - 1.0) * (-x).ln_1p() - ln_beta).exp();
        let mut next = x * (-(value / p).ln() * value / x_density).exp();
        // Also catches NaN from an underflow of I or of the density.
        if !(next > low && next < high) {
            next = 0.5 * (low + high);
        }
        let done = (next - x).abs() <= 1e-15 * x;
        x = next;
        if done {
            break;
        }
    }
    x
}

/// P[Bin(n, p) ≥ k], exact through the incomplete beta function.
pub fn binomial_upper_tail(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 {
        1.0
    } else if k > n {
        0.0
    } else {
        beta_regularized(p, k as f64, (n - k + 1) as f64)
    }
}

/// Critical value t of Student's distribution with `degrees` of freedom: P[|T| ≥ t] = `tail`.
pub fn student_t_critical(tail: f64, degrees: f64) -> f64 {
    // P[|T| ≥ t] = I_x(ν/2, ½) with x = ν/(ν + t²).
    let x = beta_quantile(tail, 0.5 * degrees, 0.5);
    (degrees * (1.0 - x) / x).sqrt()
}
