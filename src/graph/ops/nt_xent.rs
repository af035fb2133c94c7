//! NT-Xent, the loss of SimCLR.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::Shape;
use crate::kernels::loss;

/// Input: projections z `[2N, D]`, row i paired with row i ± N. Outputs the mean loss `[1, 1]` and its gradient to z, which
/// is made at once because its kernels share what the loss computes. It is a root: its upstream gradient is 1.
#[derive(Clone, Copy, Debug)]
pub struct NtXent {
    pub temperature: f32,
}

impl Operation for NtXent {
    fn name(&self) -> &'static str {
        "nt_xent"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        inputs[0].shape(self.name())?;
        Ok(vec![Form::Tensor(Shape::matrix(1, 1)), inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let saved = loss::nt_xent(recording, inputs[0].tensor(), self.temperature, outputs[0].tensor())?;
        loss::nt_xent_grad(recording, &saved, 1.0, outputs[1].tensor())
    }
    fn backward(
        &self,
        _: &mut Graph,
        node: &Node,
        _: &[Option<Value>],
        _: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        Ok(vec![Some(node.outputs[1])])
    }
}
