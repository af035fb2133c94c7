// What changes from step to step; the twin of kernels::StepState.
struct StepState {
    step: u32,
    epoch: u32,
    augment_key: vec2<u32>,
    dropout_key: vec2<u32>,
    learning_rate: f32,
    adam_bias1: f32,
    adam_bias2_sqrt: f32,
    queue_pointer: u32,
    skip: u32,
    optimizer_step: u32,
    spare: vec4<u32>,
}
