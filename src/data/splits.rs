//! Who is a member: seeded, disjoint splits of a data set for target and shadow encoders.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::image_set::hex;
use super::torch_splits::torch_permutation;
use crate::rng::{Key, Stream};
use crate::{Error, Result};

/// Images in a block of the published EncoderMI experiments.
pub const PUBLISHED_BLOCK: usize = 10_000;
/// Equal shares for members, shadow members, shadow non-members, non-members and probe.
pub const EQUAL_PROPORTIONS: [f64; 5] = [0.2; 5];

/// The `number`-th permutation of `0..count` that a seed gives: Fisher and Yates' shuffle with one draw of
/// the split stream a position (64 random bits scaled to the range: the bias is below `count / 2^64`).
///
/// # Errors
/// [`Error::Usage`] for more than 2^32 positions.
pub fn shuffled(count: usize, seed: u64, number: u32) -> Result<Vec<usize>> {
    if u32::try_from(count).is_err() {
        return Err(Error::usage(format!("expected at most {} images to shuffle, found {count}", u32::MAX)));
    }
    let key = Key::from_seed(seed).stream(Stream::Split, number);
    let mut order: Vec<usize> = (0..count).collect();
    for position in 0..count {
        let [low, high] = key.draw(position as u32, 0, 0);
        let random = u128::from(low) | (u128::from(high) << 32);
        let offset = (random * (count - position) as u128) >> 64;
        order.swap(position, position + offset as usize);
    }
    Ok(order)
}

/// SHA-256 (hexadecimal) of an index list, each index as 8 bytes, little-endian, in the order given.
pub fn hash_indices(indices: &[usize]) -> String {
    let mut hash = Sha256::new();
    for &index in indices {
        hash.update((index as u64).to_le_bytes());
    }
    hex(&hash.finalize())
}

/// Where the target's non-members come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NonMembersFrom {
    /// The official test images.
    #[default]
    Test,
    /// The spare fourth block of the train images.
    Train,
}

/// What the EncoderMI split is drawn from.
#[derive(Debug, Clone, PartialEq)]
pub enum EncoderMiPool {
    /// `train` official train images at indices `0..train`, then `test` official test images. Five blocks of
    /// the permuted train images: members, shadow members, shadow non-members, spare, probe. `block` is the
    /// size wanted ([`PUBLISHED_BLOCK`] in the paper); all blocks shrink alike where there are fewer images.
    Official { train: usize, test: usize, block: usize, nonmembers_from: NonMembersFrom },
    /// Shares of a pool of `images` for members, shadow members, shadow non-members, non-members and probe.
    Custom { images: usize, proportions: [f64; 5] },
}

/// The five index sets of one EncoderMI trial (Liu et al., CCS 2021, section 5.1), each in drawn order.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EncoderMiSplit {
    /// The target encoder's training images.
    pub members: Vec<usize>,
    /// The shadow encoder's training images.
    pub shadow_members: Vec<usize>,
    pub shadow_nonmembers: Vec<usize>,
    /// Images that the target never saw.
    pub nonmembers: Vec<usize>,
    /// Images for measuring utility.
    pub probe: Vec<usize>,
}

/// What [`EncoderMiSplit::remove_duplicates`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Duplicates {
    /// Removed from the non-members: their pixels are those of a member.
    pub nonmembers_removed: usize,
    /// Removed from the shadow non-members: their pixels are those of a shadow member.
    pub shadow_nonmembers_removed: usize,
    /// Target images (members and non-members) whose pixels occur in the shadow sets; kept.
    pub shared_with_shadow: usize,
    /// Probe images whose pixels occur among the target images; kept.
    pub shared_with_probe: usize,
}

/// Draws the split of one trial. Trial t of an experiment uses seed base + t.
///
/// # Errors
/// [`Error::Usage`] when a set would be empty (with the number of images needed and available) or the
/// proportions are not shares of one whole.
pub fn encodermi_split(pool: &EncoderMiPool, seed: u64) -> Result<EncoderMiSplit> {
    match *pool {
        EncoderMiPool::Official { train, test, block, nonmembers_from } => {
            let from_test = nonmembers_from == NonMembersFrom::Test;
            let block = block.min(train / 5).min(if from_test { test } else { usize::MAX });
            if block == 0 {
                return Err(Error::usage(format!(
                    "the EncoderMI split needs at least 5 train images{}, available are {train} train and {test} \
                     test images",
                    if from_test { " and 1 test image" } else { "" }
                )));
            }
            let order = shuffled(train, seed, 0)?;
            let take = |number: usize| order[number * block..(number + 1) * block].to_vec();
            let nonmembers = if from_test {
                let test_order = shuffled(test, seed, 1)?;
                test_order[..block].iter().map(|index| train + index).collect()
            } else {
                take(3)
            };
            Ok(EncoderMiSplit {
                members: take(0),
                shadow_members: take(1),
                shadow_nonmembers: take(2),
                nonmembers,
                probe: take(4),
            })
        }
        EncoderMiPool::Custom { images, proportions } => {
            let total: f64 = proportions.iter().sum();
            if proportions.iter().any(|share| !(0.0..=1.0).contains(share)) || total > 1.0 + 1e-9 {
                return Err(Error::usage(format!(
                    "expected five shares from 0 to 1 that sum to at most 1, found {proportions:?}"
                )));
            }
            // The small term keeps 0.2 * 50 from becoming 9.
            let sizes = proportions.map(|share| (share * images as f64 + 1e-6) as usize);
            let names = EncoderMiSplit::NAMES;
            if let Some(empty) = (0..4).find(|&set| sizes[set] == 0) {
                return Err(Error::usage(format!(
                    "the split needs at least 1 image for {}, its share {} of the {images} available is none",
                    names[empty], proportions[empty]
                )));
            }
            let order = shuffled(images, seed, 0)?;
            let mut rest = order.as_slice();
            let [members, shadow_members, shadow_nonmembers, nonmembers, probe] = sizes.map(|size| {
                let (block, after) = rest.split_at(size);
                rest = after;
                block.to_vec()
            });
            Ok(EncoderMiSplit { members, shadow_members, shadow_nonmembers, nonmembers, probe })
        }
    }
}

impl EncoderMiSplit {
    /// Names of the sets in the order of [`sets`](Self::sets).
    pub const NAMES: [&'static str; 5] =
        ["members", "shadow_members", "shadow_nonmembers", "nonmembers", "probe"];

    /// Every set with its name.
    pub fn sets(&self) -> [(&'static str, &[usize]); 5] {
        let [a, b, c, d, e] = Self::NAMES;
        [
            (a, &self.members),
            (b, &self.shadow_members),
            (c, &self.shadow_nonmembers),
            (d, &self.nonmembers),
            (e, &self.probe),
        ]
    }

    /// [`hash_indices`] of every set, with its name.
    pub fn hashes(&self) -> Vec<(&'static str, String)> {
        self.sets().into_iter().map(|(name, indices)| (name, hash_indices(indices))).collect()
    }

    /// Checks that the sets are disjoint and below `images`. Errors as for [`check_disjoint`].
    pub fn verify(&self, images: usize) -> Result<()> {
        check_disjoint(&self.sets(), images)
    }

    /// Removes non-members (shadow non-members) whose pixels are exactly those of a member (shadow member),
    /// whatever their index: their membership has no true answer. `pixel_hashes` is one hash an image of the
    /// pool ([`ImageSet::pixel_hashes`](super::ImageSet::pixel_hashes)). The order of what stays is kept.
    ///
    /// # Errors
    /// [`Error::Usage`] when an index has no hash, or when no non-member is left.
    pub fn remove_duplicates(&mut self, pixel_hashes: &[[u8; 32]]) -> Result<Duplicates> {
        self.verify(pixel_hashes.len())?;
        let set =
            |indices: &[usize]| -> BTreeSet<[u8; 32]> { indices.iter().map(|&i| pixel_hashes[i]).collect() };
        let members = set(&self.members);
        let shadow_members = set(&self.shadow_members);
        let before = (self.nonmembers.len(), self.shadow_nonmembers.len());
        self.nonmembers.retain(|&index| !members.contains(&pixel_hashes[index]));
        self.shadow_nonmembers.retain(|&index| !shadow_members.contains(&pixel_hashes[index]));
        for (name, left) in
            [("non-members", &self.nonmembers), ("shadow non-members", &self.shadow_nonmembers)]
        {
            if left.is_empty() {
                return Err(Error::usage(format!(
                    "expected {name} that differ from the members, found only exact copies of members"
                )));
            }
        }
        let shadow: BTreeSet<_> = shadow_members.union(&set(&self.shadow_nonmembers)).copied().collect();
        let target: BTreeSet<_> = members.union(&set(&self.nonmembers)).copied().collect();
        let shared = |indices: &mut dyn Iterator<Item = &usize>, other: &BTreeSet<[u8; 32]>| {
            indices.filter(|&&index| other.contains(&pixel_hashes[index])).count()
        };
        Ok(Duplicates {
            nonmembers_removed: before.0 - self.nonmembers.len(),
            shadow_nonmembers_removed: before.1 - self.shadow_nonmembers.len(),
            shared_with_shadow: shared(&mut self.members.iter().chain(&self.nonmembers), &shadow),
            shared_with_probe: shared(&mut self.probe.iter(), &target),
        })
    }
}

/// Checks that no index occurs twice, within a set or across sets, and that all are below `images`.
///
/// # Errors
/// [`Error::Usage`] naming the index and the sets that hold it.
pub fn check_disjoint(sets: &[(&str, &[usize])], images: usize) -> Result<()> {
    let mut owner: Vec<Option<&str>> = vec![None; images];
    for &(name, indices) in sets {
        for &index in indices {
            match owner.get_mut(index) {
                None => {
                    return Err(Error::usage(format!(
                        "{name}: expected indices below {images}, found {index}"
                    )));
                }
                Some(Some(other)) => {
                    return Err(Error::usage(format!(
                        "expected disjoint sets, found image {index} in {other} and in {name}"
                    )));
                }
                Some(free) => *free = Some(name),
            }
        }
    }
    Ok(())
}

/// Which generator permutes the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permutation {
    /// The project's generator with a seed.
    Seeded(u64),
    /// The permutation of the released code, bit for bit: `torch.randperm` with seed 0.
    TorchSplits,
}

impl Permutation {
    /// The `number`-th permutation of `0..count`; the generator is seeded anew before each.
    fn draw(self, count: usize, number: u32) -> Result<Vec<usize>> {
        match self {
            Permutation::Seeded(seed) => shuffled(count, seed, number),
            Permutation::TorchSplits => torch_permutation(count, 0),
        }
    }
}

/// The four quarters of He & Zhang (CCS 2021): train and test images of the target and of the shadow encoder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Quarters {
    pub target_train: Vec<usize>,
    pub target_test: Vec<usize>,
    pub shadow_train: Vec<usize>,
    pub shadow_test: Vec<usize>,
}

/// Quarters of a pool of `images` (official train, then official test), each of `images / 4` rounded down;
/// the remainder is unused.
///
/// # Errors
/// [`Error::Usage`] for fewer than 4 images.
pub fn quarters(images: usize, permutation: Permutation) -> Result<Quarters> {
    quarters_of(&permutation.draw(images, 0)?)
}

/// Quarters of `subset` images drawn from `images`, the way CelebA is cut (30,000 of 202,599): the first
/// entries of one permutation, permuted once more.
///
/// # Errors
/// [`Error::Usage`] for a subset under 4 images or larger than the pool.
pub fn subset_quarters(images: usize, subset: usize, permutation: Permutation) -> Result<Quarters> {
    if subset > images {
        return Err(Error::usage(format!("the split needs {subset} images, available are {images}")));
    }
    let chosen = permutation.draw(images, 0)?;
    let order: Vec<usize> =
        permutation.draw(subset, 1)?.into_iter().map(|position| chosen[position]).collect();
    quarters_of(&order)
}

fn quarters_of(order: &[usize]) -> Result<Quarters> {
    let quarter = order.len() / 4;
    if quarter == 0 {
        return Err(Error::usage(format!(
            "the split needs at least 4 images, available are {}",
            order.len()
        )));
    }
    let take = |number: usize| order[number * quarter..(number + 1) * quarter].to_vec();
    Ok(Quarters { target_train: take(0), target_test: take(1), shadow_train: take(2), shadow_test: take(3) })
}
