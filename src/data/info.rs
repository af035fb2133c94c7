//! What a data set holds, as numbers.

use serde::Serialize;

use super::image_set::{ImageSet, Labels, Normalization};

/// Images of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    pub name: String,
    pub images: usize,
}

/// Summary of an [`ImageSet`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    pub name: String,
    pub images: usize,
    pub width: usize,
    pub height: usize,
    /// Images of each target class, in class order.
    pub target: Option<Vec<ClassCount>>,
    /// Images of each attribute class, in class order.
    pub attribute: Option<Vec<ClassCount>>,
    /// Images of each target class (rows) and attribute class (columns).
    pub target_by_attribute: Option<Vec<Vec<usize>>>,
    /// Images whose pixels equal those of an earlier image.
    pub exact_duplicates: usize,
    pub normalization: Normalization,
    /// See [`ImageSet::content_hash`].
    pub content_hash: String,
    pub source_hash: String,
    pub notes: Vec<String>,
}

/// Counts, classes, attributes, image size, hashes and exact duplicates of a set.
pub fn info(set: &ImageSet) -> Info {
    let mut hashes = set.pixel_hashes();
    hashes.sort_unstable();
    hashes.dedup();
    let joint = set.target.as_ref().zip(set.attribute.as_ref()).map(|(target, attribute)| {
        let mut counts = vec![vec![0; attribute.classes()]; target.classes()];
        for (&t, &a) in target.values.iter().zip(&attribute.values) {
            counts[t as usize][a as usize] += 1;
        }
        counts
    });
    Info {
        name: set.name.clone(),
        images: set.len(),
        width: set.width,
        height: set.height,
        target: set.target.as_ref().map(counted),
        attribute: set.attribute.as_ref().map(counted),
        target_by_attribute: joint,
        exact_duplicates: set.len() - hashes.len(),
        normalization: set.normalization(),
        content_hash: set.content_hash(),
        source_hash: set.source_hash.clone(),
        notes: set.notes.clone(),
    }
}

fn counted(labels: &Labels) -> Vec<ClassCount> {
    let named = labels.names.iter().zip(labels.counts());
    named.map(|(name, images)| ClassCount { name: name.clone(), images }).collect()
}
