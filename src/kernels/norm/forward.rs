//! Forward passes: statistics of the batch or the running ones, then one pass that applies them.

use super::{
    EPSILON, MOMENTUM, PARTIAL_STATISTICS, debug_check_statistics, debug_check_vectors, finalize_workgroup,
    in_one_launch, side_by_side, split_words, statistic_words,
};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::kernels::Tensor;
use crate::kernels::elementwise::Unary;
use crate::kernels::lanes::wide;
use crate::kernels::planes::{Planes, WORKGROUP};

/// One batch norm in training, in S splits (sample i is of split i mod S). `x`, `residual` and `y` are [N, C, H, W]; the
/// vectors are [1, C], the statistics of this batch [S, C]: their rows say how many splits there are.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormTrain {
    pub x: Tensor,
    pub gamma: Tensor,
    pub beta: Tensor,
    /// Updated in place: (1 − m)·old + m·batch, with the unbiased variance, averaged over splits. They share a buffer with no
    /// other tensor here, except with each other.
    pub running_mean: Tensor,
    pub running_variance: Tensor,
    /// Added before the activation.
    pub residual: Option<Tensor>,
    pub activation: Option<Unary>,
    pub y: Tensor,
    /// Written: statistics of this batch, for the backward pass.
    pub mean: Tensor,
    pub inv_std: Tensor,
}

/// One batch norm in evaluation; shapes as in [`BatchNormTrain`].
#[derive(Clone, Copy, Debug)]
pub struct BatchNormEval {
    pub x: Tensor,
    pub gamma: Tensor,
    pub beta: Tensor,
    pub running_mean: Tensor,
    pub running_variance: Tensor,
    pub residual: Option<Tensor>,
    pub activation: Option<Unary>,
    pub y: Tensor,
}

/// Normalises by the statistics of this batch, or of each split of it. [`check_batch_norm`](super::check_batch_norm) says
/// which shapes have any.
pub fn batch_norm_train(recording: &mut Recording, norm: &BatchNormTrain) {
    let BatchNormTrain { x, gamma, beta, mean, inv_std, .. } = *norm;
    debug_check_vectors(x, &[gamma, beta, norm.running_mean, norm.running_variance]);
    debug_check_statistics(x, &[mean, inv_std]);
    if in_one_launch(recording.facts(), x.shape, mean.shape.n) {
        return train_in_one_launch(recording, norm);
    }
    statistics(recording, norm);
    let apply = Apply {
        x,
        mean,
        spread: inv_std,
        is_variance: false,
        gamma,
        beta,
        residual: norm.residual,
        activation: norm.activation,
        y: norm.y,
    };
    apply.record(recording);
}

/// Normalises by the running statistics.
pub fn batch_norm_eval(recording: &mut Recording, norm: &BatchNormEval) {
    let BatchNormEval { x, gamma, beta, running_mean, running_variance, .. } = *norm;
    debug_check_vectors(x, &[gamma, beta, running_mean, running_variance]);
    let apply = Apply {
        x,
        mean: running_mean,
        spread: running_variance,
        is_variance: true,
        gamma,
        beta,
        residual: norm.residual,
        activation: norm.activation,
        y: norm.y,
    };
    apply.record(recording);
}

/// Statistics and what follows them.
fn train_in_one_launch(recording: &mut Recording, norm: &BatchNormTrain) {
    let shape = norm.x.shape;
    let planes = Planes::reduce(recording.facts().class, shape);
    let mut defines = Defines::new().with("WIDE", wide(planes.shares())).with("WORKGROUP", 8);
    if let Some(f) = norm.activation {
        defines = defines.with(f.define(), 1);
    }
    let known = recording.derived_somehow(PARTIAL_STATISTICS, norm.x.slice);
    let mut bindings = vec![Binding::Operand(norm.x.slice)];
    let written = [norm.mean, norm.inv_std, norm.running_mean, norm.running_variance];
    bindings.extend(written.map(|t| Binding::Write(t.slice)));
    bindings.extend([norm.gamma, norm.beta].map(|t| Binding::Read(t.slice)));
    bindings.push(Binding::Write(norm.y.slice));
    if let Some(residual) = norm.residual {
        defines = defines.with("RESIDUAL", bindings.len());
        bindings.push(Binding::Operand(residual.slice));
    }
    let mut words = planes.words();
    // What passes over x do: sum it and apply what follows, or the latter alone.
    let (mut tensors, mut operations) = (3, 7);
    if let Some(([parts, texels, ..], partials)) = known {
        defines = defines.with("PARTIALS", bindings.len()).with_numbered("TEXTURE_", bindings.len(), 1);
        defines = defines.with("TEXELS", texels);
        bindings.push(Binding::Texture(partials));
        words = planes.words_with_parts(parts);
        (tensors, operations) = (2, 3);
    }
    let residual = u64::from(norm.residual.is_some());
    let constants = [shape.c as u32, EPSILON.to_bits(), MOMENTUM.to_bits()];
    recording.dispatch(Dispatch {
        shader: "norm/batch_norm_train",
        defines,
        bindings,
        immediates: [&words[..], &constants].concat(),
        grid: [shape.c4() as u32, 1, 1],
        flops: (operations + residual + u64::from(norm.activation.is_some())) * shape.elements() as u64,
        bytes: (tensors + residual) * shape.bytes() + 8 * norm.gamma.shape.bytes(),
    });
}

fn statistics(recording: &mut Recording, norm: &BatchNormTrain) {
    let (shape, splits) = (norm.x.shape, norm.mean.shape.n);
    let planes = Planes::reduce(recording.facts().class, side_by_side(shape, splits));
    let known = match splits {
        1 => recording.derived_somehow(PARTIAL_STATISTICS, norm.x.slice),
        _ => None,
    };
    let mut defines = planes.defines(recording, finalize_workgroup(recording.facts()));
    let (partials, words, parts) = match known {
        Some(([parts, texels, ..], partials)) => {
            defines = defines.with("TEXTURE_0", 1).with("TEXELS", texels);
            (Binding::Texture(partials), planes.words_with_parts(parts), parts * planes.groups())
        }
        None => (
            Binding::Operand(partial_statistics(recording, norm.x, &planes)),
            planes.words(),
            planes.shares(),
        ),
    };
    let constants = [shape.c as u32, EPSILON.to_bits(), MOMENTUM.to_bits(), splits as u32];
    recording.dispatch(Dispatch {
        shader: "norm/batch_norm_finalize",
        defines,
        bindings: vec![
            partials,
            Binding::Write(norm.mean.slice),
            Binding::Write(norm.inv_std.slice),
            Binding::Write(norm.running_mean.slice),
            Binding::Write(norm.running_variance.slice),
        ],
        immediates: [&words[..], &constants].concat(),
        grid: [shape.c4() as u32, 1, 1],
        flops: 8 * parts as u64 * 4,
        bytes: 2 * parts as u64 * 16 + 2 * norm.mean.shape.bytes() + 4 * norm.gamma.shape.bytes(),
    });
}

/// One for each share of `x`.
fn partial_statistics(recording: &mut Recording, x: Tensor, planes: &Planes) -> Slice {
    let bytes = 2 * planes.shares() as u64 * 16;
    let partials = recording.transient(PARTIAL_STATISTICS, bytes);
    recording.dispatch(Dispatch {
        shader: "norm/batch_norm_partials",
        defines: planes.defines(recording, WORKGROUP),
        bindings: vec![Binding::Operand(x.slice), Binding::Write(partials)],
        immediates: planes.words().to_vec(),
        grid: planes.grid(recording),
        flops: 4 * x.shape.elements() as u64,
        bytes: x.shape.bytes() + bytes,
    });
    partials
}

struct Apply {
    x: Tensor,
    mean: Tensor,
    spread: Tensor,
    is_variance: bool,
    gamma: Tensor,
    beta: Tensor,
    residual: Option<Tensor>,
    activation: Option<Unary>,
    y: Tensor,
}

impl Apply {
    fn record(&self, recording: &mut Recording) {
        let (shape, splits) = (self.x.shape, self.mean.shape.n);
        let planes = Planes::map(recording.facts().class, side_by_side(shape, splits));
        let mut defines = planes.defines(recording, WORKGROUP);
        if splits > 1 {
            defines = defines.with("SPLIT", 1);
        }
        if let Some(f) = self.activation {
            defines = defines.with(f.define(), 1);
        }
        let mut bindings = vec![Binding::Operand(self.x.slice)];
        bindings.extend([self.mean, self.spread, self.gamma, self.beta].map(|t| Binding::Read(t.slice)));
        bindings.push(Binding::Write(self.y.slice));
        if let Some(residual) = self.residual {
            defines = defines.with("RESIDUAL", 1);
            bindings.push(Binding::Operand(residual.slice));
        }
        let residual = u64::from(self.residual.is_some());
        recording.dispatch(Dispatch {
            shader: "norm/batch_norm_apply",
            defines,
            bindings,
            immediates: [
                &planes.words()[..],
                &statistic_words(self.is_variance),
                &split_words(shape, splits),
            ]
            .concat(),
            grid: planes.grid(recording),
            flops: (3 + residual + u64::from(self.activation.is_some())) * shape.elements() as u64,
            bytes: (2 + residual) * shape.bytes() + 4 * self.mean.shape.bytes(),
        });
    }
}
