//! Upper bound on ε for training with noisy gradients: Rényi-DP accountant of the Poisson-subsampled Gaussian.
//!
//! Rényi divergence of integer order: Mironov, Talwar, Zhang, "Rényi differential privacy of the sampled
//! Gaussian mechanism" (2019), §3.3. Conversion to (ε, δ): Canonne, Kamath, Steinke, "The discrete Gaussian for
//! differential privacy" (NeurIPS'20), Proposition 12.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Training run whose privacy is accounted for: `steps` steps, each on a Poisson sample of rate
/// `sampling_rate`, with Gaussian noise of `noise_multiplier` × the clipping norm. Adjacency: one example added
/// or removed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accountant {
    pub sampling_rate: f64,
    pub noise_multiplier: f64,
    pub steps: u64,
}

/// An (ε, δ) statement with everything needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DpStatement {
    pub epsilon: f64,
    pub delta: f64,
    /// Rényi order that gave the smallest ε.
    pub order: u32,
    pub accountant: Accountant,
    pub adjacency: String,
    /// False when batches were shuffled and of fixed size; then the statement does not hold.
    pub poisson_sampling: bool,
    /// Set when the statement does not hold.
    pub warning: Option<String>,
}

const ORDERS: std::ops::RangeInclusive<u32> = 2..=256;

impl Accountant {
    /// # Errors
    /// A sampling rate outside (0, 1] or a noise multiplier that is not a positive number.
    pub fn new(sampling_rate: f64, noise_multiplier: f64, steps: u64) -> Result<Accountant> {
        if !(sampling_rate > 0.0 && sampling_rate <= 1.0) {
            return Err(Error::usage(format!(
                "accountant: the sampling rate must be in (0, 1], found {sampling_rate}"
            )));
        }
        if !(noise_multiplier > 0.0 && noise_multiplier.is_finite()) {
            return Err(Error::usage(format!(
                "accountant: the noise multiplier must be a positive number, found {noise_multiplier}"
            )));
        }
        Ok(Accountant { sampling_rate, noise_multiplier, steps })
    }

    /// Rényi divergence of one step at integer `order` ≥ 2:
    /// 1/(a−1) · ln Σ_k C(a,k)(1−q)^{a−k} q^k exp((k²−k)/(2σ²)), summed in log space.
    pub fn renyi(&self, order: u32) -> f64 {
        let (q, a) = (self.sampling_rate, f64::from(order));
        let variance = self.noise_multiplier * self.noise_multiplier;
        if q >= 1.0 {
            return a / (2.0 * variance);
        }
        let mut ln_binomial = 0.0;
        let terms: Vec<f64> = (0..=order)
            .map(|k| {
                let k = f64::from(k);
                if k > 0.0 {
                    ln_binomial += ((a - k + 1.0) / k).ln();
                }
                ln_binomial + (a - k) * (-q).ln_1p() + k * q.ln() + (k * k - k) / (2.0 * variance)
            })
            .collect();
        let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = terms.iter().map(|t| (t - largest).exp()).sum();
        (largest + sum.ln()) / (a - 1.0)
    }

    /// Smallest ε over the orders 2…256 for `delta` in (0, 1), and the order that gave it.
    ///
    /// # Errors
    /// δ outside (0, 1).
    pub fn epsilon(&self, delta: f64) -> Result<(f64, u32)> {
        if !(delta > 0.0 && delta < 1.0) {
            return Err(Error::usage(format!("accountant: delta must be in (0, 1), found {delta}")));
        }
        let mut best = (f64::INFINITY, *ORDERS.start());
        for order in ORDERS {
            let a = f64::from(order);
            let conversion = ((a - 1.0) / a).ln() - (delta.ln() + a.ln()) / (a - 1.0);
            let epsilon = self.steps as f64 * self.renyi(order) + conversion;
            if epsilon < best.0 {
                best = (epsilon, order);
            }
        }
        Ok((best.0.max(0.0), best.1))
    }

    /// The statement to print.
    ///
    /// # Errors
    /// δ outside (0, 1).
    pub fn statement(&self, delta: f64, poisson_sampling: bool) -> Result<DpStatement> {
        let (epsilon, order) = self.epsilon(delta)?;
        Ok(DpStatement {
            epsilon,
            delta,
            order,
            accountant: *self,
            adjacency: "one example added or removed".into(),
            poisson_sampling,
            warning: (!poisson_sampling).then(|| {
                "the accountant assumes Poisson sampling, but batches were shuffled and of fixed size: this ε is \
                 not a guarantee"
                    .into()
            }),
        })
    }
}

/// Smallest noise multiplier (to 1e-6 relative) whose ε does not exceed `target`.
///
/// # Errors
/// Arguments out of range, or a target so small that no multiplier up to 1e6 reaches it.
pub fn noise_multiplier_for(sampling_rate: f64, steps: u64, delta: f64, target: f64) -> Result<f64> {
    let epsilon =
        |sigma: f64| -> Result<f64> { Ok(Accountant::new(sampling_rate, sigma, steps)?.epsilon(delta)?.0) };
    let (mut low, mut high) = (1e-3, 1.0);
    while epsilon(high)? > target {
        low = high;
        high *= 2.0;
        if high > 1e6 {
            return Err(Error::usage(format!(
                "accountant: no noise multiplier up to 1e6 reaches epsilon = {target} at delta = {delta} with the \
                 orders 2 to 256; raise epsilon or delta"
            )));
        }
    }
    while high - low > 1e-6 * high {
        let middle = 0.5 * (low + high);
        if epsilon(middle)? > target { low = middle } else { high = middle }
    }
    Ok(high)
}
