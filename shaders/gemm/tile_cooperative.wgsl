// gemm/tile on cooperative matrices of 16 x 16: operands rounded to f16 when they are staged, products added in f32.
// The A tile is [row][k4], or with A_ALONG_ROWS [k][row4]; the B tile [k][column4], or with B_ALONG_K [column][k4]: each a
// matrix in rows or in columns, as the hardware loads it. Two texels of padding a line spread lines over the memory banks.
// A subgroup owns FRAGMENT_ROWS x FRAGMENT_COLUMNS matrices of the result, SUBGROUP_COLUMNS subgroups lie side by side.
enable f16;
enable wgpu_cooperative_matrix;

#if A_ALONG_ROWS
var<workgroup> tile_a: array<vec4<f16>, ${BK * A_STRIDE}>;
#else
var<workgroup> tile_a: array<vec4<f16>, ${BM * A_STRIDE}>;
#endif
#if B_ALONG_K
var<workgroup> tile_b: array<vec4<f16>, ${BN * B_STRIDE}>;
#else
var<workgroup> tile_b: array<vec4<f16>, ${BK * B_STRIDE}>;
#endif
// Sixteen rows of the result on their way to the invocations that store them.
var<workgroup> band: array<vec4<f32>, ${16 * BN / 4}>;
#for i in 0..FRAGMENT_ROWS
#for j in 0..FRAGMENT_COLUMNS
var<private> sum_${i}_${j}: coop_mat16x16<f32, C>;
#end
#end
#for i in 0..ROWS
#for j in 0..COLUMNS4
var<private> acc_${i}_${j}: vec4<f32>;
#end
#end

// Which invocation of the workgroup, and of which subgroup.
struct Place { @builtin(local_invocation_index) local: u32, @builtin(subgroup_id) subgroup: u32 }

#for i in 0..ROWS
fn tile_row_${i}(local: u32) -> u32 { return local % 16u + ${16 * i}u; }
#end

// `k` and `row` count texels where the texel lies along them. What f16 cannot hold becomes infinite.
fn stage_a(k: u32, row: u32, texel: vec4<f32>) {
#if A_ALONG_ROWS
    tile_a[k * ${A_STRIDE}u + row] = vec4<f16>(texel);
#else
    tile_a[row * ${A_STRIDE}u + k] = vec4<f16>(texel);
#endif
}
fn stage_b(k: u32, column: u32, texel: vec4<f32>) {
#if B_ALONG_K
    tile_b[column * ${B_STRIDE}u + k] = vec4<f16>(texel);
#else
    tile_b[k * ${B_STRIDE}u + column] = vec4<f16>(texel);
#endif
}

fn multiply_tiles(place: Place) {
    let row = place.subgroup / ${SUBGROUP_COLUMNS}u * ${16 * FRAGMENT_ROWS}u;
    let column = place.subgroup % ${SUBGROUP_COLUMNS}u * ${16 * FRAGMENT_COLUMNS}u;
#for k in 0..BK / 16
#for i in 0..FRAGMENT_ROWS
#if A_ALONG_ROWS
    let a_${k}_${i} = coopLoad<coop_mat16x16<f16, A>>(&tile_a[${16 * k * A_STRIDE}u + row / 4u + ${4 * i}u], ${A_STRIDE}u);
#else
    let a_${k}_${i} = coopLoadT<coop_mat16x16<f16, A>>(&tile_a[(row + ${16 * i}u) * ${A_STRIDE}u + ${4 * k}u], ${A_STRIDE}u);
#endif
#end
#for j in 0..FRAGMENT_COLUMNS
#if B_ALONG_K
    let b_${k}_${j} = coopLoad<coop_mat16x16<f16, B>>(&tile_b[(column + ${16 * j}u) * ${B_STRIDE}u + ${4 * k}u], ${B_STRIDE}u);
#else
    let b_${k}_${j} = coopLoadT<coop_mat16x16<f16, B>>(&tile_b[${16 * k * B_STRIDE}u + column / 4u + ${4 * j}u], ${B_STRIDE}u);
#endif
#for i in 0..FRAGMENT_ROWS
    sum_${i}_${j} = coopMultiplyAdd(a_${k}_${i}, b_${k}_${j}, sum_${i}_${j});
#end
#end
#end
}

fn finish_sums(place: Place) {
    let row = place.local % 16u;
    let column = place.local / 16u;
    let owner = place.subgroup / ${SUBGROUP_COLUMNS}u;
    let first = place.subgroup % ${SUBGROUP_COLUMNS}u * ${4 * FRAGMENT_COLUMNS}u;
#for i in 0..ROWS
    if owner == ${i / FRAGMENT_ROWS}u {
#for j in 0..FRAGMENT_COLUMNS
        coopStoreT(sum_${i % FRAGMENT_ROWS}_${j}, &band[first + ${4 * j}u], ${BN / 4}u);
#end
    }
    workgroupBarrier();
#for j in 0..COLUMNS4
    acc_${i}_${j} = band[row * ${BN / 4}u + column + ${j * COLUMN_THREADS}u];
#end
    workgroupBarrier();
#end
}
