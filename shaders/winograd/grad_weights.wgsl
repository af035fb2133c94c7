// dw = Gᵀ dU G, summed over the chunks in order.
// binding 0: dU (winograd/grad_product) of `rows` channels i from first_row on; 1: dw, panels (WeightShape) of a 3x3 kernel.
// Grid: one invocation for each (i, texel of o). Roofline: memory, 36/9 of dw read for each chunk.
#import common/grid
#import common/divide
#import common/texel
#import common/pack64
#import winograd/transform

struct Params { rows: u32, o4: u32, chunks: u32, first_row: u32, all_rows: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var du: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> dw: array<vec2<u64>>;

@compute @workgroup_size(${WORKGROUP})
fn grad_weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    if index >= params.rows * params.o4 { return; }
    let i = divide(index, params.o4);
    let o = index - i * params.o4;
    let step = params.rows * params.o4;
#for a in 0..3
#for b in 0..3
    var w_${a}_${b} = vec4<f32>(0.0);
#end
#end
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        let p_0 = chunk * 36u * step + index;
#for k in 1..36
        let p_${k} = p_${k - 1} + step;
#end
#for b in 0..6
        let t_${b} = grad_weight_transform(Six(
#for a in 0..6
            textureLoad(du, at(p_${a * 6 + b})),
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
        if chunk + 1u >= params.chunks { break; }
    }
    let panel = o / 8u;
    let lanes = min(8u, params.o4 - panel * 8u);
    let to = panel * 72u * params.all_rows + (params.first_row + i) * lanes + o % 8u;
#for a in 0..3
#for b in 0..3
    dw[to + ${a * 3 + b}u * params.all_rows * lanes] = pack64(w_${a}_${b});
#end
#end
}
