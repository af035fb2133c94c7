//! The one small buffer that changes from step to step. Everything else of a program stays as it was recorded.

use bytemuck::{Pod, Zeroable};

/// What a replayed program must know of the current step; the twin of `shaders/common/step.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct StepState {
    /// Steps done before this one.
    pub step: u32,
    pub epoch: u32,
    /// Key of this epoch's augmentation draws.
    pub augment_key: [u32; 2],
    /// Key of this step's dropout draws.
    pub dropout_key: [u32; 2],
    pub learning_rate: f32,
    /// 1 − β₁ᵗ of Adam with t = step + 1.
    pub adam_bias1: f32,
    /// √(1 − β₂ᵗ) of Adam.
    pub adam_bias2_sqrt: f32,
    /// First row of the queue that this step overwrites (MoCo).
    pub queue_pointer: u32,
    /// 1: gradients are not finite and the optimizer leaves everything as it was ([`loss_scale::update`](super::loss_scale::update)
    /// writes it).
    pub skip: u32,
    /// Steps of this phase done before, skipped ones included.
    pub optimizer_step: u32,
    pub spare: [u32; 4],
}
