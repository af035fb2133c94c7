//! Layer normalisation (`layer_norm`), and batch normalisation (Ioffe & Szegedy, 2015), with the residual sum and the activation that follow it:
//! `y = f(γ·(x − μ)/√(σ² + ε) + β + residual)`, statistics per channel over N, H and W.
//!
//! Memory decides the time. With one unit for each pass over a tensor of x's size:
//! forward in training 3 (4 with a residual), in evaluation 2 (3); backward 5 (7 with a residual and an
//! activation, the gradient of the residual included). Without a residual the backward kernels compute the
//! activation's argument again instead of reading y.

mod backward;
mod forward;
mod layer_norm;

pub use backward::{BatchNormGrad, batch_norm_eval_grad, batch_norm_train_grad};
pub use forward::{BatchNormEval, BatchNormTrain, batch_norm_eval, batch_norm_train};
pub use layer_norm::{LayerNorm, LayerNormGrad, layer_norm, layer_norm_grad, layer_norm_statistics_bytes};

use super::{Shape, Tensor};
use crate::{Error, Result};

/// ε of every batch norm and layer norm here, as in torchvision.
pub const EPSILON: f32 = 1e-5;
/// Weight of the newest batch in the running statistics.
pub const MOMENTUM: f32 = 0.1;

/// Invocations that combine the partial results of a channel group: two subgroups on a software adapter,
/// where each costs a barrier.
const FINALIZE_WORKGROUP: u32 = 16;

/// Whether training statistics exist for tensors of this shape.
///
/// # Errors
/// When a channel has fewer than two values: its variance would be 0 and the unbiased one undefined.
pub fn check_batch_norm(shape: Shape) -> Result<()> {
    let count = shape.n * shape.pixels();
    if count < 2 {
        return Err(Error::shape(format!(
            "batch norm in training on {shape}: {count} value per channel, but at least 2 are needed; use a larger batch"
        )));
    }
    Ok(())
}

/// The third immediate group of kernels that import `norm/statistic`.
fn statistic_words(is_variance: bool) -> [u32; 2] {
    [u32::from(is_variance), EPSILON.to_bits()]
}

fn debug_check_vectors(x: Tensor, vectors: &[Tensor]) {
    for v in vectors {
        debug_assert_eq!(v.shape, Shape::matrix(1, x.shape.c), "a vector for {}", x.shape);
    }
}
