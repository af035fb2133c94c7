//! Losses of one number a row, and what they are made of: sigmoids of a single logit, the gradient of a softmax, the
//! distance of a row from where it was.

use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::kernels::Tensor;
use crate::kernels::reduce;

const WORKGROUP: u32 = 64;

/// A row kernel: one invocation for each of `count` rows or texels.
struct Rows {
    shader: &'static str,
    defines: Defines,
    bindings: Vec<Binding>,
    immediates: Vec<u32>,
    count: usize,
    flops: u64,
    bytes: u64,
}

impl Rows {
    fn record(self, recording: &mut Recording) {
        recording.dispatch(Dispatch {
            shader: self.shader,
            defines: self.defines.with("WORKGROUP", WORKGROUP),
            bindings: self.bindings,
            immediates: self.immediates,
            grid: recording.grid((self.count as u64).div_ceil(u64::from(WORKGROUP))),
            flops: self.flops,
            bytes: self.bytes,
        });
    }
}

fn targeted(targets: Option<Tensor>) -> (Defines, Option<Binding>) {
    match targets {
        Some(targets) => (Defines::new().with("TARGETS", 1), Some(Binding::Read(targets.slice))),
        None => (Defines::new(), None),
    }
}

/// `loss` [1, 1] = the mean over rows of the binary cross-entropy of `logits` [N, 1] against `targets` [N, 1] in [0, 1];
/// without targets the mean of σ(logit).
pub fn sigmoid_mean(recording: &mut Recording, logits: Tensor, targets: Option<Tensor>, loss: Tensor) {
    let each = Tensor::transient(recording, "sigmoid rows", logits.shape);
    let (defines, extra) = targeted(targets);
    let mut bindings = vec![Binding::Read(logits.slice), Binding::Write(each.slice)];
    bindings.extend(extra);
    Rows {
        shader: "loss/sigmoid_rows",
        defines,
        bindings,
        immediates: vec![logits.shape.n as u32],
        count: logits.shape.n,
        flops: 6 * logits.shape.n as u64,
        bytes: 3 * logits.shape.bytes(),
    }
    .record(recording);
    reduce::mean(recording, each, loss);
}

/// `dlogits` [N, 1] = the gradient of [`sigmoid_mean`].
pub fn sigmoid_mean_grad(
    recording: &mut Recording,
    logits: Tensor,
    targets: Option<Tensor>,
    dlogits: Tensor,
) {
    let rows = logits.shape.n;
    let (defines, extra) = targeted(targets);
    let mut bindings = vec![Binding::Read(logits.slice), Binding::Write(dlogits.slice)];
    bindings.extend(extra);
    Rows {
        shader: "loss/sigmoid_rows_grad",
        defines,
        bindings,
        immediates: vec![rows as u32, mean_factor(rows).to_bits()],
        count: rows,
        flops: 6 * rows as u64,
        bytes: 3 * logits.shape.bytes(),
    }
    .record(recording);
}

/// `dx` [N, C] from `dy` and the result `y` of [`softmax`](super::softmax).
pub fn softmax_grad(recording: &mut Recording, y: Tensor, dy: Tensor, dx: Tensor) {
    Rows {
        shader: "loss/softmax_grad",
        defines: Defines::new(),
        bindings: vec![Binding::Read(y.slice), Binding::Read(dy.slice), Binding::Write(dx.slice)],
        immediates: vec![y.shape.n as u32, y.shape.c4() as u32],
        count: y.shape.n,
        flops: 4 * y.shape.elements() as u64,
        bytes: 3 * y.shape.bytes(),
    }
    .record(recording);
}

/// `loss` [1, 1] = the mean over rows of ‖x − origin‖₂, both [N, D]; `distances` [N, 1] holds those of the rows.
pub fn row_distance(recording: &mut Recording, x: Tensor, origin: Tensor, distances: Tensor, loss: Tensor) {
    Rows {
        shader: "loss/row_distance",
        defines: Defines::new(),
        bindings: vec![Binding::Read(x.slice), Binding::Read(origin.slice), Binding::Write(distances.slice)],
        immediates: vec![x.shape.n as u32, x.shape.c4() as u32],
        count: x.shape.n,
        flops: 3 * x.shape.elements() as u64,
        bytes: 2 * x.shape.bytes() + distances.shape.bytes(),
    }
    .record(recording);
    reduce::mean(recording, distances, loss);
}

/// `dx` [N, D] = the gradient of [`row_distance`]; 0 where a row has not moved.
pub fn row_distance_grad(recording: &mut Recording, x: Tensor, origin: Tensor, distances: Slice, dx: Tensor) {
    let factor = mean_factor(x.shape.n);
    Rows {
        shader: "loss/row_distance_grad",
        defines: Defines::new(),
        bindings: vec![
            Binding::Read(x.slice),
            Binding::Read(origin.slice),
            Binding::Write(dx.slice),
            Binding::Read(distances),
        ],
        immediates: vec![x.shape.n as u32, x.shape.c4() as u32, factor.to_bits()],
        count: x.shape.texels(),
        flops: 2 * x.shape.elements() as u64,
        bytes: 3 * x.shape.bytes(),
    }
    .record(recording);
}

/// 1/N, the weight of a row in a mean.
fn mean_factor(rows: usize) -> f32 {
    (1.0 / rows.max(1) as f64) as f32
}
