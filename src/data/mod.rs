//! Images and who is a member: readers of data sets on disk, a generator of faces, splits.
//!
//! [`open`] turns a data SPEC ([`spec`]) into an [`ImageSet`]: u8 RGB images of one size, labels, hashes.
//! [`open_images`] gives the same images as a source that decodes them on demand ([`Images`]), for sets of any size.
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
pub mod images;
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
pub mod stream;
pub mod survey;
pub mod tensor;
mod text;
pub mod tiny_imagenet;
pub mod torch_splits;
pub mod utkface;

use rayon::prelude::*;

pub use image_set::{ImageSet, Labels, Normalization};
pub use images::{Chosen, FileFacts, FileFormat, Images};
pub use info::{Info, info};
pub use sheet::export_sheet;
pub use spec::{Source, Spec};
pub use stream::ImageFiles;
pub use survey::{Survey, survey};

use crate::Result;
use file_set::FileSet;
use resize::Fit;
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
    let drawn = Selection::of(spec);
    // Which pixels are the same is known only when all are there.
    let first = if spec.unique { Selection::default() } else { drawn };
    let set = find(&spec.source, &first, spec.fit)?.decode(&first, spec.fit)?;
    if spec.unique { drawn.apply(without_duplicates(set)?) } else { Ok(set) }
}

/// The data set that a SPEC names, of any size: where its images are files only their names and labels are
/// kept in memory, and pixels are decoded on demand. The images are those of [`open`], bit for bit.
///
/// # Errors
/// As [`open`], but a file that cannot be decoded is found when it is read, unless `skip-bad` or `unique` decode
/// every file at once.
pub fn open_images(spec: &str) -> Result<Box<dyn Images>> {
    open_images_of(&spec.parse()?)
}

/// [`open_images`] of a parsed SPEC.
pub fn open_images_of(spec: &Spec) -> Result<Box<dyn Images>> {
    let drawn = Selection::of(spec);
    let first = if spec.unique { Selection::default() } else { drawn };
    match find(&spec.source, &first, spec.fit)? {
        Found::Files(files) => Ok(Box::new(files.open(&drawn, spec.fit, spec.unique)?)),
        found => {
            let set = found.decode(&first, spec.fit)?;
            Ok(Box::new(if spec.unique { drawn.apply(without_duplicates(set)?)? } else { set }))
        }
    }
}

/// What stands at a source.
enum Found {
    /// Image files, none of them read.
    Files(FileSet),
    /// The whole set as it is.
    Whole(ImageSet),
    /// What the selection keeps, brought to size.
    Selected(ImageSet),
}

fn find(source: &Source, selection: &Selection, fit: Fit) -> Result<Found> {
    Ok(match source {
        Source::Folder { folder, images } => Found::Files(folder::files(folder, *images)?),
        Source::Csv { file, options } => Found::Files(csv_labels::files(file, options)?),
        Source::TinyImagenet { folder, part } => Found::Files(tiny_imagenet::files(folder, *part)?),
        Source::UtkFace { folder, images } => Found::Files(utkface::files(folder, *images)?),
        Source::Celeba { folder, options } => Found::Files(celeba::files(folder, options)?),
        Source::Places365 { folder, images } => Found::Files(places365::files(folder, images)?),
        Source::Stl10 { folder, part } => Found::Selected(stl10::read(folder, *part, selection, fit)?),
        Source::Cifar10 { folder, part } => Found::Whole(cifar::read_cifar10(folder, *part)?),
        Source::Cifar100 { folder, part } => Found::Whole(cifar::read_cifar100(folder, *part)?),
        Source::FashionMnist { folder, part } => {
            Found::Whole(idx::read(idx::IdxSet::FashionMnist, folder, *part)?)
        }
        Source::Mnist { folder, part } => Found::Whole(idx::read(idx::IdxSet::Mnist, folder, *part)?),
        Source::Tensor { file } => Found::Whole(tensor::read(file)?),
        Source::SyntheticFaces(options) => Found::Whole(faces::generate(options)?),
    })
}

impl Found {
    /// The selected images in memory, brought to size.
    fn decode(self, selection: &Selection, fit: Fit) -> Result<ImageSet> {
        match self {
            Found::Files(files) => files.decode(selection, fit),
            Found::Whole(set) => Ok(fitted(selection.apply(set)?, fit)),
            Found::Selected(set) => Ok(set),
        }
    }
}

/// The images whose pixels no earlier image has; how many were left out stands in the notes.
fn without_duplicates(set: ImageSet) -> Result<ImageSet> {
    let mut seen = std::collections::BTreeSet::new();
    let hashes = set.pixel_hashes();
    let kept: Vec<usize> =
        hashes.into_iter().enumerate().filter(|(_, hash)| seen.insert(*hash)).map(|(i, _)| i).collect();
    let removed = set.len() - kept.len();
    let mut set = set.subset(&kept)?;
    set.notes.extend(duplicates_note(removed));
    Ok(set)
}

/// The sentence of a report that counts the images left out as duplicates.
fn duplicates_note(removed: usize) -> Option<String> {
    (removed > 0).then(|| format!("{removed} images have the pixels of an earlier image and were left out"))
}

/// Every image of the set resized to `size` x `size` ([`resize::resize_bilinear`]); `size` is at least 1.
pub fn resized(set: ImageSet, size: usize) -> ImageSet {
    fitted(set, Fit::Stretch(size))
}

/// Every image of the set brought to size.
fn fitted(set: ImageSet, fit: Fit) -> ImageSet {
    let from = (set.width, set.height);
    if fit == Fit::AsIs || fit == Fit::Stretch(set.width) && set.width == set.height {
        return set;
    }
    let images: Vec<_> =
        set.pixels.par_chunks_exact(set.image_bytes()).map(|image| fit.apply(image, from)).collect();
    let pixels = images.concat();
    let (width, height) = fit.extents(from);
    ImageSet { pixels, width, height, ..set }
}
