// What dynamic loss scaling remembers; the twin of kernels::loss_scale::LossScaleState.
struct LossScale {
    scale: f32,
    good_steps: u32,
    skipped: vec2<u32>,
}
