//! The options of `contraleak pretrain --method moco`: its presets, and what is given beside them.

use super::{Args, optimizer};
use crate::augment::Recipe;
use crate::data::ImageSet;
use crate::nn::{Architecture, HeadKind, Stem};
use crate::optim::Schedule;
use crate::train::{EncoderConfig, MocoConfig, Training};
use crate::{Error, Result};

pub(super) const PRESETS: [&str; 5] = ["emi-moco", "moco-v1", "moco-v2", "moco-notebook", "ci-tiny"];

/// What a preset says of encoder, views and length of a run; the rest is a function of [`MocoConfig`].
struct Preset {
    arch: Architecture,
    stem: Stem,
    width: usize,
    /// `None`: that of the images.
    size: Option<usize>,
    recipe: &'static str,
    batch: usize,
    epochs: u64,
    config: fn(EncoderConfig, Recipe, usize, u64, u64) -> MocoConfig,
}

fn preset(name: &str) -> Result<Preset> {
    let emi = Preset {
        arch: Architecture::Resnet18,
        stem: Stem::Cifar,
        width: 64,
        size: None,
        recipe: "moco-cifar",
        batch: 512,
        epochs: 1600,
        config: MocoConfig::emi_moco,
    };
    let v1 = Preset {
        arch: Architecture::Resnet50,
        stem: Stem::Imagenet,
        width: 64,
        size: Some(224),
        recipe: "moco-v1-imagenet",
        batch: 256,
        epochs: 200,
        config: MocoConfig::moco_v1,
    };
    match name {
        "emi-moco" => Ok(emi),
        "moco-v1" => Ok(v1),
        "moco-v2" => Ok(Preset { recipe: "moco-v2-imagenet", config: MocoConfig::moco_v2, ..v1 }),
        "moco-notebook" => Ok(Preset {
            recipe: "moco-cifar-notebook",
            epochs: 200,
            config: |encoder, recipe, batch, epochs, seed| MocoConfig {
                schedule: Schedule::CosineNotebook.to_string(),
                ..MocoConfig::emi_moco(encoder, recipe, batch, epochs, seed)
            },
            ..emi
        }),
        "ci-tiny" => Ok(Preset {
            width: 16,
            batch: 128,
            epochs: 200,
            config: |encoder, recipe, batch, epochs, seed| MocoConfig {
                queue: 1024,
                ..MocoConfig::emi_moco(encoder, recipe, batch, epochs, seed)
            },
            ..emi
        }),
        _ => Err(Error::unknown("preset", name, &PRESETS)),
    }
}

/// The run that `args` ask for.
pub(super) fn training(args: &Args, set: &ImageSet) -> Result<Training> {
    for (given, option) in [
        (args.talos.is_some(), "--talos"),
        (args.batch_norm.is_some(), "--batch-norm"),
        (args.compat.is_some(), "--compat"),
    ] {
        if given {
            return Err(Error::usage(format!("{option}: is not for --method moco")));
        }
    }
    let preset = preset(args.preset.as_deref().unwrap_or("emi-moco"))?;
    let size = args.size.or(preset.size).unwrap_or(set.width.max(set.height));
    let encoder = super::encoder(args, preset.arch, preset.stem, preset.width, size)?;
    let normalization = set.normalization();
    let recipe = Recipe::named(args.augment.as_deref().unwrap_or(preset.recipe))?
        .sized(size)
        .normalised((normalization.mean.map(f64::from), normalization.std.map(f64::from)));
    let (batch, epochs) = (args.batch.unwrap_or(preset.batch), args.epochs.unwrap_or(preset.epochs));
    let mut config = (preset.config)(encoder, recipe, batch, epochs, args.seed);
    config.temperature = args.temperature.unwrap_or(config.temperature);
    config.queue = args.queue.unwrap_or(config.queue);
    config.momentum = args.momentum.unwrap_or(config.momentum);
    config.splits = args.splits.unwrap_or(config.splits);
    config.shuffle &= !args.no_shuffle;
    config.symmetric |= args.symmetric;
    if let Some(head) = &args.head {
        config.head = head.parse::<HeadKind>()?;
    }
    config.optimizer = optimizer(args, config.optimizer)?;
    config.learning_rate = args.learning_rate.unwrap_or(config.learning_rate);
    if let Some(schedule) = &args.schedule {
        config.schedule = schedule.parse::<Schedule>()?.to_string();
    }
    Ok(config.into())
}
