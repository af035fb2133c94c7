// C = A · B, for adapters with subgroups of LANES, eight or four (CPU drivers).
// binding 0: A in blocks, 1: B in panels (gemm/pack_operand), 2: C [batch·rows·columns4].
// A strip is the columns of a tile, 4·LANES: a panel of B, or half of one. Tiles count through the strips of a band, then through the blocks, then through bands and matrices: the strips of a
// band stay in the second-level cache while the blocks of A pass by.
// Grid: one workgroup of LANES invocations for each tile of 32 x 4·LANES, bands filled up. Roofline: arithmetic, 2·k flops an element.
#import common/divide
#import common/texel
#import common/pack64
#import common/panels

struct Params { depth: u32, rows: u32, columns4: u32, blocks: u32, strips: u32, band: u32, bands: u32, batch: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var a_blocks: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b_panels: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> c: array<vec2<u64>>;

@compute @workgroup_size(${LANES})
fn matmul_software(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) lane: u32) {
    let tile = group.x + group.y * groups.x;
    let row_of_band = divide(tile, params.band);
    let band = divide(row_of_band, params.blocks);
    let block = row_of_band - band * params.blocks;
    let matrix = divide(band, params.bands);
    let strip = (band - matrix * params.bands) * params.band + (tile - row_of_band * params.band);
    if matrix >= params.batch || strip >= params.strips { return; }
    let first_k = 0u;
    let end_k = params.depth;
    let first_a = (matrix * params.blocks + block) * params.depth * 32u;
    let panels = (params.strips + ${8 / LANES - 1}u) / ${8 / LANES}u;
    let first_b = (matrix * panels + strip / ${8 / LANES}u) * params.depth * 32u + strip % ${8 / LANES}u * ${LANES}u + lane;
#import common/product32
    let column4 = strip * ${LANES}u + lane;
    if column4 >= params.columns4 { return; }
    let row = block * 32u;
    let to = (matrix * params.rows + row) * params.columns4 + column4;
#for r in 0..32
    if row + ${r}u < params.rows { c[to + ${r}u * params.columns4] = pack64(c${r}); }
#end
}
