//! Depthwise convolution: each channel has its own kernel and meets no other channel (`groups = channels`).

use super::Conv2d;
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::kernels::{Tensor, reduce};

/// Invocations of a workgroup; 64 keeps launches cheap on software adapters and fills GPU waves.
const WORKGROUP: u32 = 64;

/// Output rows that one invocation computes.
const STRIP: usize = 4;

/// Invocations that the first stage of gradient-to-weight asks for, the most parts, and the pixels that a part has
/// at least: they fix the number of parts by the shape alone, so that every adapter adds in the same order.
const GRAD_WEIGHT_INVOCATIONS: usize = 65_536;
const GRAD_WEIGHT_PARTS: usize = 256;
const GRAD_WEIGHT_PIXELS: usize = 16;

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
    let strips = conv.output.h.div_ceil(STRIP);
    let count = conv.output.n * conv.output.c4() * strips * conv.output.w;
    direct(recording, "conv/depthwise_conv2d", conv, [x.slice, w.slice, y.slice], strips, count);
}

/// Gradient of [`depthwise_conv2d`] to its input: `dx` from `dy` and `w`.
pub fn depthwise_conv2d_grad_input(
    recording: &mut Recording,
    conv: &Conv2d,
    dy: Tensor,
    w: DepthwiseWeights,
    dx: Tensor,
) {
    let strips = conv.input.h.div_ceil(conv.stride).div_ceil(STRIP);
    let count = conv.input.n * conv.input.c4() * conv.stride * strips * conv.input.w;
    direct(recording, "conv/depthwise_conv2d_grad_input", conv, [dy.slice, w.slice, dx.slice], strips, count);
}

fn direct(
    recording: &mut Recording,
    shader: &'static str,
    conv: &Conv2d,
    [from, w, to]: [Slice; 3],
    strips: usize,
    count: usize,
) {
    let words = [conv.kernel, conv.stride, conv.padding, strips, count].map(|v| v as u32);
    let (defines, [from_binding, w_binding]) = operands(recording, [from, w]);
    recording.dispatch(Dispatch {
        shader,
        defines,
        bindings: vec![from_binding, w_binding, Binding::Write(to)],
        immediates: [&sizes(conv)[..], &words].concat(),
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
    let pixels = out.n * out.pixels();
    let parts = (GRAD_WEIGHT_INVOCATIONS / (c4 * conv.kernel).max(1))
        .min(GRAD_WEIGHT_PARTS)
        .min(pixels.div_ceil(GRAD_WEIGHT_PIXELS))
        .max(1);
    let sums =
        if parts == 1 { dw.slice } else { recording.transient("dw parts", parts as u64 * dw.slice.bytes) };
    let (defines, [x_binding, dy_binding]) = operands(recording, [x.slice, dy.slice]);
    let step = [parts / out.pixels(), parts / out.w % out.h, parts % out.w];
    let words = [[conv.stride, conv.padding, pixels, parts].as_slice(), &step].concat();
    recording.dispatch(Dispatch {
        shader: "conv/depthwise_conv2d_grad_weight",
        defines: defines.with("KERNEL", conv.kernel),
        bindings: vec![x_binding, dy_binding, Binding::Write(sums)],
        immediates: sizes(conv).into_iter().chain(words.into_iter().map(|v| v as u32)).collect(),
        grid: recording.grid(((parts * conv.kernel * c4) as u64).div_ceil(u64::from(WORKGROUP))),
        flops: flops(conv),
        bytes: x.slice.bytes + dy.slice.bytes + parts as u64 * dw.slice.bytes,
    });
    if parts > 1 {
        reduce::sum_parts(recording, sums, parts, dw.slice);
    }
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

fn sizes(conv: &Conv2d) -> [u32; 5] {
    [conv.input.c4(), conv.input.h, conv.input.w, conv.output.h, conv.output.w].map(|v| v as u32)
}

/// Two for each multiply–add, padding taps included.
fn flops(conv: &Conv2d) -> u64 {
    2 * (conv.output.elements() * conv.taps()) as u64
}
