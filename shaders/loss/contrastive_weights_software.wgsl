// Weights of a gradient for some blocks of rows i and all columns j: W_ij = exp2(x_ij − L_i), with SYMMETRIC (NT-Xent)
// + exp2(x_ij − L_j), j ≠ i; x_ij = κ (â_i·b̂_j − 1) is computed again. For adapters with subgroups of LANES, eight or
// four (CPU drivers), whose memory accesses other than texture reads are so slow that the weights go through a texture
// to the second product (loss/weighted_sums_software), a few row blocks at a time.
// binding 0: â in blocks, 1: b̂ in panels (gemm/pack_operand), 2: L [f32, of i and, with SYMMETRIC, of j],
// 3: W in blocks [pairs of f32 pairs, blocks·⌈columns/4⌉·32], zero beyond the last column.
// A strip is 4·LANES columns: a panel, or half of one. Grid: one workgroup of LANES invocations for each row block and `chunk` panels.
// Roofline: compute, 2·dim flops and one exp2 (two with SYMMETRIC) an element.
#import common/texel
#import common/pack64
#import common/panels

struct Params {
    depth: u32, columns: u32, first_block: u32, blocks: u32, panel_count: u32, chunk: u32, kappa: f32,
}
var<immediate> params: Params;
@group(0) @binding(0) var a_blocks: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read> log_sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> weights: array<vec2<u64>>;

@compute @workgroup_size(${LANES})
fn contrastive_weights_software(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                                @builtin(local_invocation_index) lane: u32) {
    let workgroup = group.x + group.y * groups.x;
    let kappa = params.kappa;
    let local_block = workgroup % params.blocks;
    let block = params.first_block + local_block;
    let first_panel = workgroup / params.blocks * params.chunk;
    let first_strip = first_panel * ${8 / LANES}u;
    let end_strip = min(first_panel + params.chunk, params.panel_count) * ${8 / LANES}u;
    if first_strip >= end_strip { return; }
    let columns4 = (params.columns + 3u) / 4u;
    let first_row = block * 32u;
    let first_k = 0u;
    let end_k = params.depth;
    let first_a = block * params.depth * 32u;
#for m in 0..32 / LANES
    let row_sums${m} = log_sums[first_row + ${m * LANES}u + lane];
#end
    for (var strip = first_strip; strip < end_strip; strip++) {
        let first_b = strip / ${8 / LANES}u * params.depth * 32u + strip % ${8 / LANES}u * ${LANES}u + lane;
#import common/product32
        let first_column = (strip * ${LANES}u + lane) * 4u;
        let column = vec4<u32>(first_column) + vec4<u32>(0u, 1u, 2u, 3u);
#if SYMMETRIC
        let column_sums = vec4<f32>(log_sums[first_column], log_sums[first_column + 1u],
                                    log_sums[first_column + 2u], log_sums[first_column + 3u]);
        if strip / ${8 / LANES}u == block || strip / ${8 / LANES}u + 1u == params.panel_count {
#for r in 0..32
            c${r} = select(c${r}, vec4<f32>(-1e33),
                (column >= vec4<u32>(params.columns)) | (column == vec4<u32>(first_row + ${r}u)));
#end
        }
#else
        if strip / ${8 / LANES}u + 1u == params.panel_count {
            let outside = column >= vec4<u32>(params.columns);
#for r in 0..32
            c${r} = select(c${r}, vec4<f32>(-1e33), outside);
#end
        }
#endif
        let column4 = strip * ${LANES}u + lane;
        let first_weight = (local_block * columns4 + column4) * 32u;
        if column4 < columns4 {
#for r in 0..32
            {
                let x = kappa * (c${r} - 1.0);
                let row_sum = subgroupBroadcast(row_sums${r / LANES}, ${r % LANES}u);
#if SYMMETRIC
                weights[first_weight + ${r}u] = pack64(exp2(x - row_sum) + exp2(x - column_sums));
#else
                weights[first_weight + ${r}u] = pack64(exp2(x - row_sum));
#endif
            }
#end
        }
    }
}
