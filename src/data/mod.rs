//! Images and who is a member: readers of data sets on disk, a generator of faces, splits.
//!
//! [`open`] turns a data SPEC ([`spec`]) into an [`ImageSet`]: u8 RGB images of one size, labels, hashes.
//! [`splits`] draws disjoint members and non-members; [`info()`] and [`sheet`] show what a set holds. This
//! room knows nothing of models or of the GPU. What it refuses, it refuses with the file, the position, what
//! was expected and what was found.

pub mod celeba;
pub mod cifar;
pub mod csv_labels;
pub mod decode;
pub mod duplicates;
pub mod faces;
mod file_set;
pub mod folder;
pub mod idx;
pub mod image_set;
pub mod index_list;
pub mod info;
mod missing;
pub mod places365;
pub mod problems;
pub mod resize;
pub mod select;
pub mod sheet;
pub mod spec;
pub mod splits;
pub mod stl10;
pub mod tensor;
mod text;
pub mod tiny_imagenet;
pub mod torch_splits;
pub mod utkface;

use rayon::prelude::*;

pub use image_set::{ImageSet, Labels, Normalization};
pub use info::{Info, info};
pub use sheet::export_sheet;
pub use spec::{Source, Spec};

use crate::Result;
use select::Selection;

/// Reads the data set that a SPEC names, for example `fashion-mnist:DIR#part=test,take=0..100`.
///
/// # Errors
/// [`Error::Usage`](crate::Error::Usage) for a SPEC that is not understood, otherwise what is wrong with the
/// files: [`Error::Data`](crate::Error::Data) or [`Error::Io`](crate::Error::Io), naming file and position.
pub fn open(spec: &str) -> Result<ImageSet> {
    open_spec(&spec.parse()?)
}

/// [`open`] of a parsed SPEC.
pub fn open_spec(spec: &Spec) -> Result<ImageSet> {
    if spec.unique {
        // Which pixels are the same is known only when all are there.
        let whole = Spec { unique: false, quarter: None, shuffle: None, take: None, ..spec.clone() };
        return Selection::of(spec).apply(without_duplicates(open_spec(&whole)?)?);
    }
    let selection = Selection::of(spec);
    let size = spec.size;
    let set = match &spec.source {
        // These read only what is selected.
        Source::Folder { folder, images } => return folder::read(folder, *images, &selection, size),
        Source::Csv { file, options } => return csv_labels::read(file, options, &selection, size),
        Source::Stl10 { folder, part } => return stl10::read(folder, *part, &selection, size),
        Source::TinyImagenet { folder, part } => return tiny_imagenet::read(folder, *part, &selection, size),
        Source::UtkFace { folder, images } => return utkface::read(folder, *images, &selection, size),
        Source::Celeba { folder, options } => return celeba::read(folder, options, &selection, size),
        Source::Places365 { folder, images } => return places365::read(folder, images, &selection, size),
        Source::Cifar10 { folder, part } => cifar::read_cifar10(folder, *part)?,
        Source::Cifar100 { folder, part } => cifar::read_cifar100(folder, *part)?,
        Source::FashionMnist { folder, part } => idx::read(idx::IdxSet::FashionMnist, folder, *part)?,
        Source::Mnist { folder, part } => idx::read(idx::IdxSet::Mnist, folder, *part)?,
        Source::Tensor { file } => tensor::read(file)?,
        Source::SyntheticFaces(options) => faces::generate(options)?,
    };
    let set = selection.apply(set)?;
    Ok(match size {
        Some(size) => resized(set, size),
        None => set,
    })
}

/// The images whose pixels no earlier image has; how many were left out stands in the notes.
fn without_duplicates(set: ImageSet) -> Result<ImageSet> {
    let mut seen = std::collections::BTreeSet::new();
    let hashes = set.pixel_hashes();
    let kept: Vec<usize> =
        hashes.into_iter().enumerate().filter(|(_, hash)| seen.insert(*hash)).map(|(i, _)| i).collect();
    let removed = set.len() - kept.len();
    let mut set = set.subset(&kept)?;
    if removed > 0 {
        set.notes.push(format!("{removed} images have the pixels of an earlier image and were left out"));
    }
    Ok(set)
}

/// Every image of the set resized to `size` x `size` ([`resize::resize_bilinear`]); `size` is at least 1.
pub fn resized(set: ImageSet, size: usize) -> ImageSet {
    if (set.width, set.height) == (size, size) {
        return set;
    }
    let from = (set.width, set.height);
    let images: Vec<Vec<u8>> = set
        .pixels
        .par_chunks_exact(set.image_bytes())
        .map(|image| resize::resize_bilinear(image, from, (size, size)))
        .collect();
    ImageSet { pixels: images.concat(), width: size, height: size, ..set }
}
