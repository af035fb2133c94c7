// y[n, y_first + c] = x[n, x_first + c] for `count` channel groups c: a part of a concatenation, or of its gradient.
// binding 0: x [vec4], 1: y [vec4]. Grid: one invocation for each vec4 copied. Roofline: memory, 8 bytes an element.
#import common/grid

struct Params { images: u32, pixels: u32, count: u32, x_groups: u32, x_first: u32, y_groups: u32, y_first: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn copy_channels(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    let run = params.count * params.pixels;
    let n = i / run;
    if n >= params.images { return; }
    let at = i - n * run;
    y[(n * params.y_groups + params.y_first) * params.pixels + at] =
        x[(n * params.x_groups + params.x_first) * params.pixels + at];
}
