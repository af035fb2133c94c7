// Second stage of the global gradient norm: ‖g‖ = √Σ of all chunks, and all values that are not finite.
// binding 0: sums [count] of (Σg² as bits, count), 1: GradientNorm.
// Grid: one workgroup; invocation k sums every ${WORKGROUP}th chunk, the first one the ${WORKGROUP} results.

struct Params { count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> sums: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read_write> norm: array<vec4<u32>>;

var<workgroup> parts: array<vec2<u32>, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn gradient_norm_total(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    var wrong = 0u;
    for (var i = local; i < params.count; i += ${WORKGROUP}u) {
        sum += bitcast<f32>(sums[i].x);
        wrong += sums[i].y;
    }
    parts[local] = vec2<u32>(bitcast<u32>(sum), wrong);
    workgroupBarrier();
    if local == 0u {
        var total = 0.0;
        var count = 0u;
        for (var k = 0u; k < ${WORKGROUP}u; k++) {
            total += bitcast<f32>(parts[k].x);
            count += parts[k].y;
        }
        norm[0] = vec4<u32>(bitcast<u32>(sqrt(total)), count, 0u, 0u);
    }
}
