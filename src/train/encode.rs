//! A frozen encoder: features, projections or logits of images, plain or of random views.

use super::images::packed;
use super::model::{Attachments, EncoderConfig, Model, Values, Weights};
use super::pass::Pass;
use crate::augment::{Constants, Recipe};
use crate::data::Images;
use crate::gpu::{Buffer, Gpu, Recording};
use crate::graph::ops::BatchNormEval;
use crate::graph::{Form, Graph, Memory, Value};
use crate::kernels::Shape;
use crate::nn::{HeadKind, Mode, Tracer};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::sync::mpsc::sync_channel;

/// Which views of each image are encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Views {
    pub recipe: Recipe,
    /// Views of each image, drawn independently.
    pub count: usize,
    /// Seed of the draws: view v of image i depends on (seed, i, v) and the recipe alone.
    pub seed: u64,
}

impl Views {
    /// One view of each image as it is, resized to the encoder's size and normalised.
    pub fn plain(recipe: Recipe) -> Views {
        Views { recipe, count: 1, seed: 0 }
    }
}

/// Which of a model's layers answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Output {
    /// The encoder's features h.
    #[default]
    Features,
    /// The projection head's z.
    Projection(HeadKind),
    /// The logits of the task classifier, of so many classes.
    Logits(usize),
}

impl Output {
    /// What the model carries for it.
    pub fn attachments(&self) -> Attachments {
        match *self {
            Output::Features => Attachments::NONE,
            Output::Projection(kind) => Attachments { projector: Some(kind), ..Attachments::NONE },
            Output::Logits(classes) => Attachments { task: Some(classes), ..Attachments::NONE },
        }
    }
}

/// An encoder in evaluation mode on the GPU.
pub struct Encoder {
    pub(super) model: Model,
    pub(super) weights: Weights,
    output: Output,
}

/// Rows (views) of one submit, at most: enough to fill the adapter.
const ROWS: usize = 200;
/// Bytes of the largest activation of a submit: a plan holds a few tensors of that size.
const LARGEST_ACTIVATION: u64 = 256 << 20;

impl Encoder {
    /// An encoder with these values that answers with features.
    pub fn new(gpu: &Gpu, config: EncoderConfig, values: &Values) -> Result<Encoder> {
        Encoder::with_output(gpu, config, values, Output::Features)
    }

    /// An encoder with these values that answers with `output`.
    ///
    /// # Errors
    /// A missing or mis-sized tensor, by name.
    pub fn with_output(gpu: &Gpu, config: EncoderConfig, values: &Values, output: Output) -> Result<Encoder> {
        let model = Model::new(config, output.attachments())?;
        let weights = model.upload(gpu, values)?;
        Ok(Encoder { model, weights, output })
    }

    /// An encoder that never trained: the initial values of `seed`.
    pub fn untrained(gpu: &Gpu, config: EncoderConfig, seed: u64) -> Result<Encoder> {
        let model = Model::new(config, Attachments::NONE)?;
        let weights = model.upload(gpu, &model.parameters.initial_values(seed))?;
        Ok(Encoder { model, weights, output: Output::Features })
    }

    pub fn config(&self) -> EncoderConfig {
        self.model.config
    }

    /// Which of its layers answers.
    pub fn output(&self) -> Output {
        self.output
    }

    /// Rows of a submit such that the largest activation stays within a binding of this adapter, and within what a
    /// device can hold several of.
    fn rows(&self, gpu: &Gpu) -> Result<usize> {
        let size = self.model.config.size;
        let mut graph = Graph::new();
        let x = graph.input("views", Form::Tensor(Shape::new(1, 3, size, size)));
        self.trace(&mut graph, x)?;
        let bound = gpu.facts().max_binding_bytes.min(LARGEST_ACTIVATION);
        Ok(((bound / graph.largest_tensor()) as usize).clamp(1, ROWS))
    }

    /// What encodes `wanted` images at a time or, where those are over the adapter's limits, as many as are not: one pass, or
    /// several over the views of a single image, one after the other; and the images of a batch.
    fn passes(
        &self,
        gpu: &Gpu,
        images: &dyn Images,
        views: &Views,
        wanted: usize,
    ) -> Result<(Vec<Pass>, usize)> {
        let (mut batch, mut count) = (wanted, views.count);
        while matches!(Pass::plan(gpu, self, images, views, 0..count, batch), Err(Error::Limit { .. })) {
            match (batch, count) {
                (1, 1) => break,
                (1, _) => count = count.div_ceil(2),
                _ => batch /= 2,
            }
        }
        let ranges = (0..views.count).step_by(count).map(|first| first..views.count.min(first + count));
        let passes = ranges.map(|range| Pass::of_views(gpu, self, images, views, range, batch));
        Ok((passes.collect::<Result<_>>()?, batch))
    }

    /// Length of an answer: of a feature vector, a projection, or logits.
    pub fn feature_dim(&self) -> usize {
        match self.output {
            Output::Features => self.model.encoder.feature_dim(),
            Output::Projection(kind) => kind.output(),
            Output::Logits(classes) => classes,
        }
    }

    /// Normalised images `[N, 3, S, S]` to answers `[N, feature_dim]`, in evaluation mode.
    pub(super) fn trace(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let parameters = &self.model.parameters;
        let mut tracer = Tracer::new(graph, parameters, Mode::Eval);
        let h = self.model.encoder.forward(&mut tracer, x)?;
        match self.output {
            Output::Features => Ok(h),
            Output::Projection(_) => self.model.project(&mut tracer, h),
            Output::Logits(_) => self.model.classify(&mut tracer, h),
        }
    }

    /// Features `[indices, views, feature_dim]` of the images `indices`. The result does not depend on how images are
    /// put into batches. `progress` hears how many images come next and says whether to stop.
    ///
    /// # Errors
    /// An index beyond the set; an image that cannot be read; [`Error::Interrupted`] when `progress` says so;
    /// [`Error::Diverged`] for features that are not finite, naming the image.
    pub fn features(
        &self,
        gpu: &Gpu,
        images: &dyn Images,
        indices: &[usize],
        views: &Views,
        mut progress: impl FnMut(usize) -> bool,
    ) -> Result<Vec<f32>> {
        let mut features = Vec::with_capacity(indices.len() * views.count * self.feature_dim());
        let mut sink = |_: usize, part: Vec<f32>| {
            features.extend(part);
            Ok(())
        };
        self.features_in_parts(gpu, images, indices, views, ROWS, &mut sink, &mut progress)?;
        Ok(features)
    }

    /// The same, handed over in parts of `part` images (the last may be shorter) as they are ready: `sink` hears the
    /// place of the part's first image in `indices`, and the part's features `[images, views, feature_dim]`. What
    /// is in memory depends on the part and the batch, not on the number of images: the next batches are read and
    /// decoded on other threads while the GPU works.
    ///
    /// # Errors
    /// See [`features`](Self::features); what `sink` refuses. Parts that were handed over before are good.
    #[allow(clippy::too_many_arguments)]
    pub fn features_in_parts(
        &self,
        gpu: &Gpu,
        images: &dyn Images,
        indices: &[usize],
        views: &Views,
        part: usize,
        sink: &mut dyn FnMut(usize, Vec<f32>) -> Result<()>,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<()> {
        if views.recipe.size != self.model.config.size {
            return Err(Error::shape(format!(
                "views of {0}x{0} pixels do not fit an encoder for {1}x{1}",
                views.recipe.size, self.model.config.size
            )));
        }
        if views.count == 0 || part == 0 {
            return Err(Error::usage(format!(
                "views: expected at least 1 view of each image and 1 image in a part, found {} and {part}",
                views.count
            )));
        }
        images.check_indices(indices)?;
        if indices.is_empty() {
            return Ok(());
        }
        let wanted = (self.rows(gpu)? / views.count).clamp(1, indices.len());
        let (passes, batch) = self.passes(gpu, images, views, wanted)?;
        let row = views.count * self.feature_dim();
        let (mut ready, mut first) = (Vec::new(), 0);
        let mut take = |features: Vec<f32>, last: bool| -> Result<()> {
            ready.extend(features);
            while ready.len() >= part * row || (last && !ready.is_empty()) {
                let rest = ready.split_off(ready.len().min(part * row));
                let features = std::mem::replace(&mut ready, rest);
                let count = features.len() / row;
                if let Some(at) = features.iter().position(|v| !v.is_finite()) {
                    return Err(Error::Diverged(format!(
                        "{}: the encoder gives NaN or infinity; its weights are broken or on another scale than its \
                         normalisation",
                        images.id(indices[first + at / row])
                    )));
                }
                sink(first, features)?;
                first += count;
            }
            Ok(())
        };
        let mut waiting = VecDeque::new();
        ahead(images, indices.chunks(batch), |chunk, words| {
            if progress(chunk.len()) {
                return Err(Error::Interrupted("stopped while encoding; nothing was written".into()));
            }
            for pass in &passes {
                waiting.push_back(pass.start(gpu, chunk, words)?);
                if waiting.len() > UNDER_WAY
                    && let Some(done) = waiting.pop_front()
                {
                    take(done.finish(gpu)?, false)?;
                }
            }
            Ok(())
        })?;
        for done in waiting {
            take(done.finish(gpu)?, false)?;
        }
        take(Vec::new(), true)
    }
}

/// Batches that are submitted before the features of the first are waited for.
const UNDER_WAY: usize = 2;

/// Calls `work` with each chunk and its images, [`packed`]. Another thread reads ahead: one chunk lies ready, one more
/// is being read.
fn ahead<'a>(
    images: &dyn Images,
    chunks: impl Iterator<Item = &'a [usize]> + Send + Clone,
    mut work: impl FnMut(&[usize], &[u32]) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let to_read = chunks.clone();
        scope.spawn(move || {
            for chunk in to_read {
                let read = images.read(chunk).map(|pixels| packed(&pixels));
                // Nobody listens once the work has failed.
                if sender.send(read).is_err() {
                    return;
                }
            }
        });
        for chunk in chunks {
            let words = receiver
                .recv()
                .map_err(|_| Error::shape(format!("{}: reading ahead ended early", images.name())))??;
            work(chunk, &words)?;
        }
        Ok(())
    })
}

/// An encoder that takes pixel values in 0..1 and normalises them itself, for attacks that make images on the GPU.
pub struct PixelInput<'a> {
    encoder: &'a Encoder,
    /// Scale, shift, mean and variance of the normalisation as a batch norm.
    constants: [Buffer; 4],
}

impl<'a> PixelInput<'a> {
    /// With the mean and standard deviation that the encoder was trained with.
    pub fn new(gpu: &Gpu, encoder: &'a Encoder, (mean, std): Constants) -> Result<PixelInput<'a>> {
        let vector = |label, values: [f64; 3]| {
            gpu.buffer_with(label, &Shape::matrix(1, 3).pack(&values.map(|v| v as f32)))
        };
        // (x − mean)/√(variance + ε)·scale, with variance + ε = 1.
        let constants = [
            vector("1 / std", std.map(|std| 1.0 / std))?,
            vector("shift", [0.0; 3])?,
            vector("mean", mean)?,
            vector("variance", [1.0 - f64::from(crate::kernels::norm::EPSILON); 3])?,
        ];
        Ok(PixelInput { encoder, constants })
    }

    /// Shape of one image.
    pub fn image(&self) -> Shape {
        let size = self.encoder.config().size;
        Shape::new(1, 3, size, size)
    }

    /// Images `[N, 3, S, S]` with values in 0..1 to the encoder's answers, and where all parameters lie.
    pub fn trace(&self, graph: &mut Graph, recording: &mut Recording, x: Value) -> Result<(Value, Memory)> {
        let names = ["pixels.scale", "pixels.shift", "pixels.mean", "pixels.variance"];
        let form = Form::Tensor(Shape::matrix(1, 3));
        let mut inputs = vec![x];
        inputs.extend(names.map(|name| graph.input(name, form)));
        let normalised = graph.apply1(BatchNormEval { activation: None }, &inputs)?;
        let y = self.encoder.trace(graph, normalised)?;
        recording.freeze(&self.encoder.weights.trained);
        recording.freeze(&self.encoder.weights.state);
        let mut memory = self.encoder.weights.memory(&self.encoder.model.parameters, graph, recording);
        for (name, constant) in names.iter().zip(&self.constants) {
            memory = memory.with_input(name, recording.persistent(constant));
        }
        Ok((y, memory))
    }
}
