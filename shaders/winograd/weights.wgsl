// U = G g Gᵀ of every pair of channels.
// binding 0: w, panels (WeightShape) of a 3x3 kernel; 1: U [36][panels][i][8 lanes], the operand B of common/product32.
// Grid: one invocation for each (i, texel of o), panels filled up to eight texels. Roofline: memory, 36/9 of w written.
#import common/grid
#import common/divide
#import common/texel
#import common/pack64
#import winograd/transform

struct Params { rows: u32, o4: u32, panels: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var w: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> u: array<vec2<u64>>;

@compute @workgroup_size(${WORKGROUP})
fn weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    let lane = index & 7u;
    let panel = divide(index >> 3u, params.rows);
    let i = (index >> 3u) - panel * params.rows;
    if panel >= params.panels { return; }
    let lanes = min(8u, params.o4 - panel * 8u);
    let start = select(OUTSIDE, panel * 72u * params.rows + i * lanes + lane, lane < lanes);
    let step = params.rows * lanes;
#for a in 0..3
#for b in 0..3
    let g_${a}_${b} = textureLoad(w, at(start + ${a * 3 + b}u * step));
#end
#end
#for b in 0..3
    let t_${b} = weight_transform(g_0_${b}, g_1_${b}, g_2_${b});
#end
    let u_step = params.panels * params.rows * 8u;
    let p_0 = index;
#for k in 1..36
    let p_${k} = p_${k - 1} + u_step;
#end
#for a in 0..6
    let u_${a} = weight_transform(t_0[${a}], t_1[${a}], t_2[${a}]);
#for b in 0..6
    u[p_${a * 6 + b}] = pack64(u_${a}[${b}]);
#end
#end
}
