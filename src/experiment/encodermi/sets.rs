//! The four image sets of an audit, made disjoint by pixels.

use crate::data::{ImageSet, Images};
use crate::experiment::report::{DataPart, DataSummary};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The four sets of the pipeline (EncoderMI, section 4), disjoint by pixels.
pub struct Sets {
    pub members: ImageSet,
    pub non_members: ImageSet,
    pub shadow_members: ImageSet,
    pub shadow_non_members: ImageSet,
    /// Images removed because their pixels are those of an image of an earlier set.
    pub duplicates_removed: u64,
}

/// Names of the sets, in the order in which duplicates are looked for.
pub const ROLES: [&str; 4] = ["members", "non-members", "shadow members", "shadow non-members"];

/// Of sets with the hash of each image's pixels, in the order of [`ROLES`]: the images of each that no earlier set has,
/// and how many were removed. An image that stands twice in one set stays.
///
/// # Errors
/// An image that stands in two sets under one name: the sets overlap, which is a mistake and not a duplicate. A set of
/// which nothing is left.
pub fn disjoint(sets: &[(&dyn Images, &[[u8; 32]])]) -> Result<(Vec<Vec<usize>>, u64)> {
    let mut seen: BTreeMap<[u8; 32], (usize, BTreeSet<&str>)> = BTreeMap::new();
    let (mut kept, mut removed) = (Vec::new(), 0);
    for (role, (set, hashes)) in sets.iter().enumerate() {
        let mut here = Vec::new();
        for (index, hash) in hashes.iter().enumerate() {
            let id = set.id(index);
            match seen.get_mut(hash) {
                Some((other, ids)) if *other != role && ids.contains(id) => {
                    return Err(Error::usage(format!(
                        "{} and {} overlap: both hold {id}; use disjoint parts, e.g. #shuffle=1,take=0..500 and #shuffle=1,take=500..1000",
                        ROLES[*other], ROLES[role]
                    )));
                }
                Some((other, _)) if *other != role => removed += 1,
                Some((_, ids)) => {
                    ids.insert(id);
                    here.push(index);
                }
                None => {
                    seen.insert(*hash, (role, [id].into()));
                    here.push(index);
                }
            }
        }
        if here.is_empty() {
            return Err(Error::usage(format!("{}: no image is left after removing duplicates", ROLES[role])));
        }
        kept.push(here);
    }
    Ok((kept, removed))
}

impl Sets {
    /// Makes the sets disjoint: an image whose pixels an earlier set has is removed and counted.
    ///
    /// # Errors
    /// An image that stands in two sets under one name: the sets overlap, which is a mistake and not a duplicate.
    /// Sets that are empty, or of different image sizes.
    pub fn new(sets: [ImageSet; 4]) -> Result<Sets> {
        let size = (sets[0].width, sets[0].height);
        for (role, set) in ROLES.iter().zip(&sets) {
            if (set.width, set.height) != size {
                return Err(Error::usage(format!(
                    "{role}: expected images of {}x{} like the members, found {}x{}; add #size=S to make them equal",
                    size.0, size.1, set.width, set.height
                )));
            }
        }
        let hashes = sets.each_ref().map(ImageSet::pixel_hashes);
        let hashed: Vec<(&dyn Images, &[[u8; 32]])> =
            sets.iter().zip(&hashes).map(|(set, hashes)| (set as &dyn Images, &hashes[..])).collect();
        let (left, removed) = disjoint(&hashed)?;
        let kept: Vec<ImageSet> =
            sets.iter().zip(left).map(|(set, left)| set.subset(&left)).collect::<Result<_>>()?;
        let [members, non_members, shadow_members, shadow_non_members] =
            <[ImageSet; 4]>::try_from(kept).map_err(|_| Error::shape("sets: expected four"))?;
        Ok(Sets { members, non_members, shadow_members, shadow_non_members, duplicates_removed: removed })
    }

    fn all(&self) -> [(&'static str, &ImageSet); 4] {
        [
            (ROLES[0], &self.members),
            (ROLES[1], &self.non_members),
            (ROLES[2], &self.shadow_members),
            (ROLES[3], &self.shadow_non_members),
        ]
    }

    /// What the report says of the data.
    pub fn summary(&self) -> DataSummary {
        DataSummary {
            name: self.members.name.clone(),
            image_size: Some([self.members.height as u64, self.members.width as u64]),
            content_hash: None,
            parts: self
                .all()
                .map(|(role, set)| DataPart {
                    role: role.into(),
                    count: set.len() as u64,
                    sha256: set.content_hash(),
                })
                .to_vec(),
            duplicates_removed: self.duplicates_removed,
            near_duplicates: None,
            files_skipped: 0,
        }
    }
}
