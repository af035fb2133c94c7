// For each row's logit x: the sigmoid σ(x), or with TARGETS the binary cross-entropy max(x, 0) − x·t + ln(1 + e^−|x|).
// binding 0: logits [N, 1] [vec4], 1: y [N, 1] [vec4], with TARGETS 2: targets t [N, 1] [vec4].
// Grid: one invocation a row. Roofline: latency.
#import common/grid

struct Params { rows: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
#if TARGETS
@group(0) @binding(2) var<storage, read> targets: array<vec4<f32>>;
#endif

@compute @workgroup_size(${WORKGROUP})
fn sigmoid_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let row = linear_index(group, groups, local);
    if row >= params.rows { return; }
    let x = logits[row].x;
    // exp of nothing positive: no overflow.
    let small = exp(-abs(x));
#if TARGETS
    let value = max(x, 0.0) - x * targets[row].x + log(1.0 + small);
#else
    let value = select(small, 1.0, x >= 0.0) / (1.0 + small);
#endif
    y[row] = vec4<f32>(value, 0.0, 0.0, 0.0);
}
