//! MobileNetV2 (Sandler et al., CVPR 2018) up to its global average pool; parameter names as torchvision's.

use super::layers::{BatchNorm, Conv, DepthwiseConv, Names, Tracer, kaiming};
use crate::Result;
use crate::graph::Value;
use crate::graph::ops::GlobalAvgPool2d;
use crate::kernels::elementwise::Unary;

/// Expansion, channels, repeats and first stride of each group of blocks (paper, table 2).
const GROUPS: [[usize; 4]; 7] = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
];
/// Channels of the first and the last convolution.
const FIRST: usize = 32;
const LAST: usize = 1280;

/// Convolutions, each with batch norm and ReLU6, between them inverted residual blocks.
#[derive(Clone, Debug)]
pub struct MobileNetV2 {
    first: (Conv, BatchNorm),
    blocks: Vec<InvertedResidual>,
    last: (Conv, BatchNorm),
    feature_dim: usize,
}

/// 1x1 to more channels, depthwise 3x3, 1x1 to fewer channels without activation.
#[derive(Clone, Debug)]
struct InvertedResidual {
    expand: Option<(Conv, BatchNorm)>,
    depthwise: (DepthwiseConv, BatchNorm),
    project: (Conv, BatchNorm),
    /// Whether the input is added to the output.
    residual: bool,
}

/// A number of channels times `width / 32`, rounded to a multiple of eight and not below nine tenths of itself, as
/// torchvision rounds.
fn scaled(channels: usize, width: usize) -> usize {
    let exact = channels * width;
    let rounded = ((exact + 4 * FIRST) / (8 * FIRST) * 8).max(8);
    if rounded * FIRST * 10 < exact * 9 { rounded + 8 } else { rounded }
}

impl MobileNetV2 {
    /// `width` is the number of channels of the first convolution: 32 times the paper's width multiplier.
    pub fn new(names: &mut Names, width: usize) -> MobileNetV2 {
        let mut names = names.inside("features");
        let mut channels = scaled(FIRST, width);
        let first = conv_norm(&mut names.inside(0), 3, channels, 3, 2);
        let mut blocks = Vec::new();
        for [expansion, out, repeats, stride] in GROUPS {
            let out = scaled(out, width);
            for repeat in 0..repeats {
                let stride = if repeat == 0 { stride } else { 1 };
                let mut block = names.inside(blocks.len() + 1);
                blocks.push(InvertedResidual::new(
                    &mut block.inside("conv"),
                    channels,
                    out,
                    expansion,
                    stride,
                ));
                channels = out;
            }
        }
        let feature_dim = if width > FIRST { scaled(LAST, width) } else { LAST };
        let last = conv_norm(&mut names.inside(blocks.len() + 1), channels, feature_dim, 1, 1);
        MobileNetV2 { first, blocks, last, feature_dim }
    }

    /// Length of a feature vector.
    pub fn feature_dim(&self) -> usize {
        self.feature_dim
    }

    /// Images `[N, 3, H, W]`, normalised, to features `[N, feature_dim]`.
    pub fn forward(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        let mut x = activated(tracer, &self.first, images)?;
        for block in &self.blocks {
            x = block.forward(tracer, x)?;
        }
        let x = activated(tracer, &self.last, x)?;
        tracer.graph.apply1(GlobalAvgPool2d, &[x])
    }
}

impl InvertedResidual {
    fn new(names: &mut Names, i: usize, o: usize, expansion: usize, stride: usize) -> InvertedResidual {
        let inner = i * expansion;
        let expand = (expansion != 1).then(|| conv_norm(&mut names.inside(0), i, inner, 1, 1));
        let at = usize::from(expand.is_some());
        let mut layer = names.inside(at);
        let depthwise = (
            DepthwiseConv::new(&mut layer.inside(0), inner, 3, stride, 1, kaiming(inner, 3)),
            BatchNorm::new(&mut layer.inside(1), inner),
        );
        let project = (
            Conv::new(&mut names.inside(at + 1), inner, o, 1, 1, 0, kaiming(o, 1)),
            BatchNorm::new(&mut names.inside(at + 2), o),
        );
        InvertedResidual { expand, depthwise, project, residual: stride == 1 && i == o }
    }

    fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let mut y = x;
        if let Some(expand) = &self.expand {
            y = activated(tracer, expand, y)?;
        }
        let (conv, norm) = &self.depthwise;
        y = conv.forward(tracer, y)?;
        y = norm.forward(tracer, y, None, Some(Unary::Relu6))?;
        let (conv, norm) = &self.project;
        y = conv.forward(tracer, y)?;
        norm.forward(tracer, y, self.residual.then_some(x), None)
    }
}

fn conv_norm(names: &mut Names, i: usize, o: usize, kernel: usize, stride: usize) -> (Conv, BatchNorm) {
    let conv = Conv::new(&mut names.inside(0), i, o, kernel, stride, kernel / 2, kaiming(o, kernel));
    (conv, BatchNorm::new(&mut names.inside(1), o))
}

fn activated(tracer: &mut Tracer, (conv, norm): &(Conv, BatchNorm), x: Value) -> Result<Value> {
    let y = conv.forward(tracer, x)?;
    norm.forward(tracer, y, None, Some(Unary::Relu6))
}
