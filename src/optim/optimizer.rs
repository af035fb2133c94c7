//! Optimisers by name and hyper-parameters, and their step over an arena.

use crate::gpu::{Recording, Slice};
use crate::kernels::optim::{self as kernel, SegmentTable};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// An optimiser with everything but its learning rate, which a [`LearningRate`](super::LearningRate)
/// gives for each step. Definitions are PyTorch's; weight decay applies to all parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    Sgd {
        #[serde(default = "defaults::momentum")]
        momentum: f64,
        #[serde(default)]
        nesterov: bool,
        #[serde(default)]
        weight_decay: f64,
    },
    /// Kingma and Ba, ICLR 2015; weight decay is added to the gradient.
    Adam {
        #[serde(default = "defaults::beta1")]
        beta1: f64,
        #[serde(default = "defaults::beta2")]
        beta2: f64,
        #[serde(default = "defaults::eps")]
        eps: f64,
        #[serde(default)]
        weight_decay: f64,
    },
    /// Loshchilov and Hutter, ICLR 2019: weight decay apart from the gradient.
    AdamW {
        #[serde(default = "defaults::beta1")]
        beta1: f64,
        #[serde(default = "defaults::beta2")]
        beta2: f64,
        #[serde(default = "defaults::eps")]
        eps: f64,
        #[serde(default)]
        weight_decay: f64,
    },
    /// You, Gitman and Ginsburg, 2017.
    Lars {
        #[serde(default = "defaults::momentum")]
        momentum: f64,
        #[serde(default)]
        weight_decay: f64,
        #[serde(default = "defaults::trust")]
        trust: f64,
    },
}

mod defaults {
    pub fn momentum() -> f64 {
        0.9
    }
    pub fn beta1() -> f64 {
        0.9
    }
    pub fn beta2() -> f64 {
        0.999
    }
    pub fn eps() -> f64 {
        1e-8
    }
    pub fn trust() -> f64 {
        1e-3
    }
}

/// The buffers of one step, all of one length; `state` as many as [`Optimizer::state_buffers`] says.
pub struct Arena<'a> {
    pub parameters: Slice,
    pub gradients: Slice,
    pub state: &'a [Slice],
    /// Tensors of the arena; LARS needs it.
    pub segments: Option<&'a SegmentTable>,
}

impl Optimizer {
    pub fn weight_decay(&self) -> f64 {
        match *self {
            Optimizer::Sgd { weight_decay, .. }
            | Optimizer::Adam { weight_decay, .. }
            | Optimizer::AdamW { weight_decay, .. }
            | Optimizer::Lars { weight_decay, .. } => weight_decay,
        }
    }

    /// The same with another weight decay.
    #[must_use]
    pub fn with_weight_decay(mut self, decay: f64) -> Optimizer {
        match &mut self {
            Optimizer::Sgd { weight_decay, .. }
            | Optimizer::Adam { weight_decay, .. }
            | Optimizer::AdamW { weight_decay, .. }
            | Optimizer::Lars { weight_decay, .. } => *weight_decay = decay,
        }
        self
    }

    /// SGD with momentum 0.9.
    pub fn sgd(weight_decay: f64) -> Optimizer {
        Optimizer::Sgd { momentum: defaults::momentum(), nesterov: false, weight_decay }
    }

    /// Adam with β = (0.9, 0.999), ε = 1e-8.
    pub fn adam(weight_decay: f64) -> Optimizer {
        let (beta1, beta2, eps) = (defaults::beta1(), defaults::beta2(), defaults::eps());
        Optimizer::Adam { beta1, beta2, eps, weight_decay }
    }

    /// AdamW with β = (0.9, 0.999), ε = 1e-8.
    pub fn adamw(weight_decay: f64) -> Optimizer {
        let (beta1, beta2, eps) = (defaults::beta1(), defaults::beta2(), defaults::eps());
        Optimizer::AdamW { beta1, beta2, eps, weight_decay }
    }

    /// LARS with momentum 0.9, κ = 1e-3.
    pub fn lars(weight_decay: f64) -> Optimizer {
        Optimizer::Lars { momentum: defaults::momentum(), weight_decay, trust: defaults::trust() }
    }

    /// Buffers of the parameters' size that the optimiser keeps from step to step; they start as zeros.
    pub fn state_buffers(&self) -> usize {
        match self {
            Optimizer::Sgd { momentum, .. } => usize::from(*momentum != 0.0),
            Optimizer::Lars { .. } => 1,
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => 2,
        }
    }

    /// `adam_bias1` = 1 − β₁ᵗ and `adam_bias2_sqrt` = √(1 − β₂ᵗ) of the [`StepState`](crate::kernels::StepState)
    /// after `steps` done steps (t = steps + 1); 1 for optimisers that have none.
    pub fn bias_corrections(&self, steps: u64) -> (f32, f32) {
        match *self {
            Optimizer::Adam { beta1, beta2, .. } | Optimizer::AdamW { beta1, beta2, .. } => {
                let t = (steps + 1) as f64;
                ((1.0 - beta1.powf(t)) as f32, (1.0 - beta2.powf(t)).sqrt() as f32)
            }
            Optimizer::Sgd { .. } | Optimizer::Lars { .. } => (1.0, 1.0),
        }
    }

    /// # Errors
    /// [`Error::Usage`] names the hyper-parameter that is out of range.
    pub fn check(&self) -> Result<()> {
        let fraction = |v: f64| (0.0..1.0).contains(&v);
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let decay = |v: f64| v >= 0.0 && v.is_finite();
        let problem = match *self {
            Optimizer::Sgd { momentum, nesterov, weight_decay } => [
                (!fraction(momentum), "momentum within [0, 1)"),
                (nesterov && momentum == 0.0, "momentum above 0 for Nesterov's form"),
                (!decay(weight_decay), "weight_decay of at least 0"),
                (false, ""),
            ],
            Optimizer::Adam { beta1, beta2, eps, weight_decay }
            | Optimizer::AdamW { beta1, beta2, eps, weight_decay } => [
                (!fraction(beta1), "beta1 within [0, 1)"),
                (!fraction(beta2), "beta2 within [0, 1)"),
                (!positive(eps), "eps above 0"),
                (!decay(weight_decay), "weight_decay of at least 0"),
            ],
            Optimizer::Lars { momentum, weight_decay, trust } => [
                (!fraction(momentum), "momentum within [0, 1)"),
                (!decay(weight_decay), "weight_decay of at least 0"),
                (!positive(trust), "trust above 0"),
                (false, ""),
            ],
        };
        match problem.iter().find(|(wrong, _)| *wrong) {
            None => Ok(()),
            Some((_, what)) => Err(Error::usage(format!("optimiser {self:?}: it needs {what}"))),
        }
    }

    /// Records one step. `step` holds the [`StepState`](crate::kernels::StepState) with the learning rate
    /// and [`Optimizer::bias_corrections`].
    ///
    /// # Errors
    /// Hyper-parameters out of range; buffers of different length or too few; LARS without segments.
    pub fn step(&self, recording: &mut Recording, step: Slice, arena: &Arena) -> Result<()> {
        self.check()?;
        if arena.state.len() < self.state_buffers() {
            return Err(Error::usage(format!(
                "optimiser {self:?}: it keeps {} state buffers, {} were given",
                self.state_buffers(),
                arena.state.len()
            )));
        }
        let (p, g, state) = (arena.parameters, arena.gradients, arena.state);
        match *self {
            Optimizer::Sgd { momentum, nesterov, weight_decay } => {
                let settings = kernel::Sgd { momentum, nesterov, weight_decay };
                kernel::sgd(recording, step, &settings, p, g, state.first().copied())
            }
            Optimizer::Adam { beta1, beta2, eps, weight_decay } => {
                let settings = kernel::Adam { beta1, beta2, eps, weight_decay, decoupled: false };
                kernel::adam(recording, step, &settings, p, g, state[0], state[1])
            }
            Optimizer::AdamW { beta1, beta2, eps, weight_decay } => {
                let settings = kernel::Adam { beta1, beta2, eps, weight_decay, decoupled: true };
                kernel::adam(recording, step, &settings, p, g, state[0], state[1])
            }
            Optimizer::Lars { momentum, weight_decay, trust } => {
                let segments = arena.segments.ok_or_else(|| {
                    Error::usage("optimiser LARS: it needs the segments of the arena; none were given")
                })?;
                let settings = kernel::Lars { momentum, weight_decay, trust };
                kernel::lars(recording, step, &settings, segments, p, g, state[0])
            }
        }
    }
}
