// Euclidean distances: distances[row.output] = ‖b[row.number] − x[row.slot]‖.
// binding 0: rows [Row], 1: x [vec4], 2: b [vec4], 3: distances [f32].
// Grid: one workgroup a row; the sum of squares is that of the invocations' shares, in their order.
// Roofline: memory, 8 bytes an element.
#import hop_skip_jump/row

struct Params { rows: u32, texels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<f32>;
var<workgroup> shares: array<f32, ${LANES}>;

@compute @workgroup_size(${LANES})
fn distances(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
    let index = group.x + group.y * groups.x;
    if index >= params.rows { return; }
    let row = rows[index];
    if row.slot == NOTHING { return; }
    var squares = 0.0;
    for (var k = local; k < params.texels; k += ${LANES}u) {
        let difference = b[row.number * params.texels + k] - x[row.slot * params.texels + k];
        squares += dot(difference, difference);
    }
    shares[local] = squares;
    workgroupBarrier();
    if local == 0u {
        var total = 0.0;
        for (var lane = 0u; lane < ${LANES}u; lane++) { total += shares[lane]; }
        result[row.output] = sqrt(total);
    }
}
