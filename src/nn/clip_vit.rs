//! CLIP's vision transformer ViT-B/32 (Radford et al., ICML 2021); parameter names as openai/CLIP's, under `visual.`.

use super::attention::{ClassToken, MultiHeadAttention, Positions};
use super::layers::{Conv, LayerNorm, Linear, LinearInit, Names, Tracer};
use crate::Result;
use crate::graph::ops::{Add, Reshape, TakeTokens};
use crate::graph::{Init, Value};
use crate::kernels::elementwise::Gelu;

/// Side of a patch in pixels.
const PATCH: usize = 32;
const LAYERS: usize = 12;
/// Channels of an attention head.
const HEAD: usize = 64;

/// Patches, a class token and positions, pre-norm transformer layers, and the class token's projection.
#[derive(Clone, Debug)]
pub struct ClipVit {
    patches: Conv,
    class: ClassToken,
    positions: Positions,
    ln_pre: LayerNorm,
    layers: Vec<Layer>,
    ln_post: LayerNorm,
    projection: Linear,
    feature_dim: usize,
}

/// x + attention(norm x), then x + MLP(norm x).
#[derive(Clone, Debug)]
struct Layer {
    ln_1: LayerNorm,
    attention: MultiHeadAttention,
    ln_2: LayerNorm,
    c_fc: Linear,
    gelu: Gelu,
    c_proj: Linear,
}

impl ClipVit {
    /// For images of `size` pixels a side, a multiple of 32. `width` is the transformer's (768 in the paper), a multiple
    /// of 192, and gives a head for each 64 channels and features of two thirds of it.
    pub fn new(names: &mut Names, width: usize, size: usize, gelu: Gelu) -> ClipVit {
        let mut names = names.inside("visual");
        let scale = 1.0 / (width as f64).sqrt();
        let tokens = (size / PATCH).pow(2) + 1;
        let feature_dim = width * 2 / 3;
        let class = ClassToken::new(&mut names, "class_embedding", width, Init::Normal(scale));
        let positions =
            Positions::new(&mut names, "positional_embedding", tokens, width, Init::Normal(scale));
        let projection = Linear::projection(&mut names, "proj", width, feature_dim, Init::Normal(scale));
        let fan_in = Init::Uniform(1.0 / ((3 * PATCH * PATCH) as f64).sqrt());
        let patches = Conv::new(&mut names.inside("conv1"), 3, width, PATCH, PATCH, 0, fan_in);
        let ln_pre = LayerNorm::new(&mut names.inside("ln_pre"), width);
        let layers = {
            let mut transformer = names.inside("transformer");
            let mut blocks = transformer.inside("resblocks");
            (0..LAYERS).map(|index| Layer::new(&mut blocks.inside(index), width, gelu)).collect()
        };
        let ln_post = LayerNorm::new(&mut names.inside("ln_post"), width);
        ClipVit { patches, class, positions, ln_pre, layers, ln_post, projection, feature_dim }
    }

    /// Length of a feature vector.
    pub fn feature_dim(&self) -> usize {
        self.feature_dim
    }

    /// Images `[N, 3, S, S]`, normalised, to features `[N, feature_dim]`.
    pub fn forward(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        let patches = self.patches.forward(tracer, images)?;
        let to_tokens = Reshape::tokens(tracer.graph.shape(patches)?);
        let tokens = tracer.graph.apply1(to_tokens, &[patches])?;
        let tokens = self.class.forward(tracer, tokens)?;
        let tokens = self.positions.forward(tracer, tokens)?;
        let mut x = self.ln_pre.forward(tracer, tokens)?;
        for layer in &self.layers {
            x = layer.forward(tracer, x)?;
        }
        let class = tracer.graph.apply1(TakeTokens::one(0), &[x])?;
        let class = self.ln_post.forward(tracer, class)?;
        self.projection.forward(tracer, class)
    }
}

impl Layer {
    fn new(names: &mut Names, width: usize, gelu: Gelu) -> Layer {
        let ln_1 = LayerNorm::new(&mut names.inside("ln_1"), width);
        let attention = MultiHeadAttention::new(&mut names.inside("attn"), width, width / HEAD);
        let ln_2 = LayerNorm::new(&mut names.inside("ln_2"), width);
        let mut mlp = names.inside("mlp");
        let mut linear =
            |name, i, o| Linear::new(&mut mlp.inside(name), i, o, true, None, LinearInit::Default);
        let (c_fc, c_proj) = (linear("c_fc", width, 4 * width), linear("c_proj", 4 * width, width));
        Layer { ln_1, attention, ln_2, c_fc, gelu, c_proj }
    }

    fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let y = self.ln_1.forward(tracer, x)?;
        let y = self.attention.forward(tracer, y)?;
        let x = tracer.graph.apply1(Add, &[x, y])?;
        let y = self.ln_2.forward(tracer, x)?;
        let y = self.c_fc.forward(tracer, y)?;
        let y = tracer.graph.apply1(self.gelu, &[y])?;
        let y = self.c_proj.forward(tracer, y)?;
        tracer.graph.apply1(Add, &[x, y])
    }
}
