// What conv/direct_narrow and winograd/narrow are told, and the memory that they work on.
struct Params {
    tiles: u32, tiles_image: u32, tiles_line: u32,
    c4: u32, height: u32, width: u32, padding: u32,
    out_height: u32, out_width: u32, first_tap: u32, tap_step: i32,
#if STATISTICS
    parts: u32, first_part: u32,
#endif
}
var<immediate> params: Params;
@group(0) @binding(0) var source: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var weights: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> out: array<vec2<u64>>;
