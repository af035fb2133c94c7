// y[n, c, oh, ow] = Σ over kh, kw of x[n, c, oh·s + kh − p, ow·s + kw − p] · w[c, kh, kw].
// bindings 0: x NC4HW4, 1: w [tap][c4], 2: y NC4HW4. Grid: one invocation for four output rows of one column, so that
// a weight is read once for four products. Roofline: memory, 8 bytes an element beside the taps, which hit the cache.
// With TEXTURES the operands are textures of the software class (common/texel).
#import common/grid
#import common/texel

struct Params {
    c4: u32, in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    kernel: u32, stride: u32, padding: u32, strips: u32, count: u32,
}
var<immediate> params: Params;
#if TEXTURES
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var weights: texture_storage_2d<rgba32float, read>;
#else
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
#endif
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

// Texel i of x, zeros where there is none.
fn load_x(i: u32, inside: bool) -> vec4<f32> {
#if TEXTURES
    return textureLoad(x, at(select(NOWHERE, i, inside)));
#else
    if !inside { return vec4<f32>(0.0); }
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

@compute @workgroup_size(${WORKGROUP})
fn depthwise_conv2d(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.count { return; }
    let ow = index % params.out_w;
    let oh = index / params.out_w % params.strips * 4u;
    let plane = index / params.out_w / params.strips;
    let c4 = plane % params.c4;
#for j in 0..4
    var acc_${j} = vec4<f32>(0.0);
#end
    for (var kh = 0u; kh < params.kernel; kh++) {
        for (var kw = 0u; kw < params.kernel; kw++) {
            let weight = load_weight((kh * params.kernel + kw) * params.c4 + c4);
            // Coordinates left of and above the image wrap to large ones.
            let w = ow * params.stride + kw - params.padding;
            let h = oh * params.stride + kh - params.padding;
#for j in 0..4
            let h_${j} = h + ${j}u * params.stride;
            let x_${j} = load_x((plane * params.in_h + h_${j}) * params.in_w + w, w < params.in_w && h_${j} < params.in_h);
            acc_${j} = fma(x_${j}, weight, acc_${j});
#end
        }
    }
    let to = (plane * params.out_h + oh) * params.out_w + ow;
#for j in 0..4
    if oh + ${j}u < params.out_h { y[to + ${j}u * params.out_w] = acc_${j}; }
#end
}
