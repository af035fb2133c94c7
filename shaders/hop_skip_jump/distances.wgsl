// Euclidean distances: distances[row.output] = ‖b[row.number] − x[row.slot]‖.
// binding 0: rows [Row], 1: x [vec4], 2: b [vec4], 3: distances [f32].
// Grid: one workgroup a row, or one invocation (shared_row); the sum of squares is that
// of the invocations' shares, in their order.
// Roofline: memory, 8 bytes an element.
#import hop_skip_jump/shares

struct Params { rows: u32, texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn distances(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
#import hop_skip_jump/shared_row
    var squares = 0.0;
    for (var k = lane; k < params.texels; k += ${LANES}u) {
        let difference = b[row.number * params.texels + k] - x[row.slot * params.texels + k];
        squares += dot(difference, difference);
    }
#import hop_skip_jump/shared_total
    if lane == 0u { result[row.output] = sqrt(total); }
}
