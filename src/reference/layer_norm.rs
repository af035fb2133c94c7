//! Layer normalisation over channels: y = γ·(x − μ)/√(σ² + ε) + β for each image and pixel, σ² biased.

/// Sizes: x is [batch, channels, spatial] (`spatial` 1 for matrices).
#[derive(Clone, Copy, Debug)]
pub struct LayerNormShape {
    pub channels: usize,
    pub spatial: usize,
}

/// Gradients of the inputs.
#[derive(Clone, Debug)]
pub struct LayerNormGradients {
    pub x: Vec<f64>,
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
}

impl LayerNormShape {
    /// Places of the channels of each pixel, pixel by pixel.
    fn pixels(self, len: usize) -> impl Iterator<Item = Vec<usize>> {
        let image = self.channels * self.spatial;
        (0..len / image).flat_map(move |n| {
            (0..self.spatial)
                .map(move |p| (0..self.channels).map(|c| n * image + c * self.spatial + p).collect())
        })
    }
}

/// Mean and 1/√(σ² + ε).
fn statistics(x: &[f64], places: &[usize], eps: f64) -> (f64, f64) {
    let count = places.len() as f64;
    let mean = places.iter().map(|&i| x[i]).sum::<f64>() / count;
    let variance = places.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>() / count;
    (mean, 1.0 / (variance + eps).sqrt())
}

/// The normalised x before scale and shift, and 1/√(σ² + ε) in the place of each element.
pub fn layer_norm_standard(x: &[f64], shape: LayerNormShape, eps: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut standard, mut spread) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for places in shape.pixels(x.len()) {
        let (mean, inverse) = statistics(x, &places, eps);
        for &i in &places {
            standard[i] = (x[i] - mean) * inverse;
            spread[i] = inverse;
        }
    }
    (standard, spread)
}

pub fn layer_norm(x: &[f64], weight: &[f64], bias: &[f64], shape: LayerNormShape, eps: f64) -> Vec<f64> {
    let (mut y, _) = layer_norm_standard(x, shape, eps);
    for places in shape.pixels(x.len()) {
        for (c, &i) in places.iter().enumerate() {
            y[i] = y[i] * weight[c] + bias[c];
        }
    }
    y
}

/// Gradients of [`layer_norm`].
pub fn layer_norm_backward(
    x: &[f64],
    weight: &[f64],
    gout: &[f64],
    shape: LayerNormShape,
    eps: f64,
) -> LayerNormGradients {
    let (standard, spread) = layer_norm_standard(x, shape, eps);
    let mut gradients = LayerNormGradients {
        x: vec![0.0; x.len()],
        weight: vec![0.0; shape.channels],
        bias: vec![0.0; shape.channels],
    };
    let count = shape.channels as f64;
    for places in shape.pixels(x.len()) {
        let (mut mean, mut product) = (0.0, 0.0);
        for (c, &i) in places.iter().enumerate() {
            gradients.weight[c] += gout[i] * standard[i];
            gradients.bias[c] += gout[i];
            mean += weight[c] * gout[i] / count;
            product += weight[c] * gout[i] * standard[i] / count;
        }
        for (c, &i) in places.iter().enumerate() {
            gradients.x[i] = spread[i] * (weight[c] * gout[i] - mean - standard[i] * product);
        }
    }
    gradients
}
