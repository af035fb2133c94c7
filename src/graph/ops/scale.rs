//! `y = factor·x`.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise;

/// Multiplies every element by a constant.
#[derive(Clone, Copy, Debug)]
pub struct Scale(pub f32);

impl Operation for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        elementwise::scale(recording, inputs[0].tensor(), self.0, outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        _: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        match upstream[0] {
            Some(dy) if wanted[0] => Ok(vec![Some(graph.apply1(*self, &[dy])?)]),
            _ => Ok(vec![None]),
        }
    }
}
