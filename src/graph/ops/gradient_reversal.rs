//! The gradient-reversal layer (Ganin and Lempitsky, ICML 2015), with which Talos censors an attribute.

use super::Scale;
use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};

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
            Some(dy) if wanted[0] => Some(graph.apply1(Scale(-self.lambda), &[dy])?),
            _ => None,
        };
        Ok(vec![dx])
    }
}
