//! `contraleak audit`: what an encoder that somebody else trained tells about its training images.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::encoder_options::EncoderOptions;
use super::progress::Screen;
use super::{Global, interrupt, output};
use crate::attack::blind::BlindSettings;
use crate::attack::encodermi::{Settings, Variant, similarity_named};
use crate::experiment::audit::{AuditOptions, Auditor, ShadowTraining, audit};
use crate::nn::Architecture;
use crate::{Error, Result};

/// Audit an encoder that somebody else trained: does it give its training images away?
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak audit --encoder resnet50.pth --members folder:training-photos --non-members folder:other-photos --out audit
  contraleak audit --encoder ViT-B-32.pt --members 'csv:pairs.csv#where=split=train' --non-members 'csv:pairs.csv#where=split=held-out' --out audit
  contraleak audit --encoder encoder.pt --members folder:in --non-members folder:out --shadow-data folder:more --out audit

The encoder is a safetensors file or a checkpoint of PyTorch (.pt, .pth), which is read without running anything in
it; its architecture is recognised. Members and non-members should come from one source and be drawn at random: a
control that sees only the images says whether they differ in themselves.

Without a shadow encoder, rules are learned from one half of the images and judge the other, which they never saw.
--shadow-encoder (with its images) or --shadow-data (half of which trains one) do it as EncoderMI does; then every
member and non-member is judged.

Leaves report.html, results.json, scores.csv and config.toml in the folder, and what was measured, so that the
same command goes on where it was stopped.")]
pub struct Args {
    /// The audited encoder: safetensors, .pt or .pth
    #[arg(long, value_name = "FILE")]
    encoder: PathBuf,
    /// Images that it was trained on (see data info --help)
    #[arg(long, value_name = "SPEC")]
    members: String,
    /// Images that it was not trained on, of the same kind
    #[arg(long, value_name = "SPEC")]
    non_members: String,
    /// Folder for the report
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// An encoder of your own, for the attack to learn from
    #[arg(long, value_name = "FILE", requires = "shadow_members", requires = "shadow_non_members")]
    shadow_encoder: Option<PathBuf>,
    /// Images that the shadow encoder was trained on
    #[arg(long, value_name = "SPEC", requires = "shadow_encoder")]
    shadow_members: Option<String>,
    /// Images that it was not trained on
    #[arg(long, value_name = "SPEC", requires = "shadow_encoder")]
    shadow_non_members: Option<String>,
    /// Other images: a shadow encoder is trained on one half of them
    #[arg(long, value_name = "SPEC", conflicts_with = "shadow_encoder")]
    shadow_data: Option<String>,
    /// Its architecture [default: the audited encoder's; resnet18 for CLIP]
    #[arg(long, value_name = "NAME", requires = "shadow_data")]
    shadow_arch: Option<Architecture>,
    /// Epochs of its training
    #[arg(long, value_name = "N", default_value_t = 200, requires = "shadow_data")]
    shadow_epochs: u64,
    /// Also infer the images' attribute (attribute=COLUMN in both SPECs) from features
    #[arg(long)]
    attribute: bool,
    /// Which inference classifiers
    #[arg(long, value_delimiter = ',', default_value = "V,S,T", value_name = "LIST")]
    variants: Vec<String>,
    /// Views of each image: so many queries a decision costs
    #[arg(long, default_value_t = 10, value_name = "N")]
    views: usize,
    /// cosine, euclidean or pearson
    #[arg(long, default_value = "cosine", value_name = "NAME")]
    similarity: String,
    /// Recipe of the views [default: clip-query for CLIP, moco-cifar otherwise]
    #[arg(long, value_name = "NAME")]
    augment: Option<String>,
    /// Members, and as many non-members, that rules are learned from: half of them, at most N
    #[arg(long, default_value_t = 1000, value_name = "N", conflicts_with_all = ["shadow_encoder", "shadow_data"])]
    fit_images: usize,
    /// Images of each group that control encoders are asked about, at most
    #[arg(long, default_value_t = 1000, value_name = "N")]
    control_images: usize,
    /// Epochs of S's network: most of an audit's time
    #[arg(long, default_value_t = 40, value_name = "N")]
    set_epochs: u64,
    /// Runs of the shuffled-labels control
    #[arg(long, default_value_t = 5, value_name = "N")]
    shuffles: u32,
    #[command(flatten)]
    encoder_options: EncoderOptions,
    // TOML numbers, in config.toml, have a sign.
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    let options = options(args)?;
    output::check_folder(&args.out)?;
    let gpu = global.open_gpu()?;
    let mut screen = Screen::new("audit");
    let mut finding = audit(&gpu, &options, &mut screen)?;
    screen.finish();
    finding.results.commands = vec![super::attack::command_line()];
    finding.write(&args.out)?;
    output::verdict(&finding.results, &args.out, global)
}

fn options(args: &Args) -> Result<AuditOptions> {
    let most = crate::kernels::similarity::MOST_VIEWS;
    let within = |name: &str, found: usize, least: usize, most: usize| match (least..=most).contains(&found) {
        true => Ok(()),
        false if most == usize::MAX => {
            Err(Error::usage(format!("{name}: expected at least {least}, found {found}")))
        }
        false => Err(Error::usage(format!("{name}: expected {least} to {most}, found {found}"))),
    };
    within("views", args.views, 2, most)?;
    within("fit-images", args.fit_images, 2, usize::MAX)?;
    within("control-images", args.control_images, 2, usize::MAX)?;
    if args.set_epochs == 0 || args.shadow_epochs == 0 {
        return Err(Error::usage("epochs: expected at least 1, found 0"));
    }
    if matches!(args.shuffles, 1 | 2) {
        return Err(Error::usage(format!(
            "shuffles: expected 0 or at least 3 runs, found {}; fewer say nothing about their mean",
            args.shuffles
        )));
    }
    let auditor = match (&args.shadow_encoder, &args.shadow_members, &args.shadow_non_members) {
        (Some(encoder), Some(members), Some(non_members)) => Auditor::Shadow {
            encoder: encoder.clone(),
            members: members.clone(),
            non_members: non_members.clone(),
        },
        _ => match &args.shadow_data {
            Some(data) => Auditor::ShadowData {
                data: data.clone(),
                training: ShadowTraining { arch: args.shadow_arch, epochs: args.shadow_epochs, batch: 64 },
            },
            None => Auditor::Alone { fit_images: args.fit_images },
        },
    };
    let variants = args.variants.iter().map(|v| v.parse()).collect::<Result<BTreeSet<Variant>>>()?;
    let mut settings = Settings {
        views: args.views,
        similarity: similarity_named(&args.similarity)?,
        ..Settings::default()
    };
    settings.set.epochs = args.set_epochs;
    Ok(AuditOptions {
        encoder: args.encoder.clone(),
        hints: args.encoder_options.hints()?,
        members: args.members.clone(),
        non_members: args.non_members.clone(),
        auditor,
        variants: variants.into_iter().collect(),
        settings,
        augment: args.augment.clone(),
        shuffles: args.shuffles,
        control_images: args.control_images,
        attribute: args.attribute,
        blind: BlindSettings::default(),
        seed: args.seed,
        out: args.out.clone(),
    })
}
