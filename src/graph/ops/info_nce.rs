//! InfoNCE with a queue, the loss of MoCo.

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::{Shape, Tensor, elementwise, loss};
use crate::{Error, Result};

/// Inputs: queries and keys `[N, D]`, both normalised here, row i of one the positive of row i of the other, and the queue
/// `[K, D]` of normalised negatives. Outputs `weight` times the mean loss `[1, 1]` and its gradient to the queries, which
/// is made at once because its kernels share what the loss computes. Keys and queue get no gradient. It is a root: its
/// upstream gradient is 1.
#[derive(Clone, Copy, Debug)]
pub struct InfoNce {
    pub temperature: f32,
    pub weight: f32,
}

impl Operation for InfoNce {
    fn name(&self) -> &'static str {
        "info_nce"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let [q, k, queue] = inputs else {
            return Err(Error::shape(format!(
                "info_nce: expected queries, keys and queue, found {inputs:?}"
            )));
        };
        for form in [q, k, queue] {
            form.shape(self.name())?;
        }
        Ok(vec![Form::Tensor(Shape::matrix(1, 1)), *q])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [q, k, queue] = [0, 1, 2].map(|i| inputs[i].tensor());
        let weighted = outputs[0].tensor();
        let plain = self.weight == 1.0;
        let mean =
            if plain { weighted } else { Tensor::transient(recording, "mean of InfoNCE", weighted.shape) };
        let saved = loss::info_nce(recording, q, k, queue, self.temperature, mean)?;
        if !plain {
            elementwise::scale(recording, mean, self.weight, weighted);
        }
        loss::info_nce_grad(recording, &saved, self.weight, outputs[1].tensor())
    }
    fn backward(
        &self,
        _: &mut Graph,
        node: &Node,
        _: &[Option<Value>],
        _: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        Ok(vec![Some(node.outputs[1]), None, None])
    }
}
