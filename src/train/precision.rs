//! Number formats of a training run, and dynamic loss scaling.

use super::config::wrong;
use super::program::Input;
use crate::gpu::{Allocator, Buffer, Gpu, Products, Recording, Slice};
use crate::kernels::loss_scale::{self, LossScaleState, Update};
use crate::kernels::optim::{GradientNorm, gradient_norm};
use crate::kernels::self_test::check_rounded_products;
use crate::optim::Optimizer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Number formats of a run. Parameters, optimizer state and everything but products are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Precision {
    /// Matrix products and convolutions round their operands to f16 and add in f32; needs a GPU that was opened for it.
    #[serde(default)]
    pub mixed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scaling: Option<LossScaling>,
}

/// Dynamic loss scaling (Micikevicius et al., ICLR 2018) with the rules of PyTorch's `GradScaler`: a step whose gradients
/// are not all finite is skipped and halves the scale, `growth_interval` good ones in a row double it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaling {
    /// A power of two.
    pub initial: f32,
    pub growth_interval: u32,
}

impl Precision {
    pub const F32: Precision = Precision { mixed: false, loss_scaling: None };
    /// With PyTorch's constants.
    pub const MIXED: Precision = Precision {
        mixed: true,
        loss_scaling: Some(LossScaling { initial: 65_536.0, growth_interval: 2000 }),
    };

    /// `f32` or `mixed`.
    pub fn named(name: &str) -> Result<Precision> {
        match name {
            "f32" => Ok(Precision::F32),
            "mixed" => Ok(Precision::MIXED),
            _ => Err(Error::unknown("precision", name, &["f32", "mixed"])),
        }
    }

    /// Whether this is [`Precision::F32`], which configurations leave out.
    pub fn is_f32(&self) -> bool {
        *self == Precision::F32
    }

    pub(super) fn check(&self) -> Result<()> {
        let Some(LossScaling { initial, growth_interval }) = self.loss_scaling else { return Ok(()) };
        let power = initial.is_normal() && initial > 0.0 && initial.to_bits().trailing_zeros() >= 23;
        if !power || initial > 2f32.powi(126) {
            let expected = "a power of two within 2^-126 to 2^126";
            return wrong("precision.loss_scaling.initial", initial, expected);
        }
        if growth_interval == 0 {
            return wrong("precision.loss_scaling.growth_interval", 0, "at least 1");
        }
        Ok(())
    }

    /// # Errors
    /// A GPU that multiplies in another way than the run asks for, or wrongly.
    pub(super) fn check_gpu(&self, gpu: &Gpu) -> Result<()> {
        let opened = gpu.facts().products != Products::Single;
        if self.mixed != opened {
            let name = |mixed| if mixed { "mixed" } else { "f32" };
            return Err(Error::usage(format!(
                "precision: the run's is {}, but the GPU was opened for {}",
                name(self.mixed),
                name(opened)
            )));
        }
        if self.mixed { check_rounded_products(gpu) } else { Ok(()) }
    }
}

/// Scales below this say that gradients overflow whatever they are multiplied by.
const HOPELESS: f32 = 1.0 / 16_777_216.0;
/// Phases that count skipped steps of their own.
const PHASES: usize = 2;

/// Loss scaling of one run on the GPU.
pub(super) struct LossScale {
    settings: LossScaling,
    state: Buffer,
    corrections: Buffer,
    /// Of the corrections; the buffer may be longer.
    entries: usize,
}

impl LossScale {
    /// `steps`: of the whole run.
    pub fn new(
        allocator: Allocator,
        settings: LossScaling,
        optimizer: &Optimizer,
        steps: u64,
    ) -> Result<LossScale> {
        let start = LossScaleState { scale: settings.initial, good_steps: 0, skipped: [0; PHASES] };
        let corrections = corrections(optimizer, steps);
        Ok(LossScale {
            settings,
            state: allocator.buffer_with("loss scale", &[start])?,
            entries: corrections.len(),
            corrections: allocator.buffer_with("bias corrections", &corrections)?,
        })
    }

    /// The scale as a value that a graph is given.
    pub fn input(&self, recording: &mut Recording) -> Input {
        Input::words("loss scale", recording.persistent(&self.state))
    }

    /// Unscales `gradients` and decides whether the optimizer, recorded next, skips the step of `step`.
    pub fn judge(
        &self,
        recording: &mut Recording,
        phase: usize,
        gradients: Slice,
        step: Slice,
    ) -> Result<()> {
        let state = recording.persistent(&self.state);
        loss_scale::unscale(recording, state, gradients)?;
        let norm = recording.transient("gradient norm", size_of::<GradientNorm>() as u64);
        gradient_norm(recording, &[gradients], norm);
        let settings = Update {
            norm,
            corrections: recording.persistent(&self.corrections).part(0, self.entries as u64 * 8),
            phase: phase as u32,
            growth_interval: self.settings.growth_interval,
        };
        loss_scale::update(recording, &settings, state, step);
        Ok(())
    }

    pub fn download(&self, gpu: &Gpu) -> Result<LossScaleState> {
        let all: Vec<LossScaleState> = gpu.read(&self.state, 0, 1)?;
        all.first().copied().ok_or_else(|| Error::gpu("loss scale: nothing came back from the GPU"))
    }

    pub fn restore(&self, gpu: &Gpu, state: LossScaleState) -> Result<()> {
        gpu.write(&self.state, 0, &[state])
    }
}

/// # Errors
/// [`Error::Diverged`] where gradients were not finite at any scale: such a run only skips steps.
pub(super) fn check_scale(state: &LossScaleState, step: u64) -> Result<()> {
    let last_was_skipped = state.good_steps == 0 && state.skipped != [0; PHASES];
    if state.scale < HOPELESS && last_was_skipped {
        return Err(Error::Diverged(format!(
            "gradients are not finite at step {step}, even at a loss scale of {:.2e}; try a lower learning rate, or leave --precision out",
            state.scale
        )));
    }
    Ok(())
}

/// Bias corrections after 1, 2, … of at most `steps` steps, up to the first that f32 cannot tell from no correction.
fn corrections(optimizer: &Optimizer, steps: u64) -> Vec<[f32; 2]> {
    let mut all = Vec::new();
    for done in 0..steps.max(1) {
        let (first, second) = optimizer.bias_corrections(done);
        all.push([first, second]);
        if (first, second) == (1.0, 1.0) {
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_that_fell_to_nothing_ends_the_run() {
        let state = |scale, good_steps, skipped| LossScaleState { scale, good_steps, skipped: [skipped, 0] };
        for fine in [
            state(1.0, 0, 9),
            state(HOPELESS / 2.0, 0, 0),
            state(HOPELESS / 2.0, 1, 1),
            state(HOPELESS, 0, 1),
        ] {
            assert!(check_scale(&fine, 7).is_ok(), "{fine:?}");
        }
        let message = check_scale(&state(HOPELESS / 2.0, 0, 41), 41).map_err(|e| e.to_string());
        assert!(message.is_err_and(|m| m.contains("step 41") && m.contains("2.98e-8")));
    }

    #[test]
    fn corrections_end_where_nothing_is_corrected() {
        let adam = Optimizer::adam(0.0);
        let all = corrections(&adam, 1_000_000);
        assert_eq!(all.last(), Some(&[1.0, 1.0]));
        assert!((10_000..20_000).contains(&all.len()), "{} entries", all.len());
        for done in [0, 1, 9_999] {
            let (first, second) = adam.bias_corrections(done);
            assert_eq!(all[done as usize], [first, second]);
        }
        assert_eq!(corrections(&adam, 3).len(), 3);
        assert_eq!(corrections(&Optimizer::sgd(0.0), 3), [[1.0, 1.0]]);
    }
}
