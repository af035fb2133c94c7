// First stage of LARS: Σp² and Σ(g + λp)² of every chunk of every segment, in a fixed order.
// binding 0: chunks [count] of (segment, first vec4, vec4s, unused), 1: p [vec4], 2: g [vec4], 3: sums [count] of (p, d).
// Grid: one workgroup for each chunk. Roofline: memory, 8 bytes an element.

struct Params { count: u32, weight_decay: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> chunks: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec2<f32>>;

var<workgroup> parts: array<vec2<f32>, ${WORKGROUP}>;

@compute @workgroup_size(${WORKGROUP})
fn lars_norms(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let index = group.x + group.y * groups.x;
    if index >= params.count { return; }
    let chunk = chunks[index];
    var sum = vec2<f32>(0.0);
    for (var k = local; k < chunk.z; k += ${WORKGROUP}u) {
        let a = p[chunk.y + k];
        let d = fma(vec4<f32>(params.weight_decay), a, g[chunk.y + k]);
        sum += vec2<f32>(dot(a, a), dot(d, d));
    }
    parts[local] = sum;
    workgroupBarrier();
    if local == 0u {
        var total = vec2<f32>(0.0);
        for (var k = 0u; k < ${WORKGROUP}u; k++) { total += parts[k]; }
        sums[index] = total;
    }
}
