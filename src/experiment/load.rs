//! Encoders from files, ready to be queried.

use super::report::EncoderSummary;
use crate::augment::Constants;
use crate::gpu::Gpu;
use crate::nn::{Architecture, EncoderFile, Stem};
use crate::train::{Encoder, EncoderConfig, Model};
use crate::{Error, Result};
use std::path::Path;

/// What the caller says of a file that does not say it itself.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    pub arch: Option<Architecture>,
    pub stem: Option<Stem>,
    pub normalization: Option<Constants>,
    /// Side of the views, in place of what the file says.
    pub size: Option<usize>,
}

/// An encoder that was read from a file.
pub struct Loaded {
    pub encoder: Encoder,
    pub normalization: Constants,
    /// Content hash of the images that the encoder was trained on, where the file says it.
    pub data_hash: Option<String>,
    pub summary: EncoderSummary,
    /// Tensors of the file that the encoder does not have.
    pub extra: Vec<String>,
}

/// Reads an encoder file; a projection head in it is left alone. `side` is that of the images, for files that do
/// not say for which size they were trained. Other tensors that the encoder does not have are
/// warned of by name.
///
/// # Errors
/// A file that names no architecture when `hints` does not either; missing or mis-shaped tensors, each by name.
pub fn load_encoder(gpu: &Gpu, path: &Path, role: &str, side: usize, hints: &Hints) -> Result<Loaded> {
    let file = EncoderFile::read(path)?;
    let told = file.metadata.as_ref();
    let arch = match (hints.arch, told) {
        (Some(arch), _) => arch,
        (None, Some(metadata)) => metadata.arch.parse()?,
        (None, None) => {
            return Err(Error::usage(format!(
                "{}: does not say which architecture it holds; add --arch ({})",
                path.display(),
                Architecture::NAMES.join(" or ")
            )));
        }
    };
    let stem = match (hints.stem, told) {
        (Some(stem), _) => stem,
        (None, Some(metadata)) => metadata.stem.parse()?,
        (None, None) => stem_of(&file),
    };
    let width = told.map(|m| m.width).or_else(|| stage_width(&file)).unwrap_or(64);
    let run = told.map(|m| &m.config);
    let number = |pointer: &str| run.and_then(|c| c.pointer(pointer)).and_then(serde_json::Value::as_u64);
    let trained_size = number("/simclr/encoder/size").and_then(|size| usize::try_from(size).ok());
    let size = hints.size.or(trained_size).unwrap_or(side);
    let constants = told.map(|m| (m.normalization.mean.map(f64::from), m.normalization.std.map(f64::from)));
    let normalization = hints.normalization.or(constants).ok_or_else(|| {
        Error::usage(format!(
            "{}: does not say how its images were normalised; add --normalization (cifar10, stl10, imagenet, clip, none, or m,m,m/s,s,s)",
            path.display()
        ))
    })?;
    let config = EncoderConfig { arch, stem, width, size };
    let model = Model::new(config, None)?;
    let matched = file.match_parameters(&model.parameters, |_| false)?;
    let encoder = Encoder::new(gpu, config, &matched.values)?;
    let extra: Vec<String> =
        matched.extra.into_iter().filter(|name| !name.starts_with("projector.")).collect();
    for name in &extra {
        tracing::warn!("{}: {name} is not a tensor of this encoder and was left alone", path.display());
    }
    let data_hash = run.and_then(|c| c.pointer("/data_hash")).and_then(|h| h.as_str()).map(str::to_string);
    let summary = EncoderSummary {
        role: role.into(),
        architecture: format!("{arch} with {stem} stem, width {width}, {0}x{0} pixels", size),
        training: run.map(|_| "SimCLR".to_string()),
        parameters: Some(model.parameters.trained_elements() as u64),
        epochs: number("/simclr/epochs"),
        final_loss: None,
        checkpoint_hash: Some(file.sha256.clone()),
        loss_curve: Vec::new(),
    };
    Ok(Loaded { encoder, normalization, data_hash, summary, extra })
}

/// 7x7 first kernels belong to the ImageNet stem.
fn stem_of(file: &EncoderFile) -> Stem {
    match file.state.tensors.get("conv1.weight").map(|t| t.dimensions.as_slice()) {
        Some([_, _, 7, 7]) => Stem::Imagenet,
        _ => Stem::Cifar,
    }
}

/// Channels of the first layer.
fn stage_width(file: &EncoderFile) -> Option<usize> {
    file.state.tensors.get("conv1.weight").and_then(|t| t.dimensions.first().copied())
}
