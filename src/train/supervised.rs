//! Supervised training of an encoder with a linear classifier: the baseline of He & Zhang.

use super::config::wrong;
use super::model::EncoderConfig;
use super::precision::Precision;
use super::program::{Input, Parts};
use crate::Result;
use crate::augment::Recipe;
use crate::gpu::Recording;
use crate::graph::Graph;
use crate::graph::ops::SoftmaxCrossEntropy;
use crate::nn::{Mode, Tracer};
use crate::optim::{Optimizer, Schedule};
use serde::{Deserialize, Serialize};

/// Cross-entropy on the target label, all weights from scratch (He & Zhang, CCS 2021, section 3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisedConfig {
    pub seed: u64,
    /// Images in a step, one view each. The last partial batch of an epoch is dropped.
    pub batch: usize,
    pub epochs: u64,
    /// Classes of the target label.
    pub classes: usize,
    pub learning_rate: f64,
    /// As [`Schedule`] writes itself, e.g. `cosine`.
    pub schedule: String,
    pub encoder: EncoderConfig,
    pub optimizer: Optimizer,
    /// How views are made; its normalisation is the encoder's.
    pub recipe: Recipe,
    /// Left out where it is f32.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
}

impl SupervisedConfig {
    /// The preset `cl-supervised`: SGD with rate 0.1, momentum 0.9, weight decay 5e-4, cosine, horizontal flips. The released code's Adam with
    /// rate 0.05 (`compat`) learns very poor features.
    pub fn cl_supervised(
        encoder: EncoderConfig,
        recipe: Recipe,
        classes: usize,
        batch: usize,
        epochs: u64,
        seed: u64,
        compat: bool,
    ) -> SupervisedConfig {
        let (learning_rate, schedule, optimizer) = if compat {
            (0.05, Schedule::Const, Optimizer::adam(1e-4))
        } else {
            (0.1, Schedule::Cosine, Optimizer::sgd(5e-4))
        };
        let schedule = schedule.to_string();
        SupervisedConfig {
            seed,
            batch,
            epochs,
            classes,
            learning_rate,
            schedule,
            encoder,
            optimizer,
            recipe,
            precision: Precision::F32,
        }
    }

    pub(super) fn check_own(&self) -> Result<()> {
        if self.classes < 2 {
            return wrong("classes", self.classes, "at least 2");
        }
        Ok(())
    }

    /// Views, encoder, linear classifier, cross-entropy, optimizer.
    pub(super) fn recording(&self, parts: &Parts) -> Result<Recording> {
        let mut recording = Recording::new(parts.allocator.facts());
        let views = parts.views(&mut recording, 0..1, &self.recipe)?;
        let mut graph = Graph::new();
        let mut inputs = vec![Input::tensor("views", views)];
        let x = inputs[0].value(&mut graph);
        inputs.push(parts.labels(&mut recording, "labels", self.batch)?);
        let labels = inputs[1].value(&mut graph);
        let parameters = &parts.model.parameters;
        let mut tracer = Tracer::new(&mut graph, parameters, Mode::Train);
        let h = parts.model.encoder.forward(&mut tracer, x)?;
        let logits = parts.model.classify(&mut tracer, h)?;
        let loss = graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[logits, labels])?;
        parts.descend(&mut recording, graph, &inputs, &[loss], parameters.span(""), 0)?;
        Ok(recording)
    }
}
