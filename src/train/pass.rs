//! One submit of a frozen encoder: a batch of images, their views, their features.

use super::encode::{Encoder, Views};
use super::images::{GpuImages, packed};
use super::plan;
use crate::Result;
use crate::augment::augment;
use crate::data::Images;
use crate::gpu::{Allocator, Buffer, Gpu, MemoryPlan, Pending, Program, Recording};
use crate::graph::{Form, Graph};
use crate::kernels::augment::{Batch, ViewOrder};
use crate::kernels::{Shape, StepState, Tensor};
use crate::rng::{Key, Stream};
use std::ops::Range;

/// A program for one batch of images, replayed over all.
pub struct Pass {
    program: Program,
    images: GpuImages,
    features: Buffer,
    row: Shape,
    views: usize,
}

/// What a pass does, and the buffers that it meets the host in.
struct Recorded {
    recording: Recording,
    images: GpuImages,
    features: Buffer,
}

impl Pass {
    /// Plans and compiles the pass of `encoder` over batches of `batch` images of the size of `images`.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::Error::Limit) for tensors over the adapter's limits, with the largest batch that fits, before
    /// anything large is allocated.
    pub fn new(
        gpu: &Gpu,
        encoder: &Encoder,
        images: &dyn Images,
        views: &Views,
        batch: usize,
    ) -> Result<Pass> {
        Pass::of_views(gpu, encoder, images, views, 0..views.count, batch)
    }

    /// The same for the views `range` of each image.
    pub(super) fn of_views(
        gpu: &Gpu,
        encoder: &Encoder,
        images: &dyn Images,
        views: &Views,
        range: Range<usize>,
        batch: usize,
    ) -> Result<Pass> {
        let views_at_once = range.len();
        let built = record(gpu.into(), encoder, images, views, range.clone(), batch)
            .and_then(|recorded| Ok((Program::build(gpu, &recorded.recording)?, recorded)));
        let (program, recorded) = built.map_err(|error| {
            let fits = |batch| Pass::plan(gpu, encoder, images, views, range.clone(), batch).is_ok();
            plan::name_largest(error, batch, 1..batch, fits)
        })?;
        Ok(Pass {
            program,
            images: recorded.images,
            features: recorded.features,
            row: Shape::matrix(1, encoder.feature_dim()),
            views: views_at_once,
        })
    }

    /// The memory that such a pass needs; nothing is allocated.
    pub(super) fn plan(
        gpu: &Gpu,
        encoder: &Encoder,
        images: &dyn Images,
        views: &Views,
        range: Range<usize>,
        batch: usize,
    ) -> Result<MemoryPlan> {
        record(Allocator::Plan(gpu.facts()), encoder, images, views, range, batch)?.recording.plan()
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Features `[indices, views, feature_dim]` of at most a batch of images.
    pub fn run(&self, gpu: &Gpu, images: &dyn Images, indices: &[usize]) -> Result<Vec<f32>> {
        self.start(gpu, indices, &packed(&images.read(indices)?))?.finish(gpu)
    }

    /// Submits a batch. The next one may be submitted before this one is finished: writes, the program and the copy
    /// of its answer come one after the other on the device.
    pub(super) fn start(&self, gpu: &Gpu, indices: &[usize], words: &[u32]) -> Result<Started> {
        self.images.choose_packed(gpu, indices, words)?;
        self.program.submit(gpu);
        let shape = Shape::matrix(indices.len() * self.views, self.row.c);
        Ok(Started { features: gpu.read_later(&self.features, 0, shape.bytes())?, shape })
    }
}

/// A batch that was submitted.
pub(super) struct Started {
    features: Pending,
    shape: Shape,
}

impl Started {
    pub(super) fn finish(self, gpu: &Gpu) -> Result<Vec<f32>> {
        Ok(self.shape.unpack(&self.features.wait::<f32>(gpu)?))
    }
}

fn record(
    allocator: Allocator,
    encoder: &Encoder,
    images: &dyn Images,
    views: &Views,
    range: Range<usize>,
    batch: usize,
) -> Result<Recorded> {
    let rows = batch * range.len();
    let size = encoder.config().size;
    let store = GpuImages::streaming(allocator, images.height(), images.width(), batch)?;
    let key = Key::from_seed(views.seed).stream(Stream::Query, 0);
    let step = allocator.buffer_with("step", &[StepState { augment_key: key.0, ..StepState::default() }])?;
    let features = allocator.buffer("features", Shape::matrix(rows, encoder.feature_dim()).bytes())?;

    let mut recording = Recording::new(allocator.facts());
    recording.freeze(&encoder.weights.trained);
    recording.freeze(&encoder.weights.state);
    let input = Shape::new(rows, 3, size, size);
    let view = Tensor::transient(&mut recording, "views", input);
    let batch = Batch {
        entries: recording.persistent(store.entries()),
        images: batch,
        views: range.len(),
        first_view: range.start,
        order: ViewOrder::ImageMajor,
    };
    let (step, source) = (recording.persistent(&step), store.images(&mut recording));
    augment(&mut recording, step, &source, &batch, &views.recipe, view)?;

    let mut graph = Graph::new();
    let x = graph.input("views", Form::Tensor(input));
    let parameters = &encoder.model.parameters;
    let h = encoder.trace(&mut graph, x)?;
    let result = recording.persistent(&features);
    let memory = encoder
        .weights
        .memory(parameters, &graph, &mut recording)
        .with_input("views", view.slice)
        .with_value(h, result);
    graph.record(&mut recording, &memory)?;
    Ok(Recorded { recording, images: store, features })
}
