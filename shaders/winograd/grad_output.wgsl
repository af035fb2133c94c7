// dM = A dY Aᵀ of every tile of 4 x 4 gradients of outputs.
// binding 0: dy, NC4HW4 texels; 1: dM [36][blocks][o4][32 tiles]. Tiles behind the last one are zero.
// Grid: o4 x blocks, so that neighbours write next to one another; one invocation for each tile of a block. Roofline: memory, 36/16 of dy written.
#import common/divide
#import common/texel
#import common/pack64
#import winograd/transform

struct Params {
    tiles: u32, tiles_image: u32, tiles_line: u32, blocks: u32,
    o4: u32, height: u32, width: u32, first: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var dy: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> dm: array<vec2<u64>>;

@compute @workgroup_size(32)
fn grad_output(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
#import winograd/tile
    let base = params.first + (n * params.o4 + group.x) * params.height * params.width;
#for i in 0..4
    let row_${i} = select(OUTSIDE, base + (first_h + ${i}u) * params.width,
        first_h + ${i}u < params.height && tile < params.tiles);
#end
#for j in 0..4
    let column_${j} = select(OUTSIDE, first_w + ${j}u, first_w + ${j}u < params.width);
    let t_${j} = grad_output_transform(Four(
#for i in 0..4
        textureLoad(dy, at(row_${i} + column_${j})),
#end
    ));
#end
    let to = (group.y * params.o4 + group.x) * 32u + local;
    let step = params.blocks * params.o4 * 32u;
    let p_0 = to;
#for k in 1..36
    let p_${k} = p_${k - 1} + step;
#end
#for i in 0..6
    let m_${i} = grad_output_transform(Four(t_0[${i}], t_1[${i}], t_2[${i}], t_3[${i}]));
#for j in 0..6
    dm[p_${i * 6 + j}] = pack64(m_${i}[${j}]);
#end
#end
}
