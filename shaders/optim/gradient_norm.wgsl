// First stage of the global gradient norm: Σg² and the number of values that are not finite, of every
// ${CHUNK} vec4, in a fixed order. The number is an integer sum over exponent bits, so no compiler may drop it.
// binding 0: g [vec4], 1: sums [from first on] of (Σg² as bits, count).
// Grid: one workgroup for each chunk. Roofline: memory, 4 bytes an element.

struct Params { count: u32, first: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<vec2<u32>>;

var<workgroup> parts: array<vec2<u32>, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn gradient_norm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) local: u32) {
    let index = group.x + group.y * groups.x;
    if index * ${CHUNK}u >= params.count { return; }
    let end = min((index + 1u) * ${CHUNK}u, params.count);
    var sum = 0.0;
    var wrong = vec4<u32>(0u);
    for (var i = index * ${CHUNK}u + local; i < end; i += ${WORKGROUP}u) {
        let value = g[i];
        sum += dot(value, value);
        let exponent = bitcast<vec4<u32>>(value) & vec4<u32>(0x7f800000u);
        wrong += select(vec4<u32>(0u), vec4<u32>(1u), exponent == vec4<u32>(0x7f800000u));
    }
    parts[local] = vec2<u32>(bitcast<u32>(sum), wrong.x + wrong.y + wrong.z + wrong.w);
    workgroupBarrier();
    if local == 0u {
        var total = 0.0;
        var count = 0u;
        for (var k = 0u; k < ${WORKGROUP}u; k++) {
            total += bitcast<f32>(parts[k].x);
            count += parts[k].y;
        }
        sums[params.first + index] = vec2<u32>(bitcast<u32>(total), count);
    }
}
