//! A probe on an encoder's frozen features of two image sets.

use super::features::{Label, Tell, plain};
use super::load::Loaded;
use crate::attack::probe::{LinearHead, ProbeFinding, ProbeKind, ProbeSettings, Rows, probe};
use crate::data::{ImageSet, Normalization};
use crate::gpu::Gpu;
use crate::nn::{EncoderFile, EncoderMetadata, StateTensor};
use crate::{Error, Result};
use serde_json::json;
use std::path::Path;

/// What is to be probed.
pub struct ProbeJob<'a> {
    pub encoder: &'a Loaded,
    pub train: &'a ImageSet,
    pub test: &'a ImageSet,
    pub label: Label,
    pub kind: ProbeKind,
    pub settings: ProbeSettings,
    pub seed: u64,
}

impl ProbeJob<'_> {
    /// Encodes both sets, trains and measures.
    ///
    /// # Errors
    /// Sets without the label or of other classes; [`Error::Interrupted`] when `tell` says so; errors of [`probe`].
    pub fn run(&self, gpu: &Gpu, tell: &mut Tell) -> Result<ProbeFinding> {
        let (train, test) = self.label.of_both(self.train, self.test)?;
        let (x, y) =
            (plain(gpu, self.encoder, self.train, tell)?, plain(gpu, self.encoder, self.test, tell)?);
        if tell(&format!("training the {} probe", self.kind)) {
            return Err(Error::Interrupted("stopped before the probe; nothing was written".into()));
        }
        let (width, classes) = (self.encoder.encoder.feature_dim(), train.classes());
        let train = Rows::new(&x, &train.values, width, classes)?;
        let test = Rows::new(&y, &test.values, width, classes)?;
        probe(gpu, self.kind, &self.settings, &train, &test, self.seed)
    }
}

/// Writes a task classifier: the encoder file `from` with `head.weight` `[C, d]` and `head.bias` `[C]`. `about` says where
/// the head comes from; it stands in the file's configuration as `head`. Returns the file's SHA-256.
///
/// # Errors
/// See [`EncoderFile::read`] and [`EncoderFile::write`].
pub fn write_classifier(
    from: &Path,
    loaded: &Loaded,
    head: &LinearHead,
    about: serde_json::Value,
    to: &Path,
) -> Result<String> {
    let EncoderFile { mut state, metadata, .. } = EncoderFile::read(from)?;
    let tensor = |dimensions, values: &[f32]| StateTensor { dimensions, values: values.to_vec() };
    state.tensors.insert("head.weight".into(), tensor(vec![head.classes, head.width], &head.weight));
    state.tensors.insert("head.bias".into(), tensor(vec![head.classes], &head.bias));
    let config = loaded.encoder.config();
    let (mean, std) = loaded.normalization;
    let told = metadata.map(|metadata| metadata.config);
    let mut run = match told {
        Some(serde_json::Value::Object(run)) => run,
        _ => serde_json::Map::new(),
    };
    // Files of other programs do not say it; the loader looks here.
    if run.get("simclr").is_none() {
        run.insert("simclr".into(), json!({"encoder": config}));
    }
    run.insert("head".into(), about);
    let metadata = EncoderMetadata {
        arch: config.arch.to_string(),
        stem: config.stem.to_string(),
        width: config.width,
        normalization: Normalization { mean: mean.map(|v| v as f32), std: std.map(|v| v as f32) },
        config: serde_json::Value::Object(run),
    };
    EncoderFile::write(to, state, &metadata)
}
