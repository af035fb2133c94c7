// y[n, o, oh, ow] = Σ over kh, kw, i of x[n, i, oh·s + kh − p, ow·s + kw − p] · w[o, i, kh, kw], as an implicit product:
// rows = output pixels, k = tap · 4·I4 + i, columns = output channels.
// bindings 0: x NC4HW4 [vec4 over i], 1: w in panel order [vec4 over o], 2: y NC4HW4; then those of conv/epilogue. Grid: one workgroup for each BM x BN
// tile, column tiles first. Roofline: 2·pixels·O·I·k² flop; x is read k²·O4·4 / BN times, mostly from cache.
#import gemm/tile
#import conv/tap

struct Params {
    rows: u32, k: u32, i4: u32, o4: u32,
    in_h: u32, in_w: u32, out_h: u32, out_w: u32,
    kernel: u32, stride: u32, padding: u32,
    column_tiles: u32,
}
var<immediate> params: Params;
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

// Four channels of x under a tap of the pixel whose tap (0, 0) lies at (h0, w0); zeros outside the image and the sum.
fn fetch_x(tap: Tap, image: u32, h0: i32, w0: i32) -> vec4<f32> {
    let h = u32(h0 + i32(tap.h));
    let w = u32(w0 + i32(tap.w));
    if tap.h >= params.kernel || h >= params.in_h || w >= params.in_w { return vec4<f32>(0.0); }
    return x[image + (tap.channel * params.in_h + h) * params.in_w + w];
}
#import conv/epilogue

@compute @workgroup_size(${THREADS})
fn conv2d(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          place: Place) {
    let local = place.local;
    let tile = group.x + group.y * groups.x;
    let column0 = tile % params.column_tiles * ${BN / 4}u;
    let row0 = tile / params.column_tiles * ${BM}u;
    if row0 >= params.rows { return; }
    let out_pixels = params.out_h * params.out_w;

    let a_row = local % ${BM}u;
    let a_k4 = local / ${BM}u;
    let pixel = row0 + a_row;
    let at = pixel % out_pixels;
    let image = pixel / out_pixels * params.i4 * params.in_h * params.in_w;
    // A row beyond the last pixel lies above every image.
    let h0 = select(-0x40000000, i32(at / params.out_w * params.stride) - i32(params.padding), pixel < params.rows);
    let w0 = i32(at % params.out_w * params.stride) - i32(params.padding);
    var tap = advance(Tap(0u, 0u, 0u), a_k4, params.i4, params.kernel);

    let b_column = local % ${BN / 4}u;
    let b_k = local / ${BN / 4}u;
    let o4 = column0 + b_column;
    let panel = o4 / 8u;
    let lanes = min(8u, params.o4 - min(params.o4, panel * 8u));
    let b_base = panel * 8u * params.k + o4 % 8u;

    for (var k = 0u; ; k += ${BK}u) {
        // The next tiles travel to registers while the last ones are multiplied.
#for u in 0..UNITS_A
        var next_a_${u} = vec4<f32>(0.0);
#end
#for u in 0..UNITS_B
        var next_b_${u} = vec4<f32>(0.0);
#end
        if k < params.k {
#for u in 0..UNITS_A
            next_a_${u} = fetch_x(tap, image, h0, w0);
            tap = advance(tap, ${THREADS / BM}u, params.i4, params.kernel);
#end
#for u in 0..UNITS_B
            let k_${u} = k + b_k + ${u * (THREADS / (BN / 4))}u;
            if o4 < params.o4 && k_${u} < params.k { next_b_${u} = weights[b_base + k_${u} * lanes]; }
#end
        }
        if k > 0u {
            multiply_tiles(place);
            workgroupBarrier();
        }
        if k >= params.k { break; }
#for u in 0..UNITS_A
        stage_a(a_k4 + ${u * (THREADS / BM)}u, a_row, next_a_${u});
#end
#for u in 0..UNITS_B
        stage_b(b_k + ${u * (THREADS / (BN / 4))}u, b_column, next_b_${u});
#end
        workgroupBarrier();
    }

    finish_sums(place);
    let column4 = column0 + local / ${ROW_THREADS}u;
#for j in 0..COLUMNS4
    let by_${j} = affine(min(column4 + ${j * COLUMN_THREADS}u, params.o4 - 1u), params.o4);
#end
#for i in 0..ROWS
    let row_${i} = row0 + tile_row_${i}(local);
    if row_${i} < params.rows {
        let to = row_${i} / out_pixels * params.o4 * out_pixels + row_${i} % out_pixels;
#for j in 0..COLUMNS4
        if column4 + ${j * COLUMN_THREADS}u < params.o4 {
            let to_${j} = to + (column4 + ${j * COLUMN_THREADS}u) * out_pixels;
            y[to_${j}] = finish(acc_${i}_${j}, by_${j}, to_${j});
        }
#end
    }
#end
}
