// Software-class implicit matrix product for conv2d and for its gradient to the input:
//   out[row, column] = sum over (th, tw, c) of source[n, c, y(u, th), x(v, tw)] * w[column, tap(th, tw), c]
// where row = (n, u, v), y = u*mul + offset + th*dir along lines, x the same along columns, and the row is stored at pixel
// (first + u*step, first + v*step) of its image.
// Forward: step = 1, mul = stride, shift = -padding, dir = 1. Gradient to the input: step = stride, mul = 1, shift = padding,
// dir = -1, and step² classes of pixels, each of which sees taps of its own (conv/implicit_gemm_params).
// binding 0: source, NC4HW4 texels; 1: w, panels (WeightShape); 2: out, NC4HW4; then those of conv/epilogue or conv/statistics.
// One workgroup = one subgroup of LANES lanes = 32 rows x 4·LANES columns (a panel below, or half of one): lane = column group; rows come from lanes by broadcast.
// Grid: x = tiles in either order, see `columns_outer`, classes fastest, so that each of the parts into which lavapipe cuts a
// launch has as many taps to do. Roofline: arithmetic, 2 flops a multiply–add.
#import common/texel
#import common/pack64
#import conv/implicit_gemm_params
#import conv/epilogue
#if STATISTICS
#import conv/statistics
#endif

@compute @workgroup_size(${LANES})
fn implicit_gemm(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(subgroup_invocation_id) lane: u32) {
    let place = group.x + group.y * groups.x;
    let classes = params.step * params.step;
    let tile = divide(place, classes);
    let class_ = place - tile * classes;
    let inner = select(params.strips, params.row_tiles, params.columns_outer != 0u);
    let outer_tile = divide(tile, inner);
    let inner_tile = tile - outer_tile * inner;
    let row_tile = select(outer_tile, inner_tile, params.columns_outer != 0u);
    let strip = select(inner_tile, outer_tile, params.columns_outer != 0u);
    let column = strip * ${LANES}u + lane;
    let first_column = strip / ${8 / LANES}u * 8u;
    let lanes = min(8u, params.columns4 - first_column);
    let w_base = first_column * params.kernel * params.kernel * params.c4 * 4u + column - first_column;
    // The grid may be larger than there are tiles: what is left gets a row that no class has.
    let first_row = select(NOWHERE, row_tile * 32u, row_tile < params.row_tiles && strip < params.strips);
#import conv/implicit_gemm_rows
#for r in 0..32
    var c${r} = vec4<f32>(0.0);
#end
    for (var th = 0u; th < lines.taps; th++) {
        for (var tw = 0u; tw < columns.taps; tw++) {
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
            let tap = (lines.tap + th * params.step) * params.kernel + columns.tap + tw * params.step;
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
            if tw + 1u >= columns.taps { break; }
        }
        if th + 1u >= lines.taps { break; }
    }
    let by = affine(min(column, params.columns4 - 1u), params.columns4);
    let last = rows - first_row;
#for r in 0..32
    let p${r} = subgroupBroadcast(pixel${r / LANES}, ${r % LANES}u);
    let to${r} = p${r} + column * out_plane;
    if ${r}u < last && column < params.columns4 { out[to${r}] = pack64(finish(c${r}, by, to${r})); }
#end
#if STATISTICS
    // Tiles are whole; the grid may still be larger.
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
#for r in 0..32
    let d${r} = c${r} - c0;
    sum += d${r};
    squares += d${r} * d${r};
#end
    let mine = statistics_of_lane(32.0, c0, sum, squares);
    if row_tile < params.row_tiles && column < params.columns4 {
        let part = column * params.parts + row_tile;
        statistics[part] = pack64(mine.mean);
        statistics[params.columns4 * params.parts + part] = pack64(mine.squares);
    }
#endif
}
