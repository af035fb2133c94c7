// dx[n, c, ih, iw] = Σ over kh, kw of dy[n, c, (ih + p − kh) / s, (iw + p − kw) / s] · w[c, kh, kw] over the taps whose
// divisions are exact and inside dy.
// bindings 0: dy NC4HW4, 1: w [tap][c4], 2: dx NC4HW4. Grid: one invocation for four input rows, `stride` apart, of one
// column: they use the same taps. Roofline: memory, 8 bytes an element beside the taps, which hit the cache.
// With TEXTURES the operands are textures of the software class (common/texel).
#import common/grid
#import common/texel

struct Params {
    c4: u32, in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    kernel: u32, stride: u32, padding: u32, strips: u32, count: u32,
}
var<immediate> params: Params;
#if TEXTURES
@group(0) @binding(0) var dy: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var weights: texture_storage_2d<rgba32float, read>;
#else
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
#endif
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

// Texel i of dy, zeros where there is none.
fn load_dy(i: u32, inside: bool) -> vec4<f32> {
#if TEXTURES
    return textureLoad(dy, at(select(NOWHERE, i, inside)));
#else
    if !inside { return vec4<f32>(0.0); }
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

@compute @workgroup_size(${WORKGROUP})
fn depthwise_conv2d_grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                               @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.count { return; }
    let s = params.stride;
    let iw = index % params.in_w;
    let strip = index / params.in_w % params.strips;
    let first = index / params.in_w / params.strips % s;
    let plane = index / params.in_w / params.strips / s;
    let c4 = plane % params.c4;
    let ih = first + strip * 4u * s;
#for j in 0..4
    var acc_${j} = vec4<f32>(0.0);
#end
    for (var kh = (ih + params.padding) % s; kh < params.kernel; kh += s) {
        for (var kw = (iw + params.padding) % s; kw < params.kernel; kw += s) {
            let weight = load_weight((kh * params.kernel + kw) * params.c4 + c4);
            // Both divisions are exact, of negative numbers too; those wrap to large coordinates.
            let h = u32((i32(ih + params.padding) - i32(kh)) / i32(s));
            let w = u32((i32(iw + params.padding) - i32(kw)) / i32(s));
#for j in 0..4
            let h_${j} = h + ${j}u;
            let dy_${j} = load_dy((plane * params.out_h + h_${j}) * params.out_w + w, w < params.out_w && h_${j} < params.out_h);
            acc_${j} = fma(dy_${j}, weight, acc_${j});
#end
        }
    }
    let to = plane * params.in_h * params.in_w + iw;
#for j in 0..4
    if ih + ${j}u * s < params.in_h { dx[to + (ih + ${j}u * s) * params.in_w] = acc_${j}; }
#end
}
