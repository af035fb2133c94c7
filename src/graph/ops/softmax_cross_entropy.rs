//! Mean softmax cross-entropy: a loss.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::Shape;
use crate::kernels::loss::{self, CrossEntropy};

/// Inputs logits `[N, C]` and u32 labels; outputs the mean loss `[1, 1]` and the rows' log-sum-exps. It is a root: its upstream gradient is 1.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxCrossEntropy {
    /// Weight of the uniform distribution over the other classes (0 for none).
    pub smoothing: f32,
}

impl SoftmaxCrossEntropy {
    fn entropy(&self, logits: &Operand, labels: &Operand, normalizers: &Operand) -> CrossEntropy {
        CrossEntropy {
            logits: logits.tensor(),
            labels: labels.slice,
            smoothing: self.smoothing,
            normalizers: normalizers.tensor(),
        }
    }
}

impl Operation for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let logits = inputs[0].shape(self.name())?;
        Ok(vec![Form::Tensor(Shape::matrix(1, 1)), Form::Tensor(Shape::matrix(logits.n, 1))])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let entropy = self.entropy(&inputs[0], &inputs[1], &outputs[1]);
        loss::softmax_cross_entropy(recording, &entropy, outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        _: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        if !wanted[0] {
            return Ok(vec![None, None]);
        }
        let dlogits = graph
            .apply1(SoftmaxCrossEntropyGrad(*self), &[node.inputs[0], node.inputs[1], node.outputs[1]])?;
        Ok(vec![Some(dlogits), None])
    }
}

/// Inputs logits, labels, log-sum-exps.
struct SoftmaxCrossEntropyGrad(SoftmaxCrossEntropy);

impl Operation for SoftmaxCrossEntropyGrad {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let entropy = self.0.entropy(&inputs[0], &inputs[1], &inputs[2]);
        loss::softmax_cross_entropy_grad(recording, &entropy, 1.0, outputs[0].tensor());
        Ok(())
    }
}
