//! Scaled dot-product attention of several heads (Vaswani et al., NeurIPS 2017, section 3.2) and its gradient.
//!
//! Three small products and the softmax over rows: the scores are written out, because the gradient needs the
//! probabilities and because N·heads·T² is little beside the activations at the token counts of image encoders.

use super::{Shape, Tensor, loss};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::{Error, Result};

const WORKGROUP: u32 = 64;

/// Sizes of one attention. Heads are equal runs of the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionShape {
    pub images: usize,
    pub heads: usize,
    /// Channels of a head, a multiple of 4.
    pub head_dim: usize,
    /// Tokens that ask.
    pub queries: usize,
    /// Tokens that are asked.
    pub keys: usize,
}

impl AttentionShape {
    /// For queries `[N, D, 1, Tq]`, keys and values `[N, D, 1, Tk]`.
    ///
    /// # Errors
    /// When shapes differ in more than the tokens of q, have no token, or heads do not divide D into multiples of 4.
    pub fn new(heads: usize, q: Shape, k: Shape, v: Shape) -> Result<AttentionShape> {
        if k != v || (q.n, q.c) != (k.n, k.c) || q.pixels() == 0 || k.pixels() == 0 {
            return Err(Error::shape(format!(
                "attention: expected queries [N, D, 1, Tq] with keys and values [N, D, 1, Tk], found {q}, {k} and {v}"
            )));
        }
        if heads == 0 || q.c == 0 || !q.c.is_multiple_of(4 * heads) {
            return Err(Error::shape(format!(
                "attention: {} channels cannot be cut into {heads} heads of a multiple of 4 channels",
                q.c
            )));
        }
        Ok(AttentionShape {
            images: q.n,
            heads,
            head_dim: q.c / heads,
            queries: q.pixels(),
            keys: k.pixels(),
        })
    }

    /// Shape of the probabilities: a row for each image, head and query.
    pub fn probabilities(&self) -> Shape {
        Shape::matrix(self.images * self.heads * self.queries, self.keys)
    }

    fn planes(&self) -> usize {
        self.images * self.heads
    }

    fn groups(&self) -> usize {
        self.head_dim / 4
    }

    /// 1/√(channels of a head).
    fn scale(&self) -> f32 {
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }

    /// Of one of the products.
    fn flops(&self) -> u64 {
        2 * (self.planes() * self.queries * self.keys * self.head_dim) as u64
    }
}

/// Operands of [`attention`]: q, y `[N, D, 1, Tq]`, k, v `[N, D, 1, Tk]`.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    pub shape: AttentionShape,
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    /// Written, for the gradient: [`AttentionShape::probabilities`].
    pub probabilities: Tensor,
    pub y: Tensor,
}

/// Operands of [`attention_grad`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionGrad {
    pub shape: AttentionShape,
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    pub probabilities: Tensor,
    pub dy: Tensor,
    pub dq: Tensor,
    pub dk: Tensor,
    pub dv: Tensor,
}

/// `y = softmax(qᵀk/√d)·v` for each image and head; the row's maximum is taken off before the exponential.
pub fn attention(recording: &mut Recording, a: &Attention) {
    let scores = Tensor::transient(recording, "attention scores", a.shape.probabilities());
    let [q, k, v] = [a.q, a.k, a.v].map(|t| operand(recording, t.slice));
    product(recording, &a.shape, Product::Scores, [q, k], a.shape.scale(), scores.slice);
    loss::softmax(recording, scores, a.probabilities);
    let p = operand(recording, a.probabilities.slice);
    product(recording, &a.shape, Product::MixValues, [p, v], 1.0, a.y.slice);
}

/// Gradients of [`attention`] to q, k and v.
pub fn attention_grad(recording: &mut Recording, a: &AttentionGrad) {
    let shape = &a.shape;
    let [upstream, scores] = ["attention dp", "attention ds"]
        .map(|label| Tensor::transient(recording, label, shape.probabilities()));
    let [dy, p] = [a.dy, a.probabilities].map(|t| operand(recording, t.slice));
    product(recording, shape, Product::MixQueries, [p, dy], 1.0, a.dv.slice);
    let v = operand(recording, a.v.slice);
    product(recording, shape, Product::Scores, [dy, v], 1.0, upstream.slice);
    loss::softmax_grad(recording, a.probabilities, upstream, scores);
    let [s, q, k] = [scores, a.q, a.k].map(|t| operand(recording, t.slice));
    product(recording, shape, Product::MixValues, [s, k], shape.scale(), a.dq.slice);
    product(recording, shape, Product::MixQueries, [s, q], shape.scale(), a.dk.slice);
}

/// Something that a product reads, with its size in bytes.
#[derive(Clone, Copy)]
struct Operand {
    binding: Binding,
    bytes: u64,
}

/// From a texture in the software class, where a texture load is the cheapest.
fn operand(recording: &mut Recording, slice: Slice) -> Operand {
    let binding = if recording.facts().texture_kernels() {
        Binding::Texture(recording.as_texture("attention operand", slice))
    } else {
        Binding::Read(slice)
    };
    Operand { binding, bytes: slice.bytes }
}

/// The sum over channels, over keys, or over queries.
#[derive(Clone, Copy)]
enum Product {
    Scores,
    MixValues,
    MixQueries,
}

fn product(
    recording: &mut Recording,
    shape: &AttentionShape,
    product: Product,
    [first, second]: [Operand; 2],
    scale: f32,
    result: Slice,
) {
    let (query_tiles, key_tiles) = (shape.queries.div_ceil(4), shape.keys.div_ceil(4));
    let (shader, each) = match product {
        Product::Scores => ("attention/scores", query_tiles * key_tiles),
        Product::MixValues => ("attention/mix_values", shape.groups() * query_tiles),
        Product::MixQueries => ("attention/mix_queries", shape.groups().div_ceil(2) * key_tiles),
    };
    let count = shape.planes() * each;
    let sizes = [shape.groups(), shape.queries, shape.keys, query_tiles, key_tiles, count];
    let textures = recording.facts().texture_kernels();
    recording.dispatch(Dispatch {
        shader,
        defines: Defines::new().with("WORKGROUP", WORKGROUP).with("TEXTURES", textures),
        bindings: vec![first.binding, second.binding, Binding::Write(result)],
        immediates: sizes.into_iter().map(|s| s as u32).chain([scale.to_bits()]).collect(),
        grid: recording.grid((count as u64).div_ceil(u64::from(WORKGROUP))),
        flops: shape.flops(),
        bytes: first.bytes + second.bytes + result.bytes,
    });
}
