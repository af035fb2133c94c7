// EncoderMI's membership features: similarities of all pairs of an image's views, in the order
// (0,1), (0,2), …, (n−2, n−1) or ascending, and their mean.
// binding 0: x [vec4, images·views·depth], 1: features [f32, images·width], 2: means [vec4, images] with the mean in x.
// width = 4⌈pairs/4⌉; padding is written as zero. Grid: one workgroup for each image; everything of an image is
// added in a fixed order by one invocation for each pair. Roofline: compute where depth is large (2·dim flops a
// pair against dim·4/views bytes), memory otherwise.
struct Params { images: u32, views: u32, depth: u32, dim: u32, pairs: u32, width: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> features: array<f32>;
@group(0) @binding(2) var<storage, read_write> means: array<vec4<f32>>;

var<workgroup> centre: array<f32, 64>;
var<workgroup> norm: array<f32, 64>;
var<workgroup> sums: array<f32, ${WORKGROUP}>;
#if ASCENDING
// Similarities as integers in the same order, four in a vector.
var<workgroup> keys: array<vec4<u32>, 504>;

// Maps floats to integers that are ordered alike, not-a-number included.
fn key_of(v: f32) -> u32 {
    let bits = bitcast<u32>(v);
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}
fn value_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}
#endif

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

#if PEARSON
// Texel k of a view minus the view's mean, padding lanes zero.
fn centred(first: u32, k: u32, mean: f32) -> vec4<f32> {
    let d = vec4<u32>(k * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), x[first + k] - mean, d < vec4<u32>(params.dim));
}
#endif

// Row i of pair p in the upper triangle; the pair's column follows from it.
fn pair_of(p: u32) -> vec2<u32> {
    var i = 0u;
    var rest = p;
    var length = params.views - 1u;
    while rest >= length && length > 0u {
        rest -= length;
        length -= 1u;
        i += 1u;
    }
    return vec2<u32>(i, i + 1u + rest);
}

@compute @workgroup_size(${WORKGROUP})
fn pairwise_features(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) local: u32) {
    let image = group.x + group.y * groups.x;
    if image >= params.images { return; }
    let base = image * params.views * params.depth;
#if !EUCLIDEAN
    for (var view = local; view < params.views; view += ${WORKGROUP}u) {
        let first = base + view * params.depth;
        var squares = vec4<f32>(0.0);
#if PEARSON
        var sum = vec4<f32>(0.0);
        for (var k = 0u; k < params.depth; k++) { sum += x[first + k]; }
        let mean = total(sum) / f32(params.dim);
        centre[view] = mean;
        for (var k = 0u; k < params.depth; k++) {
            let v = centred(first, k, mean);
            squares += v * v;
        }
#else
        for (var k = 0u; k < params.depth; k++) {
            let v = x[first + k];
            squares += v * v;
        }
#endif
        norm[view] = max(sqrt(total(squares)), 1e-12);
    }
    workgroupBarrier();
#endif
    let row = image * params.width;
    var sum_of_own = 0.0;
    for (var p = local; p < params.pairs; p += ${WORKGROUP}u) {
        let pair = pair_of(p);
        let u = base + pair.x * params.depth;
        let v = base + pair.y * params.depth;
        var parts = vec4<f32>(0.0);
#if PEARSON
        let mean_u = centre[pair.x];
        let mean_v = centre[pair.y];
        for (var k = 0u; k < params.depth; k++) {
            parts += centred(u, k, mean_u) * centred(v, k, mean_v);
        }
#else
        for (var k = 0u; k < params.depth; k++) {
#if EUCLIDEAN
            let d = x[u + k] - x[v + k];
            parts += d * d;
#else
            parts += x[u + k] * x[v + k];
#endif
        }
#endif
#if EUCLIDEAN
        let similarity = -sqrt(total(parts));
#else
        let similarity = total(parts) / norm[pair.x] / norm[pair.y];
#endif
        sum_of_own += similarity;
#if ASCENDING
        keys[p / 4u][p % 4u] = key_of(similarity);
#else
        features[row + p] = similarity;
#endif
    }
    sums[local] = sum_of_own;
    if local < params.width - params.pairs { features[row + params.pairs + local] = 0.0; }
#if ASCENDING
    // Keys beyond the last pair are the largest, so that they precede nothing.
    let padded = (params.pairs + 3u) / 4u * 4u;
    if local < padded - params.pairs {
        let p = params.pairs + local;
        keys[p / 4u][p % 4u] = 0xffffffffu;
    }
#endif
    workgroupBarrier();
    if local == 0u {
        var sum = 0.0;
        for (var i = 0u; i < ${WORKGROUP}u; i++) { sum += sums[i]; }
        means[image] = vec4<f32>(sum / f32(params.pairs), 0.0, 0.0, 0.0);
    }
#if ASCENDING
    // The place of a key is the number of smaller ones, and of equal ones before it.
    for (var p = local; p < params.pairs; p += ${WORKGROUP}u) {
        let key = keys[p / 4u][p % 4u];
        var place = vec4<u32>(0u);
        for (var i = 0u; i < padded / 4u; i++) {
            let other = keys[i];
            let index = vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
            let before = (other < vec4<u32>(key)) | ((other == vec4<u32>(key)) & (index < vec4<u32>(p)));
            place += select(vec4<u32>(0u), vec4<u32>(1u), before);
        }
        features[row + place.x + place.y + place.z + place.w] = value_of(key);
    }
#endif
}
