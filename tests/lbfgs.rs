//! L-BFGS on functions whose minima are known.

mod common;
use common::gpu::Draw;
use contraleak::Error;
use contraleak::optim::Lbfgs;

fn tight() -> Lbfgs {
    Lbfgs { gradient_tolerance: 1e-10, value_tolerance: 0.0, ..Lbfgs::default() }
}

#[test]
fn rosenbrock() {
    for dimensions in [2, 10, 50] {
        let start: Vec<f64> = (0..dimensions).map(|i| if i % 2 == 0 { -1.2 } else { 1.0 }).collect();
        let found = tight()
            .minimize(start, |x, g| {
                g.fill(0.0);
                let mut value = 0.0;
                for i in 0..x.len() - 1 {
                    let (a, b) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
                    value += 100.0 * a * a + b * b;
                    g[i] += -400.0 * a * x[i] - 2.0 * b;
                    g[i + 1] += 200.0 * a;
                }
                value
            })
            .unwrap();
        assert!(found.converged && found.iterations < 10 * dimensions + 100, "{found:?}");
        // Chained Rosenbrock functions of more than three variables have a second minimum near x₀ = −1.
        let known = found.x.iter().all(|x| (x - 1.0).abs() < 1e-7);
        assert!(known || (dimensions > 3 && found.x[0] < 0.0 && found.gradient < 1e-8), "{found:?}");
    }
}

#[test]
fn quadratic_with_a_condition_of_ten_thousand() {
    // ½ Σ d_i (x_i − i)², rotated by a Householder reflection so that coordinates mix.
    let n = 40;
    let axis: Vec<f64> = {
        let mut draw = Draw(3);
        let v: Vec<f64> = (0..n).map(|_| draw.unit()).collect();
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        v.into_iter().map(|v| v / norm).collect()
    };
    let reflect = |x: &[f64]| -> Vec<f64> {
        let along: f64 = 2.0 * x.iter().zip(&axis).map(|(x, a)| x * a).sum::<f64>();
        x.iter().zip(&axis).map(|(x, a)| x - along * a).collect()
    };
    let curvature: Vec<f64> = (0..n).map(|i| 10f64.powf(4.0 * i as f64 / (n - 1) as f64)).collect();
    let centre: Vec<f64> = (0..n).map(|i| i as f64).collect();
    let minimum = reflect(&centre);
    let settings =
        Lbfgs { iterations: 5000, gradient_tolerance: 1e-7, value_tolerance: 0.0, ..Lbfgs::default() };
    let found = settings
        .minimize(vec![0.0; n], |x, g| {
            let y = reflect(x);
            let slope: Vec<f64> = (0..n).map(|i| curvature[i] * (y[i] - centre[i])).collect();
            g.copy_from_slice(&reflect(&slope));
            (0..n).map(|i| 0.5 * curvature[i] * (y[i] - centre[i]).powi(2)).sum()
        })
        .unwrap();
    assert!(found.converged, "{found:?}");
    for (got, want) in found.x.iter().zip(&minimum) {
        assert!((got - want).abs() < 1e-5, "{got} instead of {want}");
    }
}

/// Binary logistic regression with L2: value, gradient and Hessian at `w`.
fn logistic(rows: &[Vec<f64>], labels: &[f64], l2: f64, w: &[f64]) -> (f64, Vec<f64>, Vec<Vec<f64>>) {
    let (n, d) = (rows.len() as f64, w.len());
    let mut value = 0.5 * l2 * w.iter().map(|w| w * w).sum::<f64>();
    let mut gradient: Vec<f64> = w.iter().map(|w| l2 * w).collect();
    let mut hessian: Vec<Vec<f64>> =
        (0..d).map(|i| (0..d).map(|j| if i == j { l2 } else { 0.0 }).collect()).collect();
    for (x, y) in rows.iter().zip(labels) {
        let z: f64 = x.iter().zip(w).map(|(x, w)| x * w).sum();
        let p = 1.0 / (1.0 + (-z).exp());
        value += (z.max(0.0) + (-z.abs()).exp().ln_1p() - y * z) / n;
        for i in 0..d {
            gradient[i] += (p - y) * x[i] / n;
            for j in 0..d {
                hessian[i][j] += p * (1.0 - p) * x[i] * x[j] / n;
            }
        }
    }
    (value, gradient, hessian)
}

/// Gaussian elimination; the matrices here are positive definite.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        let (done, below) = a.split_at_mut(k + 1);
        let pivot = &done[k];
        for (offset, row) in below.iter_mut().enumerate() {
            let factor = row[k] / pivot[k];
            row.iter_mut().zip(pivot).skip(k).for_each(|(v, p)| *v -= factor * p);
            b[k + 1 + offset] -= factor * b[k];
        }
    }
    for k in (0..n).rev() {
        b[k] = (b[k] - (k + 1..n).map(|j| a[k][j] * b[j]).sum::<f64>()) / a[k][k];
    }
    b
}

#[test]
fn logistic_regression_ends_where_newton_ends() {
    let mut draw = Draw(11);
    let rows: Vec<Vec<f64>> = (0..80).map(|_| (0..6).map(|_| draw.unit()).collect()).collect();
    let labels: Vec<f64> =
        rows.iter().map(|x| f64::from(u8::from(x[0] - 0.5 * x[3] + 0.7 * draw.unit() > 0.0))).collect();
    for l2 in [1e-3, 0.1] {
        let mut newton = vec![0.0; 6];
        for _ in 0..30 {
            let (_, gradient, hessian) = logistic(&rows, &labels, l2, &newton);
            newton.iter_mut().zip(solve(hessian, gradient)).for_each(|(w, s)| *w -= s);
        }
        let found = tight()
            .minimize(vec![0.0; 6], |w, g| {
                let (value, gradient, _) = logistic(&rows, &labels, l2, w);
                g.copy_from_slice(&gradient);
                value
            })
            .unwrap();
        assert!(found.converged && found.iterations < 60, "{found:?}");
        for (got, want) in found.x.iter().zip(&newton) {
            assert!((got - want).abs() < 1e-8, "{got} instead of {want} at l2 {l2}");
        }
    }
}

#[test]
fn values_that_are_not_finite() {
    // −ln x + x is infinite or NaN left of 0; its minimum is 1.
    let f = |x: &[f64], g: &mut [f64]| {
        g[0] = 1.0 - 1.0 / x[0];
        x[0] - x[0].ln()
    };
    let found = tight().minimize(vec![30.0], f).unwrap();
    assert!((found.x[0] - 1.0).abs() < 1e-8, "{found:?}");
    assert!(matches!(tight().minimize(vec![-1.0], f), Err(Error::Diverged(_))));
}

#[test]
fn at_the_minimum_nothing_moves() {
    let f = |x: &[f64], g: &mut [f64]| {
        g.copy_from_slice(x);
        0.5 * x.iter().map(|x| x * x).sum::<f64>()
    };
    let found = tight().minimize(vec![0.0; 4], f).unwrap();
    assert_eq!((found.iterations, found.evaluations, found.converged), (0, 1, true));
    assert_eq!(found.x, [0.0; 4]);
}
