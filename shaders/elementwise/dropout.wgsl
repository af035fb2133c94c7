// y = x/(1 − p) where uniform(sample, layer, element) ≥ p, otherwise 0; its own gradient, with dy in x's place.
// `element` is the logical index within the sample (row-major C, H, W), so that a mask depends neither on the
// layout nor on the place in the batch.
// binding 0: x [vec4], 1: y [vec4], 2: samples [N] u32, 3: step state.
// Grid: one invocation a share (common/planes). Roofline: integer arithmetic, 80 rounds of Threefry a vec4.
#import common/grid
#import common/planes
#import common/step
#import common/threefry

struct Params { planes: Planes, layer: u32, probability: f32, kept: f32 }
var<immediate> params: Params;
#operand 0 x
#result 1 y
@group(0) @binding(2) var<storage, read> samples: array<u32>;
@group(0) @binding(3) var<storage, read> state: StepState;

fn factor(key: vec2<u32>, sample: u32, element: u32) -> f32 {
    // Padding lanes may count beyond 16 bits; what is drawn for them meets a zero.
    let bits = rng_draw(key, sample, params.layer, element & 0xffffu).x;
    return select(0.0, params.kept, rng_uniform(bits) >= params.probability);
}

@compute @workgroup_size(${WORKGROUP})
fn dropout(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
    let key = state.dropout_key;
    for (var n = share.first; n < share.end; n++) {
        let sample = samples[n];
        let start = (n * planes.groups + share.group) * planes.pixels;
        for (var p = share.begin; p < share.stop; p += planes.lanes) {
            let element = share.group * 4u * planes.pixels + p;
            let factors = vec4<f32>(
                factor(key, sample, element),
                factor(key, sample, element + planes.pixels),
                factor(key, sample, element + 2u * planes.pixels),
                factor(key, sample, element + 3u * planes.pixels),
            );
            store_y(start + p, load_x(start + p) * factors);
            // Spares a turn without lanes (docs/kernels.md).
            if p + planes.lanes >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
}
