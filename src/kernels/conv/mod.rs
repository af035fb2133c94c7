//! Convolution (cross-correlation with zero padding) in three directions, dense and depthwise.
//!
//! Dense ones are implicit matrix products. With K = taps × input channels:
//! - forward: rows are output pixels, the sum runs over K, columns are output channels;
//! - gradient to input: rows are input pixels, the sum over taps × output channels, columns are input channels;
//! - gradient to weight: rows are K, the sum runs over output pixels, columns are output channels.
//!
//! `software` holds the storage-texture variants for CPU adapters, `narrow` what replaces them for 3x3 kernels with
//! stride 1 and few output channels, `winograd` for those with more unless exact convolutions are asked for, `tiled` those with workgroup-memory
//! tiles for GPUs and for every adapter without a fixed subgroup of eight or four.

use super::{Shape, Tensor};
use crate::gpu::{Recording, Slice};
use crate::{Error, Result};

/// Sizes of one convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    pub input: Shape,
    pub output: Shape,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Conv2d {
    /// # Errors
    /// When the kernel is larger than the padded image, or kernel or stride is zero.
    pub fn new(
        input: Shape,
        channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<Conv2d> {
        let side = |length: usize| {
            (length + 2 * padding)
                .checked_sub(kernel)
                .filter(|_| kernel > 0 && stride > 0)
                .map(|l| l / stride + 1)
        };
        match (side(input.h), side(input.w)) {
            (Some(h), Some(w)) => {
                Ok(Conv2d { input, output: Shape::new(input.n, channels, h, w), kernel, stride, padding })
            }
            _ => Err(Error::shape(format!(
                "convolution with kernel {kernel}, stride {stride}, padding {padding} does not fit images of {} x {}",
                input.h, input.w
            ))),
        }
    }
    pub fn taps(&self) -> usize {
        self.kernel * self.kernel
    }
    /// Shape of a dense convolution's weights.
    pub fn weight(&self) -> WeightShape {
        WeightShape { o: self.output.c, i: self.input.c, kernel: self.kernel }
    }
    /// Two for each multiply–add of the direct algorithm, padding taps included.
    pub fn flops(&self) -> u64 {
        2 * (self.output.n * self.output.pixels() * self.output.c * self.input.c * self.taps()) as u64
    }
}

/// Weights of a dense convolution or, with `kernel` 1, of a linear layer; OIHW in files.
///
/// In GPU memory a texel holds four consecutive output channels of one k = tap · 4·⌈I/4⌉ + i; panels of up to
/// eight texels (32 output channels) are contiguous:
/// `texel(o4, k) = (o4/8)·8·K + k·L + o4%8`, K = taps · 4·⌈I/4⌉, L = min(8, O4 − 8·(o4/8)).
/// Padding rows and lanes hold zero, and so do their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightShape {
    pub o: usize,
    pub i: usize,
    pub kernel: usize,
}

impl WeightShape {
    pub const fn o4(&self) -> usize {
        self.o.div_ceil(4)
    }
    pub const fn i4(&self) -> usize {
        self.i.div_ceil(4)
    }
    pub const fn taps(&self) -> usize {
        self.kernel * self.kernel
    }
    /// Length of the sum in the forward direction, padding channels included.
    pub const fn k(&self) -> usize {
        self.taps() * self.i4() * 4
    }
    pub const fn texels(&self) -> usize {
        self.o4() * self.k()
    }
    pub const fn bytes(&self) -> u64 {
        self.texels() as u64 * 16
    }
    pub const fn elements(&self) -> usize {
        self.o * self.i * self.taps()
    }
    /// What tells one shape from another that has as many bytes.
    pub(super) const fn sizes(&self) -> [usize; 4] {
        [self.o, self.i, self.kernel, 0]
    }

    /// OIHW values in panel order.
    pub fn pack(&self, values: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.texels() * 4];
        for (index, &value) in values.iter().enumerate().take(self.elements()) {
            packed[self.packed_index(index)] = value;
        }
        packed
    }

    /// The inverse of [`WeightShape::pack`].
    pub fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        (0..self.elements()).map(|index| packed[self.packed_index(index)]).collect()
    }

    fn packed_index(&self, index: usize) -> usize {
        let (tap, i, o) = (index % self.taps(), index / self.taps() % self.i, index / self.taps() / self.i);
        let (o4, k) = (o / 4, tap * self.i4() * 4 + i);
        let panel = o4 / 8;
        let lanes = (self.o4() - panel * 8).min(8);
        (panel * 8 * self.k() + k * lanes + o4 % 8) * 4 + o % 4
    }
}

/// Weights (or their gradient) in GPU memory, in panel order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    pub shape: WeightShape,
    pub slice: Slice,
}

impl Weights {
    pub fn new(shape: WeightShape, slice: Slice) -> Weights {
        Weights { shape, slice: slice.part(0, shape.bytes()) }
    }
}

/// `y = x ⋆ w`.
pub fn conv2d(recording: &mut Recording, conv: &Conv2d, x: Tensor, w: Weights, y: Tensor) {
    conv2d_with(recording, conv, x, w, &Epilogue::default(), y);
}

/// `y = f(bn(x ⋆ w) + residual)` with the running statistics of a batch norm: one pass over y less than [`conv2d`] and
/// [`batch_norm_eval`](super::norm::batch_norm_eval) after one another.
pub fn conv2d_norm(
    recording: &mut Recording,
    conv: &Conv2d,
    x: Tensor,
    w: Weights,
    norm: &ConvNorm,
    y: Tensor,
) {
    let epilogue = Epilogue::fold(recording, norm);
    conv2d_with(recording, conv, x, w, &epilogue, y);
}

fn conv2d_with(
    recording: &mut Recording,
    conv: &Conv2d,
    x: Tensor,
    w: Weights,
    epilogue: &Epilogue,
    y: Tensor,
) {
    if winograd::applies(recording.facts(), conv) {
        winograd::conv2d(recording, conv, x, w, epilogue, y);
    } else if recording.facts().texture_kernels() {
        software::conv2d(recording, conv, x, w, epilogue, y);
    } else {
        tiled::conv2d(recording, conv, x, w, epilogue, y);
    }
}

/// Makes what [`conv2d`] needs of weights beside themselves, ahead of it and together with other layers' (`Recording::gather`), where it is
/// small enough to wait for them.
pub fn prepare(recording: &mut Recording, conv: &Conv2d, w: Weights) {
    if winograd::applies(recording.facts(), conv) && recording.would_wait(winograd::weight_bytes(w)) {
        winograd::transform_weights(recording, w);
    }
}

/// [`prepare`] for [`conv2d_grad_input`].
pub fn prepare_grad_input(recording: &mut Recording, conv: &Conv2d, w: Weights) {
    if winograd::applies(recording.facts(), conv) {
        prepare(recording, conv, w);
    } else if recording.facts().texture_kernels() && recording.would_wait(2 * w.shape.bytes()) {
        software::transpose_weights(recording, w);
    }
}

/// Gradient of [`conv2d`] to its input: `dx` from `dy` and `w`.
pub fn conv2d_grad_input(recording: &mut Recording, conv: &Conv2d, dy: Tensor, w: Weights, dx: Tensor) {
    if winograd::applies(recording.facts(), conv) {
        winograd::gradients(recording, conv, dy, Some((w, dx)), None);
    } else if recording.facts().texture_kernels() {
        software::conv2d_grad_input(recording, conv, dy, w, dx);
    } else {
        tiled::conv2d_grad_input(recording, conv, dy, w, dx);
    }
}

/// Gradient of [`conv2d`] to its weights: `dw` from `x` and `dy`.
pub fn conv2d_grad_weight(recording: &mut Recording, conv: &Conv2d, x: Tensor, dy: Tensor, dw: Weights) {
    if winograd::applies(recording.facts(), conv) {
        winograd::gradients(recording, conv, dy, None, Some((x, dw)));
    } else if recording.facts().texture_kernels() {
        software::conv2d_grad_weight(recording, conv, x, dy, dw);
    } else {
        tiled::conv2d_grad_weight(recording, conv, x, dy, dw);
    }
}

/// Both gradients of [`conv2d`], which costs less than one after the other where they share a step.
pub fn conv2d_grads(
    recording: &mut Recording,
    conv: &Conv2d,
    (x, w): (Tensor, Weights),
    dy: Tensor,
    (dx, dw): (Tensor, Weights),
) {
    if winograd::applies(recording.facts(), conv) {
        winograd::gradients(recording, conv, dy, Some((w, dx)), Some((x, dw)));
    } else {
        conv2d_grad_input(recording, conv, dy, w, dx);
        conv2d_grad_weight(recording, conv, x, dy, dw);
    }
}

pub mod depthwise;
mod epilogue;
pub use epilogue::ConvNorm;
use epilogue::Epilogue;
mod narrow;
mod software;
mod statistics;
mod tiled;
mod winograd;
