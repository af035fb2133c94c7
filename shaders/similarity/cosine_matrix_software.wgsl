// y_ij = â_i·b̂_j of normalised rows, for adapters with one subgroup of eight lanes (CPU drivers).
// binding 0: â, row-major texture, 1: b̂ in panels (similarity/pack_panels), 2: y [vec4, rows·⌈columns/4⌉].
// Grid: one workgroup of eight invocations for each 32 x 32 tile. Roofline: compute, 2·depth·4 flops an element.
#import common/texel
#import common/pack64

struct Params { depth: u32, row_count: u32, columns4: u32, panel_count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var rows: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u64>>;

@compute @workgroup_size(8)
fn cosine_matrix(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) lane: u32) {
    let tile = group.x + group.y * groups.x;
    let depth = params.depth;
    let panel = tile % params.panel_count;
    let first_row = tile / params.panel_count * 32u;
    if first_row >= params.row_count { return; }
#import common/product32
    let column4 = panel * 8u + lane;
    if column4 >= params.columns4 { return; }
#for r in 0..32
    if first_row + ${r}u < params.row_count { y[(first_row + ${r}u) * params.columns4 + column4] = pack64(c${r}); }
#end
}
