//! Encoders on disk: a state dict in native names with what is needed to build its model again.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::file_format::{self, FileFormat};
use super::layout::{Recognized, to_native_names};
use super::safetensors_file;
use super::state_dict::{Matched, StateDict};
use crate::data::Normalization;
use crate::data::image_set::hex;
use crate::data::problems::shown;
use crate::graph::ParameterSet;
use crate::{Error, Result};

const ARCH: &str = "contraleak.arch";
const STEM: &str = "contraleak.stem";
const WIDTH: &str = "contraleak.width";
const NORMALIZATION: &str = "contraleak.normalization";
const CONFIG: &str = "contraleak.config";
/// Widest model, in channels of its first stage, that a file may claim.
pub(super) const WIDEST: usize = 65_536;
/// Smallest and largest standard deviation of pixels that a file may claim, and largest mean.
const STD: std::ops::RangeInclusive<f32> = 1e-4..=1e4;
const LONGEST_NAME: usize = 64;
const LARGEST_MEAN: f32 = 1e4;

/// What a file says of the encoder in it (`__metadata__`).
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderMetadata {
    /// `contraleak.arch`, for example `resnet18`.
    pub arch: String,
    /// `contraleak.stem`: `cifar` or `imagenet`; empty for architectures with a stem of their own.
    pub stem: String,
    /// `contraleak.width`: channels of the first stage.
    pub width: usize,
    /// `contraleak.normalization`: constants that images are normalised with, as JSON.
    pub normalization: Normalization,
    /// `contraleak.config`: the run that trained it, as JSON.
    pub config: Value,
}

impl EncoderMetadata {
    /// Writes the five keys into `state.metadata`.
    ///
    /// # Errors
    /// [`Error::Shape`] for normalisation constants that are not finite: JSON cannot hold them.
    pub fn store(&self, state: &mut StateDict) -> Result<()> {
        let Normalization { mean, std } = self.normalization;
        if !mean.iter().chain(&std).all(|constant| constant.is_finite()) {
            return Err(Error::shape(format!(
                "normalization: expected finite constants, found {mean:?} {std:?}"
            )));
        }
        let entries = [
            (ARCH, self.arch.clone()),
            (STEM, self.stem.clone()),
            (WIDTH, self.width.to_string()),
            (NORMALIZATION, serde_json::json!({"mean": mean, "std": std}).to_string()),
            (CONFIG, self.config.to_string()),
        ];
        state.metadata.extend(entries.map(|(key, value)| (key.to_string(), value)));
        Ok(())
    }

    /// Reads the keys of `state.metadata`; `None` for a file that another program wrote (no `contraleak.arch`).
    ///
    /// # Errors
    /// [`Error::Data`] at `place`, naming a key that is missing or not understood, with its value.
    pub fn load(state: &StateDict, place: &str) -> Result<Option<EncoderMetadata>> {
        let Some(arch) = state.metadata.get(ARCH) else { return Ok(None) };
        let text = |key: &str| {
            let value = state.metadata.get(key).map(String::as_str);
            value.ok_or_else(|| {
                Error::data(place, format!("metadata: expected {key} beside {ARCH}, found none"))
            })
        };
        let wrong = |key: &str, wanted: &str, value: &str| {
            Error::data(place, format!("metadata {key}: expected {wanted}, found {}", shown(value)))
        };
        // Names of ours; what is printed of them elsewhere can be printed.
        let name = |key: &str, value: &str| match value.len() <= LONGEST_NAME
            && value.bytes().all(|byte| byte.is_ascii_graphic())
        {
            true => Ok(value.to_string()),
            false => Err(wrong(key, "the name of one", value)),
        };
        let width = text(WIDTH)?;
        let normalization = text(NORMALIZATION)?;
        let config = text(CONFIG)?;
        Ok(Some(EncoderMetadata {
            arch: name(ARCH, arch)?,
            stem: name(STEM, text(STEM)?)?,
            width: width
                .parse()
                .ok()
                .filter(|width| (1..=WIDEST).contains(width))
                .ok_or_else(|| wrong(WIDTH, &format!("a whole number of 1 to {WIDEST}"), width))?,
            normalization: serde_json::from_str(normalization)
                .ok()
                .filter(|Normalization { mean, std }| {
                    mean.iter().all(|m| m.abs() <= LARGEST_MEAN) && std.iter().all(|s| STD.contains(s))
                })
                .ok_or_else(|| {
                    let wanted = "{\"mean\": [r, g, b], \"std\": [r, g, b]} with std of 0.0001 to 10000 and means up to 10000";
                    wrong(NORMALIZATION, wanted, normalization)
                })?,
            config: serde_json::from_str(config).map_err(|_| wrong(CONFIG, "JSON", config))?,
        }))
    }
}

/// An encoder read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderFile {
    pub path: PathBuf,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// By the file's content, whatever it is called.
    pub format: FileFormat,
    /// Weights under native names.
    pub state: StateDict,
    /// `None` for files of other programs.
    pub metadata: Option<EncoderMetadata>,
    /// The names the file used; `None` when they are of no known layout and were left as they are.
    pub recognized: Option<Recognized>,
}

impl EncoderFile {
    /// Reads an encoder, whoever wrote it, and brings its names to the native ones ([`super::layout`]).
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Data`] naming the file and position; see [`file_format::parse`],
    /// [`to_native_names`] and [`EncoderMetadata::load`].
    pub fn read(path: impl AsRef<Path>) -> Result<EncoderFile> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let bytes = file_format::read_bytes(path)?;
        let (mut state, format) = file_format::parse(&bytes, path)?;
        let sha256 = hex(&Sha256::digest(&bytes));
        drop(bytes);
        let metadata = EncoderMetadata::load(&state, &place)?;
        let recognized = to_native_names(&mut state, &place)?;
        Ok(EncoderFile { path: path.to_path_buf(), sha256, format, state, metadata, recognized })
    }

    /// Writes an encoder under native names with its metadata, whole or not at all. Returns the file's SHA-256.
    ///
    /// # Errors
    /// [`Error::Io`] naming `path`; [`Error::Shape`] for values that do not fit their dimensions.
    pub fn write(path: impl AsRef<Path>, mut state: StateDict, metadata: &EncoderMetadata) -> Result<String> {
        metadata.store(&mut state)?;
        safetensors_file::write(&state, path.as_ref())
    }

    /// The values that a model takes from this file; see [`StateDict::match_parameters`].
    ///
    /// # Errors
    /// [`Error::Data`] at the file, naming each tensor that is missing, mis-shaped or not finite.
    pub fn match_parameters(
        &self,
        parameters: &ParameterSet,
        optional: impl Fn(&str) -> bool,
    ) -> Result<Matched> {
        self.state.match_parameter_set(&self.path.display().to_string(), parameters, optional)
    }
}
