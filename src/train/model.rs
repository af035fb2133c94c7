//! An encoder with its projection head: what is trained, saved and loaded.

use crate::gpu::{Buffer, Gpu, Recording};
use crate::graph::{Graph, Memory, ParameterSet, Role};
use crate::nn::{Architecture, Head, HeadKind, Names, ResNet, Stem};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which encoder, for images of which size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    pub arch: Architecture,
    pub stem: Stem,
    /// Channels of the first stage (64 in the papers).
    pub width: usize,
    /// Side of the images in pixels.
    pub size: usize,
}

/// The layers of an encoder, with or without a projection head, and their parameters' names and places.
pub struct Model {
    pub config: EncoderConfig,
    pub parameters: ParameterSet,
    pub encoder: ResNet,
    pub head: Option<Head>,
}

/// A model's values by parameter name, in file order.
pub type Values = BTreeMap<String, Vec<f32>>;

impl Model {
    pub fn new(config: EncoderConfig, head: Option<HeadKind>) -> Result<Model> {
        if config.size < 8 {
            return Err(Error::usage(format!(
                "size: expected images of at least 8 pixels a side, found {}",
                config.size
            )));
        }
        let mut parameters = ParameterSet::new();
        let mut names = Names::new(&mut parameters);
        let encoder = ResNet::new(&mut names, config.arch, config.stem, config.width)?;
        let head = head.map(|kind| Head::new(&mut names, kind, encoder.feature_dim()));
        Ok(Model { config, parameters, encoder, head })
    }

    /// Puts `values` on the GPU.
    ///
    /// # Errors
    /// A missing or mis-sized tensor, by name.
    pub fn upload(&self, gpu: &Gpu, values: &Values) -> Result<Weights> {
        let arena = |label, role| -> Result<Buffer> {
            gpu.buffer_with(label, &self.parameters.pack_arena(role, values)?)
        };
        Ok(Weights {
            trained: arena("parameters", Role::Trained)?,
            state: arena("running statistics", Role::State)?,
        })
    }

    /// Reads the values back from the GPU.
    pub fn download(&self, gpu: &Gpu, weights: &Weights) -> Result<Values> {
        let mut values = Values::new();
        for (role, arena) in [(Role::Trained, &weights.trained), (Role::State, &weights.state)] {
            let packed: Vec<f32> = gpu.read(arena, 0, self.parameters.arena_bytes(role) as usize / 4)?;
            self.parameters.unpack_arena(role, &packed, &mut values);
        }
        Ok(values)
    }
}

/// A model's values in GPU memory.
pub struct Weights {
    pub trained: Buffer,
    pub state: Buffer,
}

impl Weights {
    /// Every parameter that `graph` uses, in its place.
    pub fn memory(&self, parameters: &ParameterSet, graph: &Graph, recording: &mut Recording) -> Memory {
        let mut memory = Memory::default();
        for (id, value) in graph.parameters() {
            let arena = if parameters.get(id).trainable() { &self.trained } else { &self.state };
            memory.values.insert(value, parameters.slice(id, recording, arena));
        }
        memory
    }
}
