//! What CLIP's encoders have beside convolutions: attention, layer norm, GELU, tokens, at the sizes of ViT-B/32.

use super::{Case, Scale};
use crate::experiment::bench::Workspace;
use crate::kernels::attention::{Attention, AttentionGrad, AttentionShape, attention, attention_grad};
use crate::kernels::elementwise::{self, Gelu};
use crate::kernels::norm::{
    LayerNorm, LayerNormGrad, layer_norm, layer_norm_grad, layer_norm_statistics_bytes,
};
use crate::kernels::{Shape, tokens};

const WIDTH: usize = 768;
const HEADS: usize = 12;
/// 7 x 7 patches and the class token.
const TOKENS: usize = 50;

pub(super) fn cases(scale: &Scale) -> Vec<Case> {
    let images = scale.batch.div_ceil(8);
    let all = Shape::new(images, WIDTH, 1, TOKENS);
    let pooled = Shape::new(images, 2048, 1, TOKENS);
    let mut cases = vec![
        attend("attention", all, all, HEADS, false),
        attend("attention", Shape { w: 1, ..pooled }, pooled, 32, false),
        attend("attention_grad", all, all, HEADS, true),
    ];
    cases.extend(norms(all));
    cases.extend(maps(all));
    cases
}

fn attend(name: &'static str, queries: Shape, keys: Shape, heads: usize, backward: bool) -> Case {
    let text = format!("{queries} on {keys}, {heads} heads");
    Case::new(name, text, move |space: &mut Workspace| {
        let shape = AttentionShape::new(heads, queries, keys, keys)?;
        let (q, k, v) = (space.tensor("q", queries)?, space.tensor("k", keys)?, space.tensor("v", keys)?);
        if backward {
            let probabilities = space.tensor("probabilities", shape.probabilities())?;
            let dy = space.tensor("dy", queries)?;
            let (dq, dk, dv) = (space.output(queries), space.output(keys), space.output(keys));
            let grad = AttentionGrad { shape, q, k, v, probabilities, dy, dq, dk, dv };
            attention_grad(&mut space.recording, &grad);
        } else {
            let (probabilities, y) = (space.output(shape.probabilities()), space.output(queries));
            attention(&mut space.recording, &Attention { shape, q, k, v, probabilities, y });
        }
        Ok(())
    })
}

fn norms(shape: Shape) -> Vec<Case> {
    let vector = Shape::matrix(1, shape.c);
    vec![
        Case::new("layer_norm", shape, move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.output(shape));
            let (gamma, beta) = (space.tensor("gamma", vector)?, space.tensor("beta", vector)?);
            let statistics = space.output_bytes(layer_norm_statistics_bytes(shape));
            layer_norm(&mut space.recording, &LayerNorm { x, gamma, beta, y, statistics });
            Ok(())
        }),
        Case::new("layer_norm_grad", shape, move |space| {
            let (x, dy) = (space.tensor("x", shape)?, space.tensor("dy", shape)?);
            let gamma = space.tensor("gamma", vector)?;
            let statistics = space.floats("statistics", layer_norm_statistics_bytes(shape))?;
            let (dx, dgamma, dbeta) = (space.output(shape), space.output(vector), space.output(vector));
            let grad = LayerNormGrad { x, dy, gamma, statistics, dx, dgamma, dbeta };
            layer_norm_grad(&mut space.recording, &grad);
            Ok(())
        }),
    ]
}

fn maps(shape: Shape) -> Vec<Case> {
    let hidden = Shape { c: 4 * shape.c, ..shape };
    let patches = Shape { w: shape.w - 1, ..shape };
    let gelu = |name, f| {
        Case::new(name, hidden, move |space| {
            let (x, y) = (space.tensor("x", hidden)?, space.output(hidden));
            elementwise::gelu(&mut space.recording, f, x, y);
            Ok(())
        })
    };
    let gelu_grad = |name, f| {
        Case::new(name, hidden, move |space| {
            let (x, dy, dx) = (space.tensor("x", hidden)?, space.tensor("dy", hidden)?, space.output(hidden));
            elementwise::gelu_grad(&mut space.recording, f, x, dy, dx);
            Ok(())
        })
    };
    vec![
        gelu("gelu quick", Gelu::Quick),
        gelu("gelu exact", Gelu::Exact),
        gelu_grad("gelu_grad quick", Gelu::Quick),
        gelu_grad("gelu_grad exact", Gelu::Exact),
        Case::new("prepend_token", patches, move |space| {
            let (x, token) = (space.tensor("x", patches)?, space.tensor("token", Shape::matrix(1, shape.c))?);
            let y = space.output(shape);
            tokens::prepend_token(&mut space.recording, x, token, y);
            Ok(())
        }),
        Case::new("shift_tokens", shape, move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.output(patches));
            tokens::shift_tokens(&mut space.recording, x, 1, y);
            Ok(())
        }),
        Case::new("add_position", shape, move |space| {
            let x = space.tensor("x", shape)?;
            let (position, y) = (space.tensor("position", Shape { n: 1, ..shape })?, space.output(shape));
            tokens::add_position(&mut space.recording, x, position, y);
            Ok(())
        }),
        Case::new("add_position_grad", shape, move |space| {
            let (dy, dposition) = (space.tensor("dy", shape)?, space.output(Shape { n: 1, ..shape }));
            tokens::add_position_grad(&mut space.recording, dy, dposition);
            Ok(())
        }),
    ]
}
