// U = G g Gᵀ of every pair of channels.
// binding 0: w, panels (WeightShape) of a 3x3 kernel; 1: U [36][panels][i][8 lanes], the operand B of common/product32; 2: jobs [rows, o4, panels].
// Grid: one invocation for each (i, texel of o), panels filled up to eight texels. Roofline: memory, 36/9 of w written.
#import common/divide
#import winograd/transform

#operand 0 w
#result 1 u
#import common/job

@compute @workgroup_size(${WORKGROUP})
fn weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
    let job = job_of(group, groups, local);
    let rows = job.numbers.x;
    let o4 = job.numbers.y;
    let panels = job.numbers.z;
    if job.index >= 8u * rows * panels { return; }
    let lane = job.index & 7u;
    let panel = divide(job.index >> 3u, rows);
    let i = (job.index >> 3u) - panel * rows;
    let lanes = min(8u, o4 - panel * 8u);
    // Lanes beyond the last output repeat it, and make zeros of it.
    let real = select(0.0, 1.0, lane < lanes);
    let start = job.read_from + panel * 72u * rows + i * lanes + min(lane, lanes - 1u);
    let step = rows * lanes;
#for a in 0..3
#for b in 0..3
    let g_${a}_${b} = real * load_w(start + ${a * 3 + b}u * step);
#end
#end
#for b in 0..3
    let t_${b} = weight_transform(g_0_${b}, g_1_${b}, g_2_${b});
#end
    let u_step = panels * rows * 8u;
    let p_0 = job.write_from + job.index;
#for k in 1..36
    let p_${k} = p_${k - 1} + u_step;
#end
#for a in 0..6
    let u_${a} = weight_transform(t_0[${a}], t_1[${a}], t_2[${a}]);
#for b in 0..6
    store_u(p_${a * 6 + b}, u_${a}[${b}]);
#end
#end
}
