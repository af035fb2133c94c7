//! ResNet-18 with a MoCo head in f64: training passes with batch norm in splits, from weights as runs hold them.

use contraleak::kernels::norm;
use contraleak::nn::{HeadKind, Stem};
use contraleak::reference::conv::{ConvShape, conv2d};
use contraleak::reference::elementwise::{Activation, bias, relu};
use contraleak::reference::matmul::{MatmulShape, matmul_nt};
use contraleak::reference::norm as twin;
use contraleak::reference::pool::global_avg_pool2d;
use contraleak::train::Values;
use std::collections::BTreeMap;

pub type Wide = BTreeMap<String, Vec<f64>>;

/// Values in f64; those under `prefix` alone, without it.
pub fn wide(values: &Values, prefix: &str) -> Wide {
    let own = values.iter().filter_map(|(name, tensor)| name.strip_prefix(prefix).map(|name| (name, tensor)));
    own.map(|(name, tensor)| (name.to_string(), tensor.iter().map(|&v| f64::from(v)).collect())).collect()
}

/// One encoder during a pass.
pub struct Network<'a> {
    /// Parameters; running statistics are moved by passes.
    pub values: &'a mut Wide,
    pub batch: usize,
    pub splits: usize,
    pub head: HeadKind,
}

/// Activations [N, C, S, S].
#[derive(Clone)]
struct Map {
    x: Vec<f64>,
    channels: usize,
    side: usize,
}

impl Network<'_> {
    /// Projections [N, 128] of views [N, 3, side, side] through the CIFAR stem.
    pub fn pass(&mut self, views: &[f64], side: usize, stem: Stem) -> Vec<f64> {
        assert_eq!(stem, Stem::Cifar);
        let x = Map { x: views.to_vec(), channels: 3, side };
        let x = self.conv(&x, "conv1", 1, 1);
        let mut x = self.norm(&x, "bn1", None, Activation::Relu);
        for stage in 1..=4 {
            for block in 0..2 {
                let stride = if stage > 1 && block == 0 { 2 } else { 1 };
                x = self.block(&x, &format!("layer{stage}.{block}"), stride);
            }
        }
        let features = global_avg_pool2d(&x.x, x.side * x.side);
        let projected = self.linear(&features, "projector.0");
        match self.head {
            HeadKind::MocoLinear => projected,
            HeadKind::MocoMlp => self.linear(&relu(&projected), "projector.2"),
            other => panic!("no twin of {other}"),
        }
    }

    fn block(&mut self, x: &Map, name: &str, stride: usize) -> Map {
        let shortcut = if self.values.contains_key(&format!("{name}.downsample.0.weight")) {
            let y = self.conv(x, &format!("{name}.downsample.0"), stride, 0);
            self.norm(&y, &format!("{name}.downsample.1"), None, Activation::Identity)
        } else {
            x.clone()
        };
        let y = self.conv(x, &format!("{name}.conv1"), stride, 1);
        let y = self.norm(&y, &format!("{name}.bn1"), None, Activation::Relu);
        let y = self.conv(&y, &format!("{name}.conv2"), 1, 1);
        self.norm(&y, &format!("{name}.bn2"), Some(&shortcut.x), Activation::Relu)
    }

    fn conv(&self, x: &Map, name: &str, stride: usize, padding: usize) -> Map {
        let weight = &self.values[&format!("{name}.weight")];
        let kernel = 2 * padding + 1;
        let shape = ConvShape {
            batch: self.batch,
            in_channels: x.channels,
            height: x.side,
            width: x.side,
            out_channels: weight.len() / (x.channels * kernel * kernel),
            kernel,
            stride,
            padding,
            groups: 1,
        };
        Map { x: conv2d(&x.x, weight, shape), channels: shape.out_channels, side: shape.out_height() }
    }

    fn norm(&mut self, x: &Map, name: &str, residual: Option<&[f64]>, activation: Activation) -> Map {
        let shape = twin::BatchNormShape {
            batch: self.batch,
            channels: x.channels,
            spatial: x.side * x.side,
            splits: self.splits,
        };
        let tensor = |part: &str| self.values[&format!("{name}.{part}")].clone();
        let (weight, bias) = (tensor("weight"), tensor("bias"));
        let layer =
            twin::BatchNormLayer { weight: &weight, bias: &bias, eps: f64::from(norm::EPSILON), activation };
        let (y, statistics) = twin::batch_norm_train(&x.x, residual, layer, shape).unwrap();
        let (mut mean, mut variance) = (tensor("running_mean"), tensor("running_var"));
        let momentum = f64::from(norm::MOMENTUM);
        twin::batch_norm_update_running(&mut mean, &mut variance, &statistics, momentum, shape);
        self.values.insert(format!("{name}.running_mean"), mean);
        self.values.insert(format!("{name}.running_var"), variance);
        Map { x: y, channels: x.channels, side: x.side }
    }

    fn linear(&self, x: &[f64], name: &str) -> Vec<f64> {
        let (weight, b) = (&self.values[&format!("{name}.weight")], &self.values[&format!("{name}.bias")]);
        let shape = MatmulShape { m: self.batch, n: b.len(), k: x.len() / self.batch };
        bias(&matmul_nt(x, weight, shape), b, 1)
    }
}
