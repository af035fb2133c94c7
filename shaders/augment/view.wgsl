// Crop, resize, flips, colour jitter in the drawn order, grayscale, (x − mean)/std: one view of one image.
//   resize: triangle filter with half-pixel centres, whose support widens with the shrink factor;
//   contrast: f·x + (1 − f)·mean(gray of the whole view), the only operator that needs more than its own pixel.
// binding 0: images [count·height·width], u32 R | G << 8 | B << 16 (FLOATS: vec4 R, G, B, unused),
// 1: batch [images] of (sample, slot), 2: records [images·views], 3: y [images·views, out_height·out_width] vec4.
// Grid: one workgroup for each view. A first loop crops and does what comes before the contrast, each pixel
// waits in y, an ordered sum gives the mean, a second loop does the rest to the pixels that the same
// invocation wrote. Roofline: memory, 48 bytes a pixel; on CPU adapters arithmetic (about 300 operations a pixel).
#import augment/record
#import augment/colour

struct Params {
    height: u32,
    width: u32,
    count: u32,
    out_height: u32,
    out_width: u32,
    images: u32,
    views: u32,
    flags: u32,
    mean: vec4<f32>,
    inverse_std: vec4<f32>,
}
const IMAGE_MAJOR = 1u;
const GRAY_FIRST = 2u;
const PIL8 = 4u;
const ANTIALIAS = 8u;

var<immediate> params: Params;
#if FLOATS
@group(0) @binding(0) var<storage, read> pixels: array<vec4<f32>>;
#else
@group(0) @binding(0) var<storage, read> pixels: array<u32>;
#endif
@group(0) @binding(1) var<storage, read> batch: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> records: array<Record>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

var<workgroup> partial_sums: array<f32, ${WORKGROUP}>;
var<workgroup> mean_gray: f32;

// The permutations of the four jitter operators in lexicographic order, 2 bits an operator, first one lowest.
const ORDERS = array<u32, 24>(
    0xe4u, 0xb4u, 0xd8u, 0x78u, 0x9cu, 0x6cu, 0xe1u, 0xb1u, 0xc9u, 0x39u, 0x8du, 0x2du,
    0xd2u, 0x72u, 0xc6u, 0x36u, 0x4eu, 0x1eu, 0x93u, 0x63u, 0x87u, 0x27u, 0x4bu, 0x1bu,
);

// The source positions that make one position of a line, as a range and a centre = whole + fraction (kept
// apart so that long lines lose no accuracy).
struct Taps { first: u32, end: u32, whole: f32, fraction: f32, inverse_support: f32 }

fn taps(i: u32, length: u32, out: u32, antialias: bool) -> Taps {
    let scale = f32(length) / f32(out);
    let support = select(1.0, max(scale, 1.0), antialias);
    let numerator = length * (2u * i + 1u);
    let whole = i32(f32(numerator) / f32(2u * out));
    let fraction = f32(i32(numerator) - whole * i32(2u * out)) / f32(2u * out);
    let first = max(whole + i32(floor(fraction - support + 0.5)), 0);
    let end = min(whole + i32(floor(fraction + support + 0.5)), i32(length));
    return Taps(u32(first), u32(end), f32(whole), fraction, 1.0 / support);
}

fn weight(t: Taps, j: u32) -> f32 {
    return max(1.0 - abs((f32(j) - t.whole) + (0.5 - t.fraction)) * t.inverse_support, 0.0);
}

fn load(i: u32) -> vec3<f32> {
#if FLOATS
    return pixels[i].xyz;
#else
    let word = pixels[i];
    return vec3<f32>(vec3<u32>(word & 0xffu, (word >> 8u) & 0xffu, (word >> 16u) & 0xffu));
#endif
}

// One pixel of the resized crop. The sum runs over whole numbers 0..255 and is scaled once.
fn resized(column: Taps, row: Taps, corner: u32) -> vec3<f32> {
    var sum = vec3<f32>(0.0);
    var total_row = 0.0;
    var total_column = 0.0;
    for (var i = row.first; i < row.end; i++) {
        let at = corner + i * params.width;
        var line = vec3<f32>(0.0);
        total_column = 0.0;
        for (var j = column.first; j < column.end; j++) {
            let w = weight(column, j);
            line += w * load(at + j);
            total_column += w;
            // Spares a turn without lanes (docs/kernels.md).
            if j + 1u >= column.end { break; }
        }
        let w = weight(row, i);
        sum += w * line;
        total_row += w;
        if i + 1u >= row.end { break; }
    }
#if FLOATS
    return sum / (total_row * total_column);
#else
    return sum / (total_row * total_column * 255.0);
#endif
}

fn pointwise(v: vec3<f32>, which: u32, record: u32, pil8: bool) -> vec3<f32> {
    var result = v;
    if which == 0u {
        result = blend(v, 0.0, records[record].brightness);
    } else if which == 2u {
        result = blend(v, gray_of(v), records[record].saturation);
    } else {
        result = turn_hue(v, records[record].hue);
    }
    return quantise(result, pil8);
}

@compute @workgroup_size(${WORKGROUP})
fn view(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let row = group.x + group.y * groups.x;
    if row >= params.images * params.views { return; }
    var image = row % params.images;
    if (params.flags & IMAGE_MAJOR) != 0u { image = row / params.views; }
    let gray_first = (params.flags & GRAY_FIRST) != 0u;
    let pil8 = (params.flags & PIL8) != 0u;
    let antialias = (params.flags & ANTIALIAS) != 0u;
    let slot = min(batch[image].y, params.count - 1u);
    let crop_height = records[row].height;
    let crop_width = records[row].width;
    let corner = (slot * params.height + records[row].top) * params.width + records[row].left;
    let mirrored = records[row].horizontal_flip != 0u;
    let upside_down = records[row].vertical_flip != 0u;
    let gray = records[row].gray != 0u;
    let jitter = records[row].jitter != 0u;
    let contrast = records[row].contrast;
    var orders = ORDERS;
    let operators = orders[min(records[row].order, 23u)];
    // Operators before the contrast: the place of the code 1 among the four.
    var before = 0u;
    while before < 3u && ((operators >> (2u * before)) & 3u) != 1u { before++; }
    let operator_count = select(0u, 4u, jitter);
    before = min(before, operator_count);

    let pixel_count = params.out_height * params.out_width;
    let base = row * pixel_count;
    let step_x = ${WORKGROUP}u % params.out_width;
    let step_y = ${WORKGROUP}u / params.out_width;
    var at_x = local % params.out_width;
    var at_y = local / params.out_width;
    var sum = 0.0;
    for (var p = local; p < pixel_count; p += ${WORKGROUP}u) {
        let column = taps(select(at_x, params.out_width - 1u - at_x, mirrored), crop_width, params.out_width, antialias);
        let line = taps(select(at_y, params.out_height - 1u - at_y, upside_down), crop_height, params.out_height, antialias);
        var v = quantise(resized(column, line, corner), pil8);
        if gray && gray_first { v = quantise(vec3<f32>(gray_of(v)), pil8); }
        for (var s = 0u; s < before; s++) {
            v = pointwise(v, (operators >> (2u * s)) & 3u, row, pil8);
            if s + 1u >= before { break; }
        }
        sum += gray_of(v);
        y[base + p] = vec4<f32>(v, 0.0);
        at_x += step_x;
        at_y += step_y;
        if at_x >= params.out_width {
            at_x -= params.out_width;
            at_y += 1u;
        }
        if p + ${WORKGROUP}u >= pixel_count { break; }
    }
    partial_sums[local] = sum;
    workgroupBarrier();
    if local == 0u {
        var total = 0.0;
        for (var i = 0u; i < ${WORKGROUP}u; i++) { total += partial_sums[i]; }
        mean_gray = total / f32(pixel_count);
    }
    workgroupBarrier();
    let mean = mean_gray;
    for (var p = local; p < pixel_count; p += ${WORKGROUP}u) {
        var v = y[base + p].xyz;
        if jitter { v = quantise(blend(v, mean, contrast), pil8); }
        for (var s = before + 1u; s < operator_count; s++) {
            v = pointwise(v, (operators >> (2u * s)) & 3u, row, pil8);
            if s + 1u >= operator_count { break; }
        }
        if gray && !gray_first { v = quantise(vec3<f32>(gray_of(v)), pil8); }
        y[base + p] = vec4<f32>((v - params.mean.xyz) * params.inverse_std.xyz, 0.0);
        if p + ${WORKGROUP}u >= pixel_count { break; }
    }
}
