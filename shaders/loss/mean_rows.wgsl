// The mean of the first `rows` values, in a fixed order: 64 strided sums, then a tree.
// binding 0: values [f32], 1: mean [f32, 1]. Grid: one workgroup. Roofline: memory, 4 bytes a row.
struct Params { rows: u32 }
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn mean_rows(@builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var i = local; i < params.rows; i += 64u) { sum += values[i]; }
    sums[local] = sum;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if local < half { sums[local] += sums[local + half]; }
    }
    if local == 0u { mean[0] = sums[0] / f32(params.rows); }
}
