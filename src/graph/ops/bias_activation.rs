//! `y = f(x + b)` with one bias a channel: the end of a linear layer.

use super::activation::activation_grad;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise::{self, Unary};
use crate::kernels::{Shape, reduce};
use crate::{Error, Result};

/// Inputs x `[N, C, H, W]` and b `[C]`.
#[derive(Clone, Copy, Debug)]
pub struct BiasActivation(pub Option<Unary>);

impl Operation for BiasActivation {
    fn name(&self) -> &'static str {
        "bias_activation"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        match inputs {
            [Form::Tensor(x), Form::Tensor(b)] if *b == Shape::matrix(1, x.c) => Ok(vec![inputs[0]]),
            _ => Err(Error::shape(format!(
                "bias_activation: expected x and one bias a channel, found {inputs:?}"
            ))),
        }
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        elementwise::bias_activation(
            recording,
            inputs[0].tensor(),
            inputs[1].tensor(),
            self.0,
            outputs[0].tensor(),
        );
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(mut dy) = upstream[0] else { return Ok(vec![None, None]) };
        if let Some(f) = self.0 {
            dy = activation_grad(graph, f, node.outputs[0], dy)?;
        }
        let db = if wanted[1] { Some(graph.apply1(ChannelSums, &[dy])?) } else { None };
        Ok(vec![wanted[0].then_some(dy), db])
    }
}

/// `[N, C, H, W]` to the sum of each channel, `[1, C]`.
pub(super) struct ChannelSums;

impl Operation for ChannelSums {
    fn name(&self) -> &'static str {
        "channel_sums"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(Shape::matrix(1, inputs[0].shape(self.name())?.c))])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        reduce::channel_sums(recording, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
}
