//! `cargo bench --bench kernels [-- FILTER]`: what `contraleak bench kernels` does.

use contraleak::experiment::bench::{KernelsOptions, Scale, kernels};
use contraleak::gpu::GpuOptions;
use contraleak::kernels::tune;

fn main() -> contraleak::Result<()> {
    // Cargo adds --bench; without it this is a test run, which only shows that everything works.
    let timing = std::env::args().any(|argument| argument == "--bench");
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let (scale, runs) = if timing { (Scale::published(), 5) } else { (Scale::small(), 1) };
    let gpu = tune::open(&GpuOptions::default())?;
    let report = kernels(&gpu, &KernelsOptions { filter, runs, scale }, |name| eprintln!("{name}"))?;
    print!("{report}");
    Ok(())
}
