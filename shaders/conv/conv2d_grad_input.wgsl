// dx[n, i, ih, iw] = Σ over kh, kw, o of dy[n, o, (ih + p − kh) / s, (iw + p − kw) / s] · w[o, i, kh, kw] over the taps whose
// divisions are exact and inside dy. Input pixels fall into s² classes by ((ih + p) % s, (iw + p) % s); all pixels of a
// class use the same taps kh = class + s·j, so each class is a dense product of its own:
// rows = its input pixels, k = (tap of the class) · 4·O4 + o, columns = input channels.
// bindings 0: dy NC4HW4 [vec4 over o], 1: w in panel order [vec4 over o], 2: dx NC4HW4. Grid: one workgroup for each
// BM x BN tile of the largest class, column tiles first, then row tiles, then classes. Roofline: flops of the forward
// direction, no multiplication with an inserted zero.
#import gemm/tile
#import conv/tap

struct Params {
    images: u32, i4: u32, o4: u32,
    in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    kernel: u32, stride: u32, padding: u32,
    row_tiles: u32, column_tiles: u32, tiles: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;

// Four channels of dy at (h0, w0) − tap; zeros outside the image and the sum.
fn fetch_dy(tap: Tap, taps_h: u32, image: u32, h0: u32, w0: u32) -> vec4<f32> {
    let h = h0 - tap.h;
    let w = w0 - tap.w;
    if tap.h >= taps_h || h >= params.out_h || w >= params.out_w { return vec4<f32>(0.0); }
    return dy[image + (tap.channel * params.out_h + h) * params.out_w + w];
}

// First coordinate of a class, and how many of `length` belong to it.
fn first_of(class_: u32) -> u32 {
    return (class_ + params.stride - params.padding % params.stride) % params.stride;
}
fn count_of(first: u32, length: u32) -> u32 {
    return (length + params.stride - 1u - first) / params.stride;
}

@compute @workgroup_size(${THREADS})
fn conv2d_grad_input(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     place: Place) {
    let local = place.local;
    let tile = group.x + group.y * groups.x;
    if tile >= params.tiles { return; }
    let column0 = tile % params.column_tiles * ${BN / 4}u;
    let row0 = tile / params.column_tiles % params.row_tiles * ${BM}u;
    let pair = tile / params.column_tiles / params.row_tiles;
    let class_h = pair / params.stride;
    let class_w = pair % params.stride;
    let first_h = first_of(class_h);
    let first_w = first_of(class_w);
    let class_width = count_of(first_w, params.in_w);
    let class_pixels = count_of(first_h, params.in_h) * class_width;
    let rows = params.images * class_pixels;
    if row0 >= rows { return; }
    let taps_h = (params.kernel + params.stride - 1u - class_h) / params.stride;
    let taps_w = (params.kernel + params.stride - 1u - class_w) / params.stride;
    let k_end = taps_h * taps_w * params.o4 * 4u;
    let panel_k = params.kernel * params.kernel * params.i4 * 4u;

    let a_row = local % ${BM}u;
    let a_k4 = local / ${BM}u;
    let pixel = row0 + a_row;
    let at = pixel % class_pixels;
    let image = pixel / class_pixels * params.o4 * params.out_h * params.out_w;
    // Tap 0 of the class meets dy at (input coordinate + p − class) / s. A row beyond the last pixel lies below every image.
    let h_exact = (first_h + at / class_width * params.stride + params.padding - class_h) / params.stride;
    let h0 = select(0x40000000u, h_exact, pixel < rows);
    let w0 = (first_w + at % class_width * params.stride + params.padding - class_w) / params.stride;

    let b_k4 = local % ${BK / 4}u;
    let b_column = local / ${BK / 4}u;
    var tap = Tap(0u, 0u, 0u);
    var b_tap = Tap(0u, 0u, 0u);
    if k_end > 0u {
        tap = advance(tap, a_k4, params.o4, taps_w);
        b_tap = advance(b_tap, b_k4, params.o4, taps_w);
    }

    for (var k = 0u; ; k += ${BK}u) {
        // The next tiles travel to registers while the last ones are multiplied.
#for u in 0..UNITS_A
        var next_a_${u} = vec4<f32>(0.0);
#end
#for u in 0..UNITS_B
        var next_b_${u} = vec4<f32>(0.0);
#end
        if k < k_end {
#for u in 0..UNITS_A
            next_a_${u} = fetch_dy(tap, taps_h, image, h0, w0);
            tap = advance(tap, ${THREADS / BM}u, params.o4, taps_w);
#end
            let panel = b_tap.channel / 8u;
            let lanes = min(8u, params.o4 - panel * 8u);
            let kernel_tap = (class_h + b_tap.h * params.stride) * params.kernel + class_w + b_tap.w * params.stride;
            let b_base = panel * 8u * panel_k + b_tap.channel % 8u + kernel_tap * params.i4 * 4u * lanes;
#for u in 0..UNITS_B
            let i_${u} = column0 * 4u + b_column + ${u * (THREADS / (BK / 4))}u;
            if b_tap.h < taps_h && i_${u} < params.i4 * 4u { next_b_${u} = weights[b_base + i_${u} * lanes]; }
#end
            b_tap = advance(b_tap, ${BK / 4}u, params.o4, taps_w);
        }
        if k > 0u {
            multiply_tiles(place);
            workgroupBarrier();
        }
        if k >= k_end { break; }
#for u in 0..UNITS_A
        stage_a(a_k4 + ${u * (THREADS / BM)}u, a_row, next_a_${u});
#end
#for u in 0..UNITS_B
        stage_b(b_k4, b_column + ${u * (THREADS / (BK / 4))}u, next_b_${u});
#end
        workgroupBarrier();
    }

    finish_sums(place);
    let in_pixels = params.in_h * params.in_w;
    let column4 = column0 + local / ${ROW_THREADS}u;
#for i in 0..ROWS
    let row_${i} = row0 + tile_row_${i}(local);
    if row_${i} < rows {
        let in_class = row_${i} % class_pixels;
        let h = first_h + in_class / class_width * params.stride;
        let w = first_w + in_class % class_width * params.stride;
        let to = row_${i} / class_pixels * params.i4 * in_pixels + h * params.in_w + w;
#for j in 0..COLUMNS4
        if column4 + ${j * COLUMN_THREADS}u < params.i4 {
            dx[to + (column4 + ${j * COLUMN_THREADS}u) * in_pixels] = acc_${i}_${j};
        }
#end
    }
#end
}
