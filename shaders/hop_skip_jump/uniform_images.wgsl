// Images of independent uniform pixels: y[row.output] = low + (high − low) u, u of draw (image, row.number).
// binding 0: rows [Row], 1: key [vec4: two words], 2: images [u32, one a slot], 3: y [vec4].
// Grid: one invocation for each (row, vec4). Roofline: integer arithmetic, two Threefry calls a vec4.
#import common/grid
#import hop_skip_jump/row
#import hop_skip_jump/draw

struct Params { rows: u32, texels: u32, pixels: u32, channels: u32, low: f32, high: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<Row>;
@group(0) @binding(1) var<storage, read> key: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> images: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn uniform_images(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let index = i / params.texels;
    if index >= params.rows { return; }
    let row = rows[index];
    if row.slot == NOTHING { return; }
    let k = i - index * params.texels;
    let words = texel_words(row_key(key[0].xy, images[row.slot], row.number), k, params.pixels);
    let u = vec4<f32>(rng_uniform(words.x), rng_uniform(words.y), rng_uniform(words.z), rng_uniform(words.w));
    let pixel = clamp(params.low + (params.high - params.low) * u, vec4<f32>(params.low), vec4<f32>(params.high));
    y[row.output * params.texels + k] = without_padding(pixel, k, params.pixels, params.channels);
}
