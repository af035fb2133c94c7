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
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Members and non-members, and those of the shadow encoder where there is one.
pub struct AuditImages {
    sets: Vec<Box<dyn Images>>,
}

/// Images of one of the sets, and what they are for.
pub(super) struct Part {
    role: &'static str,
    /// Which set.
    place: usize,
    indices: Vec<usize>,
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
        enough([self.sets[0].len(), self.sets[1].len()], blind)?;
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
        // A copy in another part would be judged by what its twin taught.
        for (kept, survey) in kept.iter_mut().zip(&surveys) {
            let mut seen = BTreeSet::new();
            let before = kept.len();
            kept.retain(|&index| seen.insert(survey.pixel_hashes[index]));
            duplicates_removed += (before - kept.len()) as u64;
        }
        Ok(Surveyed { surveys, kept, duplicates_removed })
    }

    /// The images of each part.
    ///
    /// # Errors
    /// A part without images.
    pub(super) fn chosen(&self, parts: &[Part]) -> Result<Vec<Chosen<'_>>> {
        parts.iter().map(|part| Chosen::new(&*self.sets[part.place], part.indices.clone())).collect()
    }

    /// What the report says of the data.
    pub(super) fn summary(&self, surveyed: &Surveyed, parts: &[Part]) -> DataSummary {
        let names: Vec<&str> = self.sets.iter().take(2).map(|set| set.name()).collect();
        let parts = parts.iter().map(|part| DataPart {
            role: part.role.into(),
            count: part.indices.len() as u64,
            sha256: surveyed.hash_of(part),
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

/// # Errors
/// Fewer members or non-members than the blind control has folds.
fn enough([members, non_members]: [usize; 2], blind: &BlindSettings) -> Result<()> {
    if members.min(non_members) >= blind.folds {
        return Ok(());
    }
    Err(Error::usage(format!(
        "members and non-members: expected at least {} of each, found {members} and {non_members}",
        blind.folds
    )))
}

impl Surveyed {
    /// # Errors
    /// Sets that are too small for the blind control now that duplicates are gone.
    pub(super) fn check(&self, blind: &BlindSettings) -> Result<()> {
        enough([self.kept[0].len(), self.kept[1].len()], blind)
    }

    /// Content hash of set `place` as it was given.
    pub(super) fn content_hash(&self, place: usize) -> &str {
        &self.surveys[place].content_hash
    }

    /// Images of set `place` that are left.
    pub(super) fn kept(&self, place: usize) -> &[usize] {
        &self.kept[place]
    }

    /// What is left of each set.
    pub(super) fn parts(&self) -> Vec<Part> {
        let left = ROLES.iter().zip(&self.kept).enumerate();
        left.map(|(place, (role, kept))| Part { role, place, indices: kept.clone() }).collect()
    }

    /// The members and the non-members that are judged, and those that rules are learned from: half of the smaller
    /// group's number from each, at most `most`, drawn by `seed`. Given the rules, images that are judged are
    /// independent of them and of one another, so that tests and intervals hold their level.
    pub(super) fn held_out(&self, most: usize, seed: u64) -> Vec<Part> {
        let learned = (self.kept[0].len().min(self.kept[1].len()) / 2).min(most);
        let of = |place: usize, role: &'static str, judged: bool| {
            let kept = &self.kept[place];
            let order = permutation(Key::from_seed(seed).stream(Stream::Split, 1 + place as u32), kept.len());
            let (first, rest) = order.split_at(learned);
            let mut indices: Vec<usize> =
                if judged { rest } else { first }.iter().map(|&i| kept[i]).collect();
            // Files are read in their order, as far as they are read.
            indices.sort_unstable();
            Part { role, place, indices }
        };
        vec![
            of(0, "members, judged", true),
            of(1, "non-members, judged", true),
            of(0, "members that rules were learned from", false),
            of(1, "non-members that rules were learned from", false),
        ]
    }

    /// SHA-256 (hexadecimal) over the pixel hashes of a part, in order.
    fn hash_of(&self, part: &Part) -> String {
        let mut hash = Sha256::new();
        part.indices.iter().for_each(|&i| hash.update(self.surveys[part.place].pixel_hashes[i]));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_image_both_teaches_and_is_judged() {
        let survey = || Survey {
            content_hash: String::new(),
            pixel_hashes: vec![[0; 32]; 100],
            difference_hashes: vec![0; 100],
            described: Vec::new(),
        };
        // Of 40 members and 31 non-members that are left, none was removed but the first.
        let kept = vec![(1..41).collect::<Vec<usize>>(), (1..32).collect()];
        let mut surveyed =
            Surveyed { surveys: vec![survey(), survey()], kept: kept.clone(), duplicates_removed: 2 };
        for (most, learned) in [(1000, 15), (7, 7)] {
            let parts = surveyed.held_out(most, 3);
            assert_eq!(parts.iter().map(|p| p.place).collect::<Vec<_>>(), [0, 1, 0, 1]);
            assert_eq!([parts[2].indices.len(), parts[3].indices.len()], [learned; 2]);
            for place in [0, 1] {
                let mut all = [&parts[place].indices[..], &parts[place + 2].indices].concat();
                all.sort_unstable();
                assert_eq!(all, kept[place]);
            }
            assert_eq!(surveyed.held_out(most, 3)[2].indices, parts[2].indices);
            assert_ne!(surveyed.held_out(most, 4)[2].indices, parts[2].indices);
        }
        assert!(surveyed.check(&BlindSettings::default()).is_ok());
        surveyed.kept[1].truncate(4);
        let problem = surveyed.check(&BlindSettings::default()).unwrap_err().to_string();
        assert!(problem.contains("found 40 and 4"), "{problem}");
    }
}
