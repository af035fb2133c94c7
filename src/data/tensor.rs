//! Images as one tensor: safetensors with `images` f32 `[N, 3, H, W]` in 0..1 and optional `target` and
//! `attribute` i64 `[N]`.

use std::path::Path;

use safetensors::tensor::{SafeTensorError, TensorView};
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

use super::decode::SMALLEST_SIDE;
use super::folder::folder_name;
use super::image_set::{ImageSet, Labels, hex};
use super::problems::{Problem, Problems, at, did_you_mean};
use crate::{Error, Result};

const TENSORS: [&str; 3] = ["images", "target", "attribute"];
/// More classes than this are taken for a mistake (a file with image numbers instead of labels).
const MOST_CLASSES: i64 = 1 << 20;

/// Reads the file; pixels become u8 by `round(255 x)`, classes are called by their numbers.
///
/// # Errors
/// [`Error::Data`] at `FILE@OFFSET`: a header that is not one, tensors missing, surplus or of another type
/// or shape (with what was expected and found), a pixel that is NaN or outside 0..1 (with the image's index),
/// a negative label.
pub fn read(file: &Path) -> Result<ImageSet> {
    let bytes = std::fs::read(file).map_err(|error| Error::io(file, error))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| header_error(file, &bytes, error))?;
    let mut names = tensors.names();
    names.sort_unstable();
    if let Some(surplus) = names.iter().find(|name| !TENSORS.contains(name)) {
        return Err(Error::data(
            at(file, 8),
            format!(
                "expected the tensors images, target, attribute, found {surplus:?} among {}{}",
                names.join(", "),
                did_you_mean(surplus, TENSORS)
            ),
        ));
    }
    let images = tensors.tensor("images").map_err(|_| {
        Error::data(at(file, 8), format!("expected a tensor images, found {}", names.join(", ")))
    })?;
    // The header ends where the tensors begin.
    let data_start = 8 + u64::from_le_bytes(std::array::from_fn(|byte| bytes[byte]));
    let offset = |view: &TensorView| view.data().as_ptr() as u64 - bytes.as_ptr() as u64;
    check_type(file, "images", &images, Dtype::F32)?;
    let &[count, 3, height, width] = images.shape() else {
        let hint = match images.shape() {
            [_, 1, _, _] => "; repeat the one channel three times",
            [_, _, _, 3] => "; the layout looks like [N, H, W, 3]: move the channels to the front",
            _ => "",
        };
        return Err(Error::data(
            at(file, data_start),
            format!("images: expected shape [N, 3, H, W], found {:?}{hint}", images.shape()),
        ));
    };
    if height < SMALLEST_SIDE || width < SMALLEST_SIDE {
        return Err(Error::data(
            at(file, data_start),
            format!("images: expected at least {SMALLEST_SIDE} pixels on a side, found {width}x{height}"),
        ));
    }
    if count == 0 {
        return Err(Error::data(at(file, data_start), "images: expected at least one image, found none"));
    }
    let pixels = to_bytes(file, offset(&images), images.data(), [count, height, width])?;
    let optional = |name: &str| match tensors.tensor(name) {
        Ok(view) => labels(file, name, &view, offset(&view), count).map(Some),
        Err(_) => Ok(None),
    };
    ImageSet {
        name: folder_name(file),
        width,
        height,
        pixels,
        ids: (0..count).map(|index| index.to_string()).collect(),
        target: optional("target")?,
        attribute: optional("attribute")?,
        source_hash: hex(&Sha256::digest(&bytes)),
        published_normalization: None,
        notes: Vec::new(),
    }
    .checked()
}

fn header_error(file: &Path, bytes: &[u8], error: SafeTensorError) -> Error {
    use SafeTensorError as E;
    let (offset, problem) = match error {
        E::HeaderTooSmall => {
            (0, format!("expected 8 bytes of header length, found {} bytes in all", bytes.len()))
        }
        E::HeaderTooLarge | E::InvalidHeaderLength => {
            let length =
                u64::from_le_bytes(std::array::from_fn(|byte| bytes.get(byte).copied().unwrap_or(0)));
            (0, format!("expected a header length within the file of {} bytes, found {length}", bytes.len()))
        }
        E::InvalidHeader(error) => {
            (8 + error.valid_up_to(), "expected a header in UTF-8, found other bytes".into())
        }
        E::InvalidHeaderDeserialization(error) | E::JsonError(error) => {
            (8 + error.column().saturating_sub(1), format!("expected a JSON header, found {error}"))
        }
        E::MetadataIncompleteBuffer => (
            bytes.len(),
            format!(
                "expected the tensors to end where the file ends, found {} bytes in all; the file is truncated or \
                 has bytes to spare",
                bytes.len()
            ),
        ),
        other => (8, format!("expected tensors that fit the header, found {other}")),
    };
    Error::data(at(file, offset as u64), format!("safetensors: {problem}"))
}

fn check_type(file: &Path, name: &str, view: &TensorView, expected: Dtype) -> Result<()> {
    if view.dtype() == expected {
        return Ok(());
    }
    Err(Error::data(at(file, 8), format!("{name}: expected dtype {expected}, found {}", view.dtype())))
}

/// f32 `[N, 3, H, W]` in 0..1 to u8 `[N, H, W, 3]`.
fn to_bytes(file: &Path, offset: u64, data: &[u8], [count, height, width]: [usize; 3]) -> Result<Vec<u8>> {
    let plane = height * width;
    let mut pixels = vec![0u8; count * plane * 3];
    let mut problems = Problems::default();
    for (image, (planes, rgb)) in
        data.chunks_exact(plane * 12).zip(pixels.chunks_exact_mut(plane * 3)).enumerate()
    {
        let mut bad = None;
        for (position, bytes) in planes.chunks_exact(4).enumerate() {
            let value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            if (0.0..=1.0).contains(&value) {
                rgb[position % plane * 3 + position / plane] = (value * 255.0).round() as u8;
            } else {
                bad.get_or_insert((position, value));
            }
        }
        if let Some((position, value)) = bad {
            let (channel, y, x) = (position / plane, position % plane / width, position % width);
            let hint = if (0.0..=255.0).contains(&value) { "; divide by 255?" } else { "" };
            problems.push(Problem::new(
                at(file, offset + ((image * plane * 3 + position) * 4) as u64),
                format!(
                    "image {image}: expected pixels from 0 to 1, found {value} at channel {channel}, row {y}, \
                     column {x}{hint}"
                ),
            ));
        }
    }
    problems.into_result()?;
    Ok(pixels)
}

fn labels(file: &Path, name: &str, view: &TensorView, offset: u64, count: usize) -> Result<Labels> {
    check_type(file, name, view, Dtype::I64)?;
    if view.shape() != [count] {
        return Err(Error::data(
            at(file, offset),
            format!("{name}: expected shape [{count}], one label an image, found {:?}", view.shape()),
        ));
    }
    let mut values = Vec::with_capacity(count);
    let mut problems = Problems::default();
    for (index, bytes) in view.data().chunks_exact(8).enumerate() {
        let value = i64::from_le_bytes(std::array::from_fn(|byte| bytes[byte]));
        if (0..MOST_CLASSES).contains(&value) {
            values.push(value as u32);
        } else {
            problems.push(Problem::new(
                at(file, offset + 8 * index as u64),
                format!("image {index}: expected a {name} from 0 to {}, found {value}", MOST_CLASSES - 1),
            ));
        }
    }
    problems.into_result()?;
    let classes = values.iter().max().map_or(0, |&most| most + 1);
    Ok(Labels { values, names: (0..classes).map(|class| class.to_string()).collect() })
}
