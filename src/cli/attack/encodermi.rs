//! `contraleak attack encodermi`: members of an encoder's training set from similarities of views.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::attack::encodermi::{Settings, Variant, similarity_named};
use crate::augment::{Recipe, normalization_named};
use crate::cli::{Global, interrupt, output, progress};
use crate::data;
use crate::experiment::encodermi::{Audit, Sets};
use crate::experiment::load::{Hints, Loaded, load_encoder};
use crate::gpu::{Gpu, GpuOptions};
use crate::nn::{Architecture, Stem};
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
    /// The audited encoder, safetensors
    #[arg(long, value_name = "FILE")]
    target: PathBuf,
    /// The shadow encoder, safetensors
    #[arg(long, value_name = "FILE")]
    shadow: PathBuf,
    /// Images that the target was trained on
    #[arg(long, value_name = "SPEC")]
    members: String,
    /// Images that it was not trained on, of the same kind
    #[arg(long, value_name = "SPEC")]
    non_members: String,
    /// Images that the shadow encoder was trained on
    #[arg(long, value_name = "SPEC")]
    shadow_members: String,
    /// Images that it was not trained on
    #[arg(long, value_name = "SPEC")]
    shadow_non_members: String,
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
    /// How images are normalised for encoder files that do not say it: cifar10, stl10, imagenet, clip, none, or m,m,m/s,s,s
    #[arg(long, value_name = "NAME")]
    normalization: Option<String>,
    /// Side of the views in pixels [default: what the encoder was trained with, or that of the images]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Architecture of encoder files that do not say it
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Stem of encoder files that do not say it
    #[arg(long, value_name = "NAME")]
    stem: Option<String>,
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
    let hints = Hints {
        arch: args.arch.as_deref().map(str::parse::<Architecture>).transpose()?,
        stem: args.stem.as_deref().map(str::parse::<Stem>).transpose()?,
        normalization: args.normalization.as_deref().map(normalization_named).transpose()?,
        size: args.size,
    };
    output::check_folder(&args.out)?;
    let specs = [&args.members, &args.non_members, &args.shadow_members, &args.shadow_non_members];
    let [a, b, c, d] = specs.map(|spec| data::open(spec));
    let sets = [a?, b?, c?, d?];
    let (member_hash, shadow_hash) = (sets[0].content_hash(), sets[2].content_hash());
    let notes: Vec<String> = sets.iter().flat_map(|set| set.notes.clone()).collect();
    let sets = Sets::new(sets)?;
    let gpu = Gpu::open(&GpuOptions::default())?;
    let side = sets.members.width.max(sets.members.height);
    let target = load_encoder(&gpu, &args.target, "target", side, &hints)?;
    let shadow = load_encoder(&gpu, &args.shadow, "shadow", side, &hints)?;
    if target.summary.checkpoint_hash == shadow.summary.checkpoint_hash {
        return Err(Error::usage(format!(
            "--target {} and --shadow {} are the same encoder; the shadow is one of your own, trained on the shadow members",
            args.target.display(),
            args.shadow.display()
        )));
    }
    let recipe =
        |loaded: &Loaded| base.clone().sized(loaded.encoder.config().size).normalised(loaded.normalization);
    let audit = Audit {
        target: &target.encoder,
        shadow: &shadow.encoder,
        sets: &sets,
        target_recipe: recipe(&target),
        shadow_recipe: recipe(&shadow),
        variants: variants.into_iter().collect(),
        settings,
        shuffles: args.shuffles,
        seed: args.seed,
    };
    let spinner = progress::spinner("EncoderMI");
    let title = format!("EncoderMI audit of {}", args.target.display());
    let mut finding = audit.run(&gpu, &title, &mut |what| {
        spinner.set_message(what.to_string());
        interrupt::requested()
    })?;
    spinner.finish_and_clear();
    let results = &mut finding.results;
    results.encoder = target.summary;
    results.other_encoders = vec![shadow.summary];
    results.commands = vec![command_line()];
    results.warnings.extend(notes);
    for (role, flag, said, given) in [
        ("target", "--members", target.data_hash, member_hash),
        ("shadow", "--shadow-members", shadow.data_hash, shadow_hash),
    ] {
        if said.is_some_and(|said| said != given) {
            results.warnings.push(format!(
                "The {role} encoder's file says that it was trained on other images than {flag} names: membership labels may be wrong."
            ));
        }
    }
    let sets_config = serde_json::json!({
        "target": args.target, "shadow": args.shadow, "members": args.members, "non_members": args.non_members,
        "shadow_members": args.shadow_members, "shadow_non_members": args.shadow_non_members,
    });
    if let Some(config) = results.config.as_object_mut() {
        config.insert("inputs".into(), sets_config);
    }
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

/// What was typed, for the report.
fn command_line() -> String {
    let quote = |word: String| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,".contains(c));
        if plain { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let words: Vec<String> = std::env::args().skip(1).map(quote).collect();
    format!("contraleak {}", words.join(" "))
}
