//! Pooling over windows and over whole images.

use crate::Result;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::Shape;
use crate::kernels::pool::{self, Pool2d};

/// The maximum over each window; padding counts as −∞. Outputs y and the places of the maxima.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool2d {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl MaxPool2d {
    fn geometry(&self, x: Shape) -> Result<Pool2d> {
        Pool2d::new(x, self.kernel, self.stride, self.padding)
    }
}

impl Operation for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let pool = self.geometry(inputs[0].shape(self.name())?)?;
        Ok(vec![Form::Tensor(pool.output), Form::Bytes(pool.places_bytes())])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let x = inputs[0].tensor();
        pool::max_pool2d(recording, &self.geometry(x.shape)?, x, outputs[0].tensor(), outputs[1].slice);
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0].filter(|_| wanted[0]) else { return Ok(vec![None]) };
        let pool = self.geometry(graph.shape(node.inputs[0])?)?;
        Ok(vec![Some(graph.apply1(MaxPool2dGrad(pool), &[node.outputs[1], dy])?)])
    }
}

/// Inputs places, dy.
struct MaxPool2dGrad(Pool2d);

impl Operation for MaxPool2dGrad {
    fn name(&self) -> &'static str {
        "max_pool2d_grad"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(self.0.input)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        pool::max_pool2d_grad(recording, &self.0, inputs[0].slice, inputs[1].tensor(), outputs[0].tensor());
        Ok(())
    }
}

/// The mean over each window, without padding.
#[derive(Clone, Copy, Debug)]
pub struct AvgPool2d {
    pub kernel: usize,
    pub stride: usize,
}

impl AvgPool2d {
    fn geometry(&self, x: Shape) -> Result<Pool2d> {
        Pool2d::new(x, self.kernel, self.stride, 0)
    }
}

impl Operation for AvgPool2d {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(self.geometry(inputs[0].shape(self.name())?)?.output)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let x = inputs[0].tensor();
        pool::avg_pool2d(recording, &self.geometry(x.shape)?, x, outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0].filter(|_| wanted[0]) else { return Ok(vec![None]) };
        let pool = self.geometry(graph.shape(node.inputs[0])?)?;
        Ok(vec![Some(graph.apply1(AvgPool2dGrad(pool), &[dy])?)])
    }
}

struct AvgPool2dGrad(Pool2d);

impl Operation for AvgPool2dGrad {
    fn name(&self) -> &'static str {
        "avg_pool2d_grad"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(self.0.input)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        pool::avg_pool2d_grad(recording, &self.0, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
}

/// `[N, C, H, W]` to the mean of each channel, `[N, C]`.
#[derive(Clone, Copy, Debug)]
pub struct GlobalAvgPool2d;

impl Operation for GlobalAvgPool2d {
    fn name(&self) -> &'static str {
        "global_avg_pool2d"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        Ok(vec![Form::Tensor(Shape::matrix(x.n, x.c))])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        pool::global_avg_pool2d(recording, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0].filter(|_| wanted[0]) else { return Ok(vec![None]) };
        let x = graph.shape(node.inputs[0])?;
        Ok(vec![Some(graph.apply1(GlobalAvgPool2dGrad(x), &[dy])?)])
    }
}

struct GlobalAvgPool2dGrad(Shape);

impl Operation for GlobalAvgPool2dGrad {
    fn name(&self) -> &'static str {
        "global_avg_pool2d_grad"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(self.0)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        pool::global_avg_pool2d_grad(recording, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
}
