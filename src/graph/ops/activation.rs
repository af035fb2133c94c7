//! Activations that are not fused into another operation.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise::{self, Unary};

/// `y = f(x)`, element by element.
#[derive(Clone, Copy, Debug)]
pub struct Activation(pub Unary);

impl Operation for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        elementwise::unary(recording, self.0, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let dx = match upstream[0] {
            Some(dy) if wanted[0] => Some(activation_grad(graph, self.0, node.outputs[0], dy)?),
            _ => None,
        };
        Ok(vec![dx])
    }
}

/// `dx = dy · f'(x)`, from the result y = f(x).
pub(super) fn activation_grad(graph: &mut Graph, f: Unary, y: Value, dy: Value) -> Result<Value> {
    graph.apply1(ActivationGrad(f), &[y, dy])
}

/// Inputs y, dy.
struct ActivationGrad(Unary);

impl Operation for ActivationGrad {
    fn name(&self) -> &'static str {
        "activation_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        elementwise::unary_grad(
            recording,
            self.0,
            inputs[0].tensor(),
            inputs[1].tensor(),
            outputs[0].tensor(),
        );
        Ok(())
    }
}
