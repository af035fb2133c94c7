//! What a kernel does to the results of a convolution before it stores them: batch norm with the running statistics, folded
//! into a scale and a shift, the residual sum and the activation.

use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::kernels::Tensor;
use crate::kernels::elementwise::Unary;
use crate::kernels::norm::EPSILON;

const WORKGROUP: u32 = 32;

/// A batch norm in evaluation, as in [`BatchNormEval`](crate::kernels::norm::BatchNormEval): the vectors are [1, O],
/// the residual has the convolution's output shape.
#[derive(Clone, Copy, Debug)]
pub struct ConvNorm {
    pub gamma: Tensor,
    pub beta: Tensor,
    pub running_mean: Tensor,
    pub running_variance: Tensor,
    pub residual: Option<Tensor>,
    pub activation: Option<Unary>,
}

/// `f(scale·y + shift + residual)`, or nothing at all.
#[derive(Clone, Copy, Default)]
pub(super) struct Epilogue {
    /// Scales, then shifts: [2][O4] texels.
    folded: Option<Slice>,
    residual: Option<Tensor>,
    activation: Option<Unary>,
}

impl Epilogue {
    /// Records the kernel that folds `norm`, for the first submit alone where nothing changes it: scale = γ/√(σ² + ε), shift = β − μ·scale.
    pub fn fold(recording: &mut Recording, norm: &ConvNorm) -> Epilogue {
        let o4 = norm.gamma.shape.c4();
        let vectors = [norm.gamma, norm.beta, norm.running_mean, norm.running_variance].map(|t| t.slice);
        let folded = recording.once_for(&vectors, |recording| {
            let folded = recording.transient("folded batch norm", 2 * o4 as u64 * 16);
            let mut bindings: Vec<Binding> = vectors.map(Binding::Read).to_vec();
            bindings.push(Binding::Write(folded));
            recording.dispatch(Dispatch {
                shader: "conv/fold_batch_norm",
                defines: Defines::new().with("WORKGROUP", WORKGROUP),
                bindings,
                immediates: vec![o4 as u32, EPSILON.to_bits()],
                grid: [o4.div_ceil(WORKGROUP as usize) as u32, 1, 1],
                flops: 16 * o4 as u64,
                bytes: 6 * o4 as u64 * 16,
            });
            folded
        });
        Epilogue { folded: Some(folded), residual: norm.residual, activation: norm.activation }
    }

    /// Adds what `conv/epilogue` needs: constants, and bindings behind those that are there.
    pub fn bind(&self, mut defines: Defines, bindings: &mut Vec<Binding>) -> Defines {
        let Some(folded) = self.folded else { return defines };
        defines = defines.with("EPILOGUE", bindings.len());
        bindings.push(Binding::Operand(folded));
        if let Some(residual) = self.residual {
            defines = defines.with("RESIDUAL", 1);
            bindings.push(Binding::Operand(residual.slice));
        }
        match self.activation {
            Some(f) => defines.with(f.define(), 1),
            None => defines,
        }
    }

    /// Bytes of the residual.
    pub fn bytes(&self) -> u64 {
        self.residual.map_or(0, |r| r.shape.bytes())
    }
}
