//! CLIP's ModifiedResNet RN50 (Radford et al., ICML 2021): a stem of three convolutions, average pools in place of strides,
//! attention pooling; parameter names as openai/CLIP's, under `visual.`.

use super::attention::AttentionPool2d;
use super::layers::{BatchNorm, Conv, Names, Tracer};
use crate::Result;
use crate::graph::ops::AvgPool2d;
use crate::graph::{Init, Value};
use crate::kernels::elementwise::Unary;

/// Blocks of each stage.
const BLOCKS: [usize; 4] = [3, 4, 6, 3];
/// Output channels of a block over its inner width.
const EXPANSION: usize = 4;
/// Side of the images over that of the last map.
const STRIDE: usize = 32;
/// Channels of an attention head.
const HEAD: usize = 64;

/// An encoder up to its attention pool.
#[derive(Clone, Debug)]
pub struct ClipResNet {
    stem: Vec<(Conv, BatchNorm)>,
    blocks: Vec<Block>,
    pool: AttentionPool2d,
    feature_dim: usize,
}

#[derive(Clone, Debug)]
struct Block {
    /// 1x1, 3x3 and 1x1, all of stride 1, each with its batch norm.
    body: [(Conv, BatchNorm); 3],
    /// Side of the average pool before the last convolution, 1 for none.
    stride: usize,
    downsample: Option<(Conv, BatchNorm)>,
}

fn average(tracer: &mut Tracer, side: usize, x: Value) -> Result<Value> {
    match side {
        1 => Ok(x),
        _ => tracer.graph.apply1(AvgPool2d { kernel: side, stride: side }, &[x]),
    }
}

/// Layers `convNUMBER` and `bnNUMBER`.
struct ConvNorm {
    number: usize,
    i: usize,
    o: usize,
    kernel: usize,
    stride: usize,
    scale: Init,
}

impl ConvNorm {
    fn build(self, names: &mut Names) -> (Conv, BatchNorm) {
        let ConvNorm { number, i, o, kernel, stride, scale } = self;
        let fan_in = Init::Uniform(1.0 / ((i * kernel * kernel) as f64).sqrt());
        let mut layer = names.inside(format!("conv{number}"));
        let conv = Conv::new(&mut layer, i, o, kernel, stride, kernel / 2, fan_in);
        (conv, BatchNorm::scaled(&mut names.inside(format!("bn{number}")), o, scale))
    }
}

impl ClipResNet {
    /// For images of `size` pixels a side, a multiple of 32. `width` is the number of channels after the stem (64 in
    /// the paper), an even one; features are sixteen times as long.
    pub fn new(names: &mut Names, width: usize, size: usize) -> ClipResNet {
        let mut names = names.inside("visual");
        let stem = [(3, width / 2, 2), (width / 2, width / 2, 1), (width / 2, width, 1)];
        let stem = stem
            .into_iter()
            .enumerate()
            .map(|(n, (i, o, stride))| {
                ConvNorm { number: n + 1, i, o, kernel: 3, stride, scale: Init::Ones }.build(&mut names)
            })
            .collect();
        let mut blocks = Vec::new();
        let mut channels = width;
        for (stage, count) in BLOCKS.into_iter().enumerate() {
            let inner = width << stage;
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                let mut layer = names.inside(format!("layer{}", stage + 1));
                blocks.push(Block::new(&mut layer.inside(index), channels, inner, stride));
                channels = inner * EXPANSION;
            }
        }
        let feature_dim = channels / 2;
        let pixels = (size / STRIDE).pow(2);
        let heads = channels / HEAD;
        let pool =
            AttentionPool2d::new(&mut names.inside("attnpool"), pixels, channels, heads.max(1), feature_dim);
        ClipResNet { stem, blocks, pool, feature_dim }
    }

    /// Length of a feature vector.
    pub fn feature_dim(&self) -> usize {
        self.feature_dim
    }

    /// Images `[N, 3, S, S]`, normalised, to features `[N, feature_dim]`.
    pub fn forward(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        let mut x = images;
        for (conv, norm) in &self.stem {
            x = conv.forward(tracer, x)?;
            x = norm.forward(tracer, x, None, Some(Unary::Relu))?;
        }
        x = average(tracer, 2, x)?;
        for block in &self.blocks {
            x = block.forward(tracer, x)?;
        }
        self.pool.forward(tracer, x)
    }
}

impl Block {
    fn new(names: &mut Names, i: usize, inner: usize, stride: usize) -> Block {
        let o = inner * EXPANSION;
        // Blocks begin as the identity: their last batch norm is multiplied by zero.
        let body = [(i, inner, 1, Init::Ones), (inner, inner, 3, Init::Ones), (inner, o, 1, Init::Zeros)];
        let mut number = 0;
        let body = body.map(|(i, o, kernel, scale)| {
            number += 1;
            ConvNorm { number, i, o, kernel, stride: 1, scale }.build(names)
        });
        let downsample = (stride != 1 || i != o).then(|| {
            let mut names = names.inside("downsample");
            let fan_in = Init::Uniform(1.0 / (i as f64).sqrt());
            let conv = Conv::new(&mut names.inside(0), i, o, 1, 1, 0, fan_in);
            (conv, BatchNorm::new(&mut names.inside(1), o))
        });
        Block { body, stride, downsample }
    }

    fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let shortcut = match &self.downsample {
            Some((conv, norm)) => {
                let y = average(tracer, self.stride, x)?;
                let y = conv.forward(tracer, y)?;
                norm.forward(tracer, y, None, None)?
            }
            None => x,
        };
        let [first, second, third] = &self.body;
        let mut y = x;
        for (conv, norm) in [first, second] {
            y = conv.forward(tracer, y)?;
            y = norm.forward(tracer, y, None, Some(Unary::Relu))?;
        }
        y = average(tracer, self.stride, y)?;
        y = third.0.forward(tracer, y)?;
        third.1.forward(tracer, y, Some(shortcut), Some(Unary::Relu))
    }
}
