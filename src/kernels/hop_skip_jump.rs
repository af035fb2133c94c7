//! HopSkipJump in L2: start images, points of segments, queries around a point, the gradient's direction from their
//! labels, steps and distances, for many images at once.
//!
//! Tensors hold one image a row. A table says what each row of work does ([`Row`]), so that one program serves any
//! choice of images. Every result depends on its own row alone, in a fixed order: it is the same bits whatever else is
//! in the table.
//!
//! Source: J. Chen, M. I. Jordan, M. J. Wainwright, "HopSkipJumpAttack: a query-efficient decision-based attack",
//! S&P 2020, algorithms 1 and 2, equations 9, 12 and 15.

use super::planes::WORKGROUP;
use super::{Shape, Tensor};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use bytemuck::{Pod, Zeroable};

/// One row of work; the twin of `shaders/hop_skip_jump/row.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Row {
    /// The image that is attacked.
    pub slot: u32,
    /// Which draw ([`uniform_images`], [`directions`]), which row of the other operand ([`interpolate`],
    /// [`distances`]), or how many queries ([`accumulate`]).
    pub number: u32,
    /// Row of the result; the first query of [`accumulate`].
    pub output: u32,
    /// a, ε, δ or m of the formula.
    pub scale: f32,
}

impl Row {
    /// A row of the table without work.
    pub const NOTHING: Row = Row { slot: u32::MAX, number: 0, output: 0, scale: 0.0 };
}

/// A table of [`Row`]s: `slice` holds `count` of them.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    pub slice: Slice,
    pub count: usize,
}

/// Where random numbers come from: `key` holds the two words of a phase's key, `images` one u32 a slot, the image's own
/// number. Draw `number` of an image is keyed by Threefry(key, (image, number)).
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    pub key: Slice,
    pub images: Slice,
}

/// The values that a pixel may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelRange {
    pub low: f32,
    pub high: f32,
}

/// `y[output] = low + (high − low)·u`, u uniform in [0, 1).
pub fn uniform_images(recording: &mut Recording, rows: Rows, draws: Draws, range: PixelRange, y: Tensor) {
    let words = image_words(rows, y.shape, range);
    let bindings = [Binding::Read(rows.slice), Binding::Read(draws.key), Binding::Read(draws.images)];
    each_texel(recording, rows, "hop_skip_jump/uniform_images", &bindings, y, words, 2, 1);
}

/// `y[output] = (1 − scale)·x[slot] + scale·b[number]`; exact at 0 and 1.
pub fn interpolate(recording: &mut Recording, rows: Rows, x: Tensor, b: Tensor, y: Tensor) {
    let bindings = [Binding::Read(rows.slice), Binding::Read(x.slice), Binding::Read(b.slice)];
    let words = vec![rows.count as u32, row_texels(y.shape) as u32];
    each_texel(recording, rows, "hop_skip_jump/interpolate", &bindings, y, words, 3, 3);
}

/// `y[output] = clip(x[slot] + scale·g/‖g‖)`, g standard normal.
pub fn directions(
    recording: &mut Recording,
    rows: Rows,
    draws: Draws,
    range: PixelRange,
    x: Tensor,
    y: Tensor,
) {
    let words = image_words(rows, y.shape, range);
    let bindings = vec![
        Binding::Read(rows.slice),
        Binding::Read(draws.key),
        Binding::Read(draws.images),
        Binding::Read(x.slice),
        Binding::Write(y.slice),
    ];
    each_row(recording, rows, "hop_skip_jump/directions", bindings, y.shape, words, 8, 4);
}

/// For each row: `plain[slot] += Σ u` and `signed[slot] += Σ φ u` over `number` queries from query `output` on, with
/// `u = (query − x[slot])/scale` and their signs φ (f32, one a query). At most `queries.shape.n` queries in all.
pub fn accumulate(
    recording: &mut Recording,
    rows: Rows,
    signs: Slice,
    x: Tensor,
    queries: Tensor,
    [signed, plain]: [Tensor; 2],
) {
    let texels = row_texels(x.shape);
    let elements = queries.shape.elements() as u64;
    recording.dispatch(Dispatch {
        shader: "hop_skip_jump/accumulate",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![
            Binding::Read(rows.slice),
            Binding::Read(signs),
            Binding::Read(x.slice),
            Binding::Read(queries.slice),
            Binding::Write(signed.slice),
            Binding::Write(plain.slice),
        ],
        immediates: vec![rows.count as u32, texels as u32],
        grid: recording.grid(((rows.count * texels) as u64).div_ceil(u64::from(WORKGROUP))),
        flops: 5 * elements,
        bytes: queries.shape.bytes() + 5 * rows.count as u64 * texels as u64 * 16,
    });
}

/// `v[slot] = w/‖w‖` with `w = signed[slot] − scale·plain[slot]`, and `norms[output] = ‖w‖` (f32). Where the norm is
/// zero, v is not finite.
pub fn gradient_direction(
    recording: &mut Recording,
    rows: Rows,
    [signed, plain]: [Tensor; 2],
    v: Tensor,
    norms: Slice,
) {
    let bindings = vec![
        Binding::Read(rows.slice),
        Binding::Read(signed.slice),
        Binding::Read(plain.slice),
        Binding::Write(v.slice),
        Binding::Write(norms),
    ];
    let words = vec![rows.count as u32, row_texels(v.shape) as u32];
    each_row(recording, rows, "hop_skip_jump/gradient_direction", bindings, v.shape, words, 7, 5);
}

/// `y[output] = clip(x[slot] + scale·v[slot])`.
pub fn step(recording: &mut Recording, rows: Rows, range: PixelRange, x: Tensor, v: Tensor, y: Tensor) {
    let bindings = [Binding::Read(rows.slice), Binding::Read(x.slice), Binding::Read(v.slice)];
    let words = image_words(rows, y.shape, range);
    each_texel(recording, rows, "hop_skip_jump/step", &bindings, y, words, 2, 3);
}

/// `norms[output] = ‖b[number] − x[slot]‖₂` (f32).
pub fn distances(recording: &mut Recording, rows: Rows, x: Tensor, b: Tensor, norms: Slice) {
    let bindings = vec![
        Binding::Read(rows.slice),
        Binding::Read(x.slice),
        Binding::Read(b.slice),
        Binding::Write(norms),
    ];
    let words = vec![rows.count as u32, row_texels(x.shape) as u32];
    each_row(recording, rows, "hop_skip_jump/distances", bindings, x.shape, words, 3, 2);
}

/// Texels of one image.
fn row_texels(shape: Shape) -> usize {
    shape.c4() * shape.pixels()
}

fn image_words(rows: Rows, shape: Shape, range: PixelRange) -> Vec<u32> {
    let sizes = [rows.count, row_texels(shape), shape.pixels(), shape.c].map(|size| size as u32);
    [&sizes[..], &[range.low.to_bits(), range.high.to_bits()]].concat()
}

/// A kernel with one invocation for each texel of each row, which reads `bindings` and writes `y`.
#[allow(clippy::too_many_arguments)]
fn each_texel(
    recording: &mut Recording,
    rows: Rows,
    shader: &'static str,
    bindings: &[Binding],
    y: Tensor,
    immediates: Vec<u32>,
    flops_each: u64,
    passes: u64,
) {
    let texels = (rows.count * row_texels(y.shape)) as u64;
    recording.dispatch(Dispatch {
        shader,
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: [bindings, &[Binding::Write(y.slice)]].concat(),
        immediates,
        grid: recording.grid(texels.div_ceil(u64::from(WORKGROUP))),
        flops: flops_each * texels * 4,
        bytes: passes * texels * 16,
    });
}

/// A kernel with one workgroup a row, or one invocation where a row has fewer texels than a workgroup invocations.
#[allow(clippy::too_many_arguments)]
fn each_row(
    recording: &mut Recording,
    rows: Rows,
    shader: &'static str,
    bindings: Vec<Binding>,
    shape: Shape,
    immediates: Vec<u32>,
    flops_each: u64,
    passes: u64,
) {
    let row = row_texels(shape);
    // From the shape alone, so that the order of every sum is the same on all adapters.
    let alone = row < WORKGROUP as usize;
    let defines = match alone {
        true => Defines::new().with("ALONE", 1).with("LANES", 1),
        false => Defines::new().with("LANES", WORKGROUP),
    };
    let groups = if alone { rows.count.div_ceil(WORKGROUP as usize) } else { rows.count };
    let texels = (rows.count * row) as u64;
    recording.dispatch(Dispatch {
        shader,
        defines: defines.with("WORKGROUP", WORKGROUP),
        bindings,
        immediates,
        grid: recording.grid(groups as u64),
        flops: flops_each * texels * 4,
        bytes: passes * texels * 16,
    });
}
