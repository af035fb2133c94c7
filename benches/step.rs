//! `cargo bench --bench step`: what `contraleak bench step --profile` does, for ResNet-18 with the CIFAR stem.

use contraleak::experiment::bench::{StepOptions, step};
use contraleak::gpu::GpuOptions;
use contraleak::kernels::tune;
use contraleak::nn::{Architecture, Stem};
use contraleak::train::{EncoderConfig, Precision};

fn main() -> contraleak::Result<()> {
    // Cargo adds --bench; without it this is a test run, which only shows that everything works.
    let timing = std::env::args().any(|argument| argument == "--bench");
    let (width, size, batch, steps) = if timing { (64, 32, 32, 5) } else { (8, 16, 4, 1) };
    let encoder = EncoderConfig { arch: Architecture::Resnet18, stem: Stem::Cifar, width, size };
    let gpu = tune::open(&GpuOptions::default())?;
    let precision = Precision::F32;
    let options = StepOptions { encoder, batch, precision, warm_up: 2, steps, profile: timing };
    print!("{}", step(&gpu, &options)?);
    Ok(())
}
