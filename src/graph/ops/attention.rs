//! Scaled dot-product attention of several heads.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::attention::{self, AttentionShape};

/// `softmax(qᵀk/√(D/heads))·v`; inputs q `[N, D, 1, Tq]`, k and v `[N, D, 1, Tk]`, heads being equal runs of the
/// channels. Outputs y `[N, D, 1, Tq]` and the probabilities.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    pub heads: usize,
}

impl Operation for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let [q, k, v] = [0, 1, 2].map(|i| inputs.get(i).copied().unwrap_or(Form::Bytes(0)));
        let (q, k, v) = (q.shape(self.name())?, k.shape(self.name())?, v.shape(self.name())?);
        let shape = AttentionShape::new(self.heads, q, k, v)?;
        Ok(vec![Form::Tensor(q), Form::Tensor(shape.probabilities())])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [q, k, v] = [inputs[0], inputs[1], inputs[2]].map(|operand| operand.tensor());
        let shape = AttentionShape::new(self.heads, q.shape, k.shape, v.shape)?;
        let (y, probabilities) = (outputs[0].tensor(), outputs[1].tensor());
        attention::attention(recording, &attention::Attention { shape, q, k, v, probabilities, y });
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None; 3]) };
        let inputs = [&node.inputs[..], &[node.outputs[1], dy]].concat();
        let gradients = graph.apply(AttentionGrad(*self), &inputs)?;
        Ok(gradients.into_iter().zip(wanted).map(|(g, &wanted)| wanted.then_some(g)).collect())
    }
}

/// Inputs q, k, v, probabilities, dy; outputs dq, dk, dv.
struct AttentionGrad(Attention);

impl Operation for AttentionGrad {
    fn name(&self) -> &'static str {
        "attention_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(inputs[..3].to_vec())
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [q, k, v] = [inputs[0], inputs[1], inputs[2]].map(|operand| operand.tensor());
        let grad = attention::AttentionGrad {
            shape: AttentionShape::new(self.0.heads, q.shape, k.shape, v.shape)?,
            q,
            k,
            v,
            probabilities: inputs[3].tensor(),
            dy: inputs[4].tensor(),
            dq: outputs[0].tensor(),
            dk: outputs[1].tensor(),
            dv: outputs[2].tensor(),
        };
        attention::attention_grad(recording, &grad);
        Ok(())
    }
}
