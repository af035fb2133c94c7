// Weights with input and output channels exchanged, for the gradient to the input: t[i, tap, o] = w[o, tap, i].
// binding 0: w, panels of [O][tap][I]; 1: t, panels of [I][tap][O] (WeightShape); 2: jobs [taps, i4, o4]. Grid: one invocation for each
// block of 4 x 4 channels of a tap. Roofline: memory.
#import common/divide

#operand 0 w
#result 1 t
#import common/job

@compute @workgroup_size(${WORKGROUP})
fn transpose_weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) local: u32) {
    let job = job_of(group, groups, local);
    let taps = job.numbers.x;
    let i4 = job.numbers.y;
    let o4 = job.numbers.z;
    if job.index >= taps * i4 * o4 { return; }
    let row = divide(job.index, o4);
    let o = job.index - row * o4;
    let tap = divide(row, i4);
    let i = row - tap * i4;
    let w_lanes = min(8u, o4 - o / 8u * 8u);
    let source = job.read_from + o / 8u * 8u * taps * i4 * 4u + (tap * i4 + i) * 4u * w_lanes + o % 8u;
    let a = load_w(source);
    let b = load_w(source + w_lanes);
    let c = load_w(source + 2u * w_lanes);
    let d = load_w(source + 3u * w_lanes);
    let t_lanes = min(8u, i4 - i / 8u * 8u);
    let to = job.write_from + i / 8u * 8u * taps * o4 * 4u + (tap * o4 + o) * 4u * t_lanes + i % 8u;
    store_t(to, vec4<f32>(a.x, b.x, c.x, d.x));
    store_t(to + t_lanes, vec4<f32>(a.y, b.y, c.y, d.y));
    store_t(to + 2u * t_lanes, vec4<f32>(a.z, b.z, c.z, d.z));
    store_t(to + 3u * t_lanes, vec4<f32>(a.w, b.w, c.w, d.w));
}
