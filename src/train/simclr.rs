//! SimCLR (Chen et al., ICML 2020): its settings and its training program.

use super::config::wrong;
use super::model::{EncoderConfig, Model};
use super::precision::Precision;
use super::program::{Input, Parts};
use super::talos::{TalosConfig, adversary_recording, concat, encoder_recording};
use crate::Result;
use crate::augment::Recipe;
use crate::gpu::Recording;
use crate::graph::ops::{NtXent, TakeRows};
use crate::graph::{Graph, Value};
use crate::nn::{Architecture, HeadKind, Mode, Tracer};
use crate::optim::{Optimizer, Schedule};
use serde::{Deserialize, Serialize};

/// Over which views batch norm takes its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNormScope {
    /// Both views of all images in one pass of 2N rows (He & Zhang, sthalles).
    Joint,
    /// A pass for each view, with two updates of the running statistics a step (leftthomas, EncoderMI).
    PerView,
}

/// A SimCLR pre-training run, with or without Talos.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimclrConfig {
    pub seed: u64,
    /// Images in a step; each gives two views. The last partial batch of an epoch is dropped.
    pub batch: usize,
    pub epochs: u64,
    pub temperature: f32,
    pub head: HeadKind,
    pub batch_norm: BatchNormScope,
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
    /// Censoring of an attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talos: Option<TalosConfig>,
}

impl SimclrConfig {
    /// The preset `emi-simclr` (EncoderMI with SimCLR) for other sizes: NT-Xent with τ = 0.5, head `simclr-bn`, a pass for
    /// each view, Adam with 1e-3 and weight decay 1e-6 at a constant rate.
    pub fn emi_simclr(
        encoder: EncoderConfig,
        recipe: Recipe,
        batch: usize,
        epochs: u64,
        seed: u64,
    ) -> SimclrConfig {
        SimclrConfig {
            seed,
            batch,
            epochs,
            temperature: 0.5,
            head: HeadKind::SimclrBn,
            batch_norm: BatchNormScope::PerView,
            learning_rate: 1e-3,
            schedule: Schedule::Const.to_string(),
            encoder,
            optimizer: Optimizer::adam(1e-6),
            recipe,
            precision: Precision::F32,
            talos: None,
        }
    }

    /// The presets `cl-stage0` and `cl-stage1` (He & Zhang): NT-Xent with τ = 0.07, head `simclr-cl-resnet` (`simclr-cl-mobilenet` on MobileNetV2), joint batch norm, Adam with
    /// 3e-4 and weight decay 1e-4; the rate falls by `cosine-delayed`, or with `compat` by `cosine-batches` as released.
    pub fn cl_stage(
        encoder: EncoderConfig,
        recipe: Recipe,
        batch: usize,
        epochs: u64,
        seed: u64,
        compat: bool,
    ) -> SimclrConfig {
        let schedule = if compat { Schedule::CosineBatches } else { Schedule::CosineDelayed };
        SimclrConfig {
            temperature: 0.07,
            head: match encoder.arch {
                Architecture::MobilenetV2 => HeadKind::SimclrClMobilenet,
                _ => HeadKind::SimclrClResnet,
            },
            batch_norm: BatchNormScope::Joint,
            learning_rate: 3e-4,
            schedule: schedule.to_string(),
            optimizer: Optimizer::adam(1e-4),
            ..SimclrConfig::emi_simclr(encoder, recipe, batch, epochs, seed)
        }
    }

    pub(super) fn check_own(&self) -> Result<()> {
        if !(0.001..=1000.0).contains(&self.temperature) {
            return wrong("temperature", self.temperature, "a number within 0.001..=1000");
        }
        self.talos.map_or(Ok(()), |talos| talos.check())
    }

    /// Updates of the running statistics in a step.
    pub(super) fn passes(&self) -> u64 {
        if self.batch_norm == BatchNormScope::PerView { 2 } else { 1 }
    }

    /// A step of each of the run's phases.
    pub(super) fn recordings(&self, parts: &Parts) -> Result<Vec<Recording>> {
        match &self.talos {
            None => Ok(vec![self.recording(parts)?]),
            Some(talos) => {
                Ok(vec![encoder_recording(self, talos, parts)?, adversary_recording(self, talos, parts)?])
            }
        }
    }

    /// Augment, encode, project, NT-Xent, backward, optimizer, in one replayed list.
    fn recording(&self, parts: &Parts) -> Result<Recording> {
        let mut recording = Recording::new(parts.allocator.facts());
        let mut graph = Graph::new();
        let views = Input::tensor("views", parts.views(&mut recording, 0..2, &self.recipe)?);
        let x = views.value(&mut graph);
        let parameters = &parts.model.parameters;
        let mut tracer = Tracer::new(&mut graph, parameters, Mode::Train);
        let z = embed(parts.model, &mut tracer, self.batch_norm, self.batch, x, None)?.projections;
        let loss = graph.apply1(NtXent { temperature: self.temperature }, &[z])?;
        parts.descend(&mut recording, graph, &[views], &[loss], parameters.span(""), 0)?;
        Ok(recording)
    }
}

/// Features and projections of a batch.
pub(super) struct Embedded {
    /// `[2N, d]`, all first views before all second ones.
    pub features: Value,
    /// `[2N, D]`
    pub projections: Value,
    /// Features and projections `[N, …]` of the plain images, if they were given.
    pub original: Option<(Value, Value)>,
}

/// Encodes and projects the views `x` of `n` images and the plain images `original`.
pub(super) fn embed(
    model: &Model,
    tracer: &mut Tracer,
    scope: BatchNormScope,
    n: usize,
    x: Value,
    original: Option<Value>,
) -> Result<Embedded> {
    let rows = |tracer: &mut Tracer, x, first, count| tracer.graph.apply1(TakeRows { first, count }, &[x]);
    let passes = match (scope, original) {
        (BatchNormScope::Joint, None) => vec![x],
        (BatchNormScope::Joint, Some(plain)) => vec![concat(tracer, &[x, plain])?],
        (BatchNormScope::PerView, _) => {
            let mut passes = vec![rows(tracer, x, 0, n)?, rows(tracer, x, n, n)?];
            passes.extend(original);
            passes
        }
    };
    let (mut features, mut projections) = (Vec::new(), Vec::new());
    for pass in passes {
        let h = model.encoder.forward(tracer, pass)?;
        features.push(h);
        projections.push(model.project(tracer, h)?);
    }
    let (features, projections) = (concat(tracer, &features)?, concat(tracer, &projections)?);
    if original.is_none() {
        return Ok(Embedded { features, projections, original: None });
    }
    let plain = (rows(tracer, features, 2 * n, n)?, rows(tracer, projections, 2 * n, n)?);
    Ok(Embedded {
        features: rows(tracer, features, 0, 2 * n)?,
        projections: rows(tracer, projections, 0, 2 * n)?,
        original: Some(plain),
    })
}
