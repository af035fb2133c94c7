//! Measurements on disk, each with what it was made of.

use crate::files::write_bytes_atomic;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is kept, with a number that is raised whenever it is measured differently: older files are then made again.
#[derive(Clone, Copy)]
pub enum Measurement {
    Subject,
    Defences,
    Blind,
    Baselines,
}

impl Measurement {
    fn version(self) -> u32 {
        match self {
            Measurement::Subject | Measurement::Blind | Measurement::Baselines => 1,
            Measurement::Defences => 2,
        }
    }
}

/// A measurement with what it was made of.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    measurement: u32,
    of: [String; 2],
    found: T,
}

/// Writes a measurement that was made of the files or images with these hashes.
pub fn keep<T: Serialize>(path: &Path, what: Measurement, found: &T, of: &[String; 2]) -> Result<()> {
    store(path, &Kept { measurement: what.version(), of: of.clone(), found })
}

/// The measurement in `path`, if it was made of these files by these attacks.
pub fn kept<T: DeserializeOwned>(path: &Path, what: Measurement, of: &[String; 2]) -> Result<Option<T>> {
    // Another measurement may have had another form.
    let Some(value) = fetch::<serde_json::Value>(path)? else { return Ok(None) };
    if value.get("measurement").and_then(serde_json::Value::as_u64) != Some(u64::from(what.version())) {
        return Ok(None);
    }
    let kept: Kept<T> = serde_json::from_value(value)
        .map_err(|e| Error::data(path.display(), format!("{e}; delete the file to measure again")))?;
    Ok(Some(kept).filter(|kept| kept.of == *of).map(|kept| kept.found))
}

/// Writes a value as JSON, whole or not at all.
pub fn store(path: &Path, value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Error::shape(format!("{}: {e}", path.display())))?;
    write_bytes_atomic(path, text.as_bytes())
}

/// What `path` holds; `None` where there is no file.
pub fn fetch<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|e| Error::data(path.display(), format!("{e}; delete the file to measure again"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}
