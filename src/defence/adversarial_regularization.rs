//! Adversarial regularisation: a classifier that is trained against a membership attacker of its own (Nasr, Shokri, Houmansadr,
//! "Machine Learning with Membership Privacy using Adversarial Regularization", CCS 2018).
//!
//! [`MembershipAttacker`] and its two losses take posteriors of any network. [`train`] uses them on a head over frozen
//! embeddings.

use super::{Rows, check_labels};
use crate::gpu::Gpu;
use crate::graph::ops::{Activation, Add, SigmoidMean, Softmax, SoftmaxCrossEntropy};
use crate::graph::{ParameterSet, Value};
use crate::kernels::elementwise::Unary;
use crate::nn::{Linear, LinearInit, Mlp, Names, Tracer};
use crate::optim::Optimizer;
use crate::train::Values;
use crate::train::learner::{Batches, EpochOrder, Feed, Input, Learner, Pass, Player, gather};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The model follows cross-entropy + α·(mean member probability − ½), the attacker the binary cross-entropy of members against
/// the reference set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdvRegSettings {
    pub alpha: f64,
    /// Widths between embedding and classes: none for a linear head, `[512, 256]` for `mlp-512-256`.
    pub hidden: Vec<usize>,
    /// Epochs of the model alone, before the attacker enters.
    pub plain_epochs: u64,
    /// All epochs.
    pub epochs: u64,
    pub batch: usize,
    pub model_optimizer: Optimizer,
    pub model_rate: f64,
    pub attacker_optimizer: Optimizer,
    pub attacker_rate: f64,
    pub seed: u64,
}

impl Default for AdvRegSettings {
    fn default() -> AdvRegSettings {
        AdvRegSettings {
            alpha: 1.0,
            hidden: Vec::new(),
            plain_epochs: 4,
            epochs: 100,
            batch: 256,
            model_optimizer: Optimizer::adam(1e-4),
            model_rate: 1e-2,
            attacker_optimizer: Optimizer::adam(0.0),
            attacker_rate: 1e-3,
            seed: 0,
        }
    }
}

/// The attacker: posteriors C→1024→512→64 and one-hot label C→128→64, joined 128→256→128→64→1, ReLU after every layer but
/// the last.
#[derive(Clone, Debug)]
pub struct MembershipAttacker {
    posteriors: Vec<Linear>,
    labels: Vec<Linear>,
    /// The halves of the first joint layer that see either branch.
    joint: [Linear; 2],
    rest: Vec<Linear>,
}

impl MembershipAttacker {
    /// Registers the parameters of an attacker on `classes` classes.
    pub fn new(names: &mut Names, classes: usize) -> MembershipAttacker {
        let mut chain = |name: &str, widths: &[usize], last: Option<Unary>| -> Vec<Linear> {
            let mut names = names.inside(name);
            let layer = |(i, pair): (usize, &[usize])| {
                let relu = if i + 2 == widths.len() { last } else { Some(Unary::Relu) };
                Linear::new(&mut names.inside(i), pair[0], pair[1], true, relu, LinearInit::Default)
            };
            widths.windows(2).enumerate().map(layer).collect()
        };
        let posteriors = chain("posteriors", &[classes, 1024, 512, 64], Some(Unary::Relu));
        let labels = chain("labels", &[classes, 128, 64], Some(Unary::Relu));
        let rest = chain("rest", &[256, 128, 64, 1], None);
        // One layer of 128 inputs, kept as two so that no columns need joining; the bound is that of the whole.
        let whole = LinearInit::Bound(1.0 / 128f64.sqrt());
        let joint = [("joint.posteriors", true), ("joint.labels", false)]
            .map(|(name, bias)| Linear::new(&mut names.inside(name), 64, 256, bias, None, whole));
        MembershipAttacker { posteriors, labels, joint, rest }
    }

    /// The logit of membership `[N, 1]` from posteriors `[N, C]` and one-hot labels `[N, C]`.
    pub fn forward(&self, tracer: &mut Tracer, posteriors: Value, labels: Value) -> Result<Value> {
        let through = |tracer: &mut Tracer, layers: &[Linear], x: Value| {
            layers.iter().try_fold(x, |x, layer| layer.forward(tracer, x))
        };
        let a = through(tracer, &self.posteriors, posteriors)?;
        let b = through(tracer, &self.labels, labels)?;
        let halves = [self.joint[0].forward(tracer, a)?, self.joint[1].forward(tracer, b)?];
        let sum = tracer.graph.apply1(Add, &halves)?;
        let joined = tracer.graph.apply1(Activation(Unary::Relu), &[sum])?;
        through(tracer, &self.rest, joined)
    }

    /// The attacker's loss for the model's `logits`: binary cross-entropy against `targets` `[N, 1]`, 1 for members.
    pub fn attacker_losses(
        &self,
        tracer: &mut Tracer,
        logits: Value,
        labels: Value,
        targets: Value,
    ) -> Result<Vec<(Value, f32)>> {
        let posteriors = tracer.graph.apply1(Softmax, &[logits])?;
        let guess = self.forward(tracer, posteriors, labels)?;
        Ok(vec![(tracer.graph.apply1(SigmoidMean, &[guess, targets])?, 1.0)])
    }

    /// What the model pays beside its cross-entropy, for members' `logits`: α times their mean probability of membership. The
    /// published − ½ is a constant.
    pub fn model_loss(
        &self,
        tracer: &mut Tracer,
        logits: Value,
        labels: Value,
        alpha: f64,
    ) -> Result<(Value, f32)> {
        let posteriors = tracer.graph.apply1(Softmax, &[logits])?;
        let guess = self.forward(tracer, posteriors, labels)?;
        Ok((tracer.graph.apply1(SigmoidMean, &[guess])?, alpha as f32))
    }
}

/// Embeddings with task labels.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    pub features: Rows<'a>,
    pub labels: &'a [u32],
}

/// A head trained against its attacker.
pub struct AdvReg {
    learner: Learner,
    forward: Pass,
    width: usize,
}

/// Rows of a batch at inference.
const INFERENCE_ROWS: usize = 256;

/// A training that is driven epoch by epoch.
pub struct AdvRegSession<'a> {
    settings: AdvRegSettings,
    members: Labelled<'a>,
    reference: Labelled<'a>,
    classes: usize,
    model: Mlp,
    learner: Learner,
    player: Player,
    attacker: Player,
    plain: Batches,
    regularised: Batches,
    attack: Batches,
}

/// Trains a head on the members' embeddings; the reference set, from the same distribution, serves the attacker only.
///
/// # Errors
/// Data that do not fit together; settings out of range; [`Error::Diverged`].
pub fn train(
    gpu: &Gpu,
    settings: &AdvRegSettings,
    members: &Labelled,
    reference: &Labelled,
    classes: usize,
) -> Result<AdvReg> {
    let mut session = AdvRegSession::new(gpu, settings, members, reference, classes)?;
    for epoch in 0..settings.epochs {
        if epoch < settings.plain_epochs {
            session.model_epoch(gpu, epoch, false)?;
        } else {
            session.attacker_epoch(gpu, epoch)?;
            session.model_epoch(gpu, epoch, true)?;
        }
    }
    session.finish(gpu)
}

impl<'a> AdvRegSession<'a> {
    /// Initial networks and recorded programs.
    ///
    /// # Errors
    /// As [`train`].
    pub fn new(
        gpu: &Gpu,
        settings: &AdvRegSettings,
        members: &Labelled<'a>,
        reference: &Labelled<'a>,
        classes: usize,
    ) -> Result<AdvRegSession<'a>> {
        let width = members.features.width;
        check_labels(
            "adversarial regularisation: members",
            members.labels,
            members.features.count(),
            classes,
        )?;
        let count = reference.features.count();
        check_labels("adversarial regularisation: reference", reference.labels, count, classes)?;
        if reference.features.width != width
            || settings.epochs == 0
            || settings.alpha.is_nan()
            || settings.alpha < 0.0
        {
            return Err(Error::usage(format!(
                "adversarial regularisation: expected embeddings of one width, an epoch and alpha of at least 0, found widths \
                 {width} and {}, {} epochs, alpha {}",
                reference.features.width, settings.epochs, settings.alpha
            )));
        }
        let mut parameters = ParameterSet::new();
        let mut names = Names::new(&mut parameters);
        let widths = [&[width], &settings.hidden[..], &[classes]].concat();
        let model = Mlp::new(&mut names.inside("model"), &widths, Unary::Relu, LinearInit::Default, None);
        let network = MembershipAttacker::new(&mut names.inside("attacker"), classes);
        let values = parameters.initial_values(settings.seed);
        let learner = Learner::new(gpu, parameters, &values, settings.seed)?;
        let player = learner.player(gpu, "model.", settings.model_optimizer)?;
        let attacker = learner.player(gpu, "attacker.", settings.attacker_optimizer)?;
        let count = members.features.count();
        let labelled = |rows| [Input::rows("features", rows, width), Input::words("labels", rows)];
        let cross_entropy = |tracer: &mut Tracer, logits: Value, labels: Value| {
            tracer.graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[logits, labels])
        };
        let plain = Batches::new(count, settings.batch, |rows| {
            learner.training(gpu, &player, &labelled(rows), |tracer, inputs| {
                let logits = model.forward(tracer, inputs[0])?;
                Ok(vec![(cross_entropy(tracer, logits, inputs[1])?, 1.0)])
            })
        })?;
        let regularised = Batches::new(count, settings.batch, |rows| {
            let [features, labels] = labelled(rows);
            let inputs = [features, labels, Input::rows("one_hot", rows, classes)];
            learner.training(gpu, &player, &inputs, |tracer, inputs| {
                let logits = model.forward(tracer, inputs[0])?;
                let task = cross_entropy(tracer, logits, inputs[1])?;
                Ok(vec![(task, 1.0), network.model_loss(tracer, logits, inputs[2], settings.alpha)?])
            })
        })?;
        let attack = Batches::new(count, settings.batch, |rows| {
            let inputs = [
                Input::rows("features", 2 * rows, width),
                Input::rows("one_hot", 2 * rows, classes),
                Input::rows("targets", 2 * rows, 1),
            ];
            learner.training(gpu, &attacker, &inputs, |tracer, inputs| {
                let logits = model.forward(tracer, inputs[0])?;
                network.attacker_losses(tracer, logits, inputs[1], inputs[2])
            })
        })?;
        Ok(AdvRegSession {
            settings: settings.clone(),
            members: *members,
            reference: *reference,
            classes,
            model,
            learner,
            player,
            attacker,
            plain,
            regularised,
            attack,
        })
    }

    fn one_hot(&self, labels: &[u32]) -> Vec<f32> {
        let mut rows = vec![0.0; labels.len() * self.classes];
        for (row, &label) in rows.chunks_mut(self.classes.max(1)).zip(labels) {
            row[label as usize] = 1.0;
        }
        rows
    }

    /// One pass of the attacker: each batch of members beside as many rows of the reference set, which is gone through in an order
    /// of its own and begun anew when it ends.
    pub fn attacker_epoch(&mut self, gpu: &Gpu, epoch: u64) -> Result<()> {
        let count = self.members.features.count();
        let others = self.reference.features.count();
        let order = EpochOrder::new(self.settings.seed, 3 * epoch, count, self.attack.batch);
        let reference = EpochOrder::new(self.settings.seed, 3 * epoch + 1, others, others);
        let mut reference = reference.batches().flatten().copied().collect::<Vec<_>>().into_iter().cycle();
        for chosen in order.batches() {
            let against: Vec<usize> = reference.by_ref().take(chosen.len()).collect();
            let mut features = gather(self.members.features.values, self.members.features.width, chosen);
            let mut labels = gather(self.members.labels, 1, chosen);
            features.extend(gather(self.reference.features.values, self.reference.features.width, &against));
            labels.extend(gather(self.reference.labels, 1, &against));
            let targets: Vec<f32> = (0..labels.len()).map(|i| f32::from(i < chosen.len())).collect();
            let one_hot = self.one_hot(&labels);
            let feeds = [Feed::Rows(&features), Feed::Rows(&one_hot), Feed::Rows(&targets)];
            let pass = self.attack.of(chosen.len())?;
            self.learner.step(gpu, &mut self.attacker, pass, &feeds, self.settings.attacker_rate)?;
        }
        self.learner.losses(gpu, self.attack.full()).map(drop)
    }

    /// One pass of the model, with or without the attacker's term.
    pub fn model_epoch(&mut self, gpu: &Gpu, epoch: u64, regularised: bool) -> Result<()> {
        let Labelled { features, labels } = self.members;
        let batches = if regularised { &self.regularised } else { &self.plain };
        let order = EpochOrder::new(self.settings.seed, 3 * epoch + 2, features.count(), batches.batch);
        for chosen in order.batches() {
            let rows = gather(features.values, features.width, chosen);
            let labels = gather(labels, 1, chosen);
            let one_hot = self.one_hot(&labels);
            let feeds = [Feed::Rows(&rows), Feed::Words(&labels), Feed::Rows(&one_hot)];
            let feeds = if regularised { &feeds[..] } else { &feeds[..2] };
            let pass = batches.of(chosen.len())?;
            self.learner.step(gpu, &mut self.player, pass, feeds, self.settings.model_rate)?;
        }
        self.learner.losses(gpu, batches.full()).map(drop)
    }

    /// The learner, for gradients and values in between.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The trained head.
    ///
    /// # Errors
    /// [`Error::Diverged`] for a weight that is not finite.
    pub fn finish(self, gpu: &Gpu) -> Result<AdvReg> {
        self.learner.values(gpu)?;
        let width = self.members.features.width;
        let inputs = [Input::rows("features", INFERENCE_ROWS.min(self.members.features.count()), width)];
        let trace = |tracer: &mut Tracer, inputs: &[Value]| self.model.forward(tracer, inputs[0]);
        let forward = self.learner.evaluation(gpu, "regularised model", &inputs, trace)?;
        Ok(AdvReg { learner: self.learner, forward, width })
    }
}

impl AdvReg {
    /// Logits `[rows, classes]`.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn logits(&mut self, gpu: &Gpu, features: &Rows) -> Result<Vec<f32>> {
        if features.width != self.width {
            return Err(Error::shape(format!(
                "adversarial regularisation: trained on rows of {}, found rows of {}",
                self.width, features.width
            )));
        }
        self.learner.forward(gpu, &self.forward, features.values)
    }

    /// Parameters `model.layers.<i>.*` and `attacker.*` by name.
    pub fn values(&self, gpu: &Gpu) -> Result<Values> {
        self.learner.values(gpu)
    }
}
