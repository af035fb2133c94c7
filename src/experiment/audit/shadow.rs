//! A shadow encoder of the auditor's own, trained where none is given.

use super::AuditOptions;
use crate::augment::Recipe;
use crate::data::{self, ImageSet, Spec};
use crate::experiment::load::{Answer, Hints, Loaded, load_file};
use crate::experiment::tell::{Tell, Watch};
use crate::gpu::Gpu;
use crate::nn::{Architecture, EncoderFile, Stem};
use crate::rng::{Key, Stream, permutation};
use crate::train::{CONFIG_FILE, EncoderConfig, PretrainConfig, RunOptions, SimclrConfig, pretrain};
use crate::{Error, Result};
use serde::Serialize;
use std::fmt;

/// How the shadow encoder is trained: SimCLR as EncoderMI's authors did, on one half of the shadow images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShadowTraining {
    /// The audited encoder's by default, a ResNet-18 for CLIP.
    pub arch: Option<Architecture>,
    pub epochs: u64,
    /// Images in a step, at most.
    pub batch: usize,
}

impl fmt::Display for ShadowTraining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimCLR, {} epochs, at most {} images a step", self.epochs, self.batch)
    }
}

/// The shadow members and the shadow non-members: the halves of `spec` after a shuffle by `seed`.
///
/// # Errors
/// Images that cannot be read; fewer than 4.
pub(super) fn halves(spec: &Spec, seed: u64) -> Result<(ImageSet, ImageSet)> {
    let set = data::open_spec(spec)?;
    if set.len() < 4 {
        return Err(Error::usage(format!(
            "{}: expected at least 4 images for a shadow encoder, found {}",
            spec.text,
            set.len()
        )));
    }
    let order = permutation(Key::from_seed(seed).stream(Stream::Split, 0), set.len());
    let (members, others) = order.split_at(set.len() / 2);
    Ok((set.subset(members)?, set.subset(others)?))
}

impl ShadowTraining {
    /// Trains it in `OUT/shadow`, or goes on there.
    ///
    /// # Errors
    /// Errors of training; [`Error::Interrupted`] with a checkpoint saved.
    pub(super) fn train(
        &self,
        gpu: &Gpu,
        target: &Loaded,
        spec: &str,
        set: &ImageSet,
        options: &AuditOptions,
        tell: &mut dyn Tell,
    ) -> Result<Loaded> {
        let own = target.encoder.config();
        let encoder = match self.arch {
            Some(arch) => EncoderConfig {
                arch,
                stem: if arch == own.arch { own.stem } else { arch.usual_stem() },
                width: if arch == own.arch { own.width } else { arch.usual_width() },
                size: own.size,
            },
            None if own.arch.is_clip() => EncoderConfig {
                arch: Architecture::Resnet18,
                stem: Stem::Imagenet,
                width: Architecture::Resnet18.usual_width(),
                size: own.size,
            },
            None => own,
        };
        let recipe = Recipe::named("moco-cifar")?.sized(own.size).normalised(target.normalization);
        let batch = self.batch.min(set.len());
        let config = SimclrConfig::emi_simclr(encoder, recipe, batch, self.epochs, options.seed);
        tell.stage(&format!("training a shadow encoder, {encoder}, on {} images of {spec}", set.len()));
        let folder = options.out.join("shadow");
        let run = RunOptions {
            resume: folder.join(CONFIG_FILE).exists(),
            config: PretrainConfig {
                data: format!("{spec} (shadow members of the audit with seed {})", options.seed),
                data_hash: set.content_hash(),
                start: None,
                exact_conv: gpu.facts().exact_conv,
                training: config.into(),
            },
            folder,
            checkpoint_every: None,
        };
        let outcome = pretrain(gpu, set, &run, &mut Watch(tell)).map_err(|error| match error {
            Error::Interrupted(_) => Error::Interrupted(
                "stopped while training the shadow encoder; the same command goes on from its checkpoint"
                    .into(),
            ),
            other => other,
        })?;
        let file = EncoderFile::read(&outcome.encoder)?;
        load_file(gpu, file, "shadow", own.size, &Hints::default(), Answer::Features)
    }
}
