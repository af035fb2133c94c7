// 3x3 convolutions with stride 1 and at most 16 output channels, in either direction, for exact convolutions
// (winograd/narrow otherwise):
//   out[n, o, h, w] = Σ source[n, c, h + kh − padding, w + kw − padding] · weight[o, tap(kh, kw), c]
// binding 0: source, NC4HW4 texels; 1: weights, one panel (WeightShape) of COLUMNS4 texels; 2: out, NC4HW4; then those of conv/epilogue.
// One workgroup = one subgroup of LANES lanes = LINES lines x LANES columns of outputs with all channels: a lane is a column, so that a
// texel of the source serves three taps of as many lines. Weights come by broadcast.
// Grid: tiles of columns within tiles of lines within images. Roofline: arithmetic, 2 flops a multiply–add.
#import common/divide
#import common/texel
#import common/pack64
#import conv/narrow_params
#import conv/epilogue

@compute @workgroup_size(${LANES})
fn direct_narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(subgroup_invocation_id) lane: u32) {
    let tile = group.x + group.y * groups.x;
    if tile >= params.tiles { return; }
    let n = divide(tile, params.tiles_image);
    let within = tile - n * params.tiles_image;
    let tile_h = divide(within, params.tiles_line);
    let first_h = tile_h * ${LINES}u;
    let out_w = (within - tile_h * params.tiles_line) * ${LANES}u + lane;
    let plane = params.height * params.width;
    // Lines above the image wrap to large numbers.
#for r in 0..LINES + 2
    let h${r} = first_h + ${r}u - params.padding;
    let line${r} = select(OUTSIDE, n * params.c4 * plane + h${r} * params.width, h${r} < params.height);
#end
#for m in 0..LINES
#for o in 0..COLUMNS4
    var c${m}_${o} = vec4<f32>(0.0);
#end
#end
    // One flat loop over groups of input channels and columns of taps: every accumulator is copied once for each level of nesting. No
    // multiplication of two variables in it, which costs as much as a load: `first_texel` is where the channel group begins
    // in an image, `weight` the first of this lane's texels of weights of tap (0, kw).
    let next_tap = u32(params.tap_step) * params.c4 * ${4 * COLUMNS4}u;
    let next_line = 3u * next_tap;
    let next_group = ${4 * COLUMNS4}u - 2u * next_tap;
    var first_texel = 0u;
    var weight = params.first_tap * params.c4 * ${4 * COLUMNS4}u + lane;
    var kw = 0u;
    for (var turn = 0u; turn < params.c4 * 3u; turn++) {
        let w = out_w + kw - params.padding;
        let column = select(OUTSIDE, first_texel + w, w < params.width);
#for r in 0..LINES + 2
        let x${r} = textureLoad(source, at(line${r} + column));
#end
#for kh in 0..3
#for q in 0..(4 * COLUMNS4 + LANES - 1) / LANES
        let u${kh}_${q} = textureLoad(weights, at(weight + ${kh}u * next_line + ${q * LANES}u));
#end
#end
#for o in 0..COLUMNS4
#for kh in 0..3
#for k in 0..4
        let w${o}_${kh}_${k} = subgroupBroadcast(u${kh}_${(k * COLUMNS4 + o) / LANES}, ${(k * COLUMNS4 + o) % LANES}u);
#for m in 0..LINES
        c${m}_${o} += x${m + kh}.${k:xyzw} * w${o}_${kh}_${k};
#end
#end
#end
#end
        kw += 1u;
        let next = kw == 3u;
        kw = select(kw, 0u, next);
        first_texel += select(0u, plane, next);
        weight += select(next_tap, next_group, next);
        // Spares a turn without lanes (docs/kernels.md).
        if turn + 1u >= params.c4 * 3u { break; }
    }
#for o in 0..COLUMNS4
    let by${o} = affine(${o}u, ${COLUMNS4}u);
#end
    if out_w >= params.out_width { return; }
    let out_plane = params.out_height * params.out_width;
    let to = n * ${COLUMNS4}u * out_plane + first_h * params.out_width + out_w;
#for m in 0..LINES
    if first_h + ${m}u < params.out_height {
#for o in 0..COLUMNS4
        let to${m}_${o} = to + ${o}u * out_plane + ${m}u * params.out_width;
        out[to${m}_${o}] = pack64(finish(c${m}_${o}, by${o}, to${m}_${o}));
#end
    }
#end
}
