//! EncoderMI without a shadow encoder: every image is judged by an inference classifier that was trained on other
//! members and non-members of the same encoder.

use super::features::MembershipFeatures;
use super::inferrer::{Inference, Inferrer};
use super::settings::{Settings, Variant};
use crate::attack::folds;
use crate::gpu::Gpu;
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How images are shared out between training and judgement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossFit {
    /// Parts of each group. A part is judged by a classifier trained on the others.
    pub folds: usize,
    /// Members, and as many non-members, that a classifier is trained on, at most. Both groups always weigh the same.
    pub training_images: usize,
}

impl Default for CrossFit {
    fn default() -> CrossFit {
        CrossFit { folds: 5, training_images: 1000 }
    }
}

/// Judgement of all images.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossFitted {
    pub members: Inference,
    pub non_members: Inference,
    /// T's threshold in each fold; empty for V and S.
    pub thresholds: Vec<f64>,
    /// Share of its own training images that a fold's classifier decides rightly, the mean over folds.
    pub training_accuracy: f64,
}

impl CrossFit {
    /// # Errors
    /// [`Error::Usage`]: fewer than 2 folds, no image to learn from, fewer members or non-members than folds.
    pub fn check(&self, members: usize, non_members: usize) -> Result<()> {
        let enough = members.min(non_members) >= self.folds;
        if self.folds >= 2 && self.training_images > 0 && enough {
            return Ok(());
        }
        Err(Error::usage(format!(
            "cross-fitting: expected at least 2 folds and as many members and non-members as folds, found {} folds, {members} members and {non_members} non-members",
            self.folds
        )))
    }

    /// Judges every image. With `shuffled`, the number of a permutation, classifiers are trained on permuted labels: the
    /// control that has to find nothing. `stop` is asked before each fold.
    ///
    /// # Errors
    /// Fewer than 2 folds, or fewer members or non-members than folds; see [`Inferrer::train_on`];
    /// [`Error::Interrupted`] when `stop` says so.
    #[allow(clippy::too_many_arguments)] // Two of them, gpu and stop, are about the machine and not about the judgement.
    pub fn judge(
        &self,
        gpu: &Gpu,
        variant: Variant,
        settings: &Settings,
        [members, non_members]: [&MembershipFeatures; 2],
        seed: u64,
        shuffled: Option<u32>,
        stop: &mut dyn FnMut(usize) -> bool,
    ) -> Result<CrossFitted> {
        let (p, n, pairs) = (members.images(), non_members.images(), members.pairs);
        self.check(p, n)?;
        let row = |i: usize| match i.checked_sub(p) {
            None => &members.sorted[i * pairs..(i + 1) * pairs],
            Some(i) => &non_members.sorted[i * pairs..(i + 1) * pairs],
        };
        let fold = folds::stratified([p, n], self.folds, seed);
        let key = Key::from_seed(seed);
        let labels: Vec<bool> = match shuffled {
            None => (0..p + n).map(|i| i < p).collect(),
            Some(run) => {
                permutation(key.stream(Stream::Attack, run), p + n).into_iter().map(|i| i < p).collect()
            }
        };
        // The images of a fold's training are the first that are not in it, in an order of their own.
        let order = permutation(key.stream(Stream::Attack, u32::MAX - 2), p + n);
        let mut scores = vec![0.0; p + n];
        let mut decisions = vec![false; p + n];
        let (mut thresholds, mut accuracy) = (Vec::new(), 0.0);
        for held_out in 0..self.folds {
            if stop(held_out) {
                return Err(Error::Interrupted("stopped; no results were written".into()));
            }
            let of = |label: bool| {
                order.iter().copied().filter(move |&i| (i < p) == label).filter(|&i| fold[i] != held_out)
            };
            let each = of(true).count().min(of(false).count()).min(self.training_images);
            let training: Vec<usize> = of(true).take(each).chain(of(false).take(each)).collect();
            let rows: Vec<f32> = training.iter().flat_map(|&i| row(i)).copied().collect();
            let truth: Vec<u32> = training.iter().map(|&i| u32::from(labels[i])).collect();
            let seed = seed.wrapping_add(held_out as u64);
            let inferrer = Inferrer::train_on(gpu, variant, settings, &rows, &truth, seed)?;
            let judged: Vec<usize> = (0..p + n).filter(|&i| fold[i] == held_out).collect();
            let rows: Vec<f32> = judged.iter().flat_map(|&i| row(i)).copied().collect();
            let found = inferrer.infer(gpu, &MembershipFeatures::of_sorted(rows, pairs))?;
            for ((i, score), decision) in judged.into_iter().zip(found.scores).zip(found.decisions) {
                (scores[i], decisions[i]) = (score, decision);
            }
            thresholds.extend(inferrer.threshold());
            accuracy += inferrer.training_accuracy / self.folds as f64;
        }
        let others = Inference { scores: scores.split_off(p), decisions: decisions.split_off(p) };
        Ok(CrossFitted {
            members: Inference { scores, decisions },
            non_members: others,
            thresholds,
            training_accuracy: accuracy,
        })
    }
}
