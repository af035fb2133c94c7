//! Losses that stay on the GPU until the host reads them.

use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::kernels::Tensor;

/// Writes the first element of `loss` to `ring[step % length]`, where the ring holds `length` f32 and `step` is the
/// [`StepState`](crate::kernels::StepState) of this submit.
pub fn keep_loss(recording: &mut Recording, step: Slice, loss: Tensor, ring: Slice) {
    recording.dispatch(Dispatch {
        shader: "loss/keep_loss",
        defines: Defines::new(),
        bindings: vec![Binding::Read(step), Binding::Read(loss.slice), Binding::Write(ring)],
        immediates: vec![(ring.bytes / 4) as u32],
        grid: [1, 1, 1],
        flops: 0,
        bytes: 8,
    });
}
