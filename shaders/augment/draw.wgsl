// The random parameters of every (sample, view), from Threefry2x32-20 at counter (sample, view·2^16 + draw).
// All arithmetic that decides anything is on 32-bit integers, so that every device writes the same record,
// bit for bit. Draw numbers and fixed-point formats: kernels::augment.
// binding 0: StepState, 1: batch [images] of (sample, slot), 2: records [images·views].
// Grid: one invocation for each record. Roofline: none worth naming, a few thousand integer operations a record.
#import common/step
#import common/threefry
#import common/grid
#import augment/record

struct Params {
    height: u32,
    width: u32,
    area: u32,
    area_shift: u32,
    scale_low: u32,
    scale_span: u32,
    ratio_low: u32,
    inverse_ratio_low: u32,
    log_ratio_span: u32,
    fallback_top: u32,
    fallback_left: u32,
    fallback_height: u32,
    fallback_width: u32,
    horizontal_flip: u32,
    vertical_flip: u32,
    jitter: u32,
    gray: u32,
    blur: u32,
    brightness_low: u32,
    brightness_span: u32,
    contrast_low: u32,
    contrast_span: u32,
    saturation_low: u32,
    saturation_span: u32,
    hue_bound: u32,
    sigma_low: u32,
    sigma_span: u32,
    tries: u32,
    images: u32,
    views: u32,
    first_view: u32,
    image_major: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> state: StepState;
@group(0) @binding(1) var<storage, read> batch: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> records: array<Record>;

// The 64-bit product as (low, high).
fn multiply(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 16u);
    let middle_low = (middle & 0xffffu) + a0 * b1;
    return vec2<u32>(a * b, a1 * b1 + (middle >> 16u) + (middle_low >> 16u));
}

// ⌊a·b / 2^${RATIO_BITS}⌋, which must fit 32 bits.
fn multiply_ratio(a: u32, b: u32) -> u32 {
    let product = multiply(a, b);
    return (product.x >> ${RATIO_BITS}u) | (product.y << ${32 - RATIO_BITS}u);
}

// A whole number in 0..bound, from 32 random bits.
fn below(bound: u32, bits: u32) -> u32 {
    return multiply(bound, bits).y;
}

// exp(y) for y in 0..=ln 4 by Horner's rule: 1 + y/1·(1 + y/2·(1 + y/3·(…))).
fn exp_fixed(y: u32) -> u32 {
    let one = 1u << ${RATIO_BITS}u;
    var sum = one;
    for (var k = ${EXP_TERMS}u; k > 0u; k--) {
        sum = one + multiply_ratio(y, sum) / k;
    }
    return sum;
}

// round(√x) of a number x that is given as 4·x with area_shift fractional bits: (⌊√(4x)⌋ + 1)/2.
fn rounded_root(four_x: u32) -> u32 {
    let whole = four_x >> params.area_shift;
    var root = 0u;
    for (var bit = 1u << 15u; bit > 0u; bit >>= 1u) {
        let candidate = root | bit;
        if candidate * candidate <= whole { root = candidate; }
    }
    return (root + 1u) / 2u;
}

// Width and height of one crop: √(A·r) and √(A/r), rounded.
fn crop_size(bits: vec2<u32>) -> vec2<u32> {
    let fraction = params.scale_low + below(params.scale_span, bits.x);
    let area = multiply(params.area << 1u, fraction << 1u).y;
    let log_ratio = below(params.log_ratio_span, bits.y);
    let ratio = multiply_ratio(params.ratio_low, exp_fixed(log_ratio));
    let inverse = multiply_ratio(params.inverse_ratio_low, exp_fixed(params.log_ratio_span - log_ratio));
    return vec2<u32>(rounded_root(multiply_ratio(area, ratio)), rounded_root(multiply_ratio(area, inverse)));
}

fn happens(threshold: u32, bits: u32) -> u32 {
    return select(0u, 1u, (bits >> 8u) < threshold);
}

// Exact in f32: below 2^24, and divided by a power of two.
fn factor(low: u32, span: u32, bits: u32) -> f32 {
    return f32(low + below(span, bits)) * (1.0 / ${FACTOR_ONE}.0);
}

@compute @workgroup_size(${WORKGROUP})
fn draw(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.images * params.views { return; }
    var image = row % params.images;
    var view = row / params.images;
    if params.image_major != 0u {
        image = row / params.views;
        view = row % params.views;
    }
    view += params.first_view;
    let sample = batch[image].x;
    let key = state.augment_key;

    var record: Record;
    record.top = params.fallback_top;
    record.left = params.fallback_left;
    record.height = params.fallback_height;
    record.width = params.fallback_width;
    record.failed_tries = params.tries;
    for (var attempt = 0u; attempt < params.tries; attempt++) {
        let size = crop_size(rng_draw(key, sample, view, ${CROP_TRY}u + attempt));
        if size.x >= 1u && size.x <= params.width && size.y >= 1u && size.y <= params.height {
            let corner = rng_draw(key, sample, view, ${CROP_CORNER}u);
            record.top = below(params.height - size.y + 1u, corner.x);
            record.left = below(params.width - size.x + 1u, corner.y);
            record.height = size.y;
            record.width = size.x;
            record.failed_tries = attempt;
            break;
        }
    }
    let flips = rng_draw(key, sample, view, ${FLIPS}u);
    record.horizontal_flip = happens(params.horizontal_flip, flips.x);
    record.vertical_flip = happens(params.vertical_flip, flips.y);
    let jitter = rng_draw(key, sample, view, ${JITTER}u);
    record.jitter = happens(params.jitter, jitter.x);
    record.order = below(24u, jitter.y);
    let light = rng_draw(key, sample, view, ${JITTER_LIGHT}u);
    record.brightness = factor(params.brightness_low, params.brightness_span, light.x);
    record.contrast = factor(params.contrast_low, params.contrast_span, light.y);
    let colour = rng_draw(key, sample, view, ${JITTER_COLOUR}u);
    record.saturation = factor(params.saturation_low, params.saturation_span, colour.x);
    let turn = i32(below(2u * params.hue_bound, colour.y)) - i32(params.hue_bound);
    record.hue = f32(turn) * (1.0 / ${FACTOR_ONE}.0);
    let gray_blur = rng_draw(key, sample, view, ${GRAY_AND_BLUR}u);
    record.gray = happens(params.gray, gray_blur.x);
    record.blur = happens(params.blur, gray_blur.y);
    record.sigma = factor(params.sigma_low, params.sigma_span, rng_draw(key, sample, view, ${BLUR_SIGMA}u).x);
    records[row] = record;
}
