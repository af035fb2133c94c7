//! `contraleak demo`: the main job end to end, without an argument.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Instant;

use indicatif::ProgressBar;

use super::{Global, interrupt, output, progress};
use crate::Result;
use crate::experiment::demo::{self, Tell};
use crate::gpu::{Gpu, GpuOptions};

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
    let gpu = Gpu::open(&GpuOptions::default())?;
    let mut screen = Screen { bar: progress::spinner("demo"), start: Instant::now() };
    let finding = demo::run(&gpu, &args.out, args.seed, &mut screen)?;
    screen.bar.finish_and_clear();
    output::verdict(&finding.results, &args.out, global)
}

/// Stages as lines on stderr, the rest on the progress line.
struct Screen {
    bar: ProgressBar,
    start: Instant,
}

impl Tell for Screen {
    fn stage(&mut self, what: &str) {
        let line = format!("[{:5.1} s] {what}", self.start.elapsed().as_secs_f64());
        if std::io::stderr().is_terminal() {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }
    fn progress(&mut self, done: u64, total: u64, note: &str) {
        let text = if total > 0 { format!("step {done} of {total}, {note}") } else { note.to_string() };
        self.bar.set_message(text);
    }
    fn stop(&mut self) -> bool {
        interrupt::requested()
    }
}
