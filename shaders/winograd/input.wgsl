// V = Bᵀ d B of every tile of 6 x 6 inputs, for tiles of 4 x 4 outputs of a 3x3 convolution with stride 1.
// binding 0: x, NC4HW4 texels; 1: V [36][blocks][c4][32 tiles], the operand A of common/product32. Tiles are numbered
// through the images of the chunk; those behind the last one are zero.
// Grid: c4 x blocks, so that neighbours write next to one another; one invocation for each tile of a block. Roofline: memory, 36/16 of x written.
#import common/divide
#import common/texel
#import common/pack64
#import winograd/transform

struct Params {
    tiles: u32, tiles_image: u32, tiles_line: u32, blocks: u32,
    c4: u32, height: u32, width: u32, padding: u32, first: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> v: array<vec2<u64>>;

@compute @workgroup_size(32)
fn input(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
#import winograd/tile
    // Coordinates left of and above the image wrap to large ones.
    let h0 = first_h - params.padding;
    let w0 = first_w - params.padding;
    let base = params.first + (n * params.c4 + group.x) * params.height * params.width;
#for i in 0..6
    let row_${i} = select(OUTSIDE, base + (h0 + ${i}u) * params.width,
        h0 + ${i}u < params.height && tile < params.tiles);
#end
#for j in 0..6
    let column_${j} = select(OUTSIDE, w0 + ${j}u, w0 + ${j}u < params.width);
    let t_${j} = input_transform(Six(
#for i in 0..6
        textureLoad(x, at(row_${i} + column_${j})),
#end
    ));
#end
    let to = (group.y * params.c4 + group.x) * 32u + local;
    let step = params.blocks * params.c4 * 32u;
    let p_0 = to;
#for k in 1..36
    let p_${k} = p_${k - 1} + step;
#end
#for i in 0..6
    let v_${i} = input_transform(Six(t_0[${i}], t_1[${i}], t_2[${i}], t_3[${i}], t_4[${i}], t_5[${i}]));
#for j in 0..6
    v[p_${i * 6 + j}] = pack64(v_${i}[${j}]);
#end
#end
}
