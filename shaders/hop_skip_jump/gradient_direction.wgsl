// The estimated direction of the gradient: v[row.slot] = w/‖w‖ with w = signed − m·plain of that image, m = row.scale,
// and norms[row.output] = ‖w‖. Where that is zero, v is not finite.
// binding 0: rows [Row], 1: signed [vec4], 2: plain [vec4], 3: v [vec4], 4: norms [f32].
// Grid: one workgroup a row, or one invocation (shared_row); ‖w‖² is the sum of the invocations' shares, in their order.
// Roofline: memory, 20 bytes an element.
#import hop_skip_jump/shares

struct Params { rows: u32, texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> signed_sums: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> plain_sums: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> norms: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn gradient_direction(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) local: u32) {
#import hop_skip_jump/shared_row
    let first = row.slot * params.texels;
    var squares = 0.0;
    for (var k = lane; k < params.texels; k += ${LANES}u) {
        let w = signed_sums[first + k] - row.scale * plain_sums[first + k];
        squares += dot(w, w);
    }
#import hop_skip_jump/shared_total
    let norm = sqrt(total);
    for (var k = lane; k < params.texels; k += ${LANES}u) {
        v[first + k] = (signed_sums[first + k] - row.scale * plain_sums[first + k]) / norm;
    }
    if lane == 0u { norms[row.output] = norm; }
}
