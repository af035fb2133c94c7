//! `contraleak attack encodermi`: members of an encoder's training set from similarities of views.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::four_sets::FourSets;
use crate::attack::encodermi::{Settings, Variant, similarity_named};
use crate::augment::Recipe;
use crate::cli::encoder_options::EncoderOptions;
use crate::cli::{Global, interrupt, output, progress};
use crate::experiment::encodermi::{Audit, Knowledge, Side};
use crate::experiment::load::{Answer, Loaded};
use crate::{Error, Result};

/// EncoderMI (CCS 2021): were these images in the encoder's training set?
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  D=fashion-mnist:/usr/share/datasets/fashion-mnist#part=train,shuffle=1
  contraleak attack encodermi --target runs/target/encoder.safetensors --shadow runs/shadow/encoder.safetensors \\
    --members $D,take=0..500 --non-members $D,take=500..1000 \\
    --shadow-members $D,take=1000..1500 --shadow-non-members $D,take=1500..2000 --out runs/audit

The shadow encoder is one that you trained, in the target's way, on the shadow members. Leaves report.html,
results.json, scores.csv and config.toml in the folder.")]
pub struct Args {
    #[command(flatten)]
    given: FourSets,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which inference classifiers
    #[arg(long, value_delimiter = ',', default_value = "V,S,T", value_name = "LIST")]
    variants: Vec<String>,
    /// Views of each image
    #[arg(long, default_value_t = 10, value_name = "N")]
    views: usize,
    /// cosine, euclidean or pearson
    #[arg(long, default_value = "cosine", value_name = "NAME")]
    similarity: String,
    /// Recipe of the views
    #[arg(long, default_value = "moco-cifar", value_name = "NAME")]
    augment: String,
    /// Epochs of V's network
    #[arg(long, value_name = "N", default_value_t = 300)]
    vector_epochs: u64,
    /// Epochs of S's network [default: 300; 1000 with --compat deepsets]
    #[arg(long, value_name = "N")]
    set_epochs: Option<u64>,
    /// Published artefacts to reproduce: deepsets, grid501
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    compat: Vec<String>,
    /// Runs of the shuffled-labels control
    #[arg(long, default_value_t = 5, value_name = "N")]
    shuffles: u32,
    #[command(flatten)]
    encoders: EncoderOptions,
    // TOML numbers, in config.toml, have a sign.
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    let settings = settings(args)?;
    let variants = args.variants.iter().map(|v| v.parse()).collect::<Result<BTreeSet<Variant>>>()?;
    let base = Recipe::named(&args.augment)?;
    if base.crop.is_none() {
        return Err(Error::usage(format!(
            "{}: its views are all alike; choose a random recipe such as moco-cifar",
            args.augment
        )));
    }
    let hints = args.encoders.hints()?;
    output::check_folder(&args.out)?;
    let gpu = global.open_gpu()?;
    let opened = args.given.open(&gpu, &hints, Answer::Features)?;
    let (target, shadow) = (&opened.target, &opened.shadow);
    let recipe =
        |loaded: &Loaded| base.clone().sized(loaded.encoder.config().size).normalised(loaded.normalization);
    let recipes = [recipe(target), recipe(shadow)];
    let sets = &opened.sets;
    let audit = Audit {
        target: Side {
            encoder: &target.encoder,
            sha256: target.sha256(),
            recipe: &recipes[0],
            members: &sets.members,
            non_members: &sets.non_members,
        },
        knowledge: Knowledge::Shadow(Side {
            encoder: &shadow.encoder,
            sha256: shadow.sha256(),
            recipe: &recipes[1],
            members: &sets.shadow_members,
            non_members: &sets.shadow_non_members,
        }),
        variants: variants.into_iter().collect(),
        settings,
        shuffles: args.shuffles,
        control_images: usize::MAX,
        keep: None,
        seed: args.seed,
    };
    let spinner = progress::spinner("EncoderMI");
    let title = format!("EncoderMI audit of {}", opened.title);
    let mut finding = audit.run(&gpu, &title, &mut |what| {
        spinner.set_message(what.to_string());
        interrupt::requested()
    })?;
    spinner.finish_and_clear();
    finding.results.data = sets.summary();
    opened.describe(&mut finding.results);
    finding.write(&args.out)?;
    output::verdict(&finding.results, &args.out, global)
}

fn settings(args: &Args) -> Result<Settings> {
    let mut settings = Settings {
        views: args.views,
        similarity: similarity_named(&args.similarity)?,
        ..Settings::default()
    };
    if !(2..=crate::kernels::similarity::MOST_VIEWS).contains(&args.views) {
        return Err(Error::usage(format!(
            "views: expected 2 to {}, found {}",
            crate::kernels::similarity::MOST_VIEWS,
            args.views
        )));
    }
    for (name, epochs) in
        [("vector-epochs", args.vector_epochs), ("set-epochs", args.set_epochs.unwrap_or(1))]
    {
        if epochs == 0 {
            return Err(Error::usage(format!("{name}: expected at least 1, found 0")));
        }
    }
    settings.vector.epochs = args.vector_epochs;
    for name in &args.compat {
        match name.as_str() {
            "deepsets" => (settings.compat_deepsets, settings.set.epochs) = (true, 1000),
            "grid501" => settings.compat_grid501 = true,
            _ => return Err(Error::unknown("compat switch", name, &["deepsets", "grid501"])),
        }
    }
    if matches!(args.shuffles, 1 | 2) {
        return Err(Error::usage(format!(
            "shuffles: expected 0 or at least 3 runs, found {}; fewer say nothing about their mean",
            args.shuffles
        )));
    }
    if let Some(epochs) = args.set_epochs {
        settings.set.epochs = epochs;
    }
    Ok(settings)
}
