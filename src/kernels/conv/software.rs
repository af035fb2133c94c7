//! Storage-texture variants for adapters that run on the CPU: one subgroup of eight lanes, or four, in a workgroup,
//! tiles of 32 rows and of four columns a lane, operands read through textures because a texture load is the cheapest load there is
//! (one call without branches for eight lanes of four floats).

use super::epilogue::Epilogue;
use super::statistics::PartialStatistics;
use super::{Conv2d, WeightShape, Weights, narrow};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Job, Recording, Slice, TextureId};
use crate::kernels::lanes::{NARROW, round, wide};
use crate::kernels::{Shape, Tensor, reduce};

const WORKGROUP: u32 = 64;
/// What weights with input and output exchanged are called in recordings.
const TRANSPOSED: &str = "transposed weights";
/// Rows of a tile.
const TILE: usize = 32;
/// Rows of a lane of a tile whose lanes have all columns.
const NARROW_ROWS: usize = 8;
/// Row groups of a lane, at most, in a gradient to the weights whose lanes have all columns.
const MOST_ROW_GROUPS: usize = 5;
/// What stays in the second-level cache of the CPUs at hand. Decides loop orders and how a gradient to the weights is split:
/// another number gives other bits.
const CACHE_BYTES: u64 = 1 << 20;
/// Of the parts of a weight gradient: what every adapter can bind.
const PARTS_BYTES: u64 = 128 << 20;

/// Which pixels of the source an output sees. Along either axis, with first + shift = offset · step + tap, the output first + u · step sees
/// at its tap number tap + t · step the source at u · mul + offset + t · dir. Outputs with the same `first` on both axes are a class, of
/// which there are step².
struct Geometry {
    step: usize,
    shift: i32,
    mul: usize,
    dir: i32,
}

/// Forward: see `super::conv2d`.
pub fn conv2d(
    recording: &mut Recording,
    conv: &Conv2d,
    x: Tensor,
    w: Weights,
    epilogue: &Epilogue,
    y: Tensor,
) {
    let source = recording.as_texture("conv2d x", x.slice);
    let weights = recording.once_for(&[w.slice], |recording| recording.as_texture("conv2d w", w.slice));
    if narrow::applies(recording.facts(), conv, conv.output) {
        return narrow::conv2d(recording, conv, (source, x.shape), weights, epilogue, y);
    }
    let geometry = Geometry { step: 1, shift: -(conv.padding as i32), mul: conv.stride, dir: 1 };
    implicit_gemm(recording, conv, &geometry, (source, conv.input), weights, epilogue, y);
}

/// Gradient to the input: with stride s, the pixels of one class (row mod s, column mod s) see the same taps,
/// so each class is a convolution of its own with those taps only; one launch does all.
pub fn conv2d_grad_input(recording: &mut Recording, conv: &Conv2d, dy: Tensor, w: Weights, dx: Tensor) {
    let weights = transpose_weights(recording, w);
    let source = recording.as_texture("conv2d dy", dy.slice);
    if narrow::applies(recording.facts(), conv, conv.input) {
        return narrow::conv2d_grad_input(recording, conv, source, weights, dx);
    }
    let geometry = Geometry { step: conv.stride, shift: conv.padding as i32, mul: 1, dir: -1 };
    implicit_gemm(recording, conv, &geometry, (source, conv.output), weights, &Epilogue::default(), dx);
}

fn implicit_gemm(
    recording: &mut Recording,
    conv: &Conv2d,
    g: &Geometry,
    (source, source_shape): (TextureId, Shape),
    weights: TextureId,
    epilogue: &Epilogue,
    out: Tensor,
) {
    // Of the largest class: that of the first pixel.
    let rows = out.shape.n * out.shape.h.div_ceil(g.step) * out.shape.w.div_ceil(g.step);
    let classes = g.step * g.step;
    let narrow = out.shape.c4() <= NARROW;
    let lanes = recording.facts().lanes();
    let (row_tiles, strips) = match narrow {
        true => (rows.div_ceil(NARROW_ROWS * lanes), 1),
        false => (rows.div_ceil(TILE), out.shape.c4().div_ceil(lanes)),
    };
    let k = conv.taps() * source_shape.c4() * 4;
    let weight_bytes = (out.shape.c4() * k * 16) as u64;
    // Panels outermost re-read the activations for each panel but keep one panel in the cache; rows
    // outermost read the activations once, which pays only while all strips fit.
    let columns_outer = weight_bytes > CACHE_BYTES / 2;
    let defines = Defines::new()
        .with("LANES", lanes)
        .with("ROW_GROUPS", if narrow { NARROW_ROWS } else { TILE / lanes })
        .with("WIDE", wide((rows + NARROW_ROWS * lanes + g.step).max(row_tiles * strips * classes)));
    let i = |v: i32| v as u32;
    let u = |v: usize| v as u32;
    let mut bindings = vec![Binding::Texture(source), Binding::Texture(weights), Binding::Write(out.slice)];
    let mut defines = epilogue.bind(defines, &mut bindings);
    let mut immediates = vec![
        u(out.shape.n),
        u(source_shape.c4()),
        u(source_shape.h),
        u(source_shape.w),
        u(out.shape.c4()),
        u(out.shape.h),
        u(out.shape.w),
        u(conv.kernel),
        u(g.step),
        i(g.shift),
        u(g.mul),
        i(g.dir),
        u(row_tiles),
        u(strips),
        u32::from(columns_outer),
    ];
    let whole = !narrow && g.step == 1 && rows.is_multiple_of(TILE);
    let statistics = PartialStatistics::asked_for(recording, out, whole, TILE);
    if let Some(statistics) = &statistics {
        defines = statistics.bind(defines, &mut bindings, &mut immediates, 0);
    }
    recording.dispatch(Dispatch {
        shader: if narrow { "conv/implicit_gemm_narrow" } else { "conv/implicit_gemm" },
        defines: match narrow {
            true => defines.with("COLUMNS4", out.shape.c4()),
            false => defines.with("ROUND", round(source_shape.c4())),
        },
        bindings,
        immediates,
        grid: recording.grid((row_tiles * strips * classes) as u64),
        flops: conv.flops(),
        bytes: source_shape.bytes()
            + weight_bytes
            + out.shape.bytes()
            + epilogue.bytes()
            + statistics.as_ref().map_or(0, PartialStatistics::bytes),
    });
    if let Some(statistics) = statistics {
        statistics.keep(recording, out);
    }
}

/// A gradient to the weights in parts of a few images, which are summed in order afterwards.
pub struct Parts {
    /// One gradient for each part.
    pub dw: Slice,
    /// The size of each.
    pub shape: WeightShape,
    pub count: usize,
    /// Images of a part; the last may have fewer.
    pub images: usize,
}

impl Parts {
    /// Bytes of all.
    pub fn bytes(&self) -> u64 {
        self.count as u64 * self.shape.bytes()
    }
}

/// Gradient to the weights. How many parts there are follows from the shape alone.
pub fn conv2d_grad_weight(recording: &mut Recording, conv: &Conv2d, x: Tensor, dy: Tensor, dw: Weights) {
    let images = if is_linear(conv) { 1 } else { conv.input.n };
    let operand_bytes = conv.input.bytes() + conv.output.bytes();
    let per_image = operand_bytes / images as u64;
    let images_part = ((CACHE_BYTES / per_image.max(1)) as usize).clamp(1, images);
    // No more parts than make their sum cheap beside the products (fewer bytes than the operands have), and than one
    // binding holds.
    let most = (operand_bytes.min(PARTS_BYTES) / dw.shape.bytes().max(1)).clamp(1, 64) as usize;
    let images_part = images_part.max(images.div_ceil(most));
    let count = images.div_ceil(images_part);
    let operands = (recording.as_texture("conv2d x", x.slice), recording.as_texture("conv2d dy", dy.slice));
    let mut parts = Parts { dw: dw.slice, shape: dw.shape, count, images: images_part };
    if count > 1 {
        parts.dw = recording.scratch("weight gradient parts", parts.bytes());
    }
    match narrow::GradWeightTiling::of(recording.facts(), conv) {
        Some(tiling) => narrow::conv2d_grad_weight(recording, conv, operands, &parts, tiling),
        None => grad_weight(recording, conv, operands, &parts),
    }
    if count > 1 {
        reduce::sum_parts(recording, parts.dw, count, dw.slice);
    }
}

/// Whether a convolution is a linear layer, whose rows are then the pixels of one image. A stride goes from pixel to pixel
/// of one image, not from row to row.
fn is_linear(conv: &Conv2d) -> bool {
    conv.input.pixels() == 1 && conv.output.pixels() == 1 && conv.kernel == 1
}

fn grad_weight(
    recording: &mut Recording,
    conv: &Conv2d,
    (source, upstream): (TextureId, TextureId),
    parts: &Parts,
) {
    let flat = is_linear(conv);
    let stride = if flat { 1 } else { conv.stride };
    let (i, o) = (conv.input, conv.output);
    let (images, out_h, out_w, width) = if flat { (1, 1, o.n, i.n) } else { (i.n, o.h, o.w, i.w) };
    let (x_strides, dy_strides) = if flat {
        ([0, 1, i.c4()], [0, 1, o.c4()])
    } else {
        ([i.c4() * i.pixels(), i.pixels(), 1], [o.c4() * o.pixels(), o.pixels(), 1])
    };
    let groups = parts.shape.taps() * parts.shape.i4();
    let u = |v: usize| v as u32;
    let narrow = o.c4() <= NARROW;
    let lanes = recording.facts().lanes();
    let defines = Defines::new().with("LANES", lanes).with("WHOLE_LINES", out_w % 4 == 0);
    let (shader, defines, row_tiles) = if narrow {
        // Tiles of equal size, with few idle lanes.
        let tiles = groups.div_ceil(lanes * MOST_ROW_GROUPS);
        let row_groups = groups.div_ceil(lanes * tiles);
        let defines = defines.with("COLUMNS4", o.c4()).with("ROW_GROUPS", row_groups).with("ROUND", 1);
        ("conv/grad_weight_narrow", defines.with("WIDE", wide(out_h * out_w + 4)), tiles)
    } else {
        let defines = defines.with("ROUND", if out_w % 8 == 0 { 2 } else { 1 }).with("RUNS", !flat);
        ("conv/grad_weight", defines, groups.div_ceil(TILE / 4))
    };
    recording.dispatch(Dispatch {
        shader,
        defines,
        bindings: vec![Binding::Texture(source), Binding::Texture(upstream), Binding::Write(parts.dw)],
        immediates: vec![
            u(images),
            u(parts.images),
            u(out_h),
            u(out_w),
            u(i.h),
            u(width),
            u(stride),
            u(conv.padding),
            u(conv.kernel),
            u(i.c4()),
            u(groups),
            u(x_strides[0]),
            u(x_strides[1]),
            u(x_strides[2]),
            u(o.c4()),
            u(dy_strides[0]),
            u(dy_strides[1]),
            u(dy_strides[2]),
            u(parts.shape.texels()),
        ],
        grid: [u(row_tiles), u(o.c4().div_ceil(if narrow { NARROW } else { lanes })), u(parts.count)],
        flops: conv.flops(),
        bytes: i.bytes() + o.bytes() + parts.bytes(),
    });
}

/// `t[i, tap, o] = w[o, tap, i]`, both in panel order, as a texture: made again only where something wrote to w.
pub fn transpose_weights(recording: &mut Recording, w: Weights) -> TextureId {
    let how = w.shape.sizes();
    if let Some(texture) = recording.derived(TRANSPOSED, w.slice, how) {
        return texture;
    }
    let texture = recording.once_for(&[w.slice], |recording| transpose(recording, w));
    recording.keep_derived(TRANSPOSED, w.slice, how, texture);
    texture
}

fn transpose(recording: &mut Recording, w: Weights) -> TextureId {
    let turned = WeightShape { o: w.shape.i, i: w.shape.o, kernel: w.shape.kernel };
    let invocations = w.shape.taps() * w.shape.i4() * w.shape.o4();
    let transposed = recording.scratch(TRANSPOSED, turned.bytes());
    let texture = recording.texture(TRANSPOSED, turned.texels() as u64);
    recording.job(Job {
        shader: "conv/transpose_weights",
        defines: Defines::new().with("WIDE", wide(invocations)),
        workgroup: WORKGROUP,
        from: w.slice,
        to: transposed,
        shown: Some(texture),
        numbers: [w.shape.taps(), w.shape.i4(), w.shape.o4(), 0, 0].map(|v| v as u32),
        invocations: invocations as u64,
        flops: 0,
        bytes: w.shape.bytes() + turned.bytes(),
    });
    texture
}
