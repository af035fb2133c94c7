//! Gradients: one pass that sums, one that applies. With g the gradient before the activation,
//! `dβ = Σ g`, `dγ = Σ g·x̂` and, in training, `dx = γ·inv_std·(g − dβ/n − x̂·dγ/n)`; in evaluation the
//! statistics are constants and `dx = γ·inv_std·g`.

use super::{
    debug_check_statistics, debug_check_vectors, finalize_workgroup, in_one_launch, side_by_side,
    split_words, statistic_words,
};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording};
use crate::kernels::Tensor;
use crate::kernels::elementwise::Unary;
use crate::kernels::lanes::wide;
use crate::kernels::planes::{Planes, WORKGROUP};

/// The gradients of one batch norm. `x`, `y`, `dy`, `dx`, `dresidual` are [N, C, H, W]; vectors are [1, C], statistics of
/// a batch in S splits [S, C].
#[derive(Clone, Copy, Debug)]
pub struct BatchNormGrad {
    pub x: Tensor,
    /// The result of the forward pass; read only where there are both a residual and an activation.
    pub y: Tensor,
    pub dy: Tensor,
    /// Added to `dy`: where two layers read y. Only with an activation.
    pub dy_second: Option<Tensor>,
    pub gamma: Tensor,
    pub beta: Tensor,
    /// As the forward pass in training wrote it; in evaluation the running mean.
    pub mean: Tensor,
    /// As the forward pass in training wrote it (1/√(σ² + ε)); in evaluation the running *variance*.
    pub spread: Tensor,
    pub activation: Option<Unary>,
    /// Written. May not share a buffer with any input.
    pub dx: Tensor,
    /// Written; there is one exactly if the forward pass had a residual. Without an activation it may be
    /// `dy` itself, which already holds it.
    pub dresidual: Option<Tensor>,
    /// Written (not added to); the two may share a buffer.
    pub dgamma: Tensor,
    pub dbeta: Tensor,
}

/// Gradients of [`batch_norm_train`](super::batch_norm_train).
pub fn batch_norm_train_grad(recording: &mut Recording, grad: &BatchNormGrad) {
    record(recording, grad, false);
}

/// Gradients of [`batch_norm_eval`](super::batch_norm_eval).
pub fn batch_norm_eval_grad(recording: &mut Recording, grad: &BatchNormGrad) {
    record(recording, grad, true);
}

fn record(recording: &mut Recording, grad: &BatchNormGrad, is_variance: bool) {
    let BatchNormGrad { x, dy, gamma, beta, mean, spread, dgamma, dbeta, .. } = *grad;
    debug_check_vectors(x, &[gamma, beta, dgamma, dbeta]);
    debug_check_statistics(x, &[mean, spread]);
    assert!(grad.dy_second.is_none() || grad.activation.is_some(), "a second dy without an activation");
    let (shape, splits) = (x.shape, mean.shape.n);
    if let (Some(dresidual), None) = (grad.dresidual, grad.activation)
        && dresidual.slice != dy.slice
    {
        recording.copy(dy.slice, dresidual.slice);
    }
    if !is_variance && in_one_launch(recording.facts(), shape, splits) {
        return train_grad_in_one_launch(recording, grad);
    }
    let planes = Planes::reduce(recording.facts().class, side_by_side(shape, splits));
    let statistic = statistic_words(is_variance);
    let partial_bytes = 2 * planes.shares() as u64 * 16;
    let partials = recording.transient("batch norm partial gradients", partial_bytes);
    let vector = gamma.shape.bytes();

    let activated = |defines: Defines| match grad.activation {
        Some(f) => defines.with(f.define(), 1),
        None => defines,
    };
    let mut reduce_bindings = vec![
        Binding::Operand(x.slice),
        Binding::Operand(dy.slice),
        Binding::Read(mean.slice),
        Binding::Read(spread.slice),
        Binding::Write(partials),
    ];
    // The gradient before the activation, where a tensor holds it after the first pass.
    let mut known = None;
    let mut reduce_defines = activated(planes.defines(recording, WORKGROUP)).with("TURN", planes.turn());
    if splits > 1 {
        reduce_defines = reduce_defines.with("SPLIT", 1);
    }
    let mut tensors = 2;
    match (grad.dresidual, grad.activation) {
        (Some(dresidual), Some(_)) => {
            reduce_defines = reduce_defines.with("RESIDUAL", 1).with("STORED", 1);
            reduce_bindings.extend([Binding::Operand(grad.y.slice), Binding::Write(dresidual.slice)]);
            known = Some(dresidual);
            tensors = 4;
        }
        (_, None) => known = Some(dy),
        (None, Some(_)) => {
            reduce_defines = reduce_defines.with("SCALED", 1);
            reduce_bindings.extend([Binding::Read(gamma.slice), Binding::Read(beta.slice)]);
        }
    }
    if let Some(second) = grad.dy_second {
        reduce_defines = reduce_defines.with("SECOND", 1);
        reduce_bindings.push(Binding::Operand(second.slice));
        tensors += 1;
    }
    recording.dispatch(Dispatch {
        shader: "norm/batch_norm_grad_partials",
        defines: reduce_defines,
        bindings: reduce_bindings,
        immediates: [&planes.words()[..], &statistic, &split_words(shape, splits)].concat(),
        grid: planes.grid(recording),
        flops: 5 * shape.elements() as u64,
        bytes: tensors * shape.bytes() + partial_bytes + 2 * (vector + mean.shape.bytes()),
    });

    let constants = recording.transient("batch norm gradient constants", 6 * mean.shape.bytes());
    recording.dispatch(Dispatch {
        shader: "norm/batch_norm_grad_finalize",
        defines: planes.defines(recording, finalize_workgroup(recording.facts())),
        bindings: vec![
            Binding::Operand(partials),
            Binding::Read(mean.slice),
            Binding::Read(spread.slice),
            Binding::Read(gamma.slice),
            Binding::Read(beta.slice),
            Binding::Write(dgamma.slice),
            Binding::Write(dbeta.slice),
            Binding::Write(constants),
        ],
        immediates: [&planes.words()[..], &statistic, &[splits as u32]].concat(),
        grid: [shape.c4() as u32, 1, 1],
        flops: 2 * planes.shares() as u64 * 4,
        bytes: partial_bytes + 4 * vector + 8 * mean.shape.bytes(),
    });

    let planes = Planes::map(recording.facts().class, side_by_side(shape, splits));
    let mut bindings = vec![
        Binding::Operand(x.slice),
        Binding::Operand(known.unwrap_or(dy).slice),
        Binding::Read(constants),
        Binding::Write(grad.dx.slice),
    ];
    let mut defines = planes.defines(recording, WORKGROUP);
    let mut tensors = 3;
    if known.is_none() {
        defines = activated(defines);
        if let Some(second) = grad.dy_second {
            defines = defines.with("SECOND", 1);
            bindings.push(Binding::Operand(second.slice));
            tensors += 1;
        }
    }
    recording.dispatch(Dispatch {
        shader: "norm/batch_norm_grad_apply",
        defines,
        bindings,
        immediates: planes.words().to_vec(),
        grid: planes.grid(recording),
        flops: 6 * shape.elements() as u64,
        bytes: tensors * shape.bytes() + 6 * mean.shape.bytes(),
    });
}

/// Sums and what follows from them.
fn train_grad_in_one_launch(recording: &mut Recording, grad: &BatchNormGrad) {
    let (shape, class) = (grad.x.shape, recording.facts().class);
    let planes = Planes::reduce(class, shape);
    let mut defines = Defines::new().with("WIDE", wide(planes.shares())).with("TURN", planes.turn());
    let mut bindings = vec![Binding::Operand(grad.x.slice), Binding::Operand(grad.dy.slice)];
    bindings.extend([grad.mean, grad.spread, grad.gamma, grad.beta].map(|t| Binding::Read(t.slice)));
    bindings.extend([grad.dgamma, grad.dbeta, grad.dx].map(|t| Binding::Write(t.slice)));
    // x and dy twice, dx.
    let mut tensors = 5;
    if let Some(f) = grad.activation {
        defines = defines.with(f.define(), 1);
        if let Some(dresidual) = grad.dresidual {
            defines = defines.with("RESIDUAL", 1).with("STORED", 1);
            bindings.extend([Binding::Operand(grad.y.slice), Binding::Write(dresidual.slice)]);
            // dy once; y; g twice.
            tensors += 2;
        }
    }
    if let Some(second) = grad.dy_second {
        defines = defines.with("SECOND", bindings.len());
        bindings.push(Binding::Operand(second.slice));
        tensors += if grad.dresidual.is_some() { 1 } else { 2 };
    }
    recording.dispatch(Dispatch {
        shader: "norm/batch_norm_train_grad",
        defines,
        bindings,
        immediates: planes.words().to_vec(),
        grid: [shape.c4() as u32, 1, 1],
        flops: 11 * shape.elements() as u64,
        bytes: tensors * shape.bytes() + 6 * grad.gamma.shape.bytes(),
    });
}
