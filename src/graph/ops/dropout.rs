//! Dropout with masks drawn by counter.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise;

/// Drops elements with `probability` and scales the others by 1/(1 − probability). Inputs x `[N, …]`, the step's state
/// ([`StepState`](crate::kernels::StepState)) and one u32 a sample, its number in the random stream.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Number of this layer within the network, so that layers draw different masks.
    pub layer: u16,
    pub probability: f32,
}

impl Operation for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let dropout = elementwise::Dropout {
            step: inputs[1].slice,
            samples: inputs[2].slice,
            layer: self.layer,
            probability: self.probability,
        };
        dropout.check(inputs[0].form.shape(self.name())?)?;
        elementwise::dropout(recording, &dropout, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
    /// The same mask, drawn again.
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let dx = match upstream[0] {
            Some(dy) if wanted[0] => Some(graph.apply1(*self, &[dy, node.inputs[1], node.inputs[2]])?),
            _ => None,
        };
        Ok(vec![dx, None, None])
    }
}
