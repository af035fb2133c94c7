// log₂ of partial sums Σ_j exp2 x_ij of each row's logits x_ij = κ (â_i·b̂_j − 1), κ = log₂e / τ, with a running
// maximum. No matrix is kept: a workgroup holds 64 rows and walks over its 64-column tiles.
// binding 0: â [vec4, rows·depth], 1: b̂ [vec4, columns·depth], 2: partial [f32, splits·stride].
// Grid: one workgroup of 256 for each row block and split of `chunk` tiles; without_diagonal leaves out j = i.
// Roofline: compute, 2·dim flops and one exp2 an element.
struct Params {
    depth: u32, row_count: u32, column_count: u32, blocks: u32,
    chunk: u32, without_diagonal: u32, stride: u32, kappa: f32,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> columns: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
// The tiles, and after the last one the 16 maxima and sums of each row.
var<workgroup> staged_rows: array<vec4<f32>, 256>;
var<workgroup> staged_columns: array<vec4<f32>, 256>;

const LOWEST = -1e30;

@compute @workgroup_size(256)
fn contrastive_sums_tiled(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) local: u32) {
    let workgroup = group.x + group.y * groups.x;
    let tx = local % 16u;
    let ty = local / 16u;
    let depth = params.depth;
    let row_count = params.row_count;
    let column_count = params.column_count;
    let split = workgroup / params.blocks;
    let first_row = workgroup % params.blocks * 64u;
    let first_tile = split * params.chunk;
    let end_tile = min(first_tile + params.chunk, (column_count + 63u) / 64u);
    if first_tile >= end_tile { return; }
#for i in 0..4
    var top${i} = LOWEST;
    var sum${i} = 0.0;
#end
    for (var tile = first_tile; tile < end_tile; tile++) {
        let first_column = tile * 64u;
#import common/product_tile
#for i in 0..4
        {
            let row = first_row + ty + ${i * 16}u;
#for j in 0..4
            let column${j} = first_column + tx + ${j * 16}u;
            let masked${j} = column${j} >= column_count || (params.without_diagonal != 0u && column${j} == row);
            let x${j} = select(params.kappa * (c${i}_${j} - 1.0), -1e36, masked${j});
#end
            let higher = max(top${i}, max(max(x0, x1), max(x2, x3)));
            sum${i} = sum${i} * exp2(top${i} - higher)
                + ((exp2(x0 - higher) + exp2(x1 - higher)) + (exp2(x2 - higher) + exp2(x3 - higher)));
            top${i} = higher;
        }
#end
    }
    workgroupBarrier();
#for i in 0..4
    staged_rows[(ty + ${i * 16}u) * 4u + tx / 4u][tx % 4u] = top${i};
    staged_columns[(ty + ${i * 16}u) * 4u + tx / 4u][tx % 4u] = sum${i};
#end
    workgroupBarrier();
    if local < 64u {
        var high = vec4<f32>(LOWEST);
        for (var i = 0u; i < 4u; i++) { high = max(high, staged_rows[local * 4u + i]); }
        let highest = max(max(high.x, high.y), max(high.z, high.w));
        var sum = vec4<f32>(0.0);
        for (var i = 0u; i < 4u; i++) {
            sum += staged_columns[local * 4u + i] * exp2(staged_rows[local * 4u + i] - highest);
        }
        if first_row + local < row_count {
            partial[split * params.stride + first_row + local] =
                highest + log2((sum.x + sum.y) + (sum.z + sum.w));
        }
    }
}
