//! Baseline G: blind differential comparison (B. Hui et al., NDSS 2021), which needs no shadow model.
//!
//! Posteriors of samples that are surely no members, such as edge-filtered images, are compared with those of the
//! audited samples. A sample moves to the non-members whenever that increases the maximum mean discrepancy between
//! the two sets; what is left when nothing moves any more are the members.

use super::{Baseline, BaselineSettings};
use crate::attack::membership::{Inference, Outcome, Posteriors, Rows};
use crate::data::ImageSet;
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;

/// A move must increase MMD² by more than this, which is above the rounding of sums that are updated move by move.
const LEAST_GAIN: f64 = 1e-12;

/// Samples among which the usual distance is looked for.
const BANDWIDTH_SAMPLES: usize = 1_000;

/// What the moves ended in.
#[derive(Clone, Debug, PartialEq)]
pub struct Separation {
    /// Whether each suspect is still one.
    pub stayed: Vec<bool>,
    /// Mean kernel to the suspects that stayed minus mean kernel to the non-members at the end: the witness function
    /// of the discrepancy. A score; the moves themselves decide.
    pub witness: Vec<f64>,
    /// MMD² at the start and after every move.
    pub course: Vec<f64>,
}

/// exp(−‖a − b‖²/(2σ²)) with precision = 1/(2σ²).
fn kernel(a: &[f32], b: &[f32], precision: f64) -> f64 {
    (-precision * squared_distance(a, b)).exp()
}

fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// σ: the median distance between two of (at most 1,000, evenly chosen of) all samples; 1 where that is 0.
pub fn median_bandwidth(sets: [&Rows; 2]) -> f64 {
    let all: Vec<&[f32]> = sets.iter().flat_map(|set| set.iter()).collect();
    let step = all.len().div_ceil(BANDWIDTH_SAMPLES).max(1);
    let some: Vec<&[f32]> = all.into_iter().step_by(step).collect();
    let mut distances: Vec<f64> = Vec::new();
    for (i, a) in some.iter().enumerate() {
        distances.extend(some[..i].iter().map(|b| squared_distance(a, b).sqrt()));
    }
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied().filter(|&d| d > 0.0).unwrap_or(1.0)
}

/// Moves suspects to the non-members, one at a time in `order`, pass after pass until none moves. MMD² is the biased
/// estimate, with an RBF kernel of width `bandwidth`; the last suspect never moves.
///
/// O(suspects + non-members) for each sample at the start and for each move.
///
/// # Errors
/// Empty sets, rows of different width, a bandwidth that is not above 0, an order that is no permutation.
pub fn separate(suspects: &Rows, non_members: &Rows, bandwidth: f64, order: &[usize]) -> Result<Separation> {
    let (t, n) = (suspects.len(), non_members.len());
    let sorted: BTreeSet<usize> = order.iter().copied().collect();
    let is_order = order.len() == t && sorted.len() == t && sorted.last().is_none_or(|&last| last < t);
    if t == 0 || n == 0 || suspects.width() != non_members.width() || !is_order {
        return Err(Error::shape(format!(
            "differential comparison: {t} suspects of {} numbers, {n} non-members of {}, an order of {}; expected \
             non-empty sets of one width, and every suspect once in the order",
            suspects.width(),
            non_members.width(),
            order.len()
        )));
    }
    if !(bandwidth.is_finite() && bandwidth > 0.0) {
        return Err(Error::usage(format!(
            "differential comparison: expected a bandwidth above 0, found {bandwidth}"
        )));
    }
    let precision = 0.5 / (bandwidth * bandwidth);
    let rows: Vec<&[f32]> = suspects.iter().collect();
    // Sums of each suspect's kernels over all suspects (itself included) and over all non-members.
    let sums = |others: &Rows| -> Vec<f64> {
        rows.par_iter().map(|a| others.iter().map(|b| kernel(a, b, precision)).sum()).collect()
    };
    let mut state = Sums { to_suspects: sums(suspects), to_others: sums(non_members), ..Sums::default() };
    let others: Vec<&[f32]> = non_members.iter().collect();
    let within: Vec<f64> =
        others.par_iter().map(|a| non_members.iter().map(|b| kernel(a, b, precision)).sum()).collect();
    state.within_others = within.iter().sum();
    state.within_suspects = state.to_suspects.iter().sum();
    state.between = state.to_others.iter().sum();
    (state.suspects, state.others) = (t, n);

    let mut stayed = vec![true; t];
    let mut course = vec![state.discrepancy()];
    loop {
        let before = course.len();
        for &i in order {
            let moved = state.after(i);
            if !stayed[i] || state.suspects == 1 || moved.discrepancy() <= state.discrepancy() + LEAST_GAIN {
                continue;
            }
            stayed[i] = false;
            course.push(moved.discrepancy());
            state.apply(&moved);
            let changes: Vec<f64> = rows.par_iter().map(|a| kernel(a, rows[i], precision)).collect();
            for (j, k) in changes.into_iter().enumerate() {
                state.to_suspects[j] -= k;
                state.to_others[j] += k;
            }
        }
        if course.len() == before {
            break;
        }
    }
    let (suspects, others) = (state.suspects as f64, state.others as f64);
    let witness = (0..t).map(|i| state.to_suspects[i] / suspects - state.to_others[i] / others).collect();
    Ok(Separation { stayed, witness, course })
}

/// Sums of kernels, kept up to date.
#[derive(Default)]
struct Sums {
    to_suspects: Vec<f64>,
    to_others: Vec<f64>,
    within_suspects: f64,
    within_others: f64,
    between: f64,
    suspects: usize,
    others: usize,
}

impl Sums {
    /// MMD².
    fn discrepancy(&self) -> f64 {
        let (t, n) = (self.suspects as f64, self.others as f64);
        self.within_suspects / (t * t) + self.within_others / (n * n) - 2.0 * self.between / (t * n)
    }

    /// The totals after suspect i has moved; rows are left out. A sample's kernel with itself is 1.
    fn after(&self, i: usize) -> Sums {
        let (to_suspects, to_others) = (self.to_suspects[i], self.to_others[i]);
        Sums {
            within_suspects: self.within_suspects - 2.0 * to_suspects + 1.0,
            within_others: self.within_others + 2.0 * to_others + 1.0,
            // Its pairs with the others leave, those with the remaining suspects join.
            between: self.between - to_others + to_suspects - 1.0,
            suspects: self.suspects - 1,
            others: self.others + 1,
            ..Sums::default()
        }
    }

    fn apply(&mut self, moved: &Sums) {
        self.within_suspects = moved.within_suspects;
        self.within_others = moved.within_others;
        self.between = moved.between;
        (self.suspects, self.others) = (moved.suspects, moved.others);
    }
}

/// G on the sorted `top` largest posteriors of a head. `probable_non_members` are the head's posteriors for
/// generated samples (their labels are not used), e.g. of [`edge_filtered`] images.
///
/// # Errors
/// Empty sets, classes that differ.
pub fn differential_comparison(
    members: &Posteriors,
    non_members: &Posteriors,
    probable_non_members: &Posteriors,
    settings: &BaselineSettings,
    seed: u64,
) -> Result<Baseline> {
    let classes = [members, non_members, probable_non_members].map(Posteriors::classes);
    if classes.iter().any(|&c| c != classes[0]) {
        return Err(Error::shape(format!(
            "differential comparison: members, non-members and generated samples have {classes:?} classes"
        )));
    }
    let top = settings.top.min(classes[0]);
    let generated = probable_non_members.top(top)?;
    let suspects = [members.top(top)?, non_members.top(top)?];
    let suspects = Rows::new(top, [suspects[0].values(), suspects[1].values()].concat())?;
    // In the order in which they are given, members would be tried before non-members.
    let order = permutation(Key::from_seed(seed).stream(Stream::Attack, u32::MAX - 2), suspects.len());
    let found = separate(&suspects, &generated, median_bandwidth([&suspects, &generated]), &order)?;
    let part = |range: std::ops::Range<usize>| Inference {
        scores: found.witness[range.clone()].to_vec(),
        decisions: found.stayed[range].to_vec(),
    };
    let p = members.len();
    let outcome = Outcome::new(part(0..p), part(p..suspects.len()), None, None)?;
    Ok(Baseline::new(
        "baseline-g",
        "Blind differential comparison",
        "Without a shadow model: samples move to a set of generated non-members as long as that makes the two sets' \
         posteriors more different; those that stay are called members.",
        outcome,
    ))
}

/// Probable non-members: the images' Sobel gradient magnitude in each channel, divided by 4 so that the largest
/// one-directional gradient fits 8 bits and cut off above. Labels are dropped.
pub fn edge_filtered(set: &ImageSet) -> ImageSet {
    let (width, height) = (set.width, set.height);
    let edges: Vec<Vec<u8>> = (0..set.len())
        .into_par_iter()
        .map(|index| {
            let image = set.image(index);
            let mut filtered = Vec::with_capacity(image.len());
            for y in 0..height {
                for x in 0..width {
                    for channel in 0..3 {
                        let at = |dx: isize, dy: isize| {
                            let x = x.saturating_add_signed(dx).min(width - 1);
                            let y = y.saturating_add_signed(dy).min(height - 1);
                            f64::from(image[(y * width + x) * 3 + channel])
                        };
                        let across = |s: isize| at(s, -1) + 2.0 * at(s, 0) + at(s, 1);
                        let down = |s: isize| at(-1, s) + 2.0 * at(0, s) + at(1, s);
                        let magnitude = (across(1) - across(-1)).hypot(down(1) - down(-1)) / 4.0;
                        filtered.push(magnitude.round().min(255.0) as u8);
                    }
                }
            }
            filtered
        })
        .collect();
    ImageSet {
        name: format!("{}, edges", set.name),
        pixels: edges.concat(),
        target: None,
        attribute: None,
        ..set.clone()
    }
}
