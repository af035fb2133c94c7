//! An encoder with what it carries: a projection head, a task classifier, an adversary. What is trained, saved and loaded.

use crate::gpu::{Allocator, Buffer, Gpu, Recording};
use crate::graph::{Graph, Memory, ParameterSet, Role, Value};
use crate::kernels::elementwise::Unary;
use crate::nn::{Architecture, Backbone, Head, HeadKind, Linear, LinearInit, Mlp, Names, Stem, Tracer};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Which encoder, for images of which size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncoderConfig {
    pub arch: Architecture,
    pub stem: Stem,
    /// Channels of the first stage, or of a transformer ([`Architecture::usual_width`] in the papers).
    pub width: usize,
    /// Side of the images in pixels.
    pub size: usize,
}

impl fmt::Display for EncoderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EncoderConfig { arch, stem, width, size } = self;
        match stem {
            Stem::Own => write!(f, "{arch}, width {width}, {size}x{size} pixels"),
            _ => write!(f, "{arch} with {stem} stem, width {width}, {size}x{size} pixels"),
        }
    }
}

/// What an encoder carries beside its own layers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attachments {
    /// The projection head of contrastive training, `projector.*`.
    pub projector: Option<HeadKind>,
    /// A linear classifier of so many classes on the features, `head.*`.
    pub task: Option<usize>,
    /// The adversarial classifier of Talos, `adversary.*`.
    pub adversary: Option<AdversaryShape>,
}

impl Attachments {
    /// The encoder alone.
    pub const NONE: Attachments = Attachments { projector: None, task: None, adversary: None };
}

/// The adversary of Talos: d → 64 → 64 → classes on features or projections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdversaryShape {
    pub classes: usize,
    /// Whether it reads the projection instead of the features.
    pub on_projection: bool,
    /// Whether a ReLU follows the logits, as in the released code.
    pub final_relu: bool,
}

/// The layers of an encoder and of what it carries, and their parameters' names and places.
pub struct Model {
    pub config: EncoderConfig,
    pub parameters: ParameterSet,
    pub encoder: Backbone,
    pub projector: Option<Head>,
    pub task: Option<Linear>,
    pub adversary: Option<Mlp>,
}

/// A model's values by parameter name, in file order.
pub type Values = BTreeMap<String, Vec<f32>>;

/// Hidden units of the adversary's two layers (He & Zhang).
const ADVERSARY_WIDTH: usize = 64;

impl Model {
    pub fn new(config: EncoderConfig, carried: Attachments) -> Result<Model> {
        let mut parameters = ParameterSet::new();
        let mut names = Names::new(&mut parameters);
        let encoder = Backbone::new(&mut names, config.arch, config.stem, config.width, config.size)?;
        let features = encoder.feature_dim();
        let projector = carried.projector.map(|kind| Head::new(&mut names, kind, features));
        let task = carried.task.map(|classes| {
            Linear::new(&mut names.inside("head"), features, classes, true, None, LinearInit::Default)
        });
        let adversary = carried.adversary.map(|shape| {
            let input = match carried.projector {
                Some(kind) if shape.on_projection => kind.output(),
                _ => features,
            };
            let widths = [input, ADVERSARY_WIDTH, ADVERSARY_WIDTH, shape.classes];
            let last = shape.final_relu.then_some(Unary::Relu);
            Mlp::new(&mut names.inside("adversary"), &widths, Unary::Relu, LinearInit::Default, last)
        });
        Ok(Model { config, parameters, encoder, projector, task, adversary })
    }

    /// Projections `[N, D]` of features; the features themselves without a projection head.
    pub fn project(&self, tracer: &mut Tracer, features: Value) -> Result<Value> {
        self.projector.as_ref().map_or(Ok(features), |head| head.forward(tracer, features))
    }

    /// Logits `[N, classes]` of features.
    ///
    /// # Errors
    /// A model without task classifier.
    pub fn classify(&self, tracer: &mut Tracer, features: Value) -> Result<Value> {
        let task = self.task.ok_or_else(|| Error::shape("model: has no task classifier"))?;
        task.forward(tracer, features)
    }

    /// Puts `values` on the GPU.
    ///
    /// # Errors
    /// A missing or mis-sized tensor, by name.
    pub fn upload(&self, gpu: &Gpu, values: &Values) -> Result<Weights> {
        self.memory(gpu.into(), Some(values))
    }

    /// Memory for its values, and `values` in it if they are given.
    ///
    /// # Errors
    /// See [`Model::upload`].
    pub(super) fn memory(&self, allocator: Allocator, values: Option<&Values>) -> Result<Weights> {
        let arena = |label, role| -> Result<Buffer> {
            match values {
                Some(values) => allocator.buffer_with(label, &self.parameters.pack_arena(role, values)?),
                None => allocator.buffer(label, self.parameters.arena_bytes(role)),
            }
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
    /// Puts `values` in their place.
    ///
    /// # Errors
    /// A missing or mis-sized tensor, by name.
    pub fn write(&self, gpu: &Gpu, parameters: &ParameterSet, values: &Values) -> Result<()> {
        for (role, arena) in [(Role::Trained, &self.trained), (Role::State, &self.state)] {
            gpu.write(arena, 0, &parameters.pack_arena(role, values)?)?;
        }
        Ok(())
    }

    /// Every parameter that `graph` uses, in its place.
    pub fn memory(&self, parameters: &ParameterSet, graph: &Graph, recording: &mut Recording) -> Memory {
        let mut memory = Memory::default();
        for (id, value) in graph.parameters() {
            let arena = if parameters.get(id).trainable() { &self.trained } else { &self.state };
            memory.values.insert(value, parameters.slice(id, recording, arena));
            let name = &parameters.get(id).name;
            let layer = name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer);
            memory.names.insert(value, layer.to_string());
        }
        memory
    }
}
