// g ← g·min(1, c/(‖g‖ + 1e-6)), the norm of all gradients together.
// binding 0: GradientNorm, 1: g [vec4].
// Grid: a workgroup for every ${WORKGROUP}·${ITEMS} vec4. Roofline: memory, 8 bytes an element.

struct Params { count: u32, limit: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> norm: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> g: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn clip(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let first = (group.x + group.y * groups.x) * ${WORKGROUP * ITEMS}u + local;
    let factor = min(1.0, params.limit / (bitcast<f32>(norm[0].x) + 1e-6));
    for (var k = 0u; k < ${ITEMS}u; k++) {
        let i = first + k * ${WORKGROUP}u;
        if i >= params.count { return; }
        g[i] *= factor;
    }
}
