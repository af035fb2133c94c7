// y_ij = â_i·b̂_j of normalised rows.
// binding 0: â [vec4, rows·depth], 1: b̂ [vec4, columns·depth], 2: y [f32, rows·4⌈columns/4⌉].
// Grid: one workgroup of 256 for each 64 x 64 tile. Roofline: compute, 2·depth·4 flops an element.
struct Params { depth: u32, row_count: u32, column_count: u32, columns4: u32, tile_columns: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> rows: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> columns: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<workgroup> staged_rows: array<vec4<f32>, 256>;
var<workgroup> staged_columns: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn cosine_matrix_tiled(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                       @builtin(local_invocation_index) local: u32) {
    let tile = group.x + group.y * groups.x;
    let tx = local % 16u;
    let ty = local / 16u;
    let depth = params.depth;
    let row_count = params.row_count;
    let column_count = params.column_count;
    let first_row = tile / params.tile_columns * 64u;
    let first_column = tile % params.tile_columns * 64u;
    if first_row >= row_count { return; }
#import common/product_tile
    let width = params.columns4 * 4u;
#for i in 0..4
#for j in 0..4
    if first_row + ty + ${i * 16}u < row_count && first_column + tx + ${j * 16}u < width {
        y[(first_row + ty + ${i * 16}u) * width + first_column + tx + ${j * 16}u] = c${i}_${j};
    }
#end
#end
}
