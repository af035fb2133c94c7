//! `contraleak attack membership`: He & Zhang's three families of attacks on a classifier.

use std::path::PathBuf;

use super::four_sets::FourSets;
use crate::Result;
use crate::cli::encoder_options::EncoderOptions;
use crate::cli::progress::Screen;
use crate::cli::{Global, interrupt, output};
use crate::experiment::load::Answer;
use crate::experiment::membership::{Family, MembershipAudit, MembershipSettings, audit};
use crate::{Error, cli};

/// He & Zhang (CCS 2021): were these images in the classifier's training set?
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  D='csv:people.csv#target=gender,shuffle=1'
  contraleak probe --encoder runs/target/encoder.safetensors --train $D,take=0..500 --test $D,take=500..1000 --out runs/target/classifier.safetensors
  contraleak probe --encoder runs/shadow/encoder.safetensors --train $D,take=1000..1500 --test $D,take=1500..2000 --out runs/shadow/classifier.safetensors
  contraleak attack membership --target runs/target/classifier.safetensors --shadow runs/shadow/classifier.safetensors \\
    --members $D,take=0..500 --non-members $D,take=500..1000 \\
    --shadow-members $D,take=1000..1500 --shadow-non-members $D,take=1500..2000 --out runs/membership

A classifier is an encoder file with a linear head (head.weight, head.bias): contraleak probe adds one, and
pretrain --method supervised trains one. Leaves report.html, results.json, scores.csv and config.toml in the folder.")]
pub struct Args {
    #[command(flatten)]
    given: FourSets,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which attacks: neural, metric, label-only
    #[arg(long, value_delimiter = ',', default_value = "neural,metric,label-only", value_name = "LIST")]
    attacks: Vec<String>,
    /// Largest posteriors that the neural attack sees
    #[arg(long, default_value_t = 2, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=10))]
    top: u64,
    /// Images of each set whose distance to the decision boundary is measured, about 1,500 queries each
    #[arg(long, default_value_t = 500, value_name = "N")]
    boundary_samples: usize,
    /// Reproduce the artefacts of the released code: contrastive-leaks
    #[arg(long, value_name = "NAME")]
    compat: Option<String>,
    #[command(flatten)]
    encoders: EncoderOptions,
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    let families = args.attacks.iter().map(|name| name.parse()).collect::<Result<Vec<Family>>>()?;
    let compat = cli::contrastive_leaks(args.compat.as_deref())?;
    if args.boundary_samples == 0 {
        return Err(Error::usage("boundary-samples: expected at least 1, found 0"));
    }
    let settings =
        MembershipSettings { top: args.top as usize, boundary_samples: args.boundary_samples, compat };
    let hints = args.encoders.hints()?;
    output::check_folder(&args.out)?;
    let gpu = global.open_gpu()?;
    let opened = args.given.open(&gpu, &hints, Answer::Logits)?;
    let mut screen = Screen::new("membership inference");
    let asked = MembershipAudit {
        target: &opened.target,
        shadow: &opened.shadow,
        sets: &opened.sets,
        families,
        settings,
        seed: args.seed,
    };
    let mut finding = audit(&gpu, &asked, &mut screen)?;
    screen.finish();
    finding.results.title = format!("Membership inference on {}", opened.title);
    opened.describe(&mut finding.results);
    finding.write(&args.out)?;
    output::verdict(&finding.results, &args.out, global)
}
