// g ← g/S, exact where nothing falls below the smallest normal number: S and 1/S are powers of two.
// binding 0: LossScale, 1: g [vec4].
// Grid: a workgroup for every ${WORKGROUP}·${ITEMS} vec4. Roofline: memory, 8 bytes an element.
#import loss_scale/state

struct Params { count: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> loss_scale: LossScale;
@group(0) @binding(1) var<storage, read_write> g: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn unscale(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
    let first = (group.x + group.y * groups.x) * ${WORKGROUP * ITEMS}u + local;
    // Division need not be exact in a shader; this is the power of two itself, whose exponent is the negative one.
    let inverse = bitcast<f32>(0x7f000000u - bitcast<u32>(loss_scale.scale));
    for (var k = 0u; k < ${ITEMS}u; k++) {
        let i = first + k * ${WORKGROUP}u;
        if i >= params.count { return; }
        g[i] *= inverse;
    }
}
