//! `quarter=1..4`, `shuffle=SEED` and `take=A..B`: which images of a data set are kept, and in which order.

use super::decode::{DecodedFiles, ImageFile, decode_all};
use super::folder::skipped_note;
use super::image_set::ImageSet;
use super::resize::Fit;
use super::spec::{ImageOptions, Spec};
use super::splits::{Permutation, quarters, shuffled, subset_quarters};
use crate::{Error, Result};

/// Splits use the permutations 0 and 1 of a seed: a shuffle with the seed of a split is not that split.
const SHUFFLE_NUMBER: u32 = 2;

/// One quarter of a pool, cut as He & Zhang (CCS 2021) cut theirs ([`quarters`], [`subset_quarters`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quarter {
    pub name: QuarterName,
    pub permutation: Permutation,
    /// Images drawn from the pool before it is cut; the whole pool without it.
    pub subset: Option<usize>,
}

/// What the four quarters are for, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuarterName {
    TargetTrain,
    TargetTest,
    ShadowTrain,
    ShadowTest,
}

impl Quarter {
    /// Positions of the quarter in a pool of `images`, in drawn order.
    ///
    /// # Errors
    /// [`Error::Data`] when the pool is too small: the set, how many are needed, how many there are.
    pub fn indices(&self, name: &str, images: usize) -> Result<Vec<usize>> {
        let needed = self.subset.unwrap_or(4).max(4);
        if images < needed {
            return Err(Error::data(
                name,
                format!("expected at least {needed} images to cut in quarters, found {images}"),
            ));
        }
        let cut = match self.subset {
            Some(subset) => subset_quarters(images, subset, self.permutation)?,
            None => quarters(images, self.permutation)?,
        };
        Ok(match self.name {
            QuarterName::TargetTrain => cut.target_train,
            QuarterName::TargetTest => cut.target_test,
            QuarterName::ShadowTrain => cut.shadow_train,
            QuarterName::ShadowTest => cut.shadow_test,
        })
    }
}

/// The part of a [`Spec`] that selects: a quarter of the pool, shuffled, of which some are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selection {
    pub quarter: Option<Quarter>,
    pub shuffle: Option<u64>,
    pub take: Option<(usize, Option<usize>)>,
}

/// Selected files, decoded.
pub struct SelectedFiles {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
    /// Positions in the full list, in the order of `pixels`.
    pub kept: Vec<usize>,
    pub hash: [u8; 32],
    pub notes: Vec<String>,
}

impl Selection {
    pub fn of(spec: &Spec) -> Selection {
        Selection { quarter: spec.quarter, shuffle: spec.shuffle, take: spec.take }
    }

    /// Positions kept of `images`, in the order in which they are kept.
    ///
    /// # Errors
    /// [`Error::Data`] when `take` reaches past the last image, or there are too few for quarters: the set, how
    /// many are needed, how many there are.
    pub fn indices(&self, name: &str, images: usize) -> Result<Vec<usize>> {
        let mut order = match &self.quarter {
            Some(quarter) => quarter.indices(name, images)?,
            None => (0..images).collect(),
        };
        let images = order.len();
        if let Some(seed) = self.shuffle {
            order = shuffled(images, seed, SHUFFLE_NUMBER)?.into_iter().map(|place| order[place]).collect();
        }
        let Some((start, end)) = self.take else { return Ok(order) };
        let end = end.unwrap_or(images);
        match order.get(start..end) {
            Some(taken) if !taken.is_empty() => Ok(taken.to_vec()),
            _ => Err(Error::data(
                name,
                format!(
                    "expected at least {} images for take={start}..{end}, found {images}",
                    end.max(start + 1)
                ),
            )),
        }
    }

    /// The selected images of a set that is already in memory.
    pub fn apply(&self, set: ImageSet) -> Result<ImageSet> {
        if *self == Selection::default() {
            return Ok(set);
        }
        set.subset(&self.indices(&set.name, set.len())?)
    }

    /// Decodes the selected files only; with `skip-bad` all of them, so that bad ones are out before anything
    /// is selected.
    pub fn decode(
        &self,
        name: &str,
        files: &[ImageFile],
        options: ImageOptions,
        fit: Fit,
    ) -> Result<SelectedFiles> {
        if !options.skip_bad {
            let order = self.indices(name, files.len())?;
            let chosen: Vec<ImageFile> = order.iter().map(|&index| files[index].clone()).collect();
            let decoded = decode_all(&chosen, options.alpha, fit, false)?;
            return Ok(selected(decoded, order));
        }
        let decoded = decode_all(files, options.alpha, fit, true)?;
        let order = self.indices(name, decoded.kept.len())?;
        let bytes = decoded.width * decoded.height * 3;
        let pixels =
            order.iter().flat_map(|&i| &decoded.pixels[i * bytes..(i + 1) * bytes]).copied().collect();
        let kept = order.iter().map(|&index| decoded.kept[index]).collect();
        Ok(selected(DecodedFiles { pixels, ..decoded }, kept))
    }
}

fn selected(decoded: DecodedFiles, kept: Vec<usize>) -> SelectedFiles {
    SelectedFiles {
        width: decoded.width,
        height: decoded.height,
        pixels: decoded.pixels,
        kept,
        hash: decoded.hash,
        notes: skipped_note(&decoded.skipped).into_iter().collect(),
    }
}
