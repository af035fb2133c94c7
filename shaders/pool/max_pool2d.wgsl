// y = the maximum over each window, padding counting as −∞; and where in its window the first one lies.
// binding 0: x [vec4], 1: y [vec4], 2: places [vec2<u32>] for each vec4 of y: four 16-bit numbers row·kernel + column.
// Grid: one invocation for each vec4 of y. Roofline: memory, each x from cache kernel²/stride² times.
// Padding lanes are zero in x, so their maxima are zero.
#import common/grid

struct Params { count: u32, h: u32, w: u32, out_h: u32, out_w: u32, kernel: u32, stride: u32, padding: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> places: array<vec2<u32>>;

@compute @workgroup_size(${WORKGROUP})
fn max_pool2d(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) local: u32) {
    let i = linear_index(group, groups, local);
    if i >= params.count { return; }
    let line = i / params.out_w;
    let plane = line / params.out_h;
    // Corner of the window in padded coordinates.
    let top = (line - plane * params.out_h) * params.stride;
    let left = (i - line * params.out_w) * params.stride;
    let first_row = max(top, params.padding);
    let first_column = max(left, params.padding);
    let rows = min(top + params.kernel, params.h + params.padding);
    let columns = min(left + params.kernel, params.w + params.padding);
    var best = x[(plane * params.h + first_row - params.padding) * params.w + first_column - params.padding];
    var place = vec4<u32>((first_row - top) * params.kernel + first_column - left);
    for (var row = first_row; row < rows; row++) {
        let start = (plane * params.h + row - params.padding) * params.w;
        for (var column = first_column; column < columns; column++) {
            let v = x[start + column - params.padding];
            let higher = v > best;
            best = select(best, v, higher);
            place = select(place, vec4<u32>((row - top) * params.kernel + column - left), higher);
        }
    }
    y[i] = best;
    places[i] = vec2<u32>(place.x | (place.y << 16u), place.z | (place.w << 16u));
}
