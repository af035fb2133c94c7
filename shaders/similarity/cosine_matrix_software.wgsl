// y_ij = â_i·b̂_j of normalised rows, for adapters with one subgroup of eight lanes (CPU drivers).
// binding 0: â in blocks, 1: b̂ in panels (similarity/pack_operand), 2: y [pairs of f32 pairs, rows·⌈columns/4⌉].
// Grid: one workgroup of eight invocations for each 32 x 32 tile. Roofline: compute, 2·dim flops an element.
#import common/texel
#import common/pack64
#import common/panels

struct Params { depth: u32, row_count: u32, columns4: u32, panel_count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var a_blocks: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u64>>;

@compute @workgroup_size(8)
fn cosine_matrix_software(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) lane: u32) {
    let tile = group.x + group.y * groups.x;
    let panel = tile % params.panel_count;
    let block = tile / params.panel_count;
    let first_row = block * 32u;
    if first_row >= params.row_count { return; }
    let first_k = 0u;
    let end_k = params.depth;
    let first_a = block * params.depth * 32u;
    let first_b = panel * params.depth * 32u + lane;
#import common/product32
    let column4 = panel * 8u + lane;
    if column4 >= params.columns4 { return; }
#for r in 0..32
    if first_row + ${r}u < params.row_count { y[(first_row + ${r}u) * params.columns4 + column4] = pack64(c${r}); }
#end
}
