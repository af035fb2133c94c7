//! Networks: layers, encoders, heads, their parameters' names and initial values.
//!
//! A network is built once, which registers its parameters by their torchvision names in a
//! [`ParameterSet`](crate::graph::ParameterSet), and traced as often as needed: in training mode for a
//! training program, in evaluation mode for encoding.

mod head;
mod layers;
mod mlp;
mod resnet;

pub use head::{Head, HeadKind};
pub use layers::{BatchNorm, Conv, Draws, Linear, LinearInit, Mode, Names, Tracer};
pub use mlp::{DeepSets, Mlp};
pub use resnet::{Architecture, ResNet, Stem};
