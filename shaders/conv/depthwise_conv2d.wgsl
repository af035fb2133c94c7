// y[n, c, oh, ow] = Σ over kh, kw of x[n, c, oh·s + kh − p, ow·s + kw − p] · w[c, kh, kw].
// bindings 0: x NC4HW4, 1: w [tap][c4], 2: y NC4HW4. Tap t of the sum is tap tap_first + t·tap_step of w: with stride 1,
// the taps backwards and p = k − 1 − padding this is the gradient to the input, with dy for x and dx for y.
// Grid: one invocation for a tile of ROWS x COLUMNS outputs. Weights stay in registers, a row of x is read once for all
// outputs of the tile that need it, and no variable lives across a loop, as there is none. `#for here` is one turn or none:
// the outputs that row r belongs to.
// Roofline: memory, 8 bytes an element beside the tile's borders, which hit the cache.
// With TEXTURES the operands are textures of the software class (common/texel).
#import common/grid
#import common/texel

struct Params {
    c4: u32, in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    padding: u32, tap_first: u32, tap_step: u32, tiles_h: u32, tiles_w: u32, count: u32,
}
var<immediate> params: Params;
#if TEXTURES
#import common/pack64
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var weights: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u64>>;
#else
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
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

fn load_weight(i: u32) -> vec4<f32> {
#if TEXTURES
    return textureLoad(weights, at(i));
#else
    return weights[i];
#endif
}

fn store_y(i: u32, value: vec4<f32>) {
#if TEXTURES
    y[i] = pack64(value);
#else
    y[i] = value;
#endif
}

@compute @workgroup_size(${WORKGROUP})
fn depthwise_conv2d(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.count { return; }
    let tile_row = index / params.tiles_w;
    let ow = (index - tile_row * params.tiles_w) * ${COLUMNS}u;
    let plane = tile_row / params.tiles_h;
    let oh = (tile_row - plane * params.tiles_h) * ${ROWS}u;
    let c4 = plane % params.c4;
#for tap in 0..KERNEL * KERNEL
    let w_${tap} = load_weight((params.tap_first + ${tap}u * params.tap_step) * params.c4 + c4);
#end
#for j in 0..ROWS
#for k in 0..COLUMNS
    var acc_${j}_${k} = vec4<f32>(0.0);
#end
#end
    // Coordinates left of and above the image wrap to large ones.
#for q in 0..(COLUMNS - 1) * STRIDE + KERNEL
    let iw_${q} = ow * ${STRIDE}u + ${q}u - params.padding;
    let column_${q} = select(OUTSIDE, iw_${q}, iw_${q} < params.in_w);
#end
#for r in 0..(ROWS - 1) * STRIDE + KERNEL
    let ih_${r} = oh * ${STRIDE}u + ${r}u - params.padding;
    let row_${r} = select(OUTSIDE, (plane * params.in_h + ih_${r}) * params.in_w, ih_${r} < params.in_h);
#for q in 0..(COLUMNS - 1) * STRIDE + KERNEL
    let x_${r}_${q} = load_x(row_${r} + column_${q});
#end
#for j in 0..ROWS
#for here in 0..r >= j * STRIDE && r < j * STRIDE + KERNEL
#for k in 0..COLUMNS
#for kw in 0..KERNEL
    acc_${j}_${k} = fma(x_${r}_${k * STRIDE + kw}, w_${(r - j * STRIDE) * KERNEL + kw}, acc_${j}_${k});
#end
#end
#end
#end
#end
    let to = (plane * params.out_h + oh) * params.out_w + ow;
#for j in 0..ROWS
    if oh + ${j}u < params.out_h {
#for k in 0..COLUMNS
        if ow + ${k}u < params.out_w { store_y(to + ${j}u * params.out_w + ${k}u, acc_${j}_${k}); }
#end
    }
#end
}
