//! `contraleak run`: a whole experiment of the papers.

use std::path::{Path, PathBuf};

use super::progress::Screen;
use super::{Global, interrupt, output};
use crate::experiment::leaks::{self, LeaksConfig, LeaksResults, PRESETS, Scale, Summary, preset};
use crate::metrics::Trials;
use crate::{Error, Result};

/// A whole experiment: encoders, attacks, defences, controls, one report
#[derive(clap::Args, Debug)]
#[command(after_help = after_help())]
pub struct Args {
    /// Name of the experiment, or a TOML file as config.toml of its folder
    #[arg(value_name = "NAME|FILE.toml")]
    experiment: String,
    /// Images: a SPEC for `leaks`, the data set's folder for the others
    #[arg(long, value_name = "SPEC|DIR")]
    data: Option<String>,
    /// Unlabelled images on which all contrastive encoders are pre-trained first
    #[arg(long, value_name = "SPEC")]
    stage_zero: Option<String>,
    /// smoke (minutes), small (two cores, an hour or two) or paper (the published sizes, for a GPU)
    #[arg(long, default_value = "small", value_name = "NAME")]
    scale: String,
    /// Trials [default: 0,1,2; 0 to 4 at scale paper]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    seeds: Vec<u64>,
    /// resnet18 or resnet50
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Images of each of the four parts [default: 500; a quarter at scale paper]
    #[arg(long, value_name = "N")]
    part: Option<usize>,
    /// Images of each part that HopSkipJump attacks; 100 or more for a rate at 1 % FPR [default: 36; 500 at scale paper]
    #[arg(long, value_name = "N")]
    boundary_samples: Option<usize>,
    /// Images in a step
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Epochs of stage 1, of Talos and of supervised training
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    /// Lambda of Talos in the table
    #[arg(long, value_name = "LAMBDA")]
    lambda: Option<f32>,
    /// Lambdas of the curve
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    sweep: Option<Vec<f32>>,
    /// Reproduce the artefacts of the released code: contrastive-leaks
    #[arg(long, value_name = "NAME")]
    compat: Option<String>,
    /// Folder for encoders and results; the same command goes on with what is there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

fn after_help() -> String {
    let width = PRESETS.iter().map(|preset| preset.name.len()).max().unwrap_or(0);
    let list: String =
        PRESETS.iter().map(|preset| format!("\n  {:width$}  {}", preset.name, preset.about)).collect();
    format!(
        "Examples:
  contraleak run leaks-faces --out runs/faces
  contraleak run leaks --data 'csv:people.csv#target=gender,attribute=skin_tone' --out runs/people
  contraleak run leaks-utkface --data /data/UTKFace --scale paper --out runs/utkface

Experiments (He & Zhang, CCS 2021: contrastive against supervised models, and Talos):
  {:width$}  images of any SPEC{list}",
        "leaks"
    )
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    let config = configuration(args)?;
    config.check()?;
    let gpu = global.open_gpu()?;
    let mut screen = Screen::new("experiment");
    let results = leaks::run(&gpu, &config, &args.out, &mut screen)?;
    screen.finish();
    show(&results, &args.out, global)
}

fn configuration(args: &Args) -> Result<LeaksConfig> {
    let scale: Scale = args.scale.parse()?;
    let stage_zero = args.stage_zero.as_deref().filter(|spec| *spec != "none");
    let mut config = if args.experiment.ends_with(".toml") {
        let path = Path::new(&args.experiment);
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        toml::from_str(&text).map_err(|e| Error::data(path.display(), e.to_string().trim_end()))?
    } else if args.experiment == "leaks" {
        let data = args
            .data
            .as_deref()
            .ok_or_else(|| Error::usage("leaks: needs images with a target and an attribute: --data SPEC"))?;
        LeaksConfig::new(data, stage_zero, scale)
    } else {
        preset(&args.experiment, args.data.as_deref(), stage_zero, scale)?
    };
    if !args.seeds.is_empty() {
        config.seeds.clone_from(&args.seeds);
        let first = args.seeds[..1].to_vec();
        let keep = |list: &[u64]| -> Vec<u64> {
            let kept: Vec<u64> = list.iter().filter(|seed| args.seeds.contains(seed)).copied().collect();
            if kept.is_empty() { first.clone() } else { kept }
        };
        config.sweep_seeds = keep(&config.sweep_seeds);
        config.defence_seeds = keep(&config.defence_seeds);
    }
    if scale == Scale::Paper && config.stage_zero.is_none() && args.stage_zero.is_none() {
        return Err(Error::usage(
            "stage-zero: the published encoders are pre-trained on STL-10's unlabelled images first: add --stage-zero stl10:DIR#part=unlabeled, or --stage-zero none to start from random weights",
        ));
    }
    if let Some(arch) = &args.arch {
        config.encoder.arch = arch.parse()?;
    }
    config.part = args.part.or(config.part);
    config.boundary_samples = args.boundary_samples.unwrap_or(config.boundary_samples);
    config.batch = args.batch.unwrap_or(config.batch);
    config.epochs = args.epochs.unwrap_or(config.epochs);
    config.lambda = args.lambda.unwrap_or(config.lambda);
    if let Some(sweep) = &args.sweep {
        config.sweep.clone_from(sweep);
    }
    config.compat |= super::contrastive_leaks(args.compat.as_deref())?;
    Ok(config)
}

/// Mean and Student interval.
fn over_trials(trials: &Trials) -> String {
    match trials.interval {
        Some(interval) => format!("{:.3} ({:.3} to {:.3})", trials.mean, interval.lower, interval.upper),
        None => format!("{:.3}", trials.mean),
    }
}

/// The table on the terminal.
pub fn show(results: &LeaksResults, folder: &Path, global: &Global) -> Result<()> {
    if global.json {
        return output::json(results);
    }
    let summary = Summary::of(results);
    let mut text = String::new();
    for row in &summary.rows {
        text.push_str(&format!(
            "{} ({} trials): task accuracy {}, overfitting gap {}\n",
            row.method,
            row.seeds.len(),
            over_trials(&row.task_accuracy),
            over_trials(&row.overfitting_gap)
        ));
        for attack in &row.membership {
            let tpr = attack
                .tpr_at_1_percent_fpr
                .as_ref()
                .map_or("unresolved".into(), |t| format!("{:.3}", t.mean));
            text.push_str(&format!(
                "  {:44} accuracy {}, AUC {:.3}, TPR at 1 % FPR {tpr}\n",
                attack.title,
                over_trials(&attack.accuracy),
                attack.auc.mean
            ));
        }
        for attribute in &row.attribute {
            let (title, strongest) = attribute.strongest();
            text.push_str(&format!(
                "  attribute from {:29} published {}, best in hindsight {} ({title}), majority {:.3}\n",
                attribute.auxiliary,
                over_trials(&attribute.published),
                over_trials(strongest),
                attribute.majority.mean
            ));
        }
    }
    for comparison in &summary.comparisons {
        let verdict = match comparison.agrees {
            Some(true) => "seen",
            Some(false) => "NOT seen",
            None => "open",
        };
        text.push_str(&format!("{verdict}: {} – {}\n", comparison.claim, comparison.seen));
    }
    text.push_str(&format!("report: {}\n", folder.join("report.html").display()));
    output::text(&text)
}
