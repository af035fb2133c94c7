// queue[(pointer + i) mod length] = k_i / max(‖k_i‖₂, 1e-12), with the step's queue pointer.
// binding 0: k [vec4, rows·depth], 1: StepState, 2: queue [vec4, length·depth].
// Grid: one invocation a key. Roofline: memory, 8 bytes an element.
#import common/grid
#import common/step

struct Params { rows: u32, depth: u32, length: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> keys: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> state: StepState;
@group(0) @binding(2) var<storage, read_write> queue: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn queue_update(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let source = row * params.depth;
    let target_row = (state.queue_pointer % params.length + row) % params.length * params.depth;
    var squares = vec4<f32>(0.0);
    for (var k = 0u; k < params.depth; k++) {
        let v = keys[source + k];
        squares += v * v;
    }
    let norm = max(sqrt((squares.x + squares.y) + (squares.z + squares.w)), 1e-12);
    for (var k = 0u; k < params.depth; k++) {
        queue[target_row + k] = keys[source + k] / norm;
    }
}
