// G_i = Σ_j W_ij b̂_j with W_ij = exp2(x_ij − L_i), and with SYMMETRIC (NT-Xent) + exp2(x_ij − L_j), j ≠ i;
// x_ij = κ (â_i·b̂_j − 1) is computed again. For adapters with one subgroup of eight lanes (CPU drivers).
// A workgroup holds 32 i as the columns of tiles whose rows are 32 j. The weights of four tiles stay in workgroup
// memory in the order in which they are produced, which is the order of the second product's operand: each lane
// reads what it wrote itself, so no barrier is needed. The second product has rows d and columns i.
// binding 0: b̂, row-major texture, 1: â in panels, 2: b̂ in panels (similarity/pack_panels), 3: L [f32, of i
// and, with SYMMETRIC, of j], 4: G in panels [vec4, splits·panels·⌈dim/32⌉·32·8].
// Grid: one workgroup of eight invocations for each panel of i and split of `chunk` blocks of j.
// Roofline: compute, 4·dim flops and one exp2 (two with SYMMETRIC) for each i, j.
#import common/texel
#import common/pack64

struct Params {
    depth: u32, row_count: u32, blocks: u32, panel_count: u32, chunk: u32, dim_tiles: u32, kappa: f32,
}
var<immediate> params: Params;
@group(0) @binding(0) var rows: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var row_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> log_sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<vec2<u64>>;
// [4 tiles][32 j][8 lanes of 4 i]
var<workgroup> weights: array<vec4<f32>, 1024>;

@compute @workgroup_size(8)
fn contrastive_gradient(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                        @builtin(local_invocation_index) lane: u32) {
    let workgroup = group.x + group.y * groups.x;
    let depth = params.depth;
    let panel = workgroup % params.panel_count;
    let split = workgroup / params.panel_count;
    let first_block = split * params.chunk;
    let end_block = min(first_block + params.chunk, params.blocks);
    if first_block >= end_block { return; }
    let first_column = panel * 32u + lane * 4u;
    let column = vec4<u32>(first_column) + vec4<u32>(0u, 1u, 2u, 3u);
    let column_sums = vec4<f32>(log_sums[first_column], log_sums[first_column + 1u],
                                log_sums[first_column + 2u], log_sums[first_column + 3u]);
    for (var four = first_block; four < end_block; four += 4u) {
        let tiles = min(4u, end_block - four);
        for (var t = 0u; t < tiles; t++) {
            let block = four + t;
            let first_row = block * 32u;
#import common/product32
#if SYMMETRIC
            if block == panel || block + 1u == params.blocks {
#for r in 0..32
                c${r} = select(c${r}, vec4<f32>(-1e33), (column == vec4<u32>(first_row + ${r}u))
                    | vec4<bool>(first_row + ${r}u >= params.row_count));
#end
            }
#for m in 0..4
            let row_sums${m} = log_sums[first_row + ${m * 8}u + lane];
#end
#else
            if block + 1u == params.blocks {
#for r in 0..32
                c${r} = select(c${r}, vec4<f32>(-1e33), vec4<bool>(first_row + ${r}u >= params.row_count));
#end
            }
#endif
            let first_weight = t * 256u + lane;
#for r in 0..32
            {
                let x = params.kappa * (c${r} - 1.0);
#if SYMMETRIC
                let row_sum = subgroupBroadcast(row_sums${r / 8}, ${r % 8}u);
                weights[first_weight + ${r * 8}u] = exp2(x - column_sums) + exp2(x - row_sum);
#else
                weights[first_weight + ${r * 8}u] = exp2(x - column_sums);
#endif
            }
#end
        }
        for (var dim_tile = 0u; dim_tile < params.dim_tiles; dim_tile++) {
            let first_texel = ((split * params.panel_count + panel) * params.dim_tiles + dim_tile) * 256u + lane;
#for r in 0..32
            var g${r} = vec4<f32>(0.0);
#end
            if four > first_block {
#for r in 0..32
                g${r} = unpack64(gradient[first_texel + ${r * 8}u]);
#end
            }
            let first_dim = dim_tile * 32u + lane;
            for (var k = 0u; k < tiles * 8u; k++) {
                let row_texel = ((four + k / 8u) * depth * 4u + first_dim) * 8u + k % 8u;
#for m in 0..4
                let a${m} = textureLoad(row_panels, at(row_texel + ${m * 64}u));
#end
#for q in 0..4
                let b${q} = weights[k * 32u + ${q * 8}u + lane];
#end
#for r in 0..32
                let s${r} = subgroupBroadcast(a${r / 8}, ${r % 8}u);
                g${r} = (((g${r} + s${r}.x * b0) + s${r}.y * b1) + s${r}.z * b2) + s${r}.w * b3;
#end
            }
#for r in 0..32
            gradient[first_texel + ${r * 8}u] = pack64(g${r});
#end
        }
    }
}
