// A matrix in the orders of common/product32, zero beyond the last row.
// Without PANELS (operand A): texel (block, k, row) at (block·depth + k)·32 + row holds values 4k..4k+3 of row
// 32·block + row. With PANELS (operand B): texel (panel, d, lane) at (panel·4·depth + d)·8 + lane holds value d of
// rows 32·panel + 4·lane + 0..3.
// binding 0: x [vec4, rows·depth], 1: packed [vec4, 32·⌈rows/32⌉·depth].
// Grid: one invocation for four rows and four values. Roofline: memory, 8 bytes an element.
#import common/grid

struct Params { rows: u32, depth: u32, count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> packed: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn pack_operand(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let lane = i % 8u;
    let k = i / 8u % params.depth;
    let block = i / 8u / params.depth;
    let row = block * 32u + lane * 4u;
#for r in 0..4
    var v${r} = vec4<f32>(0.0);
    if row + ${r}u < params.rows { v${r} = x[(row + ${r}u) * params.depth + k]; }
#end
    let first = (block * params.depth + k) * 32u;
#if PANELS
#for q in 0..4
    packed[first + ${q * 8}u + lane] = vec4<f32>(v0.${q:xyzw}, v1.${q:xyzw}, v2.${q:xyzw}, v3.${q:xyzw});
#end
#else
#for r in 0..4
    packed[first + lane * 4u + ${r}u] = v${r};
#end
#endif
}
