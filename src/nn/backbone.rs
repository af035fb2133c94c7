//! An encoder without heads, whichever its architecture.

use super::architecture::{Architecture, Stem};
use super::layers::{Names, Tracer};
use super::mobilenet_v2::MobileNetV2;
use super::resnet::ResNet;
use super::vgg::Vgg11Bn;
use crate::Result;
use crate::graph::Value;

/// Layers from normalised images to features.
#[derive(Clone, Debug)]
pub enum Backbone {
    ResNet(ResNet),
    MobileNetV2(MobileNetV2),
    Vgg11Bn(Vgg11Bn),
}

impl Backbone {
    /// Registers the parameters of an encoder for images of `size` x `size` pixels.
    ///
    /// # Errors
    /// A stem, width or size that the architecture does not have; see [`Architecture::check`].
    pub fn new(
        names: &mut Names,
        architecture: Architecture,
        stem: Stem,
        width: usize,
        size: usize,
    ) -> Result<Backbone> {
        architecture.check(stem, width, size)?;
        Ok(match architecture {
            Architecture::MobilenetV2 => Backbone::MobileNetV2(MobileNetV2::new(names, width)),
            Architecture::Vgg11Bn => Backbone::Vgg11Bn(Vgg11Bn::new(names, width)),
            _ => Backbone::ResNet(ResNet::new(names, architecture, stem, width)),
        })
    }

    /// Length of a feature vector.
    pub fn feature_dim(&self) -> usize {
        match self {
            Backbone::ResNet(network) => network.feature_dim(),
            Backbone::MobileNetV2(network) => network.feature_dim(),
            Backbone::Vgg11Bn(network) => network.feature_dim(),
        }
    }

    /// Images `[N, 3, S, S]`, normalised, to features `[N, feature_dim]`.
    pub fn forward(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        match self {
            Backbone::ResNet(network) => network.forward(tracer, images),
            Backbone::MobileNetV2(network) => network.forward(tracer, images),
            Backbone::Vgg11Bn(network) => network.forward(tracer, images),
        }
    }
}
