//! `contraleak demo`: the main job end to end, without an argument.

use std::path::PathBuf;

use super::progress::Screen;
use super::{Global, interrupt, output};
use crate::Result;
use crate::experiment::demo;

/// Train an encoder on drawn faces, attack it, and write a report: everything once, in a few minutes
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  contraleak demo --out runs/demo

Pre-trains a target and a shadow encoder with SimCLR on synthetic faces, runs EncoderMI-V, -S and -T on the target
with controls, and writes report.html. Takes at most four minutes on two cores without a GPU. --json prints the results.")]
pub struct Args {
    /// Folder for encoders and results
    #[arg(long, default_value = "runs/demo", value_name = "DIR")]
    out: PathBuf,
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    output::check_folder(&args.out)?;
    let gpu = global.open_gpu()?;
    let mut screen = Screen::new("demo");
    let finding = demo::run(&gpu, &args.out, args.seed, &mut screen)?;
    screen.finish();
    output::verdict(&finding.results, &args.out, global)
}
