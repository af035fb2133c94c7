//! `contraleak pretrain`: trains an encoder in a run folder, or goes on with one.

mod moco;

use std::path::PathBuf;

use indicatif::ProgressBar;
use serde::Serialize;

use super::{Global, interrupt, output, progress};
use crate::augment::Recipe;
use crate::data::{self, ImageSet};
use crate::gpu::Gpu;
use crate::nn::EncoderFile;
use crate::nn::{Architecture, HeadKind, Stem};
use crate::optim::{Optimizer, Schedule};
use crate::train::talos::{CensoredImage, CensoredLocation};
use crate::train::{
    self, BatchNormScope, EncoderConfig, Outcome, Precision, PretrainConfig, RunOptions, SimclrConfig, Start,
    SupervisedConfig, TalosConfig, Training,
};
use crate::{Error, Result};

/// Train an encoder; leaves RUN/encoder.safetensors, metrics, checkpoints
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak pretrain --method simclr --data synthetic-faces:count=200,size=32 --width 16 --epochs 50 --out runs/target
  contraleak pretrain --data 'fashion-mnist:/usr/share/datasets/fashion-mnist#part=train,shuffle=1,take=0..500' --out runs/fashion
  contraleak pretrain --method moco --data 'fashion-mnist:/usr/share/datasets/fashion-mnist#part=train,shuffle=1,take=0..1000' --preset ci-tiny --out runs/moco
  contraleak pretrain --preset cl-stage --talos 10 --data 'csv:people.csv#target=gender,attribute=skin_tone' --batch 64 --out runs/talos
  contraleak pretrain --method supervised --data 'csv:people.csv#target=gender' --batch 64 --out runs/supervised
  contraleak pretrain --resume runs/target

A preset sets every option below it that is not given:
  emi-simclr     EncoderMI's SimCLR: temperature 0.5, head simclr-bn, per-view, Adam 1e-3, moco-cifar
  cl-stage       He & Zhang's SimCLR, stages 0 and 1: temperature 0.07, head simclr-cl-resnet, joint, Adam 3e-4,
                 cosine-delayed, simclr-96-clean, batch 512; stage 1 starts --from the file of stage 0
  cl-supervised  He & Zhang's baseline: cross-entropy, SGD 0.1, cosine, horizontal flips, batch 512
  emi-moco       EncoderMI's MoCo: temperature 0.1, queue 4096, momentum 0.99, batch norm in 8 splits, head moco-linear,
                 SGD 0.06, cosine, moco-cifar, batch 512, 1600 epochs
  moco-notebook  the same for 200 epochs with moco-cifar-notebook and cosine-notebook (MoCo's own CIFAR-10 run)
  moco-v1        ImageNet: resnet50 at 224 pixels, temperature 0.07, queue 65536, momentum 0.999, SGD 0.03, step(120,160),
                 moco-v1-imagenet, batch 256, 200 epochs
  moco-v2        moco-v1 with temperature 0.2, head moco-mlp, cosine and moco-v2-imagenet
  ci-tiny        emi-moco at width 16: queue 1024, batch 128, 200 epochs

A run that was stopped or killed goes on with --resume and ends in the same bits as one that was not.")]
pub struct Args {
    /// Training method: simclr, moco or supervised
    #[arg(long, default_value = "simclr", value_name = "NAME")]
    method: String,
    /// Where defaults come from (below) [default: emi-simclr; cl-stage with --talos; emi-moco and cl-supervised with those methods]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Training images (see data info --help)
    #[arg(long, value_name = "SPEC", required_unless_present = "resume")]
    data: Option<String>,
    /// Folder of the run
    #[arg(long, value_name = "RUN", required_unless_present = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder; its own settings hold
    #[arg(long, value_name = "RUN", conflicts_with_all = ["data", "out", "method", "preset", "from", "talos", "talos_image", "talos_location", "compat", "arch", "stem", "width", "size", "batch", "epochs", "temperature", "head", "batch_norm", "queue", "momentum", "splits", "no_shuffle", "symmetric", "optimizer", "learning_rate", "weight_decay", "schedule", "augment", "seed", "precision"])]
    resume: Option<PathBuf>,
    /// Start from the weights of this encoder instead of random ones
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Censor the data's attribute with Talos, at this lambda
    #[arg(long, value_name = "LAMBDA")]
    talos: Option<f32>,
    /// What Talos' adversary sees: augmented or original images
    #[arg(long, default_value = "augmented", value_name = "NAME", requires = "talos")]
    talos_image: String,
    /// Where it reads: embedding or projection
    #[arg(long, default_value = "embedding", value_name = "NAME", requires = "talos")]
    talos_location: String,
    /// Reproduce the artefacts of published code: contrastive-leaks
    #[arg(long, value_name = "NAME")]
    compat: Option<String>,
    /// Encoder: resnet18, resnet34, resnet50, resnet101, mobilenet_v2, vgg11_bn, … [default: resnet18; resnet50 with moco-v1 and -v2]
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// First layers of a ResNet: cifar (3x3, for small images) or imagenet (7x7 and pooling) [default: cifar; imagenet with cl presets, moco-v1 and -v2]
    #[arg(long, value_name = "NAME")]
    stem: Option<String>,
    /// Channels of the first stage (64 in the papers) [default: 64; 16 with ci-tiny]
    #[arg(long)]
    width: Option<usize>,
    /// Side of the views in pixels [default: that of the images; 224 with moco-v1 and -v2]
    #[arg(long)]
    size: Option<usize>,
    /// Images in a step; each gives two views, or one with labels [default: 64; 512 with cl presets; as the moco presets say]
    #[arg(long)]
    batch: Option<usize>,
    /// Passes over the images [default: 100; as the moco presets say]
    #[arg(long)]
    epochs: Option<u64>,
    /// Temperature of the contrastive loss [default: 0.5 or 0.07; as the moco presets say]
    #[arg(long)]
    temperature: Option<f32>,
    /// Projection head: simclr-bn, moco-mlp, moco-linear or simclr-cl-resnet
    #[arg(long, value_name = "NAME")]
    head: Option<String>,
    /// Batch-norm statistics over both views (joint) or each alone (per-view)
    #[arg(long, value_name = "SCOPE")]
    batch_norm: Option<String>,
    /// MoCo: keys in the queue, a multiple of the batch
    #[arg(long, value_name = "KEYS")]
    queue: Option<usize>,
    /// MoCo: what the key encoder keeps of itself in a step, 0 to 1
    #[arg(long)]
    momentum: Option<f64>,
    /// MoCo: parts of a batch with batch-norm statistics of their own; they divide the batch
    #[arg(long)]
    splits: Option<usize>,
    /// MoCo: keys in the order of the queries
    #[arg(long)]
    no_shuffle: bool,
    /// MoCo: both views are queries, and both are keys
    #[arg(long)]
    symmetric: bool,
    /// adam, adamw, sgd or lars
    #[arg(long, value_name = "NAME")]
    optimizer: Option<String>,
    /// Base rate of the schedule [default: 1e-3, 3e-4 or 0.1; as the moco presets say]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Added to the gradient (adam, sgd, lars) or apart from it (adamw) [default: 1e-6, 1e-4 or 5e-4, as the preset says]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// const, cosine, step(E,…), warmup(STEPS)+cosine, …
    #[arg(long, value_name = "SCHEDULE")]
    schedule: Option<String>,
    /// Recipe of the views
    #[arg(long, value_name = "NAME")]
    augment: Option<String>,
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// f32, or mixed: products of f16 operands with f32 sums and dynamic loss scaling, on GPUs with cooperative matrices
    #[arg(long, default_value = "f32", value_name = "NAME")]
    precision: String,
    /// Steps between checkpoints [default: one every half minute]
    #[arg(long, value_name = "STEPS")]
    checkpoint_every: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    encoder: String,
    encoder_sha256: String,
    steps: u64,
    final_loss: f32,
    /// By loss scaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped_steps: Option<u64>,
    seconds: f64,
    views_per_s: f64,
    adapter: String,
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    let (config, set, folder) = match &args.resume {
        Some(folder) => {
            let config = PretrainConfig::read(folder)?;
            let set = open(&config.data)?;
            if set.content_hash() != config.data_hash {
                return Err(Error::usage(format!(
                    "{}: the data is not that of the run any more: expected content hash {}, found {}",
                    config.data,
                    config.data_hash,
                    set.content_hash()
                )));
            }
            if global.exact_conv && !config.exact_conv {
                return Err(Error::usage(format!(
                    "--exact-conv: the run in {} was begun without it, and other convolutions give other bits; leave it out",
                    folder.display()
                )));
            }
            (config, set, folder.clone())
        }
        None => {
            let (Some(data), Some(out)) = (&args.data, &args.out) else {
                return Err(Error::usage("pretrain: needs --data and --out, or --resume"));
            };
            let set = open(data)?;
            (configuration(args, global, data, &set)?, set, out.clone())
        }
    };
    // A resumed run keeps the convolutions that it began with.
    let global = &Global { exact_conv: config.exact_conv, ..*global };
    let gpu = global.open_gpu_for(config.training.settings().precision)?;
    let total = config.training.total_steps(set.len());
    let mut watch = Watch(progress::bar(total, "training", "steps"));
    let views = config.training.settings().batch * config.training.views();
    let options =
        RunOptions { folder, config, resume: args.resume.is_some(), checkpoint_every: args.checkpoint_every };
    let outcome = train::pretrain(&gpu, &set, &options, &mut watch)?;
    watch.0.finish_and_clear();
    show(&outcome, views, &gpu, global)
}

fn show(outcome: &Outcome, views: usize, gpu: &Gpu, global: &Global) -> Result<()> {
    let report = Report {
        encoder: outcome.encoder.display().to_string(),
        encoder_sha256: outcome.encoder_sha256.clone(),
        steps: outcome.steps,
        final_loss: outcome.final_loss,
        skipped_steps: outcome.skipped_steps,
        seconds: outcome.seconds,
        views_per_s: (outcome.steps_here * views as u64) as f64 / outcome.seconds.max(1e-9),
        adapter: gpu.description().name.clone(),
    };
    if global.json {
        return output::json(&report);
    }
    let steps = match report.skipped_steps {
        Some(skipped) => format!("{}, {skipped} of them skipped by loss scaling", report.steps),
        None => report.steps.to_string(),
    };
    output::text(&output::aligned(&[
        ("encoder", report.encoder.clone()),
        ("  sha256", report.encoder_sha256.clone()),
        ("  steps", steps),
        ("  final loss", format!("{:.4}", report.final_loss)),
        (
            "  time",
            format!("{:.1} s, {:.0} views/s on {}", report.seconds, report.views_per_s, report.adapter),
        ),
    ]))
}

fn open(spec: &str) -> Result<ImageSet> {
    let spinner = progress::spinner(&format!("reading {spec}"));
    let set = data::open(spec);
    spinner.finish_and_clear();
    set
}

fn configuration(args: &Args, global: &Global, data: &str, set: &ImageSet) -> Result<PretrainConfig> {
    let training = training(args, set)?.with_precision(Precision::named(&args.precision)?);
    training.check(set)?;
    let start = match &args.from {
        Some(file) => Some(Start { file: file.clone(), sha256: EncoderFile::read(file)?.sha256 }),
        None => None,
    };
    let (data, data_hash, exact_conv) = (data.into(), set.content_hash(), global.exact_conv);
    Ok(PretrainConfig { data, data_hash, start, exact_conv, training })
}

const METHODS: [&str; 3] = ["simclr", "moco", "supervised"];
/// Epochs of the presets that say nothing of it.
const EPOCHS: u64 = 100;
const PRESETS: [&str; 3] = ["emi-simclr", "cl-stage", "cl-supervised"];

fn training(args: &Args, set: &ImageSet) -> Result<Training> {
    let supervised = match args.method.as_str() {
        "simclr" => false,
        "supervised" => true,
        "moco" => return moco::training(args, set),
        _ => return Err(Error::unknown("method", &args.method, &METHODS)),
    };
    for (given, option) in [
        (args.queue.is_some(), "--queue"),
        (args.momentum.is_some(), "--momentum"),
        (args.splits.is_some(), "--splits"),
        (args.no_shuffle, "--no-shuffle"),
        (args.symmetric, "--symmetric"),
    ] {
        if given {
            return Err(Error::usage(format!("{option}: is for --method moco, not for {}", args.method)));
        }
    }
    let compat = super::contrastive_leaks(args.compat.as_deref())?;
    let usual = match (supervised, args.talos) {
        (true, _) => "cl-supervised",
        (false, Some(_)) => "cl-stage",
        (false, None) => "emi-simclr",
    };
    let preset = args.preset.as_deref().unwrap_or(usual);
    if !PRESETS.contains(&preset) && !moco::PRESETS.contains(&preset) {
        return Err(Error::unknown("preset", preset, &[&PRESETS[..], &moco::PRESETS].concat()));
    }
    if moco::PRESETS.contains(&preset) || supervised != (preset == "cl-supervised") {
        return Err(Error::usage(format!("preset {preset}: is not for --method {}", args.method)));
    }
    let emi = preset == "emi-simclr";
    let size = args.size.unwrap_or(set.width.max(set.height));
    let stem = if emi { Stem::Cifar } else { Stem::Imagenet };
    let encoder = encoder(args, Architecture::Resnet18, stem, 64, size)?;
    let batch = args.batch.unwrap_or(if emi { 64 } else { 512 });
    let epochs = args.epochs.unwrap_or(EPOCHS);
    let named = match (&args.augment, preset) {
        (Some(name), _) => Recipe::named(name)?,
        (None, "emi-simclr") => Recipe::named("moco-cifar")?,
        (None, "cl-stage") => Recipe::named(if compat { "simclr-96" } else { "simclr-96-clean" })?,
        (None, _) => Recipe { horizontal_flip: 0.5, ..Recipe::plain(size) },
    };
    let normalization = set.normalization();
    let constants = if compat && !emi {
        crate::augment::NO_NORMALISATION
    } else {
        (normalization.mean.map(f64::from), normalization.std.map(f64::from))
    };
    let recipe = named.sized(size).normalised(constants);
    let schedule = args.schedule.as_deref().map(str::parse::<Schedule>).transpose()?;
    if supervised {
        for (given, option) in [
            (args.talos.is_some(), "--talos"),
            (args.temperature.is_some(), "--temperature"),
            (args.head.is_some(), "--head"),
            (args.batch_norm.is_some(), "--batch-norm"),
        ] {
            if given {
                return Err(Error::usage(format!("{option}: is for --method simclr, not for supervised")));
            }
        }
        // Without labels, the check of the whole says so.
        let classes = set.target.as_ref().map_or(2, |labels| labels.classes());
        let mut config =
            SupervisedConfig::cl_supervised(encoder, recipe, classes, batch, epochs, args.seed, compat);
        config.optimizer = optimizer(args, config.optimizer)?;
        config.learning_rate = args.learning_rate.unwrap_or(config.learning_rate);
        config.schedule = schedule.map_or(config.schedule, |s| s.to_string());
        return Ok(config.into());
    }
    let mut config = if emi {
        SimclrConfig::emi_simclr(encoder, recipe, batch, epochs, args.seed)
    } else {
        SimclrConfig::cl_stage(encoder, recipe, batch, epochs, args.seed, compat)
    };
    config.temperature = args.temperature.unwrap_or(config.temperature);
    config.optimizer = optimizer(args, config.optimizer)?;
    config.learning_rate = args.learning_rate.unwrap_or(config.learning_rate);
    config.schedule = schedule.map_or(config.schedule, |s| s.to_string());
    if let Some(head) = &args.head {
        config.head = head.parse::<HeadKind>()?;
    }
    if let Some(scope) = &args.batch_norm {
        config.batch_norm = batch_norm_scope(scope)?;
    }
    config.talos = args.talos.map(|lambda| talos(args, lambda, compat, set)).transpose()?;
    Ok(config.into())
}

/// The encoder that was named. `stem` and `width` are the preset's for ResNets; other architectures have their own.
fn encoder(args: &Args, arch: Architecture, stem: Stem, width: usize, size: usize) -> Result<EncoderConfig> {
    let arch = args.arch.as_deref().map(str::parse::<Architecture>).transpose()?.unwrap_or(arch);
    let (stem, width) = match arch.is_resnet() {
        true => (stem, width),
        false => (Stem::Own, arch.usual_width()),
    };
    let stem = args.stem.as_deref().map(str::parse::<Stem>).transpose()?.unwrap_or(stem);
    Ok(EncoderConfig { arch, stem, width: args.width.unwrap_or(width), size })
}

fn talos(args: &Args, lambda: f32, compat: bool, set: &ImageSet) -> Result<TalosConfig> {
    let image = match args.talos_image.as_str() {
        "augmented" => CensoredImage::Augmented,
        "original" => CensoredImage::Original,
        other => return Err(Error::unknown("talos image", other, &["augmented", "original"])),
    };
    let location = match args.talos_location.as_str() {
        "embedding" => CensoredLocation::Embedding,
        "projection" => CensoredLocation::Projection,
        other => return Err(Error::unknown("talos location", other, &["embedding", "projection"])),
    };
    let classes = set.attribute.as_ref().map_or(2, |labels| labels.classes());
    Ok(TalosConfig { lambda, classes, image, location, compat })
}

fn batch_norm_scope(name: &str) -> Result<BatchNormScope> {
    match name {
        "joint" => Ok(BatchNormScope::Joint),
        "per-view" => Ok(BatchNormScope::PerView),
        _ => Err(Error::unknown("batch-norm scope", name, &["joint", "per-view"])),
    }
}

/// The preset's optimizer, or the one that was named with the preset's weight decay.
fn optimizer(args: &Args, preset: Optimizer) -> Result<Optimizer> {
    let weight_decay = args.weight_decay.unwrap_or(preset.weight_decay());
    match args.optimizer.as_deref() {
        None => Ok(preset.with_weight_decay(weight_decay)),
        Some("adam") => Ok(Optimizer::adam(weight_decay)),
        Some("adamw") => Ok(Optimizer::adamw(weight_decay)),
        Some("sgd") => Ok(Optimizer::sgd(weight_decay)),
        Some("lars") => Ok(Optimizer::lars(weight_decay)),
        Some(name) => Err(Error::unknown("optimizer", name, &["adam", "adamw", "sgd", "lars"])),
    }
}

/// The bar of a run, and Ctrl-C.
struct Watch(ProgressBar);

impl train::Progress for Watch {
    fn step(&mut self, step: u64, _: u64, loss: f32) {
        self.0.set_position(step);
        self.0.set_message(format!("training, loss {loss:.3}"));
    }
    fn stop(&mut self) -> bool {
        interrupt::requested()
    }
}
