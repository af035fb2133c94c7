//! Talos (He & Zhang, CCS 2021, section 6): contrastive pre-training that censors a sensitive attribute.
//!
//! An adversary C guesses the attribute from the embedding; a gradient-reversal layer between them turns its
//! success into a loss of the encoder: the encoder follows ∇L_NT-Xent − λ·∇CE, C follows ∇CE. Whole epochs take turns: in one the encoder and its
//! projection head learn, in the next the adversary, with the encoder in evaluation mode.

use super::config::wrong;
use super::model::AdversaryShape;
use super::program::{Input, Parts};
use super::simclr::{SimclrConfig, embed};
use crate::augment::Recipe;
use crate::gpu::Recording;
use crate::graph::ops::{ConcatRows, GradientReversal, NtXent, SoftmaxCrossEntropy};
use crate::graph::{Graph, Value};
use crate::nn::{Mode, Tracer};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which images the adversary sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CensoredImage {
    /// Both augmented views.
    #[default]
    Augmented,
    /// The plain resized image.
    Original,
}

/// At which place the adversary reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CensoredLocation {
    /// The encoder's features.
    #[default]
    Embedding,
    /// The projection head's output.
    Projection,
}

/// What Talos adds to a SimCLR run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TalosConfig {
    /// λ of the gradient reversal: 0 leaves SimCLR as it is.
    pub lambda: f32,
    /// Classes of the sensitive attribute.
    pub classes: usize,
    #[serde(default)]
    pub image: CensoredImage,
    #[serde(default)]
    pub location: CensoredLocation,
    /// The released code's artefacts 1 and 12: a ReLU on the adversary's logits, and the plain image among the rows
    /// that batch norm sees although nothing else uses it.
    #[serde(default)]
    pub compat: bool,
}

impl TalosConfig {
    /// Both views, on the embedding.
    pub fn new(lambda: f32, classes: usize) -> TalosConfig {
        TalosConfig {
            lambda,
            classes,
            image: CensoredImage::default(),
            location: CensoredLocation::default(),
            compat: false,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(0.0..=1e6).contains(&self.lambda) {
            return wrong("talos.lambda", self.lambda, "a number within 0..=1e6");
        }
        if self.classes < 2 {
            return wrong("talos.classes", self.classes, "at least 2");
        }
        Ok(())
    }

    pub(super) fn adversary(&self) -> AdversaryShape {
        let on_projection = self.location == CensoredLocation::Projection;
        AdversaryShape { classes: self.classes, on_projection, final_relu: self.compat }
    }

    /// Whether the plain image goes through the encoder beside the views.
    fn plain_in_batch(&self) -> bool {
        self.compat || self.image == CensoredImage::Original
    }

    /// Rows that the adversary sees, for a batch of `images`.
    fn rows(&self, images: usize) -> usize {
        match self.image {
            CensoredImage::Augmented => 2 * images,
            CensoredImage::Original => images,
        }
    }
}

/// The adversary's logits.
fn guess(parts: &Parts, tracer: &mut Tracer, seen: Value) -> Result<Value> {
    let adversary = parts.model.adversary.as_ref();
    adversary.ok_or_else(|| Error::shape("talos: the model has no adversary"))?.forward(tracer, seen)
}

/// The image as it is, at the size and with the normalisation of the views.
fn plain(recipe: &Recipe) -> Recipe {
    Recipe::plain(recipe.size).normalised((recipe.mean, recipe.std))
}

/// The epoch's program that trains encoder and projection head.
pub(super) fn encoder_recording(
    config: &SimclrConfig,
    talos: &TalosConfig,
    parts: &Parts,
) -> Result<Recording> {
    let n = config.batch;
    let mut recording = Recording::new(parts.allocator.facts());
    let mut graph = Graph::new();
    let views = parts.views(&mut recording, 0..2, &config.recipe)?;
    let mut inputs =
        vec![Input::tensor("views", views), parts.labels(&mut recording, "labels", talos.rows(n))?];
    let (x, labels) = (inputs[0].value(&mut graph), inputs[1].value(&mut graph));
    let original = if talos.plain_in_batch() {
        let image = Input::tensor("plain", parts.views(&mut recording, 0..1, &plain(&config.recipe))?);
        let value = image.value(&mut graph);
        inputs.push(image);
        Some(value)
    } else {
        None
    };
    let parameters = &parts.model.parameters;
    let mut tracer = Tracer::new(&mut graph, parameters, Mode::Train);
    let embedded = embed(parts.model, &mut tracer, config.batch_norm, n, x, original)?;
    let (h, z) = match (talos.image, embedded.original) {
        (CensoredImage::Original, Some(original)) => original,
        _ => (embedded.features, embedded.projections),
    };
    let seen = if talos.location == CensoredLocation::Projection { z } else { h };
    let reversed = tracer.graph.apply1(GradientReversal { lambda: talos.lambda }, &[seen])?;
    let logits = guess(parts, &mut tracer, reversed)?;
    let censored = graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[logits, labels])?;
    let contrastive = graph.apply1(NtXent { temperature: config.temperature }, &[embedded.projections])?;
    let adversary = parameters.span("adversary.");
    parts.descend(&mut recording, graph, &inputs, &[contrastive, censored], 0..adversary.start, 0)?;
    Ok(recording)
}

/// The epoch's program that trains the adversary, with the encoder in evaluation mode.
pub(super) fn adversary_recording(
    config: &SimclrConfig,
    talos: &TalosConfig,
    parts: &Parts,
) -> Result<Recording> {
    let n = config.batch;
    let mut recording = Recording::new(parts.allocator.facts());
    let views = match talos.image {
        CensoredImage::Augmented => parts.views(&mut recording, 0..2, &config.recipe)?,
        CensoredImage::Original => parts.views(&mut recording, 0..1, &plain(&config.recipe))?,
    };
    let parameters = &parts.model.parameters;
    // The encoder is a graph of its own: no gradient is asked of it.
    let mut frozen = Graph::new();
    let image = Input::tensor("views", views);
    let x = image.value(&mut frozen);
    let mut tracer = Tracer::new(&mut frozen, parameters, Mode::Eval);
    let h = parts.model.encoder.forward(&mut tracer, x)?;
    let seen = match talos.location {
        CensoredLocation::Embedding => h,
        CensoredLocation::Projection => parts.model.project(&mut tracer, h)?,
    };
    let features = crate::kernels::Tensor::transient(&mut recording, "embeddings", frozen.shape(seen)?);
    let memory = parts
        .weights
        .memory(parameters, &frozen, &mut recording)
        .with_input("views", views.slice)
        .with_value(seen, features.slice);
    frozen.record(&mut recording, &memory)?;

    let mut graph = Graph::new();
    let inputs =
        [Input::tensor("embeddings", features), parts.labels(&mut recording, "labels", talos.rows(n))?];
    let (seen, labels) = (inputs[0].value(&mut graph), inputs[1].value(&mut graph));
    let mut tracer = Tracer::new(&mut graph, parameters, Mode::Train);
    let logits = guess(parts, &mut tracer, seen)?;
    let loss = graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[logits, labels])?;
    parts.descend(&mut recording, graph, &inputs, &[loss], parameters.span("adversary."), 1)?;
    Ok(recording)
}

/// Rows of all passes, one after the other.
pub(super) fn concat(tracer: &mut Tracer, values: &[Value]) -> Result<Value> {
    match values {
        [one] => Ok(*one),
        several => tracer.graph.apply1(ConcatRows, several),
    }
}
