//! State dicts as safetensors files: eight bytes of header length, a JSON header, the tensors.
//!
//! A header is not believed: every length and offset is checked against the file before memory is taken for it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::element_type::ElementType;
use super::file_format;
use super::safetensors_header::{Entry, Header, METADATA};
use super::state_dict::{BATCH_COUNTER, StateDict, StateTensor};
use crate::data::image_set::hex;
use crate::data::problems::{LONGEST_MESSAGE, at, shown, shown_up_to};
use crate::files::write_bytes_atomic;
use crate::{Error, Result};

/// The format's own limit.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// Reads a file and its SHA-256 (hexadecimal). F32, F16, BF16 and F64 become f32, single whole numbers of any integer
/// type become counters; tensors of every other type are listed as skipped, not refused.
///
/// # Errors
/// [`Error::Io`], or [`Error::Data`] at `FILE@OFFSET`: a header that is not one, or tensors that do not fill the file exactly.
pub fn read(path: &Path) -> Result<(StateDict, String)> {
    let bytes = file_format::read_bytes(path)?;
    Ok((parse(&bytes, path)?, hex(&Sha256::digest(&bytes))))
}

/// Length of the header of a file of `file_bytes` that begins with `head`.
///
/// # Errors
/// [`Error::Data`] at `FILE@0`: a length that is not there, beyond the file or beyond the format's limit.
pub(super) fn header_length(head: &[u8], file_bytes: u64, path: &Path) -> Result<u64> {
    let Some(length) = head.first_chunk() else {
        return Err(Error::data(
            at(path, 0),
            format!("expected 8 bytes of header length, found a file of {file_bytes} bytes"),
        ));
    };
    let length = u64::from_le_bytes(*length);
    if length > file_bytes.saturating_sub(8) || length > MOST_HEADER_BYTES {
        return Err(Error::data(
            at(path, 0),
            format!(
                "expected a header length within the file of {file_bytes} bytes and at most {MOST_HEADER_BYTES}, found \
                 {length}; not a safetensors file, or cut short"
            ),
        ));
    }
    Ok(length)
}

/// Reads a file's bytes; `path` is what errors call it.
///
/// # Errors
/// See [`read`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<StateDict> {
    let wrong = |offset: u64, problem: String| Error::data(at(path, offset), problem);
    let length = header_length(bytes, bytes.len() as u64, path)?;
    // It was found to lie within the file.
    let (header, data) = bytes[8..].split_at(length as usize);
    let Header { metadata, entries } = serde_json::from_slice(header).map_err(|error| {
        let found = shown_up_to(&error.to_string(), LONGEST_MESSAGE);
        wrong(8 + json_offset(header, &error), format!("expected a JSON object as header, found: {found}"))
    })?;

    let mut spans = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        let [start, end] = entry.data_offsets;
        if start > end || end > data.len() as u64 {
            return Err(wrong(
                8 + length + start.min(data.len() as u64),
                format!(
                    "{}: expected data_offsets within the {} bytes of tensors, found {start} to {end}; the file \
                     may be cut short",
                    shown(&name),
                    data.len()
                ),
            ));
        }
        spans.push((start, end, name, entry));
    }
    spans.sort_unstable_by(|(s, e, name, _), (t, f, other, _)| (s, e, name).cmp(&(t, f, other)));
    let mut filled = 0;
    for (start, end, name, _) in &spans {
        if *start != filled {
            return Err(wrong(
                8 + length + start,
                format!(
                    "{}: expected to start at offset {filled}, where the tensor before it ends, found {start}",
                    shown(name)
                ),
            ));
        }
        filled = *end;
    }
    if filled != data.len() as u64 {
        let spare = data.len() as u64 - filled;
        return Err(wrong(
            8 + length + filled,
            format!("expected the file to end here, found {spare} more bytes"),
        ));
    }

    // Only now, when no byte belongs to two tensors: what is read is no larger than the file allows.
    let mut state = StateDict { metadata, ..StateDict::default() };
    for (start, end, name, entry) in spans {
        let bytes = &data[start as usize..end as usize];
        read_tensor(&mut state, name, &entry, bytes).map_err(|problem| wrong(8 + length + start, problem))?;
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
    let shape = &entry.shape.0;
    let dimensions: Vec<usize> = shape.iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
    let Some(element_type) = ElementType::named(&entry.dtype) else {
        let dtype = shown_up_to(&entry.dtype, 40);
        state.skipped.insert(name, format!("{dtype} of shape {dimensions:?}"));
        return Ok(());
    };
    let width = element_type.width as u64;
    let expected = shape.iter().try_fold(width, |product, &d| product.checked_mul(d));
    if expected != Some(bytes.len() as u64) {
        return Err(format!(
            "{}: expected as many bytes as shape {shape:?} of {} needs, found {}",
            shown(&name),
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
