// One direction of the separable Gaussian blur, then (x − mean)/std:
//   y[i] = Σ_t w_t·x[reflect(i + t − taps/2)], w normalised, borders mirrored at the outermost pixels.
// Views that are not blurred pass through. The first direction comes with mean 0, std 1 and no rounding.
// binding 0: records [views], 1: x [views, height·width] vec4, 2: y of the same size.
// Grid: one workgroup for each view. Roofline: memory, 32 bytes a pixel and 16 more for each tap that misses the cache.
#import augment/record
#import augment/colour

struct Params {
    height: u32,
    width: u32,
    taps: u32,
    vertical: u32,
    pil8: u32,
    rows: u32,
    spare1: u32,
    spare2: u32,
    mean: vec4<f32>,
    inverse_std: vec4<f32>,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> records: array<Record>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

var<workgroup> weights: array<f32, ${MOST_TAPS}>;

fn reflect_index(i: i32, length: i32) -> u32 {
    let mirrored = abs(i);
    return u32(select(mirrored, 2 * (length - 1) - mirrored, mirrored >= length));
}

@compute @workgroup_size(${WORKGROUP})
fn blur(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let row = group.x + group.y * groups.x;
    if row >= params.rows { return; }
    let blurred = records[row].blur != 0u;
    let sigma = max(records[row].sigma, 1e-3);
    let half = i32(params.taps / 2u);
    if local == 0u {
        var total = 0.0;
        for (var t = 0u; t < params.taps; t++) {
            let z = f32(i32(t) - half) / sigma;
            let w = exp(-0.5 * z * z);
            weights[t] = w;
            total += w;
        }
        for (var t = 0u; t < params.taps; t++) { weights[t] /= total; }
    }
    workgroupBarrier();
    let count = params.height * params.width;
    let base = row * count;
    let vertical = params.vertical != 0u;
    let length = i32(select(params.width, params.height, vertical));
    let stride = select(1u, params.width, vertical);
    let taps = select(0u, params.taps, blurred);
    let step_x = ${WORKGROUP}u % params.width;
    let step_y = ${WORKGROUP}u / params.width;
    var at_x = local % params.width;
    var at_y = local / params.width;
    for (var p = local; p < count; p += ${WORKGROUP}u) {
        let along = select(at_x, at_y, vertical);
        let line = base + p - along * stride;
        var sum = vec3<f32>(0.0);
        for (var t = 0u; t < taps; t++) {
            sum += weights[t] * x[line + reflect_index(i32(along + t) - half, length) * stride].xyz;
        }
        let v = quantise(select(x[base + p].xyz, sum, blurred), params.pil8 != 0u);
        y[base + p] = vec4<f32>((v - params.mean.xyz) * params.inverse_std.xyz, 0.0);
        at_x += step_x;
        at_y += step_y;
        if at_x >= params.width {
            at_x -= params.width;
            at_y += 1u;
        }
    }
}
