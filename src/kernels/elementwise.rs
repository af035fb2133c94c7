//! Kernels that treat every element alone: activations and their gradients, sums, scaling, bias, dropout.

use super::planes::{Planes, WORKGROUP};
use super::{Shape, Tensor};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::{Error, Result};

/// Functions of one variable with f(0) = 0. Where a kernel fuses one, `None` stands for the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    Relu,
    Relu6,
    Tanh,
}

impl Unary {
    pub(super) fn define(self) -> &'static str {
        match self {
            Unary::Relu => "OP_RELU",
            Unary::Relu6 => "OP_RELU6",
            Unary::Tanh => "OP_TANH",
        }
    }
}

/// Work of a kernel with one invocation for each of `count` texels.
struct Map {
    shader: &'static str,
    defines: Defines,
    bindings: Vec<Binding>,
    parameters: Vec<u32>,
    count: usize,
    flops_each: u64,
    /// Tensors read and written.
    passes: u64,
}

impl Map {
    fn record(self, recording: &mut Recording) {
        let count = self.count as u64;
        recording.dispatch(Dispatch {
            shader: self.shader,
            defines: self.defines.with("WORKGROUP", WORKGROUP),
            bindings: self.bindings,
            immediates: self.parameters,
            grid: recording.grid(count.div_ceil(u64::from(WORKGROUP))),
            flops: self.flops_each * count * 4,
            bytes: self.passes * count * 16,
        });
    }
}

/// `y = f(x)`; both of one shape.
pub fn unary(recording: &mut Recording, f: Unary, x: Tensor, y: Tensor) {
    let count = x.shape.texels();
    Map {
        shader: "elementwise/unary",
        defines: Defines::new().with(f.define(), 1),
        bindings: vec![Binding::Operand(x.slice), Binding::Write(y.slice)],
        parameters: vec![count as u32],
        count,
        flops_each: 1,
        passes: 2,
    }
    .record(recording);
}

/// Gradient of [`unary`] from its result: `dx = dy·f'`, 0 at the corners of relu and relu6.
pub fn unary_grad(recording: &mut Recording, f: Unary, y: Tensor, dy: Tensor, dx: Tensor) {
    let count = y.shape.texels();
    Map {
        shader: "elementwise/unary_grad",
        defines: Defines::new().with(f.define(), 1),
        bindings: vec![Binding::Operand(y.slice), Binding::Operand(dy.slice), Binding::Write(dx.slice)],
        parameters: vec![count as u32],
        count,
        flops_each: 1,
        passes: 3,
    }
    .record(recording);
}

/// Activations x·F(x) with F a distribution function (Hendrycks & Gimpel, 2016). They are not monotonous, so
/// their gradient needs x, and no kernel fuses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gelu {
    /// F the normal distribution function, missed by at most 1.8e-8 and the rounding of exp.
    Exact,
    /// F(x) = σ(1.702·x), as in CLIP.
    Quick,
}

impl Gelu {
    fn defines(self) -> Defines {
        Defines::new().with("EXACT", self == Gelu::Exact)
    }
}

/// `y = x·F(x)`; both of one shape.
pub fn gelu(recording: &mut Recording, f: Gelu, x: Tensor, y: Tensor) {
    let count = x.shape.texels();
    Map {
        shader: "elementwise/gelu",
        defines: f.defines(),
        bindings: vec![Binding::Operand(x.slice), Binding::Write(y.slice)],
        parameters: vec![count as u32],
        count,
        flops_each: 2,
        passes: 2,
    }
    .record(recording);
}

/// Gradient of [`gelu`] from its argument: `dx = dy·(F(x) + x·F'(x))`.
pub fn gelu_grad(recording: &mut Recording, f: Gelu, x: Tensor, dy: Tensor, dx: Tensor) {
    let count = x.shape.texels();
    Map {
        shader: "elementwise/gelu_grad",
        defines: f.defines(),
        bindings: vec![Binding::Operand(x.slice), Binding::Operand(dy.slice), Binding::Write(dx.slice)],
        parameters: vec![count as u32],
        count,
        flops_each: 4,
        passes: 3,
    }
    .record(recording);
}

/// `y = a + b`; all of one shape. The gradient of both is dy.
pub fn add(recording: &mut Recording, a: Tensor, b: Tensor, y: Tensor) {
    binary(recording, "OP_ADD", a, b, y);
}

/// `y = a·b`, element by element. The gradients are `mul(dy, b)` and `mul(dy, a)`.
pub fn mul(recording: &mut Recording, a: Tensor, b: Tensor, y: Tensor) {
    binary(recording, "OP_MUL", a, b, y);
}

fn binary(recording: &mut Recording, operation: &'static str, a: Tensor, b: Tensor, y: Tensor) {
    let count = a.shape.texels();
    Map {
        shader: "elementwise/binary",
        defines: Defines::new().with(operation, 1),
        bindings: vec![Binding::Operand(a.slice), Binding::Operand(b.slice), Binding::Write(y.slice)],
        parameters: vec![count as u32],
        count,
        flops_each: 1,
        passes: 3,
    }
    .record(recording);
}

/// `y = factor·x`. The gradient of x is `scale(dy, factor)`.
pub fn scale(recording: &mut Recording, x: Tensor, factor: f32, y: Tensor) {
    scaled(recording, x, factor, y, Defines::new(), 2);
}

/// `y += x`, in place: where several gradients meet.
pub fn accumulate(recording: &mut Recording, x: Tensor, y: Tensor) {
    accumulate_scaled(recording, x, 1.0, y);
}

/// `y += factor·x`, in place.
pub fn accumulate_scaled(recording: &mut Recording, x: Tensor, factor: f32, y: Tensor) {
    scaled(recording, x, factor, y, Defines::new().with("ACCUMULATE", 1), 3);
}

fn scaled(recording: &mut Recording, x: Tensor, factor: f32, y: Tensor, defines: Defines, passes: u64) {
    let count = x.shape.texels();
    Map {
        shader: "elementwise/scale",
        defines,
        bindings: vec![Binding::Operand(x.slice), Binding::Write(y.slice)],
        parameters: vec![count as u32, factor.to_bits()],
        count,
        flops_each: passes - 1,
        passes,
    }
    .record(recording);
}

/// `y = x + b` with `b` [1, C] on every image and pixel of [N, C, H, W]. The gradient of x is dy, that of b
/// [`reduce::channel_sums`](super::reduce::channel_sums).
pub fn bias_add(recording: &mut Recording, x: Tensor, b: Tensor, y: Tensor) {
    bias_activation(recording, x, b, None, y);
}

/// `y = f(x + b)`: what follows a linear layer, in one pass. Gradients: [`unary_grad`] of y gives dx, and
/// the channel sums of dx give db.
pub fn bias_activation(recording: &mut Recording, x: Tensor, b: Tensor, f: Option<Unary>, y: Tensor) {
    let planes = Planes::map(recording.facts().class, x.shape);
    let mut defines = planes.defines(recording, WORKGROUP);
    if let Some(f) = f {
        defines = defines.with(f.define(), 1);
    }
    recording.dispatch(Dispatch {
        shader: "elementwise/bias_activation",
        defines,
        bindings: vec![Binding::Operand(x.slice), Binding::Read(b.slice), Binding::Write(y.slice)],
        immediates: planes.words().to_vec(),
        grid: planes.grid(recording),
        flops: (1 + u64::from(f.is_some())) * x.shape.elements() as u64,
        bytes: 2 * x.shape.bytes() + b.shape.bytes(),
    });
}

/// Where the random numbers of a dropout layer come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// A [`StepState`](super::StepState), for its `dropout_key`.
    pub step: Slice,
    /// One u32 for each image of the batch: its number in the counter, usually its index in the data set.
    pub samples: Slice,
    /// Number of this layer within the network.
    pub layer: u16,
    /// Probability of dropping an element, in [0, 1).
    pub probability: f32,
}

impl Dropout {
    /// Whether a mask can be drawn for `shape`.
    ///
    /// # Errors
    /// For a probability outside [0, 1), or more than 65,536 elements a sample, which the counter cannot number.
    pub fn check(&self, shape: Shape) -> Result<()> {
        if !(0.0..1.0).contains(&self.probability) {
            return Err(Error::usage(format!(
                "dropout layer {}: probability {} is outside [0, 1)",
                self.layer, self.probability
            )));
        }
        let elements = shape.c * shape.pixels();
        if elements > 65_536 {
            return Err(Error::shape(format!(
                "dropout layer {} on {shape}: {elements} elements a sample, but at most 65536 can be drawn; put the layer after a pooling",
                self.layer
            )));
        }
        Ok(())
    }
}

/// `y = x/(1 − p)` where the draw (sample, layer, element) is at least p, otherwise 0. The element is the
/// logical index within the sample, row-major (C, H, W). The gradient of x is `dropout(dy)`.
pub fn dropout(recording: &mut Recording, dropout: &Dropout, x: Tensor, y: Tensor) {
    let planes = Planes::map(recording.facts().class, x.shape);
    let kept = (1.0 / (1.0 - f64::from(dropout.probability))) as f32;
    let words = [u32::from(dropout.layer), dropout.probability.to_bits(), kept.to_bits()];
    recording.dispatch(Dispatch {
        shader: "elementwise/dropout",
        defines: planes.defines(recording, WORKGROUP),
        bindings: vec![
            Binding::Operand(x.slice),
            Binding::Write(y.slice),
            Binding::Read(dropout.samples),
            Binding::Read(dropout.step),
        ],
        immediates: [&planes.words()[..], &words].concat(),
        grid: planes.grid(recording),
        flops: x.shape.elements() as u64,
        bytes: 2 * x.shape.bytes(),
    });
}

/// Whether channels of `parts` can be laid side by side by [`copy_channels`]: all but the last must fill
/// their groups of four.
///
/// # Errors
/// Names the first part that does not.
pub fn check_concatenation(parts: &[Shape]) -> Result<()> {
    for part in parts.iter().rev().skip(1) {
        if !part.c.is_multiple_of(4) {
            return Err(Error::shape(format!(
                "concatenation of channels: {part} is followed by another part, but its {} channels are not a multiple of 4",
                part.c
            )));
        }
    }
    Ok(())
}

/// Copies `channels` channels of `x` from channel `from` on to channel `to` of `y`, for every image and
/// pixel: a concatenation part by part, or its gradient. `from` and `to` are multiples of 4, and `channels`
/// is one or ends both tensors.
pub fn copy_channels(
    recording: &mut Recording,
    x: Tensor,
    from: usize,
    channels: usize,
    y: Tensor,
    to: usize,
) {
    debug_assert!(from.is_multiple_of(4) && to.is_multiple_of(4), "channel {from} to {to}");
    debug_assert!(from + channels <= x.shape.c && to + channels <= y.shape.c, "{channels} channels");
    let (images, pixels, groups) = (x.shape.n, x.shape.pixels(), channels.div_ceil(4));
    let words = [images, pixels, groups, x.shape.c4(), from / 4, y.shape.c4(), to / 4];
    Map {
        shader: "elementwise/copy_channels",
        defines: Defines::new(),
        bindings: vec![Binding::Read(x.slice), Binding::Write(y.slice)],
        parameters: words.map(|w| w as u32).to_vec(),
        count: images * pixels * groups,
        flops_each: 0,
        passes: 2,
    }
    .record(recording);
}

/// Row i of `y` is row `rows[i]` of `x`: `rows` holds a u32 for each row of `y`, all below the rows of `x`. The tensors have
/// rows of one shape.
pub fn gather_rows(recording: &mut Recording, x: Tensor, rows: Slice, y: Tensor) {
    debug_assert_eq!(Shape { n: y.shape.n, ..x.shape }, y.shape, "rows of {} into {}", x.shape, y.shape);
    let count = y.shape.texels();
    Map {
        shader: "elementwise/gather_rows",
        defines: Defines::new(),
        bindings: vec![Binding::Read(x.slice), Binding::Write(y.slice), Binding::Read(rows)],
        parameters: vec![count as u32, (y.shape.c4() * y.shape.pixels()) as u32],
        count,
        flops_each: 0,
        passes: 2,
    }
    .record(recording);
}
