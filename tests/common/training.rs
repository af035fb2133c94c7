//! Small SimCLR runs: a narrow network, few tiny faces, folders that can be compared.

use contraleak::augment::Recipe;
use contraleak::data::{self, ImageSet};
use contraleak::nn::{Architecture, Stem};
use contraleak::train::{EncoderConfig, PretrainConfig, Progress, RunOptions, SimclrConfig, Training};
use std::path::Path;

pub const SIDE: usize = 16;

/// Faces of 16x16 pixels.
pub fn faces(count: usize, seed: u64) -> ImageSet {
    data::open(&format!("synthetic-faces:count={count},size={SIDE},seed={seed}"))
        .unwrap_or_else(|e| panic!("{e}"))
}

pub fn recipe() -> Recipe {
    Recipe::named("moco-cifar").unwrap_or_else(|e| panic!("{e}")).sized(SIDE)
}

pub fn encoder_config() -> EncoderConfig {
    EncoderConfig { arch: Architecture::Resnet18, stem: Stem::Imagenet, width: 8, size: SIDE }
}

/// Batches of four images.
pub fn simclr(epochs: u64) -> SimclrConfig {
    SimclrConfig::emi_simclr(encoder_config(), recipe(), 4, epochs, 7)
}

pub fn options(folder: &Path, set: &ImageSet, training: impl Into<Training>) -> RunOptions {
    RunOptions {
        folder: folder.to_path_buf(),
        config: PretrainConfig {
            data: "synthetic-faces".into(),
            data_hash: set.content_hash(),
            start: None,
            exact_conv: false,
            training: training.into(),
        },
        resume: false,
        checkpoint_every: None,
    }
}

/// Calls its function before each step, counted from 0 in this process; `true` stops the run.
pub struct Before<F: FnMut(u64) -> bool>(pub F, pub u64);

impl<F: FnMut(u64) -> bool> Progress for Before<F> {
    fn step(&mut self, _: u64, _: u64, _: f32) {}
    fn stop(&mut self) -> bool {
        self.1 += 1;
        (self.0)(self.1 - 1)
    }
}

/// Copies a run folder as a kill would leave it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Names of the checkpoints in a run folder, oldest first.
pub fn checkpoints(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder.join("checkpoint")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
