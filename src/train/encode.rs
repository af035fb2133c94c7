//! A frozen encoder: features, projections or logits of images, plain or of random views.

use super::images::GpuImages;
use super::model::{Attachments, EncoderConfig, Model, Values, Weights};
use crate::augment::{Constants, Recipe, augment};
use crate::data::ImageSet;
use crate::gpu::{Buffer, Gpu, Program, Recording};
use crate::graph::ops::BatchNormEval;
use crate::graph::{Form, Graph, Memory, Value};
use crate::kernels::augment::{Batch, ViewOrder};
use crate::kernels::{Shape, StepState, Tensor};
use crate::nn::{HeadKind, Mode, Stem, Tracer};
use crate::rng::{Key, Stream};
use crate::{Error, Result};

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
    model: Model,
    weights: Weights,
    output: Output,
}

/// Rows (views) of one submit, at most: enough to fill the adapter.
const ROWS: usize = 200;

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

    /// Rows of a submit such that the largest activation, the first stage's output, fits a binding of this adapter.
    fn rows(&self, gpu: &Gpu) -> usize {
        let EncoderConfig { stem, width, size, .. } = self.model.config;
        let (side, channels) = match stem {
            Stem::Cifar => (size, width * 4),
            Stem::Imagenet => (size.div_ceil(2), width),
        };
        let row = Shape::new(1, channels, side, side).bytes();
        ((gpu.facts().max_binding_bytes / row) as usize).clamp(1, ROWS)
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

    /// Features `[images, views, feature_dim]` of the images `indices` of `set`. The result does not depend on
    /// how images are put into batches. `progress` hears how many images come next and says whether
    /// to stop.
    ///
    /// # Errors
    /// An index beyond the set; [`Error::Interrupted`] when `progress` says so; [`Error::Diverged`] for features that
    /// are not finite, naming the image.
    pub fn features(
        &self,
        gpu: &Gpu,
        set: &ImageSet,
        indices: &[usize],
        views: &Views,
        mut progress: impl FnMut(usize) -> bool,
    ) -> Result<Vec<f32>> {
        if views.recipe.size != self.model.config.size {
            return Err(Error::shape(format!(
                "views of {0}x{0} pixels do not fit an encoder for {1}x{1}",
                views.recipe.size, self.model.config.size
            )));
        }
        if views.count == 0 {
            return Err(Error::usage("views: expected at least 1 view of each image, found 0"));
        }
        if let Some(index) = indices.iter().find(|&&index| index >= set.len()) {
            return Err(Error::shape(format!(
                "{}: expected image indices below {}, found {index}",
                set.name,
                set.len()
            )));
        }
        let images = (self.rows(gpu) / views.count).clamp(1, indices.len().max(1));
        let pass = Pass::new(gpu, self, set, views, images)?;
        let mut features = Vec::with_capacity(indices.len() * views.count * self.feature_dim());
        for chunk in indices.chunks(images) {
            if progress(chunk.len()) {
                return Err(Error::Interrupted("stopped while encoding; nothing was written".into()));
            }
            features.extend(pass.run(gpu, set, chunk)?);
        }
        match features.iter().position(|v| !v.is_finite()) {
            None => Ok(features),
            Some(at) => {
                let image = indices[at / (views.count * self.feature_dim())];
                Err(Error::Diverged(format!(
                    "{}: the encoder gives NaN or infinity; its weights are broken or on another scale than its normalisation",
                    set.ids.get(image).map_or("image", String::as_str)
                )))
            }
        }
    }
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
        let mut memory = self.encoder.weights.memory(&self.encoder.model.parameters, graph, recording);
        for (name, constant) in names.iter().zip(&self.constants) {
            memory = memory.with_input(name, recording.persistent(constant));
        }
        Ok((y, memory))
    }
}

/// A program for one batch of images, replayed over all.
pub struct Pass {
    program: Program,
    images: GpuImages,
    features: Buffer,
    row: Shape,
    views: usize,
}

impl Pass {
    /// Plans and compiles the pass of `encoder` over batches of `images` images of the size of those in `set`.
    ///
    /// # Errors
    /// Tensors over the adapter's limits, before anything large is allocated.
    pub fn new(gpu: &Gpu, encoder: &Encoder, set: &ImageSet, views: &Views, images: usize) -> Result<Pass> {
        let rows = images * views.count;
        let size = encoder.model.config.size;
        let store = GpuImages::streaming(gpu, set.height, set.width, images)?;
        let key = Key::from_seed(views.seed).stream(Stream::Query, 0);
        let step = gpu.buffer_with("step", &[StepState { augment_key: key.0, ..StepState::default() }])?;
        let features = gpu.buffer("features", Shape::matrix(rows, encoder.feature_dim()).bytes())?;

        let mut recording = Recording::new(gpu.facts());
        let input = Shape::new(rows, 3, size, size);
        let view = Tensor::transient(&mut recording, "views", input);
        let batch = Batch {
            entries: recording.persistent(store.entries()),
            images,
            views: views.count,
            first_view: 0,
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
        let program = Program::build(gpu, &recording)?;
        let row = Shape::matrix(1, encoder.feature_dim());
        Ok(Pass { program, images: store, features, row, views: views.count })
    }

    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Features `[indices, views, feature_dim]` of at most a batch of images.
    pub fn run(&self, gpu: &Gpu, set: &ImageSet, indices: &[usize]) -> Result<Vec<f32>> {
        self.images.choose(gpu, set, indices)?;
        self.program.submit(gpu);
        let shape = Shape::matrix(indices.len() * self.views, self.row.c);
        let packed: Vec<f32> = gpu.read(&self.features, 0, shape.texels() * 4)?;
        Ok(shape.unpack(&packed))
    }
}
