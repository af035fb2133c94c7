//! Which architecture a state dict holds, from its names and shapes alone, and how images are prepared for it.

use super::architecture::{Architecture, Stem};
use super::encoder_file::WIDEST;
use super::layout::Recognized;
use super::state_dict::StateDict;
use crate::{Error, Result};

/// What names and shapes tell of an encoder that another program wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognition {
    pub architecture: Architecture,
    pub stem: Stem,
    /// Channels of the first stage, or of a transformer.
    pub width: usize,
    /// Side of the images in pixels, where the weights fix it (positional embeddings).
    pub size: Option<usize>,
    /// What it was concluded from.
    pub evidence: String,
}

/// How images were prepared by the code that usually writes files of this layout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preparation {
    /// Name of the normalisation constants, as `--normalization` takes it.
    pub normalization: &'static str,
    /// Usual side of the images in pixels.
    pub size: usize,
    /// Whether the layout's own code does so, or this is the convention of the field.
    pub certain: bool,
}

/// Most patches or positions along a side of an image: images of 2048 pixels.
const LARGEST_GRID: usize = 64;
/// Side of CLIP's images over that of the map before pooling, and ViT-B/32's patch.
const CLIP_STRIDE: usize = 32;

impl Recognition {
    /// Recognises the encoder in `state`, whose names are native ([`super::layout`]); `None` when no architecture is
    /// known that has such tensors.
    ///
    /// # Errors
    /// [`Error::Data`] at `place`: a relative of a known architecture that is not supported, with what differs.
    pub fn of(state: &StateDict, place: &str) -> Result<Option<Recognition>> {
        let names = Shapes { state, place };
        if names.has("visual.class_embedding") {
            return names.clip_vit().map(Some);
        }
        if names.has("visual.attnpool.positional_embedding") {
            return names.clip_resnet().map(Some);
        }
        if names.has("conv1.weight") && names.has("layer1.0.conv1.weight") {
            return names.resnet().map(Some);
        }
        if names.has("features.0.0.weight") && names.has("features.1.conv.0.0.weight") {
            return names.mobilenet_v2().map(Some);
        }
        if names.has("features.0.weight") && names.has("features.4.weight") {
            return names.vgg().map(Some);
        }
        Ok(None)
    }

    /// How images were prepared for the encoder, by the layout of its names.
    pub fn preparation(&self, layout: Option<&Recognized>) -> Preparation {
        let layout = layout.map_or("", |recognized| recognized.layout);
        let (normalization, size, certain) = match layout {
            "MoCo CIFAR notebook" | "SimCLR (f, g)" | "BadEncoder" => ("cifar10", 32, true),
            "ContrastiveLeaks ResNet" | "ContrastiveLeaks MobileNetV2" => ("none", 96, true),
            _ if self.architecture.is_clip() => ("clip", self.size.unwrap_or(224), true),
            _ if self.stem == Stem::Cifar => ("cifar10", 32, false),
            _ => ("imagenet", 224, false),
        };
        Preparation { normalization, size, certain }
    }
}

struct Shapes<'a> {
    state: &'a StateDict,
    place: &'a str,
}

impl Shapes<'_> {
    fn has(&self, name: &str) -> bool {
        !self.shape(name).is_empty()
    }

    /// Dimensions of a tensor; none where it is missing or, with a dimension of 0, holds nothing that its other
    /// dimensions could be believed for.
    fn shape(&self, name: &str) -> &[usize] {
        let tensor = self.state.tensors.get(name).filter(|tensor| !tensor.dimensions.contains(&0));
        tensor.map_or(&[], |tensor| &tensor.dimensions)
    }

    /// A tensor's first dimension, 0 where there is none.
    fn first(&self, name: &str) -> usize {
        self.shape(name).first().copied().unwrap_or(0)
    }

    /// Blocks of each stage: how many `PREFIXlayerS.B.conv1.weight` there are.
    fn blocks(&self, prefix: &str) -> [usize; 4] {
        [1, 2, 3, 4].map(|stage| {
            (0..).take_while(|b| self.has(&format!("{prefix}layer{stage}.{b}.conv1.weight"))).count()
        })
    }

    /// `times` the first dimension of a tensor, which must be a width that a model can have.
    fn width(&self, name: &str, times: usize) -> Result<usize> {
        let channels = self.first(name);
        match channels.checked_mul(times).filter(|width| (1..=WIDEST).contains(width)) {
            Some(width) => Ok(width),
            None => self.unsupported(
                format!("{channels} channels in {name}"),
                &format!("an encoder of 1 to {WIDEST} channels"),
            ),
        }
    }

    fn unsupported<T>(&self, found: String, supported: &str) -> Result<T> {
        Err(Error::data(self.place, format!("expected {supported}, found {found}")))
    }

    fn resnet(&self) -> Result<Recognition> {
        let blocks = self.blocks("");
        let bottleneck = self.has("layer1.0.conv3.weight");
        let width = self.width("conv1.weight", 1)?;
        let kind = if bottleneck { "bottleneck" } else { "basic" };
        let supported = "ResNet-18, -34, -50 or -101";
        let architecture = match (bottleneck, blocks) {
            (false, [2, 2, 2, 2]) => Architecture::Resnet18,
            (false, [3, 4, 6, 3]) => Architecture::Resnet34,
            (true, [3, 4, 6, 3]) => Architecture::Resnet50,
            (true, [3, 4, 23, 3]) => Architecture::Resnet101,
            _ => return self.unsupported(format!("a ResNet of {blocks:?} {kind} blocks"), supported),
        };
        if let (true, &[inner, group, ..]) = (bottleneck, self.shape("layer1.0.conv2.weight"))
            && (inner != width || group != width)
        {
            let found = format!(
                "a relative of {architecture} whose layer1.0.conv2 has {inner} channels in groups of {group} (ResNeXt or wide ResNet)"
            );
            return self.unsupported(found, supported);
        }
        let (stem, kernel) = match self.shape("conv1.weight") {
            [_, 3, 7, 7] => (Stem::Imagenet, 7),
            [_, 3, 3, 3] => (Stem::Cifar, 3),
            other => {
                return self.unsupported(
                    format!("a first convolution of {other:?}"),
                    "a ResNet with 7x7 or 3x3 kernels over 3 channels in conv1",
                );
            }
        };
        let evidence = format!("{blocks:?} {kind} blocks; conv1 is {kernel}x{kernel}");
        Ok(Recognition { architecture, stem, width, size: None, evidence })
    }

    fn mobilenet_v2(&self) -> Result<Recognition> {
        let blocks = (1..).take_while(|b| self.has(&format!("features.{b}.conv.0.0.weight"))).count();
        if blocks != 17 {
            return self.unsupported(format!("{blocks}"), "the 17 inverted residual blocks of MobileNetV2");
        }
        Ok(Recognition {
            architecture: Architecture::MobilenetV2,
            stem: Stem::Own,
            width: self.width("features.0.0.weight", 1)?,
            size: None,
            evidence: format!("{blocks} inverted residual blocks"),
        })
    }

    fn vgg(&self) -> Result<Recognition> {
        let convolutions: Vec<usize> =
            (0..64).filter(|i| self.shape(&format!("features.{i}.weight")).len() == 4).collect();
        let expected = [0, 4, 8, 11, 15, 18, 22, 25];
        if convolutions != expected || !self.has("features.1.running_mean") {
            let found = format!("convolutions at features.{convolutions:?}");
            return self.unsupported(
                found,
                "VGG-11 with batch norm (convolutions at features.[0, 4, 8, 11, 15, 18, 22, 25])",
            );
        }
        Ok(Recognition {
            architecture: Architecture::Vgg11Bn,
            stem: Stem::Own,
            width: self.width("features.0.weight", 1)?,
            size: None,
            evidence: "8 convolutions with batch norm".into(),
        })
    }

    fn clip_resnet(&self) -> Result<Recognition> {
        let blocks = self.blocks("visual.");
        if blocks != [3, 4, 6, 3] {
            return self.unsupported(
                format!("one of {blocks:?} bottleneck blocks"),
                "CLIP's ResNet RN50 of [3, 4, 6, 3]",
            );
        }
        let width = self.width("visual.conv1.weight", 2)?;
        // Before the attention pool there are 32 times as many channels as in the first stage.
        let tokens = self.tokens("visual.attnpool.positional_embedding", 32 * width)?;
        Ok(Recognition {
            architecture: Architecture::ClipRn50,
            stem: Stem::Own,
            width,
            size: Some(self.side(tokens)?),
            evidence: format!("{blocks:?} bottleneck blocks and an attention pool over {tokens} tokens"),
        })
    }

    fn clip_vit(&self) -> Result<Recognition> {
        let layers = (0..)
            .take_while(|l| self.has(&format!("visual.transformer.resblocks.{l}.attn.in_proj_weight")))
            .count();
        let patch = self.shape("visual.conv1.weight").get(2).copied().unwrap_or(0);
        if patch != CLIP_STRIDE || layers != 12 {
            return self.unsupported(
                format!("{layers} layers over patches of {patch}"),
                "CLIP's ViT-B/32 of 12 layers over patches of 32",
            );
        }
        let width = self.width("visual.class_embedding", 1)?;
        let tokens = self.tokens("visual.positional_embedding", width)?;
        Ok(Recognition {
            architecture: Architecture::ClipVitB32,
            stem: Stem::Own,
            width,
            size: Some(self.side(tokens)?),
            evidence: format!(
                "{layers} transformer layers over {tokens} tokens; taken for OpenAI's, with quick-GELU: \
                 weights that OpenCLIP trained with GELU need --arch {}",
                Architecture::OpenClipVitB32
            ),
        })
    }

    /// Tokens of a positional embedding, whose rows are `width` wide.
    fn tokens(&self, name: &str, width: usize) -> Result<usize> {
        match *self.shape(name) {
            [tokens, found] if found == width => Ok(tokens),
            ref other => self.unsupported(
                format!("{name} of {other:?}"),
                &format!("a positional embedding of [tokens, {width}]"),
            ),
        }
    }

    /// Side of the images that give so many tokens, the first of which is no part of the image.
    fn side(&self, tokens: usize) -> Result<usize> {
        let grid = tokens.saturating_sub(1).isqrt();
        if grid == 0 || grid > LARGEST_GRID || grid * grid + 1 != tokens {
            return self.unsupported(
                format!("{tokens}"),
                &format!(
                    "a positional embedding of one token and a square of others, at most {LARGEST_GRID} a side"
                ),
            );
        }
        Ok(grid * CLIP_STRIDE)
    }
}
