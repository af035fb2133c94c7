//! Shapes and tensors in the engine's layout.

use crate::gpu::{Recording, Slice};
use std::fmt;

/// Logical NCHW shape. A matrix `[N, D]` is `n = N, c = D, h = w = 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
}

impl Shape {
    pub const fn new(n: usize, c: usize, h: usize, w: usize) -> Shape {
        Shape { n, c, h, w }
    }
    pub const fn matrix(rows: usize, columns: usize) -> Shape {
        Shape { n: rows, c: columns, h: 1, w: 1 }
    }
    /// Channel groups of four.
    pub const fn c4(&self) -> usize {
        self.c.div_ceil(4)
    }
    /// Pixels of one image.
    pub const fn pixels(&self) -> usize {
        self.h * self.w
    }
    /// `vec4` elements in NC4HW4 layout.
    pub const fn texels(&self) -> usize {
        self.n * self.c4() * self.h * self.w
    }
    /// Bytes in NC4HW4 layout, padding lanes included.
    pub const fn bytes(&self) -> u64 {
        self.texels() as u64 * 16
    }
    /// Logical elements.
    pub const fn elements(&self) -> usize {
        self.n * self.c * self.h * self.w
    }

    /// NCHW values in NC4HW4 order, padding lanes zero. `values.len()` must be [`Shape::elements`].
    pub fn pack(&self, values: &[f32]) -> Vec<f32> {
        let mut packed = vec![0.0; self.texels() * 4];
        for (i, &value) in values.iter().enumerate().take(self.elements()) {
            packed[self.packed_index(i)] = value;
        }
        packed
    }

    /// The inverse of [`Shape::pack`]; padding lanes are dropped.
    pub fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        (0..self.elements()).map(|i| packed[self.packed_index(i)]).collect()
    }

    fn packed_index(&self, i: usize) -> usize {
        let (p, c, n) = (i % self.pixels(), i / self.pixels() % self.c, i / self.pixels() / self.c);
        ((n * self.c4() + c / 4) * self.pixels() + p) * 4 + c % 4
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.h == 1 && self.w == 1 {
            write!(f, "[{}, {}]", self.n, self.c)
        } else {
            write!(f, "[{}, {}, {}, {}]", self.n, self.c, self.h, self.w)
        }
    }
}

/// f32 values of a shape in NC4HW4 layout: the element (n, c, h, w) lies at
/// `((((n·C4 + c/4)·H + h)·W + w)·4 + c%4`. Padding lanes hold zero; every kernel keeps that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor {
    pub shape: Shape,
    pub slice: Slice,
}

impl Tensor {
    pub fn new(shape: Shape, slice: Slice) -> Tensor {
        Tensor { shape, slice: slice.part(0, shape.bytes()) }
    }

    /// A tensor that lives only inside `recording`.
    pub fn transient(recording: &mut Recording, label: &str, shape: Shape) -> Tensor {
        Tensor::new(shape, recording.transient(label, shape.bytes()))
    }

    /// The same memory seen with another shape of equal packed size.
    pub fn reshaped(self, shape: Shape) -> Tensor {
        debug_assert_eq!(shape.bytes(), self.shape.bytes(), "{} seen as {shape}", self.shape);
        Tensor { shape, slice: self.slice }
    }
}
