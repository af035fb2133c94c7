//! Encoders from files, ready to be queried.

use super::report::EncoderSummary;
use crate::augment::{Constants, normalization_named};
use crate::data::resize::{Filter, Fit};
use crate::data::{self, Images, Spec};
use crate::gpu::Gpu;
use crate::nn::recognize::{Preparation, Recognition};
use crate::nn::{Architecture, EncoderFile, HeadKind, Stem};
use crate::train::{Encoder, EncoderConfig, Model, Output};
use crate::{Error, Result};
use std::path::Path;

/// What the caller says of a file that does not say it itself.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Hints {
    pub arch: Option<Architecture>,
    pub stem: Option<Stem>,
    pub normalization: Option<Constants>,
    /// Side of the views, in place of what the file says.
    pub size: Option<usize>,
}

/// Tensors left alone that are named one by one.
const MOST_NAMED: usize = 10;

/// An encoder that was read from a file.
pub struct Loaded {
    pub encoder: Encoder,
    pub normalization: Constants,
    /// Content hash of the images that the encoder was trained on, where the file says it.
    pub data_hash: Option<String>,
    pub summary: EncoderSummary,
    /// Tensors of the file that the encoder does not have.
    pub extra: Vec<String>,
    /// What was concluded of a file of another program, in sentences.
    pub conclusions: Vec<String>,
}

impl Loaded {
    /// SHA-256 of its file.
    pub fn sha256(&self) -> &str {
        self.summary.checkpoint_hash.as_deref().unwrap_or("")
    }
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
    load_file(gpu, EncoderFile::read(path)?, role, side, hints, answer)
}

/// [`load`] of a file that was read.
///
/// # Errors
/// As [`load`].
pub fn load_file(
    gpu: &Gpu,
    file: EncoderFile,
    role: &str,
    side: usize,
    hints: &Hints,
    answer: Answer,
) -> Result<Loaded> {
    let path = &file.path;
    let told = file.metadata.as_ref();
    let found = match told {
        Some(_) => None,
        None => Recognition::of(&file.state, &path.display().to_string())?,
    };
    let arch = match (hints.arch, told, &found) {
        (Some(arch), _, _) => arch,
        (None, Some(metadata), _) => metadata.arch.parse()?,
        (None, None, Some(found)) => found.architecture,
        (None, None, None) => {
            return Err(Error::usage(format!(
                "{}: expected the tensors of a known encoder ({}), found {}; add --arch if it is one of them under other names",
                path.display(),
                Architecture::NAMES.join(", "),
                some_names(&file)
            )));
        }
    };
    let stem = match (hints.stem, told, &found) {
        (Some(stem), _, _) => stem,
        (None, Some(metadata), _) => metadata.stem.parse()?,
        (None, None, Some(found)) => found.stem,
        (None, None, None) => arch.usual_stem(),
    };
    let width = told.map(|m| m.width).or(found.as_ref().map(|f| f.width)).unwrap_or(arch.usual_width());
    let run = told.map(|m| &m.config);
    let number = |pointer: &str| run.and_then(|c| c.pointer(pointer)).and_then(serde_json::Value::as_u64);
    let setting = |name: &str| {
        ["/training/simclr", "/training/moco", "/training/supervised", "/simclr"]
            .iter()
            .find_map(|table| number(&format!("{table}/{name}")))
    };
    let trained_size = setting("encoder/size").and_then(|size| usize::try_from(size).ok());
    let size = hints.size.or(trained_size).or(found.as_ref().and_then(|f| f.size)).unwrap_or(side);
    let constants = told.map(|m| (m.normalization.mean.map(f64::from), m.normalization.std.map(f64::from)));
    let preparation = found.as_ref().map(|found| found.preparation(file.recognized.as_ref()));
    let normalization = match (hints.normalization.or(constants), preparation) {
        (Some(constants), _) => constants,
        (None, Some(preparation)) => normalization_named(preparation.normalization)?,
        (None, None) => {
            return Err(Error::usage(format!(
                "{}: does not say how its images were normalised; add --normalization (cifar10, stl10, imagenet, clip, none, or m,m,m/s,s,s)",
                path.display()
            )));
        }
    };
    let conclusions = found.as_ref().map_or(Vec::new(), |found| conclude(&file, found, hints, preparation));
    let config = EncoderConfig { arch, stem, width, size };
    let output = output(&file, answer)?;
    let model = Model::new(config, output.attachments())?;
    for sentence in &conclusions {
        tracing::info!("{}: {sentence}", path.display());
    }
    let matched = file.match_parameters(&model.parameters, |_| false)?;
    let encoder = Encoder::with_output(gpu, config, &matched.values, output)?;
    let carried = |name: &str| ["projector.", "head.", "adversary."].iter().any(|p| name.starts_with(p));
    let extra: Vec<String> = matched.extra.into_iter().filter(|name| !carried(name)).collect();
    warn_of_extra(path, &extra);
    let data_hash = run.and_then(|c| c.pointer("/data_hash")).and_then(|h| h.as_str()).map(str::to_string);
    let summary = EncoderSummary {
        role: role.into(),
        architecture: config.to_string(),
        training: run.map(method),
        parameters: Some(model.parameters.trained_elements() as u64),
        epochs: setting("epochs"),
        final_loss: None,
        checkpoint_hash: Some(file.sha256.clone()),
        loss_curve: Vec::new(),
    };
    Ok(Loaded { encoder, normalization, data_hash, summary, extra, conclusions })
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
            let first = dimensions("projector.0.weight");
            match (first, dimensions("projector.3.weight"), last) {
                (_, Some(_), _) => Ok(Output::Projection(HeadKind::SimclrBn)),
                (Some([256, d]), _, Some(256)) if *d != 256 => {
                    Ok(Output::Projection(HeadKind::SimclrClMobilenet))
                }
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

/// How images come to size for an encoder that another program wrote, as its own code does it: the short side made
/// somewhat larger than the input, bilinear, and the middle cut out; for CLIP bicubic and of the input's size.
fn usual_fit(file: &EncoderFile, hints: &Hints) -> Result<Option<(Fit, bool)>> {
    if file.metadata.is_some() {
        return Ok(None);
    }
    let found = Recognition::of(&file.state, &file.path.display().to_string())?;
    Ok(found.map(|found| {
        let side = hints.size.unwrap_or(found.preparation(file.recognized.as_ref()).size);
        match (found.architecture.is_clip(), side) {
            (true, side) => (Fit::Crop { side, short: side, filter: Filter::Bicubic }, true),
            (false, side @ ..=96) => (Fit::Stretch(side), false),
            (false, side) => (Fit::Crop { side, short: side * 8 / 7, filter: Filter::Bilinear }, false),
        }
    }))
}

/// Data SPECs with the encoder's own preparation in those that name none, the same for all: for CLIP always, because its
/// input has one size; for others where the images of a set are of several sizes, or all larger than the input.
///
/// # Errors
/// A SPEC that is not understood; images that cannot be read.
pub fn fitted_specs(specs: &[&str], file: &EncoderFile, hints: &Hints) -> Result<Vec<Spec>> {
    let given: Vec<Spec> = specs.iter().map(|spec| spec.parse()).collect::<Result<_>>()?;
    let Some((fit, always)) = usual_fit(file, hints)?.filter(|_| given.iter().any(|s| s.fit == Fit::AsIs))
    else {
        return Ok(given);
    };
    let fitted =
        || given.iter().map(|s| Spec { fit: if s.fit == Fit::AsIs { fit } else { s.fit }, ..s.clone() });
    if always {
        tracing::info!("images are prepared as CLIP does ({})", fit_in_words(fit));
        return Ok(fitted().collect());
    }
    let mut sizes = Vec::new();
    let mut problem = None;
    for spec in &given {
        match data::open_images_of(spec) {
            Ok(images) => sizes.push((images.width(), images.height())),
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    let input = fit.side().unwrap_or(usize::MAX);
    let large = sizes.iter().any(|&(width, height)| width.max(height) > input);
    // Sets of two sizes are left as they are and refused: a difference between them that no preparation takes away.
    let one_size = sizes.windows(2).all(|pair| pair[0] == pair[1]);
    if problem.is_none() && !(large && one_size) {
        return Ok(given);
    }
    let prepared: Vec<Spec> = fitted().collect();
    // Where that does not help either, size was not what was wrong.
    if let Some(problem) = problem.filter(|_| prepared.iter().any(|spec| data::open_images_of(spec).is_err()))
    {
        return Err(problem);
    }
    tracing::info!(
        "images are of several sizes or larger than the input and are prepared as is usual for such encoders ({})",
        fit_in_words(fit)
    );
    Ok(prepared)
}

/// The images of a data SPEC, prepared for the encoder ([`fitted_specs`]).
///
/// # Errors
/// As [`fitted_specs`].
pub fn open_for(spec: &str, file: &EncoderFile, hints: &Hints) -> Result<Box<dyn Images>> {
    let fitted = fitted_specs(&[spec], file, hints)?;
    data::open_images_of(&fitted[0])
}

/// As a SPEC says it.
pub fn fit_in_words(fit: Fit) -> String {
    match fit {
        Fit::AsIs => "as they are".into(),
        Fit::Stretch(side) => format!("size={side}"),
        Fit::Crop { side, short, filter: Filter::Bicubic } if side == short => format!("crop={side}"),
        Fit::Crop { side, short, filter: Filter::Bicubic } => format!("crop={side},short={short}"),
        Fit::Crop { side, short, filter: Filter::Bilinear } => {
            format!("crop={side},short={short},filter=bilinear")
        }
    }
}

/// What was concluded of a file that does not say it, in sentences.
fn conclude(
    file: &EncoderFile,
    found: &Recognition,
    hints: &Hints,
    preparation: Option<Preparation>,
) -> Vec<String> {
    let Recognition { architecture, stem, width, .. } = found;
    // Names and shapes do not tell which of CLIP's activations it is; whoever named one knows.
    let told = hints.arch.is_some_and(|arch| arch != *architecture);
    let architecture = &hints.arch.unwrap_or(*architecture);
    let stem = if *stem == Stem::Own { String::new() } else { format!(", {stem} stem") };
    let names =
        file.recognized.as_ref().map_or(String::new(), |recognized| match recognized.prefix.as_str() {
            "" => format!("; names as in {}", recognized.layout),
            prefix => format!("; names as in {} behind {prefix}", recognized.layout),
        });
    let evidence = match told {
        true => "as --arch says",
        false => &found.evidence,
    };
    let mut sentences = vec![format!("holds {architecture}{stem}, width {width}: {evidence}{names}")];
    if let (None, Some(Preparation { normalization, certain, .. })) = (hints.normalization, preparation) {
        let why = match certain {
            true => "as the code that writes such files does",
            false => "assumed, because it is usual for such encoders: --normalization says otherwise",
        };
        sentences.push(format!("images are normalised with the constants {normalization} ({why})"));
    }
    sentences
}

/// Tells of tensors that are left alone: a few by name, a text tower or a key encoder by number.
fn warn_of_extra(path: &Path, extra: &[String]) {
    for name in extra.iter().take(MOST_NAMED) {
        tracing::warn!("{}: {name} is not a tensor of this encoder and was left alone", path.display());
    }
    if extra.len() > MOST_NAMED {
        let rest = extra.len() - MOST_NAMED;
        tracing::warn!("{}: so were {rest} more tensors", path.display());
    }
}

/// The first names of a file that was not recognised.
fn some_names(file: &EncoderFile) -> String {
    let names: Vec<&str> = file.state.tensors.keys().map(String::as_str).take(3).collect();
    match file.state.tensors.len() {
        0 => "no tensor".into(),
        count => format!("{count} tensors ({}, …)", names.join(", ")),
    }
}
