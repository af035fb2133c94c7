//! Encoders from files, ready to be queried.

use super::report::EncoderSummary;
use crate::augment::Constants;
use crate::gpu::Gpu;
use crate::nn::{Architecture, EncoderFile, HeadKind, Stem};
use crate::train::{Encoder, EncoderConfig, Model, Output};
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

/// Which answer is wanted of a file; what it needs beside the encoder must be in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Features,
    /// The output of the projection head, `projector.*`.
    Projection,
    /// The logits of the task classifier, `head.*`.
    Logits,
}

/// [`load`] for features.
///
/// # Errors
/// As [`load`].
pub fn load_encoder(gpu: &Gpu, path: &Path, role: &str, side: usize, hints: &Hints) -> Result<Loaded> {
    load(gpu, path, role, side, hints, Answer::Features)
}

/// Reads an encoder file; heads in it that are not asked for are left alone. `side` is that of the images, for files that do
/// not say for which size they were trained. Other tensors that the encoder does not have are
/// warned of by name.
///
/// # Errors
/// A file that names no architecture when `hints` does not either; missing or mis-shaped tensors, each by name;
/// a file without the head that `answer` needs.
pub fn load(
    gpu: &Gpu,
    path: &Path,
    role: &str,
    side: usize,
    hints: &Hints,
    answer: Answer,
) -> Result<Loaded> {
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
    let setting = |name: &str| {
        ["/training/simclr", "/training/moco", "/training/supervised", "/simclr"]
            .iter()
            .find_map(|table| number(&format!("{table}/{name}")))
    };
    let trained_size = setting("encoder/size").and_then(|size| usize::try_from(size).ok());
    let size = hints.size.or(trained_size).unwrap_or(side);
    let constants = told.map(|m| (m.normalization.mean.map(f64::from), m.normalization.std.map(f64::from)));
    let normalization = hints.normalization.or(constants).ok_or_else(|| {
        Error::usage(format!(
            "{}: does not say how its images were normalised; add --normalization (cifar10, stl10, imagenet, clip, none, or m,m,m/s,s,s)",
            path.display()
        ))
    })?;
    let config = EncoderConfig { arch, stem, width, size };
    let output = output(&file, answer)?;
    let model = Model::new(config, output.attachments())?;
    let matched = file.match_parameters(&model.parameters, |_| false)?;
    let encoder = Encoder::with_output(gpu, config, &matched.values, output)?;
    let carried = |name: &str| ["projector.", "head.", "adversary."].iter().any(|p| name.starts_with(p));
    let extra: Vec<String> = matched.extra.into_iter().filter(|name| !carried(name)).collect();
    for name in &extra {
        tracing::warn!("{}: {name} is not a tensor of this encoder and was left alone", path.display());
    }
    let data_hash = run.and_then(|c| c.pointer("/data_hash")).and_then(|h| h.as_str()).map(str::to_string);
    let summary = EncoderSummary {
        role: role.into(),
        architecture: format!("{arch} with {stem} stem, width {width}, {0}x{0} pixels", size),
        training: run.map(method),
        parameters: Some(model.parameters.trained_elements() as u64),
        epochs: setting("epochs"),
        final_loss: None,
        checkpoint_hash: Some(file.sha256.clone()),
        loss_curve: Vec::new(),
    };
    Ok(Loaded { encoder, normalization, data_hash, summary, extra })
}

/// The answer with the shape that the file gives it.
fn output(file: &EncoderFile, answer: Answer) -> Result<Output> {
    let dimensions = |name: &str| file.state.tensors.get(name).map(|t| t.dimensions.as_slice());
    let missing = |what: &str, advice: &str| {
        Err(Error::data(file.path.display(), format!("expected {what}, found none; {advice}")))
    };
    match answer {
        Answer::Features => Ok(Output::Features),
        Answer::Logits => match dimensions("head.weight") {
            Some([classes, _]) => Ok(Output::Logits(*classes)),
            _ => missing(
                "a task classifier (head.weight, head.bias)",
                "train one: contraleak probe --encoder FILE --train SPEC --out FILE",
            ),
        },
        Answer::Projection => {
            let last = dimensions("projector.2.weight").and_then(|d| d.first());
            match (dimensions("projector.0.weight"), dimensions("projector.3.weight"), last) {
                (_, Some(_), _) => Ok(Output::Projection(HeadKind::SimclrBn)),
                (_, _, Some(256)) => Ok(Output::Projection(HeadKind::SimclrClResnet)),
                (_, _, Some(_)) => Ok(Output::Projection(HeadKind::MocoMlp)),
                (Some(_), None, None) => Ok(Output::Projection(HeadKind::MocoLinear)),
                _ => missing("a projection head (projector.*)", "use its features instead"),
            }
        }
    }
}

/// What trained the encoder, as its file tells.
fn method(run: &serde_json::Value) -> String {
    if run.pointer("/training/moco").is_some() {
        return "MoCo".into();
    }
    match (run.pointer("/training/simclr/talos/lambda"), run.pointer("/training/supervised")) {
        (Some(lambda), _) => format!("SimCLR with Talos, lambda {lambda}"),
        (None, Some(_)) => "supervised".into(),
        (None, None) => "SimCLR".into(),
    }
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
