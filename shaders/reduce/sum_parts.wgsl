// y[i] = part[0][i] + part[1][i] + …, in this order: the second stage of split sums.
// binding 0: parts [count of parts][vec4], 1: y [vec4], 2: jobs [count, parts]. Grid: one invocation for each vec4. Roofline: memory.

#operand 0 part
#result 1 y
#import common/job

@compute @workgroup_size(${WORKGROUP})
fn sum_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) local: u32) {
    let job = job_of(group, groups, local);
    let count = job.numbers.x;
    let parts = job.numbers.y;
    if job.index >= count { return; }
    let first = job.read_from + job.index;
    var sum = load_part(first);
    for (var p = 1u; p < parts; p++) {
        sum += load_part(first + p * count);
        // Spares a turn without lanes (docs/kernels.md).
        if p + 1u >= parts { break; }
    }
    store_y(job.write_from + job.index, sum);
}
