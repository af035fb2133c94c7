//! What a value is: an activation, or weights in the kernels' own order.

use crate::gpu::Slice;
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
}

impl Form {
    pub fn bytes(&self) -> u64 {
        match self {
            Form::Tensor(shape) => shape.bytes(),
            Form::Weight(shape) => shape.bytes(),
        }
    }

    /// Logical elements, padding left out.
    pub fn elements(&self) -> usize {
        match self {
            Form::Tensor(shape) => shape.elements(),
            Form::Weight(shape) => shape.elements(),
        }
    }

    /// Dimensions as state dicts have them: a vector `[C]`, weights OIHW.
    pub fn dimensions(&self) -> Vec<usize> {
        match self {
            Form::Tensor(s) if s.n == 1 && s.pixels() == 1 => vec![s.c],
            Form::Tensor(s) if s.pixels() == 1 => vec![s.n, s.c],
            Form::Tensor(s) => vec![s.n, s.c, s.h, s.w],
            Form::Weight(w) => vec![w.o, w.i, w.kernel, w.kernel],
        }
    }

    /// Values in file order (NCHW, OIHW) to the engine's order.
    pub fn pack(&self, values: &[f32]) -> Vec<f32> {
        match self {
            Form::Tensor(shape) => shape.pack(values),
            Form::Weight(shape) => shape.pack(values),
        }
    }

    /// The inverse of [`Form::pack`].
    pub fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        match self {
            Form::Tensor(shape) => shape.unpack(packed),
            Form::Weight(shape) => shape.unpack(packed),
        }
    }

    /// The shape of an activation.
    ///
    /// # Errors
    /// When this is weights: `operation` was given its operands in the wrong order.
    pub fn shape(&self, operation: &str) -> Result<Shape> {
        match self {
            Form::Tensor(shape) => Ok(*shape),
            Form::Weight(w) => {
                Err(Error::shape(format!("{operation}: expected an activation, found weights {w:?}")))
            }
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
        };
        Tensor::new(shape, self.slice)
    }

    /// As weights; a matrix `[O, I]` is not seen as weights, so the form must be [`Form::Weight`].
    pub fn weights(&self, operation: &str) -> Result<Weights> {
        match self.form {
            Form::Weight(shape) => Ok(Weights::new(shape, self.slice)),
            Form::Tensor(shape) => {
                Err(Error::shape(format!("{operation}: expected weights, found an activation {shape}")))
            }
        }
    }
}
