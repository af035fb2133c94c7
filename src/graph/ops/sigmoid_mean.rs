//! Losses on one logit a row: mean binary cross-entropy, and the mean probability.

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::{Shape, Tensor, loss};
use crate::{Error, Result};

/// Inputs logits `[N, 1]` and, for the mean binary cross-entropy, targets `[N, 1]` in [0, 1]; without targets the loss is the mean
/// of σ(logit). It is a root.
#[derive(Clone, Copy, Debug)]
pub struct SigmoidMean;

impl Operation for SigmoidMean {
    fn name(&self) -> &'static str {
        "sigmoid_mean"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let logits = inputs[0].shape(self.name())?;
        if logits != Shape::matrix(logits.n, 1) || inputs.iter().any(|form| *form != inputs[0]) {
            return Err(Error::shape(format!(
                "sigmoid_mean: expected logits [N, 1] and at most targets of that form, found {inputs:?}"
            )));
        }
        Ok(vec![Form::Tensor(Shape::matrix(1, 1))])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        loss::sigmoid_mean(recording, inputs[0].tensor(), targets(inputs), outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        _: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let mut gradients = vec![None; wanted.len()];
        if wanted[0] {
            gradients[0] = Some(graph.apply1(SigmoidMeanGrad, &node.inputs)?);
        }
        Ok(gradients)
    }
}

fn targets(inputs: &[Operand]) -> Option<Tensor> {
    inputs.get(1).map(Operand::tensor)
}

/// Inputs as of [`SigmoidMean`].
struct SigmoidMeanGrad;

impl Operation for SigmoidMeanGrad {
    fn name(&self) -> &'static str {
        "sigmoid_mean_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        loss::sigmoid_mean_grad(recording, inputs[0].tensor(), targets(inputs), outputs[0].tensor());
        Ok(())
    }
}
