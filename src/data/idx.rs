//! MNIST and Fashion-MNIST: IDX files, plain or gzip, 28x28 gray padded with zeros to 32x32 RGB.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::image_set::{ImageSet, Labels, Normalization, hex};
use super::missing::expected_files;
use super::problems::{Problem, Problems, at};
use super::spec::Part;
use crate::{Error, Result};

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;
/// Side of the images on disk, and of what is handed over.
const SIDE: usize = 28;
const PADDED: usize = 32;

/// Which of the two sets that share the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdxSet {
    Mnist,
    FashionMnist,
}

impl IdxSet {
    fn name(self) -> &'static str {
        match self {
            IdxSet::Mnist => "mnist",
            IdxSet::FashionMnist => "fashion-mnist",
        }
    }

    fn classes(self) -> [&'static str; 10] {
        match self {
            IdxSet::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            IdxSet::FashionMnist => [
                "t-shirt/top",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle boot",
            ],
        }
    }

    fn normalization(self) -> Normalization {
        let (mean, std) = match self {
            IdxSet::Mnist => (0.1307, 0.3081),
            IdxSet::FashionMnist => (0.2860, 0.3530),
        };
        Normalization { mean: [mean; 3], std: [std; 3] }
    }
}

/// Reads `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-…` (with or without `.gz`; gzip is
/// told by its first two bytes) from `folder`: train, then test.
///
/// # Errors
/// [`Error::Data`] naming file and offset: wrong magic number, size that differs from the header's, corrupt
/// gzip, counts that differ, a label above 9, images that are not 28x28; files that are missing.
pub fn read(set: IdxSet, folder: &Path, part: Part) -> Result<ImageSet> {
    let prefixes: Vec<(&str, &str)> = [(part.train(), "train", "train"), (part.test(), "t10k", "test")]
        .into_iter()
        .filter_map(|(wanted, prefix, id)| wanted.then_some((prefix, id)))
        .collect();
    let names: Vec<String> = prefixes
        .iter()
        .flat_map(|(prefix, _)| {
            [format!("{prefix}-images-idx3-ubyte"), format!("{prefix}-labels-idx1-ubyte")]
        })
        .collect();
    let files = expected_files(folder, &[folder.to_path_buf()], &names, &["", ".gz"])?;

    let (mut pixels, mut values, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let mut hash = Sha256::new();
    for ((_, id), pair) in prefixes.iter().zip(files.chunks_exact(2)) {
        let images = read_idx(&pair[0], IMAGES_MAGIC, 3, &mut hash)?;
        let labels = read_idx(&pair[1], LABELS_MAGIC, 1, &mut hash)?;
        if images.extents[1..] != [SIDE, SIDE] {
            return Err(Error::data(
                at(&pair[0], 8),
                format!("expected {SIDE} rows and {SIDE} columns, found {:?}", &images.extents[1..]),
            ));
        }
        if images.extents[0] != labels.extents[0] {
            return Err(Error::data(
                at(&pair[1], 4),
                format!(
                    "expected {} labels, one for each image of {}, found {}",
                    images.extents[0],
                    pair[0].display(),
                    labels.extents[0]
                ),
            ));
        }
        check_labels(&pair[1], &labels)?;
        pad(images.body(), &mut pixels);
        values.extend(labels.body().iter().map(|&label| u32::from(label)));
        ids.extend((0..labels.extents[0]).map(|index| format!("{id}/{index}")));
    }
    ImageSet {
        name: set.name().into(),
        width: PADDED,
        height: PADDED,
        pixels,
        ids,
        target: Some(Labels { values, names: set.classes().map(String::from).to_vec() }),
        attribute: None,
        source_hash: hex(&hash.finalize()),
        published_normalization: Some(set.normalization()),
        notes: Vec::new(),
    }
    .checked()
}

/// A decompressed IDX file.
struct Idx {
    bytes: Vec<u8>,
    extents: Vec<usize>,
}

impl Idx {
    fn header(&self) -> usize {
        4 + 4 * self.extents.len()
    }
    fn body(&self) -> &[u8] {
        &self.bytes[self.header()..]
    }
}

fn read_idx(file: &PathBuf, magic: u32, dimensions: usize, hash: &mut Sha256) -> Result<Idx> {
    let raw = std::fs::read(file).map_err(|error| Error::io(file, error))?;
    hash.update(Sha256::digest(&raw));
    let gzip = raw.starts_with(&[0x1f, 0x8b]);
    let header = 4 + 4 * dimensions;
    // The header bounds what is decompressed: one byte more than it promises tells "too long".
    let mut bytes = Vec::new();
    let mut decoder = MultiGzDecoder::new(raw.as_slice());
    let mut fill = |limit: usize, bytes: &mut Vec<u8>| -> Result<()> {
        if !gzip {
            bytes.extend_from_slice(&raw[bytes.len().min(raw.len())..limit.min(raw.len())]);
            return Ok(());
        }
        decoder.by_ref().take((limit - bytes.len()) as u64).read_to_end(bytes).map(|_| ()).map_err(|error| {
            Error::data(
                at(file, 0),
                format!(
                    "expected whole gzip data, found {error} after {} decompressed bytes; unpack or copy the \
                     file again",
                    bytes.len()
                ),
            )
        })
    };
    fill(header, &mut bytes)?;
    if bytes.len() < header {
        return Err(Error::data(
            at(file, bytes.len() as u64),
            format!("expected a header of {header} bytes, found {} bytes in all", bytes.len()),
        ));
    }
    let word = |index: usize| u32::from_be_bytes(std::array::from_fn(|byte| bytes[4 * index + byte]));
    if word(0) != magic {
        return Err(Error::data(
            at(file, 0),
            format!("expected magic number 0x{magic:08x}, found 0x{:08x}", word(0)),
        ));
    }
    let extents: Vec<usize> = (1..=dimensions).map(|index| word(index) as usize).collect();
    let product = extents
        .iter()
        .try_fold(1usize, |product, &extent| product.checked_mul(extent))
        .filter(|&product| product <= 1 << 32)
        .ok_or_else(|| Error::data(at(file, 4), format!("expected a possible size, found {extents:?}")))?;
    fill(header + product + 1, &mut bytes)?;
    if bytes.len() != header + product {
        let found = if bytes.len() > header + product {
            "more".to_string()
        } else {
            format!("{} (truncated)", bytes.len() - header)
        };
        return Err(Error::data(
            at(file, bytes.len().min(header + product) as u64),
            format!("expected {product} bytes after the header ({extents:?}), found {found}"),
        ));
    }
    Ok(Idx { bytes, extents })
}

fn check_labels(file: &Path, labels: &Idx) -> Result<()> {
    let mut problems = Problems::default();
    for (index, &label) in labels.body().iter().enumerate().filter(|(_, label)| **label > 9) {
        let place = at(file, (labels.header() + index) as u64);
        problems.push(Problem::new(place, format!("expected a label from 0 to 9, found {label}")));
    }
    problems.into_result()
}

/// 28x28 gray to 32x32 RGB with a border of 2 zeros.
fn pad(gray: &[u8], rgb: &mut Vec<u8>) {
    const BORDER: usize = (PADDED - SIDE) / 2;
    for image in gray.chunks_exact(SIDE * SIDE) {
        let start = rgb.len();
        rgb.resize(start + PADDED * PADDED * 3, 0);
        for (y, row) in image.chunks_exact(SIDE).enumerate() {
            let at = start + ((y + BORDER) * PADDED + BORDER) * 3;
            for (pixel, &value) in rgb[at..at + SIDE * 3].chunks_exact_mut(3).zip(row) {
                pixel.fill(value);
            }
        }
    }
}
