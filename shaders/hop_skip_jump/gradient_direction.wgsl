// The estimated direction of the gradient: v[row.slot] = w/‖w‖ with w = signed − m·plain of that image, m = row.scale,
// and norms[row.output] = ‖w‖. Where that is zero, v is not finite.
// binding 0: rows [Row], 1: signed [vec4], 2: plain [vec4], 3: v [vec4], 4: norms [f32].
// Grid: one workgroup a row; ‖w‖² is the sum of the invocations' shares, in their order.
// Roofline: memory, 20 bytes an element.
#import hop_skip_jump/row

struct Params { rows: u32, texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> signed_sums: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> plain_sums: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> norms: array<f32>;
var<workgroup> shares: array<f32, ${LANES}>;

@compute @workgroup_size(${LANES})
fn gradient_direction(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) local: u32) {
    let index = group.x + group.y * groups.x;
    if index >= params.rows { return; }
    let row = rows[index];
    if row.slot == NOTHING { return; }
    let first = row.slot * params.texels;
    var squares = 0.0;
    for (var k = local; k < params.texels; k += ${LANES}u) {
        let w = signed_sums[first + k] - row.scale * plain_sums[first + k];
        squares += dot(w, w);
    }
    shares[local] = squares;
    workgroupBarrier();
    var total = 0.0;
    for (var lane = 0u; lane < ${LANES}u; lane++) { total += shares[lane]; }
    let norm = sqrt(total);
    for (var k = local; k < params.texels; k += ${LANES}u) {
        v[first + k] = (signed_sums[first + k] - row.scale * plain_sums[first + k]) / norm;
    }
    if local == 0u { norms[row.output] = norm; }
}
