//! Joining and taking rows of a batch, which are contiguous in memory: copies.

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::Shape;
use crate::{Error, Result};

/// The rows of all inputs, one after the other.
#[derive(Clone, Copy, Debug)]
pub struct ConcatRows;

impl Operation for ConcatRows {
    fn name(&self) -> &'static str {
        "concat_rows"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let shapes = inputs.iter().map(|f| f.shape(self.name())).collect::<Result<Vec<_>>>()?;
        let first = *shapes.first().ok_or_else(|| Error::shape("concat_rows: expected an input"))?;
        if shapes.iter().any(|s| (s.c, s.h, s.w) != (first.c, first.h, first.w)) {
            return Err(Error::shape(format!("concat_rows: rows of different shapes {inputs:?}")));
        }
        Ok(vec![Form::Tensor(Shape { n: shapes.iter().map(|s| s.n).sum(), ..first })])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let mut offset = 0;
        for input in inputs {
            let bytes = input.form.bytes();
            recording.copy(input.slice.part(0, bytes), outputs[0].slice.part(offset, bytes));
            offset += bytes;
        }
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0] else { return Ok(vec![None; wanted.len()]) };
        let mut first = 0;
        let mut gradients = Vec::new();
        for (&input, &wanted) in node.inputs.iter().zip(wanted) {
            let count = graph.shape(input)?.n;
            gradients.push(if wanted { Some(graph.apply1(TakeRows { first, count }, &[dy])?) } else { None });
            first += count;
        }
        Ok(gradients)
    }
}

/// Rows `first .. first + count`.
#[derive(Clone, Copy, Debug)]
pub struct TakeRows {
    pub first: usize,
    pub count: usize,
}

impl Operation for TakeRows {
    fn name(&self) -> &'static str {
        "take_rows"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        if self.first + self.count > x.n {
            return Err(Error::shape(format!(
                "take_rows: rows {}..{} of {x}",
                self.first,
                self.first + self.count
            )));
        }
        Ok(vec![Form::Tensor(Shape { n: self.count, ..x })])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let y = outputs[0].form.bytes();
        let row = y / self.count.max(1) as u64;
        recording.copy(inputs[0].slice.part(self.first as u64 * row, y), outputs[0].slice.part(0, y));
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let dx = match upstream[0] {
            Some(dy) if wanted[0] => {
                let rows = graph.shape(node.inputs[0])?.n;
                Some(graph.apply1(PlaceRows { first: self.first, rows }, &[dy])?)
            }
            _ => None,
        };
        Ok(vec![dx])
    }
}

/// The input as rows `first ..` of `rows`, zeros elsewhere: the gradient of [`TakeRows`].
struct PlaceRows {
    first: usize,
    rows: usize,
}

impl Operation for PlaceRows {
    fn name(&self) -> &'static str {
        "place_rows"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        Ok(vec![Form::Tensor(Shape { n: self.rows, ..x })])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let bytes = inputs[0].form.bytes();
        let row = outputs[0].form.bytes() / self.rows.max(1) as u64;
        recording.clear(outputs[0].slice);
        recording.copy(inputs[0].slice.part(0, bytes), outputs[0].slice.part(self.first as u64 * row, bytes));
        Ok(())
    }
}
