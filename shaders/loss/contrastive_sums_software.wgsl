// Partial sums Σ_j exp2 x_ij of each row's logits x_ij = κ (â_i·b̂_j − 1), κ = log₂e / τ, for adapters with
// subgroups of LANES, eight or four (CPU drivers). No matrix is kept. With ONLINE a partial is log₂ of the sum, taken with a
// running maximum; without it the shift by the largest possible logit is enough (τ ≥ 0.05).
// SYMMETRIC (NT-Xent: b̂ = â without the diagonal): only tiles on and above the diagonal are computed; a tile's
// column sums are its mirror's row sums. A workgroup takes `group` row blocks; partial[w][i] holds the column sums
// of workgroup w, the last slot each row's own sum. Otherwise (InfoNCE): a workgroup takes one row block and
// `chunk` panels; partial[split][i]; group is 1.
// binding 0: â in blocks, 1: b̂ in panels (gemm/pack_operand), 2: partial [f32, slots·stride].
// A strip is 4·LANES columns: a panel, or half of one. Grid: one workgroup of LANES invocations for each group of row blocks, or each row block and split.
// Roofline: compute, 2·dim flops and one exp2 an element (half of that with SYMMETRIC).
#import common/texel
#import common/panels

struct Params {
    depth: u32, columns: u32, blocks: u32, panel_count: u32,
    group: u32, chunk: u32, own_slot: u32, stride: u32, kappa: f32,
}
var<immediate> params: Params;
@group(0) @binding(0) var a_blocks: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;

// Below every logit, above every masked one.
const LOWEST = -1e30;
const MASKED = vec4<f32>(-1e33);

fn total_of(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}
fn largest_of(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

@compute @workgroup_size(${LANES})
fn contrastive_sums_software(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                             @builtin(local_invocation_index) lane: u32) {
    let workgroup = group.x + group.y * groups.x;
    let kappa = params.kappa;
#if SYMMETRIC
    // Long and short rows of tiles take turns, so that any contiguous range of workgroups has about equal work.
    let count = (params.blocks + params.group - 1u) / params.group;
    if workgroup >= count { return; }
    let slot = select(count - 1u - workgroup / 2u, workgroup / 2u, workgroup % 2u == 0u);
    let own_slot = params.own_slot;
#else
    let slot = workgroup % params.blocks;
    let own_slot = workgroup / params.blocks;
#endif
    for (var g = 0u; g < params.group; g++) {
        let block = slot * params.group + g;
#if SYMMETRIC
        let first_strip = block * ${8 / LANES}u;
        let end_strip = select(0u, params.panel_count * ${8 / LANES}u, block < params.blocks);
#else
        let first_strip = own_slot * params.chunk * ${8 / LANES}u;
        let end_strip = min(own_slot * params.chunk + params.chunk, params.panel_count) * ${8 / LANES}u;
#endif
        let first_row = block * 32u;
        let first_k = 0u;
        let end_k = params.depth;
        let first_a = block * params.depth * 32u;
#for r in 0..32
        var sum${r} = vec4<f32>(0.0);
#if ONLINE
        var top${r} = LOWEST;
#endif
#end
        for (var strip = first_strip; strip < end_strip; strip++) {
            let first_b = strip / ${8 / LANES}u * params.depth * 32u + strip % ${8 / LANES}u * ${LANES}u + lane;
#import common/product32
            let first_column = (strip * ${LANES}u + lane) * 4u;
            let column = vec4<u32>(first_column) + vec4<u32>(0u, 1u, 2u, 3u);
#if SYMMETRIC
            if strip / ${8 / LANES}u == block || strip / ${8 / LANES}u + 1u == params.panel_count {
#for r in 0..32
                c${r} = select(c${r}, MASKED,
                    (column >= vec4<u32>(params.columns)) | (column == vec4<u32>(first_row + ${r}u)));
#end
            }
#else
            if strip / ${8 / LANES}u + 1u == params.panel_count {
                let outside = column >= vec4<u32>(params.columns);
#for r in 0..32
                c${r} = select(c${r}, MASKED, outside);
#end
            }
#endif
#for r in 0..32
            c${r} = kappa * (c${r} - 1.0);
#end
#if ONLINE
#if SYMMETRIC
            var top = vec4<f32>(LOWEST);
#for r in 0..32
            top = max(top, c${r});
#end
            var column_sum = vec4<f32>(0.0);
#for r in 0..32
            column_sum += exp2(c${r} - top);
#end
#endif
#for r in 0..32
            let higher${r} = max(top${r}, largest_of(c${r}));
            sum${r} = sum${r} * exp2(top${r} - higher${r}) + exp2(c${r} - higher${r});
            top${r} = higher${r};
#end
#else
#for r in 0..32
            c${r} = exp2(c${r});
            sum${r} += c${r};
#end
#if SYMMETRIC
            var column_sum = vec4<f32>(0.0);
#for r in 0..32
            column_sum += c${r};
#end
#endif
#endif
#if SYMMETRIC
            if strip / ${8 / LANES}u != block {
                let first = slot * params.stride + first_column;
#if ONLINE
                if g > 0u {
                    let before = vec4<f32>(partial[first], partial[first + 1u], partial[first + 2u], partial[first + 3u]);
                    let higher = max(before, top);
                    column_sum = exp2(before - higher) + column_sum * exp2(top - higher);
                    top = higher;
                }
                column_sum = top + log2(column_sum);
#else
                if g > 0u {
                    column_sum += vec4<f32>(partial[first], partial[first + 1u], partial[first + 2u], partial[first + 3u]);
                }
#endif
#for q in 0..4
                partial[first + ${q}u] = column_sum.${q:xyzw};
#end
            }
#endif
        }
        if first_strip < end_strip {
#for m in 0..32 / LANES
            var own${m} = 0.0;
#end
#for r in 0..32
#if ONLINE
            let high${r} = subgroupMax(top${r});
            let all${r} = high${r} + log2(subgroupAdd(total_of(sum${r}) * exp2(top${r} - high${r})));
#else
            let all${r} = subgroupAdd(total_of(sum${r}));
#endif
            own${r / LANES} = select(own${r / LANES}, all${r}, lane == ${r % LANES}u);
#end
#for m in 0..32 / LANES
            partial[own_slot * params.stride + first_row + ${m * LANES}u + lane] = own${m};
#end
        }
    }
}
