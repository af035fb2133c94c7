//! An encoder without heads, whichever its architecture.

use super::architecture::{Architecture, Stem};
use super::clip_resnet::ClipResNet;
use super::clip_vit::ClipVit;
use super::layers::{Names, Tracer};
use super::mobilenet_v2::MobileNetV2;
use super::resnet::ResNet;
use super::vgg::Vgg11Bn;
use crate::Result;
use crate::graph::Value;
use crate::kernels::elementwise::Gelu;

/// Layers from normalised images to features.
#[derive(Clone, Debug)]
pub enum Backbone {
    ResNet(ResNet),
    MobileNetV2(MobileNetV2),
    Vgg11Bn(Vgg11Bn),
    ClipResNet(ClipResNet),
    ClipVit(ClipVit),
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
            Architecture::ClipRn50 => Backbone::ClipResNet(ClipResNet::new(names, width, size)),
            Architecture::ClipVitB32 => Backbone::ClipVit(ClipVit::new(names, width, size, Gelu::Quick)),
            Architecture::OpenClipVitB32 => Backbone::ClipVit(ClipVit::new(names, width, size, Gelu::Exact)),
            _ => Backbone::ResNet(ResNet::new(names, architecture, stem, width)),
        })
    }

    /// Length of a feature vector.
    pub fn feature_dim(&self) -> usize {
        match self {
            Backbone::ResNet(network) => network.feature_dim(),
            Backbone::MobileNetV2(network) => network.feature_dim(),
            Backbone::Vgg11Bn(network) => network.feature_dim(),
            Backbone::ClipResNet(network) => network.feature_dim(),
            Backbone::ClipVit(network) => network.feature_dim(),
        }
    }

    /// Images `[N, 3, S, S]`, normalised, to features `[N, feature_dim]`.
    pub fn forward(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        match self {
            Backbone::ResNet(network) => network.forward(tracer, images),
            Backbone::MobileNetV2(network) => network.forward(tracer, images),
            Backbone::Vgg11Bn(network) => network.forward(tracer, images),
            Backbone::ClipResNet(network) => network.forward(tracer, images),
            Backbone::ClipVit(network) => network.forward(tracer, images),
        }
    }
}
