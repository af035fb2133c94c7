//! What a pre-training run is: everything that decides its bits, as `config.toml` has it.

use super::moco::MocoConfig;
use super::model::{Attachments, EncoderConfig};
use super::precision::Precision;
use super::simclr::SimclrConfig;
use super::supervised::SupervisedConfig;
use crate::augment::Recipe;
use crate::data::ImageSet;
use crate::files::write_bytes_atomic;
use crate::optim::{LearningRate, Optimizer};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// `config.toml` of a run folder: what ran, enough to run it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// The data SPEC.
    pub data: String,
    /// SHA-256 over the images and labels that the SPEC gave.
    pub data_hash: String,
    /// The encoder that training starts from; `None` for random initial values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Direct convolutions alone (`--exact-conv`), which give other bits than the default ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact_conv: bool,
    pub training: Training,
}

/// An encoder file whose weights a run starts from, as stage 1 of He & Zhang starts from stage 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    pub file: PathBuf,
    /// SHA-256 of the file.
    pub sha256: String,
}

/// Training methods with their settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Training {
    Simclr(SimclrConfig),
    Moco(MocoConfig),
    Supervised(SupervisedConfig),
}

impl From<SimclrConfig> for Training {
    fn from(config: SimclrConfig) -> Training {
        Training::Simclr(config)
    }
}

impl From<MocoConfig> for Training {
    fn from(config: MocoConfig) -> Training {
        Training::Moco(config)
    }
}

impl From<SupervisedConfig> for Training {
    fn from(config: SupervisedConfig) -> Training {
        Training::Supervised(config)
    }
}

/// The settings that every method has.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    pub seed: u64,
    /// Images in a step. The last partial batch of an epoch is dropped.
    pub batch: usize,
    pub epochs: u64,
    pub learning_rate: f64,
    /// As [`Schedule`](crate::optim::Schedule) writes itself.
    pub schedule: &'a str,
    pub encoder: EncoderConfig,
    pub optimizer: Optimizer,
    /// How views are made; its normalisation is the encoder's.
    pub recipe: &'a Recipe,
    pub precision: Precision,
}

/// What a step of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which of the method's programs runs: 0 trains the encoder, 1 the adversary of Talos.
    pub phase: usize,
    /// Counted for each phase.
    pub epoch: u64,
    /// Batch of the epoch.
    pub batch: u64,
    /// Steps of this phase done before.
    pub step: u64,
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

/// The error for a setting that is out of range.
pub(super) fn wrong<T>(setting: &str, found: impl std::fmt::Display, expected: &str) -> Result<T> {
    Err(Error::usage(format!("{setting}: expected {expected}, found {found}")))
}

impl Training {
    /// What people call it.
    pub fn method(&self) -> &'static str {
        match self {
            Training::Simclr(config) if config.talos.is_some() => "Talos",
            Training::Simclr(_) => "SimCLR",
            Training::Moco(_) => "MoCo",
            Training::Supervised(_) => "supervised",
        }
    }

    pub fn settings(&self) -> Settings<'_> {
        match self {
            Training::Simclr(c) => Settings {
                seed: c.seed,
                batch: c.batch,
                epochs: c.epochs,
                learning_rate: c.learning_rate,
                schedule: &c.schedule,
                encoder: c.encoder,
                optimizer: c.optimizer,
                recipe: &c.recipe,
                precision: c.precision,
            },
            Training::Moco(c) => Settings {
                seed: c.seed,
                batch: c.batch,
                epochs: c.epochs,
                learning_rate: c.learning_rate,
                schedule: &c.schedule,
                encoder: c.encoder,
                optimizer: c.optimizer,
                recipe: &c.recipe,
                precision: c.precision,
            },
            Training::Supervised(c) => Settings {
                seed: c.seed,
                batch: c.batch,
                epochs: c.epochs,
                learning_rate: c.learning_rate,
                schedule: &c.schedule,
                encoder: c.encoder,
                optimizer: c.optimizer,
                recipe: &c.recipe,
                precision: c.precision,
            },
        }
    }

    /// The same with another batch.
    #[must_use]
    pub fn with_batch(&self, batch: usize) -> Training {
        let mut training = self.clone();
        match &mut training {
            Training::Simclr(c) => c.batch = batch,
            Training::Moco(c) => c.batch = batch,
            Training::Supervised(c) => c.batch = batch,
        }
        training
    }

    /// The same in other number formats.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Training {
        match &mut self {
            Training::Simclr(c) => c.precision = precision,
            Training::Moco(c) => c.precision = precision,
            Training::Supervised(c) => c.precision = precision,
        }
        self
    }

    /// What the encoder carries in training.
    pub fn attachments(&self) -> Attachments {
        match self {
            Training::Simclr(c) => {
                let adversary = c.talos.as_ref().map(|talos| talos.adversary());
                Attachments { projector: Some(c.head), adversary, ..Attachments::default() }
            }
            Training::Moco(c) => Attachments { projector: Some(c.head), ..Attachments::default() },
            Training::Supervised(c) => Attachments { task: Some(c.classes), ..Attachments::default() },
        }
    }

    /// Whether the method learns from a label.
    pub(super) fn labelled(&self) -> bool {
        match self {
            Training::Simclr(config) => config.talos.is_some(),
            Training::Moco(_) => false,
            Training::Supervised(_) => true,
        }
    }

    /// The label that this method learns from, if any: its values for the images of `set`.
    ///
    /// # Errors
    /// A set without that label, or with another number of classes.
    pub fn labels<'a>(&self, set: &'a ImageSet) -> Result<Option<&'a [u32]>> {
        let (kind, labels, classes) = match self {
            Training::Simclr(SimclrConfig { talos: Some(talos), .. }) => {
                ("attribute", &set.attribute, talos.classes)
            }
            Training::Simclr(_) | Training::Moco(_) => return Ok(None),
            Training::Supervised(config) => ("target", &set.target, config.classes),
        };
        let Some(labels) = labels else {
            return Err(Error::usage(format!(
                "{}: has no {kind} label, which {} training needs; name one in its SPEC ({kind}=COLUMN)",
                set.name,
                self.method()
            )));
        };
        if labels.classes() != classes {
            return wrong("classes", classes, &format!("the {} of {kind} in {}", labels.classes(), set.name));
        }
        Ok(Some(&labels.values))
    }

    /// Programs that take turns, an epoch each.
    pub fn phases(&self) -> usize {
        match self {
            Training::Simclr(config) if config.talos.is_some() => 2,
            _ => 1,
        }
    }

    /// Views of an image in a step.
    pub fn views(&self) -> usize {
        match self {
            Training::Simclr(_) | Training::Moco(_) => 2,
            Training::Supervised(_) => 1,
        }
    }

    /// Updates of the encoder's running statistics in a step that trains it.
    pub fn passes(&self) -> u64 {
        match self {
            Training::Simclr(config) => config.passes(),
            Training::Moco(config) => config.key_passes() as u64,
            Training::Supervised(_) => 1,
        }
    }

    /// Row of MoCo's queue that step `step`, counted from 0, overwrites first; 0 for other methods.
    pub fn queue_pointer(&self, step: u64) -> u64 {
        match self {
            Training::Moco(config) => config.queue_pointer(step),
            Training::Simclr(_) | Training::Supervised(_) => 0,
        }
    }

    /// # Errors
    /// [`Error::Usage`] names the setting that is out of range, its value and what is allowed.
    pub fn check(&self, set: &ImageSet) -> Result<()> {
        self.check_settings()?;
        let images = set.len();
        let settings = self.settings();
        if settings.batch > images {
            return wrong("batch", settings.batch, &format!("at most the {images} images of the set"));
        }
        let per_epoch = self.steps_per_epoch(images) * self.phases() as u64;
        if per_epoch.checked_mul(settings.epochs).is_none_or(|steps| steps > MOST_STEPS) {
            let most = MOST_STEPS / per_epoch;
            return wrong("epochs", settings.epochs, &format!("at most {most} with this batch"));
        }
        self.labels(set).map(drop)
    }

    /// What can be checked without the images.
    pub(super) fn check_settings(&self) -> Result<()> {
        let settings = self.settings();
        if settings.batch < 2 {
            return wrong("batch", settings.batch, "at least 2 images");
        }
        if settings.epochs == 0 {
            return wrong("epochs", 0, "at least 1");
        }
        if !(settings.learning_rate > 0.0 && settings.learning_rate.is_finite()) {
            return wrong("learning_rate", settings.learning_rate, "a positive number");
        }
        if settings.recipe.size != settings.encoder.size {
            let size = settings.encoder.size;
            return wrong("recipe.size", settings.recipe.size, &format!("the encoder's {size}"));
        }
        if i64::try_from(settings.seed).is_err() {
            return wrong("seed", settings.seed, &format!("at most {}, as TOML has it", i64::MAX));
        }
        settings.optimizer.check()?;
        settings.precision.check()?;
        match self {
            Training::Simclr(config) => config.check_own()?,
            Training::Moco(config) => config.check_own()?,
            Training::Supervised(config) => config.check_own()?,
        }
        self.rate().map(drop)
    }

    /// The settings of `other` that differ from these, each with both values, for messages.
    pub fn changes(&self, other: &Training) -> Result<Vec<String>> {
        let json = |training: &Training| {
            let value =
                serde_json::to_value(training).map_err(|e| Error::usage(format!("configuration: {e}")))?;
            Ok::<_, Error>(
                value.as_object().and_then(|o| o.iter().next().map(|(k, v)| (k.clone(), v.clone()))),
            )
        };
        let (Some((old_method, old)), Some((new_method, new))) = (json(self)?, json(other)?) else {
            return Ok(Vec::new());
        };
        if old_method != new_method {
            return Ok(vec![format!("method: expected {old_method}, found {new_method}")]);
        }
        let mut keys: Vec<&String> =
            old.as_object().into_iter().chain(new.as_object()).flatten().map(|(key, _)| key).collect();
        keys.sort();
        keys.dedup();
        Ok(keys
            .into_iter()
            .filter(|key| new[key.as_str()] != old[key.as_str()])
            .map(|key| format!("{key}: expected {}, found {}", old[key.as_str()], new[key.as_str()]))
            .collect())
    }

    /// The learning rate of each step of the first phase.
    pub fn rate(&self) -> Result<LearningRate> {
        let settings = self.settings();
        Ok(LearningRate {
            base: settings.learning_rate,
            epochs: settings.epochs,
            schedule: settings.schedule.parse()?,
        })
    }

    /// Steps of an epoch of one phase over `images` images.
    pub fn steps_per_epoch(&self, images: usize) -> u64 {
        (images / self.settings().batch) as u64
    }

    /// Steps of the whole run over `images` images.
    pub fn total_steps(&self, images: usize) -> u64 {
        self.steps_per_epoch(images) * self.settings().epochs * self.phases() as u64
    }

    /// What step `done`, counted from 0, does.
    pub fn place(&self, done: u64, images: usize) -> Place {
        let (phases, per_epoch) = (self.phases() as u64, self.steps_per_epoch(images).max(1));
        let (epoch, batch) = (done / per_epoch, done % per_epoch);
        let (epoch, phase) = (epoch / phases, epoch % phases);
        Place { phase: phase as usize, epoch, batch, step: epoch * per_epoch + batch }
    }
}
