// dx[n, c, ih, iw] = Σ over kh, kw of dy[n, c, (ih + p − kh) / s, (iw + p − kw) / s] · w[c, kh, kw] over the taps whose
// divisions are exact and inside dy.
// bindings 0: dy NC4HW4, 1: w [tap][c4], 2: dx NC4HW4. Grid: one invocation for a tile of ROWS x COLUMNS inputs, both
// multiples of the stride: with PHASE = p mod s it is known beforehand which taps meet which inputs of a tile. A texel of
// dy is read once a tile. `#for here` and `#for there` are one turn or none: the taps between one texel and another.
// Roofline: memory, 8 bytes an element beside the tile's borders, which hit the cache.
// With TEXTURES the operands are textures of the software class (common/texel).
#import common/grid
#import common/texel

struct Params {
    c4: u32, in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    // Rows (and columns) of dy that a tile reads before row ih / s, less those that the padding adds.
    before: u32, tiles_h: u32, tiles_w: u32, count: u32,
}
var<immediate> params: Params;
#if TEXTURES
#import common/pack64
@group(0) @binding(0) var dy: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var weights: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec2<u64>>;
#else
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;
#endif

// Texel i of dy, zeros from OUTSIDE on.
fn load_dy(i: u32) -> vec4<f32> {
#if TEXTURES
    return textureLoad(dy, at(i));
#else
    if i >= OUTSIDE { return vec4<f32>(0.0); }
    return dy[i];
#endif
}

fn load_weight(i: u32) -> vec4<f32> {
#if TEXTURES
    return textureLoad(weights, at(i));
#else
    return weights[i];
#endif
}

fn store_dx(i: u32, value: vec4<f32>) {
#if TEXTURES
    dx[i] = pack64(value);
#else
    dx[i] = value;
#endif
}

@compute @workgroup_size(${WORKGROUP})
fn depthwise_conv2d_grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                               @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.count { return; }
    let tile_row = index / params.tiles_w;
    let tile_w = index - tile_row * params.tiles_w;
    let plane = tile_row / params.tiles_h;
    let tile_h = tile_row - plane * params.tiles_h;
    let c4 = plane % params.c4;
#for tap in 0..KERNEL * KERNEL
    let w_${tap} = load_weight(${tap}u * params.c4 + c4);
#end
#for i in 0..ROWS
#for k in 0..COLUMNS
    var acc_${i}_${k} = vec4<f32>(0.0);
#end
#end
    // Coordinates left of and above the image wrap to large ones.
#for q in 0..HALO + (COLUMNS - 1 + PHASE) / STRIDE + 1
    let ow_${q} = tile_w * ${COLUMNS / STRIDE}u + ${q}u - params.before;
    let column_${q} = select(OUTSIDE, ow_${q}, ow_${q} < params.out_w);
#end
#for r in 0..HALO + (ROWS - 1 + PHASE) / STRIDE + 1
    let oh_${r} = tile_h * ${ROWS / STRIDE}u + ${r}u - params.before;
    let row_${r} = select(OUTSIDE, (plane * params.out_h + oh_${r}) * params.out_w, oh_${r} < params.out_h);
#for q in 0..HALO + (COLUMNS - 1 + PHASE) / STRIDE + 1
    let dy_${r}_${q} = load_dy(row_${r} + column_${q});
#end
#for i in 0..ROWS
#for kh in 0..KERNEL
#for here in 0..r * STRIDE + kh == i + HALO * STRIDE + PHASE
#for q in 0..HALO + (COLUMNS - 1 + PHASE) / STRIDE + 1
#for k in 0..COLUMNS
#for kw in 0..KERNEL
#for there in 0..q * STRIDE + kw == k + HALO * STRIDE + PHASE
    acc_${i}_${k} = fma(dy_${r}_${q}, w_${kh * KERNEL + kw}, acc_${i}_${k});
#end
#end
#end
#end
#end
#end
#end
#end
    let ih = tile_h * ${ROWS}u;
    let iw = tile_w * ${COLUMNS}u;
    let to = (plane * params.in_h + ih) * params.in_w + iw;
#for i in 0..ROWS
    if ih + ${i}u < params.in_h {
#for k in 0..COLUMNS
        if iw + ${k}u < params.in_w { store_dx(to + ${i}u * params.in_w + ${k}u, acc_${i}_${k}); }
#end
    }
#end
}
