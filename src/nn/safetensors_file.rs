//! State dicts as safetensors files: eight bytes of header length, a JSON header, the tensors.
//!
//! A header is not believed: every length and offset is checked against the file before memory is taken for it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::element_type::ElementType;
use super::state_dict::{BATCH_COUNTER, StateDict, StateTensor};
use crate::data::image_set::hex;
use crate::data::problems::at;
use crate::files::write_bytes_atomic;
use crate::{Error, Result};

/// The format's own limit.
const MOST_HEADER_BYTES: u64 = 100_000_000;
const METADATA: &str = "__metadata__";

/// One tensor in a header.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// Reads a file and its SHA-256 (hexadecimal). F32, F16, BF16 and F64 become f32, single whole numbers of any integer
/// type become counters; tensors of every other type are listed as skipped, not refused.
///
/// # Errors
/// [`Error::Io`], or [`Error::Data`] at `FILE@OFFSET`: a header that is not one, or tensors that do not fill the file exactly.
pub fn read(path: &Path) -> Result<(StateDict, String)> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    Ok((parse(&bytes, path)?, hex(&Sha256::digest(&bytes))))
}

/// Reads a file's bytes; `path` is what errors call it.
///
/// # Errors
/// See [`read`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<StateDict> {
    let wrong = |offset: u64, problem: String| Error::data(at(path, offset), problem);
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(wrong(
            0,
            format!("expected 8 bytes of header length, found a file of {} bytes", bytes.len()),
        ));
    };
    let length = u64::from_le_bytes(*length);
    if length > rest.len() as u64 || length > MOST_HEADER_BYTES {
        return Err(wrong(
            0,
            format!(
                "expected a header length within the file of {} bytes and at most {MOST_HEADER_BYTES}, found {length}; not a safetensors file, or cut short",
                bytes.len()
            ),
        ));
    }
    let (header, data) = rest.split_at(length as usize);
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).map_err(|error| {
        wrong(8 + json_offset(header, &error), format!("expected a JSON object as header, found: {error}"))
    })?;

    let mut state = StateDict::default();
    let mut spans = Vec::new();
    for (name, value) in header {
        if name == METADATA {
            state.metadata = serde_json::from_value(value)
                .map_err(|error| wrong(8, format!("{METADATA}: expected names with text values: {error}")))?;
            continue;
        }
        let entry: Entry = serde_json::from_value(value).map_err(|error| {
            wrong(8, format!("{name}: expected dtype, shape and data_offsets in the header: {error}"))
        })?;
        let [start, end] = entry.data_offsets;
        let place = 8 + length + start.min(data.len() as u64);
        let tensor = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let Some(bytes) = tensor.and_then(|(start, end)| data.get(start..end)) else {
            return Err(wrong(
                place,
                format!(
                    "{name}: expected data_offsets within the {} bytes of tensors, found {start} to {end}; the file \
                     may be cut short",
                    data.len()
                ),
            ));
        };
        spans.push((start, end, name.clone()));
        read_tensor(&mut state, name, &entry, bytes).map_err(|problem| wrong(place, problem))?;
    }

    spans.sort_unstable();
    let mut filled = 0;
    for (start, end, name) in spans {
        if start != filled {
            return Err(wrong(
                8 + length + start,
                format!(
                    "{name}: expected to start at offset {filled}, where the tensor before it ends, found {start}"
                ),
            ));
        }
        filled = end;
    }
    if filled != data.len() as u64 {
        let spare = data.len() as u64 - filled;
        return Err(wrong(
            8 + length + filled,
            format!("expected the file to end here, found {spare} more bytes"),
        ));
    }
    Ok(state)
}

/// Adds one tensor to `state`, or says what is wrong with it.
fn read_tensor(
    state: &mut StateDict,
    name: String,
    entry: &Entry,
    bytes: &[u8],
) -> std::result::Result<(), String> {
    // Every dimension divides the number of bytes, which fits, or is one of several beside a zero.
    let dimensions: Vec<usize> =
        entry.shape.iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
    let Some(element_type) = ElementType::named(&entry.dtype) else {
        let dtype: String = entry.dtype.chars().take(40).flat_map(char::escape_debug).collect();
        state.skipped.insert(name, format!("{dtype} of shape {dimensions:?}"));
        return Ok(());
    };
    let width = element_type.width as u64;
    let expected = entry.shape.iter().try_fold(width, |product, &d| product.checked_mul(d));
    if expected != Some(bytes.len() as u64) {
        return Err(format!(
            "{name}: expected as many bytes as shape {:?} of {} needs, found {}",
            entry.shape,
            entry.dtype,
            bytes.len()
        ));
    }
    element_type.insert(state, name, dimensions, bytes);
    Ok(())
}

/// Byte of the header where the JSON reader stopped.
fn json_offset(header: &[u8], error: &serde_json::Error) -> u64 {
    let lines = header.split_inclusive(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
    let before = lines.map(<[u8]>::len).sum::<usize>();
    (before + error.column().saturating_sub(1)).min(header.len()) as u64
}

/// Writes tensors as F32 and counters as I64, whole or not at all, and returns the file's SHA-256 (hexadecimal).
/// Every running mean gets its batch counter, 0 where `state` has none. Equal states give equal files.
///
/// # Errors
/// [`Error::Io`] naming `path`; [`Error::Shape`] for a tensor whose dimensions do not fit its values.
pub fn write(state: &StateDict, path: &Path) -> Result<String> {
    let bytes = serialize(state)?;
    write_bytes_atomic(path, &bytes)?;
    Ok(hex(&Sha256::digest(&bytes)))
}

/// The bytes that [`write()`] writes.
///
/// # Errors
/// [`Error::Shape`] for a tensor whose dimensions do not fit its values.
pub fn serialize(state: &StateDict) -> Result<Vec<u8>> {
    let mut counters: BTreeMap<String, i64> =
        state.batch_counters().into_iter().map(|name| (name, 0)).collect();
    counters.extend(state.counters.clone());
    let (mut header, mut data) = (Map::new(), Vec::new());
    if !state.metadata.is_empty() {
        header.insert(METADATA.into(), json!(state.metadata));
    }
    // Counters first: their eight bytes stay aligned, as the format recommends.
    for (name, value) in &counters {
        // PyTorch's batch counters have no dimension, its other numbers one.
        let shape: &[usize] = if name.ends_with(BATCH_COUNTER) { &[] } else { &[1] };
        let start = data.len();
        data.extend(value.to_le_bytes());
        header.insert(
            name.clone(),
            json!({"dtype": "I64", "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    for (name, StateTensor { dimensions, values }) in &state.tensors {
        if dimensions.iter().try_fold(1_usize, |p, &d| p.checked_mul(d)) != Some(values.len()) {
            return Err(Error::shape(format!("{name}: {} values do not fit {dimensions:?}", values.len())));
        }
        let start = data.len();
        data.reserve(values.len() * 4);
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header.insert(
            name.clone(),
            json!({"dtype": "F32", "shape": dimensions, "data_offsets": [start, data.len()]}),
        );
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header, &data].concat())
}
