//! VGG-11 with batch norm (Simonyan and Zisserman, ICLR 2015): its convolutions, then a global average pool in place of
//! the fully connected layers; parameter names as torchvision's.

use super::layers::{BatchNorm, Conv, Names, Tracer, kaiming};
use crate::Result;
use crate::graph::ops::{GlobalAvgPool2d, MaxPool2d};
use crate::graph::{Init, Value};
use crate::kernels::elementwise::Unary;

/// Channels of each convolution over those of the first; the groups end in a max-pool of 2.
const GROUPS: [&[usize]; 5] = [&[1], &[2], &[4, 4], &[8, 8], &[8, 8]];

/// Convolutions with bias, each followed by batch norm and ReLU.
#[derive(Clone, Debug)]
pub struct Vgg11Bn {
    groups: Vec<Vec<(Conv, BatchNorm)>>,
    feature_dim: usize,
}

impl Vgg11Bn {
    /// `width` is the number of channels of the first convolution (64 in the paper).
    pub fn new(names: &mut Names, width: usize) -> Vgg11Bn {
        let mut names = names.inside("features");
        let (mut place, mut channels) = (0, 3);
        let groups = GROUPS
            .iter()
            .map(|group| {
                let layers = group
                    .iter()
                    .map(|factor| {
                        let o = width * factor;
                        let mut layer = names.inside(place);
                        let conv = Conv::new(&mut layer, channels, o, 3, 1, 1, kaiming(o, 3));
                        let conv = conv.with_bias(&mut layer, o, Init::Zeros);
                        let norm = BatchNorm::new(&mut names.inside(place + 1), o);
                        // Convolution, batch norm and ReLU have a number each.
                        place += 3;
                        channels = o;
                        (conv, norm)
                    })
                    .collect();
                // So has the max-pool.
                place += 1;
                layers
            })
            .collect();
        Vgg11Bn { groups, feature_dim: channels }
    }

    /// Length of a feature vector.
    pub fn feature_dim(&self) -> usize {
        self.feature_dim
    }

    /// Images `[N, 3, H, W]` of at least 32 pixels a side, normalised, to features `[N, feature_dim]`.
    pub fn forward(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        let mut x = images;
        for group in &self.groups {
            for (conv, norm) in group {
                x = conv.forward(tracer, x)?;
                x = norm.forward(tracer, x, None, Some(Unary::Relu))?;
            }
            x = tracer.graph.apply1(MaxPool2d { kernel: 2, stride: 2, padding: 0 }, &[x])?;
        }
        tracer.graph.apply1(GlobalAvgPool2d, &[x])
    }
}
