//! `contraleak probe`: how useful frozen features are, and task classifiers made of them.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use super::encoder_options::EncoderOptions;
use super::{Global, interrupt, output, progress};
use crate::attack::probe::{ProbeFinding, ProbeKind, ProbeSettings};
use crate::data;
use crate::experiment::features::Label;
use crate::experiment::load::load_encoder;
use crate::experiment::probe::{ProbeJob, write_classifier};
use crate::experiment::report::{decimal, interval_text};
use crate::{Error, Result};

/// Train a probe on an encoder's frozen features; write the encoder with its linear head as a classifier
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  F=synthetic-faces:count=2000,size=32#shuffle=1
  contraleak probe --encoder runs/target/encoder.safetensors --train $F,take=0..1000 --test $F,take=1000..2000 \\
    --kind linear --out runs/target/classifier.safetensors

Kinds: linear (Adam, 100 epochs, as published), logistic (L-BFGS, cross-validated L2), knn (200 neighbours, cosine), mlp
(512-256). linear and logistic have a head to write.")]
pub struct Args {
    /// Encoder, safetensors
    #[arg(long, value_name = "FILE")]
    encoder: PathBuf,
    /// Images that the probe is trained on
    #[arg(long, value_name = "SPEC")]
    train: String,
    /// Images that it is measured on
    #[arg(long, value_name = "SPEC")]
    test: String,
    /// linear, logistic, knn or mlp
    #[arg(long, default_value = "linear", value_name = "KIND")]
    kind: String,
    /// Which label
    #[arg(long, value_enum, default_value = "target")]
    label: LabelName,
    /// Where the encoder with head.weight and head.bias goes, safetensors
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Epochs [default: 100 for linear, 500 for mlp]
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    #[command(flatten)]
    encoder_options: EncoderOptions,
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum LabelName {
    Target,
    Attribute,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    finding: ProbeFinding,
    file: Option<String>,
    sha256: Option<String>,
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    let kind: ProbeKind = args.kind.parse()?;
    let mut settings = ProbeSettings::default();
    if let Some(epochs) = args.epochs {
        if epochs == 0 {
            return Err(Error::usage("epochs: expected at least 1, found 0"));
        }
        match kind {
            ProbeKind::Linear => settings.linear.epochs = epochs,
            ProbeKind::Mlp => settings.mlp.epochs = epochs,
            _ => return Err(Error::usage(format!("--epochs: a {kind} probe has no epochs"))),
        }
    }
    if args.out.is_some() && !matches!(kind, ProbeKind::Linear | ProbeKind::Logistic) {
        return Err(Error::usage(format!(
            "--out: a {kind} probe has no linear head to write; choose --kind linear or logistic"
        )));
    }
    let hints = args.encoder_options.hints()?;
    if let Some(folder) =
        args.out.as_ref().and_then(|file| file.parent()).filter(|folder| !folder.as_os_str().is_empty())
    {
        output::check_folder(folder)?;
    }
    let (train, test) = (data::open(&args.train)?, data::open(&args.test)?);
    let label = match args.label {
        LabelName::Target => Label::Target,
        LabelName::Attribute => Label::Attribute,
    };
    let (names, _) = label.of_both(&train, &test)?;
    let gpu = global.open_gpu()?;
    let loaded = load_encoder(&gpu, &args.encoder, "encoder", train.width.max(train.height), &hints)?;
    let job =
        ProbeJob { encoder: &loaded, train: &train, test: &test, label, kind, settings, seed: args.seed };
    let spinner = progress::spinner("probe");
    let finding = job.run(&gpu, &mut |what| {
        spinner.set_message(what.to_string());
        interrupt::requested()
    })?;
    spinner.finish_and_clear();
    let mut sha256 = None;
    if let (Some(file), Some(head)) = (&args.out, &finding.head) {
        let about = serde_json::json!({
            "probe": kind, "data": args.train, "data_hash": train.content_hash(), "classes": names.names,
            "seed": args.seed, "l2": finding.l2,
        });
        sha256 = Some(write_classifier(&args.encoder, &loaded, head, about, file)?);
    }
    let file = sha256.is_some().then(|| args.out.as_ref().map(|f| f.display().to_string())).flatten();
    if global.json {
        return output::json(&Report { finding, file, sha256 });
    }
    let metrics = &finding.metrics;
    let test = finding.test_accuracy;
    let mut lines = vec![
        ("probe", format!("{kind}, {} training images, {} classes", finding.train_samples, metrics.classes)),
        ("training accuracy", decimal(finding.train_accuracy)),
        (
            "test accuracy",
            format!("{} (95 % interval {})", decimal(test.value), interval_text(&test.interval, decimal)),
        ),
        ("overfitting gap", decimal(finding.overfitting_gap)),
        ("balanced accuracy", decimal(metrics.balanced_accuracy.value)),
        ("macro-F1", decimal(metrics.macro_f1.value)),
        ("majority", decimal(metrics.majority_share)),
    ];
    if let Some(l2) = finding.l2 {
        lines.push(("L2", format!("{l2:.2e}")));
    }
    if let Some(file) = file {
        lines.push(("classifier", file));
    }
    output::text(&output::aligned(&lines))
}
