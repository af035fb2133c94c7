// One direction of the separable Gaussian blur, then (x − mean)/std:
//   y[i] = Σ_t w_t·x[reflect(i + t − taps/2)], w normalised, borders mirrored at the outermost pixels.
// Views that are not blurred pass through. The first direction comes with mean 0, std 1 and no rounding.
// binding 0: records [views], 1: x [views, height·width] vec4, 2: y of the same size.
// Grid: one workgroup for each view and each run of ${CHUNK} pixels. Roofline: memory, 32 bytes a pixel where
// the taps hit the cache.
#import augment/record
#import augment/colour

struct Params {
    height: u32,
    width: u32,
    half: u32,
    vertical: u32,
    pil8: u32,
    rows: u32,
    chunks: u32,
    spare: u32,
    mean: vec4<f32>,
    inverse_std: vec4<f32>,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> records: array<Record>;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn blur(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let index = group.x + group.y * groups.x;
    let row = index / params.chunks;
    if row >= params.rows { return; }
    let sigma = max(records[row].sigma, 1e-3);
    let half = select(0u, params.half, records[row].blur != 0u);
    // w(d) = exp(−d²/2σ²) without a call for each: w(d + 1) = w(d)·r^(2d + 1), r = w(1).
    let ratio = exp(-0.5 / (sigma * sigma));
    let ratio_squared = ratio * ratio;
    var total = 1.0;
    var w = 1.0;
    var next = ratio;
    for (var d = 1u; d <= half; d++) {
        w *= next;
        next *= ratio_squared;
        total += 2.0 * w;
    }
    let scale = 1.0 / total;
    let count = params.height * params.width;
    let base = row * count;
    let vertical = params.vertical != 0u;
    let last = i32(select(params.width, params.height, vertical)) - 1;
    let stride = i32(select(1u, params.width, vertical));
    let end = min((index % params.chunks + 1u) * ${CHUNK}u, count);
    let start = (index % params.chunks) * ${CHUNK}u + local;
    // Column and row go along with p, because a division for each pixel costs as much as its loads.
    let step_x = ${WORKGROUP}u % params.width;
    let step_y = ${WORKGROUP}u / params.width;
    var at_x = start % params.width;
    var at_y = start / params.width;
    for (var p = start; p < end; p += ${WORKGROUP}u) {
        let at = i32(select(at_x, at_y, vertical));
        let line = i32(base + p) - at * stride;
        var sum = x[base + p].xyz;
        w = 1.0;
        next = ratio;
        for (var d = 1; d <= i32(half); d++) {
            w *= next;
            next *= ratio_squared;
            let before = abs(at - d);
            let after = last - abs(last - at - d);
            sum += w * (x[line + before * stride].xyz + x[line + after * stride].xyz);
        }
        let v = quantise(sum * scale, params.pil8 != 0u);
        y[base + p] = vec4<f32>((v - params.mean.xyz) * params.inverse_std.xyz, 0.0);
        at_x += step_x;
        at_y += step_y;
        if at_x >= params.width {
            at_x -= params.width;
            at_y += 1u;
        }
    }
}
