//! Tokens of transformers, `[N, D, 1, T]`: from images and back, tokens in front, ranges of tokens, positions.

use super::bias_activation::ChannelSums;
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::{Shape, tokens};
use crate::{Error, Result};

/// The same memory under another height and width with as many pixels: features `[N, D, H, W]` as tokens
/// `[N, D, 1, H·W]`, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Reshape {
    pub h: usize,
    pub w: usize,
}

impl Reshape {
    /// To one row of tokens.
    pub fn tokens(x: Shape) -> Reshape {
        Reshape { h: 1, w: x.pixels() }
    }
}

impl Operation for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        if self.h * self.w != x.pixels() {
            return Err(Error::shape(format!(
                "reshape: the pixels of {x} do not make {} x {}",
                self.h, self.w
            )));
        }
        Ok(vec![Form::Tensor(Shape { h: self.h, w: self.w, ..x })])
    }
    fn view(&self) -> bool {
        true
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let bytes = outputs[0].form.bytes();
        recording.copy(inputs[0].slice.part(0, bytes), outputs[0].slice.part(0, bytes));
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
        Ok(vec![Some(graph.apply1(Reshape { h: x.h, w: x.w }, &[dy])?)])
    }
}

/// One row of tokens with another in front. Inputs x `[N, D, 1, T]` and the token, `[D]` for all images or `[N, D]`;
/// output `[N, D, 1, T + 1]`.
#[derive(Clone, Copy, Debug)]
pub struct PrependToken;

impl Operation for PrependToken {
    fn name(&self) -> &'static str {
        "prepend_token"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        match inputs {
            [Form::Tensor(x), Form::Tensor(token)]
                if x.h == 1 && [1, x.n].iter().any(|&rows| *token == Shape::matrix(rows, x.c)) =>
            {
                Ok(vec![Form::Tensor(Shape { w: x.w + 1, ..*x })])
            }
            _ => Err(Error::shape(format!(
                "prepend_token: expected tokens [N, D, 1, T] and a token [D] or [N, D], found {inputs:?}"
            ))),
        }
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        tokens::prepend_token(recording, inputs[0].tensor(), inputs[1].tensor(), outputs[0].tensor());
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
        let (x, token) = (graph.shape(node.inputs[0])?, graph.shape(node.inputs[1])?);
        let dx = match wanted[0] {
            true => Some(graph.apply1(TakeTokens { first: 1, count: x.w }, &[dy])?),
            false => None,
        };
        let dtoken = match wanted[1] {
            true => {
                let each = graph.apply1(TakeTokens::one(0), &[dy])?;
                Some(if token.n == x.n { each } else { graph.apply1(ChannelSums, &[each])? })
            }
            false => None,
        };
        Ok(vec![dx, dtoken])
    }
}

/// Tokens `first .. first + count` of `[N, D, 1, T]`; a single one is a matrix `[N, D]`.
#[derive(Clone, Copy, Debug)]
pub struct TakeTokens {
    pub first: usize,
    pub count: usize,
}

impl TakeTokens {
    /// Token `index` alone, as `[N, D]`.
    pub fn one(index: usize) -> TakeTokens {
        TakeTokens { first: index, count: 1 }
    }
}

impl Operation for TakeTokens {
    fn name(&self) -> &'static str {
        "take_tokens"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        let end = self.first + self.count;
        if x.h != 1 || self.count == 0 || end > x.w {
            return Err(Error::shape(format!("take_tokens: tokens {}..{end} of {x}", self.first)));
        }
        Ok(vec![Form::Tensor(Shape { w: self.count, ..x })])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        // Tokens are counted in u32 everywhere.
        tokens::shift_tokens(recording, inputs[0].tensor(), self.first as i32, outputs[0].tensor());
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
        let tokens = graph.shape(node.inputs[0])?.w;
        Ok(vec![Some(graph.apply1(PlaceTokens { first: self.first, tokens }, &[dy])?)])
    }
}

/// The input as tokens `first ..` of `tokens`, zeros elsewhere: the gradient of [`TakeTokens`].
struct PlaceTokens {
    first: usize,
    tokens: usize,
}

impl Operation for PlaceTokens {
    fn name(&self) -> &'static str {
        "place_tokens"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        Ok(vec![Form::Tensor(Shape { w: self.tokens, ..x })])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        tokens::shift_tokens(recording, inputs[0].tensor(), -(self.first as i32), outputs[0].tensor());
        Ok(())
    }
}

/// `y = x + p`, one position a token; inputs x `[N, D, 1, T]` and p `[1, D, 1, T]`.
#[derive(Clone, Copy, Debug)]
pub struct AddPosition;

impl Operation for AddPosition {
    fn name(&self) -> &'static str {
        "add_position"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        match inputs {
            [Form::Tensor(x), Form::Tensor(position)] if *position == (Shape { n: 1, ..*x }) => {
                Ok(vec![inputs[0]])
            }
            _ => Err(Error::shape(format!(
                "add_position: expected tokens [N, D, 1, T] and positions [1, D, 1, T], found {inputs:?}"
            ))),
        }
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        tokens::add_position(recording, inputs[0].tensor(), inputs[1].tensor(), outputs[0].tensor());
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
        let dposition = if wanted[1] { Some(graph.apply1(AddPositionGrad, &[dy])?) } else { None };
        Ok(vec![wanted[0].then_some(dy), dposition])
    }
}

/// The sum over images.
struct AddPositionGrad;

impl Operation for AddPositionGrad {
    fn name(&self) -> &'static str {
        "add_position_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        Ok(vec![Form::Tensor(Shape { n: 1, ..x })])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        tokens::add_position_grad(recording, inputs[0].tensor(), outputs[0].tensor());
        Ok(())
    }
}
