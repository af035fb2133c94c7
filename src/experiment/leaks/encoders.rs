//! The encoders of the experiment: which there are, where they lie, and their training.

use super::config::LeaksConfig;
use super::parts::{Parts, Side};
use crate::augment::{NO_NORMALISATION, Recipe};
use crate::data::{self, ImageSet};
use crate::experiment::features::Label;
use crate::experiment::tell::{Tell, Watch};
use crate::gpu::Gpu;
use crate::nn::EncoderFile;
use crate::train::{
    CONFIG_FILE, PretrainConfig, RunOptions, SimclrConfig, Start, SupervisedConfig, TalosConfig, Training,
    pretrain,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// How an encoder was trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    Contrastive,
    Supervised,
    Talos { lambda: f32 },
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Contrastive => f.write_str("contrastive"),
            Method::Supervised => f.write_str("supervised"),
            Method::Talos { lambda } => write!(f, "talos-{lambda}"),
        }
    }
}

/// The methods of a trial, in the order in which they matter.
pub fn methods(config: &LeaksConfig, seed: u64, has_attribute: bool) -> Vec<Method> {
    let mut methods = vec![Method::Contrastive, Method::Supervised];
    if !has_attribute {
        return methods;
    }
    methods.push(Method::Talos { lambda: config.lambda });
    if config.sweep_seeds.contains(&seed) {
        for &lambda in &config.sweep {
            let method = Method::Talos { lambda };
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
    }
    methods
}

/// Folder of the models of one method in one trial.
pub fn folder(root: &Path, seed: u64, method: Method) -> PathBuf {
    root.join(format!("seed-{seed}")).join(method.to_string())
}

const STAGE_ZERO: &str = "stage-0";
const ENCODER: &str = "encoder.safetensors";

/// Trains stage 0, if it is part of the experiment; gives its file.
pub fn stage_zero(
    gpu: &Gpu,
    config: &LeaksConfig,
    root: &Path,
    tell: &mut dyn Tell,
) -> Result<Option<Start>> {
    let Some(stage) = &config.stage_zero else { return Ok(None) };
    let set = data::resized(data::open(&stage.data)?, config.encoder.size);
    let views = views(config, &set)?;
    let simclr = SimclrConfig {
        learning_rate: config.contrastive_rate,
        ..SimclrConfig::cl_stage(config.encoder, views, stage.batch, stage.epochs, 0, config.compat)
    };
    let run = PretrainConfig {
        data: stage.data.clone(),
        data_hash: set.content_hash(),
        start: None,
        exact_conv: gpu.facts().exact_conv,
        training: simclr.into(),
    };
    let file = train(gpu, &set, &root.join(STAGE_ZERO), run, "stage 0", tell)?;
    let sha256 = EncoderFile::read(&file)?.sha256;
    Ok(Some(Start { file, sha256 }))
}

/// Trains the encoder of one side by one method; gives its file.
pub fn encoder(
    gpu: &Gpu,
    config: &LeaksConfig,
    root: &Path,
    parts: &Parts,
    (seed, method, side): (u64, Method, Side),
    start: Option<&Start>,
    tell: &mut dyn Tell,
) -> Result<PathBuf> {
    let (set, spec) = parts.training(side);
    let run_seed = 2 * seed + u64::from(side == Side::Shadow);
    let LeaksConfig { encoder, batch, epochs, compat, .. } = *config;
    let views = views(config, set)?;
    let simclr = |talos| SimclrConfig {
        talos,
        learning_rate: config.contrastive_rate,
        ..SimclrConfig::cl_stage(encoder, views.clone(), batch, epochs, run_seed, compat)
    };
    let training: Training = match method {
        Method::Contrastive => simclr(None).into(),
        Method::Talos { lambda } => {
            let talos =
                TalosConfig { compat, ..TalosConfig::new(lambda, Label::Attribute.of(set)?.classes()) };
            simclr(Some(talos)).into()
        }
        Method::Supervised => {
            let plain = Recipe { horizontal_flip: 0.5, ..plain(config, set) };
            let classes = Label::Target.of(set)?.classes();
            SupervisedConfig::cl_supervised(encoder, plain, classes, batch, epochs, run_seed, compat).into()
        }
    };
    let run = PretrainConfig {
        data: spec.to_string(),
        data_hash: set.content_hash(),
        // The baseline learns from scratch, as published.
        start: start.filter(|_| method != Method::Supervised).cloned(),
        exact_conv: gpu.facts().exact_conv,
        training,
    };
    let what = format!("seed {seed}, {method}, {}", side.name());
    train(gpu, set, &folder(root, seed, method).join(side.name()), run, &what, tell)
}

/// Trains or goes on with the run in `folder`; does nothing where it has ended already.
fn train(
    gpu: &Gpu,
    set: &ImageSet,
    folder: &Path,
    config: PretrainConfig,
    what: &str,
    tell: &mut dyn Tell,
) -> Result<PathBuf> {
    let resume = folder.join(CONFIG_FILE).exists();
    let file = folder.join(ENCODER);
    if resume && file.exists() {
        let old = PretrainConfig::read(folder)?;
        let start = |config: &PretrainConfig| config.start.as_ref().map(|s| s.sha256.clone());
        if old.training != config.training
            || old.data_hash != config.data_hash
            || start(&old) != start(&config)
        {
            return Err(Error::usage(format!(
                "{}: holds an encoder of another experiment; choose another folder with --out, or delete it",
                folder.display()
            )));
        }
        return Ok(file);
    }
    tell.stage(&format!("training: {what}"));
    // A run that began keeps the path its start had then.
    let start = if resume { PretrainConfig::read(folder)?.start } else { config.start.clone() };
    let config = PretrainConfig { start, ..config };
    let options = RunOptions { folder: folder.to_path_buf(), config, resume, checkpoint_every: None };
    let outcome = pretrain(gpu, set, &options, &mut Watch(tell)).map_err(|error| match error {
        Error::Interrupted(_) => {
            Error::Interrupted(format!("stopped while training ({what}); the same command goes on from here"))
        }
        other => other,
    })?;
    Ok(outcome.encoder)
}

/// The recipe of SimCLR's views.
fn views(config: &LeaksConfig, set: &ImageSet) -> Result<Recipe> {
    let recipe = Recipe::named(if config.compat { "simclr-96" } else { &config.recipe })?;
    Ok(recipe.sized(config.encoder.size).normalised(constants(config, set)))
}

/// The image as it is, normalised.
fn plain(config: &LeaksConfig, set: &ImageSet) -> Recipe {
    Recipe::plain(config.encoder.size).normalised(constants(config, set))
}

fn constants(config: &LeaksConfig, set: &ImageSet) -> crate::augment::Constants {
    if config.compat {
        return NO_NORMALISATION;
    }
    let normalization = set.normalization();
    (normalization.mean.map(f64::from), normalization.std.map(f64::from))
}
