// 3x3 convolutions with stride 1 and at most 16 output channels by Winograd's F(4, 3) along the lines of an image, in either
// direction (conv/direct_narrow where exact ones are asked for):
//   out[n, o, h, w] = Σ source[n, c, h + kh − padding, w + kw − padding] · weight[o, tap(kh, kw), c]
// where six products take the place of the twelve of four outputs and three taps. Tiles, weights and sums are transformed here: nothing
// passes through memory, which is what makes it pay at so few channels.
// binding 0: source, NC4HW4 texels; 1: weights, one panel (WeightShape) of COLUMNS4 texels; 2: out, NC4HW4; then those of conv/epilogue or conv/statistics.
// One workgroup = one subgroup of LANES lanes; a lane has a tile of LINES x 4 outputs with all channels. Weights come by broadcast.
// Grid: tiles within lines of tiles within images, LANES to a workgroup. Roofline: arithmetic, half of the direct flops that it is counted by, and the transforms.
#import common/divide
#import common/texel
#import common/pack64
#import winograd/transform
#import conv/narrow_params
#import conv/epilogue
#if STATISTICS
#import conv/statistics
#endif

@compute @workgroup_size(${LANES})
fn narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(subgroup_invocation_id) lane: u32) {
    let first_tile = (group.x + group.y * groups.x) * ${LANES}u;
    if first_tile >= params.tiles { return; }
    let tile = first_tile + lane;
    let n = divide(tile, params.tiles_image);
    let within = tile - n * params.tiles_image;
    let tile_h = divide(within, params.tiles_line);
    let first_h = tile_h * ${LINES}u;
    let first_w = (within - tile_h * params.tiles_line) * 4u;
    let plane = params.height * params.width;
    // Coordinates above and left of the image wrap to large ones; tiles behind the last one lie below.
    let start_h = select(OUTSIDE, first_h - params.padding, tile < params.tiles);
    let start = n * params.c4 * plane + start_h * params.width;
#for j in 0..6
    let w${j} = first_w + ${j}u - params.padding;
    let column${j} = select(OUTSIDE, w${j}, w${j} < params.width);
#end
#for m in 0..LINES
#for p in 0..6
#for o in 0..COLUMNS4
    var s${m}_${p}_${o} = vec4<f32>(0.0);
#end
#end
#end
    // One flat loop over groups of input channels and lines of taps: every sum is copied once for each level of nesting. No multiplication of
    // two variables in it, which costs as much as a load: `line` is where the tile's first line lies under this line of taps, `weight` the
    // first of this lane's texels of weights of tap (kh, 0).
    let next_tap = u32(params.tap_step) * params.c4 * ${4 * COLUMNS4}u;
    let next_group = ${4 * COLUMNS4}u - 6u * next_tap;
    let next_plane = plane - 2u * params.width;
    var weight = params.first_tap * params.c4 * ${4 * COLUMNS4}u + lane;
    var line = start;
    var h = start_h;
    var kh = 0u;
    for (var turn = 0u; turn < params.c4 * 3u; turn++) {
#for q in 0..(4 * COLUMNS4 + LANES - 1) / LANES
        let u${q} = weight_transform(
            textureLoad(weights, at(weight + ${q * LANES}u)),
            textureLoad(weights, at(weight + next_tap + ${q * LANES}u)),
            textureLoad(weights, at(weight + 2u * next_tap + ${q * LANES}u)),
        );
#end
#for m in 0..LINES
        let line${m} = select(OUTSIDE, line + ${m}u * params.width, h + ${m}u < params.height);
        let v${m} = input_transform(Six(
#for j in 0..6
            textureLoad(source, at(line${m} + column${j})),
#end
        ));
#end
#for p in 0..6
#for o in 0..COLUMNS4
#for k in 0..4
        let u${p}_${o}_${k} = subgroupBroadcast(u${(k * COLUMNS4 + o) / LANES}[${p}], ${(k * COLUMNS4 + o) % LANES}u);
#end
#for m in 0..LINES
        s${m}_${p}_${o} = (((s${m}_${p}_${o} + v${m}[${p}].x * u${p}_${o}_0) + v${m}[${p}].y * u${p}_${o}_1)
            + v${m}[${p}].z * u${p}_${o}_2) + v${m}[${p}].w * u${p}_${o}_3;
#end
#end
#end
        kh += 1u;
        let next = kh == 3u;
        kh = select(kh, 0u, next);
        h = select(h + 1u, start_h, next);
        line += select(params.width, next_plane, next);
        weight += select(3u * next_tap, next_group, next);
        // Spares a turn without lanes (docs/kernels.md).
        if turn + 1u >= params.c4 * 3u { break; }
    }
    let out_plane = params.out_height * params.out_width;
    let to = (n * ${COLUMNS4}u * params.out_height + first_h) * params.out_width + first_w;
#for o in 0..COLUMNS4
    let by${o} = affine(${o}u, ${COLUMNS4}u);
#for m in 0..LINES
    let y${m}_${o} = output_transform(Six(s${m}_0_${o}, s${m}_1_${o}, s${m}_2_${o}, s${m}_3_${o}, s${m}_4_${o}, s${m}_5_${o}));
#end
#end
#if STATISTICS
    // Tiles are whole, and so are workgroups.
    var mine = vec4<f32>(0.0);
#for o in 0..COLUMNS4
    var sum${o} = vec4<f32>(0.0);
    var squares${o} = vec4<f32>(0.0);
#for m in 0..LINES
#for j in 0..4
    let d${m}_${j}_${o} = y${m}_${o}[${j}] - y0_${o}[0];
    sum${o} += d${m}_${j}_${o};
    squares${o} += d${m}_${j}_${o} * d${m}_${j}_${o};
#end
#end
    let all${o} = statistics_of_subgroup(statistics_of_lane(${4 * LINES}.0, y0_${o}[0], sum${o}, squares${o}), lane);
    mine = select(mine, all${o}.mean, lane == ${2 * o}u);
    mine = select(mine, all${o}.squares, lane == ${2 * o + 1}u);
#end
    if lane < ${2 * COLUMNS4}u {
        statistics[((lane & 1u) * ${COLUMNS4}u + lane / 2u) * params.parts + first_tile / ${LANES}u] = pack64(mine);
    }
#endif
    if tile >= params.tiles { return; }
#for m in 0..LINES
    if first_h + ${m}u < params.out_height {
#for j in 0..4
    if first_w + ${j}u < params.out_width {
#for o in 0..COLUMNS4
        let to${m}_${j}_${o} = to + ${o}u * out_plane + ${m}u * params.out_width + ${j}u;
        out[to${m}_${j}_${o}] = pack64(finish(y${m}_${o}[${j}], by${o}, to${m}_${j}_${o}));
#end
    }
#end
    }
#end
}
