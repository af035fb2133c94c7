//! STL-10, binary version: 96x96 images as R, G and B planes in column-major order, labels 1 to 10 in files
//! of their own. Images are read one record at a time, so that a part of the 2.7 GB of unlabelled images
//! takes memory for that part alone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::cifar::class_names;
use super::image_set::{ImageSet, Labels, Normalization, hex};
use super::missing::expected_files;
use super::problems::{Problem, Problems, at};
use super::resize::Fit;
use super::select::Selection;
use crate::{Error, Result};

const SIDE: usize = 96;
const PLANE: usize = SIDE * SIDE;
const RECORD: usize = 3 * PLANE;
const CLASSES: usize = 10;
/// Images that one task reads with one open file.
const BATCH: usize = 64;
const NORMALIZATION: Normalization = Normalization {
    mean: [0.440_877_98, 0.427_906_66, 0.386_788_14],
    std: [0.255_071_98, 0.248_015_06, 0.256_413_08],
};

/// Which images of STL-10 are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stl10Part {
    Train,
    Test,
    /// The 100,000 images without labels, which also show things outside the ten classes.
    Unlabeled,
    /// Train, then test.
    #[default]
    All,
}

/// One pair of files, or the unlabelled file alone.
struct Shard {
    prefix: &'static str,
    images: PathBuf,
    count: usize,
    /// None for unlabelled images.
    labels: Option<Vec<u32>>,
}

/// Reads the selected images from `folder` or `folder/stl10_binary`, brought to size as `fit`
/// says. The unlabelled part has no target. The source hash covers the records read and the label files.
///
/// # Errors
/// [`Error::Data`] naming file and offset: missing files (archives and the MATLAB version are recognised), a
/// size that is no multiple of 27,648 bytes, image and label counts that differ, a label outside 1 to 10.
pub fn read(folder: &Path, part: Stl10Part, selection: &Selection, fit: Fit) -> Result<ImageSet> {
    // Prefix, published number of images, whether there are labels.
    let parts: &[(&'static str, usize, bool)] = match part {
        Stl10Part::Train => &[("train", 5_000, true)],
        Stl10Part::Test => &[("test", 8_000, true)],
        Stl10Part::Unlabeled => &[("unlabeled", 100_000, false)],
        Stl10Part::All => &[("train", 5_000, true), ("test", 8_000, true)],
    };
    let names: Vec<String> = parts
        .iter()
        .flat_map(|&(prefix, _, labelled)| {
            let endings: &[&str] = if labelled { &["X", "y"] } else { &["X"] };
            endings.iter().map(move |ending| format!("{prefix}_{ending}.bin"))
        })
        .collect();
    let folders = [folder.join("stl10_binary"), folder.to_path_buf()];
    let files = expected_files(folder, &folders, &names, &[""])?;

    let (mut shards, mut notes) = (Vec::new(), Vec::new());
    let mut hash = Sha256::new();
    let mut paths = files.iter();
    for &(prefix, published, labelled) in parts {
        let Some(images) = paths.next() else { break };
        let count = count_records(images)?;
        if count != published {
            notes.push(format!("{prefix}_X.bin holds {count} images, {published} as published"));
        }
        let labels = match paths.next().filter(|_| labelled) {
            Some(file) => Some(read_labels(file, images, count, &mut hash)?),
            None => None,
        };
        shards.push(Shard { prefix, images: images.clone(), count, labels });
    }

    let total = shards.iter().map(|shard| shard.count).sum();
    let order: Vec<(&Shard, usize)> = selection
        .indices("stl10", total)?
        .into_iter()
        .map(|position| match shards.first() {
            Some(first) if position >= first.count && shards.len() > 1 => {
                (&shards[1], position - first.count)
            }
            _ => (&shards[0], position),
        })
        .collect();
    let side = fit.side().unwrap_or(SIDE);
    let mut pixels = vec![0; order.len() * side * side * 3];
    let digests: Vec<Result<Vec<[u8; 32]>>> = pixels
        .par_chunks_mut(BATCH * side * side * 3)
        .zip(order.par_chunks(BATCH))
        .map(|(images, records)| read_records(records, fit, images))
        .collect();
    for digest in digests.into_iter().collect::<Result<Vec<_>>>()?.concat() {
        hash.update(digest);
    }
    let values: Option<Vec<u32>> =
        order.iter().map(|(shard, number)| shard.labels.as_ref().map(|labels| labels[*number])).collect();
    let folder = files[0].parent().unwrap_or(folder);
    let names = class_names(&folder.join("class_names.txt"), CLASSES)?;
    ImageSet {
        name: "stl10".into(),
        width: side,
        height: side,
        pixels,
        ids: order.iter().map(|(shard, number)| format!("{}/{number}", shard.prefix)).collect(),
        target: values.map(|values| Labels { values, names }),
        attribute: None,
        source_hash: hex(&hash.finalize()),
        published_normalization: Some(NORMALIZATION),
        notes,
    }
    .checked()
}

fn count_records(file: &Path) -> Result<usize> {
    let bytes = std::fs::metadata(file).map_err(|error| Error::io(file, error))?.len();
    let (count, rest) = (bytes / RECORD as u64, bytes % RECORD as u64);
    if rest != 0 {
        return Err(Error::data(
            at(file, count * RECORD as u64),
            format!(
                "expected a multiple of {RECORD} bytes (one image each), found {bytes} bytes: {rest} left over \
                 after {count} images; copy the file again"
            ),
        ));
    }
    Ok(count as usize)
}

/// Labels from 0.
fn read_labels(file: &Path, images: &Path, count: usize, hash: &mut Sha256) -> Result<Vec<u32>> {
    let bytes = std::fs::read(file).map_err(|error| Error::io(file, error))?;
    if bytes.len() != count {
        return Err(Error::data(
            file.display(),
            format!(
                "expected {count} labels, one for each of the {count} images of {}, found {}",
                images.display(),
                bytes.len()
            ),
        ));
    }
    let mut problems = Problems::default();
    for (offset, &label) in bytes.iter().enumerate() {
        if !(1..=CLASSES).contains(&usize::from(label)) {
            problems.push(Problem::new(
                at(file, offset as u64),
                format!("expected a label from 1 to {CLASSES}, found {label}"),
            ));
        }
    }
    problems.into_result()?;
    hash.update(Sha256::digest(&bytes));
    Ok(bytes.iter().map(|&label| u32::from(label) - 1).collect())
}

/// Reads records into `images`, u8 `[records, H, W, 3]` as `fit` makes them; the SHA-256 of each as it stands on disk.
fn read_records(records: &[(&Shard, usize)], fit: Fit, images: &mut [u8]) -> Result<Vec<[u8; 32]>> {
    let mut open: Option<(&Path, File)> = None;
    let mut record = vec![0; RECORD];
    let mut image = vec![0; RECORD];
    let mut digests = Vec::with_capacity(records.len());
    let (width, height) = fit.extents((SIDE, SIDE));
    for (&(shard, number), out) in records.iter().zip(images.chunks_exact_mut(width * height * 3)) {
        let path = shard.images.as_path();
        let fail = |error| Error::io(path, error);
        let file = match &mut open {
            Some((current, file)) if *current == path => file,
            slot => &mut slot.insert((path, File::open(path).map_err(fail)?)).1,
        };
        file.seek(SeekFrom::Start(number as u64 * RECORD as u64)).map_err(fail)?;
        file.read_exact(&mut record).map_err(fail)?;
        digests.push(Sha256::digest(&record).into());
        for (channel, plane) in record.chunks_exact(PLANE).enumerate() {
            for (x, column) in plane.chunks_exact(SIDE).enumerate() {
                for (y, &value) in column.iter().enumerate() {
                    image[(y * SIDE + x) * 3 + channel] = value;
                }
            }
        }
        out.copy_from_slice(&fit.apply(&image[..], (SIDE, SIDE)));
    }
    Ok(digests)
}
