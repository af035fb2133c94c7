//! Workgroup-memory tiles for GPUs and for adapters without a fixed subgroup size.

use super::epilogue::Epilogue;
use super::{Conv2d, Weights};
use crate::gpu::{Binding, Dispatch, Recording};
use crate::kernels::tile::{Operand, Tile};
use crate::kernels::{Tensor, reduce};

/// Workgroups of 64 x 64 that gradient-to-weight asks for, the most parts, and the pixels that a part has at
/// least: they fix the number of parts by the shape alone, so that every adapter adds in the same order.
const GRAD_WEIGHT_GROUPS: usize = 1024;
const GRAD_WEIGHT_PARTS: usize = 256;
const GRAD_WEIGHT_PIXELS: usize = 256;

pub fn conv2d(
    recording: &mut Recording,
    conv: &Conv2d,
    x: Tensor,
    w: Weights,
    epilogue: &Epilogue,
    y: Tensor,
) {
    let rows = conv.output.n * conv.output.pixels();
    let tile = Tile::choose(recording.facts(), rows, conv.output.c, 1);
    let column_tiles = tile.column_tiles(conv.output.c);
    let mut bindings = vec![Binding::Read(x.slice), Binding::Read(w.slice), Binding::Write(y.slice)];
    let defines =
        epilogue.bind(tile.defines(recording.facts(), Operand::AlongK, Operand::Across), &mut bindings);
    recording.dispatch(Dispatch {
        shader: "conv/conv2d",
        defines,
        bindings,
        immediates: [&[rows as u32, conv.weight().k() as u32][..], &geometry(conv), &[column_tiles as u32]]
            .concat(),
        grid: recording.grid(tile.row_tiles(rows) * column_tiles),
        flops: conv.flops(),
        bytes: bytes(conv) + epilogue.bytes(),
    });
}

pub fn conv2d_grad_input(recording: &mut Recording, conv: &Conv2d, dy: Tensor, w: Weights, dx: Tensor) {
    let classes = conv.stride * conv.stride;
    let rows = conv.input.n * conv.input.h.div_ceil(conv.stride) * conv.input.w.div_ceil(conv.stride);
    let tile = Tile::choose(recording.facts(), rows, conv.input.c, classes);
    let (row_tiles, column_tiles) = (tile.row_tiles(rows), tile.column_tiles(conv.input.c));
    let tiles = row_tiles * column_tiles * classes as u64;
    recording.dispatch(Dispatch {
        shader: "conv/conv2d_grad_input",
        defines: tile.defines(recording.facts(), Operand::AlongK, Operand::AlongKFetchedByK),
        bindings: vec![Binding::Read(dy.slice), Binding::Read(w.slice), Binding::Write(dx.slice)],
        immediates: [
            &[conv.input.n as u32][..],
            &geometry(conv),
            &[row_tiles as u32, column_tiles as u32, tiles as u32],
        ]
        .concat(),
        grid: recording.grid(tiles),
        flops: conv.flops(),
        bytes: bytes(conv),
    });
}

pub fn conv2d_grad_weight(recording: &mut Recording, conv: &Conv2d, x: Tensor, dy: Tensor, dw: Weights) {
    let pixels = conv.output.n * conv.output.pixels();
    let (rows, columns) = (conv.weight().k(), conv.output.c);
    let (part_pixels, parts) = split(pixels, rows, columns);
    let sums =
        if parts == 1 { dw.slice } else { recording.scratch("dw parts", parts as u64 * dw.slice.bytes) };
    let tile = Tile::choose(recording.facts(), rows, columns, parts);
    let (row_tiles, column_tiles) = (tile.row_tiles(rows), tile.column_tiles(columns));
    let tiles = row_tiles * column_tiles * parts as u64;
    recording.dispatch(Dispatch {
        shader: "conv/conv2d_grad_weight",
        defines: tile.defines(recording.facts(), Operand::AcrossFetchedByK, Operand::AcrossFetchedByK),
        bindings: vec![Binding::Read(x.slice), Binding::Read(dy.slice), Binding::Write(sums)],
        immediates: [
            &[pixels as u32, part_pixels as u32][..],
            &geometry(conv),
            &[row_tiles as u32, column_tiles as u32, tiles as u32],
        ]
        .concat(),
        grid: recording.grid(tiles),
        flops: conv.flops(),
        bytes: bytes(conv) + (parts as u64 - 1) * dw.slice.bytes,
    });
    if parts > 1 {
        reduce::sum_parts(recording, sums, parts, dw.slice);
    }
}

/// Pixels of a part and the number of parts of gradient-to-weight.
fn split(pixels: usize, rows: usize, columns: usize) -> (usize, usize) {
    let groups = rows.div_ceil(64) * columns.div_ceil(64);
    let most = GRAD_WEIGHT_PARTS.min(pixels.div_ceil(GRAD_WEIGHT_PIXELS)).max(1);
    let wanted = GRAD_WEIGHT_GROUPS.div_ceil(groups.max(1)).min(most);
    let part = pixels.div_ceil(wanted).next_multiple_of(16);
    (part, pixels.div_ceil(part))
}

/// The words that all three directions share: channel groups, both image sizes, kernel, stride, padding.
fn geometry(conv: &Conv2d) -> [u32; 9] {
    [
        conv.input.c4(),
        conv.output.c4(),
        conv.input.h,
        conv.input.w,
        conv.output.h,
        conv.output.w,
        conv.kernel,
        conv.stride,
        conv.padding,
    ]
    .map(|v| v as u32)
}

fn bytes(conv: &Conv2d) -> u64 {
    conv.input.bytes() + conv.output.bytes() + conv.weight().bytes()
}
