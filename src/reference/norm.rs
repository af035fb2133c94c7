//! Batch normalisation, with the residual sum and the activation that follow it in residual networks:
//! y = activation(γ·(x − μ)/√(σ² + ε) + β + residual).
//!
//! Training statistics may be split (SplitBN, the notebook of `facebookresearch/moco`): sample i belongs
//! to split i mod s, and each split has its own μ and σ² under shared γ and β. One split is plain batch
//! norm.

use super::elementwise::Activation;
use crate::{Error, Result};

/// Sizes: x is [batch, channels, spatial] (`spatial` 1 after a fully connected layer).
#[derive(Clone, Copy, Debug)]
pub struct BatchNormShape {
    pub batch: usize,
    pub channels: usize,
    pub spatial: usize,
    /// Divides `batch`; 1 for plain batch norm and in evaluation.
    pub splits: usize,
}

impl BatchNormShape {
    /// How many numbers one mean is made of.
    pub fn count(&self) -> usize {
        self.batch / self.splits * self.spatial
    }
    fn len(&self) -> usize {
        self.batch * self.channels * self.spatial
    }
    /// Place of the statistics of element `i` in an array [splits, channels].
    fn group(&self, i: usize) -> usize {
        let sample = i / self.spatial / self.channels;
        sample % self.splits * self.channels + self.channel(i)
    }
    fn channel(&self, i: usize) -> usize {
        i / self.spatial % self.channels
    }
}

/// What is learned and fixed about the layer.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormLayer<'a> {
    /// γ `[channels]`.
    pub weight: &'a [f64],
    /// β `[channels]`.
    pub bias: &'a [f64],
    pub eps: f64,
    pub activation: Activation,
}

/// Mean and biased variance, each [splits, channels].
#[derive(Clone, Debug)]
pub struct BatchStatistics {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

/// Gradients of the inputs; that of the residual also when there was none.
#[derive(Clone, Debug)]
pub struct BatchNormGradients {
    pub x: Vec<f64>,
    pub weight: Vec<f64>,
    pub bias: Vec<f64>,
    pub residual: Vec<f64>,
}

/// Statistics of a training batch. An error if a mean would be made of a single number or the splits
/// do not divide the batch.
pub fn batch_norm_statistics(x: &[f64], shape: BatchNormShape) -> Result<BatchStatistics> {
    assert_eq!(x.len(), shape.len(), "length of x for {shape:?}");
    if shape.splits == 0 || !shape.batch.is_multiple_of(shape.splits) {
        return Err(Error::shape(format!(
            "batch norm: a batch of {} cannot be split into {} equal parts; choose a batch size that is a \
             multiple of the number of splits",
            shape.batch, shape.splits
        )));
    }
    if shape.count() < 2 {
        return Err(Error::shape(format!(
            "batch norm in training: {} value per channel, at least 2 are needed; use a larger batch",
            shape.count()
        )));
    }
    let count = shape.count() as f64;
    let mut mean = vec![0.0; shape.splits * shape.channels];
    for (i, x) in x.iter().enumerate() {
        mean[shape.group(i)] += x / count;
    }
    let mut variance = vec![0.0; mean.len()];
    for (i, x) in x.iter().enumerate() {
        variance[shape.group(i)] += (x - mean[shape.group(i)]).powi(2) / count;
    }
    Ok(BatchStatistics { mean, variance })
}

/// Forward pass in training: the result and the statistics that the backward pass needs.
pub fn batch_norm_train(
    x: &[f64],
    residual: Option<&[f64]>,
    layer: BatchNormLayer,
    shape: BatchNormShape,
) -> Result<(Vec<f64>, BatchStatistics)> {
    let statistics = batch_norm_statistics(x, shape)?;
    let out = normalize(x, residual, layer, &statistics.mean, &statistics.variance, shape);
    Ok((out, statistics))
}

/// Forward pass in evaluation, with running statistics `[channels]`; `shape.splits` is ignored.
pub fn batch_norm_eval(
    x: &[f64],
    residual: Option<&[f64]>,
    layer: BatchNormLayer,
    running_mean: &[f64],
    running_variance: &[f64],
    shape: BatchNormShape,
) -> Vec<f64> {
    let shape = BatchNormShape { splits: 1, ..shape };
    assert_eq!(x.len(), shape.len(), "length of x for {shape:?}");
    normalize(x, residual, layer, running_mean, running_variance, shape)
}

fn normalize(
    x: &[f64],
    residual: Option<&[f64]>,
    layer: BatchNormLayer,
    mean: &[f64],
    variance: &[f64],
    shape: BatchNormShape,
) -> Vec<f64> {
    (0..x.len())
        .map(|i| {
            let (group, channel) = (shape.group(i), shape.channel(i));
            let normal = (x[i] - mean[group]) / (variance[group] + layer.eps).sqrt();
            let y = layer.weight[channel] * normal + layer.bias[channel];
            layer.activation.apply(y + residual.map_or(0.0, |r| r[i]))
        })
        .collect()
}

/// Gradients in training. `out` is the result of the forward pass (it decides where the activation let
/// through), `statistics` those it returned.
///
/// With g the gradient after the activation and x̂ the normalised input:
/// ∂x = γ/√(σ²+ε) · (g − mean(g) − x̂·mean(g·x̂)), means per channel and split.
pub fn batch_norm_train_backward(
    x: &[f64],
    out: &[f64],
    gout: &[f64],
    layer: BatchNormLayer,
    statistics: &BatchStatistics,
    shape: BatchNormShape,
) -> BatchNormGradients {
    let BatchStatistics { mean, variance } = statistics;
    let mut grads = affine_gradients(x, out, gout, layer, mean, variance, shape);
    let count = shape.count() as f64;
    let normal = |i: usize| {
        let group = shape.group(i);
        (x[i] - mean[group]) / (variance[group] + layer.eps).sqrt()
    };
    let mut mean_g = vec![0.0; mean.len()];
    let mut mean_gx = vec![0.0; mean.len()];
    for (i, g) in grads.residual.iter().enumerate() {
        mean_g[shape.group(i)] += g / count;
        mean_gx[shape.group(i)] += g * normal(i) / count;
    }
    for (i, g) in grads.residual.iter().enumerate() {
        let group = shape.group(i);
        let scale = layer.weight[shape.channel(i)] / (variance[group] + layer.eps).sqrt();
        grads.x[i] = scale * (g - mean_g[group] - normal(i) * mean_gx[group]);
    }
    grads
}

/// Gradients in evaluation, where the statistics are constants.
pub fn batch_norm_eval_backward(
    x: &[f64],
    out: &[f64],
    gout: &[f64],
    layer: BatchNormLayer,
    running_mean: &[f64],
    running_variance: &[f64],
    shape: BatchNormShape,
) -> BatchNormGradients {
    let shape = BatchNormShape { splits: 1, ..shape };
    affine_gradients(x, out, gout, layer, running_mean, running_variance, shape)
}

/// All gradients with the statistics held constant.
fn affine_gradients(
    x: &[f64],
    out: &[f64],
    gout: &[f64],
    layer: BatchNormLayer,
    mean: &[f64],
    variance: &[f64],
    shape: BatchNormShape,
) -> BatchNormGradients {
    assert_eq!((x.len(), out.len(), gout.len()), (shape.len(), shape.len(), shape.len()), "lengths");
    let mut grads = BatchNormGradients {
        x: vec![0.0; x.len()],
        weight: vec![0.0; shape.channels],
        bias: vec![0.0; shape.channels],
        residual: vec![0.0; x.len()],
    };
    for i in 0..x.len() {
        let (group, channel) = (shape.group(i), shape.channel(i));
        let g = gout[i] * layer.activation.derivative(out[i]);
        let inverse = 1.0 / (variance[group] + layer.eps).sqrt();
        grads.residual[i] = g;
        grads.bias[channel] += g;
        grads.weight[channel] += g * (x[i] - mean[group]) * inverse;
        grads.x[i] = g * layer.weight[channel] * inverse;
    }
    grads
}

/// running ← (1 − momentum)·running + momentum·batch, the batch variance unbiased (n/(n−1)) per split and
/// both averaged over splits.
pub fn batch_norm_update_running(
    running_mean: &mut [f64],
    running_variance: &mut [f64],
    statistics: &BatchStatistics,
    momentum: f64,
    shape: BatchNormShape,
) {
    let count = shape.count() as f64;
    let average = |values: &[f64], channel: usize| {
        (0..shape.splits).map(|s| values[s * shape.channels + channel]).sum::<f64>() / shape.splits as f64
    };
    for channel in 0..shape.channels {
        let unbiased = average(&statistics.variance, channel) * count / (count - 1.0);
        let mean = average(&statistics.mean, channel);
        running_mean[channel] = (1.0 - momentum) * running_mean[channel] + momentum * mean;
        running_variance[channel] = (1.0 - momentum) * running_variance[channel] + momentum * unbiased;
    }
}
