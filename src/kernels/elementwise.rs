//! Kernels that treat every element alone: activations and their gradients, sums, scaling, bias, dropout.

use super::Tensor;
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording};

/// Invocations of a workgroup; 64 keeps launches cheap on software adapters and fills GPU waves.
const WORKGROUP: u32 = 64;

/// Functions of one variable with f(0) = 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Relu,
    Relu6,
    Tanh,
}

impl Unary {
    fn define(self) -> &'static str {
        match self {
            Unary::Relu => "OP_RELU",
            Unary::Relu6 => "OP_RELU6",
            Unary::Tanh => "OP_TANH",
        }
    }
}

/// `y = f(x)`; both of one shape.
pub fn unary(recording: &mut Recording, f: Unary, x: Tensor, y: Tensor) {
    let count = x.shape.texels() as u64;
    recording.dispatch(Dispatch {
        shader: "elementwise/unary",
        defines: Defines::new().with("WORKGROUP", WORKGROUP).with(f.define(), 1),
        bindings: vec![Binding::Read(x.slice), Binding::Write(y.slice)],
        immediates: vec![count as u32],
        grid: recording.grid(count.div_ceil(u64::from(WORKGROUP))),
        flops: x.shape.elements() as u64,
        bytes: 2 * x.shape.bytes(),
    });
}

/// `y = a + b`; all of one shape.
pub fn add(recording: &mut Recording, a: Tensor, b: Tensor, y: Tensor) {
    let count = a.shape.texels() as u64;
    recording.dispatch(Dispatch {
        shader: "elementwise/add",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![Binding::Read(a.slice), Binding::Read(b.slice), Binding::Write(y.slice)],
        immediates: vec![count as u32],
        grid: recording.grid(count.div_ceil(u64::from(WORKGROUP))),
        flops: a.shape.elements() as u64,
        bytes: 3 * a.shape.bytes(),
    });
}
