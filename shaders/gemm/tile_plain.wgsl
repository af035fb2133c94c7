// gemm/tile in f32 arithmetic. The A tile is [k4][row], or with A_ALONG_ROWS [k][row4]; the B tile [k][column4], or with
// B_ALONG_K [k4][column]: turning a 4x4 block around in registers is free.
// An invocation owns ROWS rows and COLUMNS4 texels of columns, spread over the tile so that neighbouring invocations
// read neighbouring texels of A and the same texel of B. Its accumulators are private and start at zero.
#if ROUNDED
#import gemm/round_half
#endif

#if A_ALONG_ROWS
var<workgroup> tile_a: array<vec4<f32>, ${BK * A_STRIDE}>;
#else
var<workgroup> tile_a: array<vec4<f32>, ${BK / 4 * A_STRIDE}>;
#endif
#if B_ALONG_K
var<workgroup> tile_b: array<vec4<f32>, ${BK / 4 * B_STRIDE}>;
#else
var<workgroup> tile_b: array<vec4<f32>, ${BK * B_STRIDE}>;
#endif
#for i in 0..ROWS
#for j in 0..COLUMNS4
var<private> acc_${i}_${j}: vec4<f32>;
#end
#end

// Which invocation of the workgroup.
struct Place { @builtin(local_invocation_index) local: u32 }

#for i in 0..ROWS
fn tile_row_${i}(local: u32) -> u32 {
#if A_ALONG_ROWS
    return 4u * (local % ${ROW_THREADS}u + ${i / 4 * ROW_THREADS}u) + ${i % 4}u;
#else
    return local % ${ROW_THREADS}u + ${i * ROW_THREADS}u;
#endif
}
#end

// `k` and `row` count texels where the texel lies along them.
fn stage_a(k: u32, row: u32, texel: vec4<f32>) {
#if ROUNDED
    tile_a[k * ${A_STRIDE}u + row] = round_half(texel);
#else
    tile_a[k * ${A_STRIDE}u + row] = texel;
#endif
}
fn stage_b(k: u32, column: u32, texel: vec4<f32>) {
#if ROUNDED
    tile_b[k * ${B_STRIDE}u + column] = round_half(texel);
#else
    tile_b[k * ${B_STRIDE}u + column] = texel;
#endif
}

// Sums are where they belong.
fn finish_sums(place: Place) {}

fn multiply_tiles(place: Place) {
    let row = place.local % ${ROW_THREADS}u;
    let column = place.local / ${ROW_THREADS}u;
    for (var k4 = 0u; k4 < ${BK / 4}u; k4++) {
#if !A_ALONG_ROWS
#for i in 0..ROWS
        let a_${i} = tile_a[k4 * ${A_STRIDE}u + row + ${i * ROW_THREADS}u];
#end
#endif
#if B_ALONG_K
#for j in 0..COLUMNS4
        let at_${j} = k4 * ${B_STRIDE}u + 4u * (column + ${j * COLUMN_THREADS}u);
#for e in 0..4
        let t_${j}_${e} = tile_b[at_${j} + ${e}u];
#end
#end
#endif
#for q in 0..4
#for j in 0..COLUMNS4
#if B_ALONG_K
        let b_${q}_${j} = vec4<f32>(t_${j}_0.${q:xyzw}, t_${j}_1.${q:xyzw}, t_${j}_2.${q:xyzw}, t_${j}_3.${q:xyzw});
#else
        let b_${q}_${j} = tile_b[(k4 * 4u + ${q}u) * ${B_STRIDE}u + column + ${j * COLUMN_THREADS}u];
#endif
#end
#if A_ALONG_ROWS
#for g in 0..ROWS / 4
        let a_${q}_${g} = tile_a[(k4 * 4u + ${q}u) * ${A_STRIDE}u + row + ${g * ROW_THREADS}u];
#end
#endif
#for i in 0..ROWS
#for j in 0..COLUMNS4
#if A_ALONG_ROWS
        acc_${i}_${j} = fma(vec4<f32>(a_${q}_${i / 4}.${i % 4:xyzw}), b_${q}_${j}, acc_${i}_${j});
#else
        acc_${i}_${j} = fma(vec4<f32>(a_${i}.${q:xyzw}), b_${q}_${j}, acc_${i}_${j});
#endif
#end
#end
#end
    }
}
