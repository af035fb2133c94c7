// Weights with input and output channels exchanged, for the gradient to the input: t[i, tap, o] = w[o, tap, i].
// binding 0: w, panels of [O][tap][I]; 1: t, panels of [I][tap][O] (WeightShape). Grid: one invocation for each block of
// 4 x 4 channels of a tap. Roofline: memory.
#import common/grid

struct Params { taps: u32, i4: u32, o4: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> t: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn transpose_weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.taps * params.i4 * params.o4 { return; }
    let o = index % params.o4;
    let i = index / params.o4 % params.i4;
    let tap = index / params.o4 / params.i4;
    let w_k = params.taps * params.i4 * 4u;
    let w_lanes = min(8u, params.o4 - o / 8u * 8u);
    let source = o / 8u * 8u * w_k + (tap * params.i4 + i) * 4u * w_lanes + o % 8u;
    let a = w[source];
    let b = w[source + w_lanes];
    let c = w[source + 2u * w_lanes];
    let d = w[source + 3u * w_lanes];
    let t_k = params.taps * params.o4 * 4u;
    let t_lanes = min(8u, params.i4 - i / 8u * 8u);
    let to = i / 8u * 8u * t_k + (tap * params.o4 + o) * 4u * t_lanes + i % 8u;
    t[to] = vec4<f32>(a.x, b.x, c.x, d.x);
    t[to + t_lanes] = vec4<f32>(a.y, b.y, c.y, d.y);
    t[to + 2u * t_lanes] = vec4<f32>(a.z, b.z, c.z, d.z);
    t[to + 3u * t_lanes] = vec4<f32>(a.w, b.w, c.w, d.w);
}
