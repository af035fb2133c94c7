// Second stage of LARS: the trust ratio r = κ‖p‖/‖d‖ of every segment, its chunks summed in order; 1 where one
// of the norms is 0.
// binding 0: segments [count] of (first chunk, chunks, unused, unused), 1: sums of chunks (p, d), 2: ratios [count].
// Grid: one invocation for each segment. Roofline: none worth naming.
#import common/grid

struct Params { count: u32, trust: f32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> segments: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> sums: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> ratios: array<f32>;

@compute @workgroup_size(${WORKGROUP})
fn lars_ratio(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let segment = segments[i];
    var total = vec2<f32>(0.0);
    for (var k = 0u; k < segment.y; k++) { total += sums[segment.x + k]; }
    var ratio = 1.0;
    if total.x > 0.0 && total.y > 0.0 { ratio = params.trust * sqrt(total.x) / sqrt(total.y); }
    ratios[i] = ratio;
}
