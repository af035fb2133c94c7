// dw[o, i, kh, kw] = Σ over n, oh, ow of x[n, i, oh·s + kh − p, ow·s + kw − p] · dy[n, o, oh, ow], one part of the pixels:
// rows = tap · 4·I4 + i, the sum runs over the part's output pixels, columns = output channels.
// bindings 0: x NC4HW4 [vec4 over i], 1: dy NC4HW4 [vec4 over o], 2: parts, each in panel order.
// Grid: one workgroup for each BM x BN tile of each part, column tiles first, then row tiles, then parts.
// Roofline: flops of the forward direction; x and dy are read once for each tile of columns and of rows.
#import gemm/tile

struct Params {
    pixels: u32, part_pixels: u32, i4: u32, o4: u32,
    in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    kernel: u32, stride: u32, padding: u32,
    row_tiles: u32, column_tiles: u32, tiles: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec4<f32>>;

@compute @workgroup_size(${THREADS})
fn conv2d_grad_weight(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      place: Place) {
    let local = place.local;
    let tile = group.x + group.y * groups.x;
    if tile >= params.tiles { return; }
    let column0 = tile % params.column_tiles * ${BN / 4}u;
    let row0 = tile / params.column_tiles % params.row_tiles * ${BM / 4}u;
    let part = tile / params.column_tiles / params.row_tiles;
    let first = part * params.part_pixels;
    let end = min(first + params.part_pixels, params.pixels);
    let rows4 = params.kernel * params.kernel * params.i4;
    let out_pixels = params.out_h * params.out_w;
    let in_pixels = params.in_h * params.in_w;

    // Neighbouring invocations fetch neighbouring pixels.
    let my_k = local % ${BK}u;
    let my_unit = local / ${BK}u;
#for u in 0..UNITS_A
    let row4_${u} = row0 + my_unit + ${u * (THREADS / BK)}u;
    let channel_${u} = row4_${u} % params.i4 * in_pixels;
    let tap_${u} = row4_${u} / params.i4;
    // A row beyond the last tap lies above every image.
    let dh_${u} = select(-0x40000000, i32(tap_${u} / params.kernel) - i32(params.padding), row4_${u} < rows4);
    let dw_${u} = i32(tap_${u} % params.kernel) - i32(params.padding);
#end

    for (var p = first; ; p += ${BK}u) {
        // The next tiles travel to registers while the last ones are multiplied.
#for u in 0..UNITS_A
        var next_a_${u} = vec4<f32>(0.0);
#end
#for u in 0..UNITS_B
        var next_b_${u} = vec4<f32>(0.0);
#end
        let pixel = p + my_k;
        if pixel < end {
            let n = pixel / out_pixels;
            let at = pixel % out_pixels;
            let h0 = i32(at / params.out_w * params.stride);
            let w0 = i32(at % params.out_w * params.stride);
#for u in 0..UNITS_A
            let h_${u} = u32(h0 + dh_${u});
            let w_${u} = u32(w0 + dw_${u});
            if h_${u} < params.in_h && w_${u} < params.in_w {
                next_a_${u} = x[n * params.i4 * in_pixels + channel_${u} + h_${u} * params.in_w + w_${u}];
            }
#end
#for u in 0..UNITS_B
            let o4_${u} = column0 + my_unit + ${u * (THREADS / BK)}u;
            if o4_${u} < params.o4 { next_b_${u} = dy[(n * params.o4 + o4_${u}) * out_pixels + at]; }
#end
        }
        if p > first {
            multiply_tiles(place);
            workgroupBarrier();
        }
        if p >= end { break; }
#for u in 0..UNITS_A
        stage_a(my_k, my_unit + ${u * (THREADS / BK)}u, next_a_${u});
#end
#for u in 0..UNITS_B
        stage_b(my_k, my_unit + ${u * (THREADS / BK)}u, next_b_${u});
#end
        workgroupBarrier();
    }

    finish_sums(place);
    let rows = rows4 * 4u;
    let to = part * rows * params.o4;
#for j in 0..COLUMNS4
    let column4_${j} = column0 + local / ${ROW_THREADS}u + ${j * COLUMN_THREADS}u;
    if column4_${j} < params.o4 {
        let panel = column4_${j} / 8u;
        let lanes = min(8u, params.o4 - panel * 8u);
        let base = to + panel * 8u * rows + column4_${j} % 8u;
#for i in 0..ROWS
        let row_${i} = 4u * row0 + tile_row_${i}(local);
        if row_${i} < rows { parts[base + row_${i} * lanes] = acc_${i}_${j}; }
#end
    }
#end
}
