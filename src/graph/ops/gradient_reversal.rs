//! The gradient-reversal layer (Ganin and Lempitsky, ICML 2015), with which Talos censors an attribute.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise;

/// `y = x`; its gradient is `dx = −λ·dy`: what follows descends its loss, what came before climbs it.
#[derive(Clone, Copy, Debug)]
pub struct GradientReversal {
    pub lambda: f32,
}

impl Operation for GradientReversal {
    fn name(&self) -> &'static str {
        "gradient_reversal"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        recording.copy(inputs[0].slice, outputs[0].slice);
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        _: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let dx = match upstream[0] {
            Some(dy) if wanted[0] => Some(graph.apply1(Reversed { lambda: self.lambda }, &[dy])?),
            _ => None,
        };
        Ok(vec![dx])
    }
}

/// −λ·dy.
struct Reversed {
    lambda: f32,
}

impl Operation for Reversed {
    fn name(&self) -> &'static str {
        "gradient_reversal_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        elementwise::scale(recording, inputs[0].tensor(), -self.lambda, outputs[0].tensor());
        Ok(())
    }
}
