// ring[step % length] = loss[0]: the losses of the last steps, for the host to read now and then.
// binding 0: the step's state, 1: loss, 2: ring. Grid: one invocation.
#import common/step

struct Params { length: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> state: StepState;
@group(0) @binding(1) var<storage, read> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> ring: array<f32>;

@compute @workgroup_size(1)
fn keep_loss() {
    ring[state.step % params.length] = loss[0];
}
