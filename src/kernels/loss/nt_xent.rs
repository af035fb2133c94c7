//! NT-Xent, the loss of SimCLR (Chen et al., ICML 2020, equation 1), without its matrix of similarities.

use super::contrastive::{self, Against, Problem, Saved};
use crate::gpu::Recording;
use crate::kernels::Tensor;
use crate::kernels::similarity::check_matrix;
use crate::{Error, Result};

/// What [`nt_xent_grad`] needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct NtXent(Saved);

/// The mean over the 2N rows of un-normalised projections `z` [2N, D] of −s_ip + ln Σ_{k≠i} exp s_ik, where
/// s_ij = ẑ_i·ẑ_j / `temperature` and the positive p of row i is row i ± N. It is
/// written to `loss` [1, 1].
///
/// # Errors
/// When the rows are not an even number, or the temperature is outside 0.001..=1000.
pub fn nt_xent(recording: &mut Recording, z: Tensor, temperature: f32, loss: Tensor) -> Result<NtXent> {
    check_matrix("nt_xent: projections", z.shape)?;
    contrastive::check_temperature("nt_xent", temperature)?;
    if !z.shape.n.is_multiple_of(2) {
        return Err(Error::shape(format!(
            "nt_xent: {} projections; expected an even number, two views of each image",
            z.shape.n
        )));
    }
    let problem = Problem { x: z, against: Against::Itself, temperature };
    Ok(NtXent(contrastive::forward(recording, &problem, loss)))
}

/// `upstream` times the gradient of the loss to the projections: with the row softmax P over k ≠ i and the one-hot Y
/// of the positive, D = (P − Y)/(2Nτ) and ∂L/∂Ẑ = (D + Dᵀ)Ẑ, then through the normalisation, into `dz` [2N, D].
///
/// # Errors
/// When `dz` has another shape than the projections.
pub fn nt_xent_grad(recording: &mut Recording, forward: &NtXent, upstream: f32, dz: Tensor) -> Result<()> {
    forward.0.check_gradient("nt_xent_grad", dz)?;
    contrastive::backward(recording, &forward.0, upstream, dz);
    Ok(())
}
