//! Depthwise convolution: each channel has its own kernel and meets no other channel (`groups = channels`).

use super::Conv2d;
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Facts, Recording, Slice};
use crate::kernels::{Shape, Tensor, reduce};

/// Invocations of a workgroup; 64 keeps launches cheap on software adapters and fills GPU waves.
const WORKGROUP: u32 = 64;

/// Invocations that the first stage of gradient-to-weight asks for, the most parts, and the tiles that a part has at
/// least: they fix the number of parts by the shape alone, so that every adapter adds in the same order.
const GRAD_WEIGHT_INVOCATIONS: usize = 32_768;
const GRAD_WEIGHT_PARTS: usize = 256;
const GRAD_WEIGHT_TILES: usize = 4;

/// Weights of a depthwise convolution; [C, 1, k, k] in files.
///
/// In GPU memory a texel holds four consecutive channels of one tap: `texel(tap, c4) = tap · ⌈C/4⌉ + c4`.
/// Padding lanes hold zero, and so do their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DepthwiseShape {
    pub channels: usize,
    pub kernel: usize,
}

impl DepthwiseShape {
    pub const fn taps(&self) -> usize {
        self.kernel * self.kernel
    }
    pub const fn c4(&self) -> usize {
        self.channels.div_ceil(4)
    }
    pub const fn texels(&self) -> usize {
        self.taps() * self.c4()
    }
    pub const fn bytes(&self) -> u64 {
        self.texels() as u64 * 16
    }
    pub const fn elements(&self) -> usize {
        self.channels * self.taps()
    }

    /// [C, 1, k, k] values in the order of GPU memory.
    pub fn pack(&self, values: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.texels() * 4];
        for (index, &value) in values.iter().enumerate().take(self.elements()) {
            packed[self.packed_index(index)] = value;
        }
        packed
    }

    /// The inverse of [`DepthwiseShape::pack`]; padding lanes are dropped.
    pub fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        (0..self.elements()).map(|index| packed[self.packed_index(index)]).collect()
    }

    fn packed_index(&self, index: usize) -> usize {
        let (tap, c) = (index % self.taps(), index / self.taps());
        (tap * self.c4() + c / 4) * 4 + c % 4
    }
}

/// Depthwise weights (or their gradient) in GPU memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthwiseWeights {
    pub shape: DepthwiseShape,
    pub slice: Slice,
}

impl DepthwiseWeights {
    pub fn new(shape: DepthwiseShape, slice: Slice) -> DepthwiseWeights {
        DepthwiseWeights { shape, slice: slice.part(0, shape.bytes()) }
    }
}

/// `y[:, c] = x[:, c] ⋆ w[c]`. `conv` has as many output as input channels.
pub fn depthwise_conv2d(recording: &mut Recording, conv: &Conv2d, x: Tensor, w: DepthwiseWeights, y: Tensor) {
    let words = [conv.padding, 0, 1].map(|v| v as u32);
    correlate(recording, conv, words, [x.slice, w.slice, y.slice], [conv.input, conv.output]);
}

/// Gradient of [`depthwise_conv2d`] to its input: `dx` from `dy` and `w`.
pub fn depthwise_conv2d_grad_input(
    recording: &mut Recording,
    conv: &Conv2d,
    dy: Tensor,
    w: DepthwiseWeights,
    dx: Tensor,
) {
    let (kernel, stride, padding) = (conv.kernel, conv.stride, conv.padding);
    if stride == 1 {
        // The same sums as the convolution of dy with the taps backwards. Where the padding is wider than a kernel, the
        // padding of that one is negative, and wraps.
        let reach = (kernel - 1) as u32;
        let words = [reach.wrapping_sub(padding as u32), conv.taps() as u32 - 1, u32::MAX];
        return correlate(recording, conv, words, [dy.slice, w.slice, dx.slice], [conv.output, conv.input]);
    }
    let (input, halo) = (conv.input, (kernel - 1) / stride);
    let [rows, columns] = tile(recording.facts(), kernel).map(|side| (side / stride).max(1) * stride);
    let tiles = [input.h.div_ceil(rows), input.w.div_ceil(columns)];
    let count = input.n * input.c4() * tiles[0] * tiles[1];
    let (defines, [dy_binding, w_binding]) = operands(recording, [dy.slice, w.slice]);
    let before = (halo as u32).wrapping_sub((padding / stride) as u32);
    let words = [before].into_iter().chain([tiles[0], tiles[1], count].map(|v| v as u32));
    recording.dispatch(Dispatch {
        shader: "conv/depthwise_conv2d_grad_input",
        defines: unrolled(defines, conv, [rows, columns]).with("PHASE", padding % stride).with("HALO", halo),
        bindings: vec![dy_binding, w_binding, Binding::Write(dx.slice)],
        immediates: sizes(conv.input, conv.output).into_iter().chain(words).collect(),
        grid: recording.grid((count as u64).div_ceil(u64::from(WORKGROUP))),
        flops: flops(conv),
        bytes: dy.slice.bytes + w.slice.bytes + dx.slice.bytes,
    });
}

/// The kernel behind the two directions; `words` are its padding, the tap it begins with and the way to the next.
fn correlate(
    recording: &mut Recording,
    conv: &Conv2d,
    words: [u32; 3],
    [from, w, to]: [Slice; 3],
    [input, output]: [Shape; 2],
) {
    let [rows, columns] = tile(recording.facts(), conv.kernel);
    let tiles = [output.h.div_ceil(rows), output.w.div_ceil(columns)];
    let count = output.n * output.c4() * tiles[0] * tiles[1];
    let (defines, [from_binding, w_binding]) = operands(recording, [from, w]);
    let grid = [tiles[0], tiles[1], count].map(|v| v as u32);
    recording.dispatch(Dispatch {
        shader: "conv/depthwise_conv2d",
        defines: unrolled(defines, conv, [rows, columns]),
        bindings: vec![from_binding, w_binding, Binding::Write(to)],
        immediates: [&sizes(input, output)[..], &words, &grid].concat(),
        grid: recording.grid((count as u64).div_ceil(u64::from(WORKGROUP))),
        flops: flops(conv),
        bytes: from.bytes + w.bytes + to.bytes,
    });
}

/// Gradient of [`depthwise_conv2d`] to its weights: `dw` from `x` and `dy`.
pub fn depthwise_conv2d_grad_weight(
    recording: &mut Recording,
    conv: &Conv2d,
    x: Tensor,
    dy: Tensor,
    dw: DepthwiseWeights,
) {
    let (out, c4) = (conv.output, conv.output.c4());
    let [rows, columns] = grad_weight_tile(conv.kernel);
    let [tiles_h, tiles_w] = [out.h.div_ceil(rows), out.w.div_ceil(columns)];
    let tiles = out.n * tiles_h * tiles_w;
    let parts = (GRAD_WEIGHT_INVOCATIONS / c4.max(1))
        .min(GRAD_WEIGHT_PARTS)
        .min(tiles.div_ceil(GRAD_WEIGHT_TILES))
        .max(1);
    let sums =
        if parts == 1 { dw.slice } else { recording.scratch("dw parts", parts as u64 * dw.slice.bytes) };
    let (defines, [x_binding, dy_binding]) = operands(recording, [x.slice, dy.slice]);
    let step = [parts / (tiles_h * tiles_w), parts / tiles_w % tiles_h, parts % tiles_w];
    let words = [[conv.padding, tiles_h, tiles_w, tiles, parts].as_slice(), &step].concat();
    recording.dispatch(Dispatch {
        shader: "conv/depthwise_conv2d_grad_weight",
        defines: unrolled(defines, conv, [rows, columns]),
        bindings: vec![x_binding, dy_binding, Binding::Write(sums)],
        immediates: sizes(conv.input, out).into_iter().chain(words.into_iter().map(|v| v as u32)).collect(),
        grid: recording.grid(((parts * c4) as u64).div_ceil(u64::from(WORKGROUP))),
        flops: flops(conv),
        bytes: x.slice.bytes + dy.slice.bytes + parts as u64 * dw.slice.bytes,
    });
    if parts > 1 {
        reduce::sum_parts(recording, sums, parts, dw.slice);
    }
}

/// Rows and columns that one invocation computes. On GPUs neighbours in a wave stay neighbours in memory; kernels over
/// 3x3, which no encoder here has, get less so that the unrolled text stays short.
fn tile(facts: &Facts, kernel: usize) -> [usize; 2] {
    match (facts.texture_kernels(), kernel) {
        (true, 0..=3) => [4, 4],
        (true, _) => [2, 2],
        (false, _) => [4, 1],
    }
}

/// The same for gradient-to-weight. It decides the order of a sum, so it must not depend on the adapter.
fn grad_weight_tile(kernel: usize) -> [usize; 2] {
    if kernel <= 3 { [4, 4] } else { [1, 1] }
}

fn unrolled(defines: Defines, conv: &Conv2d, [rows, columns]: [usize; 2]) -> Defines {
    let defines = defines.with("KERNEL", conv.kernel).with("STRIDE", conv.stride);
    defines.with("ROWS", rows).with("COLUMNS", columns)
}

/// How a kernel reads its two operands: from textures in the software class, where a texture load is the cheapest.
fn operands(recording: &mut Recording, slices: [Slice; 2]) -> (Defines, [Binding; 2]) {
    let textures = recording.facts().texture_kernels();
    let defines = Defines::new().with("WORKGROUP", WORKGROUP).with("TEXTURES", textures);
    let bindings = slices.map(|slice| {
        if textures {
            Binding::Texture(recording.as_texture("depthwise operand", slice))
        } else {
            Binding::Read(slice)
        }
    });
    (defines, bindings)
}

fn sizes(input: Shape, output: Shape) -> [u32; 5] {
    [input.c4(), input.h, input.w, output.h, output.w].map(|v| v as u32)
}

/// Two for each multiply–add, padding taps included.
fn flops(conv: &Conv2d) -> u64 {
    2 * (conv.output.elements() * conv.taps()) as u64
}
