//! Lists of image indices in files: members, non-members, shadow sets, canaries.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::problems::{Problem, Problems, on_line};
use crate::files::write_atomic;
use crate::{Error, Result};

/// The indices of one file, and where each stands (`FILE:LINE`, or `FILE entry K` of a JSON array).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexList {
    pub file: PathBuf,
    pub indices: Vec<usize>,
    pub places: Vec<String>,
}

/// Reads a text file (one index a line, `#` starts a comment) or a JSON array, of indices below `images`.
///
/// # Errors
/// [`Error::Data`] at the line or entry: not a whole number, negative, not below `images`, twice in the file;
/// a file without any index.
pub fn read_index_list(file: &Path, images: usize) -> Result<IndexList> {
    let text = std::fs::read_to_string(file).map_err(|error| Error::io(file, error))?;
    let entries: Vec<(String, String)> = if text.trim_start().starts_with('[') {
        let values: Vec<serde_json::Value> = serde_json::from_str(&text).map_err(|error| {
            Error::data(
                on_line(file, error.line()),
                format!("expected a JSON array of indices, found {error}"),
            )
        })?;
        let place = |entry: usize| format!("{} entry {entry}", file.display());
        values.iter().enumerate().map(|(entry, value)| (place(entry), value.to_string())).collect()
    } else {
        let number = |line: &str| line.split('#').next().unwrap_or("").trim().to_string();
        let lines = text.lines().enumerate().map(|(line, text)| (on_line(file, line + 1), number(text)));
        lines.filter(|(_, text)| !text.is_empty()).collect()
    };
    if entries.is_empty() {
        return Err(Error::data(file.display(), "expected image indices, one a line, found none"));
    }
    let mut problems = Problems::default();
    let mut list = IndexList { file: file.to_path_buf(), indices: Vec::new(), places: Vec::new() };
    let mut first: BTreeMap<usize, String> = BTreeMap::new();
    for (place, text) in entries {
        match text.parse::<usize>() {
            Ok(index) if index < images => {
                if let Some(other) = first.get(&index) {
                    problems.push(Problem::new(
                        place,
                        format!("expected each index once, found {index} again (first at {other})"),
                    ));
                    continue;
                }
                first.insert(index, place.clone());
                list.indices.push(index);
                list.places.push(place);
            }
            Ok(index) => problems.push(Problem::new(
                place,
                format!("expected an index below {images}, the number of images, found {index}"),
            )),
            Err(_) => problems.push(Problem::new(
                place,
                format!("expected a whole number from 0 to {}, found {text:?}", images.saturating_sub(1)),
            )),
        }
    }
    problems.into_result()?;
    Ok(list)
}

/// Checks that no two lists share an index.
///
/// # Errors
/// [`Error::Data`] at the place in the later list, naming the other list and its line.
pub fn check_lists_disjoint(lists: &[&IndexList]) -> Result<()> {
    let mut owner: BTreeMap<usize, &str> = BTreeMap::new();
    let mut problems = Problems::default();
    for list in lists {
        for (&index, place) in list.indices.iter().zip(&list.places) {
            if let Some(other) = owner.insert(index, place) {
                problems.push(Problem::new(
                    place,
                    format!("expected lists without a common index, found {index}, also at {other}"),
                ));
            }
        }
    }
    problems.into_result()
}

/// Writes one index a line, whole or not at all.
pub fn write_index_list(file: &Path, indices: &[usize]) -> Result<()> {
    write_atomic(file, |out| indices.iter().try_for_each(|index| writeln!(out, "{index}")))
}
