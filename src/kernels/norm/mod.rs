//! Layer normalisation (`layer_norm`), and batch normalisation (Ioffe & Szegedy, 2015), with the residual sum and the activation that follow it:
//! `y = f(γ·(x − μ)/√(σ² + ε) + β + residual)`, statistics per channel over N, H and W.
//!
//! Memory decides the time. With one unit for each pass over a tensor of x's size:
//! forward in training 3 (4 with a residual; one less where what wrote x kept statistics), in evaluation 2 (3); backward 5 (7 with a
//! residual and an activation, the gradient of the residual included, and 1 or 2 more where dy is the sum of two). Without a residual the backward kernels compute the
//! activation's argument again instead of reading y.
//!
//! **Splits** (SplitBatchNorm of MoCo's CIFAR-10 notebook): in training, sample i belongs to split i mod S, and each split
//! has statistics of its own under one γ and β. In NC4HW4 that is the plain batch norm of a tensor of N/S images with S
//! times as many channel groups, in the same memory: only what reads or sums vectors of channels knows of splits.

mod backward;
mod forward;
mod layer_norm;

pub use backward::{BatchNormGrad, batch_norm_eval_grad, batch_norm_train_grad};
pub use forward::{BatchNormEval, BatchNormTrain, batch_norm_eval, batch_norm_train};
pub use layer_norm::{LayerNorm, LayerNormGrad, layer_norm, layer_norm_grad, layer_norm_statistics_bytes};

use super::{Shape, Tensor};
use crate::gpu::{Facts, KernelClass, Recording};
use crate::{Error, Result};

/// ε of every batch norm and layer norm here, as in torchvision.
pub const EPSILON: f32 = 1e-5;
/// Weight of the newest batch in the running statistics.
pub const MOMENTUM: f32 = 0.1;

/// What a producer of a tensor may keep for the batch norm behind it ([`ask_for_statistics`]): for every channel group, mean and sum of
/// squared deviations of parts with the same number of texels, [2][groups][parts] texels. How: parts, and texels of each.
pub(super) const PARTIAL_STATISTICS: &str = "batch norm partial statistics";

/// Asks whoever will write `x` for what [`batch_norm_train`] in `splits` splits then need not read x for.
pub fn ask_for_statistics(recording: &mut Recording, x: Tensor, splits: usize) {
    if splits == 1 && recording.facts().texture_kernels() {
        recording.ask_for_derived(PARTIAL_STATISTICS, x.slice);
    }
}

/// Invocations that combine the partial results of a channel group: on CPUs the lanes of `Planes`, in whose order the
/// kernels of [`in_one_launch`] do it too.
fn finalize_workgroup(facts: &Facts) -> u32 {
    if facts.class == KernelClass::Software { 8 } else { 16 }
}

/// Whether one subgroup does all of a channel group, so that one launch takes the place of three and the second pass finds in the cache what the first has
/// read: on CPUs, where groups are dealt out to threads without many of them idle. The bits are the same either way.
fn in_one_launch(facts: &Facts, shape: Shape, splits: usize) -> bool {
    // Memory that is a texture too leaves room for everything else among the eight buffers that every adapter binds.
    facts.texture_kernels()
        && facts.shared_memory
        && shape.texels() as u64 <= facts.most_texels()
        && facts.lanes() == 8
        && splits == 1
        && shape.pixels().is_multiple_of(16)
        && busy(shape.c4(), facts.threads)
}

/// Whether three quarters of the rounds' places are filled when `threads` take `groups` in turns.
fn busy(groups: usize, threads: usize) -> bool {
    let places = groups.div_ceil(threads).saturating_mul(threads);
    groups.saturating_mul(4) >= places.saturating_mul(3)
}

/// Whether training statistics exist for tensors of this shape in `splits` parts (1 for plain batch norm).
///
/// # Errors
/// When the images cannot be split evenly, or a channel of a split has fewer than two values: its variance would be 0
/// and the unbiased one undefined.
pub fn check_batch_norm(shape: Shape, splits: usize) -> Result<()> {
    if splits == 0 || !shape.n.is_multiple_of(splits) {
        return Err(Error::shape(format!(
            "batch norm in training on {shape}: {} images do not make {splits} splits of one size; use a batch that is a multiple of the number of splits",
            shape.n
        )));
    }
    let count = shape.n / splits * shape.pixels();
    if count < 2 {
        return Err(Error::shape(format!(
            "batch norm in training on {shape}: {count} value per channel and split, but at least 2 are needed; use a larger batch"
        )));
    }
    Ok(())
}

/// The third immediate group of kernels that import `norm/inverse_deviation`.
fn statistic_words(is_variance: bool) -> [u32; 2] {
    [u32::from(is_variance), EPSILON.to_bits()]
}

/// The tensor as its splits lie in it, a channel group of a split beside that of the split before it: N/S images with S
/// times the groups.
fn side_by_side(shape: Shape, splits: usize) -> Shape {
    Shape { n: shape.n / splits, c: splits * 4 * shape.c4(), ..shape }
}

/// What kernels that index γ and β need where there are splits.
fn split_words(shape: Shape, splits: usize) -> Vec<u32> {
    if splits > 1 { vec![shape.c4() as u32] } else { Vec::new() }
}

fn debug_check_statistics(x: Tensor, statistics: &[Tensor]) {
    for s in statistics {
        debug_assert_eq!(
            s.shape,
            Shape::matrix(statistics[0].shape.n, x.shape.c),
            "statistics of {}",
            x.shape
        );
    }
}

fn debug_check_vectors(x: Tensor, vectors: &[Tensor]) {
    for v in vectors {
        debug_assert_eq!(v.shape, Shape::matrix(1, x.shape.c), "a vector for {}", x.shape);
    }
}
