//! ResNet-18, -34, -50 and -101 (He et al., CVPR 2016) with two stems and a width; parameter names as torchvision's.

use super::architecture::{Architecture, Stem};
use super::layers::{BatchNorm, Conv, Names, Tracer, kaiming};
use crate::Result;
use crate::graph::ops::{GlobalAvgPool2d, MaxPool2d};
use crate::graph::{Init, Value};
use crate::kernels::elementwise::Unary;

/// A residual network up to its global average pool.
#[derive(Clone, Debug)]
pub struct ResNet {
    stem: Stem,
    conv1: Conv,
    bn1: BatchNorm,
    blocks: Vec<Block>,
    feature_dim: usize,
}

#[derive(Clone, Debug)]
struct Block {
    /// Each convolution with its batch norm, in order; ReLU follows all but the last.
    body: Vec<(Conv, BatchNorm)>,
    downsample: Option<(Conv, BatchNorm)>,
}

/// Blocks of each stage.
fn stages(architecture: Architecture) -> [usize; 4] {
    match architecture {
        Architecture::Resnet18 => [2, 2, 2, 2],
        Architecture::Resnet101 => [3, 4, 23, 3],
        _ => [3, 4, 6, 3],
    }
}

/// Output channels of a block over its inner width.
fn expansion(architecture: Architecture) -> usize {
    if matches!(architecture, Architecture::Resnet50 | Architecture::Resnet101) { 4 } else { 1 }
}

impl ResNet {
    /// `width` is the number of channels of the first stage (64 in the paper); at least 1.
    pub fn new(names: &mut Names, architecture: Architecture, stem: Stem, width: usize) -> ResNet {
        let conv1 = match stem {
            Stem::Imagenet => Conv::new(&mut names.inside("conv1"), 3, width, 7, 2, 3, kaiming(width, 7)),
            // The published CIFAR code swaps this layer in after the Kaiming pass, so it keeps the default rule.
            _ => Conv::new(&mut names.inside("conv1"), 3, width, 3, 1, 1, Init::Uniform(1.0 / 27f64.sqrt())),
        };
        let bn1 = BatchNorm::new(&mut names.inside("bn1"), width);
        let mut blocks = Vec::new();
        let mut channels = width;
        for (stage, count) in stages(architecture).into_iter().enumerate() {
            let inner = width << stage;
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let mut layer = names.inside(format!("layer{}", stage + 1));
                let mut block_names = layer.inside(index);
                blocks.push(Block::new(&mut block_names, architecture, channels, inner, stride));
                channels = inner * expansion(architecture);
            }
        }
        ResNet { stem, conv1, bn1, blocks, feature_dim: channels }
    }

    /// Length of a feature vector.
    pub fn feature_dim(&self) -> usize {
        self.feature_dim
    }

    /// Images `[N, 3, H, W]`, normalised, to features `[N, feature_dim]`.
    pub fn forward(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        let x = self.conv1.forward(tracer, images)?;
        let mut x = self.bn1.forward(tracer, x, None, Some(Unary::Relu))?;
        if self.stem == Stem::Imagenet {
            x = tracer.graph.apply1(MaxPool2d { kernel: 3, stride: 2, padding: 1 }, &[x])?;
        }
        for block in &self.blocks {
            x = block.forward(tracer, x)?;
        }
        tracer.graph.apply1(GlobalAvgPool2d, &[x])
    }
}

impl Block {
    fn new(names: &mut Names, architecture: Architecture, i: usize, inner: usize, stride: usize) -> Block {
        let o = inner * expansion(architecture);
        // (input, output, kernel, stride) of each convolution
        let layers = match o == inner {
            true => vec![(i, o, 3, stride), (o, o, 3, 1)],
            false => vec![(i, inner, 1, 1), (inner, inner, 3, stride), (inner, o, 1, 1)],
        };
        let body = layers
            .into_iter()
            .enumerate()
            .map(|(n, (i, o, kernel, stride))| {
                let conv = Conv::new(
                    &mut names.inside(format!("conv{}", n + 1)),
                    i,
                    o,
                    kernel,
                    stride,
                    kernel / 2,
                    kaiming(o, kernel),
                );
                (conv, BatchNorm::new(&mut names.inside(format!("bn{}", n + 1)), o))
            })
            .collect();
        let downsample = (stride != 1 || i != o).then(|| {
            let mut names = names.inside("downsample");
            let conv = Conv::new(&mut names.inside(0), i, o, 1, stride, 0, kaiming(o, 1));
            (conv, BatchNorm::new(&mut names.inside(1), o))
        });
        Block { body, downsample }
    }

    fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let shortcut = match &self.downsample {
            Some((conv, norm)) => {
                let y = conv.forward(tracer, x)?;
                norm.forward(tracer, y, None, None)?
            }
            None => x,
        };
        let mut y = x;
        for (n, (conv, norm)) in self.body.iter().enumerate() {
            let last = n + 1 == self.body.len();
            y = conv.forward(tracer, y)?;
            y = norm.forward(tracer, y, last.then_some(shortcut), Some(Unary::Relu))?;
        }
        Ok(y)
    }
}
