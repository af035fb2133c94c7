//! GELU and CLIP's approximation of it; the gradient keeps the argument.

pub use crate::kernels::elementwise::Gelu;

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise;

impl Operation for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        elementwise::gelu(recording, *self, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0].filter(|_| wanted[0]) else { return Ok(vec![None]) };
        Ok(vec![Some(graph.apply1(GeluGrad(*self), &[node.inputs[0], dy])?)])
    }
}

/// Inputs x, dy.
struct GeluGrad(Gelu);

impl Operation for GeluGrad {
    fn name(&self) -> &'static str {
        "gelu_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [x, dy, dx] = [inputs[0], inputs[1], outputs[0]].map(|operand| operand.tensor());
        elementwise::gelu_grad(recording, self.0, x, dy, dx);
        Ok(())
    }
}
