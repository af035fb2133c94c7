// dw = Gᵀ dU G, summed over the chunks in order.
// binding 0: dU (winograd/grad_product) of `rows` channels i from first_row on; 1: dw, panels (WeightShape) of a 3x3 kernel;
// 2: jobs [rows, o4, chunks, first_row, all_rows].
// Grid: one invocation for each (i, texel of o), in the order of dU. Roofline: memory, 36/9 of dw read for each chunk.
#import common/divide
#import winograd/transform

#operand 0 du
#result 1 dw
#import common/job

@compute @workgroup_size(${WORKGROUP})
fn grad_weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let job = job_of(group, groups, local);
    let rows = job.numbers.x;
    let o4 = job.numbers.y;
    let chunks = job.numbers.z;
    let first_row = job.numbers.w;
    let all_rows = job.fifth;
    let step = rows * o4;
    if job.index >= step { return; }
    let pair = divide(job.index, 2u * o4);
    let place = job.index - pair * 2u * o4;
    let i = 2u * pair + (place & 1u);
    let o = place / 2u;
#for a in 0..3
#for b in 0..3
    var w_${a}_${b} = vec4<f32>(0.0);
#end
#end
    for (var chunk = 0u; chunk < chunks; chunk++) {
        let p_0 = job.read_from + chunk * 36u * step + job.index;
#for k in 1..36
        let p_${k} = p_${k - 1} + step;
#end
#for b in 0..6
        let t_${b} = grad_weight_transform(Six(
#for a in 0..6
            load_du(p_${a * 6 + b}),
#end
        ));
#end
#for a in 0..3
        let g_${a} = grad_weight_transform(Six(t_0[${a}], t_1[${a}], t_2[${a}], t_3[${a}], t_4[${a}], t_5[${a}]));
#for b in 0..3
        w_${a}_${b} += g_${a}[${b}];
#end
#end
        // Spares a turn without lanes (docs/kernels.md).
        if chunk + 1u >= chunks { break; }
    }
    let panel = o / 8u;
    let lanes = min(8u, o4 - panel * 8u);
    let to = job.write_from + panel * 72u * all_rows + (first_row + i) * lanes + o % 8u;
#for a in 0..3
#for b in 0..3
    store_dw(to + ${a * 3 + b}u * all_rows * lanes, w_${a}_${b});
#end
#end
}
