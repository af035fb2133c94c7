//! Winograd's F(4 x 4, 3 x 3) for 3x3 convolutions with stride 1 on the software class: 36 products of transformed
//! tiles and transformed weights take the place of 144 (A. Lavin, S. Gray, CVPR 2016, section 4), with the points
//! 0, ±5/8, ±3/2 and infinity, which round half as much as 0, ±1, ±2.
//!
//! A few images at a time go through transform, products and transform back, so that what lies between stays in
//! a cache, or more where the weights are many: the same number in every direction, which follows from the shape
//! alone. Transformed inputs of the forward pass serve the gradient to the weights too, where they are not too
//! large to be kept.

use super::epilogue::Epilogue;
use super::statistics::PartialStatistics;
use super::{Conv2d, Weights};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Facts, Job, Recording, Slice, TextureId};
use crate::kernels::lanes::{NARROW, round, wide};
use crate::kernels::{Shape, Tensor};

mod backward;
pub use backward::gradients;

const WORKGROUP: u32 = 64;
/// Outputs of a tile, on a side.
const TILE: usize = 4;
/// Products of a tile: (4 + 3 − 1)².
const POSITIONS: usize = 36;
/// Tiles of a block, the rows of a product.
const BLOCK: usize = 32;
/// Transformed inputs and products of a chunk, which are read soon after they are written, from a cache that others use
/// too. 1.3 to 40 MB were tried.
const CHUNK_BYTES: usize = 10 << 20;
/// A chunk is at least this many times the gradient that it adds: smaller ones would write and sum more than they transform.
const CHUNK_GRADIENTS: usize = 4;
/// Transformed inputs of a convolution that are kept for its gradient, at most; of all chunks or of none.
const MOST_KEPT_BYTES: usize = 64 << 20;
/// What transformed weights are called in recordings.
const TRANSFORMED: &str = "winograd weights";
/// What transformed inputs are called there.
const TRANSFORMED_INPUT: &str = "winograd input";
/// Where a lane can have all channels of one side, transforms that pass through memory do not pay (`super::narrow` has others).
const LEAST_CHANNELS: usize = 4 * NARROW + 1;

/// Whether `conv` runs this way.
pub fn applies(facts: &Facts, conv: &Conv2d) -> bool {
    let (i, o) = (conv.input.c, conv.output.c);
    facts.texture_kernels()
        && !facts.exact_conv
        && (conv.kernel, conv.stride) == (3, 1)
        && conv.padding <= 2
        && i.min(o) >= LEAST_CHANNELS
        && largest_bytes(conv) <= largest_operand(facts)
}

/// The largest buffer that `conv` takes however it is cut: transformed weights, their gradient, or the smallest chunk in
/// either direction.
fn largest_bytes(conv: &Conv2d) -> u64 {
    let (c4, o4) = (conv.input.c4(), conv.output.c4());
    let weights = POSITIONS * c4 * 4 * o4.next_multiple_of(8);
    let images = most_images(conv.output, c4 + o4, 0);
    let tiles = images * conv.output.w.div_ceil(TILE) * conv.output.h.div_ceil(TILE);
    let chunk = POSITIONS * tiles.next_multiple_of(BLOCK) * c4.max(o4);
    weights.max(chunk) as u64 * 16
}

/// What `facts` allow a buffer that is bound, and shown as a texture.
fn largest_operand(facts: &Facts) -> u64 {
    facts.max_binding_bytes.min(facts.max_buffer_bytes).min(facts.most_texels() * 16)
}

/// Images that go through together, and where they begin.
#[derive(Clone, Copy)]
struct Chunk {
    first: usize,
    images: usize,
    /// Tiles of an image: all, and in a line.
    tiles_image: usize,
    tiles_line: usize,
    /// Outputs of an image.
    pixels: usize,
}

impl Chunk {
    /// The chunks of `conv`, the same in every direction.
    fn of(facts: &Facts, conv: &Conv2d) -> Vec<Chunk> {
        let (c4, o4) = (conv.input.c4(), conv.output.c4());
        let gradient = POSITIONS * c4 * 4 * o4 * 16;
        // Nor more gradients than a buffer holds; what lies before and behind the products stays within one together.
        let most = largest_operand(facts) as usize;
        let whole =
            Chunk::all(conv.output, conv.output.n).iter().map(|c| c.texels(c4 + o4) * 16).sum::<usize>();
        let parts = (most / gradient).max(2) / 2;
        let least = (CHUNK_GRADIENTS * gradient).max(whole / parts).min(most);
        Chunk::all(conv.output, most_images(conv.output, c4 + o4, CHUNK_BYTES.max(least)))
    }
    /// The chunks of a batch whose results are `output`, of at most `most` images each and nearly equal.
    fn all(output: Shape, most: usize) -> Vec<Chunk> {
        let chunks = output.n.div_ceil(most.clamp(1, output.n));
        let (tiles_line, lines) = (output.w.div_ceil(TILE), output.h.div_ceil(TILE));
        let start = |chunk: usize| chunk * output.n / chunks;
        let chunk = |c: usize| Chunk {
            first: start(c),
            images: start(c + 1) - start(c),
            tiles_image: tiles_line * lines,
            tiles_line,
            pixels: output.pixels(),
        };
        (0..chunks).map(chunk).collect()
    }
    fn tiles(&self) -> usize {
        self.images * self.tiles_image
    }
    fn blocks(&self) -> usize {
        self.tiles().div_ceil(BLOCK)
    }
    /// Texels of transformed tiles with `c4` texels of channels.
    fn texels(&self, c4: usize) -> usize {
        POSITIONS * self.blocks() * BLOCK * c4
    }
    /// The immediates by which kernels find a tile.
    fn tiling(&self) -> [u32; 4] {
        [self.tiles(), self.tiles_image, self.tiles_line, self.blocks()].map(|v| v as u32)
    }
}

/// Images of a chunk of `bytes`, at most: a whole block of tiles at least. `c4`: texels of channels before and behind the
/// product.
fn most_images(output: Shape, c4: usize, bytes: usize) -> usize {
    let tiles = output.w.div_ceil(TILE) * output.h.div_ceil(TILE);
    (bytes / (POSITIONS * 16 * tiles * c4)).max(BLOCK.div_ceil(tiles))
}

/// What a direct convolution of the chunk would take: the useful work, of which Winograd's products are a quarter.
fn direct_flops(chunk: &Chunk, inputs: usize, outputs: usize) -> u64 {
    2 * (9 * chunk.images * chunk.pixels * inputs * outputs) as u64
}

/// A buffer of what lies between two kernels, and its texture.
struct Staged {
    buffer: Slice,
    texture: TextureId,
}

impl Staged {
    fn new(recording: &mut Recording, label: &str, texels: usize) -> Staged {
        let buffer = recording.transient(label, texels as u64 * 16);
        Staged { buffer, texture: recording.texture(label, texels as u64) }
    }
    fn copy(&self, recording: &mut Recording, texels: usize) {
        recording.copy_to_texture(self.buffer.part(0, texels as u64 * 16), self.texture);
    }
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
    let (c4, o4) = (x.shape.c4(), y.shape.c4());
    let u = transform_weights(recording, w);
    let chunks = Chunk::of(recording.facts(), conv);
    // The first chunk may be smaller than another by one image.
    let largest = chunks.iter().map(Chunk::blocks).max().unwrap_or(0) * BLOCK * POSITIONS;
    let mut inputs = Inputs::new(conv, x, &chunks);
    let m = Staged::new(recording, "winograd products", largest * o4);
    // Of the lanes of a subgroup, one tile each.
    let tile = TILE * TILE;
    let whole = y.shape.h.is_multiple_of(TILE)
        && y.shape.w.is_multiple_of(TILE)
        && chunks.iter().all(|chunk| chunk.tiles().is_multiple_of(8));
    let statistics = PartialStatistics::asked_for(recording, y, whole, tile * 8);
    for chunk in &chunks {
        let v = inputs.transformed(recording, chunk);
        product(recording, chunk, (v, c4), (u, w), (m.buffer, o4), false);
        m.copy(recording, chunk.texels(o4));
        let mut immediates = chunk.tiling().to_vec();
        let first = chunk.first * o4 * y.shape.pixels();
        immediates.extend([o4, y.shape.h, y.shape.w, first].map(|v| v as u32));
        let mut bindings = vec![Binding::Texture(m.texture), Binding::Write(y.slice)];
        let mut defines = epilogue.bind(Defines::new(), &mut bindings);
        if let Some(statistics) = &statistics {
            let first = chunk.first * chunk.tiles_image / 8;
            defines = statistics.bind(defines, &mut bindings, &mut immediates, first);
        }
        recording.dispatch(Dispatch {
            shader: "winograd/output",
            defines,
            bindings,
            immediates,
            grid: [o4 as u32, chunk.blocks() as u32, 1],
            flops: 0,
            bytes: 16 * (chunk.texels(o4) + chunk.images * o4 * y.shape.pixels()) as u64
                + (epilogue.bytes() + statistics.as_ref().map_or(0, PartialStatistics::bytes))
                    * chunk.images as u64
                    / y.shape.n as u64,
        });
    }
    if let Some(statistics) = statistics {
        statistics.keep(recording, y);
    }
}

/// M = V U of `chunk`, or with `transposed` dV = dM Uᵀ: `from` and `to` with their texels of channels.
fn product(
    recording: &mut Recording,
    chunk: &Chunk,
    (from, depth): (TextureId, usize),
    (u, w): (TextureId, Weights),
    (to, columns4): (Slice, usize),
    transposed: bool,
) {
    let (rows, panels) = (w.shape.i4() * 4, w.shape.o4().div_ceil(8));
    let (input, output) = if transposed { (columns4, depth) } else { (depth, columns4) };
    let lanes = recording.facts().lanes();
    recording.dispatch(Dispatch {
        shader: "winograd/product",
        defines: Defines::new()
            .with("LANES", lanes)
            .with("TRANSPOSED", transposed)
            .with("ROUND", round(depth)),
        bindings: vec![Binding::Texture(from), Binding::Texture(u), Binding::Write(to)],
        immediates: [chunk.blocks(), depth, columns4, panels, rows].map(|v| v as u32).to_vec(),
        grid: [chunk.blocks(), columns4.div_ceil(lanes), POSITIONS].map(|v| v as u32),
        flops: direct_flops(chunk, w.shape.i, w.shape.o),
        bytes: 16 * (chunk.texels(input + output) + POSITIONS * rows * panels * 8) as u64,
    });
}

/// The tiles of a convolution's input.
struct Inputs {
    x: Tensor,
    padding: usize,
    /// x as a texture, where something has to be transformed.
    source: Option<TextureId>,
    /// Whether the gradient to the weights may find what the forward pass has transformed.
    kept: bool,
}

impl Inputs {
    fn new(conv: &Conv2d, x: Tensor, chunks: &[Chunk]) -> Inputs {
        let texels: usize = chunks.iter().map(|chunk| chunk.texels(x.shape.c4())).sum();
        Inputs { x, padding: conv.padding, source: None, kept: texels * 16 <= MOST_KEPT_BYTES }
    }

    /// The transformed tiles of `chunk` as a texture: made once for the forward pass and the gradient, unless something
    /// writes to x in between or they are more than is kept.
    fn transformed(&mut self, recording: &mut Recording, chunk: &Chunk) -> TextureId {
        let shape = self.x.shape;
        let c4 = shape.c4();
        let image = c4 * shape.pixels();
        let images = self.x.slice.part((chunk.first * image * 16) as u64, (chunk.images * image * 16) as u64);
        let how = [c4, shape.h, shape.w, self.padding];
        if let Some(texture) = recording.derived(TRANSFORMED_INPUT, images, how) {
            return texture;
        }
        let source = *self.source.get_or_insert_with(|| recording.as_texture("conv2d x", self.x.slice));
        let v = Staged::new(recording, TRANSFORMED_INPUT, chunk.texels(c4));
        let mut immediates = chunk.tiling().to_vec();
        immediates.extend(how.map(|v| v as u32));
        immediates.push((chunk.first * image) as u32);
        recording.dispatch(Dispatch {
            shader: "winograd/input",
            defines: Defines::new(),
            bindings: vec![Binding::Texture(source), Binding::Write(v.buffer)],
            immediates,
            grid: [c4 as u32, chunk.blocks() as u32, 1],
            flops: 0,
            bytes: 16 * (chunk.texels(c4) + chunk.images * image) as u64,
        });
        v.copy(recording, chunk.texels(c4));
        if self.kept {
            recording.keep_derived(TRANSFORMED_INPUT, images, how, v.texture);
        }
        v.texture
    }
}

/// The transformed weights as a texture: made once for the forward pass and the gradient, unless something writes to them
/// in between, and once for all submits where they are frozen.
pub fn transform_weights(recording: &mut Recording, w: Weights) -> TextureId {
    let how = w.shape.sizes();
    if let Some(texture) = recording.derived(TRANSFORMED, w.slice, how) {
        return texture;
    }
    let texture = recording.once_for(&[w.slice], |recording| transform(recording, w));
    recording.keep_derived(TRANSFORMED, w.slice, how, texture);
    texture
}

/// What their transform reads and writes.
pub fn weight_bytes(w: Weights) -> u64 {
    w.shape.bytes() + (POSITIONS * w.shape.o4().next_multiple_of(8) * w.shape.i4() * 4 * 16) as u64
}

fn transform(recording: &mut Recording, w: Weights) -> TextureId {
    let (rows, o4) = (w.shape.i4() * 4, w.shape.o4());
    let panels = o4.div_ceil(8);
    let texels = POSITIONS * panels * 8 * rows;
    let invocations = panels * 8 * rows;
    let transformed = recording.scratch(TRANSFORMED, texels as u64 * 16);
    let texture = recording.texture(TRANSFORMED, texels as u64);
    recording.job(Job {
        shader: "winograd/weights",
        defines: Defines::new().with("WIDE", wide(invocations)),
        workgroup: WORKGROUP,
        from: w.slice,
        to: transformed,
        shown: Some(texture),
        numbers: [rows, o4, panels, 0, 0].map(|v| v as u32),
        invocations: invocations as u64,
        flops: 0,
        bytes: weight_bytes(w),
    });
    texture
}
