//! `y = S·x` with a loss scale S that only the GPU knows.

use crate::gpu::Recording;
use crate::graph::{Form, Operand, Operation};
use crate::kernels::loss_scale;
use crate::{Error, Result};

/// Multiplies a gradient by the scale of a [`LossScaleState`](loss_scale::LossScaleState), its second input. What gradients are made
/// of is not differentiated again.
#[derive(Clone, Copy, Debug)]
pub struct ScaleGradient;

impl Operation for ScaleGradient {
    fn name(&self) -> &'static str {
        "scale_gradient"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        match inputs {
            [x @ Form::Tensor(_), Form::Bytes(16)] => Ok(vec![*x]),
            _ => Err(Error::shape(format!(
                "scale_gradient: expected an activation and a state, found {inputs:?}"
            ))),
        }
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        loss_scale::scale_gradient(recording, inputs[1].slice, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
}
