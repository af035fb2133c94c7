// G_i = Σ_j W_ij b̂_j over a range of j, for some blocks of rows i, for adapters with subgroups of LANES, eight or four
// (CPU drivers).
// binding 0: W in blocks (loss/contrastive_weights_software), 1: b̂ in blocks (gemm/pack_operand, operand A:
// here it is operand B, whose columns are the values of a row), 2: G [pairs of f32 pairs, splits·rows·depth].
// Grid: one workgroup of LANES invocations for each row block, 4·LANES values of a row, and split of `chunk` texels
// (4 j each). Roofline: compute, 2·dim flops for each i, j.
#import common/texel
#import common/pack64

struct Params {
    depth: u32, row_count: u32, first_block: u32, blocks: u32, dim_tiles: u32, columns4: u32, chunk: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var a_blocks: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> gradient: array<vec2<u64>>;

const B_STEP: u32 = 1u;
const B_NEXT: u32 = 4u;
fn b_texel(k: u32) -> u32 {
    return k / 8u * params.depth * 32u + k % 8u * 4u;
}

@compute @workgroup_size(${LANES})
fn weighted_sums_software(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) lane: u32) {
    let workgroup = group.x + group.y * groups.x;
    let dim_tile = workgroup % params.dim_tiles;
    let local_block = workgroup / params.dim_tiles % params.blocks;
    let split = workgroup / params.dim_tiles / params.blocks;
    let first_k = split * params.chunk;
    let end_k = min(first_k + params.chunk, params.columns4);
    if first_k >= end_k { return; }
    let texel_of_row = dim_tile * ${LANES}u + lane;
    let first_a = local_block * params.columns4 * 32u;
    let first_b = texel_of_row * 32u;
#import common/product32
    let first_row = (params.first_block + local_block) * 32u;
    if texel_of_row < params.depth {
#for r in 0..32
        if first_row + ${r}u < params.row_count {
            gradient[(split * params.row_count + first_row + ${r}u) * params.depth + texel_of_row] = pack64(c${r});
        }
#end
    }
}
