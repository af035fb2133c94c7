//! Olympus: an obfuscator between a frozen encoder and a frozen head, trained against an adversary that infers the sensitive
//! attribute (Raval, Machanavajjhala, Pan, "Olympus: Sensor Privacy through Utility Aware Obfuscation", PoPETs 2019).

use super::{Rows, check_labels};
use crate::attack::probe::LinearHead;
use crate::gpu::Gpu;
use crate::graph::ops::SoftmaxCrossEntropy;
use crate::graph::{ParameterSet, Value};
use crate::kernels::elementwise::Unary;
use crate::nn::{Linear, LinearInit, Mlp, Names, Tracer};
use crate::optim::{Optimizer, Schedule};
use crate::train::Values;
use crate::train::learner::{Batches, EpochOrder, Feed, Input, Learner, Pass, Player, gather};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The obfuscator follows CE(head(obf(h)), y) + α·CE(adversary(obf(h)), uniform), the adversary CE(adversary(obf(h)), s).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OlympusSettings {
    /// α; {0.1, 1, 10} are compared.
    pub alpha: f64,
    /// Widths of the obfuscator between input and output; ReLU after each but the last.
    pub obfuscator: Vec<usize>,
    /// Widths of the adversary between input and classes.
    pub adversary: Vec<usize>,
    pub learning_rate: f64,
    pub momentum: f64,
    pub weight_decay: f64,
    /// An epoch is one pass of the adversary and one of the obfuscator; the rate follows a cosine over them.
    pub epochs: u64,
    pub batch: usize,
    pub seed: u64,
}

impl Default for OlympusSettings {
    fn default() -> OlympusSettings {
        OlympusSettings {
            alpha: 1.0,
            obfuscator: vec![256, 128, 256],
            adversary: vec![64, 64],
            learning_rate: 0.01,
            momentum: 0.9,
            weight_decay: 5e-4,
            epochs: 100,
            batch: 64,
            seed: 0,
        }
    }
}

/// What an obfuscator is trained on; one task label and one attribute label a row.
#[derive(Clone, Copy, Debug)]
pub struct OlympusData<'a> {
    pub features: Rows<'a>,
    pub labels: &'a [u32],
    pub attributes: &'a [u32],
    /// Classes of the attribute.
    pub attribute_classes: usize,
}

/// The networks' layers.
struct Networks {
    obfuscator: Vec<Linear>,
    adversary: Mlp,
    head: Linear,
}

impl Networks {
    fn new(
        parameters: &mut ParameterSet,
        settings: &OlympusSettings,
        width: usize,
        classes: usize,
        attributes: usize,
    ) -> Networks {
        let mut names = Names::new(parameters);
        let widths = [&[width], &settings.obfuscator[..], &[width]].concat();
        let layers = widths.len() - 1;
        let obfuscator = (0..layers)
            .map(|i| {
                // The released network has no activation on its second wide layer.
                let relu = (i + 2 < layers).then_some(Unary::Relu);
                let mut names = names.inside("obfuscator");
                Linear::new(&mut names.inside(i), widths[i], widths[i + 1], true, relu, LinearInit::Default)
            })
            .collect();
        let widths = [&[width], &settings.adversary[..], &[attributes]].concat();
        let adversary =
            Mlp::new(&mut names.inside("adversary"), &widths, Unary::Relu, LinearInit::Default, None);
        let mut names = names.inside("head");
        let head = Linear::new(&mut names, width, classes, true, None, LinearInit::Default);
        Networks { obfuscator, adversary, head }
    }

    fn obfuscate(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        self.obfuscator.iter().try_fold(x, |x, layer| layer.forward(tracer, x))
    }

    /// The adversary's loss on obfuscated features.
    fn adversary_losses(&self, tracer: &mut Tracer, inputs: &[Value]) -> Result<Vec<(Value, f32)>> {
        let hidden = self.obfuscate(tracer, inputs[0])?;
        let guess = self.adversary.forward(tracer, hidden)?;
        let loss = tracer.graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[guess, inputs[1]])?;
        Ok(vec![(loss, 1.0)])
    }

    /// The obfuscator's losses: the task's, and α times the adversary's against the uniform distribution.
    fn obfuscator_losses(
        &self,
        tracer: &mut Tracer,
        inputs: &[Value],
        alpha: f64,
        attributes: usize,
    ) -> Result<Vec<(Value, f32)>> {
        let hidden = self.obfuscate(tracer, inputs[0])?;
        let task = self.head.forward(tracer, hidden)?;
        let task = tracer.graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[task, inputs[1]])?;
        let guess = self.adversary.forward(tracer, hidden)?;
        // 1 − 1/C of the weight spread over the other classes leaves 1/C on every class, whatever the label.
        let smoothing = 1.0 - 1.0 / attributes as f32;
        let uniform = tracer.graph.apply1(SoftmaxCrossEntropy { smoothing }, &[guess, inputs[2]])?;
        Ok(vec![(task, 1.0), (uniform, alpha as f32)])
    }
}

/// A trained obfuscator with the adversary that it was trained against.
pub struct Olympus {
    learner: Learner,
    forward: Pass,
    width: usize,
}

/// Rows of a batch at inference.
const INFERENCE_ROWS: usize = 256;

impl Olympus {
    /// Trains obfuscator and adversary in turns; `head` is frozen.
    ///
    /// # Errors
    /// Data or head that do not fit together; settings out of range; [`Error::Diverged`].
    pub fn train(
        gpu: &Gpu,
        settings: &OlympusSettings,
        data: &OlympusData,
        head: &LinearHead,
    ) -> Result<Olympus> {
        let mut session = OlympusSession::new(gpu, settings, data, head)?;
        for epoch in 0..settings.epochs {
            session.adversary_epoch(gpu, epoch)?;
            session.obfuscator_epoch(gpu, epoch)?;
        }
        session.finish(gpu)
    }

    /// The obfuscated rows, of the same width.
    ///
    /// # Errors
    /// Rows of another width.
    pub fn obfuscate(&mut self, gpu: &Gpu, features: &Rows) -> Result<Vec<f32>> {
        if features.width != self.width {
            return Err(Error::shape(format!(
                "olympus: trained on rows of {}, found rows of {}",
                self.width, features.width
            )));
        }
        self.learner.forward(gpu, &self.forward, features.values)
    }

    /// Parameters `obfuscator.*`, `adversary.*` and `head.*` by name.
    pub fn values(&self, gpu: &Gpu) -> Result<Values> {
        self.learner.values(gpu)
    }
}

/// A training that is driven epoch by epoch.
pub struct OlympusSession<'a> {
    settings: OlympusSettings,
    data: OlympusData<'a>,
    networks: Networks,
    learner: Learner,
    adversary: (Player, Batches),
    obfuscator: (Player, Batches),
}

impl<'a> OlympusSession<'a> {
    /// Initial networks and recorded programs.
    ///
    /// # Errors
    /// As [`Olympus::train`].
    pub fn new(
        gpu: &Gpu,
        settings: &OlympusSettings,
        data: &OlympusData<'a>,
        head: &LinearHead,
    ) -> Result<OlympusSession<'a>> {
        let OlympusData { features, labels, attributes, attribute_classes } = *data;
        let (width, count) = (features.width, features.count());
        if head.width != width {
            return Err(Error::shape(format!(
                "olympus: a head for features of {} does not fit embeddings of {width}",
                head.width
            )));
        }
        check_labels("olympus: task", labels, count, head.classes)?;
        check_labels("olympus: attribute", attributes, count, attribute_classes)?;
        if attribute_classes < 2 || settings.epochs == 0 || settings.alpha.is_nan() || settings.alpha < 0.0 {
            return Err(Error::usage(format!(
                "olympus: expected at least two attribute classes, an epoch and alpha of at least 0, found \
                 {attribute_classes} classes, {} epochs, alpha {}",
                settings.epochs, settings.alpha
            )));
        }
        let mut parameters = ParameterSet::new();
        let networks = Networks::new(&mut parameters, settings, width, head.classes, attribute_classes);
        let mut values = parameters.initial_values(settings.seed);
        values.insert("head.weight".into(), head.weight.clone());
        values.insert("head.bias".into(), head.bias.clone());
        let learner = Learner::new(gpu, parameters, &values, settings.seed)?;
        let optimizer = Optimizer::Sgd {
            momentum: settings.momentum,
            nesterov: false,
            weight_decay: settings.weight_decay,
        };
        let player = learner.player(gpu, "adversary.", optimizer)?;
        let batches = Batches::new(count, settings.batch, |rows| {
            let inputs = [Input::rows("features", rows, width), Input::words("attributes", rows)];
            learner
                .training(gpu, &player, &inputs, |tracer, inputs| networks.adversary_losses(tracer, inputs))
        })?;
        let adversary = (player, batches);
        let player = learner.player(gpu, "obfuscator.", optimizer)?;
        let batches = Batches::new(count, settings.batch, |rows| {
            let inputs = [
                Input::rows("features", rows, width),
                Input::words("labels", rows),
                Input::words("attributes", rows),
            ];
            learner.training(gpu, &player, &inputs, |tracer, inputs| {
                networks.obfuscator_losses(tracer, inputs, settings.alpha, attribute_classes)
            })
        })?;
        let obfuscator = (player, batches);
        Ok(OlympusSession {
            settings: settings.clone(),
            data: *data,
            networks,
            learner,
            adversary,
            obfuscator,
        })
    }

    /// One pass of the adversary over the data.
    pub fn adversary_epoch(&mut self, gpu: &Gpu, epoch: u64) -> Result<()> {
        let (player, batches) = &mut self.adversary;
        let rate = rate(&self.settings, epoch);
        let OlympusData { features, attributes, .. } = self.data;
        let order = EpochOrder::new(self.settings.seed, 2 * epoch, features.count(), batches.batch);
        for chosen in order.batches() {
            let rows = gather(features.values, features.width, chosen);
            let feeds = [Feed::Rows(&rows), Feed::Words(&gather(attributes, 1, chosen))];
            self.learner.step(gpu, player, batches.of(chosen.len())?, &feeds, rate)?;
        }
        self.learner.losses(gpu, batches.full()).map(drop)
    }

    /// One pass of the obfuscator over the data.
    pub fn obfuscator_epoch(&mut self, gpu: &Gpu, epoch: u64) -> Result<()> {
        let (player, batches) = &mut self.obfuscator;
        let rate = rate(&self.settings, epoch);
        let OlympusData { features, labels, attributes, .. } = self.data;
        let order = EpochOrder::new(self.settings.seed, 2 * epoch + 1, features.count(), batches.batch);
        for chosen in order.batches() {
            let rows = gather(features.values, features.width, chosen);
            let (labels, attributes) = (gather(labels, 1, chosen), gather(attributes, 1, chosen));
            let feeds = [Feed::Rows(&rows), Feed::Words(&labels), Feed::Words(&attributes)];
            self.learner.step(gpu, player, batches.of(chosen.len())?, &feeds, rate)?;
        }
        self.learner.losses(gpu, batches.full()).map(drop)
    }

    /// The learner, for gradients and values in between.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The trained obfuscator.
    ///
    /// # Errors
    /// [`Error::Diverged`] for a weight that is not finite.
    pub fn finish(self, gpu: &Gpu) -> Result<Olympus> {
        let width = self.data.features.width;
        self.learner.values(gpu)?;
        let inputs = [Input::rows("features", INFERENCE_ROWS.min(self.data.features.count()), width)];
        let trace = |tracer: &mut Tracer, inputs: &[Value]| self.networks.obfuscate(tracer, inputs[0]);
        let forward = self.learner.evaluation(gpu, "obfuscator", &inputs, trace)?;
        Ok(Olympus { learner: self.learner, forward, width })
    }
}

/// Cosine over epochs.
fn rate(settings: &OlympusSettings, epoch: u64) -> f64 {
    settings.learning_rate * Schedule::Cosine.factor(epoch, 1, settings.epochs)
}
