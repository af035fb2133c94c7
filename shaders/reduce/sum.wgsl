// Partial sums of all of x: part i adds the vec4s i, i + parts, …; reduce/fold adds the parts.
// With NON_FINITE, partial counts of elements that are NaN or infinite (by their bits: compilers may assume
// that there are none).
// binding 0: x [vec4], 1: partial results [parts] vec4. Grid: one invocation a part. Roofline: memory.
#import common/grid

struct Params { count: u32, parts: u32 }
var<immediate> params: Params;
#if NON_FINITE
@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<u32>>;

fn term(i: u32) -> vec4<u32> {
    let exponent = vec4<u32>(0x7f800000u);
    return select(vec4<u32>(0u), vec4<u32>(1u), (x[i] & exponent) == exponent);
}
#else
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>;

fn term(i: u32) -> vec4<f32> {
    return x[i];
}
#endif

@compute @workgroup_size(${WORKGROUP})
fn sum(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) local: u32) {
    let part = linear_index(group, groups, local);
    if part >= params.parts { return; }
    let step = params.parts;
    var i = part;
    var total = term(i);
    for (i += step; i + 3u * step < params.count; i += 4u * step) {
        total += (term(i) + term(i + step)) + (term(i + 2u * step) + term(i + 3u * step));
    }
    for (; i < params.count; i += step) { total += term(i); }
    partials[part] = total;
}
