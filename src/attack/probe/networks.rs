//! Probes that are trained by stochastic gradients on the GPU.

use super::{LinearHead, Rows};
use crate::attack::classifier::{Architecture, Classifier, Training};
use crate::gpu::Gpu;
use crate::kernels::elementwise::Unary;
use crate::nn::LinearInit;
use crate::optim::Optimizer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `cl-linear`, the published linear probe of He & Zhang (CCS 2021): cross-entropy, raw features, every batch used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearSettings {
    /// Adam's.
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub epochs: u64,
    pub batch: usize,
    /// Weights are kept after every so many epochs, for early stopping, and after the last one.
    pub keep_every: u64,
}

impl Default for LinearSettings {
    fn default() -> LinearSettings {
        LinearSettings { learning_rate: 1e-2, weight_decay: 1e-4, epochs: 100, batch: 512, keep_every: 10 }
    }
}

/// A head as it was after an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    pub epoch: u64,
    pub head: LinearHead,
}

/// Trains the linear probe; gives the kept heads, the last one being the result.
///
/// # Errors
/// No epochs; [`Error::Diverged`].
pub fn linear_checkpoints(
    gpu: &Gpu,
    settings: &LinearSettings,
    train: &Rows,
    seed: u64,
) -> Result<Vec<Checkpoint>> {
    let architecture = Architecture::Mlp {
        widths: vec![train.width, train.classes],
        activation: Unary::Relu,
        init: LinearInit::Default,
        last: None,
    };
    let training = Training {
        batch: settings.batch,
        epochs: settings.epochs,
        learning_rate: settings.learning_rate,
        decay_every: None,
        optimizer: Optimizer::adam(settings.weight_decay),
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed,
    };
    let mut kept = Vec::new();
    let mut keep = |epoch: u64, classifier: &Classifier| {
        if epoch == settings.epochs || epoch.is_multiple_of(settings.keep_every.max(1)) {
            kept.push(Checkpoint { epoch, head: head_of(classifier.values(gpu)?, train.width)? });
        }
        Ok(())
    };
    Classifier::train_observed(gpu, &architecture, &training, train.features, train.labels, None, &mut keep)?;
    Ok(kept)
}

/// The trained head of [`linear_checkpoints`].
///
/// # Errors
/// See there.
pub fn linear_probe(gpu: &Gpu, settings: &LinearSettings, train: &Rows, seed: u64) -> Result<LinearHead> {
    let last_alone = LinearSettings { keep_every: settings.epochs.max(1), ..*settings };
    let last = linear_checkpoints(gpu, &last_alone, train, seed)?.pop();
    last.map(|checkpoint| checkpoint.head).ok_or_else(|| Error::usage("linear probe: no epoch was kept"))
}

fn head_of(mut values: BTreeMap<String, Vec<f32>>, width: usize) -> Result<LinearHead> {
    match (values.remove("layers.0.weight"), values.remove("layers.0.bias")) {
        (Some(weight), Some(bias)) => LinearHead::new(weight, bias, width),
        _ => Err(Error::shape("linear probe: its classifier has no single layer")),
    }
}

/// `mlp-512-256`: Linear(d, 512), ReLU, dropout ½, Linear(512, 256), ReLU, Linear(256, C), by Adam. The batch size is
/// assumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpSettings {
    pub hidden: Vec<usize>,
    /// Behind the first hidden layer.
    pub dropout: f32,
    pub learning_rate: f64,
    pub epochs: u64,
    pub batch: usize,
}

impl Default for MlpSettings {
    fn default() -> MlpSettings {
        MlpSettings { hidden: vec![512, 256], dropout: 0.5, learning_rate: 1e-4, epochs: 500, batch: 512 }
    }
}

/// Trains the MLP head.
///
/// # Errors
/// No epochs; [`Error::Diverged`].
pub fn mlp_probe(gpu: &Gpu, settings: &MlpSettings, train: &Rows, seed: u64) -> Result<Classifier> {
    let widths = [&[train.width], &settings.hidden[..], &[train.classes]].concat();
    let architecture = Architecture::DropoutMlp { widths, dropout: settings.dropout };
    let training = Training {
        batch: settings.batch,
        epochs: settings.epochs,
        learning_rate: settings.learning_rate,
        decay_every: None,
        optimizer: Optimizer::adam(0.0),
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed,
    };
    Classifier::train(gpu, &architecture, &training, train.features, train.labels, None)
}
