//! Rows of a batch in another order.

use crate::gpu::Recording;
use crate::graph::{Form, Operand, Operation};
use crate::kernels::{Shape, elementwise};
use crate::{Error, Result};

/// Row i of the output is row `rows[i]` of the input. Inputs x `[N, …]` and the numbers of rows, a u32 for each row of the
/// output, all below N. It has no gradient: MoCo shuffles what is on the way to its keys only.
#[derive(Clone, Copy, Debug)]
pub struct GatherRows;

impl Operation for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        match inputs {
            [x, Form::Bytes(bytes)] => {
                let x = x.shape(self.name())?;
                Ok(vec![Form::Tensor(Shape { n: (bytes / 4) as usize, ..x })])
            }
            _ => {
                Err(Error::shape(format!("gather_rows: expected a tensor and row numbers, found {inputs:?}")))
            }
        }
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        elementwise::gather_rows(recording, inputs[0].tensor(), inputs[1].slice, outputs[0].tensor());
        Ok(())
    }
}
