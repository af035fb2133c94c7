//! Layer normalisation (Ba, Kiros & Hinton, 2016) over the channels of each pixel:
//! `y = γ·(x − μ)/√(σ² + ε) + β`, σ² the biased variance.

use super::EPSILON;
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::kernels::planes::{Planes, WORKGROUP};
use crate::kernels::{Shape, Tensor, reduce};

/// Eight pixels, eight invocations each (`shaders/norm/layer_norm_rows.wgsl`).
const ROWS_WORKGROUP: u32 = 64;
const ROWS_EACH: usize = 8;

/// One layer norm. `x` and `y` are [N, C, H, W], γ and β [1, C].
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    pub x: Tensor,
    pub gamma: Tensor,
    pub beta: Tensor,
    pub y: Tensor,
    /// Written for the gradient: mean and 1/√(σ² + ε) of each pixel, [`layer_norm_statistics_bytes`].
    pub statistics: Slice,
}

/// Operands of [`layer_norm_grad`].
#[derive(Clone, Copy, Debug)]
pub struct LayerNormGrad {
    pub x: Tensor,
    pub dy: Tensor,
    pub gamma: Tensor,
    pub statistics: Slice,
    pub dx: Tensor,
    pub dgamma: Tensor,
    pub dbeta: Tensor,
}

/// Bytes of the statistics of a tensor of this shape: two numbers a pixel.
pub fn layer_norm_statistics_bytes(x: Shape) -> u64 {
    ((x.n * x.pixels()) as u64 * 8).next_multiple_of(16)
}

/// Normalises each pixel over its channels.
pub fn layer_norm(recording: &mut Recording, norm: &LayerNorm) {
    let shape = norm.x.shape;
    recording.dispatch(Dispatch {
        shader: "norm/layer_norm",
        defines: Defines::new().with("WORKGROUP", ROWS_WORKGROUP),
        bindings: vec![
            Binding::Read(norm.x.slice),
            Binding::Read(norm.gamma.slice),
            Binding::Read(norm.beta.slice),
            Binding::Write(norm.y.slice),
            Binding::Write(norm.statistics),
        ],
        immediates: [&row_words(shape)[..], &[EPSILON.to_bits()]].concat(),
        grid: rows_grid(recording, shape),
        flops: 8 * shape.elements() as u64,
        bytes: 2 * shape.bytes(),
    });
}

/// Gradients of [`layer_norm`]: dx, then dγ and dβ in two stages of fixed order.
pub fn layer_norm_grad(recording: &mut Recording, norm: &LayerNormGrad) {
    let shape = norm.x.shape;
    recording.dispatch(Dispatch {
        shader: "norm/layer_norm_grad",
        defines: Defines::new().with("WORKGROUP", ROWS_WORKGROUP),
        bindings: vec![
            Binding::Read(norm.x.slice),
            Binding::Read(norm.dy.slice),
            Binding::Read(norm.gamma.slice),
            Binding::Read(norm.statistics),
            Binding::Write(norm.dx.slice),
        ],
        immediates: row_words(shape).to_vec(),
        grid: rows_grid(recording, shape),
        flops: 12 * shape.elements() as u64,
        bytes: 3 * shape.bytes(),
    });
    let planes = Planes::reduce(recording.facts().class, shape);
    let bytes = planes.shares() as u64 * 16;
    let [gamma, beta] = ["layer norm partial dgamma", "layer norm partial dbeta"]
        .map(|label| recording.transient(label, bytes));
    recording.dispatch(Dispatch {
        shader: "norm/layer_norm_grad_partials",
        defines: planes.defines(recording, WORKGROUP),
        bindings: vec![
            Binding::Read(norm.x.slice),
            Binding::Read(norm.dy.slice),
            Binding::Read(norm.statistics),
            Binding::Write(gamma),
            Binding::Write(beta),
        ],
        immediates: planes.words().to_vec(),
        grid: planes.grid(recording),
        flops: 5 * shape.elements() as u64,
        bytes: 2 * shape.bytes() + 2 * bytes,
    });
    for (partials, y) in [(gamma, norm.dgamma), (beta, norm.dbeta)] {
        reduce::fold(recording, partials, planes.parts(), shape.c4(), 1.0, y.slice, Defines::new());
    }
}

fn row_words(shape: Shape) -> [u32; 3] {
    [shape.n * shape.pixels(), shape.pixels(), shape.c].map(|w| w as u32)
}

fn rows_grid(recording: &Recording, shape: Shape) -> [u32; 3] {
    recording.grid((shape.n * shape.pixels()).div_ceil(ROWS_EACH) as u64)
}
