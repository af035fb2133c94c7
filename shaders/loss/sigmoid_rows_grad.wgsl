// dlogits = factor·σ(x)(1 − σ(x)), or with TARGETS factor·(σ(x) − t).
// binding 0: logits [N, 1] [vec4], 1: dlogits [N, 1] [vec4], with TARGETS 2: targets t [N, 1] [vec4].
// Grid: one invocation a row. Roofline: latency.
#import common/grid

struct Params { rows: u32, factor: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dlogits: array<vec4<f32>>;
#if TARGETS
@group(0) @binding(2) var<storage, read> targets: array<vec4<f32>>;
#endif

@compute @workgroup_size(${WORKGROUP})
fn sigmoid_rows_grad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let x = logits[row].x;
    let small = exp(-abs(x));
    let total = 1.0 + small;
#if TARGETS
    let slope = select(small, 1.0, x >= 0.0) / total - targets[row].x;
#else
    let slope = small / (total * total);
#endif
    dlogits[row] = vec4<f32>(params.factor * slope, 0.0, 0.0, 0.0);
}
