// What conv/implicit_gemm and conv/implicit_gemm_narrow are told, and the memory that they work on.
struct Params {
    rows: u32, rows_image: u32, rows_line: u32,
    c4: u32, height: u32, width: u32, source_image: u32,
    mul: i32, off_h: i32, off_w: i32, dir: i32,
    taps_h: u32, taps_w: u32, tap0: u32, tap_h: u32, tap_w: u32, k: u32,
    columns4: u32, out_pixels: u32, out_width: u32, out_step: u32, out_a: u32, out_b: u32,
    row_tiles: u32, strips: u32, columns_outer: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var source: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var w: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> out: array<vec2<u64>>;
