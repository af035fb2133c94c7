//! MoCo v1 and v2 (He et al., CVPR 2020; Chen et al., 2020): settings, presets, and the training program.

use super::config::wrong;
use super::key_encoder::KeyEncoder;
use super::model::EncoderConfig;
use super::precision::Precision;
use super::program::{Input, Parts};
use crate::augment::Recipe;
use crate::gpu::{Recording, Slice};
use crate::graph::ops::{ConcatRows, GatherRows, InfoNce};
use crate::graph::{Form, Graph, Value};
use crate::kernels::{Shape, Tensor, loss, optim};
use crate::nn::{HeadKind, Mode, Tracer};
use crate::optim::{Optimizer, Schedule};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

pub use super::key_encoder::{initial_queue, shuffled_order};

/// A MoCo pre-training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MocoConfig {
    pub seed: u64,
    /// Images in a step; each gives two views. The last partial batch of an epoch is dropped.
    pub batch: usize,
    pub epochs: u64,
    pub temperature: f32,
    /// K, keys in the queue: a multiple of the keys of a step.
    pub queue: usize,
    /// m of θ_k ← m·θ_k + (1 − m)·θ_q.
    pub momentum: f64,
    /// Parts of a batch with batch-norm statistics of their own, sample i in part i mod `splits`: what each of so many GPUs
    /// would have seen. They divide the batch.
    pub splits: usize,
    /// Keys go through their encoder in another order than queries, so that an image's two views are normalised in different
    /// company.
    pub shuffle: bool,
    /// Both views are queries: the sum of two losses, and two keys of an image in the queue.
    pub symmetric: bool,
    pub head: HeadKind,
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

impl MocoConfig {
    /// The preset `emi-moco` (EncoderMI's MoCo, whose constants are those of MoCo's CIFAR-10 notebook) for other sizes: T = 0.1,
    /// K = 4096, m = 0.99, batch norm in 8 splits, shuffled keys, head `moco-linear`, SGD with rate 0.06, momentum 0.9 and weight
    /// decay 5e-4, cosine.
    pub fn emi_moco(
        encoder: EncoderConfig,
        recipe: Recipe,
        batch: usize,
        epochs: u64,
        seed: u64,
    ) -> MocoConfig {
        MocoConfig {
            seed,
            batch,
            epochs,
            temperature: 0.1,
            queue: 4096,
            momentum: 0.99,
            splits: 8,
            shuffle: true,
            symmetric: false,
            head: HeadKind::MocoLinear,
            learning_rate: 0.06,
            schedule: Schedule::Cosine.to_string(),
            encoder,
            optimizer: Optimizer::sgd(5e-4),
            recipe,
            precision: Precision::F32,
        }
    }

    /// The preset `moco-v1` (He et al., ImageNet): T = 0.07, K = 65,536, m = 0.999, head `moco-linear`, SGD with rate 0.03 and
    /// weight decay 1e-4, a tenth of it from epochs 120 and 160 on. The 8 splits stand for the paper's 8 GPUs.
    pub fn moco_v1(
        encoder: EncoderConfig,
        recipe: Recipe,
        batch: usize,
        epochs: u64,
        seed: u64,
    ) -> MocoConfig {
        MocoConfig {
            temperature: 0.07,
            queue: 65_536,
            momentum: 0.999,
            learning_rate: 0.03,
            schedule: Schedule::Step(vec![120, 160]).to_string(),
            optimizer: Optimizer::sgd(1e-4),
            ..MocoConfig::emi_moco(encoder, recipe, batch, epochs, seed)
        }
    }

    /// The preset `moco-v2` (Chen et al.): `moco-v1` with T = 0.2, head `moco-mlp` and cosine.
    pub fn moco_v2(
        encoder: EncoderConfig,
        recipe: Recipe,
        batch: usize,
        epochs: u64,
        seed: u64,
    ) -> MocoConfig {
        MocoConfig {
            temperature: 0.2,
            head: HeadKind::MocoMlp,
            schedule: Schedule::Cosine.to_string(),
            ..MocoConfig::moco_v1(encoder, recipe, batch, epochs, seed)
        }
    }

    pub(super) fn check_own(&self) -> Result<()> {
        if !(0.001..=1000.0).contains(&self.temperature) {
            return wrong("temperature", self.temperature, "a number within 0.001..=1000");
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return wrong("momentum", self.momentum, "a number within 0..=1");
        }
        if self.splits == 0 || !self.batch.is_multiple_of(self.splits) {
            return wrong("splits", self.splits, &format!("a divisor of the batch of {}", self.batch));
        }
        let keys = self.keys();
        if self.queue == 0 || !self.queue.is_multiple_of(keys) {
            return wrong("queue", self.queue, &format!("a multiple of the {keys} keys of a step"));
        }
        if u32::try_from(self.queue).is_err() {
            return wrong("queue", self.queue, &format!("at most {} keys", u32::MAX));
        }
        Ok(())
    }

    /// Passes of each encoder in a step, and so updates of its running statistics.
    pub(super) fn key_passes(&self) -> usize {
        if self.symmetric { 2 } else { 1 }
    }

    /// Keys that a step puts into the queue.
    pub fn keys(&self) -> usize {
        self.batch * self.key_passes()
    }

    /// Row of the queue that step `step`, counted from 0, overwrites first.
    pub fn queue_pointer(&self, step: u64) -> u64 {
        let queue = (self.queue as u64).max(1);
        (step % queue) * self.keys() as u64 % queue
    }

    /// One step in the order of He et al., algorithm 1: the key encoder follows, keys, queries and loss against the queue as it
    /// was, gradients and optimizer, and the keys into the queue.
    pub(super) fn recording(&self, parts: &Parts) -> Result<Recording> {
        let keys = parts.keys.ok_or_else(|| Error::shape("MoCo: has no key encoder"))?;
        let mut recording = Recording::new(parts.allocator.facts());
        let (theta_k, theta_q) =
            (recording.persistent(&keys.weights.trained), recording.persistent(&parts.weights.trained));
        optim::ema(&mut recording, self.momentum, theta_k, theta_q)?;
        let first = parts.views(&mut recording, 0..1, &self.recipe)?;
        let second = parts.views(&mut recording, 1..2, &self.recipe)?;
        let (positives, enqueued) = self.keys_of(parts, keys, &mut recording, first, second)?;

        let mut graph = Graph::new();
        let parameters = &parts.model.parameters;
        let mut inputs = vec![Input::tensor("first views", first)];
        if self.symmetric {
            inputs.push(Input::tensor("second views", second));
        }
        let views: Vec<Value> = inputs.iter().map(|input| input.value(&mut graph)).collect();
        let mut queries = Vec::new();
        for view in views {
            queries.push(self.embed(parts, &mut graph, view)?);
        }
        let queries = joined(&mut graph, &queries)?;
        inputs.push(Input::tensor("keys", positives));
        let positives = inputs[inputs.len() - 1].value(&mut graph);
        inputs.push(Input::tensor("queue", keys.queue(&mut recording)));
        let negatives = inputs[inputs.len() - 1].value(&mut graph);
        // The mean over both views' rows is half the sum of two means.
        let operation = InfoNce { temperature: self.temperature, weight: self.key_passes() as f32 };
        let loss = graph.apply1(operation, &[queries, positives, negatives])?;
        parts.descend(&mut recording, graph, &inputs, &[loss], parameters.span(""), 0)?;

        let (step, queue) = (recording.persistent(parts.step_state), keys.queue(&mut recording));
        loss::queue_update(&mut recording, enqueued, step, queue)?;
        Ok(recording)
    }

    /// Projections [N, D] of views in one pass of training. The head's batch norm, where it has one, is not split.
    fn embed(&self, parts: &Parts, graph: &mut Graph, views: Value) -> Result<Value> {
        let mut tracer = Tracer {
            batch_norm_splits: self.splits,
            ..Tracer::new(graph, &parts.model.parameters, Mode::Train)
        };
        let features = parts.model.encoder.forward(&mut tracer, views)?;
        tracer.batch_norm_splits = 1;
        parts.model.project(&mut tracer, features)
    }

    /// The keys of a step, without gradient: those that match the queries' rows, and those for the queue, which has first
    /// views' keys before second views'.
    fn keys_of(
        &self,
        parts: &Parts,
        keys: &KeyEncoder,
        recording: &mut Recording,
        first: Tensor,
        second: Tensor,
    ) -> Result<(Tensor, Tensor)> {
        let mut graph = Graph::new();
        let mut memory: Vec<(String, Slice)> = Vec::new();
        let mut passes = Vec::new();
        for (pass, view) in [second, first].into_iter().take(self.key_passes()).enumerate() {
            let mut input = |graph: &mut Graph, name: &str, form: Form, slice: Slice| {
                let name = format!("{name} of key pass {pass}");
                let value = graph.input(name.clone(), form);
                memory.push((name, slice));
                value
            };
            let mut x = input(&mut graph, "views", Form::Tensor(view.shape), view.slice);
            let shuffle = keys.shuffle(pass).map(|shuffle| {
                let rows = Form::Bytes(self.batch as u64 * 4);
                let (order, inverse) =
                    (recording.persistent(&shuffle.order), recording.persistent(&shuffle.inverse));
                let order = input(&mut graph, "order", rows, order);
                (order, input(&mut graph, "way back", rows, inverse))
            });
            if let Some((order, _)) = shuffle {
                x = graph.apply1(GatherRows, &[x, order])?;
            }
            let mut k = self.embed(parts, &mut graph, x)?;
            if let Some((_, inverse)) = shuffle {
                k = graph.apply1(GatherRows, &[k, inverse])?;
            }
            passes.push(k);
        }
        let positives = joined(&mut graph, &passes)?;
        passes.reverse();
        let enqueued = joined(&mut graph, &passes)?;

        let shape = Shape::matrix(self.keys(), self.head.output());
        let mut places = keys.weights.memory(&parts.model.parameters, &graph, recording);
        places.inputs.extend(memory);
        let mut place = |value: Value| {
            *places.values.entry(value).or_insert_with(|| recording.transient("keys", shape.bytes()))
        };
        let (positives, enqueued) = (place(positives), place(enqueued));
        graph.record(recording, &places)?;
        Ok((Tensor::new(shape, positives), Tensor::new(shape, enqueued)))
    }
}

/// The rows of all `parts`, without a copy of a single one.
fn joined(graph: &mut Graph, parts: &[Value]) -> Result<Value> {
    match parts {
        [only] => Ok(*only),
        _ => graph.apply1(ConcatRows, parts),
    }
}
