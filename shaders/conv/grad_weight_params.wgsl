// What conv/grad_weight and conv/grad_weight_narrow are told, and the memory that they work on.
struct Params {
    images: u32, images_part: u32, out_h: u32, out_w: u32,
    height: u32, width: u32, stride: u32, padding: u32, kernel: u32,
    c4: u32, groups: u32, x_image: u32, x_group: u32, x_pixel: u32,
    columns4: u32, dy_image: u32, dy_group: u32, dy_pixel: u32, texels: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var dy: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read_write> dw: array<vec2<u64>>;
// A line that lies below every image, whatever is added to it.
const BELOW: i32 = 0x40000000;
