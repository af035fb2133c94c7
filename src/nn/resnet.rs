//! ResNet-18 and ResNet-50 (He et al., CVPR 2016) with two stems and a width; parameter names as torchvision's.

use super::layers::{BatchNorm, Conv, Names, Tracer};
use crate::graph::ops::{GlobalAvgPool2d, MaxPool2d};
use crate::graph::{Init, Value};
use crate::kernels::elementwise::Unary;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Encoder architectures that can be trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    Resnet18,
    Resnet50,
}

/// The first layers: `cifar` is 3x3 with stride 1 and no pooling, `imagenet` 7x7 with stride 2 and max-pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    Cifar,
    Imagenet,
}

impl Architecture {
    pub const NAMES: [&'static str; 2] = ["resnet18", "resnet50"];
    const fn blocks(self) -> [usize; 4] {
        match self {
            Architecture::Resnet18 => [2, 2, 2, 2],
            Architecture::Resnet50 => [3, 4, 6, 3],
        }
    }
    /// Output channels of a block over its inner width.
    const fn expansion(self) -> usize {
        match self {
            Architecture::Resnet18 => 1,
            Architecture::Resnet50 => 4,
        }
    }
}

impl Stem {
    pub const NAMES: [&'static str; 2] = ["cifar", "imagenet"];
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Architecture::NAMES[*self as usize])
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Stem::NAMES[*self as usize])
    }
}

impl FromStr for Architecture {
    type Err = Error;
    fn from_str(name: &str) -> Result<Architecture> {
        match name {
            "resnet18" => Ok(Architecture::Resnet18),
            "resnet50" => Ok(Architecture::Resnet50),
            _ => Err(Error::unknown("architecture", name, &Architecture::NAMES)),
        }
    }
}

impl FromStr for Stem {
    type Err = Error;
    fn from_str(name: &str) -> Result<Stem> {
        match name {
            "cifar" => Ok(Stem::Cifar),
            "imagenet" => Ok(Stem::Imagenet),
            _ => Err(Error::unknown("stem", name, &Stem::NAMES)),
        }
    }
}

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

/// N(0, 2/fan_out), fan_out = O·k².
fn kaiming(o: usize, kernel: usize) -> Init {
    Init::Normal((2.0 / (o * kernel * kernel) as f64).sqrt())
}

impl ResNet {
    /// `width` is the number of channels of the first stage (64 in the paper).
    ///
    /// # Errors
    /// A width of zero.
    pub fn new(names: &mut Names, architecture: Architecture, stem: Stem, width: usize) -> Result<ResNet> {
        if width == 0 {
            return Err(Error::usage("width: expected at least 1 channel in the first stage, found 0"));
        }
        let conv1 = match stem {
            // The published CIFAR code swaps this layer in after the Kaiming pass, so it keeps the default rule.
            Stem::Cifar => {
                Conv::new(&mut names.inside("conv1"), 3, width, 3, 1, 1, Init::Uniform(1.0 / 27f64.sqrt()))
            }
            Stem::Imagenet => Conv::new(&mut names.inside("conv1"), 3, width, 7, 2, 3, kaiming(width, 7)),
        };
        let bn1 = BatchNorm::new(&mut names.inside("bn1"), width);
        let mut blocks = Vec::new();
        let mut channels = width;
        for (stage, count) in architecture.blocks().into_iter().enumerate() {
            let inner = width << stage;
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let mut layer = names.inside(format!("layer{}", stage + 1));
                let mut block_names = layer.inside(index);
                blocks.push(Block::new(&mut block_names, architecture, channels, inner, stride));
                channels = inner * architecture.expansion();
            }
        }
        Ok(ResNet { stem, conv1, bn1, blocks, feature_dim: channels })
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
        let o = inner * architecture.expansion();
        // (input, output, kernel, stride) of each convolution
        let layers = match architecture {
            Architecture::Resnet18 => vec![(i, o, 3, stride), (o, o, 3, 1)],
            Architecture::Resnet50 => vec![(i, inner, 1, 1), (inner, inner, 3, stride), (inner, o, 1, 1)],
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
