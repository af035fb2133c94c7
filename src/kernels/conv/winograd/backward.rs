//! Gradients: every step of the forward pass, backwards. What both gradients begin with, dM, is made once for both.

use super::{BLOCK, Chunk, Inputs, POSITIONS, Staged, WORKGROUP, direct_flops, product, transform_weights};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Job, Recording, Slice, TextureId};
use crate::kernels::Tensor;
use crate::kernels::conv::{Conv2d, Weights};
use crate::kernels::lanes::wide;
use std::ops::Range;

/// Of the gradient to transformed weights of one chunk, what is transformed back while it is in the cache.
const SLICE_BYTES: usize = 2560 << 10;

/// The gradients that are asked for: `to_input` is (w, dx), `to_weights` is (x, dw).
pub fn gradients(
    recording: &mut Recording,
    conv: &Conv2d,
    dy: Tensor,
    to_input: Option<(Weights, Tensor)>,
    to_weights: Option<(Tensor, Weights)>,
) {
    let (c4, o4) = (conv.input.c4(), conv.output.c4());
    let chunks = Chunk::of(recording.facts(), conv);
    // Of one chunk, a few channels at a time, which stay in the cache between product and transform: 512 channels take
    // three quarters of the time.
    let slice = match chunks.len() {
        1 => (SLICE_BYTES / (POSITIONS * o4 * 16) / BLOCK * BLOCK)
            .clamp(BLOCK, (c4 * 4).next_multiple_of(BLOCK)),
        _ => c4 * 4,
    };
    let largest = chunks.iter().map(Chunk::blocks).max().unwrap_or(0) * BLOCK * POSITIONS;
    let upstream = recording.as_texture("conv2d dy", dy.slice);
    let dm = Staged::new(recording, "winograd output gradient", largest * o4);
    let to_input = to_input.map(|(w, dx)| ToInput {
        u: transform_weights(recording, w),
        w,
        dv: Staged::new(recording, "winograd input gradient", largest * c4),
        dx,
        padding: conv.padding,
    });
    let mut to_weights = to_weights.map(|(x, dw)| ToWeights {
        inputs: Inputs::new(conv, x, &chunks),
        du: recording
            .scratch("winograd weight gradient", (chunks.len() * POSITIONS * slice * o4 * 16) as u64),
        chunks: chunks.len(),
        slice,
        x,
        dw,
    });
    for (index, chunk) in chunks.iter().enumerate() {
        transform_gradient(recording, chunk, (upstream, dy), &dm);
        if let Some(to_input) = &to_input {
            to_input.record(recording, chunk, &dm, dy);
        }
        if let Some(to_weights) = &mut to_weights {
            to_weights.record(recording, chunk, index, &dm, dy);
        }
    }
}

/// dM = A dY Aᵀ of every tile of `chunk`.
fn transform_gradient(
    recording: &mut Recording,
    chunk: &Chunk,
    (upstream, dy): (TextureId, Tensor),
    dm: &Staged,
) {
    let o4 = dy.shape.c4();
    let mut immediates = chunk.tiling().to_vec();
    let first = chunk.first * o4 * dy.shape.pixels();
    immediates.extend([o4, dy.shape.h, dy.shape.w, first].map(|v| v as u32));
    recording.dispatch(Dispatch {
        shader: "winograd/grad_output",
        defines: Defines::new(),
        bindings: vec![Binding::Texture(upstream), Binding::Write(dm.buffer)],
        immediates,
        grid: [o4 as u32, chunk.blocks() as u32, 1],
        flops: 0,
        bytes: 16 * (chunk.texels(o4) + chunk.images * o4 * dy.shape.pixels()) as u64,
    });
    dm.copy(recording, chunk.texels(o4));
}

struct ToInput {
    u: TextureId,
    w: Weights,
    dv: Staged,
    dx: Tensor,
    padding: usize,
}

impl ToInput {
    /// dV = dM Uᵀ, and back to the images of `chunk`.
    fn record(&self, recording: &mut Recording, chunk: &Chunk, dm: &Staged, dy: Tensor) {
        let (shape, o4) = (self.dx.shape, dy.shape.c4());
        let c4 = shape.c4();
        product(recording, chunk, (dm.texture, o4), (self.u, self.w), (self.dv.buffer, c4), true);
        self.dv.copy(recording, chunk.texels(c4));
        // With the padding counted, blocks of pixels begin at 4t + 1: the tile t before the first pixel's, and how many.
        let first_tile = if self.padding == 0 { -1i32 } else { 0 };
        let blocks = |side: usize| {
            let last = (self.padding + side).saturating_sub(2) / 4;
            (last as i32 - first_tile + 1) as usize
        };
        let (lines, columns) = (blocks(shape.h), blocks(shape.w));
        let count = chunk.images * lines * columns;
        let [_, tiles_image, tiles_line, all] = chunk.tiling();
        let mut immediates = vec![tiles_image, tiles_line, tiles_image / tiles_line, all];
        immediates.extend([count, lines * columns, columns].map(|v| v as u32));
        immediates.push(first_tile as u32);
        let first = chunk.first * c4 * shape.pixels();
        immediates.extend([c4, shape.h, shape.w, self.padding, first].map(|v| v as u32));
        recording.dispatch(Dispatch {
            shader: "winograd/grad_input",
            defines: Defines::new(),
            bindings: vec![Binding::Texture(self.dv.texture), Binding::Write(self.dx.slice)],
            immediates,
            grid: [c4 as u32, count.div_ceil(BLOCK) as u32, 1],
            flops: 0,
            bytes: 16 * (chunk.texels(c4) + chunk.images * c4 * shape.pixels()) as u64,
        });
    }
}

struct ToWeights {
    inputs: Inputs,
    /// [chunk][36][i / 2][o4][2], of `slice` channels i.
    du: Slice,
    chunks: usize,
    slice: usize,
    x: Tensor,
    dw: Weights,
}

impl ToWeights {
    /// dU = Vᵀ dM of `chunk`, and behind the last chunk back to weights.
    fn record(&mut self, recording: &mut Recording, chunk: &Chunk, index: usize, dm: &Staged, dy: Tensor) {
        let v = self.inputs.transformed(recording, chunk);
        let rows = self.x.shape.c4() * 4;
        for first in (0..rows).step_by(self.slice) {
            let slice = first..(first + self.slice).min(rows);
            self.product(recording, (chunk, index), v, slice.clone(), dm, dy);
            if index + 1 == self.chunks {
                self.to_weights(recording, slice, dy.shape.c4());
            }
        }
    }

    fn product(
        &self,
        recording: &mut Recording,
        (chunk, index): (&Chunk, usize),
        v: TextureId,
        slice: Range<usize>,
        dm: &Staged,
        dy: Tensor,
    ) {
        let (c4, o4, rows) = (self.x.shape.c4(), dy.shape.c4(), slice.len());
        let texels = POSITIONS * rows * o4;
        let lanes = recording.facts().lanes();
        recording.dispatch(Dispatch {
            shader: "winograd/grad_product",
            defines: Defines::new().with("LANES", lanes),
            bindings: vec![Binding::Texture(v), Binding::Texture(dm.texture), Binding::Write(self.du)],
            immediates: [chunk.blocks(), c4, o4, index * texels, slice.start / 4, rows]
                .map(|v| v as u32)
                .to_vec(),
            grid: [rows.div_ceil(BLOCK), o4.div_ceil(lanes), POSITIONS].map(|v| v as u32),
            flops: direct_flops(chunk, slice.end.min(self.x.shape.c) - slice.start, dy.shape.c),
            bytes: 16 * (chunk.texels(rows / 4 + o4) + texels) as u64,
        });
    }

    /// dw of some channels, the chunks' parts summed in order.
    fn to_weights(&self, recording: &mut Recording, slice: Range<usize>, o4: usize) {
        let (rows, all_rows) = (slice.len(), self.x.shape.c4() * 4);
        let texels = self.chunks * POSITIONS * rows * o4;
        recording.job(Job {
            shader: "winograd/grad_weights",
            defines: Defines::new().with("WIDE", wide(rows * o4)),
            workgroup: WORKGROUP,
            from: self.du,
            to: self.dw.slice,
            shown: None,
            numbers: [rows, o4, self.chunks, slice.start, all_rows].map(|v| v as u32),
            invocations: (rows * o4) as u64,
            flops: 0,
            bytes: (texels * 16 + 9 * rows * o4 * 16) as u64,
        });
    }
}
