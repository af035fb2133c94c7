//! Which encoders there are, and what their papers fix about them.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Encoder architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Architecture {
    /// ResNet-18 (He et al., CVPR 2016).
    #[serde(rename = "resnet18")]
    Resnet18,
    /// ResNet-34.
    #[serde(rename = "resnet34")]
    Resnet34,
    /// ResNet-50, the stride in the 3x3 convolution.
    #[serde(rename = "resnet50")]
    Resnet50,
    /// ResNet-101.
    #[serde(rename = "resnet101")]
    Resnet101,
    /// MobileNetV2 (Sandler et al., CVPR 2018).
    #[serde(rename = "mobilenet_v2")]
    MobilenetV2,
    /// VGG-11 with batch norm (Simonyan and Zisserman, ICLR 2015), convolutions only.
    #[serde(rename = "vgg11_bn")]
    Vgg11Bn,
    /// CLIP's ModifiedResNet-50 with attention pooling (Radford et al., ICML 2021).
    #[serde(rename = "clip-rn50")]
    ClipRn50,
    /// CLIP's ViT-B/32 as OpenAI trained it, with quick-GELU.
    #[serde(rename = "clip-vit-b32")]
    ClipVitB32,
    /// The same network with GELU, as OpenCLIP trains it on LAION.
    #[serde(rename = "open-clip-vit-b32")]
    OpenClipVitB32,
}

/// The first layers of a ResNet: `cifar` is 3x3 with stride 1 and no pooling, `imagenet` 7x7 with stride 2 and max-pooling.
/// All other architectures have a stem of their `own`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    Cifar,
    Imagenet,
    Own,
}

impl Architecture {
    pub const ALL: [Architecture; 9] = [
        Architecture::Resnet18,
        Architecture::Resnet34,
        Architecture::Resnet50,
        Architecture::Resnet101,
        Architecture::MobilenetV2,
        Architecture::Vgg11Bn,
        Architecture::ClipRn50,
        Architecture::ClipVitB32,
        Architecture::OpenClipVitB32,
    ];
    /// Their names, in the order of [`Architecture::ALL`].
    pub const NAMES: [&'static str; 9] = [
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "mobilenet_v2",
        "vgg11_bn",
        "clip-rn50",
        "clip-vit-b32",
        "open-clip-vit-b32",
    ];

    /// Whether the stem is a choice.
    pub fn is_resnet(self) -> bool {
        use Architecture::{Resnet18, Resnet34, Resnet50, Resnet101};
        matches!(self, Resnet18 | Resnet34 | Resnet50 | Resnet101)
    }

    /// Whether this is an image tower of CLIP, whose tensors stand under `visual.`.
    pub fn is_clip(self) -> bool {
        use Architecture::{ClipRn50, ClipVitB32, OpenClipVitB32};
        matches!(self, ClipRn50 | ClipVitB32 | OpenClipVitB32)
    }

    /// The published number of channels of the first stage, or a transformer's width.
    pub fn usual_width(self) -> usize {
        match self {
            Architecture::MobilenetV2 => 32,
            Architecture::ClipVitB32 | Architecture::OpenClipVitB32 => 768,
            _ => 64,
        }
    }

    /// The stem that is meant when none is named.
    pub fn usual_stem(self) -> Stem {
        if self.is_resnet() { Stem::Cifar } else { Stem::Own }
    }

    /// # Errors
    /// [`Error::Usage`]: a stem that this architecture does not have, a width or an image size that it cannot take.
    pub fn check(self, stem: Stem, width: usize, size: usize) -> Result<()> {
        if self.is_resnet() != (stem != Stem::Own) {
            let expected =
                if self.is_resnet() { "cifar or imagenet" } else { "none (this architecture has its own)" };
            return Err(Error::usage(format!("stem of {self}: expected {expected}, found {stem}")));
        }
        if width == 0 {
            return Err(Error::usage("width: expected at least 1 channel in the first stage, found 0"));
        }
        if self.is_clip() {
            // Heads of 64 channels; the attention pool of a ResNet has 32 · width / 64 of them.
            let unit = if self == Architecture::ClipRn50 { 2 } else { 192 };
            if !width.is_multiple_of(unit) {
                return Err(Error::usage(format!(
                    "width of {self}: expected a multiple of {unit}, found {width}"
                )));
            }
            if size == 0 || !size.is_multiple_of(32) {
                return Err(Error::usage(format!(
                    "size for {self}: expected a multiple of 32 pixels, found {size}"
                )));
            }
        }
        let smallest = if self == Architecture::Vgg11Bn { 32 } else { 8 };
        if size < smallest {
            return Err(Error::usage(format!(
                "size for {self}: expected images of at least {smallest} pixels a side, found {size}"
            )));
        }
        Ok(())
    }
}

impl Stem {
    pub const NAMES: [&'static str; 3] = ["cifar", "imagenet", "own"];
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Architecture::NAMES[*self as usize])
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Stem::NAMES[*self as usize])
    }
}

impl FromStr for Architecture {
    type Err = Error;
    fn from_str(name: &str) -> Result<Architecture> {
        let place = Architecture::NAMES.iter().position(|known| *known == name);
        place
            .map(|place| Architecture::ALL[place])
            .ok_or_else(|| Error::unknown("architecture", name, &Architecture::NAMES))
    }
}

impl FromStr for Stem {
    type Err = Error;
    fn from_str(name: &str) -> Result<Stem> {
        match name {
            "cifar" => Ok(Stem::Cifar),
            "imagenet" => Ok(Stem::Imagenet),
            // Files of contraleak may leave the stem empty for architectures that have one only.
            "own" | "" => Ok(Stem::Own),
            _ => Err(Error::unknown("stem", name, &Stem::NAMES)),
        }
    }
}
