// Mean and sum of squared deviations of each share of x (common/planes), shifted by the share's first value
// so that a large mean costs no precision.
// binding 0: x [vec4], 1: partial means, then partial sums of squared deviations [2][groups][parts] vec4.
// Grid: one invocation a share. Roofline: memory, one read of x.
#import common/grid
#import common/planes

struct Params { planes: Planes }
var<immediate> params: Params;
#operand 0 x
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>;

@compute @workgroup_size(${WORKGROUP})
fn batch_norm_partials(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                       @builtin(local_invocation_index) local: u32) {
    let planes = params.planes;
    let share = share_of(linear_index(group, groups, local), planes);
    if share.first >= planes.images { return; }
    let step = planes.lanes;
    let first_pixel = min(share.begin, planes.pixels - 1u);
    let pivot = load_x((share.first * planes.groups + share.group) * planes.pixels + first_pixel);
    var sum = vec4<f32>(0.0);
    var squares = vec4<f32>(0.0);
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        var p = share.begin;
        for (; p + 3u * step < share.stop; p += 4u * step) {
            let d0 = load_x(start + p) - pivot;
            let d1 = load_x(start + p + step) - pivot;
            let d2 = load_x(start + p + 2u * step) - pivot;
            let d3 = load_x(start + p + 3u * step) - pivot;
            sum += (d0 + d1) + (d2 + d3);
            squares += (d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3);
            // Spares a turn without lanes (docs/kernels.md).
            if p + 7u * step >= share.stop { p += 4u * step; break; }
        }
        for (; p < share.stop; p += step) {
            let d = load_x(start + p) - pivot;
            sum += d;
            squares += d * d;
            if p + step >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
    let count = f32(max(part_texels(share.part - share.group * planes.parts, planes), 1u));
    partials[share.part] = pivot + sum / count;
    partials[planes.groups * planes.parts + share.part] =
        max(squares - sum * (sum / count), vec4<f32>(0.0));
}
