//! Loss functions. Each forward is a mean over rows; each backward takes the upstream gradient `gout` of
//! that one number. The matrices of similarities are materialised here, which the kernels avoid.

use super::matmul::{MatmulShape, matmul_nn, matmul_nt, matmul_tn};
use super::similarity::{l2_normalize, l2_normalize_backward};

/// ln Σ exp over a row, shifted by its maximum so that nothing overflows.
pub fn log_sum_exp(row: &[f64]) -> f64 {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + row.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
}

/// Softmax of each row of `logits` [rows, classes].
pub fn softmax(logits: &[f64], classes: usize) -> Vec<f64> {
    logits
        .chunks(classes)
        .flat_map(|row| {
            let normalizer = log_sum_exp(row);
            row.iter().map(move |x| (x - normalizer).exp())
        })
        .collect()
}

/// Weight of class `class` in the target distribution: 1 − smoothing on the label and the rest spread
/// over the other classes.
fn target_weight(class: usize, target: usize, classes: usize, smoothing: f64) -> f64 {
    if class == target { 1.0 - smoothing } else { smoothing / (classes.max(2) - 1) as f64 }
}

/// Mean cross-entropy of `logits` [rows, classes] against `targets` `[rows]`, with label smoothing
/// (0 for none).
pub fn softmax_cross_entropy(logits: &[f64], targets: &[usize], smoothing: f64) -> f64 {
    let classes = logits.len() / targets.len();
    let mut total = 0.0;
    for (row, &target) in logits.chunks(classes).zip(targets) {
        let normalizer = log_sum_exp(row);
        for (class, x) in row.iter().enumerate() {
            total += target_weight(class, target, classes, smoothing) * (normalizer - x);
        }
    }
    total / targets.len() as f64
}

/// Gradient of the logits: (softmax − target distribution) / rows.
pub fn softmax_cross_entropy_backward(
    logits: &[f64],
    targets: &[usize],
    smoothing: f64,
    gout: f64,
) -> Vec<f64> {
    let classes = logits.len() / targets.len();
    let mut grad = softmax(logits, classes);
    for (i, g) in grad.iter_mut().enumerate() {
        *g -= target_weight(i % classes, targets[i / classes], classes, smoothing);
        *g *= gout / targets.len() as f64;
    }
    grad
}

/// s_ij = ẑ_i·ẑ_j / τ of the rows of `z` [rows, dim], with −∞ on the diagonal.
fn nt_xent_logits(normalized: &[f64], rows: usize, dim: usize, temperature: f64) -> Vec<f64> {
    let mut logits = matmul_nt(normalized, normalized, MatmulShape { m: rows, n: rows, k: dim });
    for (i, s) in logits.iter_mut().enumerate() {
        *s = if i / rows == i % rows { f64::NEG_INFINITY } else { *s / temperature };
    }
    logits
}

/// NT-Xent (Chen et al., SimCLR, 2020, eq. 1) of un-normalised projections `z` [2N, dim], where row i and
/// row i + N are two views of one image: −mean_i [ s_{i,p(i)} − ln Σ_{k≠i} exp s_ik ].
pub fn nt_xent(z: &[f64], dim: usize, temperature: f64) -> f64 {
    let rows = z.len() / dim;
    let logits = nt_xent_logits(&l2_normalize(z, dim), rows, dim, temperature);
    let terms = logits.chunks(rows).enumerate().map(|(i, row)| log_sum_exp(row) - row[(i + rows / 2) % rows]);
    terms.sum::<f64>() / rows as f64
}

/// Gradient of `z`: with P the softmax over k ≠ i and Y the one-hot of the partner, D = (P − Y)/(2Nτ) and
/// ∂L/∂ẑ = (D + Dᵀ)ẑ, then through the normalisation.
pub fn nt_xent_backward(z: &[f64], dim: usize, temperature: f64, gout: f64) -> Vec<f64> {
    let rows = z.len() / dim;
    let normalized = l2_normalize(z, dim);
    let mut d = softmax(&nt_xent_logits(&normalized, rows, dim, temperature), rows);
    for i in 0..rows {
        d[i * rows + (i + rows / 2) % rows] -= 1.0;
    }
    for d in &mut d {
        *d *= gout / (rows as f64 * temperature);
    }
    let shape = MatmulShape { m: rows, n: dim, k: rows };
    let (from_rows, from_columns) = (matmul_nn(&d, &normalized, shape), matmul_tn(&d, &normalized, shape));
    let grad: Vec<f64> = from_rows.iter().zip(&from_columns).map(|(a, b)| a + b).collect();
    l2_normalize_backward(z, &grad, dim)
}

/// Operands of InfoNCE with a queue (He et al., MoCo, 2020, eq. 1), none of them normalised yet.
#[derive(Clone, Copy, Debug)]
pub struct InfoNceQueue<'a> {
    /// Queries [rows, dim].
    pub q: &'a [f64],
    /// Keys [rows, dim], the positives.
    pub k: &'a [f64],
    /// Keys of earlier batches [length, dim], the negatives.
    pub queue: &'a [f64],
    pub dim: usize,
    pub temperature: f64,
}

impl InfoNceQueue<'_> {
    fn rows(&self) -> usize {
        self.q.len() / self.dim
    }

    /// Row i of the keys that query i is compared with, all normalised: its own, then the queue.
    fn keys_of(&self, i: usize) -> Vec<f64> {
        let mut keys = l2_normalize(&self.k[i * self.dim..(i + 1) * self.dim], self.dim);
        keys.extend(l2_normalize(self.queue, self.dim));
        keys
    }

    fn logits_of(&self, i: usize, keys: &[f64]) -> Vec<f64> {
        let query = l2_normalize(&self.q[i * self.dim..(i + 1) * self.dim], self.dim);
        let shape = MatmulShape { m: 1, n: keys.len() / self.dim, k: self.dim };
        matmul_nt(&query, keys, shape).iter().map(|s| s / self.temperature).collect()
    }
}

/// Mean over rows of ln Σ exp(logits_i) − logits_i0 with logits_i = [q̂_i·k̂_i, q̂_i·Q̂_1, …]/T.
pub fn info_nce_queue(x: InfoNceQueue) -> f64 {
    let rows = x.rows();
    let mut total = 0.0;
    for i in 0..rows {
        let logits = x.logits_of(i, &x.keys_of(i));
        total += log_sum_exp(&logits) - logits[0];
    }
    total / rows as f64
}

/// Gradient of q, through its normalisation; k and the queue get none.
pub fn info_nce_queue_backward(x: InfoNceQueue, gout: f64) -> Vec<f64> {
    let rows = x.rows();
    let mut grad = Vec::with_capacity(x.q.len());
    for i in 0..rows {
        let keys = x.keys_of(i);
        let mut weights = softmax(&x.logits_of(i, &keys), keys.len() / x.dim);
        weights[0] -= 1.0;
        let shape = MatmulShape { m: 1, n: x.dim, k: weights.len() };
        grad.extend(
            matmul_nn(&weights, &keys, shape).iter().map(|g| g * gout / (rows as f64 * x.temperature)),
        );
    }
    l2_normalize_backward(x.q, &grad, x.dim)
}

/// KL(p‖q) summed over classes and averaged over rows; p = softmax(a), q = softmax(b), both
/// [rows, classes].
pub fn kl_div(a: &[f64], b: &[f64], classes: usize) -> f64 {
    let rows = a.len() / classes;
    kl_of_rows(a, b, classes).iter().sum::<f64>() / rows as f64
}

/// Gradients of a, p·(ln p − ln q − KL(row))/rows, and of b, (q − p)/rows.
pub fn kl_div_backward(a: &[f64], b: &[f64], classes: usize, gout: f64) -> (Vec<f64>, Vec<f64>) {
    let scale = gout / (a.len() / classes) as f64;
    let (p, q) = (softmax(a, classes), softmax(b, classes));
    let kl = kl_of_rows(a, b, classes);
    let grad_a = (0..a.len()).map(|i| scale * p[i] * (p[i].ln() - q[i].ln() - kl[i / classes])).collect();
    let grad_b = (0..b.len()).map(|i| scale * (q[i] - p[i])).collect();
    (grad_a, grad_b)
}

fn kl_of_rows(a: &[f64], b: &[f64], classes: usize) -> Vec<f64> {
    let rows = a.chunks(classes).zip(b.chunks(classes));
    rows.map(|(a, b)| {
        let (of_a, of_b) = (log_sum_exp(a), log_sum_exp(b));
        a.iter().zip(b).map(|(a, b)| (a - of_a).exp() * ((a - of_a) - (b - of_b))).sum()
    })
    .collect()
}
