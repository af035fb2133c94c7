// dw[c, kh, kw] = Σ over n, oh, ow of x[n, c, oh·s + kh − p, ow·s + kw − p] · dy[n, c, oh, ow], one part of the pixels.
// bindings 0: x NC4HW4, 1: dy NC4HW4, 2: parts, each [tap][c4]. The pixels of dy are cut into tiles of ROWS x COLUMNS;
// part p takes the tiles p, p + parts, p + 2·parts, … Grid: one invocation for each part of one channel group; it keeps
// the sums of all taps in registers and reads a texel once a tile. `#for here` is one turn or none: the rows of dy that
// row r of x meets.
// Roofline: memory, x and dy once beside the tiles' borders, which hit the cache.
// With TEXTURES the operands are textures of the software class (common/texel).
#import common/grid
#import common/texel

struct Params {
    c4: u32, in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    padding: u32, tiles_h: u32, tiles_w: u32, tiles: u32, parts: u32,
    // `parts` tiles as images, rows and columns of tiles: the way from one tile of a part to its next.
    step_n: u32, step_h: u32, step_w: u32,
}
var<immediate> params: Params;
#if TEXTURES
#import common/pack64
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var dy: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec2<u64>>;
#else
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec4<f32>>;
#endif

// Texel i of x, zeros from OUTSIDE on.
fn load_x(i: u32) -> vec4<f32> {
#if TEXTURES
    return textureLoad(x, at(i));
#else
    if i >= OUTSIDE { return vec4<f32>(0.0); }
    return x[i];
#endif
}

// Texel i of dy, zeros from OUTSIDE on.
fn load_dy(i: u32) -> vec4<f32> {
#if TEXTURES
    return textureLoad(dy, at(i));
#else
    if i >= OUTSIDE { return vec4<f32>(0.0); }
    return dy[i];
#endif
}

fn store_part(i: u32, value: vec4<f32>) {
#if TEXTURES
    parts[i] = pack64(value);
#else
    parts[i] = value;
#endif
}

@compute @workgroup_size(${WORKGROUP})
fn depthwise_conv2d_grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                                @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    let c4 = index / params.parts;
    let part = index - c4 * params.parts;
    if c4 >= params.c4 { return; }
#for tap in 0..KERNEL * KERNEL
    var acc_${tap} = vec4<f32>(0.0);
#end
    let tile_row = part / params.tiles_w;
    var tile_w = part - tile_row * params.tiles_w;
    var n = tile_row / params.tiles_h;
    var tile_h = tile_row - n * params.tiles_h;
    for (var tile = part; tile < params.tiles; tile += params.parts) {
        let plane = n * params.c4 + c4;
        let oh = tile_h * ${ROWS}u;
        let ow = tile_w * ${COLUMNS}u;
#for k in 0..COLUMNS
        let dy_column_${k} = select(OUTSIDE, ow + ${k}u, ow + ${k}u < params.out_w);
#end
        // Coordinates left of and above the image wrap to large ones.
#for q in 0..(COLUMNS - 1) * STRIDE + KERNEL
        let iw_${q} = ow * ${STRIDE}u + ${q}u - params.padding;
        let column_${q} = select(OUTSIDE, iw_${q}, iw_${q} < params.in_w);
#end
#for j in 0..ROWS
        let dy_row_${j} = select(OUTSIDE, (plane * params.out_h + oh + ${j}u) * params.out_w, oh + ${j}u < params.out_h);
#for k in 0..COLUMNS
        let dy_${j}_${k} = load_dy(dy_row_${j} + dy_column_${k});
#end
#end
#for r in 0..(ROWS - 1) * STRIDE + KERNEL
        let ih_${r} = oh * ${STRIDE}u + ${r}u - params.padding;
        let row_${r} = select(OUTSIDE, (plane * params.in_h + ih_${r}) * params.in_w, ih_${r} < params.in_h);
#for q in 0..(COLUMNS - 1) * STRIDE + KERNEL
        let x_${r}_${q} = load_x(row_${r} + column_${q});
#end
#for j in 0..ROWS
#for here in 0..r >= j * STRIDE && r < j * STRIDE + KERNEL
#for kw in 0..KERNEL
#for k in 0..COLUMNS
        acc_${(r - j * STRIDE) * KERNEL + kw} = fma(dy_${j}_${k}, x_${r}_${k * STRIDE + kw}, acc_${(r - j * STRIDE) * KERNEL + kw});
#end
#end
#end
#end
#end
        tile_w += params.step_w;
        tile_h += params.step_h;
        n += params.step_n;
        if tile_w >= params.tiles_w {
            tile_w -= params.tiles_w;
            tile_h += 1u;
        }
        if tile_h >= params.tiles_h {
            tile_h -= params.tiles_h;
            n += 1u;
        }
    }
#for tap in 0..KERNEL * KERNEL
    store_part((part * ${KERNEL * KERNEL}u + ${tap}u) * params.c4 + c4, acc_${tap});
#end
}
