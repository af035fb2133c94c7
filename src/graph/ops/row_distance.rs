//! Mean Euclidean distance of rows from where they were: a loss.

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::{Shape, loss};
use crate::{Error, Result};

/// Inputs x and its origin, both `[N, D]`; outputs the mean of ‖x − origin‖₂ over rows `[1, 1]` and the rows' distances `[N, 1]`.
/// It is a root; the gradient of a row that has not moved is 0.
#[derive(Clone, Copy, Debug)]
pub struct RowDistance;

impl Operation for RowDistance {
    fn name(&self) -> &'static str {
        "row_distance"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        match inputs {
            [Form::Tensor(x), Form::Tensor(origin)] if x == origin && x.pixels() == 1 => {
                Ok([1, x.n].map(|rows| Form::Tensor(Shape::matrix(rows, 1))).to_vec())
            }
            _ => Err(Error::shape(format!("row_distance: expected two equal matrices, found {inputs:?}"))),
        }
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [x, origin] = [inputs[0].tensor(), inputs[1].tensor()];
        loss::row_distance(recording, x, origin, outputs[1].tensor(), outputs[0].tensor());
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        _: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        if wanted[1] {
            return Err(Error::shape("row_distance: its origin has no gradient"));
        }
        let inputs = [node.inputs[0], node.inputs[1], node.outputs[1]];
        Ok(vec![Some(graph.apply1(RowDistanceGrad, &inputs)?), None])
    }
}

/// Inputs x, origin, distances.
struct RowDistanceGrad;

impl Operation for RowDistanceGrad {
    fn name(&self) -> &'static str {
        "row_distance_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![inputs[0]])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [x, origin] = [inputs[0].tensor(), inputs[1].tensor()];
        loss::row_distance_grad(recording, x, origin, inputs[2].slice, outputs[0].tensor());
        Ok(())
    }
}
