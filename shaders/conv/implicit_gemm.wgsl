// Software-class implicit matrix product for conv2d and for its gradient to the input:
//   out[row, column] = sum over (th, tw, c) of source[n, c, y(u, th), x(v, tw)] * w[column, tap(th, tw), c]
// where row = (n, u, v), y = u*mul + off_h + th*dir, x = v*mul + off_w + tw*dir, tap = tap0 + th*tap_h + tw*tap_w,
// and the row is stored at pixel (a + u*out_step, b + v*out_step) of its image.
// Forward: mul = stride, off = -padding, dir = 1. Gradient to input: one call for each class of pixels that see the same
// taps (stride² classes), mul = 1, dir = -1, out_step = stride.
// binding 0: source, NC4HW4 texels; 1: w, panels (WeightShape); 2: out, NC4HW4; then those of conv/epilogue.
// One workgroup = one subgroup of LANES lanes = 32 rows x 4·LANES columns (a panel below, or half of one): lane = column group; rows come from lanes by broadcast.
// Grid: x = tiles in either order, see `columns_outer`. Roofline: arithmetic, 2 flops a multiply–add.
#import common/divide
#import common/texel
#import common/pack64
#import conv/implicit_gemm_params
#import conv/epilogue

@compute @workgroup_size(${LANES})
fn implicit_gemm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(subgroup_invocation_id) lane: u32) {
    let tile = group.x + group.y * groups.x;
    let inner = select(params.strips, params.row_tiles, params.columns_outer != 0u);
    let outer_tile = divide(tile, inner);
    let inner_tile = tile - outer_tile * inner;
    let row_tile = select(outer_tile, inner_tile, params.columns_outer != 0u);
    let strip = select(inner_tile, outer_tile, params.columns_outer != 0u);
    if row_tile >= params.row_tiles || strip >= params.strips { return; }
    let column = strip * ${LANES}u + lane;
    let first_column = strip / ${8 / LANES}u * 8u;
    let lanes = min(8u, params.columns4 - first_column);
    let w_base = first_column * params.k + column - first_column;
    let first_row = row_tile * 32u;
#import conv/implicit_gemm_rows
#for r in 0..32
    var c${r} = vec4<f32>(0.0);
#end
    let plane = params.height * params.width;
    for (var th = 0u; th < params.taps_h; th++) {
        for (var tw = 0u; tw < params.taps_w; tw++) {
            let dy = i32(th) * params.dir;
            let dx = i32(tw) * params.dir;
#for m in 0..32 / LANES
            let inside${m} = u32(y${m} + dy) < params.height && u32(x${m} + dx) < params.width;
            var i${m} = select(NOWHERE, source${m} + u32(y${m} + dy) * params.width + u32(x${m} + dx), inside${m});
            let next${m} = select(0u, plane, inside${m});
#end
            // Small maps have taps that no row sees.
            if !subgroupAny(inside0
#for m in 1..32 / LANES
                || inside${m}
#end
            ) { continue; }
            let tap = params.tap0 + th * params.tap_h + tw * params.tap_w;
            var j = w_base + tap * params.c4 * 4u * lanes;
            for (var c = 0u; c < params.c4; c += ${ROUND}u) {
#for r in 0..32
                let sum0_${r} = c${r};
#end
#for t in 0..ROUND
#for m in 0..32 / LANES
                let a${t}_${m} = textureLoad(source, at(i${m}));
                i${m} += next${m};
#end
#for q in 0..4
                let b${t}_${q} = textureLoad(w, at(j + ${q}u * lanes));
#end
                j += 4u * lanes;
#for r in 0..32
                let s${t}_${r} = subgroupBroadcast(a${t}_${r / LANES}, ${r % LANES}u);
                let sum${t + 1}_${r} = (((sum${t}_${r} + s${t}_${r}.x * b${t}_0) + s${t}_${r}.y * b${t}_1) + s${t}_${r}.z * b${t}_2) + s${t}_${r}.w * b${t}_3;
#end
#end
#for r in 0..32
                c${r} = sum${ROUND}_${r};
#end
                // Spares a turn without lanes (docs/kernels.md).
                if c + ${ROUND}u >= params.c4 { break; }
            }
            if tw + 1u >= params.taps_w { break; }
        }
        if th + 1u >= params.taps_h { break; }
    }
    let by = affine(min(column, params.columns4 - 1u), params.columns4);
    let last = params.rows - first_row;
#for m in 0..32 / LANES
    let pixel${m} = n${m} * params.columns4 * params.out_pixels + (params.out_a + u${m} * params.out_step) * params.out_width
        + params.out_b + v${m} * params.out_step;
#end
#for r in 0..32
    let p${r} = subgroupBroadcast(pixel${r / LANES}, ${r % LANES}u);
    let to${r} = p${r} + column * params.out_pixels;
    if ${r}u < last && column < params.columns4 { out[to${r}] = pack64(finish(c${r}, by, to${r})); }
#end
}
