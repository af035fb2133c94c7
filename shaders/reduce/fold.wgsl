// y[row] = factor · Σ partials[row] in a fixed order: each invocation adds every ${WORKGROUP}th part, the first adds
// their sums. With TOTAL the four lanes are added too, into the first. With INTEGER everything is u32, without factor.
// binding 0: partials [rows][parts] vec4, 1: y [rows] vec4. Grid: one workgroup a row. Roofline: latency.
#if INTEGER
alias Value = vec4<u32>;
#else
alias Value = vec4<f32>;
#endif
struct Params { parts: u32, factor: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> partials: array<Value>;
@group(0) @binding(1) var<storage, read_write> y: array<Value>;
var<workgroup> sums: array<Value, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn fold(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = group.x * params.parts;
    var sum = Value();
    for (var part = local; part < params.parts; part += ${WORKGROUP}u) { sum += partials[first + part]; }
    sums[local] = sum;
    workgroupBarrier();
    if local != 0u { return; }
    var total = sums[0];
    for (var i = 1u; i < ${WORKGROUP}u; i++) { total += sums[i]; }
#if TOTAL
    let lane_sum = (total.x + total.y) + (total.z + total.w);
    total = Value();
    total.x = lane_sum;
#endif
#if INTEGER
    y[group.x] = total;
#else
    y[group.x] = params.factor * total;
#endif
}
