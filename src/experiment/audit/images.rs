//! The images of an audit: opened as the encoder needs them, looked at once, made disjoint.

use crate::attack::blind::{BlindSettings, FEATURES, describe_image};
use crate::attack::membership::Rows;
use crate::data::duplicates::near_duplicates_of;
use crate::data::image_set::hex;
use crate::data::{self, Chosen, Images, Spec, Survey, survey};
use crate::experiment::encodermi::{ROLES, disjoint};
use crate::experiment::features::Label;
use crate::experiment::pace::Pace;
use crate::experiment::report::{DataPart, DataSummary};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Members and non-members, and those of the shadow encoder where there is one.
pub struct AuditImages {
    sets: Vec<Box<dyn Images>>,
}

/// What was seen of them.
pub(super) struct Surveyed {
    surveys: Vec<Survey>,
    /// Images of each set that no earlier set has.
    kept: Vec<Vec<usize>>,
    duplicates_removed: u64,
}

impl AuditImages {
    /// Opens `specs`, the members' and the non-members' first, and adds `more` behind them.
    ///
    /// # Errors
    /// What cannot be read; images of several sizes.
    pub fn open(specs: &[Spec], more: Vec<Box<dyn Images>>) -> Result<AuditImages> {
        let mut sets = specs.iter().map(data::open_images_of).collect::<Result<Vec<_>>>()?;
        sets.extend(more);
        let Some(size) = sets.first().map(|set| (set.width(), set.height())) else {
            return Err(Error::shape("audit: expected members and non-members"));
        };
        for (role, set) in ROLES.iter().zip(&sets) {
            if (set.width(), set.height()) != size {
                return Err(Error::usage(format!(
                    "{role}: expected images of {}x{} like the members, found {}x{}; add #size=S to make them equal",
                    size.0,
                    size.1,
                    set.width(),
                    set.height()
                )));
            }
        }
        Ok(AuditImages { sets })
    }

    /// The longer side of an image.
    pub fn side(&self) -> usize {
        self.sets[0].width().max(self.sets[0].height())
    }

    /// # Errors
    /// Sets too small for the blind control; sets without the attribute labels that are asked for.
    pub(super) fn check(&self, blind: &BlindSettings, attribute: bool) -> Result<()> {
        let least = self.sets[0].len().min(self.sets[1].len());
        if least < blind.folds {
            return Err(Error::usage(format!(
                "members and non-members: expected at least {} of each, found {} and {}",
                blind.folds,
                self.sets[0].len(),
                self.sets[1].len()
            )));
        }
        if attribute {
            Label::Attribute.of_both(&*self.sets[0], &*self.sets[1])?;
        }
        Ok(())
    }

    /// Sentences about what was left out or changed.
    pub fn notes(&self) -> Vec<String> {
        self.sets.iter().flat_map(|set| set.notes().to_vec()).collect()
    }

    /// Reads every image once. `tell` hears how far it is and says whether to stop.
    ///
    /// # Errors
    /// Images that cannot be decoded; sets that overlap.
    pub(super) fn survey(&self, tell: &mut dyn FnMut(&str) -> bool) -> Result<Surveyed> {
        let mut surveys = Vec::new();
        for (place, (role, set)) in ROLES.iter().zip(&self.sets).enumerate() {
            // The blind control is about the audited images alone.
            let describe = (place < 2).then_some(&describe_image as &crate::data::survey::Describe);
            let mut pace = Pace::new(0, set.len() as u64);
            let mut before = 0;
            surveys.push(survey(&**set, describe, &mut |done| {
                pace.step((done - before) as u64);
                before = done;
                tell(&format!("looking at {role}: {pace}"))
            })?);
        }
        let hashed: Vec<(&dyn Images, &[[u8; 32]])> =
            self.sets.iter().zip(&surveys).map(|(set, s)| (&**set, &s.pixel_hashes[..])).collect();
        let (mut kept, mut duplicates_removed) = disjoint(&hashed)?;
        // A copy in another fold would be judged by what its twin taught.
        for (kept, survey) in kept.iter_mut().zip(&surveys) {
            let mut seen = BTreeSet::new();
            let before = kept.len();
            kept.retain(|&index| seen.insert(survey.pixel_hashes[index]));
            duplicates_removed += (before - kept.len()) as u64;
        }
        Ok(Surveyed { surveys, kept, duplicates_removed })
    }

    /// The images that are left of each set.
    pub(super) fn chosen(&self, surveyed: &Surveyed) -> Result<Vec<Chosen<'_>>> {
        self.sets.iter().zip(&surveyed.kept).map(|(set, kept)| Chosen::new(&**set, kept.clone())).collect()
    }

    /// What the report says of the data.
    pub(super) fn summary(&self, surveyed: &Surveyed, chosen: &[Chosen]) -> DataSummary {
        let names: Vec<&str> = self.sets.iter().take(2).map(|set| set.name()).collect();
        let parts = ROLES.iter().zip(chosen).enumerate().map(|(place, (role, set))| DataPart {
            role: (*role).into(),
            count: set.len() as u64,
            sha256: surveyed.hash_of_kept(place),
        });
        DataSummary {
            name: if names[0] == names[1] { names[0].into() } else { names.join(" and ") },
            image_size: Some([self.sets[0].height() as u64, self.sets[0].width() as u64]),
            content_hash: None,
            parts: parts.collect(),
            duplicates_removed: surveyed.duplicates_removed,
            near_duplicates: Some(near_duplicates_of(
                &surveyed.surveys[0].difference_hashes,
                &surveyed.surveys[1].difference_hashes,
            ) as u64),
            files_skipped: 0,
        }
    }
}

impl Surveyed {
    /// Content hash of set `place` as it was given.
    pub(super) fn content_hash(&self, place: usize) -> &str {
        &self.surveys[place].content_hash
    }

    /// Images of set `place` that are left.
    pub(super) fn kept(&self, place: usize) -> &[usize] {
        &self.kept[place]
    }

    /// SHA-256 (hexadecimal) over the pixel hashes of the images that are left, in order.
    fn hash_of_kept(&self, place: usize) -> String {
        let mut hash = Sha256::new();
        self.kept[place].iter().for_each(|&i| hash.update(self.surveys[place].pixel_hashes[i]));
        hex(&hash.finalize())
    }

    /// What the members and non-members that are left tell by themselves.
    pub(super) fn described(&self) -> Result<[Rows; 2]> {
        let rows = |place: usize| {
            let described = &self.surveys[place].described;
            let row = |&i: &usize| &described[i * FEATURES..(i + 1) * FEATURES];
            Rows::new(FEATURES, self.kept[place].iter().flat_map(row).copied().collect())
        };
        Ok([rows(0)?, rows(1)?])
    }
}
