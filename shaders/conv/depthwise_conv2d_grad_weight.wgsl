// dw[c, kh, kw] = Σ over n, oh, ow of x[n, c, oh·s + kh − p, ow·s + kw − p] · dy[n, c, oh, ow], one part of the pixels.
// bindings 0: x NC4HW4, 1: dy NC4HW4, 2: parts, each [tap][c4]. Part p takes the pixels p, p + parts, p + 2·parts, …
// Grid: one invocation for each part of one row of taps of one channel group; it keeps KERNEL sums in registers.
// Roofline: memory, x and dy from DRAM once and KERNEL times from cache.
// With TEXTURES the operands are textures of the software class (common/texel).
#import common/grid
#import common/texel

struct Params {
    c4: u32, in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    stride: u32, padding: u32, pixels: u32, parts: u32,
    // `parts` pixels as images, rows and columns of dy: the way from one pixel of a part to its next.
    step_n: u32, step_h: u32, step_w: u32,
}
var<immediate> params: Params;
#if TEXTURES
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var dy: texture_storage_2d<rgba32float, read>;
#else
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
#endif
@group(0) @binding(2) var<storage, read_write> parts: array<vec4<f32>>;

// Texel i of x, zeros where there is none.
fn load_x(i: u32, inside: bool) -> vec4<f32> {
#if TEXTURES
    return textureLoad(x, at(select(NOWHERE, i, inside)));
#else
    if !inside { return vec4<f32>(0.0); }
    return x[i];
#endif
}

// Texel i of dy, zeros where there is none.
fn load_dy(i: u32, inside: bool) -> vec4<f32> {
#if TEXTURES
    return textureLoad(dy, at(select(NOWHERE, i, inside)));
#else
    if !inside { return vec4<f32>(0.0); }
    return dy[i];
#endif
}

@compute @workgroup_size(${WORKGROUP})
fn depthwise_conv2d_grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                                @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    let part = index % params.parts;
    let kh = index / params.parts % ${KERNEL}u;
    let c4 = index / params.parts / ${KERNEL}u;
    if c4 >= params.c4 { return; }
#for kw in 0..KERNEL
    var acc_${kw} = vec4<f32>(0.0);
#end
    var ow = part % params.out_w;
    var oh = part / params.out_w % params.out_h;
    var n = part / params.out_w / params.out_h;
    for (var pixel = part; pixel < params.pixels; pixel += params.parts) {
        let plane = n * params.c4 + c4;
        // Coordinates left of and above the image wrap to large ones.
        let h = oh * params.stride + kh - params.padding;
        let gradient = load_dy((plane * params.out_h + oh) * params.out_w + ow, h < params.in_h);
        let row = (plane * params.in_h + h) * params.in_w;
        let w = ow * params.stride - params.padding;
#for kw in 0..KERNEL
        let x_${kw} = load_x(row + w + ${kw}u, h < params.in_h && w + ${kw}u < params.in_w);
        acc_${kw} = fma(gradient, x_${kw}, acc_${kw});
#end
        ow += params.step_w;
        oh += params.step_h;
        n += params.step_n;
        if ow >= params.out_w {
            ow -= params.out_w;
            oh += 1u;
        }
        if oh >= params.out_h {
            oh -= params.out_h;
            n += 1u;
        }
    }
    let to = part * ${KERNEL * KERNEL}u * params.c4 + kh * ${KERNEL}u * params.c4 + c4;
#for kw in 0..KERNEL
    parts[to + ${kw}u * params.c4] = acc_${kw};
#end
}
