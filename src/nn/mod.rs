//! Networks: layers, encoders, heads, their parameters' names and initial values, and the files that hold them.
//!
//! A network is built once, which registers its parameters by their torchvision names in a
//! [`ParameterSet`](crate::graph::ParameterSet), and traced as often as needed: in training mode for a
//! training program, in evaluation mode for encoding. A [`StateDict`] is the weights of a model by name, as
//! they stand in files; [`EncoderFile`] reads one from safetensors or from a checkpoint of PyTorch, whoever wrote it
//! ([`file_format`] knows the formats, [`layout`] the names that published code uses).

mod architecture;
mod attention;
mod backbone;
mod clip_resnet;
mod clip_vit;
mod element_type;
pub mod encoder_file;
pub mod file_format;
mod head;
mod layers;
pub mod layout;
mod mlp;
mod mobilenet_v2;
pub mod recognize;
mod resnet;
pub mod safetensors_file;
mod safetensors_header;
pub mod state_dict;
pub mod torch_file;
mod vgg;

pub use architecture::{Architecture, Stem};
pub use attention::{AttentionPool2d, ClassToken, MultiHeadAttention, Positions};
pub use backbone::Backbone;
pub use encoder_file::{EncoderFile, EncoderMetadata};
pub use file_format::FileFormat;
pub use head::{Head, HeadKind};
pub use layers::{BatchNorm, Conv, DepthwiseConv, Draws, LayerNorm, Linear, LinearInit, Mode, Names, Tracer};
pub use mlp::{DeepSets, Mlp, PointSets};
pub use state_dict::{Matched, StateDict, StateTensor};
