// Panels of 32 rows, transposed: texel (panel, d, lane) = value d of rows 32·panel + 4·lane + 0..3, zero beyond
// the last row. The operand order of common/product32.
// binding 0: x [vec4, rows·depth], 1: packed [vec4, panels·4·depth·8].
// Grid: one invocation for four rows and four values. Roofline: memory, 8 bytes an element.
#import common/grid

struct Params { rows: u32, depth: u32, count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> packed: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn pack_panels(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let lane = i % 8u;
    let k = i / 8u % params.depth;
    let panel = i / 8u / params.depth;
    let row = panel * 32u + lane * 4u;
#for r in 0..4
    var v${r} = vec4<f32>(0.0);
    if row + ${r}u < params.rows { v${r} = x[(row + ${r}u) * params.depth + k]; }
#end
    let at = (panel * params.depth + k) * 32u + lane;
#for q in 0..4
    packed[at + ${q * 8}u] = vec4<f32>(v0.${q:xyzw}, v1.${q:xyzw}, v2.${q:xyzw}, v3.${q:xyzw});
#end
}
