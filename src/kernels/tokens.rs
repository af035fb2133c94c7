//! Tokens of transformers: `[N, D, 1, T]`, a token a pixel. Tokens in front, ranges of tokens, positions.

use super::{Tensor, reduce};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording};

const WORKGROUP: u32 = 64;

/// `y` `[N, D, 1, T + 1]` = `token` in front of the tokens of `x` `[N, D, 1, T]`; `token` is `[1, D]`, the same for
/// every image, or `[N, D]`. Gradients: [`shift_tokens`] of dy by 1 for x and by 0 for the token, with the sum over
/// images ([`reduce::channel_sums`]) where all share it.
pub fn prepend_token(recording: &mut Recording, x: Tensor, token: Tensor, y: Tensor) {
    let words = [y.shape.texels(), y.shape.pixels(), token.shape.texels()];
    let bindings = vec![Binding::Read(x.slice), Binding::Read(token.slice), Binding::Write(y.slice)];
    map(recording, "tokens/prepend_token", bindings, words.map(|w| w as u32).to_vec(), y, 0);
}

/// `y[t] = x[t + shift]` where x has such a token, otherwise 0: tokens `shift ..` of x, or, with −shift and the shapes
/// exchanged, the gradient of that.
pub fn shift_tokens(recording: &mut Recording, x: Tensor, shift: i32, y: Tensor) {
    let words = [y.shape.texels(), x.shape.pixels(), y.shape.pixels()].map(|w| w as u32);
    let words = words.into_iter().chain([shift as u32]).collect();
    let bindings = vec![Binding::Read(x.slice), Binding::Write(y.slice)];
    map(recording, "tokens/shift_tokens", bindings, words, y, 0);
}

/// `y[n] = x[n] + position`: `position` `[1, D, 1, T]` on every image of `[N, D, 1, T]`. The gradient of x is dy, that
/// of the position [`add_position_grad`].
pub fn add_position(recording: &mut Recording, x: Tensor, position: Tensor, y: Tensor) {
    let words = vec![x.shape.texels() as u32, position.shape.texels() as u32];
    let bindings = vec![Binding::Read(x.slice), Binding::Read(position.slice), Binding::Write(y.slice)];
    map(recording, "tokens/add_position", bindings, words, y, 1);
}

/// `dposition` `[1, D, 1, T]` = the sum of `dy` `[N, D, 1, T]` over images, in their order.
pub fn add_position_grad(recording: &mut Recording, dy: Tensor, dposition: Tensor) {
    reduce::sum_parts(recording, dy.slice, dy.shape.n, dposition.slice);
}

fn map(
    recording: &mut Recording,
    shader: &'static str,
    bindings: Vec<Binding>,
    immediates: Vec<u32>,
    y: Tensor,
    flops_each: u64,
) {
    recording.dispatch(Dispatch {
        shader,
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings,
        immediates,
        grid: recording.grid((y.shape.texels() as u64).div_ceil(u64::from(WORKGROUP))),
        flops: flops_each * y.shape.elements() as u64,
        bytes: 2 * y.shape.bytes(),
    });
}
