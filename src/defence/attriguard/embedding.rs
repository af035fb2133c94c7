//! The embedding form: Adam on each embedding h′ from h, many rows at once on the GPU.

use super::Defender;
use crate::defence::Rows;
use crate::gpu::Gpu;
use crate::graph::ops::{RowDistance, SoftmaxCrossEntropy};
use crate::graph::{Form, Init, ParameterSet, Role, Value};
use crate::kernels::Shape;
use crate::kernels::elementwise::Unary;
use crate::nn::{LinearInit, Mlp, Names, Tracer};
use crate::optim::Optimizer;
use crate::train::learner::{Feed, Input, Learner, Pass, Player};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Each row minimises ½‖h′ − h‖₂ + α·KL(uniform ‖ softmax(defender(h′))) by itself, so that a result does not depend on which rows
/// share a batch. The published ½‖h′ − h‖₀ beside it has no gradient; it is reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttriGuardSettings {
    pub alpha: f64,
    /// Adam's rate.
    pub learning_rate: f64,
    pub steps: u64,
    /// Rows at once.
    pub batch: usize,
}

impl Default for AttriGuardSettings {
    fn default() -> AttriGuardSettings {
        AttriGuardSettings { alpha: 1.0, learning_rate: 1e-3, steps: 100, batch: 512 }
    }
}

/// Released embeddings and how far they are from the original ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Guarded {
    /// Row-major, of the same width.
    pub features: Vec<f32>,
    /// ‖h′ − h‖₀ of each row.
    pub changed: Vec<u32>,
    /// ‖h′ − h‖₂ of each row.
    pub distance: Vec<f64>,
}

impl Guarded {
    pub(super) fn of(features: Vec<f32>, original: &Rows) -> Guarded {
        let pairs = || features.chunks(original.width).zip(original.iter());
        let changed = pairs().map(|(a, b)| a.iter().zip(b).filter(|(a, b)| a != b).count() as u32).collect();
        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        let distance = pairs().map(|(a, b)| a.iter().zip(b).map(square).sum::<f64>().sqrt()).collect();
        Guarded { features, changed, distance }
    }
}

/// Guarded embeddings of `features`.
///
/// # Errors
/// Rows of another width than the defender's; settings out of range; [`Error::Diverged`].
pub fn guard_embeddings(
    gpu: &Gpu,
    settings: &AttriGuardSettings,
    defender: &Defender,
    features: &Rows,
) -> Result<Guarded> {
    let mut session = EmbeddingSession::new(gpu, settings, defender, features)?;
    let mut all = Vec::with_capacity(features.values.len());
    for chunk in features.values.chunks(session.batch * features.width) {
        session.begin(gpu, chunk)?;
        for _ in 0..settings.steps {
            session.step(gpu)?;
        }
        all.extend_from_slice(&session.rows(gpu)?[..chunk.len()]);
    }
    Ok(Guarded::of(all, features))
}

/// The name of h′ among the parameters.
const QUERY: &str = "query.rows";

/// The search for one batch of rows after another.
pub struct EmbeddingSession {
    learner: Learner,
    player: Player,
    pass: Pass,
    batch: usize,
    rate: f64,
    classes: usize,
    origin: Vec<f32>,
}

impl EmbeddingSession {
    /// Records the search for batches of at most [`AttriGuardSettings::batch`] rows.
    ///
    /// # Errors
    /// As [`guard_embeddings`].
    pub fn new(
        gpu: &Gpu,
        settings: &AttriGuardSettings,
        defender: &Defender,
        features: &Rows,
    ) -> Result<EmbeddingSession> {
        defender.check(features)?;
        if settings.alpha.is_nan() || settings.alpha < 0.0 || settings.batch == 0 {
            return Err(Error::usage(format!(
                "attriguard: expected alpha of at least 0 and a batch, found alpha {}, batch {}",
                settings.alpha, settings.batch
            )));
        }
        let batch = settings.batch.min(features.count());
        let shape = Shape::matrix(batch, features.width);
        let mut parameters = ParameterSet::new();
        let dimensions = vec![batch, features.width];
        let query = parameters.add(QUERY.into(), Form::Tensor(shape), dimensions, Init::Zeros, Role::Trained);
        let classes = defender.classes();
        let widths = [&[defender.width], &defender.hidden[..], &[classes]].concat();
        let network =
            Mlp::new(&mut Names::new(&mut parameters), &widths, Unary::Relu, LinearInit::Default, None);
        let mut values = defender.values.clone();
        values.insert(QUERY.into(), vec![0.0; shape.elements()]);
        let learner = Learner::new(gpu, parameters, &values, 0)?;
        let player = learner.player(gpu, "query.", Optimizer::adam(0.0))?;
        let inputs = [Input::rows("origin", batch, features.width), Input::words("labels", batch)];
        let pass = learner.training(gpu, &player, &inputs, |tracer: &mut Tracer, inputs: &[Value]| {
            let rows = tracer.parameter(query);
            let logits = network.forward(tracer, rows)?;
            // All classes weigh 1/C, whatever the label; KL is this cross-entropy less the constant ln C.
            let smoothing = 1.0 - 1.0 / classes as f32;
            let guess = tracer.graph.apply1(SoftmaxCrossEntropy { smoothing }, &[logits, inputs[1]])?;
            let distance = tracer.graph.apply1(RowDistance, &[rows, inputs[0]])?;
            // The losses are means over rows; the sum gives each row its own objective.
            let rows = batch as f64;
            Ok(vec![(distance, (0.5 * rows) as f32), (guess, (settings.alpha * rows) as f32)])
        })?;
        let rate = settings.learning_rate;
        Ok(EmbeddingSession { learner, player, pass, batch, rate, classes, origin: Vec::new() })
    }

    /// Starts at `rows`, at most a batch; missing ones are zeros.
    pub fn begin(&mut self, gpu: &Gpu, rows: &[f32]) -> Result<()> {
        let mut origin = rows.to_vec();
        origin.resize(self.learner.get(gpu, QUERY)?.len(), 0.0);
        self.learner.set(gpu, QUERY, &origin)?;
        self.learner.reset(gpu, &mut self.player)?;
        self.origin = origin;
        Ok(())
    }

    /// One step of Adam.
    pub fn step(&mut self, gpu: &Gpu) -> Result<()> {
        let labels = vec![0; self.batch];
        let feeds = [Feed::Rows(&self.origin), Feed::Words(&labels)];
        self.learner.step(gpu, &mut self.player, &self.pass, &feeds, self.rate)
    }

    /// h′.
    ///
    /// # Errors
    /// [`Error::Diverged`] where it is not finite.
    pub fn rows(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        let rows = self.learner.get(gpu, QUERY)?;
        match rows.iter().find(|value| !value.is_finite()) {
            None => Ok(rows),
            Some(value) => Err(Error::Diverged(format!("attriguard: an embedding became {value}"))),
        }
    }

    /// The gradient of the last step with respect to h′.
    pub fn gradient(&self, gpu: &Gpu) -> Result<Vec<f32>> {
        self.learner.gradient(gpu, QUERY)
    }

    /// Mean over the batch of ‖h′ − h‖₂ and of KL(uniform ‖ guess), before the last step.
    pub fn terms(&self, gpu: &Gpu) -> Result<[f64; 2]> {
        let losses = self.learner.losses(gpu, &self.pass)?;
        Ok([f64::from(losses[0]), f64::from(losses[1]) - (self.classes as f64).ln()])
    }
}
