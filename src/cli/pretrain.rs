//! `contraleak pretrain`: trains an encoder in a run folder, or goes on with one.

use std::path::PathBuf;

use indicatif::ProgressBar;
use serde::Serialize;

use super::{Global, interrupt, output, progress};
use crate::augment::Recipe;
use crate::data::{self, ImageSet};
use crate::gpu::{Gpu, GpuOptions};
use crate::nn::{Architecture, HeadKind, Stem};
use crate::optim::{Optimizer, Schedule};
use crate::train::{
    self, BatchNormScope, EncoderConfig, Method, Outcome, PretrainConfig, RunOptions, SimclrConfig,
};
use crate::{Error, Result};

/// Train an encoder without labels; leaves RUN/encoder.safetensors, metrics, checkpoints
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak pretrain --method simclr --data synthetic-faces:count=200,size=32 --width 16 --epochs 50 --out runs/target
  contraleak pretrain --data 'fashion-mnist:/usr/share/datasets/fashion-mnist#part=train,shuffle=1,take=0..500' --out runs/fashion
  contraleak pretrain --resume runs/target

A run that was stopped or killed goes on with --resume and ends in the same bits as one that was not.")]
pub struct Args {
    /// Training method
    #[arg(long, default_value = "simclr", value_name = "NAME")]
    method: String,
    /// Training images (see data info --help)
    #[arg(long, value_name = "SPEC", required_unless_present = "resume")]
    data: Option<String>,
    /// Folder of the run
    #[arg(long, value_name = "RUN", required_unless_present = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder; its own settings hold
    #[arg(long, value_name = "RUN", conflicts_with_all = ["data", "out", "method", "arch", "stem", "width", "size", "batch", "epochs", "temperature", "head", "batch_norm", "optimizer", "learning_rate", "weight_decay", "schedule", "augment", "seed"])]
    resume: Option<PathBuf>,
    /// Encoder: resnet18 or resnet50
    #[arg(long, default_value = "resnet18", value_name = "NAME")]
    arch: String,
    /// First layers: cifar (3x3, for small images) or imagenet (7x7 and pooling)
    #[arg(long, default_value = "cifar", value_name = "NAME")]
    stem: String,
    /// Channels of the first stage (64 in the papers)
    #[arg(long, default_value_t = 64)]
    width: usize,
    /// Side of the views in pixels [default: that of the images]
    #[arg(long)]
    size: Option<usize>,
    /// Images in a step; each gives two views
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Passes over the images
    #[arg(long, default_value_t = 100)]
    epochs: u64,
    /// Temperature of NT-Xent
    #[arg(long, default_value_t = 0.5)]
    temperature: f32,
    /// Projection head: simclr-bn, moco-mlp, moco-linear or simclr-cl-resnet
    #[arg(long, default_value = "simclr-bn", value_name = "NAME")]
    head: String,
    /// Batch-norm statistics over both views (joint) or each alone (per-view)
    #[arg(long, default_value = "per-view", value_name = "SCOPE")]
    batch_norm: String,
    /// adam, adamw, sgd or lars
    #[arg(long, default_value = "adam", value_name = "NAME")]
    optimizer: String,
    /// Base rate of the schedule
    #[arg(long, default_value_t = 1e-3)]
    learning_rate: f64,
    /// Added to the gradient (adam, sgd, lars) or apart from it (adamw)
    #[arg(long, default_value_t = 1e-6)]
    weight_decay: f64,
    /// const, cosine, step(E,…), warmup(STEPS)+cosine, …
    #[arg(long, default_value = "const", value_name = "SCHEDULE")]
    schedule: String,
    /// Recipe of the views
    #[arg(long, default_value = "moco-cifar", value_name = "NAME")]
    augment: String,
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0)]
    seed: u64,
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
            (config, set, folder.clone())
        }
        None => {
            let (Some(data), Some(out)) = (&args.data, &args.out) else {
                return Err(Error::usage("pretrain: needs --data and --out, or --resume"));
            };
            let set = open(data)?;
            (configuration(args, data, &set)?, set, out.clone())
        }
    };
    let gpu = Gpu::open(&GpuOptions::default())?;
    let total = config.simclr.steps_per_epoch(set.len()) * config.simclr.epochs;
    let mut watch = Watch(progress::bar(total, "training", "steps"));
    let batch = config.simclr.batch;
    let options =
        RunOptions { folder, config, resume: args.resume.is_some(), checkpoint_every: args.checkpoint_every };
    let outcome = train::pretrain_simclr(&gpu, &set, &options, &mut watch)?;
    watch.0.finish_and_clear();
    show(&outcome, batch, &gpu, global)
}

fn show(outcome: &Outcome, batch: usize, gpu: &Gpu, global: &Global) -> Result<()> {
    let report = Report {
        encoder: outcome.encoder.display().to_string(),
        encoder_sha256: outcome.encoder_sha256.clone(),
        steps: outcome.steps,
        final_loss: outcome.final_loss,
        seconds: outcome.seconds,
        views_per_s: (outcome.steps_here * 2 * batch as u64) as f64 / outcome.seconds.max(1e-9),
        adapter: gpu.description().name.clone(),
    };
    if global.json {
        return output::json(&report);
    }
    output::text(&output::aligned(&[
        ("encoder", report.encoder.clone()),
        ("  sha256", report.encoder_sha256.clone()),
        ("  steps", report.steps.to_string()),
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

fn configuration(args: &Args, data: &str, set: &ImageSet) -> Result<PretrainConfig> {
    if args.method != "simclr" {
        return Err(Error::unknown("method", &args.method, &["simclr"]));
    }
    let size = args.size.unwrap_or(set.width.max(set.height));
    let normalization = set.normalization();
    let constants = (normalization.mean.map(f64::from), normalization.std.map(f64::from));
    let encoder = EncoderConfig {
        arch: args.arch.parse::<Architecture>()?,
        stem: args.stem.parse::<Stem>()?,
        width: args.width,
        size,
    };
    let simclr = SimclrConfig {
        seed: args.seed,
        batch: args.batch,
        epochs: args.epochs,
        temperature: args.temperature,
        head: args.head.parse::<HeadKind>()?,
        batch_norm: batch_norm_scope(&args.batch_norm)?,
        learning_rate: args.learning_rate,
        schedule: args.schedule.parse::<Schedule>()?.to_string(),
        encoder,
        optimizer: optimizer(&args.optimizer, args.weight_decay)?,
        recipe: Recipe::named(&args.augment)?.sized(size).normalised(constants),
    };
    simclr.check(set.len())?;
    Ok(PretrainConfig { method: Method::Simclr, data: data.into(), data_hash: set.content_hash(), simclr })
}

fn batch_norm_scope(name: &str) -> Result<BatchNormScope> {
    match name {
        "joint" => Ok(BatchNormScope::Joint),
        "per-view" => Ok(BatchNormScope::PerView),
        _ => Err(Error::unknown("batch-norm scope", name, &["joint", "per-view"])),
    }
}

fn optimizer(name: &str, weight_decay: f64) -> Result<Optimizer> {
    match name {
        "adam" => Ok(Optimizer::adam(weight_decay)),
        "adamw" => Ok(Optimizer::adamw(weight_decay)),
        "sgd" => Ok(Optimizer::sgd(weight_decay)),
        "lars" => Ok(Optimizer::lars(weight_decay)),
        _ => Err(Error::unknown("optimizer", name, &["adam", "adamw", "sgd", "lars"])),
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
