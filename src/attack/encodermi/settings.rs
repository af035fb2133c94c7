//! Constants of the attack, with the published values as defaults.

use crate::kernels::similarity::Similarity;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The three inference classifiers of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Variant {
    /// A fully connected network on the sorted vector of similarities.
    V,
    /// A permutation-invariant network on their set.
    S,
    /// A threshold on their mean.
    T,
}

impl Variant {
    pub const ALL: [Variant; 3] = [Variant::V, Variant::S, Variant::T];
    /// As results name it.
    pub fn id(self) -> &'static str {
        ["encodermi-v", "encodermi-s", "encodermi-t"][self as usize]
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["V", "S", "T"][*self as usize])
    }
}

impl FromStr for Variant {
    type Err = Error;
    fn from_str(name: &str) -> Result<Variant> {
        match name {
            "V" | "v" => Ok(Variant::V),
            "S" | "s" => Ok(Variant::S),
            "T" | "t" => Ok(Variant::T),
            _ => Err(Error::unknown("variant", name, &["V", "S", "T"])),
        }
    }
}

/// EncoderMI-V.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorSettings {
    pub hidden: usize,
    pub learning_rate: f64,
    pub batch: usize,
    pub epochs: u64,
    /// λ of λ·Σ‖W‖² over weight matrices.
    pub weight_penalty: f64,
}

impl Default for VectorSettings {
    fn default() -> VectorSettings {
        VectorSettings { hidden: 256, learning_rate: 1e-4, batch: 100, epochs: 300, weight_penalty: 1e-6 }
    }
}

/// EncoderMI-S.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetSettings {
    pub width: usize,
    pub dropout: f32,
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub batch: usize,
    pub epochs: u64,
    /// Largest global norm of the gradient.
    pub clip: f64,
}

impl Default for SetSettings {
    fn default() -> SetSettings {
        SetSettings {
            width: 256,
            dropout: 0.5,
            learning_rate: 1e-3,
            weight_decay: 1e-7,
            batch: 64,
            epochs: 300,
            clip: 5.0,
        }
    }
}

/// Everything that an inferrer's bits depend on, beside features and seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// n, the views of each image.
    pub views: usize,
    #[serde(with = "by_name")]
    pub similarity: Similarity,
    pub vector: VectorSettings,
    pub set: SetSettings,
    /// `compat: deepsets`: S through the public point-cloud pipeline, with its own constants.
    pub compat_deepsets: bool,
    /// `compat: grid501`: T's threshold from 501 edges on [0, 1].
    pub compat_grid501: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            views: 10,
            similarity: Similarity::Cosine,
            vector: VectorSettings::default(),
            set: SetSettings::default(),
            compat_deepsets: false,
            compat_grid501: false,
        }
    }
}

impl Settings {
    /// Similarities of an image: n(n − 1)/2.
    pub fn pairs(&self) -> usize {
        self.views * self.views.saturating_sub(1) / 2
    }
}

/// Names of similarity measures on the command line and in files.
pub const SIMILARITIES: [&str; 3] = ["cosine", "euclidean", "pearson"];

/// The name of a measure.
pub fn similarity_name(similarity: Similarity) -> &'static str {
    SIMILARITIES[similarity as usize]
}

/// The measure of this name.
pub fn similarity_named(name: &str) -> Result<Similarity> {
    match name {
        "cosine" => Ok(Similarity::Cosine),
        "euclidean" => Ok(Similarity::Euclidean),
        "pearson" => Ok(Similarity::Pearson),
        _ => Err(Error::unknown("similarity", name, &SIMILARITIES)),
    }
}

mod by_name {
    use super::{Similarity, similarity_name, similarity_named};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Similarity, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(similarity_name(*value))
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Similarity, D::Error> {
        similarity_named(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
