//! Layer norm over the channels of each pixel (token).

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::{Shape, norm};
use crate::{Error, Result};

/// `y = γ·(x − μ)/√(σ² + 1e-5) + β`; inputs x `[N, C, H, W]`, γ and β `[C]`. Outputs y and the statistics.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm;

impl Operation for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        match inputs {
            [Form::Tensor(x), gamma, beta]
                if x.c > 0 && [gamma, beta].iter().all(|v| **v == Form::Tensor(Shape::matrix(1, x.c))) =>
            {
                Ok(vec![inputs[0], Form::Bytes(norm::layer_norm_statistics_bytes(*x))])
            }
            _ => Err(Error::shape(format!(
                "layer_norm: expected x with one weight and one bias a channel, found {inputs:?}"
            ))),
        }
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let norm = norm::LayerNorm {
            x: inputs[0].tensor(),
            gamma: inputs[1].tensor(),
            beta: inputs[2].tensor(),
            y: outputs[0].tensor(),
            statistics: outputs[1].slice,
        };
        norm::layer_norm(recording, &norm);
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
        let inputs = [node.inputs[0], dy, node.inputs[1], node.outputs[1]];
        let gradients = graph.apply(LayerNormGrad, &inputs)?;
        Ok(gradients.into_iter().zip(wanted).map(|(g, &wanted)| wanted.then_some(g)).collect())
    }
}

/// Inputs x, dy, γ, statistics; outputs dx, dγ, dβ.
struct LayerNormGrad;

impl Operation for LayerNormGrad {
    fn name(&self) -> &'static str {
        "layer_norm_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0], inputs[2], inputs[2]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let norm = norm::LayerNormGrad {
            x: inputs[0].tensor(),
            dy: inputs[1].tensor(),
            gamma: inputs[2].tensor(),
            statistics: inputs[3].slice,
            dx: outputs[0].tensor(),
            dgamma: outputs[1].tensor(),
            dbeta: outputs[2].tensor(),
        };
        norm::layer_norm_grad(recording, &norm);
        Ok(())
    }
}
