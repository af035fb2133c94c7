// For each row of logits, its log-sum-exp l and, with LABELS, the cross-entropy against its label:
//   Σ_c w_c (l − x_c), w = 1 − smoothing on the label, smoothing/(C − 1) elsewhere.
// binding 0: logits [N, C] [vec4], 1: l [N, 1] [vec4]; with LABELS 2: labels [N] u32, 3: losses [N, 1] [vec4].
// Grid: one invocation a row. Roofline: latency; it is small beside any encoder.
#import common/grid

struct Params { rows: u32, classes: u32, smoothing: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> normalizers: array<vec4<f32>>;
#if LABELS
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<vec4<f32>>;
#endif

@compute @workgroup_size(${WORKGROUP})
fn softmax_cross_entropy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                         @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let count = (params.classes + 3u) / 4u;
    let start = row * count;
    let lanes = vec4<u32>(0u, 1u, 2u, 3u);
    var highest = vec4<f32>(logits[start].x);
    for (var i = 0u; i < count; i++) {
        let real = lanes + 4u * i < vec4<u32>(params.classes);
        highest = max(highest, select(highest, logits[start + i], real));
    }
    // Everything below is relative to the row's maximum: nothing overflows, and nothing large cancels.
    let top = max(max(highest.x, highest.y), max(highest.z, highest.w));
    var powers = vec4<f32>(0.0);
    var below = vec4<f32>(0.0);
    for (var i = 0u; i < count; i++) {
        let real = lanes + 4u * i < vec4<u32>(params.classes);
        let d = logits[start + i] - top;
        powers += select(vec4<f32>(0.0), exp(d), real);
        below -= select(vec4<f32>(0.0), d, real);
    }
    let relative = log((powers.x + powers.y) + (powers.z + powers.w));
    normalizers[row] = vec4<f32>(top + relative, 0.0, 0.0, 0.0);
#if LABELS
    let label = min(labels[row], params.classes - 1u);
    let target_below = top - logits[start + label / 4u][label % 4u];
    let others = f32(params.classes - 1u);
    let rest = others * relative + ((below.x + below.y) + (below.z + below.w)) - target_below;
    let loss = (1.0 - params.smoothing) * (relative + target_below) + params.smoothing / max(others, 1.0) * rest;
    losses[row] = vec4<f32>(loss, 0.0, 0.0, 0.0);
#endif
}
