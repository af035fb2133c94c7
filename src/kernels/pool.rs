//! Pooling over square windows (maximum, average) and over whole maps (average), both directions.

use super::{Shape, Tensor};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::{Error, Result};

const WORKGROUP: u32 = 64;

/// Sizes of one pooling with square windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    pub input: Shape,
    pub output: Shape,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Pool2d {
    /// Output sides are ⌊(side + 2·padding − kernel)/stride⌋ + 1.
    ///
    /// # Errors
    /// When kernel or stride is zero, the kernel is larger than 255 or than the padded image, or the padding
    /// is more than half a kernel (some window would hold nothing but padding).
    pub fn new(input: Shape, kernel: usize, stride: usize, padding: usize) -> Result<Pool2d> {
        let side = |length: usize| {
            (length + 2 * padding)
                .checked_sub(kernel)
                .filter(|_| (1..=255).contains(&kernel) && stride > 0 && padding <= kernel / 2 && length > 0)
                .map(|rest| rest / stride + 1)
        };
        match (side(input.h), side(input.w)) {
            (Some(h), Some(w)) => {
                Ok(Pool2d { input, output: Shape { h, w, ..input }, kernel, stride, padding })
            }
            _ => Err(Error::shape(format!(
                "pooling with kernel {kernel}, stride {stride}, padding {padding} does not fit images of {} x {}: expected 1 ≤ kernel ≤ 255 and within the padded image, stride ≥ 1, padding ≤ kernel/2",
                input.h, input.w
            ))),
        }
    }

    /// Bytes of the places of maxima that [`max_pool2d`] writes: 8 for each four channels of an output pixel.
    pub fn places_bytes(&self) -> u64 {
        self.output.texels() as u64 * 8
    }

    fn windows_work(&self) -> u64 {
        (self.output.elements() * self.kernel * self.kernel) as u64
    }

    fn record(&self, recording: &mut Recording, kernel: Kernel) {
        let sizes = [
            kernel.over.texels(),
            self.input.h,
            self.input.w,
            self.output.h,
            self.output.w,
            self.kernel,
            self.stride,
            self.padding,
        ];
        recording.dispatch(Dispatch {
            shader: kernel.shader,
            defines: Defines::new().with("WORKGROUP", WORKGROUP),
            bindings: kernel.bindings,
            immediates: sizes.map(|s| s as u32).to_vec(),
            grid: recording.grid((kernel.over.texels() as u64).div_ceil(u64::from(WORKGROUP))),
            flops: self.windows_work(),
            bytes: self.input.bytes() + self.output.bytes() + kernel.extra_bytes,
        });
    }
}

struct Kernel {
    shader: &'static str,
    bindings: Vec<Binding>,
    /// One invocation for each texel of this shape.
    over: Shape,
    extra_bytes: u64,
}

/// `y` = the maximum over each window, padding counting as −∞. `places` ([`Pool2d::places_bytes`]) tells
/// [`max_pool2d_grad`] where the first maximum of each window lies, in row-major order.
pub fn max_pool2d(recording: &mut Recording, pool: &Pool2d, x: Tensor, y: Tensor, places: Slice) {
    pool.record(
        recording,
        Kernel {
            shader: "pool/max_pool2d",
            bindings: vec![Binding::Read(x.slice), Binding::Write(y.slice), Binding::Write(places)],
            over: pool.output,
            extra_bytes: pool.places_bytes(),
        },
    );
}

/// Gradient of [`max_pool2d`]: each dy goes to the first maximum of its window.
pub fn max_pool2d_grad(recording: &mut Recording, pool: &Pool2d, places: Slice, dy: Tensor, dx: Tensor) {
    pool.record(
        recording,
        Kernel {
            shader: "pool/max_pool2d_grad",
            bindings: vec![Binding::Read(dy.slice), Binding::Read(places), Binding::Write(dx.slice)],
            over: pool.input,
            extra_bytes: pool.places_bytes(),
        },
    );
}

/// `y` = the mean over each window, padding counting as zeros (PyTorch's `count_include_pad`).
pub fn avg_pool2d(recording: &mut Recording, pool: &Pool2d, x: Tensor, y: Tensor) {
    pool.record(
        recording,
        Kernel {
            shader: "pool/avg_pool2d",
            bindings: vec![Binding::Read(x.slice), Binding::Write(y.slice)],
            over: pool.output,
            extra_bytes: 0,
        },
    );
}

/// Gradient of [`avg_pool2d`].
pub fn avg_pool2d_grad(recording: &mut Recording, pool: &Pool2d, dy: Tensor, dx: Tensor) {
    pool.record(
        recording,
        Kernel {
            shader: "pool/avg_pool2d_grad",
            bindings: vec![Binding::Read(dy.slice), Binding::Write(dx.slice)],
            over: pool.input,
            extra_bytes: 0,
        },
    );
}

/// `y` [N, C] = the mean over the pixels of `x` [N, C, H, W].
pub fn global_avg_pool2d(recording: &mut Recording, x: Tensor, y: Tensor) {
    global(recording, "pool/global_avg_pool2d", x, y, y.shape.texels(), x.shape);
}

/// Gradient of [`global_avg_pool2d`]: `dx` [N, C, H, W] from `dy` [N, C].
pub fn global_avg_pool2d_grad(recording: &mut Recording, dy: Tensor, dx: Tensor) {
    global(recording, "pool/global_avg_pool2d_grad", dy, dx, dx.shape.texels(), dx.shape);
}

fn global(
    recording: &mut Recording,
    shader: &'static str,
    from: Tensor,
    to: Tensor,
    count: usize,
    maps: Shape,
) {
    recording.dispatch(Dispatch {
        shader,
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![Binding::Read(from.slice), Binding::Write(to.slice)],
        immediates: vec![count as u32, maps.pixels() as u32],
        grid: recording.grid((count as u64).div_ceil(u64::from(WORKGROUP))),
        flops: maps.elements() as u64,
        bytes: from.shape.bytes() + to.shape.bytes(),
    });
}
