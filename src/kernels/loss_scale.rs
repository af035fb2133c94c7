//! Dynamic loss scaling on the GPU: the gradient of the loss is multiplied by a power of two S at its root, so that what f16 rounds in
//! the backward pass lies in its range, and divided by S before the optimizer, both exactly.
//!
//! The order of a step: [`scale_gradient`] at the root, the backward pass, [`unscale`], [`gradient_norm`](super::optim::gradient_norm),
//! [`update`], the optimizer, which leaves everything as it was where [`StepState`](super::StepState) says `skip`.

use super::Tensor;
use super::optim::Elementwise;
use super::planes::WORKGROUP;
use crate::Result;
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

/// What is kept from step to step; the twin of `shaders/loss_scale/state.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaleState {
    /// S, a power of two.
    pub scale: f32,
    /// Steps with finite gradients since S last changed.
    pub good_steps: u32,
    /// Steps of each phase that were skipped.
    pub skipped: [u32; 2],
}

/// `y = S·x`; `state` holds a [`LossScaleState`].
pub fn scale_gradient(recording: &mut Recording, state: Slice, x: Tensor, y: Tensor) {
    let count = x.shape.texels() as u64;
    recording.dispatch(Dispatch {
        shader: "loss_scale/scale_gradient",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![Binding::Read(state), Binding::Operand(x.slice), Binding::Write(y.slice)],
        immediates: vec![count as u32],
        grid: recording.grid(count.div_ceil(u64::from(WORKGROUP))),
        flops: count * 4,
        bytes: count * 32,
    });
}

/// `g ← g/S`, in place.
///
/// # Errors
/// A slice that is not of whole vec4.
pub fn unscale(recording: &mut Recording, state: Slice, gradients: Slice) -> Result<()> {
    let kernel = Elementwise {
        shader: "loss_scale/unscale",
        defines: Defines::new(),
        immediates: Vec::new(),
        flops: 1,
    };
    kernel.record(recording, Some(state), &[], &[gradients])
}

/// How [`update`] judges a step.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// A [`GradientNorm`](super::optim::GradientNorm) of the step's gradients.
    pub norm: Slice,
    /// Bias corrections of Adam after 1, 2, … steps, two f32 each; the last holds for all later steps.
    pub corrections: Slice,
    /// Which of the counters of skipped steps is this program's.
    pub phase: u32,
    /// Good steps after which S doubles.
    pub growth_interval: u32,
}

/// Skips the step or counts it, moves S, and writes the bias corrections of the optimizer's own count of steps into
/// `step`, a [`StepState`](super::StepState).
pub fn update(recording: &mut Recording, settings: &Update, state: Slice, step: Slice) {
    recording.dispatch(Dispatch {
        shader: "loss_scale/update",
        defines: Defines::new(),
        bindings: vec![
            Binding::Read(settings.norm),
            Binding::Read(settings.corrections),
            Binding::Write(state),
            Binding::Write(step),
        ],
        immediates: vec![settings.phase, settings.growth_interval, (settings.corrections.bytes / 8) as u32],
        grid: [1, 1, 1],
        flops: 1,
        bytes: 112,
    });
}
