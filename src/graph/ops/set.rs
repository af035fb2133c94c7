//! Operations over sets: a matrix `[sets · elements, C]` whose consecutive rows form sets of one size (DeepSets).

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::{Shape, reduce};
use crate::{Error, Result};

/// `[sets · elements, C]` to `[sets, C]`.
fn pooled(name: &str, x: Form, elements: usize) -> Result<Shape> {
    let x = x.shape(name)?;
    if elements == 0 || x.n % elements != 0 || x.pixels() != 1 {
        return Err(Error::shape(format!("{name}: {x} does not consist of sets of {elements}")));
    }
    Ok(Shape::matrix(x.n / elements, x.c))
}

/// The maximum of each set and channel; the gradient goes to the first one. Outputs y and its places.
#[derive(Clone, Copy, Debug)]
pub struct SetMax {
    pub elements: usize,
}

impl Operation for SetMax {
    fn name(&self) -> &'static str {
        "set_max"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let y = pooled(self.name(), inputs[0], self.elements)?;
        Ok(vec![Form::Tensor(y), Form::Bytes(reduce::set_places_bytes(y))])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        reduce::set_max(recording, inputs[0].tensor(), outputs[0].tensor(), outputs[1].slice);
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
        Ok(vec![Some(graph.apply1(SetMaxGrad(x), &[dy, node.outputs[1]])?)])
    }
}

/// Inputs dy, places.
struct SetMaxGrad(Shape);

impl Operation for SetMaxGrad {
    fn name(&self) -> &'static str {
        "set_max_grad"
    }
    fn forms(&self, _: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(self.0)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        reduce::set_max_grad(recording, inputs[0].tensor(), inputs[1].slice, outputs[0].tensor());
        Ok(())
    }
}

/// `factor` · the sum of each set and channel.
#[derive(Clone, Copy, Debug)]
pub struct SetSum {
    pub elements: usize,
    pub factor: f32,
}

impl SetSum {
    /// The mean of each set and channel.
    pub fn mean(elements: usize) -> SetSum {
        SetSum { elements, factor: 1.0 / elements.max(1) as f32 }
    }
}

impl Operation for SetSum {
    fn name(&self) -> &'static str {
        "set_sum"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(pooled(self.name(), inputs[0], self.elements)?)])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        reduce::set_sum(recording, inputs[0].tensor(), self.factor, outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        _: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0].filter(|_| wanted[0]) else { return Ok(vec![None]) };
        Ok(vec![Some(graph.apply1(SetBroadcast(*self), &[dy])?)])
    }
}

/// The gradient of [`SetSum`]: every element of a set = factor · the set's row.
struct SetBroadcast(SetSum);

impl Operation for SetBroadcast {
    fn name(&self) -> &'static str {
        "set_broadcast"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let y = inputs[0].shape(self.name())?;
        Ok(vec![Form::Tensor(Shape::matrix(y.n * self.0.elements, y.c))])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        reduce::set_broadcast(recording, inputs[0].tensor(), self.0.factor, outputs[0].tensor());
        Ok(())
    }
}

/// `y = x + factor · b`, the set's row of b added to each of its elements. Inputs x, b.
#[derive(Clone, Copy, Debug)]
pub struct SetBroadcastAdd {
    pub elements: usize,
    pub factor: f32,
}

impl Operation for SetBroadcastAdd {
    fn name(&self) -> &'static str {
        "set_broadcast_add"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let each = pooled(self.name(), inputs[0], self.elements)?;
        if inputs.get(1) != Some(&Form::Tensor(each)) {
            return Err(Error::shape(format!(
                "set_broadcast_add: expected a row a set, {each}, found {inputs:?}"
            )));
        }
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (x, b, y) = (inputs[0].tensor(), inputs[1].tensor(), outputs[0].tensor());
        reduce::set_broadcast_add(recording, x, b, self.factor, y);
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        _: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None, None]) };
        let sum = SetSum { elements: self.elements, factor: self.factor };
        let db = if wanted[1] { Some(graph.apply1(sum, &[dy])?) } else { None };
        Ok(vec![wanted[0].then_some(dy), db])
    }
}
