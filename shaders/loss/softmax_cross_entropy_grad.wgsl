// dlogits = factor·(softmax − w), w as in softmax_cross_entropy; without LABELS y = softmax.
// binding 0: logits [N, C] [vec4], 1: log-sum-exps [N, 1] [vec4], 2: dlogits or y [vec4], with LABELS 3: labels [N] u32.
// Grid: one invocation for each vec4. Roofline: memory, 8 bytes an element.
#import common/grid

struct Params { rows: u32, classes: u32, smoothing: f32, factor: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> normalizers: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
#if LABELS
@group(0) @binding(3) var<storage, read> labels: array<u32>;
#endif

@compute @workgroup_size(${WORKGROUP})
fn softmax_cross_entropy_grad(@builtin(workgroup_id) group: vec3<u32>,
                              @builtin(num_workgroups) groups: vec3<u32>,
                              @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let count = (params.classes + 3u) / 4u;
    let row = i / count;
    if row >= params.rows { return; }
    let classes = vec4<u32>(0u, 1u, 2u, 3u) + 4u * (i - row * count);
    let real = classes < vec4<u32>(params.classes);
    var v = exp(logits[i] - normalizers[row].x);
#if LABELS
    let elsewhere = params.smoothing / max(f32(params.classes) - 1.0, 1.0);
    let label = min(labels[row], params.classes - 1u);
    v -= select(vec4<f32>(elsewhere), vec4<f32>(1.0 - params.smoothing), classes == vec4<u32>(label));
    v *= params.factor;
#endif
    y[i] = select(vec4<f32>(0.0), v, real);
}
