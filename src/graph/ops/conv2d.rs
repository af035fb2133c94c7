//! Dense convolution; with kernel 1 on `[N, D]` it is a linear layer without bias.

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise::Unary;
use crate::kernels::{Shape, conv};
use crate::{Error, Result};

/// `y = x ⋆ w`; inputs x, w.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    pub stride: usize,
    pub padding: usize,
}

fn geometry(op: &Conv2d, x: Shape, weight: &Form) -> Result<conv::Conv2d> {
    match weight {
        Form::Weight(w) if w.i == x.c => conv::Conv2d::new(x, w.o, w.kernel, op.stride, op.padding),
        other => Err(Error::shape(format!(
            "conv2d: weights {other:?} do not fit an input {x} of {} channels",
            x.c
        ))),
    }
}

impl Operation for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let [x, w] = inputs else { return Err(Error::shape("conv2d: expected x and w")) };
        Ok(vec![Form::Tensor(geometry(self, x.shape("conv2d")?, w)?.output)])
    }
    fn prepare(&self, recording: &mut Recording, inputs: &[Operand]) -> Result<()> {
        let conv = geometry(self, inputs[0].tensor().shape, &inputs[1].form)?;
        conv::prepare(recording, &conv, inputs[1].weights(self.name())?);
        Ok(())
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let x = inputs[0].tensor();
        let conv = geometry(self, x.shape, &inputs[1].form)?;
        conv::conv2d(recording, &conv, x, inputs[1].weights("conv2d")?, outputs[0].tensor());
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
        if wanted[0] && wanted[1] {
            return Ok(graph.apply(Grads(conv), &[x, w, dy])?.into_iter().map(Some).collect());
        }
        let dx = if wanted[0] { Some(graph.apply1(GradInput(conv), &[dy, w])?) } else { None };
        let dw = if wanted[1] { Some(graph.apply1(GradWeight(conv), &[x, dy])?) } else { None };
        Ok(vec![dx, dw])
    }
}

/// [`Conv2d`] and the [`BatchNormEval`](super::BatchNormEval) behind it: inputs x, w, γ, β, running mean, running variance, and optionally the
/// residual. Lowering makes it where nobody needs what lies between, so nobody asks for its gradient.
pub(super) struct Conv2dNorm {
    pub conv: Conv2d,
    pub activation: Option<Unary>,
}

impl Operation for Conv2dNorm {
    fn name(&self) -> &'static str {
        "conv2d_norm"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        self.conv.forms(&inputs[..inputs.len().min(2)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let x = inputs[0].tensor();
        let conv = geometry(&self.conv, x.shape, &inputs[1].form)?;
        let norm = conv::ConvNorm {
            gamma: inputs[2].tensor(),
            beta: inputs[3].tensor(),
            running_mean: inputs[4].tensor(),
            running_variance: inputs[5].tensor(),
            residual: inputs.get(6).map(Operand::tensor),
            activation: self.activation,
        };
        conv::conv2d_norm(recording, &conv, x, inputs[1].weights(self.name())?, &norm, outputs[0].tensor());
        Ok(())
    }
}

/// Inputs x, w, dy; outputs dx, dw.
struct Grads(conv::Conv2d);

impl Operation for Grads {
    fn name(&self) -> &'static str {
        "conv2d_grads"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(self.0.input), Form::Weight(self.0.weight())])
    }
    fn prepare(&self, recording: &mut Recording, inputs: &[Operand]) -> Result<()> {
        conv::prepare_grad_input(recording, &self.0, inputs[1].weights(self.name())?);
        Ok(())
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let forward = (inputs[0].tensor(), inputs[1].weights(self.name())?);
        let gradients = (outputs[0].tensor(), outputs[1].weights(self.name())?);
        conv::conv2d_grads(recording, &self.0, forward, inputs[2].tensor(), gradients);
        Ok(())
    }
}

/// Inputs dy, w.
struct GradInput(conv::Conv2d);

impl Operation for GradInput {
    fn name(&self) -> &'static str {
        "conv2d_grad_input"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(self.0.input)])
    }
    fn prepare(&self, recording: &mut Recording, inputs: &[Operand]) -> Result<()> {
        conv::prepare_grad_input(recording, &self.0, inputs[1].weights(self.name())?);
        Ok(())
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let w = inputs[1].weights(self.name())?;
        conv::conv2d_grad_input(recording, &self.0, inputs[0].tensor(), w, outputs[0].tensor());
        Ok(())
    }
}

/// Inputs x, dy.
struct GradWeight(conv::Conv2d);

impl Operation for GradWeight {
    fn name(&self) -> &'static str {
        "conv2d_grad_weight"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Weight(self.0.weight())])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let dw = outputs[0].weights(self.name())?;
        conv::conv2d_grad_weight(recording, &self.0, inputs[0].tensor(), inputs[1].tensor(), dw);
        Ok(())
    }
}
