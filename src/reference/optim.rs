//! One step of each optimiser on a flat parameter p with gradient g, as PyTorch defines them
//! (torch.optim); `weight_decay` applies to every element. State slices start as zeros.

/// p ← p − η(g + λp).
pub fn sgd(p: &mut [f64], g: &[f64], lr: f64, weight_decay: f64) {
    for i in 0..p.len() {
        p[i] -= lr * (g[i] + weight_decay * p[i]);
    }
}

/// v ← μv + g + λp; p ← p − ηv.
pub fn momentum(p: &mut [f64], g: &[f64], v: &mut [f64], lr: f64, mu: f64, weight_decay: f64) {
    for i in 0..p.len() {
        v[i] = mu * v[i] + g[i] + weight_decay * p[i];
        p[i] -= lr * v[i];
    }
}

/// d = g + λp; v ← μv + d; p ← p − η(d + μv).
pub fn nesterov(p: &mut [f64], g: &[f64], v: &mut [f64], lr: f64, mu: f64, weight_decay: f64) {
    for i in 0..p.len() {
        let d = g[i] + weight_decay * p[i];
        v[i] = mu * v[i] + d;
        p[i] -= lr * (d + mu * v[i]);
    }
}

/// Settings of the Adam family.
#[derive(Clone, Copy, Debug)]
pub struct AdamSettings {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
}

impl Default for AdamSettings {
    fn default() -> Self {
        AdamSettings { lr: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; p ← p − η/(1−β₁ᵗ) · m/(√v/√(1−β₂ᵗ) + ε), t = 1, 2, …
/// (Kingma and Ba, 2015). Weight decay is ignored.
pub fn adam(p: &mut [f64], g: &[f64], m: &mut [f64], v: &mut [f64], t: u32, settings: AdamSettings) {
    adam_l2(p, g, m, v, t, AdamSettings { weight_decay: 0.0, ..settings });
}

/// [`adam`] with g + λp in place of g: what both papers and torch.optim.Adam call weight decay.
pub fn adam_l2(p: &mut [f64], g: &[f64], m: &mut [f64], v: &mut [f64], t: u32, settings: AdamSettings) {
    let AdamSettings { lr, beta1, beta2, eps, weight_decay } = settings;
    let (correction1, correction2) = (1.0 - beta1.powf(f64::from(t)), 1.0 - beta2.powf(f64::from(t)));
    for i in 0..p.len() {
        let d = g[i] + weight_decay * p[i];
        m[i] = beta1 * m[i] + (1.0 - beta1) * d;
        v[i] = beta2 * v[i] + (1.0 - beta2) * d * d;
        p[i] -= lr / correction1 * m[i] / (v[i].sqrt() / correction2.sqrt() + eps);
    }
}

/// p ← p(1 − ηλ), then [`adam`] (Loshchilov and Hutter, 2019).
pub fn adamw(p: &mut [f64], g: &[f64], m: &mut [f64], v: &mut [f64], t: u32, settings: AdamSettings) {
    for p in p.iter_mut() {
        *p *= 1.0 - settings.lr * settings.weight_decay;
    }
    adam(p, g, m, v, t, settings);
}

/// Settings of [`lars`].
#[derive(Clone, Copy, Debug)]
pub struct LarsSettings {
    pub lr: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    /// κ, usually 1e-3.
    pub trust: f64,
}

/// One tensor's step (You et al., 2017): d = g + λp; r = κ‖p‖/‖d‖; v ← μv + r·d; p ← p − ηv. Where one of
/// the norms is 0 the ratio says nothing and r = 1.
pub fn lars(p: &mut [f64], g: &[f64], v: &mut [f64], settings: LarsSettings) {
    let d: Vec<f64> = p.iter().zip(g).map(|(p, g)| g + settings.weight_decay * p).collect();
    let (norm_p, norm_d) = (global_norm(&[p]), global_norm(&[&d]));
    let ratio = if norm_p > 0.0 && norm_d > 0.0 { settings.trust * norm_p / norm_d } else { 1.0 };
    for i in 0..p.len() {
        v[i] = settings.momentum * v[i] + ratio * d[i];
        p[i] -= settings.lr * v[i];
    }
}

/// target ← m·target + (1−m)·source: MoCo's key encoder.
pub fn ema(target: &mut [f64], source: &[f64], m: f64) {
    for i in 0..target.len() {
        target[i] = m * target[i] + (1.0 - m) * source[i];
    }
}

/// ‖·‖₂ over all tensors together.
pub fn global_norm(tensors: &[&[f64]]) -> f64 {
    tensors.iter().flat_map(|t| t.iter()).map(|x| x * x).sum::<f64>().sqrt()
}

/// g ← g·min(1, c/(‖g‖ + 1e-6)) over all tensors together; returns the norm before.
pub fn clip_global_norm(gradients: &mut [Vec<f64>], c: f64) -> f64 {
    let norm = global_norm(&gradients.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let factor = (c / (norm + 1e-6)).min(1.0);
    for g in gradients.iter_mut().flatten() {
        *g *= factor;
    }
    norm
}
