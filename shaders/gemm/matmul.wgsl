// C = A·B, A·Bᵀ (B_ALONG_K) or Aᵀ·B (A_ALONG_ROWS), row-major with rows padded to whole texels, `batch` times. Long sums
// come in parts of `part_k` terms, a multiple of 16: the results of part 0 of the whole batch, then those of part 1, …
// bindings 0: A [vec4], 1: B [vec4], 2: C [vec4]. Grid: one workgroup for each BM x BN tile of C, column tiles first,
// then row tiles, then batch, then parts. Roofline: 2·M·N·K flop; A is read N / BN times and B M / BM times, mostly from cache.
// Rows and k outside a matrix are staged as zeros, so padding columns of C get exact zeros.
#import gemm/tile

struct Params { m: u32, n: u32, k: u32, part_k: u32, batch: u32, row_tiles: u32, column_tiles: u32, tiles: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>;

// Texel `column4` of row `row` of a matrix that starts at row `first`; zeros outside.
fn fetch_a(first: u32, row: u32, rows: u32, column4: u32, width: u32) -> vec4<f32> {
    if row >= rows || column4 >= width { return vec4<f32>(0.0); }
    return a[(first + row) * width + column4];
}

fn fetch_b(first: u32, row: u32, rows: u32, column4: u32, width: u32) -> vec4<f32> {
    if row >= rows || column4 >= width { return vec4<f32>(0.0); }
    return b[(first + row) * width + column4];
}

@compute @workgroup_size(${THREADS})
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          place: Place) {
    let local = place.local;
    let tile = group.x + group.y * groups.x;
    if tile >= params.tiles { return; }
    let column0 = tile % params.column_tiles * ${BN}u;
    let row0 = tile / params.column_tiles % params.row_tiles * ${BM}u;
    // Results lie by parts and matrices, operands by matrices alone.
    let result = tile / params.column_tiles / params.row_tiles;
    let matrix = result % params.batch;
    let first_k = result / params.batch * params.part_k;
    let end_k = min(first_k + params.part_k, params.k);
    let n4 = (params.n + 3u) / 4u;
    let k4 = (params.k + 3u) / 4u;
    let m4 = (params.m + 3u) / 4u;
    for (var k = first_k; ; k += ${BK}u) {
        // The next tiles travel to registers while the last ones are multiplied.
#for u in 0..UNITS_A
#if A_ALONG_ROWS
        let a_k_${u} = local / ${BM / 4}u + ${u * (THREADS / (BM / 4))}u;
        let a_row_${u} = local % ${BM / 4}u;
#else
        let a_k_${u} = local % ${BK / 4}u;
        let a_row_${u} = local / ${BK / 4}u + ${u * (THREADS / (BK / 4))}u;
#endif
        var next_a_${u} = vec4<f32>(0.0);
#end
#for u in 0..UNITS_B
#if B_ALONG_K
        let b_k_${u} = local % ${BK / 4}u;
        let b_column_${u} = local / ${BK / 4}u + ${u * (THREADS / (BK / 4))}u;
#else
        let b_k_${u} = local / ${BN / 4}u + ${u * (THREADS / (BN / 4))}u;
        let b_column_${u} = local % ${BN / 4}u;
#endif
        var next_b_${u} = vec4<f32>(0.0);
#end
        if k < end_k {
#for u in 0..UNITS_A
#if A_ALONG_ROWS
            next_a_${u} = fetch_a(matrix * params.k, k + a_k_${u}, params.k, row0 / 4u + a_row_${u}, m4);
#else
            next_a_${u} = fetch_a(matrix * params.m, row0 + a_row_${u}, params.m, k / 4u + a_k_${u}, k4);
#endif
#end
#for u in 0..UNITS_B
#if B_ALONG_K
            next_b_${u} = fetch_b(matrix * params.n, column0 + b_column_${u}, params.n, k / 4u + b_k_${u}, k4);
#else
            next_b_${u} = fetch_b(matrix * params.k, k + b_k_${u}, params.k, column0 / 4u + b_column_${u}, n4);
#endif
#end
        }
        if k > first_k {
            multiply_tiles(place);
            workgroupBarrier();
        }
        if k >= end_k { break; }
#for u in 0..UNITS_A
        stage_a(a_k_${u}, a_row_${u}, next_a_${u});
#end
#for u in 0..UNITS_B
        stage_b(b_k_${u}, b_column_${u}, next_b_${u});
#end
        workgroupBarrier();
    }
    finish_sums(place);
    let column4 = column0 / 4u + local / ${ROW_THREADS}u;
#for i in 0..ROWS
    let row_${i} = row0 + tile_row_${i}(local);
    if row_${i} < params.m {
#for j in 0..COLUMNS4
        if column4 + ${j * COLUMN_THREADS}u < n4 {
            c[(result * params.m + row_${i}) * n4 + column4 + ${j * COLUMN_THREADS}u] = acc_${i}_${j};
        }
#end
    }
#end
}
