// dx = B dV Bᵀ, summed where tiles overlap, in blocks of 4 x 4 pixels. With the padding counted, a block begins one pixel
// behind its tile: it has rows 1 to 4 of that tile, row 5 of the tile before and row 0 of the tile behind; columns likewise.
// binding 0: dV (winograd/product with TRANSPOSED) [36][blocks][c4][32 tiles]; 1: dx, NC4HW4.
// Grid: c4 x groups of 32 blocks of pixels, one invocation each. Roofline: memory, 36/16 of dx read.
#import common/divide
#import common/texel
#import common/pack64
#import winograd/transform

struct Params {
    tiles_image: u32, tiles_line: u32, lines: u32, blocks: u32,
    // Blocks of pixels: all, of an image, of a line, and the tile of the first one.
    count: u32, count_image: u32, count_line: u32, first_tile: u32,
    c4: u32, height: u32, width: u32, padding: u32, first: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var dv: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read_write> dx: array<vec2<u64>>;

@compute @workgroup_size(32)
fn grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let index = group.y * 32u + local;
    if index >= params.count { return; }
    let n = divide(index, params.count_image);
    let within = index - n * params.count_image;
    let row = divide(within, params.count_line);
    // Tiles above and left of the first one wrap to large numbers.
    let line = row + params.first_tile;
    let column = within - row * params.count_line + params.first_tile;
    let step = params.blocks * params.c4 * 32u;
    // Where the tile and its neighbours lie: 0 before, 1 this one, 2 behind.
#for a in 0..3
#for b in 0..3
    let tile_${a}_${b} = n * params.tiles_image + (line + ${a}u - 1u) * params.tiles_line + (column + ${b}u - 1u);
    let at_${a}_${b} = select(OUTSIDE, ((tile_${a}_${b} >> 5u) * params.c4 + group.x) * 32u + (tile_${a}_${b} & 31u),
        line + ${a}u - 1u < params.lines && column + ${b}u - 1u < params.tiles_line);
#end
#end
    // Row r of the products is row 5 before, rows 0 to 5 of this tile, row 0 behind.
#for r in 0..8
    let x_${r} = grad_input_transform(
        textureLoad(dv, at(at_${(r + 5) / 6}_0 + ${(r + 5) % 6 * 6 + 5}u * step)),
        Six(
#for j in 0..6
            textureLoad(dv, at(at_${(r + 5) / 6}_1 + ${(r + 5) % 6 * 6 + j}u * step)),
#end
        ),
        textureLoad(dv, at(at_${(r + 5) / 6}_2 + ${(r + 5) % 6 * 6}u * step)),
    );
#end
    let h0 = line * 4u + 1u - params.padding;
    let w0 = column * 4u + 1u - params.padding;
    let to = params.first + (n * params.c4 + group.x) * params.height * params.width + h0 * params.width + w0;
#for j in 0..4
    let y_${j} = grad_input_transform(
        x_0[${j}], Six(x_1[${j}], x_2[${j}], x_3[${j}], x_4[${j}], x_5[${j}], x_6[${j}]), x_7[${j}],
    );
#end
#for i in 0..4
    if h0 + ${i}u < params.height {
#for j in 0..4
        if w0 + ${j}u < params.width { dx[to + ${i}u * params.width + ${j}u] = pack64(y_${j}[${i}]); }
#end
    }
#end
}
