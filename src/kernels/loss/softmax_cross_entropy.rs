//! Mean softmax cross-entropy with optional label smoothing, and softmax posteriors.

use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::kernels::reduce;
use crate::kernels::{Shape, Tensor};
use crate::{Error, Result};

const WORKGROUP: u32 = 64;

/// One cross-entropy over a batch.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    /// `[N, C]`
    pub logits: Tensor,
    /// `[N]` u32, each below C ([`check_labels`]; a larger one counts as the last class).
    pub labels: Slice,
    /// ε in [0, 1): the target distribution has 1 − ε on the label and ε/(C − 1) on every other class.
    pub smoothing: f32,
    /// `[N, 1]`: log-sum-exp of each row; written forward, read backward.
    pub normalizers: Tensor,
}

/// # Errors
/// Names the first label that is not a class.
pub fn check_labels(labels: &[u32], classes: usize) -> Result<()> {
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(row) => Err(Error::shape(format!(
            "cross-entropy: label {} of row {row} is not one of the {classes} classes 0..{classes}",
            labels[row]
        ))),
    }
}

/// `loss` [1, 1] = the mean over rows of −Σ w·log softmax(logits), nats. N and C are at least 1.
pub fn softmax_cross_entropy(recording: &mut Recording, entropy: &CrossEntropy, loss: Tensor) {
    let shape = entropy.logits.shape;
    let losses = Tensor::transient(recording, "cross-entropy rows", Shape::matrix(shape.n, 1));
    let defines = Defines::new().with("LABELS", 1);
    let bindings = vec![Binding::Read(entropy.labels), Binding::Write(losses.slice)];
    rows(recording, entropy.logits, entropy.normalizers, entropy.smoothing, defines, bindings);
    reduce::mean(recording, losses, loss);
}

/// `dlogits` [N, C] = `upstream` · the gradient of the mean loss; `entropy.normalizers` are those of the
/// forward pass.
pub fn softmax_cross_entropy_grad(
    recording: &mut Recording,
    entropy: &CrossEntropy,
    upstream: f32,
    dlogits: Tensor,
) {
    let factor = (f64::from(upstream) / entropy.logits.shape.n.max(1) as f64) as f32;
    let bindings = vec![Binding::Read(entropy.labels)];
    let defines = Defines::new().with("LABELS", 1);
    let words = [entropy.smoothing, factor];
    elements(recording, entropy.logits, entropy.normalizers, words, defines, bindings, dlogits);
}

/// `y` [N, C] = softmax of each row of `logits`.
pub fn softmax(recording: &mut Recording, logits: Tensor, y: Tensor) {
    let normalizers = Tensor::transient(recording, "log-sum-exp", Shape::matrix(logits.shape.n, 1));
    rows(recording, logits, normalizers, 0.0, Defines::new(), Vec::new());
    elements(recording, logits, normalizers, [0.0, 1.0], Defines::new(), Vec::new(), y);
}

/// Log-sum-exps, and with labels the losses, of each row.
fn rows(
    recording: &mut Recording,
    logits: Tensor,
    normalizers: Tensor,
    smoothing: f32,
    defines: Defines,
    extra: Vec<Binding>,
) {
    let shape = logits.shape;
    let bindings = [vec![Binding::Read(logits.slice), Binding::Write(normalizers.slice)], extra].concat();
    recording.dispatch(Dispatch {
        shader: "loss/softmax_cross_entropy",
        defines: defines.with("WORKGROUP", WORKGROUP),
        bindings,
        immediates: vec![shape.n as u32, shape.c as u32, smoothing.to_bits()],
        grid: recording.grid((shape.n as u64).div_ceil(u64::from(WORKGROUP))),
        flops: 5 * shape.elements() as u64,
        bytes: shape.bytes() + 2 * normalizers.shape.bytes(),
    });
}

/// Posteriors, and with labels gradients.
fn elements(
    recording: &mut Recording,
    logits: Tensor,
    normalizers: Tensor,
    [smoothing, factor]: [f32; 2],
    defines: Defines,
    extra: Vec<Binding>,
    y: Tensor,
) {
    let shape = logits.shape;
    let inputs = vec![Binding::Read(logits.slice), Binding::Read(normalizers.slice), Binding::Write(y.slice)];
    recording.dispatch(Dispatch {
        shader: "loss/softmax_cross_entropy_grad",
        defines: defines.with("WORKGROUP", WORKGROUP),
        bindings: [inputs, extra].concat(),
        immediates: vec![shape.n as u32, shape.c as u32, smoothing.to_bits(), factor.to_bits()],
        grid: recording.grid((shape.texels() as u64).div_ceil(u64::from(WORKGROUP))),
        flops: 4 * shape.elements() as u64,
        bytes: 2 * shape.bytes() + normalizers.shape.bytes(),
    });
}
