//! Gradients: every step of the forward pass, backwards. What both gradients begin with, dM, is made once for both.

use super::{
    BLOCK, CHUNK_BYTES, Chunk, POSITIONS, Staged, WORKGROUP, direct_flops, most_images, product,
    transform_input, transform_weights,
};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice, TextureId};
use crate::kernels::Tensor;
use crate::kernels::conv::{Conv2d, Weights};

/// A chunk is at least this many times the gradient that it adds: smaller ones would write and sum more than they
/// transform.
const CHUNK_GRADIENTS: usize = 4;

/// The gradients that are asked for: `to_input` is (w, dx), `to_weights` is (x, dw).
pub fn gradients(
    recording: &mut Recording,
    conv: &Conv2d,
    dy: Tensor,
    to_input: Option<(Weights, Tensor)>,
    to_weights: Option<(Tensor, Weights)>,
) {
    let (c4, o4) = (conv.input.c4(), conv.output.c4());
    let texels = POSITIONS * c4 * 4 * o4;
    let least = if to_weights.is_some() { CHUNK_GRADIENTS * texels * 16 } else { 0 };
    let chunks = Chunk::all(dy.shape, most_images(dy.shape, c4 + o4, CHUNK_BYTES.max(least)));
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
    let to_weights = to_weights.map(|(x, dw)| ToWeights {
        source: recording.as_texture("conv2d x", x.slice),
        v: Staged::new(recording, "winograd input", largest * c4),
        du: recording.transient("winograd weight gradient", (chunks.len() * texels) as u64 * 16),
        texels,
        x,
        dw,
        padding: conv.padding,
    });
    for (index, chunk) in chunks.iter().enumerate() {
        transform_gradient(recording, chunk, (upstream, dy), &dm);
        if let Some(to_input) = &to_input {
            to_input.record(recording, chunk, &dm, dy);
        }
        if let Some(to_weights) = &to_weights {
            to_weights.record(recording, chunk, index, &dm, dy);
        }
    }
    if let Some(to_weights) = to_weights {
        to_weights.finish(recording, chunks.len(), o4);
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
    source: TextureId,
    v: Staged,
    /// [chunk][36][i][o4].
    du: Slice,
    /// Texels of one chunk's part of `du`.
    texels: usize,
    x: Tensor,
    dw: Weights,
    padding: usize,
}

impl ToWeights {
    /// dU = Vᵀ dM of `chunk`.
    fn record(&self, recording: &mut Recording, chunk: &Chunk, index: usize, dm: &Staged, dy: Tensor) {
        let (c4, o4) = (self.x.shape.c4(), dy.shape.c4());
        transform_input(recording, chunk, (self.source, self.x.shape), self.padding, &self.v);
        recording.dispatch(Dispatch {
            shader: "winograd/grad_product",
            defines: Defines::new(),
            bindings: vec![
                Binding::Texture(self.v.texture),
                Binding::Texture(dm.texture),
                Binding::Write(self.du),
            ],
            immediates: [chunk.blocks(), c4, o4, index * self.texels].map(|v| v as u32).to_vec(),
            grid: [c4.div_ceil(8) as u32, o4.div_ceil(8) as u32, POSITIONS as u32],
            flops: direct_flops(chunk, self.x.shape.c, dy.shape.c),
            bytes: 16 * (chunk.texels(c4 + o4) + self.texels) as u64,
        });
    }

    /// The chunks' parts summed in order, and back to weights.
    fn finish(&self, recording: &mut Recording, chunks: usize, o4: usize) {
        let rows = self.x.shape.c4() * 4;
        let summed = recording.as_texture("winograd weight gradient", self.du);
        recording.dispatch(Dispatch {
            shader: "winograd/grad_weights",
            defines: Defines::new().with("WORKGROUP", WORKGROUP),
            bindings: vec![Binding::Texture(summed), Binding::Write(self.dw.slice)],
            immediates: [rows, o4, chunks].map(|v| v as u32).to_vec(),
            grid: recording.grid((rows * o4).div_ceil(WORKGROUP as usize) as u64),
            flops: 0,
            bytes: (chunks * self.texels * 16) as u64 + self.dw.shape.bytes(),
        });
    }
}
