//! Label-only membership inference: a classifier that answers with labels still tells how far an image lies from the
//! decision boundary, and members lie further away.
//!
//! * [`hop_skip_jump`]: the distance to the boundary, many images in lockstep on the GPU.
//! * [`distance_attack`]: that distance as a score, its threshold from a shadow model.
//! * [`augmentation`]: whether labels stay right under small shifts and rotations.
//!
//! The attacked classifier is a [`DecisionModel`]; [`GraphModel`] makes one from a traced graph.

pub mod augmentation;
mod board;
mod decision;
mod hop_skip_jump;
mod ladder;
mod settings;
mod threshold;

pub use decision::{DecisionModel, GraphModel, Traced, labels_of};
pub use hop_skip_jump::{Found, Outcome, Targets, hop_skip_jump};
pub use settings::{ClipRange, Settings};
pub use threshold::best_threshold;

use crate::Result;
use crate::metrics::MembershipResult;
use crate::rng::{Key, Stream, permutation};
use serde::{Deserialize, Serialize};

/// How distances become decisions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistanceSettings {
    /// Most samples of each of the four sets: shadow members and non-members, target members and non-members. `None`: all.
    pub samples: Option<usize>,
    /// Compute ROC and AUC from decisions instead of scores, as published: the AUC is then the balanced accuracy.
    pub hard_decisions: bool,
    pub seed: u64,
}

impl Default for DistanceSettings {
    fn default() -> DistanceSettings {
        DistanceSettings { samples: Some(500), hard_decisions: false, seed: 0 }
    }
}

impl DistanceSettings {
    /// As published; the order of the published samples had no seed, this one has.
    pub fn compat() -> DistanceSettings {
        DistanceSettings { hard_decisions: true, ..DistanceSettings::default() }
    }

    /// Which of `count` samples of set number `set` are attacked, ascending; a function of the seed.
    pub fn choose(&self, set: u32, count: usize) -> Vec<usize> {
        let most = self.samples.unwrap_or(count).min(count);
        let mut chosen = permutation(Key::from_seed(self.seed).stream(Stream::Attack, set), count);
        chosen.truncate(most);
        chosen.sort_unstable();
        chosen
    }
}

/// Scores of samples whose membership is known.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    pub scores: &'a [f64],
    pub members: &'a [bool],
}

/// "Member iff score > τ" on the target's samples, τ from the shadow's ([`best_threshold`]). Returns τ too.
///
/// # Errors
/// As [`MembershipResult::new`].
pub fn distance_attack(
    shadow: Scored,
    target: Scored,
    ids: Vec<String>,
    settings: &DistanceSettings,
) -> Result<(MembershipResult, f64)> {
    let tau = best_threshold(shadow.scores, shadow.members);
    let decisions: Vec<bool> = target.scores.iter().map(|&score| score > tau).collect();
    let result = decided(target, decisions, ids, settings.hard_decisions)?;
    Ok((result, tau))
}

/// A result with the attack's decisions, which may also stand for its scores.
fn decided(target: Scored, decisions: Vec<bool>, ids: Vec<String>, hard: bool) -> Result<MembershipResult> {
    let scores = match hard {
        true => decisions.iter().map(|&member| f64::from(u8::from(member))).collect(),
        false => target.scores.to_vec(),
    };
    MembershipResult::new(scores, target.members.to_vec(), decisions, ids)
}
