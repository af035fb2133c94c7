//! `y = a + b`, for two values of one form.

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise;
use crate::{Error, Result};

/// Sum of two values of one form.
pub struct Add;

impl Operation for Add {
    fn name(&self) -> &'static str {
        "add"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        match inputs {
            [a, b] if a == b => Ok(vec![*a]),
            _ => Err(Error::shape(format!("add: expected two values of one form, found {inputs:?}"))),
        }
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        elementwise::add(recording, inputs[0].tensor(), inputs[1].tensor(), outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        _: &mut Graph,
        _: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        Ok(wanted.iter().map(|&w| upstream[0].filter(|_| w)).collect())
    }
}
