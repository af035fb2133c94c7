// What conv/implicit_gemm and conv/implicit_gemm_narrow are told, the memory that they work on, and which outputs see which taps.
#import common/divide

struct Params {
    images: u32, c4: u32, height: u32, width: u32,
    columns4: u32, out_height: u32, out_width: u32,
    kernel: u32, step: u32, shift: i32, mul: i32, dir: i32,
    // For conv/implicit_gemm alone.
    row_tiles: u32, strips: u32, columns_outer: u32,
#if STATISTICS
    parts: u32, first_part: u32,
#endif
}
var<immediate> params: Params;
@group(0) @binding(0) var source: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var w: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> out: array<vec2<u64>>;

// The outputs first, first + step, … along one axis: how many they are, and with first + shift = offset · step + tap the first of the taps
// that they see; of those there are `taps`, `step` apart.
struct Axis { first: u32, count: u32, tap: u32, taps: u32, offset: i32 }

fn axis_of(first: u32, length: u32) -> Axis {
    let shifted = i32(first) + params.shift;
    // Negative only where the step is 1.
    let offset = select(i32(divide(u32(shifted), params.step)), shifted, params.step == 1u);
    let tap = u32(shifted - offset * i32(params.step));
    let last = params.step - 1u;
    return Axis(first, divide(length + last - first, params.step), tap, divide(params.kernel + last - tap, params.step), offset);
}
