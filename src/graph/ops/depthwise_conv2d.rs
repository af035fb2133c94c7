//! Depthwise convolution: every channel has a kernel of its own.

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::conv::depthwise;
use crate::kernels::{Shape, conv};
use crate::{Error, Result};

/// `y[:, c] = x[:, c] ⋆ w[c]`; inputs x, w.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseConv2d {
    pub stride: usize,
    pub padding: usize,
}

fn geometry(op: &DepthwiseConv2d, x: Shape, weight: &Form) -> Result<conv::Conv2d> {
    match weight {
        Form::Depthwise(w) if w.channels == x.c => conv::Conv2d::new(x, x.c, w.kernel, op.stride, op.padding),
        other => Err(Error::shape(format!(
            "depthwise_conv2d: weights {other:?} do not fit an input {x} of {} channels",
            x.c
        ))),
    }
}

impl Operation for DepthwiseConv2d {
    fn name(&self) -> &'static str {
        "depthwise_conv2d"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let [x, w] = inputs else { return Err(Error::shape("depthwise_conv2d: expected x and w")) };
        Ok(vec![Form::Tensor(geometry(self, x.shape(self.name())?, w)?.output)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let x = inputs[0].tensor();
        let conv = geometry(self, x.shape, &inputs[1].form)?;
        let w = inputs[1].depthwise_weights(self.name())?;
        depthwise::depthwise_conv2d(recording, &conv, x, w, outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None, None]) };
        let (x, w) = (node.inputs[0], node.inputs[1]);
        let conv = geometry(self, graph.shape(x)?, &graph.form(w))?;
        let dx = if wanted[0] { Some(graph.apply1(GradInput(conv), &[dy, w])?) } else { None };
        let dw =
            if wanted[1] { Some(graph.apply1(GradWeight(conv, graph.form(w)), &[x, dy])?) } else { None };
        Ok(vec![dx, dw])
    }
}

/// Inputs dy, w.
struct GradInput(conv::Conv2d);

impl Operation for GradInput {
    fn name(&self) -> &'static str {
        "depthwise_conv2d_grad_input"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(self.0.input)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let w = inputs[1].depthwise_weights(self.name())?;
        let (dy, dx) = (inputs[0].tensor(), outputs[0].tensor());
        depthwise::depthwise_conv2d_grad_input(recording, &self.0, dy, w, dx);
        Ok(())
    }
}

/// Inputs x, dy; the form of the weights.
struct GradWeight(conv::Conv2d, Form);

impl Operation for GradWeight {
    fn name(&self) -> &'static str {
        "depthwise_conv2d_grad_weight"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![self.1])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let dw = outputs[0].depthwise_weights(self.name())?;
        let (x, dy) = (inputs[0].tensor(), inputs[1].tensor());
        depthwise::depthwise_conv2d_grad_weight(recording, &self.0, x, dy, dw);
        Ok(())
    }
}
