// dM = A dY Aᵀ of every tile of 4 x 4 outputs.
// binding 0: dy, NC4HW4 texels; 1: dM [36][tiles, filled up to whole blocks][o4]; zero behind the last tile.
// Grid: tiles x o4, one invocation each, channels next to one another. Roofline: memory, 36/16 of dy written.
#import common/grid
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

@compute @workgroup_size(${WORKGROUP})
fn grad_output(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) local: u32) {
    let index = linear_index(group, groups, local);
    let tile = index / params.o4;
    let o = index - tile * params.o4;
    if tile >= params.blocks * 32u { return; }
    let n = tile / params.tiles_image;
    let within = tile - n * params.tiles_image;
    let line = within / params.tiles_line;
    let h0 = line * 4u;
    let w0 = (within - line * params.tiles_line) * 4u;
    let base = params.first + (n * params.o4 + o) * params.height * params.width;
#for i in 0..4
    let row_${i} = select(OUTSIDE, base + (h0 + ${i}u) * params.width,
        h0 + ${i}u < params.height && tile < params.tiles);
#end
#for j in 0..4
    let column_${j} = select(OUTSIDE, w0 + ${j}u, w0 + ${j}u < params.width);
    let t_${j} = grad_output_transform(Four(
#for i in 0..4
        textureLoad(dy, at(row_${i} + column_${j})),
#end
    ));
#end
    let step = params.blocks * 32u * params.o4;
#for i in 0..6
    let m_${i} = grad_output_transform(Four(t_0[${i}], t_1[${i}], t_2[${i}], t_3[${i}]));
#for j in 0..6
    dm[index + ${i * 6 + j}u * step] = pack64(m_${i}[${j}]);
#end
#end
}
