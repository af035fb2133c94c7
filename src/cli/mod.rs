//! The command line: a thin layer over the library, one file per command.
//!
//! A command is a file with `Args` (clap) and `run(&Args, &Global) -> Result<()>`; here it has a line in
//! `Command` and an arm in `Command::run`. Rules for all of them: results on stdout (one JSON object with
//! `--json`), everything else on stderr; [`output`] for what is printed, [`progress`] for what takes long,
//! [`interrupt`] for what Ctrl-C stops; an example in `after_help`. Exit status: 0 done, 1 the work failed,
//! 2 wrong usage.

mod attack;
mod audit;
mod bench;
mod data;
mod demo;
mod device;
mod encode;
mod encoder_options;
pub mod interrupt;
pub mod output;
mod pretrain;
mod probe;
pub mod progress;
mod report;
mod run;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::gpu::{Gpu, GpuOptions};
use crate::kernels::tune;
use crate::train::Precision;
use crate::{Error, Result};

#[derive(Parser)]
#[command(
    name = "contraleak",
    version,
    about = "Trains image encoders by contrastive learning and measures what they leak about their training data",
    arg_required_else_help = true,
    after_help = "Examples:
  contraleak device
  contraleak data info synthetic-faces:count=100,size=32

contraleak COMMAND --help explains a command, with an example."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// Options that every command has.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Global {
    /// Print the result as one JSON object on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more on stderr; twice says everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Direct convolutions alone: half the rounding, more time (no change where Winograd's are not used)
    #[arg(long, global = true)]
    pub exact_conv: bool,
    /// On GPUs, tiles of matrix products by a fixed table: nothing is timed, no cache is read or written. Results have the
    /// same bits with and without, unless the driver's compiler reorders sums
    #[arg(long, global = true)]
    pub deterministic: bool,
}

impl Global {
    /// The adapter as every command uses it.
    ///
    /// # Errors
    /// See [`Gpu::open`].
    fn open_gpu(&self) -> Result<Gpu> {
        self.open_gpu_for(Precision::F32)
    }

    /// The same for training in `precision`.
    ///
    /// # Errors
    /// See [`Gpu::open`]; an adapter that cannot multiply so, by the reason.
    fn open_gpu_for(&self, precision: Precision) -> Result<Gpu> {
        let options = GpuOptions {
            exact_conv: self.exact_conv,
            deterministic: self.deterministic,
            mixed_precision: precision.mixed,
            ..GpuOptions::default()
        };
        tune::open(&options)
    }
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Device(device::Args),
    Data(data::Args),
    Pretrain(pretrain::Args),
    Encode(encode::Args),
    Probe(probe::Args),
    Attack(attack::Args),
    Audit(audit::Args),
    Run(run::Args),
    Report(report::Args),
    Bench(bench::Args),
}

impl Command {
    fn run(&self, global: &Global) -> Result<()> {
        match self {
            Command::Demo(args) => demo::run(args, global),
            Command::Pretrain(args) => pretrain::run(args, global),
            Command::Encode(args) => encode::run(args, global),
            Command::Probe(args) => probe::run(args, global),
            Command::Attack(args) => attack::run(args, global),
            Command::Audit(args) => audit::run(args, global),
            Command::Device(args) => device::run(args, global),
            Command::Data(args) => data::run(args, global),
            Command::Run(args) => run::run(args, global),
            Command::Report(args) => report::run(args, global),
            Command::Bench(args) => bench::run(args, global),
        }
    }
}

/// The whole tree of commands and options, for tests and documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the process's arguments, runs the command, and reports its failure on stderr.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(cli.global.verbose);
    match cli.command.run(&cli.global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit_status(&error))
        }
    }
}

fn exit_status(error: &Error) -> u8 {
    match error {
        Error::Usage(_) => 2,
        _ => 1,
    }
}

/// Whether `--compat` asks for the artefacts of He & Zhang's released code.
fn contrastive_leaks(compat: Option<&str>) -> Result<bool> {
    match compat {
        None => Ok(false),
        Some("contrastive-leaks") => Ok(true),
        Some(other) => Err(Error::unknown("compat", other, &["contrastive-leaks"])),
    }
}

/// Logs go to stderr: `RUST_LOG` where it is set, otherwise by the number of `-v`.
fn start_logging(verbose: u8) {
    let by_count = match verbose {
        0 => "error,contraleak=info",
        1 => "warn,contraleak=debug",
        _ => "info,contraleak=trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(by_count));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 0)
        .without_time()
        .init();
}
