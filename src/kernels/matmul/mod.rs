//! Products of row-major matrices, one or a batch of equal sizes.

use super::Tensor;
use crate::gpu::Recording;

pub(super) mod software;
mod tiled;

/// Which operand is stored transposed; the result is always [M, N] and the sum always runs over K.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// A [M, K], B [K, N].
    Nn,
    /// A [M, K], B [N, K].
    Nt,
    /// A [K, M], B [K, N].
    Tn,
}

/// Sizes of one product of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub batch: usize,
}

/// `c = a · b` in the given layout, `batch` times. A matrix [R, C] is `Shape::matrix(R, C)`, its rows padded to whole
/// texels; a batch of them is `Shape::matrix(batch · R, C)`. Padding columns of `c` get exact zeros.
pub fn matmul(recording: &mut Recording, layout: Layout, batch: usize, a: Tensor, b: Tensor, c: Tensor) {
    let count = batch.max(1);
    let k = match layout {
        Layout::Nn | Layout::Nt => a.shape.c,
        Layout::Tn => a.shape.n / count,
    };
    let sizes = Sizes { m: c.shape.n / count, n: c.shape.c, k, batch: count };
    debug_assert!(sizes.fits(layout, &a, &b), "{} · {} as {layout:?} = {}", a.shape, b.shape, c.shape);
    if recording.facts().texture_kernels() {
        software::matmul(recording, layout, sizes, a, b, c);
    } else {
        tiled::matmul(recording, layout, sizes, a, b, c);
    }
}

impl Sizes {
    fn fits(&self, layout: Layout, a: &Tensor, b: &Tensor) -> bool {
        let Sizes { m, n, k, batch } = *self;
        let (of_a, of_b) = match layout {
            Layout::Nn => ((m, k), (k, n)),
            Layout::Nt => ((m, k), (n, k)),
            Layout::Tn => ((k, m), (k, n)),
        };
        [(a, of_a), (b, of_b)].iter().all(|(t, (r, c))| t.shape.n == r * batch && t.shape.c == *c)
    }
}
