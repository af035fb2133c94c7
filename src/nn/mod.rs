//! Encoders and what they are made of: layers, heads, and the files that hold their weights.
//!
//! A [`StateDict`] is the weights of a model by name, as they stand in files. [`EncoderFile`] reads one from
//! safetensors, whoever wrote it ([`layout`] knows the names that published code uses), and gives a model the
//! values that it asks for.

pub mod encoder_file;
pub mod layout;
pub mod safetensors_file;
pub mod state_dict;

pub use encoder_file::{EncoderFile, EncoderMetadata};
pub use state_dict::{Matched, StateDict, StateTensor};
