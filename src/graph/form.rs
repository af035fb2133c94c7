//! What a value is: an activation, or weights in the kernels' own order.

use crate::gpu::Slice;
use crate::kernels::conv::depthwise::{DepthwiseShape, DepthwiseWeights};
use crate::kernels::conv::{WeightShape, Weights};
use crate::kernels::{Shape, Tensor};
use crate::{Error, Result};

/// The static shape and memory order of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// NC4HW4 activations, vectors and matrices.
    Tensor(Shape),
    /// Weights of a dense convolution or a linear layer, in panel order.
    Weight(WeightShape),
    /// Weights of a depthwise convolution.
    Depthwise(DepthwiseShape),
    /// Words that only kernels understand: labels, places of maxima, the step's state.
    Bytes(u64),
}

impl Form {
    pub fn bytes(&self) -> u64 {
        match self {
            Form::Tensor(shape) => shape.bytes(),
            Form::Weight(shape) => shape.bytes(),
            Form::Depthwise(shape) => shape.bytes(),
            Form::Bytes(bytes) => *bytes,
        }
    }

    /// Logical elements, padding left out.
    pub fn elements(&self) -> usize {
        match self {
            Form::Tensor(shape) => shape.elements(),
            Form::Weight(shape) => shape.elements(),
            Form::Depthwise(shape) => shape.elements(),
            Form::Bytes(bytes) => (*bytes / 4) as usize,
        }
    }

    /// Values in file order (NCHW, OIHW) to the engine's order.
    pub fn pack(&self, values: &[f32]) -> Vec<f32> {
        match self {
            Form::Tensor(shape) => shape.pack(values),
            Form::Weight(shape) => shape.pack(values),
            Form::Depthwise(shape) => shape.pack(values),
            Form::Bytes(_) => values.to_vec(),
        }
    }

    /// The inverse of [`Form::pack`].
    pub fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        match self {
            Form::Tensor(shape) => shape.unpack(packed),
            Form::Weight(shape) => shape.unpack(packed),
            Form::Depthwise(shape) => shape.unpack(packed),
            Form::Bytes(_) => packed.to_vec(),
        }
    }

    /// The shape of an activation.
    ///
    /// # Errors
    /// When this is weights: `operation` was given its operands in the wrong order.
    pub fn shape(&self, operation: &str) -> Result<Shape> {
        match self {
            Form::Tensor(shape) => Ok(*shape),
            other => Err(Error::shape(format!("{operation}: expected an activation, found {other:?}"))),
        }
    }
}

/// A value in memory, as an operation's kernels get it.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    pub form: Form,
    pub slice: Slice,
}

impl Operand {
    /// As an activation; weights are seen as a matrix of four columns, which is right for whatever treats all elements alike.
    pub fn tensor(&self) -> Tensor {
        let shape = match self.form {
            Form::Tensor(shape) => shape,
            Form::Weight(weight) => Shape::matrix(weight.texels(), 4),
            Form::Depthwise(weight) => Shape::matrix(weight.texels(), 4),
            Form::Bytes(bytes) => Shape::matrix((bytes / 16) as usize, 4),
        };
        Tensor::new(shape, self.slice)
    }

    /// As weights; a matrix `[O, I]` is not seen as weights, so the form must be [`Form::Weight`].
    pub fn weights(&self, operation: &str) -> Result<Weights> {
        match self.form {
            Form::Weight(shape) => Ok(Weights::new(shape, self.slice)),
            other => Err(Error::shape(format!("{operation}: expected weights, found {other:?}"))),
        }
    }

    /// As weights of a depthwise convolution.
    pub fn depthwise_weights(&self, operation: &str) -> Result<DepthwiseWeights> {
        match self.form {
            Form::Depthwise(shape) => Ok(DepthwiseWeights::new(shape, self.slice)),
            other => Err(Error::shape(format!("{operation}: expected depthwise weights, found {other:?}"))),
        }
    }
}
