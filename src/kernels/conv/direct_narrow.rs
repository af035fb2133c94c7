//! Direct 3x3 convolutions with stride 1 and few output channels, for the software class: too few for Winograd's transforms
//! to pay, and for the 32 columns of a tile.

use super::Conv2d;
use super::epilogue::Epilogue;
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, TextureId};
use crate::kernels::lanes::{NARROW, wide};
use crate::kernels::{Shape, Tensor};

/// Lines of outputs that a lane has: with eight, 5.3 ms instead of 4.8 (16 channels, 64 images of 32 x 32).
const LINES: usize = 4;

/// Whether a convolution of this kernel, stride and padding to `output` runs this way, on `lanes` lanes: an eighth of its tiles may lie outside of
/// the image; with more, tiles of rows, which cross lines, are faster. More padding than 2 would leave less than none for the gradient.
pub fn applies(lanes: usize, conv: &Conv2d, output: Shape) -> bool {
    let tiled = output.w.next_multiple_of(lanes) * output.h.next_multiple_of(LINES);
    (conv.kernel, conv.stride) == (3, 1)
        && conv.padding <= 2
        && output.c4() <= NARROW
        && 8 * output.pixels() >= 7 * tiled
}

/// Forward: see `super::conv2d`.
pub fn conv2d(
    recording: &mut Recording,
    conv: &Conv2d,
    (source, input): (TextureId, Shape),
    weights: TextureId,
    epilogue: &Epilogue,
    y: Tensor,
) {
    record(recording, conv, (source, input, conv.padding), (weights, 0, 1), epilogue, y);
}

/// Gradient to the input, from weights that are transposed: the taps in reverse, over dy with the rest of the padding.
pub fn conv2d_grad_input(
    recording: &mut Recording,
    conv: &Conv2d,
    upstream: TextureId,
    weights: TextureId,
    dx: Tensor,
) {
    let source = (upstream, conv.output, 2 - conv.padding);
    record(recording, conv, source, (weights, 8, -1), &Epilogue::default(), dx);
}

fn record(
    recording: &mut Recording,
    conv: &Conv2d,
    (source, input, padding): (TextureId, Shape, usize),
    (weights, first_tap, tap_step): (TextureId, u32, i32),
    epilogue: &Epilogue,
    out: Tensor,
) {
    let lanes = recording.facts().lanes();
    let (tiles_line, lines) = (out.shape.w.div_ceil(lanes), out.shape.h.div_ceil(LINES));
    let tiles = out.shape.n * lines * tiles_line;
    let mut bindings = vec![Binding::Texture(source), Binding::Texture(weights), Binding::Write(out.slice)];
    let defines = Defines::new()
        .with("LANES", lanes)
        .with("LINES", LINES)
        .with("COLUMNS4", out.shape.c4())
        .with("WIDE", wide(tiles));
    let defines = epilogue.bind(defines, &mut bindings);
    let mut immediates: Vec<u32> = [tiles, lines * tiles_line, tiles_line].map(|v| v as u32).to_vec();
    immediates.extend([input.c4(), input.h, input.w, padding].map(|v| v as u32));
    immediates.extend([out.shape.h as u32, out.shape.w as u32, first_tap, tap_step as u32]);
    recording.dispatch(Dispatch {
        shader: "conv/direct_narrow",
        defines,
        bindings,
        immediates,
        grid: recording.grid(tiles as u64),
        flops: conv.flops(),
        bytes: input.bytes() + conv.weight().bytes() + out.shape.bytes() + epilogue.bytes(),
    });
}
