//! `y = softmax(x)`, row by row.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::loss;

/// Posteriors `[N, C]` of logits `[N, C]`, with their gradient; a loss on logits alone is better served by
/// [`SoftmaxCrossEntropy`](super::SoftmaxCrossEntropy).
#[derive(Clone, Copy, Debug)]
pub struct Softmax;

impl Operation for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        inputs[0].shape(self.name())?;
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        loss::softmax(recording, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        match upstream[0] {
            Some(dy) if wanted[0] => Ok(vec![Some(graph.apply1(SoftmaxGrad, &[node.outputs[0], dy])?)]),
            _ => Ok(vec![None]),
        }
    }
}

/// Inputs y, dy.
struct SoftmaxGrad;

impl Operation for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        loss::softmax_grad(recording, inputs[0].tensor(), inputs[1].tensor(), outputs[0].tensor());
        Ok(())
    }
}
