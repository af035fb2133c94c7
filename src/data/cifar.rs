//! CIFAR-10 and CIFAR-100, binary version: records of one or two label bytes and 3,072 bytes of R, G and B
//! planes, 32x32 each.

use std::path::Path;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::image_set::{ImageSet, Labels, Normalization, hex};
use super::missing::expected_files;
use super::problems::{Problem, Problems, at};
use super::spec::Part;
use crate::{Error, Result};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// One label byte of a record.
struct Label {
    classes: usize,
    /// File with a name a line, optional.
    names: &'static str,
}

/// What tells one CIFAR from the other.
struct Layout {
    name: &'static str,
    folder: &'static str,
    labels: &'static [Label],
    train: &'static [&'static str],
    test: &'static [&'static str],
    train_records: usize,
    test_records: usize,
    normalization: Normalization,
}

const CIFAR10: Layout = Layout {
    name: "cifar10",
    folder: "cifar-10-batches-bin",
    labels: &[Label { classes: 10, names: "batches.meta.txt" }],
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    train_records: 10_000,
    test_records: 10_000,
    normalization: Normalization { mean: [0.4914, 0.4822, 0.4465], std: [0.2023, 0.1994, 0.2010] },
};

const CIFAR100: Layout = Layout {
    name: "cifar100",
    folder: "cifar-100-binary",
    labels: &[
        Label { classes: 20, names: "coarse_label_names.txt" },
        Label { classes: 100, names: "fine_label_names.txt" },
    ],
    train: &["train.bin"],
    test: &["test.bin"],
    train_records: 50_000,
    test_records: 10_000,
    normalization: Normalization { mean: [0.5071, 0.4865, 0.4409], std: [0.2673, 0.2564, 0.2762] },
};

/// CIFAR-10 from `folder` or `folder/cifar-10-batches-bin`: train in file order, then test.
///
/// # Errors
/// [`Error::Data`] naming file and offset: missing files (the Python version and archives are recognised),
/// a size other than 30,730,000 bytes, labels above 9.
pub fn read_cifar10(folder: &Path, part: Part) -> Result<ImageSet> {
    read(&CIFAR10, folder, part)
}

/// CIFAR-100 from `folder` or `folder/cifar-100-binary`: the fine label (100) is the target, the coarse one
/// (20) the attribute. Errors as for [`read_cifar10`].
pub fn read_cifar100(folder: &Path, part: Part) -> Result<ImageSet> {
    read(&CIFAR100, folder, part)
}

fn read(layout: &Layout, folder: &Path, part: Part) -> Result<ImageSet> {
    let mut batches: Vec<(&str, &str, usize)> = Vec::new();
    if part.train() {
        batches.extend(layout.train.iter().map(|name| (*name, "train", layout.train_records)));
    }
    if part.test() {
        batches.extend(layout.test.iter().map(|name| (*name, "test", layout.test_records)));
    }
    let names: Vec<String> = batches.iter().map(|(name, ..)| name.to_string()).collect();
    let folders = [folder.join(layout.folder), folder.to_path_buf()];
    let files = expected_files(folder, &folders, &names, &[""])?;

    let record = layout.labels.len() + 3 * PLANE;
    let images = batches.iter().map(|(.., records)| records).sum::<usize>();
    let mut pixels = Vec::with_capacity(images * 3 * PLANE);
    let mut labels: Vec<Vec<u32>> = vec![Vec::with_capacity(images); layout.labels.len()];
    let mut ids: Vec<String> = Vec::with_capacity(images);
    let mut hash = Sha256::new();
    for ((_, id, records), file) in batches.iter().zip(&files) {
        let bytes = std::fs::read(file).map_err(|error| Error::io(file, error))?;
        check_size(file, bytes.len(), records * record, record)?;
        check_labels(file, &bytes, record, layout)?;
        hash.update(Sha256::digest(&bytes));
        let start = pixels.len();
        pixels.resize(start + records * 3 * PLANE, 0);
        pixels[start..].par_chunks_exact_mut(3 * PLANE).zip(bytes.par_chunks_exact(record)).for_each(
            |(image, record)| {
                let planes = &record[layout.labels.len()..];
                for (position, pixel) in image.chunks_exact_mut(3).enumerate() {
                    for (channel, value) in pixel.iter_mut().enumerate() {
                        *value = planes[channel * PLANE + position];
                    }
                }
            },
        );
        for (byte, values) in labels.iter_mut().enumerate() {
            values.extend(bytes.chunks_exact(record).map(|record| u32::from(record[byte])));
        }
        let before = ids.iter().filter(|known| known.starts_with(id)).count();
        ids.extend((before..before + records).map(|index| format!("{id}/{index}")));
    }

    let folder = files[0].parent().unwrap_or(folder);
    let mut named = Vec::new();
    for (label, values) in layout.labels.iter().zip(labels) {
        named.push(Labels { values, names: class_names(&folder.join(label.names), label.classes)? });
    }
    let target = named.pop();
    ImageSet {
        name: layout.name.into(),
        width: SIDE,
        height: SIDE,
        pixels,
        ids,
        target,
        attribute: named.pop(),
        source_hash: hex(&hash.finalize()),
        published_normalization: Some(layout.normalization),
        notes: Vec::new(),
    }
    .checked()
}

fn check_size(file: &Path, found: usize, expected: usize, record: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let incomplete = found.min(expected) / record * record;
    Err(Error::data(
        at(file, incomplete as u64),
        format!(
            "expected {expected} bytes (records of {record} bytes), found {found} bytes; {}",
            if found < expected {
                format!("the first incomplete record starts at byte {incomplete}: copy the file again")
            } else {
                "is it another data set's file?".into()
            }
        ),
    ))
}

fn check_labels(file: &Path, bytes: &[u8], record: usize, layout: &Layout) -> Result<()> {
    let mut problems = Problems::default();
    for (index, bytes) in bytes.chunks_exact(record).enumerate() {
        for (byte, label) in layout.labels.iter().enumerate() {
            if usize::from(bytes[byte]) >= label.classes {
                problems.push(Problem::new(
                    at(file, (index * record + byte) as u64),
                    format!("expected a label from 0 to {}, found {}", label.classes - 1, bytes[byte]),
                ));
            }
        }
    }
    problems.into_result()
}

/// Names from the optional file, or the class numbers.
pub(super) fn class_names(file: &Path, classes: usize) -> Result<Vec<String>> {
    if !file.exists() {
        return Ok((0..classes).map(|class| class.to_string()).collect());
    }
    let text = std::fs::read_to_string(file).map_err(|error| Error::io(file, error))?;
    let names: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if names.len() != classes {
        return Err(Error::data(
            file.display(),
            format!("expected {classes} names, one a line, found {}", names.len()),
        ));
    }
    Ok(names)
}
