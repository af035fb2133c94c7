//! What training programs share: views of a batch, labels, the backward pass, the optimizer.

use super::config::Settings;
use super::images::GpuImages;
use super::key_encoder::KeyEncoder;
use super::model::{Model, Weights};
use super::precision::LossScale;
use crate::augment::{Recipe, augment};
use crate::gpu::{Allocator, Buffer, Recording, Slice};
use crate::graph::{Form, Graph, Value};
use crate::kernels::augment::{Batch, ViewOrder};
use crate::kernels::optim::{Segment, SegmentTable};
use crate::kernels::{Shape, Tensor, loss};
use crate::optim::Arena;
use crate::{Error, Result};
use std::ops::Range;

/// The buffers that the programs of a run work on.
pub(super) struct Parts<'a> {
    pub allocator: Allocator<'a>,
    pub settings: Settings<'a>,
    pub model: &'a Model,
    pub weights: &'a Weights,
    pub images: &'a GpuImages,
    pub gradients: &'a Buffer,
    pub optimizer_state: &'a [Buffer],
    pub step_state: &'a Buffer,
    pub loss_scale: Option<&'a LossScale>,
    /// One label for each row of a batch, a view after the other.
    pub labels: Option<&'a Buffer>,
    /// MoCo's.
    pub keys: Option<&'a KeyEncoder>,
    /// The ring of losses.
    pub losses: &'a Buffer,
}

/// A value that a graph is given, and where it lies.
pub(super) struct Input {
    name: &'static str,
    form: Form,
    slice: Slice,
}

impl Input {
    pub fn words(name: &'static str, slice: Slice) -> Input {
        Input { name, form: Form::Bytes(slice.bytes), slice }
    }

    pub fn tensor(name: &'static str, tensor: Tensor) -> Input {
        Input { name, form: Form::Tensor(tensor.shape), slice: tensor.slice }
    }

    /// Its value in `graph`.
    pub fn value(&self, graph: &mut Graph) -> Value {
        graph.input(self.name, self.form)
    }
}

impl Parts<'_> {
    /// Makes the views of these numbers of each image of the batch, all of one number before all of the next.
    pub fn views(&self, recording: &mut Recording, numbers: Range<usize>, recipe: &Recipe) -> Result<Tensor> {
        let images = self.settings.batch;
        let shape = Shape::new(numbers.len() * images, 3, recipe.size, recipe.size);
        let views = Tensor::transient(recording, "views", shape);
        let batch = Batch {
            entries: recording.persistent(self.images.entries()),
            images,
            views: numbers.len(),
            first_view: numbers.start,
            order: ViewOrder::ViewMajor,
        };
        let source = self.images.images(recording);
        let step = recording.persistent(self.step_state);
        augment(recording, step, &source, &batch, recipe, views)?;
        Ok(views)
    }

    /// The labels of the first `rows` rows.
    pub fn labels(&self, recording: &mut Recording, name: &'static str, rows: usize) -> Result<Input> {
        let labels = self.labels.ok_or_else(|| Error::shape("training: the method has no labels"))?;
        let form = Form::Bytes(rows as u64 * 4);
        Ok(Input { name, form, slice: recording.persistent(labels).part(0, form.bytes()) })
    }

    /// Backward pass of the sum of `losses`, and a step of the optimizer on the parameters in `span`, bytes of the
    /// trained arena. The first loss goes to the ring. `phase` as [`Place`](super::config::Place) counts.
    pub fn descend(
        &self,
        recording: &mut Recording,
        mut graph: Graph,
        inputs: &[Input],
        losses: &[Value],
        span: Range<u64>,
        phase: usize,
    ) -> Result<()> {
        let parameters = &self.model.parameters;
        let weighted: Vec<(Value, f32)> = losses.iter().map(|&loss| (loss, 1.0)).collect();
        let scale = self.loss_scale.map(|scale| scale.input(recording));
        let scale_value = scale.as_ref().map(|input| input.value(&mut graph));
        let found = graph.backward_scaled(&weighted, scale_value)?;
        let mut memory = self.weights.memory(parameters, &graph, recording);
        for input in inputs.iter().chain(&scale) {
            memory = memory.with_input(input.name, input.slice);
        }
        for (id, gradient) in found {
            if span.contains(&parameters.get(id).offset) {
                memory.values.insert(gradient, parameters.slice(id, recording, self.gradients));
            }
        }
        let shown = recording.transient("loss", 16);
        memory.values.insert(losses[0], shown);
        graph.record(recording, &memory)?;
        let step = recording.persistent(self.step_state);
        let ring = recording.persistent(self.losses);
        loss::keep_loss(recording, step, Tensor::new(Shape::matrix(1, 1), shown), ring);
        self.optimize(recording, step, span, phase)
    }

    fn optimize(&self, recording: &mut Recording, step: Slice, span: Range<u64>, phase: usize) -> Result<()> {
        let segments: Vec<Segment> = self
            .model
            .parameters
            .iter()
            .filter(|(_, p)| p.trainable() && span.contains(&p.offset))
            .map(|(_, p)| Segment {
                offset: (p.offset - span.start) as usize / 16,
                length: p.form.bytes() as usize / 16,
            })
            .collect();
        let table = SegmentTable::new(self.allocator, &segments)?;
        let mut part = |buffer: &Buffer| recording.persistent(buffer).part(span.start, span.end - span.start);
        let state: Vec<Slice> = self.optimizer_state.iter().map(&mut part).collect();
        let (parameters, gradients) = (part(&self.weights.trained), part(self.gradients));
        if let Some(scale) = self.loss_scale {
            scale.judge(recording, phase, gradients, step)?;
        }
        let arena = Arena { parameters, gradients, state: &state, segments: Some(&table) };
        self.settings.optimizer.step(recording, step, &arena)
    }
}
