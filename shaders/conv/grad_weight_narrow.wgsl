// conv/grad_weight, with the same parts and parameters, for at most 16 output channels: there the 32 columns of its tile would be
// idle lanes. Here a lane is a row group (tap, c4), has all of its columns, and dy comes by broadcast.
// bindings as in conv/grad_weight. One workgroup = one subgroup of LANES lanes = ROW_GROUPS x LANES row groups x 4·COLUMNS4 columns; four
// pixels an iteration.
// Grid: row tiles x 1 x parts. Roofline: arithmetic.
#import common/divide
#import common/texel
#import common/pack64
#import conv/grad_weight_params

@compute @workgroup_size(${LANES})
fn grad_weight_narrow(@builtin(workgroup_id) tile: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first = tile.z * params.images_part;
    let end = min(first + params.images_part, params.images);
#for m in 0..ROW_GROUPS
    let g${m} = (tile.x * ${ROW_GROUPS}u + ${m}u) * ${LANES}u + lane;
    let tap${m} = divide(g${m}, params.c4);
    let tap_line${m} = divide(tap${m}, params.kernel);
    let kh${m} = i32(tap_line${m}) - i32(params.padding);
    let kw${m} = i32(tap${m} - tap_line${m} * params.kernel) - i32(params.padding);
    let base${m} = (g${m} - tap${m} * params.c4) * params.x_group;
    // Groups beyond the last one look below every image.
    let row_h${m} = select(BELOW, kh${m}, g${m} < params.groups);
#if WHOLE_LINES
    let row_x${m} = base${m} + u32(kh${m} * i32(params.width) + kw${m}) * params.x_pixel;
#endif
#for r in 0..4
#for o in 0..COLUMNS4
    var c${m}_${r}_${o} = vec4<f32>(0.0);
#end
#end
#end
    // A load has COLUMNS4 texels of dy at as many pixels as there are lanes for.
    let pixel_lane = lane / ${COLUMNS4}u;
    let column = lane % ${COLUMNS4}u * params.dy_group;
    // One flat loop: every accumulator is copied once for each level of nesting and iteration.
    let pixels = params.out_h * params.out_w;
    let iterations = (end - first) * ((pixels + 3u) / 4u);
#if WHOLE_LINES
    let lane_pixel = 0u;
    let lane_dy = column + pixel_lane * params.dy_pixel;
#import conv/grad_weight_walk
    let next_x = params.stride * params.x_pixel;
    let next_w = i32(params.stride);
    let next_dy = ${LANES / COLUMNS4}u * params.dy_pixel;
#else
    var n = first;
    var p = 0u;
#endif
    for (var i = 0u; i < iterations; i++) {
#if WHOLE_LINES
#for q in 0..(4 + LANES / COLUMNS4 - 1) / (LANES / COLUMNS4)
        let b${q} = textureLoad(dy, at(dy_texel + ${q}u * next_dy));
#end
#for t in 0..4
        let x${t} = x_texel + ${t}u * next_x;
        let iw${t} = line_w + ${t} * next_w;
#end
#for m in 0..ROW_GROUPS
        let inside${m} = u32(line_h + row_h${m}) < params.height;
#for t in 0..4
        let a${m}_${t} = textureLoad(x, at(select(NOWHERE, x${t} + row_x${m}, inside${m} && u32(iw${t} + kw${m}) < params.width)));
#end
#end
#else
#for q in 0..(4 + LANES / COLUMNS4 - 1) / (LANES / COLUMNS4)
        let of${q} = p + ${LANES / COLUMNS4 * q}u + pixel_lane;
        let b${q} = textureLoad(dy, at(select(NOWHERE, n * params.dy_image + column + of${q} * params.dy_pixel, of${q} < pixels)));
#end
#for t in 0..4
        let oh${t} = divide(p + ${t}u, params.out_w);
        let ih${t} = i32(oh${t} * params.stride);
        let iw${t} = i32((p + ${t}u - oh${t} * params.out_w) * params.stride);
#for m in 0..ROW_GROUPS
        let h${m}_${t} = u32(ih${t} + row_h${m});
        let w${m}_${t} = u32(iw${t} + kw${m});
        let a${m}_${t} = textureLoad(x, at(select(NOWHERE, base${m} + n * params.x_image + (h${m}_${t} * params.width + w${m}_${t}) * params.x_pixel,
            h${m}_${t} < params.height && w${m}_${t} < params.width)));
#end
#end
#endif
#for o in 0..COLUMNS4
#for t in 0..4
        let d${o}_${t} = subgroupBroadcast(b${t / (LANES / COLUMNS4)}, ${t % (LANES / COLUMNS4) * COLUMNS4 + o}u);
#end
#for m in 0..ROW_GROUPS
#for r in 0..4
        c${m}_${r}_${o} = (((c${m}_${r}_${o} + a${m}_0.${r:xyzw} * d${o}_0) + a${m}_1.${r:xyzw} * d${o}_1) + a${m}_2.${r:xyzw} * d${o}_2) + a${m}_3.${r:xyzw} * d${o}_3;
#end
#end
#end
#if WHOLE_LINES
#import conv/grad_weight_next
#else
        p += 4u;
        let done = p >= pixels;
        p = select(p, 0u, done);
        n += select(0u, 1u, done);
#endif
        // Spares a turn without lanes (docs/kernels.md).
        if i + 1u >= iterations { break; }
    }
#for m in 0..ROW_GROUPS
    if g${m} < params.groups {
        let to${m} = tile.z * params.texels + g${m} * ${4 * COLUMNS4}u;
#for r in 0..4
#for o in 0..COLUMNS4
        dw[to${m} + ${r * COLUMNS4 + o}u] = pack64(c${m}_${r}_${o});
#end
#end
    }
#end
}
