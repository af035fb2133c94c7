//! Training of the one network that a defence needs before it can defend.

use super::Rows;
use crate::gpu::Gpu;
use crate::graph::ops::{SigmoidMean, SoftmaxCrossEntropy};
use crate::graph::{ParameterSet, Value};
use crate::kernels::elementwise::Unary;
use crate::nn::{LinearInit, Mlp, Names, Tracer};
use crate::optim::Optimizer;
use crate::train::Values;
use crate::train::learner::{Batches, EpochOrder, Feed, Input, Learner, gather};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a defence's own network is trained: constant rate, batches drawn anew each epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkTraining {
    /// Widths between input and output; ReLU after each.
    pub hidden: Vec<usize>,
    pub optimizer: Optimizer,
    pub learning_rate: f64,
    pub batch: usize,
    pub epochs: u64,
    pub seed: u64,
}

/// What a row is trained towards.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Softmax cross-entropy over so many classes.
    Classes(&'a [u32], usize),
    /// Binary cross-entropy of one logit against probabilities.
    Probabilities(&'a [f32]),
}

/// Trains an [`Mlp`] and returns its values `layers.<i>.{weight,bias}`.
///
/// # Errors
/// Labels that do not fit the rows; no epoch; [`Error::Diverged`].
pub fn train(gpu: &Gpu, training: &NetworkTraining, rows: &Rows, target: Target) -> Result<Values> {
    let (outputs, given) = match target {
        Target::Classes(labels, classes) => {
            super::check_labels("defence network", labels, rows.count(), classes)?;
            (classes, labels.len())
        }
        Target::Probabilities(targets) => (1, targets.len()),
    };
    if given != rows.count() || training.epochs == 0 {
        return Err(Error::usage(format!(
            "defence network: expected a target for each of {} rows and an epoch, found {given} targets, {} epochs",
            rows.count(),
            training.epochs
        )));
    }
    let mut parameters = ParameterSet::new();
    let widths = [&[rows.width], &training.hidden[..], &[outputs]].concat();
    let network = Mlp::new(&mut Names::new(&mut parameters), &widths, Unary::Relu, LinearInit::Default, None);
    let values = parameters.initial_values(training.seed);
    let mut learner = Learner::new(gpu, parameters, &values, training.seed)?;
    let mut player = learner.player(gpu, "layers.", training.optimizer)?;
    let trace = |tracer: &mut Tracer, inputs: &[Value]| {
        let logits = network.forward(tracer, inputs[0])?;
        let inputs = [logits, inputs[1]];
        let loss = match target {
            Target::Classes(..) => tracer.graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &inputs)?,
            Target::Probabilities(_) => tracer.graph.apply1(SigmoidMean, &inputs)?,
        };
        Ok(vec![(loss, 1.0)])
    };
    let batches = Batches::new(rows.count(), training.batch, |count| {
        let targets = match target {
            Target::Classes(..) => Input::words("targets", count),
            Target::Probabilities(_) => Input::rows("targets", count, 1),
        };
        learner.training(gpu, &player, &[Input::rows("rows", count, rows.width), targets], trace)
    })?;
    for epoch in 0..training.epochs {
        let order = EpochOrder::new(training.seed, epoch, rows.count(), batches.batch);
        for chosen in order.batches() {
            let (classes, probabilities);
            let targets = match target {
                Target::Classes(labels, _) => {
                    classes = gather(labels, 1, chosen);
                    Feed::Words(&classes)
                }
                Target::Probabilities(values) => {
                    probabilities = gather(values, 1, chosen);
                    Feed::Rows(&probabilities)
                }
            };
            let batch = gather(rows.values, rows.width, chosen);
            let pass = batches.of(chosen.len())?;
            learner.step(gpu, &mut player, pass, &[Feed::Rows(&batch), targets], training.learning_rate)?;
        }
    }
    learner.losses(gpu, batches.full())?;
    learner.values(gpu)
}
