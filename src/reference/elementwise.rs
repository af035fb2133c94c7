//! Maps that treat each element by itself: activations, sums, biases, scaling, dropout.

use crate::rng::{Key, uniform};

/// The activations that other kernels fuse. Each gradient is a function of the *result*, so that a fused
/// backward kernel needs no second copy of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Identity,
    Relu,
    Relu6,
    Tanh,
}

impl Activation {
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Activation::Identity => x,
            Activation::Relu => x.max(0.0),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Tanh => x.tanh(),
        }
    }

    /// Derivative at the input that gave `out`; 0 at the corners of relu and relu6.
    pub fn derivative(self, out: f64) -> f64 {
        let indicator = |inside: bool| if inside { 1.0 } else { 0.0 };
        match self {
            Activation::Identity => 1.0,
            Activation::Relu => indicator(out > 0.0),
            Activation::Relu6 => indicator(out > 0.0 && out < 6.0),
            Activation::Tanh => 1.0 - out * out,
        }
    }
}

/// The activations x·F(x) with F a distribution function; the gradient is a function of x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gelu {
    /// F = Φ, the normal distribution function.
    Exact,
    /// F(x) = σ(1.702·x).
    Quick,
}

impl Gelu {
    fn distribution(self, x: f64) -> f64 {
        match self {
            Gelu::Exact => statrs::function::erf::erfc(-x / std::f64::consts::SQRT_2) / 2.0,
            Gelu::Quick => 1.0 / (1.0 + (-1.702 * x).exp()),
        }
    }

    pub fn apply(self, x: f64) -> f64 {
        x * self.distribution(x)
    }

    /// Derivative at x.
    pub fn derivative(self, x: f64) -> f64 {
        let f = self.distribution(x);
        let density = match self {
            Gelu::Exact => (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt(),
            Gelu::Quick => 1.702 * f * (1.0 - f),
        };
        f + x * density
    }
}

/// max(x, 0).
pub fn relu(x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| Activation::Relu.apply(x)).collect()
}

/// Gradient of x; `out` is the result of [`relu`].
pub fn relu_backward(out: &[f64], gout: &[f64]) -> Vec<f64> {
    activation_backward(Activation::Relu, out, gout)
}

/// min(max(x, 0), 6).
pub fn relu6(x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| Activation::Relu6.apply(x)).collect()
}

/// Gradient of x; `out` is the result of [`relu6`].
pub fn relu6_backward(out: &[f64], gout: &[f64]) -> Vec<f64> {
    activation_backward(Activation::Relu6, out, gout)
}

pub fn tanh(x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| x.tanh()).collect()
}

/// Gradient of x; `out` is the result of [`tanh`].
pub fn tanh_backward(out: &[f64], gout: &[f64]) -> Vec<f64> {
    activation_backward(Activation::Tanh, out, gout)
}

fn activation_backward(activation: Activation, out: &[f64], gout: &[f64]) -> Vec<f64> {
    assert_eq!(out.len(), gout.len(), "lengths of out and gout");
    out.iter().zip(gout).map(|(&out, &gout)| gout * activation.derivative(out)).collect()
}

/// a + b; the gradient of both is `gout`.
pub fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    assert_eq!(a.len(), b.len(), "lengths of a and b");
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// x [N, C, spatial] plus b `[C]` on each channel (`spatial` 1 for matrices). The gradient of x is `gout`,
/// that of b is `reduce::channel_sums`.
pub fn bias(x: &[f64], b: &[f64], spatial: usize) -> Vec<f64> {
    x.iter().enumerate().map(|(i, x)| x + b[i / spatial % b.len()]).collect()
}

/// factor · x; the gradient of x is factor · gout.
pub fn scale(x: &[f64], factor: f64) -> Vec<f64> {
    x.iter().map(|x| factor * x).collect()
}

/// Where a dropout layer stands in the counter: one key per (run, epoch), one `layer` number per layer.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Key of `Stream::Dropout` in this epoch.
    pub key: Key,
    /// Takes the counter's place of the view.
    pub layer: u16,
    /// Probability of dropping, in [0, 1).
    pub probability: f32,
}

impl Dropout {
    /// The factor of element (sample, column): 1/(1−p) where uniform(first word of draw
    /// (sample, layer, column)) ≥ p, otherwise 0. At most 65,536 columns.
    pub fn factor(&self, sample: u32, column: u16) -> f64 {
        let kept = uniform(self.key.draw(sample, self.layer, column)[0]) >= self.probability;
        if kept { 1.0 / (1.0 - f64::from(self.probability)) } else { 0.0 }
    }
}

/// x [rows, columns] with elements dropped at random and the others scaled up. `samples[row]` is the
/// row's sample index in the data set, so that the mask does not depend on the order of a batch. The
/// gradient of x is this same function of `gout`.
pub fn dropout(x: &[f64], samples: &[u32], dropout: Dropout) -> Vec<f64> {
    let columns = x.len() / samples.len().max(1);
    x.iter()
        .enumerate()
        .map(|(i, x)| x * dropout.factor(samples[i / columns], (i % columns) as u16))
        .collect()
}

/// Row i of the result is row `rows[i]` of `x`, whose rows have `length` elements.
pub fn gather_rows(x: &[f64], length: usize, rows: &[usize]) -> Vec<f64> {
    rows.iter().flat_map(|&row| x[row * length..(row + 1) * length].iter().copied()).collect()
}
