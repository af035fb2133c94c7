//! `contraleak bench`: how fast this machine is.

use std::fmt::Display;

use clap::Subcommand;
use serde::Serialize;

use super::{Global, output, progress};
use crate::Result;
use crate::experiment::bench::{
    self, EncodeOptions, HopSkipJumpOptions, KernelsOptions, LossOptions, Scale, StepOptions,
};
use crate::nn::{Architecture, Stem};
use crate::train::{EncoderConfig, Precision};

/// Measure throughput: training steps, encoding, the loss, the decision-boundary attack, every kernel, bare launches
#[derive(clap::Args, Debug)]
#[command(after_help = "Figures are medians. A software adapter shares the CPU with whatever else runs.

Examples:
  contraleak bench step --arch resnet18 --stem cifar --batch 32 --profile
  contraleak bench kernels --filter conv2d --json")]
pub struct Args {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Subcommand, Debug)]
enum BenchCommand {
    Step(StepArgs),
    Encode(EncodeArgs),
    Loss(LossArgs),
    HopSkipJump(HopSkipJumpArgs),
    Kernels(KernelsArgs),
    Dispatch(DispatchArgs),
}

#[derive(clap::Args, Debug)]
struct EncoderArgs {
    /// Architecture: resnet18, resnet50, mobilenet_v2, vgg11_bn, clip-vit-b32, …
    #[arg(long, value_name = "NAME", default_value = "resnet18")]
    arch: Architecture,
    /// First layers of a ResNet: cifar or imagenet [default: cifar]
    #[arg(long, value_name = "NAME")]
    stem: Option<Stem>,
    /// Channels of the first stage [default: the published number]
    #[arg(long, value_name = "N")]
    width: Option<usize>,
    /// Side of the images in pixels [default: 32 for the cifar stem, 224 otherwise]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
}

impl EncoderArgs {
    fn config(&self) -> EncoderConfig {
        let stem = self.stem.unwrap_or(self.arch.usual_stem());
        EncoderConfig {
            arch: self.arch,
            stem,
            width: self.width.unwrap_or(self.arch.usual_width()),
            size: self.size.unwrap_or(if stem == Stem::Cifar { 32 } else { 224 }),
        }
    }
}

/// Time whole SimCLR steps: two views of each image, forward, NT-Xent, backward, Adam
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak bench step --arch resnet18 --stem cifar --batch 32
  contraleak bench step --width 16 --batch 64 --steps 20 --profile --json")]
struct StepArgs {
    #[command(flatten)]
    encoder: EncoderArgs,
    /// Images a step; twice as many views
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch: usize,
    /// Timed steps, each waited for
    #[arg(long, value_name = "N", default_value_t = 5)]
    steps: usize,
    /// Steps before the clock starts
    #[arg(long, value_name = "N", default_value_t = 2)]
    warm_up: usize,
    /// f32, or mixed as in pretrain
    #[arg(long, default_value = "f32", value_name = "NAME")]
    precision: String,
    /// Also show where the time goes by kernel
    #[arg(long)]
    profile: bool,
}

/// Time an encoder in evaluation mode, from images to features
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak bench encode --arch resnet18 --stem cifar --batch 100
  contraleak bench encode --arch resnet50 --stem imagenet --batch 16 --json")]
struct EncodeArgs {
    #[command(flatten)]
    encoder: EncoderArgs,
    /// Images a submit
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Timed batches
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Also show where the time goes by kernel
    #[arg(long)]
    profile: bool,
}

/// Time NT-Xent and its gradient alone, and the memory that they take
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak bench loss
  contraleak bench loss --rows 1024 --dim 128 --temperature 0.1 --json")]
struct LossArgs {
    /// Projections: two for each image
    #[arg(long, value_name = "N", default_value_t = 16384)]
    rows: usize,
    /// Values of a projection
    #[arg(long, value_name = "N", default_value_t = 128)]
    dim: usize,
    #[arg(long, value_name = "T", default_value_t = 0.5)]
    temperature: f32,
    /// Timed runs
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
}

/// Time the decision-boundary attack on a linear classifier: all images in lockstep against one at a time
#[derive(clap::Args, Debug)]
#[command(after_help = "Distances are compared with those to the hyperplane, which are known.

Examples:
  contraleak bench hop-skip-jump
  contraleak bench hop-skip-jump --images 5000 --rows 8192 --json")]
struct HopSkipJumpArgs {
    /// Images attacked in lockstep
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Of those, how many are attacked again one at a time
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    alone: u32,
    /// Queries a submit
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
    /// Side of the images, which have three channels
    #[arg(long, value_name = "PIXELS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// Multiple of the published gradient queries
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    budget: u32,
}

/// Time every kernel at the shapes of the published encoders, against this adapter's measured roofline
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak bench kernels
  contraleak bench kernels --filter batch_norm --json
  contraleak bench kernels --filter matmul --matrix 4096")]
struct KernelsArgs {
    /// Only kernels whose name, shape or shader contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Timed runs of each
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Views that layers see
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: u32,
    /// Side of the matrices of matmul
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(16..=32_768))]
    matrix: u32,
}

/// Time bare launches, submits and read-backs
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak bench dispatch
  contraleak bench dispatch --json")]
struct DispatchArgs {}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    let precision = match &args.command {
        BenchCommand::Step(args) => Precision::named(&args.precision)?,
        _ => Precision::F32,
    };
    let gpu = global.open_gpu_for(precision)?;
    let spinner = progress::spinner("measuring");
    match &args.command {
        BenchCommand::Step(args) => {
            let &StepArgs { batch, steps, warm_up, profile, .. } = args;
            let encoder = args.encoder.config();
            let options = StepOptions { encoder, batch, precision, warm_up, steps, profile };
            show(&bench::step(&gpu, &options)?, global)
        }
        BenchCommand::Encode(args) => {
            let &EncodeArgs { batch, runs, profile, .. } = args;
            let encoder = args.encoder.config();
            let options = EncodeOptions { encoder, batch: batch as usize, warm_up: 2, runs, profile };
            show(&bench::encode(&gpu, &options)?, global)
        }
        BenchCommand::Loss(args) => {
            let &LossArgs { rows, dim, temperature, runs } = args;
            show(&bench::loss(&gpu, &LossOptions { rows, dim, temperature, runs })?, global)
        }
        BenchCommand::HopSkipJump(args) => {
            let [images, alone, rows, size] =
                [args.images, args.alone, args.rows, args.size].map(|n| n as usize);
            let options = HopSkipJumpOptions { images, alone, rows, size, budget: args.budget };
            show(&bench::hop_skip_jump(&gpu, &options)?, global)
        }
        BenchCommand::Kernels(args) => {
            let KernelsArgs { filter, runs, batch, matrix } = args;
            let scale = Scale { batch: *batch as usize, matrix: *matrix as usize, ..Scale::published() };
            let options = KernelsOptions { filter: filter.clone(), runs: *runs, scale };
            show(&bench::kernels(&gpu, &options, |name| spinner.set_message(name.to_string()))?, global)
        }
        BenchCommand::Dispatch(DispatchArgs {}) => show(&bench::dispatch(&gpu)?, global),
    }
}

fn show(report: &(impl Display + Serialize), global: &Global) -> Result<()> {
    if global.json { output::json(report) } else { output::text(&report.to_string()) }
}
