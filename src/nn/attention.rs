//! Layers of vision transformers; names and initial values as in CLIP (Radford et al., ICML 2021, and its code).

use super::layers::{Linear, LinearInit, Names, Tracer};
use crate::Result;
use crate::graph::ops::{
    AddPosition, Attention, GlobalAvgPool2d, PrependToken, Reshape, TakeChannels, TakeTokens,
};
use crate::graph::{Init, ParameterId, Role, Value};

/// Self-attention of several heads over tokens `[N, D, 1, T]`.
///
/// Parameters `in_proj_weight` `[3D, D]` (queries, keys, values below one another), `in_proj_bias` `[3D]`,
/// `out_proj.weight` `[D, D]`, `out_proj.bias` `[D]`.
#[derive(Clone, Copy, Debug)]
pub struct MultiHeadAttention {
    in_proj: Linear,
    out_proj: Linear,
    channels: usize,
    heads: usize,
}

impl MultiHeadAttention {
    /// `heads` must cut `channels` into multiples of 4, which the first `forward` checks.
    pub fn new(names: &mut Names, channels: usize, heads: usize) -> MultiHeadAttention {
        // Glorot's rule for the matrix as a whole.
        let packed = Init::Uniform((6.0 / (4 * channels) as f64).sqrt());
        let out =
            LinearInit::Parts { weight: Init::Uniform(1.0 / (channels as f64).sqrt()), bias: Init::Zeros };
        MultiHeadAttention {
            in_proj: Linear::named(
                names,
                ["in_proj_weight", "in_proj_bias"],
                channels,
                3 * channels,
                [packed, Init::Zeros],
            ),
            out_proj: Linear::new(&mut names.inside("out_proj"), channels, channels, true, None, out),
            channels,
            heads,
        }
    }

    /// `[N, D, 1, T]` to the same shape.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let packed = self.in_proj.forward(tracer, x)?;
        let mut take = |part: usize| {
            let range = TakeChannels { first: part * self.channels, count: self.channels };
            tracer.graph.apply1(range, &[packed])
        };
        let parts = [take(0)?, take(1)?, take(2)?];
        let y = tracer.graph.apply1(Attention { heads: self.heads }, &parts)?;
        self.out_proj.forward(tracer, y)
    }
}

/// A learned token in front of an image's tokens.
#[derive(Clone, Copy, Debug)]
pub struct ClassToken(ParameterId);

impl ClassToken {
    /// A parameter `name` of `[channels]`.
    pub fn new(names: &mut Names, name: &str, channels: usize, init: Init) -> ClassToken {
        ClassToken(names.vector(name, channels, init, Role::Trained))
    }

    /// `[N, D, 1, T]` to `[N, D, 1, T + 1]`.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let token = tracer.parameter(self.0);
        tracer.graph.apply1(PrependToken, &[x, token])
    }
}

/// Learned positions added to tokens.
#[derive(Clone, Copy, Debug)]
pub struct Positions(ParameterId);

impl Positions {
    /// A parameter `name` of `[tokens, channels]`.
    pub fn new(names: &mut Names, name: &str, tokens: usize, channels: usize, init: Init) -> Positions {
        Positions(names.positions(name, tokens, channels, init))
    }

    /// `[N, D, 1, T]` to the same shape.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let positions = tracer.parameter(self.0);
        tracer.graph.apply1(AddPosition, &[x, positions])
    }
}

/// The pooling of CLIP's ResNets: the mean over pixels, with a position of its own, asks all pixels and itself.
///
/// Parameters `positional_embedding` `[pixels + 1, C]`, and `q_proj`, `k_proj`, `v_proj` `[C, C]` and `c_proj`
/// `[out, C]` with biases.
#[derive(Clone, Copy, Debug)]
pub struct AttentionPool2d {
    positions: Positions,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    c_proj: Linear,
    heads: usize,
}

impl AttentionPool2d {
    /// For maps of `pixels` pixels. `heads` must cut `channels` into multiples of 4, which the first `forward` checks.
    pub fn new(
        names: &mut Names,
        pixels: usize,
        channels: usize,
        heads: usize,
        out: usize,
    ) -> AttentionPool2d {
        let std = 1.0 / (channels as f64).sqrt();
        let positions =
            Positions::new(names, "positional_embedding", pixels + 1, channels, Init::Normal(std));
        // Only the weights are drawn anew by CLIP; the biases keep the default rule.
        let init = LinearInit::Parts { weight: Init::Normal(std), bias: Init::Uniform(std) };
        let mut linear = |name, out| Linear::new(&mut names.inside(name), channels, out, true, None, init);
        // The order of OpenAI's checkpoints.
        let [k_proj, q_proj, v_proj] = ["k_proj", "q_proj", "v_proj"].map(|name| linear(name, channels));
        AttentionPool2d { positions, q_proj, k_proj, v_proj, c_proj: linear("c_proj", out), heads }
    }

    /// `[N, C, H, W]` with H·W = pixels to `[N, out]`.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let to_tokens = Reshape::tokens(tracer.graph.shape(x)?);
        let tokens = tracer.graph.apply1(to_tokens, &[x])?;
        let mean = tracer.graph.apply1(GlobalAvgPool2d, &[tokens])?;
        let tokens = tracer.graph.apply1(PrependToken, &[tokens, mean])?;
        let tokens = self.positions.forward(tracer, tokens)?;
        let first = tracer.graph.apply1(TakeTokens::one(0), &[tokens])?;
        let q = self.q_proj.forward(tracer, first)?;
        let k = self.k_proj.forward(tracer, tokens)?;
        let v = self.v_proj.forward(tracer, tokens)?;
        let y = tracer.graph.apply1(Attention { heads: self.heads }, &[q, k, v])?;
        self.c_proj.forward(tracer, y)
    }
}
