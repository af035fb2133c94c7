// Software-class gradient of conv2d to its weights, one part of the images:
//   dw[(tap, c), o] = sum over (n, oh, ow) of x[n, c, oh*stride - padding + kh, ow*stride - padding + kw] * dy[n, o, oh, ow]
// binding 0: x, 1: dy, texels of NC4HW4 given by strides (so that a matrix is one image with rows as pixels);
// 2: partial sums [parts][dw in panel order (WeightShape)].
// One workgroup = one subgroup of LANES lanes = 32 rows (8 groups of (tap, c4)) x 4·LANES output channels; four pixels, or
// twice four, an iteration: lane = (pixel, one of LANES/4 row groups) for x, lane = column group for dy.
// RUNS: pixels of dy are neighbours in memory (not so in a matrix), and an iteration's lie in an aligned run of its texture.
// Grid: row tiles x 4·LANES output channels x parts. Roofline: arithmetic.
#import common/texel
#import common/pack64
#import conv/grad_weight_params

@compute @workgroup_size(${LANES})
fn grad_weight(@builtin(workgroup_id) tile: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first = tile.z * params.images_part;
    let end = min(first + params.images_part, params.images);
    let column = tile.y * ${LANES}u + lane;
    let q = lane & 3u;
#for m in 0..32 / LANES
    let g${m} = tile.x * 8u + ${m * LANES / 4}u + (lane >> 2u);
    let tap${m} = g${m} / params.c4;
    let kh${m} = i32(tap${m} / params.kernel) - i32(params.padding);
    let kw${m} = i32(tap${m} % params.kernel) - i32(params.padding);
    let base${m} = (g${m} % params.c4) * params.x_group;
#if WHOLE_LINES
    // Groups beyond the last one look below every image.
    let row_h${m} = select(BELOW, kh${m}, g${m} < params.groups);
    let row_x${m} = base${m} + u32(kh${m} * i32(params.width) + kw${m}) * params.x_pixel;
#endif
#end
#for r in 0..32
    var c${r} = vec4<f32>(0.0);
#end
    // One flat loop: every accumulator is copied once for each level of nesting and iteration.
#if WHOLE_LINES
    // Lines are multiples of an iteration's pixels, which therefore share n and oh.
    let iterations = (end - first) * params.out_h * (params.out_w / ${4 * ROUND}u);
    let lane_pixel = q;
    let lane_dy = column * params.dy_group;
#import conv/grad_weight_walk
#else
    // Four pixels may lie in several lines and images; quotients of integers below 2^24 are exact in f32 division.
    let pixels = (end - first) * params.out_h * params.out_w;
    let iterations = (pixels + 3u) / 4u;
    let plane = params.out_h * params.out_w;
#endif
    for (var i = 0u; i < iterations; i++) {
#if WHOLE_LINES
#if RUNS
        let place = at(dy_texel);
#endif
#for t in 0..ROUND
#for p in 0..4
#if RUNS
        let b${t}_${p} = textureLoad(dy, place + vec2<u32>(${4 * t + p}u, 0u));
#else
        let b${t}_${p} = textureLoad(dy, at(dy_texel + ${4 * t + p}u * params.dy_pixel));
#endif
#end
        let w${t} = line_w + ${t} * run_w;
        let from${t} = x_texel + ${t}u * run_x;
#for m in 0..32 / LANES
        let inside${t}_${m} = u32(line_h + row_h${m}) < params.height && u32(w${t} + kw${m}) < params.width;
        let a${t}_${m} = textureLoad(x, at(select(NOWHERE, from${t} + row_x${m}, inside${t}_${m})));
#end
#end
#else
        let pixel = i * 4u + q;
        let here = pixel < pixels;
        let image = u32(f32(pixel) / f32(plane));
        let n = first + image;
        let within = pixel - image * plane;
        let oh = u32(f32(within) / f32(params.out_w));
        let column_w = within - oh * params.out_w;
        let upstream = select(NOWHERE, n * params.dy_image + within * params.dy_pixel, here);
#for p in 0..4
        let at${p} = subgroupBroadcast(upstream, ${p}u);
        let b0_${p} = textureLoad(dy, at(select(at${p} + column * params.dy_group, NOWHERE, at${p} == NOWHERE)));
#end
#for m in 0..32 / LANES
        let ih${m} = i32(oh * params.stride) + kh${m};
        let iw${m} = i32(column_w * params.stride) + kw${m};
        let inside${m} = u32(ih${m}) < params.height && u32(iw${m}) < params.width && here && g${m} < params.groups;
        let pixel${m} = base${m} + n * params.x_image + (u32(ih${m}) * params.width + u32(iw${m})) * params.x_pixel;
        let a0_${m} = textureLoad(x, at(select(NOWHERE, pixel${m}, inside${m})));
#end
#endif
#for r in 0..32
        let sum0_${r} = c${r};
#end
#for t in 0..ROUND
#for r in 0..32
        let sum${t + 1}_${r} = (((sum${t}_${r} + subgroupBroadcast(a${t}_${r / LANES}.${r % 4:xyzw}, ${r / 4 % (LANES / 4) * 4}u) * b${t}_0)
            + subgroupBroadcast(a${t}_${r / LANES}.${r % 4:xyzw}, ${r / 4 % (LANES / 4) * 4 + 1}u) * b${t}_1)
            + subgroupBroadcast(a${t}_${r / LANES}.${r % 4:xyzw}, ${r / 4 % (LANES / 4) * 4 + 2}u) * b${t}_2)
            + subgroupBroadcast(a${t}_${r / LANES}.${r % 4:xyzw}, ${r / 4 % (LANES / 4) * 4 + 3}u) * b${t}_3;
#end
#end
#for r in 0..32
        c${r} = sum${ROUND}_${r};
#end
#if WHOLE_LINES
#import conv/grad_weight_next
#endif
        // Spares a turn without lanes (docs/kernels.md).
        if i + 1u >= iterations { break; }
    }
    let rows = params.groups * 4u;
    let panel = tile.y / ${8 / LANES}u;
    let lanes = min(8u, params.columns4 - panel * 8u);
    let start = tile.z * params.texels + panel * 8u * rows + column - panel * 8u;
#for r in 0..32
    if tile.x * 32u + ${r}u < rows && column < params.columns4 { dw[start + (tile.x * 32u + ${r}u) * lanes] = pack64(c${r}); }
#end
}
