//! InfoNCE with a queue of negatives, the loss of MoCo (He et al., CVPR 2020, equation 1).

use super::contrastive::{self, Against, Problem, Saved};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::kernels::Tensor;
use crate::kernels::similarity::{WORKGROUP, check_matrix, per_row};
use crate::{Error, Result};

/// What [`info_nce_grad`] needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub struct InfoNce(Saved);

/// The mean over rows of ln Σ exp(logits_i) − logits_i0 with logits_i = [q̂_i·k̂_i, q̂_i·Q_1, …, q̂_i·Q_K] / `temperature`:
/// `q` and `k` [N, D] are normalised here, the rows of `queue` [K, D] are normalised already. It is written
/// to `loss` [1, 1].
///
/// # Errors
/// When the shapes do not fit together, or the temperature is outside 0.001..=1000.
pub fn info_nce(
    recording: &mut Recording,
    q: Tensor,
    k: Tensor,
    queue: Tensor,
    temperature: f32,
    loss: Tensor,
) -> Result<InfoNce> {
    check_matrix("info_nce: queries", q.shape)?;
    check_matrix("info_nce: queue", queue.shape)?;
    contrastive::check_temperature("info_nce", temperature)?;
    if k.shape != q.shape || queue.shape.c != q.shape.c {
        return Err(Error::shape(format!(
            "info_nce: queries {}, keys {} and queue {}; expected keys of the queries' shape and a queue with as many columns",
            q.shape, k.shape, queue.shape
        )));
    }
    let problem = Problem { x: q, against: Against::Queue { queue, positives: k }, temperature };
    Ok(InfoNce(contrastive::forward(recording, &problem, loss)))
}

/// `upstream` times the gradient of the loss to the queries, through their normalisation, into `dq` [N, D]; keys and
/// queue get none. It reads the queue again: [`queue_update`] belongs after it.
///
/// # Errors
/// When `dq` has another shape than the queries.
pub fn info_nce_grad(recording: &mut Recording, forward: &InfoNce, upstream: f32, dq: Tensor) -> Result<()> {
    forward.0.check_gradient("info_nce_grad", dq)?;
    contrastive::backward(recording, &forward.0, upstream, dq);
    Ok(())
}

/// Writes the normalised rows of `k` [N, D] over the rows of `queue` [K, D] from `queue_pointer` of the
/// [`StepState`](crate::kernels::StepState) in `state` on, modulo K. Advancing the pointer is the caller's part.
///
/// # Errors
/// When the columns differ, or K is not a multiple of N.
pub fn queue_update(recording: &mut Recording, k: Tensor, state: Slice, queue: Tensor) -> Result<()> {
    check_matrix("queue_update: keys", k.shape)?;
    check_matrix("queue_update: queue", queue.shape)?;
    if k.shape.c != queue.shape.c || !queue.shape.n.is_multiple_of(k.shape.n) {
        return Err(Error::shape(format!(
            "queue_update: keys {} into a queue {}; expected equal columns and a queue length that is a multiple of the number of keys",
            k.shape, queue.shape
        )));
    }
    let (rows, depth, length) = (k.shape.n, k.shape.c4(), queue.shape.n);
    recording.dispatch(Dispatch {
        shader: "loss/queue_update",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![Binding::Read(k.slice), Binding::Read(state), Binding::Write(queue.slice)],
        immediates: [rows, depth, length].map(|v| v as u32).to_vec(),
        grid: per_row(recording, rows),
        flops: 3 * k.shape.elements() as u64,
        bytes: 2 * k.shape.bytes(),
    });
    Ok(())
}
