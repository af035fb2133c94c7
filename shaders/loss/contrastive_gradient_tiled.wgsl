// G_i = Σ_j W_ij b̂_j with W_ij = exp2(x_ij − L_i), and with `symmetric` (NT-Xent) + exp2(x_ij − L_j), j ≠ i;
// x_ij = κ (â_i·b̂_j − 1) is computed again, 32 x 64 at a time, and its weights go through workgroup memory.
// binding 0: â [vec4, rows·depth], 1: b̂ [vec4, columns·depth], 2: L [f32, of i and, with symmetric, of j],
// 3: G [vec4, splits·rows·depth].
// Grid: one workgroup of 256 for each row block, 128 values of a row, and split of `chunk` tiles.
// Roofline: compute, 4·dim flops and one exp2 (two with symmetric) for each i, j.
struct Params {
    depth: u32, row_count: u32, column_count: u32, blocks: u32,
    dim_tiles: u32, chunk: u32, symmetric: u32, kappa: f32,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> columns: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> log_sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> gradient: array<vec4<f32>>;
var<workgroup> staged_rows: array<vec4<f32>, 128>;
var<workgroup> staged_columns: array<vec4<f32>, 256>;
// [64 j][32 i]
var<workgroup> weights: array<f32, 2048>;

@compute @workgroup_size(256)
fn contrastive_gradient_tiled(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                              @builtin(local_invocation_index) local: u32) {
    let workgroup = group.x + group.y * groups.x;
    let tx = local % 16u;
    let ty = local / 16u;
    let depth = params.depth;
    let row_count = params.row_count;
    let column_count = params.column_count;
    let first_row = workgroup % params.blocks * 32u;
    let dim_tile = workgroup / params.blocks % params.dim_tiles;
    let split = workgroup / params.blocks / params.dim_tiles;
    let first_tile = split * params.chunk;
    let end_tile = min(first_tile + params.chunk, (column_count + 63u) / 64u);
    if first_tile >= end_tile { return; }
    // In the second product this invocation owns rows 4·owned_rows.. and one vec4 of each.
    let owned_rows = local / 32u * 4u;
    let owned_texel = dim_tile * 32u + local % 32u;
#for i in 0..4
    var g${i} = vec4<f32>(0.0);
#end
    for (var tile = first_tile; tile < end_tile; tile++) {
        let first_column = tile * 64u;
#import common/product_tile
#for i in 0..2
        {
            let row = first_row + ty + ${i * 16}u;
            let row_sum = log_sums[min(row, row_count - 1u)];
#for j in 0..4
            {
                let column = first_column + tx + ${j * 16}u;
                let x = params.kappa * (c${i}_${j} - 1.0);
                var weight = exp2(x - row_sum);
                var masked = column >= column_count;
                if params.symmetric != 0u {
                    weight += exp2(x - log_sums[min(column, column_count - 1u)]);
                    masked = masked || column == row;
                }
                weights[(tx + ${j * 16}u) * 32u + ty + ${i * 16}u] = select(weight, 0.0, masked);
            }
#end
        }
#end
        workgroupBarrier();
        if owned_texel < depth {
            let count = min(64u, column_count - first_column);
            for (var j = 0u; j < count; j++) {
                let b = columns[(first_column + j) * depth + owned_texel];
#for i in 0..4
                g${i} += weights[j * 32u + owned_rows + ${i}u] * b;
#end
            }
        }
    }
    if owned_texel < depth {
#for i in 0..4
        {
            let row = first_row + owned_rows + ${i}u;
            if row < row_count { gradient[(split * row_count + row) * depth + owned_texel] = g${i}; }
        }
#end
    }
}
