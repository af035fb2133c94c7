//! What a SimCLR run is: everything that decides its bits, as `config.toml` has it.

use super::model::EncoderConfig;
use crate::augment::Recipe;
use crate::files::write_bytes_atomic;
use crate::nn::HeadKind;
use crate::optim::{LearningRate, Optimizer, Schedule};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Over which views batch norm takes its statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BatchNormScope {
    /// Both views of all images in one pass of 2N rows (He & Zhang, sthalles).
    Joint,
    /// A pass for each view, with two updates of the running statistics a step (leftthomas, EncoderMI).
    PerView,
}

/// A SimCLR pre-training run (Chen et al., ICML 2020).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimclrConfig {
    pub seed: u64,
    /// Images in a step; each gives two views. The last partial batch of an epoch is dropped.
    pub batch: usize,
    pub epochs: u64,
    pub temperature: f32,
    pub head: HeadKind,
    pub batch_norm: BatchNormScope,
    pub learning_rate: f64,
    /// As [`Schedule`] writes itself, e.g. `cosine`.
    pub schedule: String,
    pub encoder: EncoderConfig,
    pub optimizer: Optimizer,
    /// How views are made; its normalisation is the encoder's.
    pub recipe: Recipe,
}

/// `config.toml` of a run folder: what ran, enough to run it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    pub method: Method,
    /// The data SPEC.
    pub data: String,
    /// SHA-256 over the images and labels that the SPEC gave.
    pub data_hash: String,
    pub simclr: SimclrConfig,
}

/// Training methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Simclr,
}

impl PretrainConfig {
    /// Reads `config.toml` of a run folder.
    ///
    /// # Errors
    /// A missing file, or the line and key that is not understood.
    pub fn read(folder: &Path) -> Result<PretrainConfig> {
        let path = folder.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::usage(format!(
                "{}: holds no run (no {CONFIG_FILE}); start one with contraleak pretrain --data SPEC --out {0}",
                folder.display()
            )),
            _ => Error::io(&path, e),
        })?;
        toml::from_str(&text).map_err(|e| Error::data(path.display(), e.to_string().trim_end()))
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self).map_err(|e| Error::usage(format!("configuration: {e}")))?;
        write_bytes_atomic(folder.join(CONFIG_FILE), text.as_bytes())
    }
}

/// Shaders count steps in 32 bits.
const MOST_STEPS: u64 = u32::MAX as u64;

/// Name of the configuration in a run folder.
pub const CONFIG_FILE: &str = "config.toml";

impl SimclrConfig {
    /// The preset `emi-simclr` (EncoderMI with SimCLR) for other sizes: NT-Xent with τ = 0.5, head `simclr-bn`, a pass for
    /// each view, Adam with 1e-3 and weight decay 1e-6 at a constant rate.
    pub fn emi_simclr(
        encoder: EncoderConfig,
        recipe: Recipe,
        batch: usize,
        epochs: u64,
        seed: u64,
    ) -> SimclrConfig {
        SimclrConfig {
            seed,
            batch,
            epochs,
            temperature: 0.5,
            head: HeadKind::SimclrBn,
            batch_norm: BatchNormScope::PerView,
            learning_rate: 1e-3,
            schedule: Schedule::Const.to_string(),
            encoder,
            optimizer: Optimizer::adam(1e-6),
            recipe,
        }
    }

    /// # Errors
    /// [`Error::Usage`] names the setting that is out of range, its value and what is allowed.
    pub fn check(&self, images: usize) -> Result<()> {
        let wrong = |setting: &str, found: String, expected: &str| {
            Err(Error::usage(format!("{setting}: expected {expected}, found {found}")))
        };
        if self.batch < 2 {
            return wrong("batch", self.batch.to_string(), "at least 2 images");
        }
        if self.batch > images {
            return wrong(
                "batch",
                self.batch.to_string(),
                &format!("at most the {images} images of the set"),
            );
        }
        if self.epochs == 0 {
            return wrong("epochs", "0".into(), "at least 1");
        }
        if !(0.001..=1000.0).contains(&self.temperature) {
            return wrong("temperature", self.temperature.to_string(), "a number within 0.001..=1000");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong("learning_rate", self.learning_rate.to_string(), "a positive number");
        }
        if self.recipe.size != self.encoder.size {
            return wrong(
                "recipe.size",
                self.recipe.size.to_string(),
                &format!("the encoder's {}", self.encoder.size),
            );
        }
        let steps = self.steps_per_epoch(images).checked_mul(self.epochs);
        if steps.is_none_or(|steps| steps > MOST_STEPS) {
            let most = MOST_STEPS / self.steps_per_epoch(images);
            return wrong("epochs", self.epochs.to_string(), &format!("at most {most} with this batch"));
        }
        if i64::try_from(self.seed).is_err() {
            return wrong("seed", self.seed.to_string(), &format!("at most {}, as TOML has it", i64::MAX));
        }
        self.optimizer.check()?;
        self.rate().map(|_| ())
    }

    /// The settings of `other` that differ from these, each with both values, for messages.
    pub fn changes(&self, other: &SimclrConfig) -> Result<Vec<String>> {
        let json = |config: &SimclrConfig| {
            serde_json::to_value(config).map_err(|e| Error::usage(format!("configuration: {e}")))
        };
        let (old, new) = (json(self)?, json(other)?);
        let keys = old.as_object().into_iter().flatten();
        Ok(keys
            .filter(|&(key, value)| new[key] != *value)
            .map(|(key, value)| format!("{key}: expected {value}, found {}", new[key]))
            .collect())
    }

    /// The learning rate of each step.
    pub fn rate(&self) -> Result<LearningRate> {
        Ok(LearningRate { base: self.learning_rate, epochs: self.epochs, schedule: self.schedule.parse()? })
    }

    /// Steps of an epoch over `images` images.
    pub fn steps_per_epoch(&self, images: usize) -> u64 {
        (images / self.batch) as u64
    }
}
