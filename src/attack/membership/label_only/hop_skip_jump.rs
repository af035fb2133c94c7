//! Untargeted HopSkipJump in L2, all images in lockstep.
//!
//! The distance from an image to the nearest one that the classifier gives another label, from labels alone. Images,
//! directions and sums stay on the GPU; here are labels, distances and intervals, and the decision what comes next. Every
//! image advances together with the others, its queries packed with theirs; its result is, bit for bit, that of a run of
//! its own, because draws are keyed by the image's number and every sum is that image's alone, in order.
//!
//! Source: J. Chen, M. I. Jordan, M. J. Wainwright, "HopSkipJumpAttack: a query-efficient decision-based attack",
//! S&P 2020, algorithm 2; as a membership attack C. Choquette-Choo et al., "Label-only membership inference attacks",
//! ICML 2021, and Z. Li, Y. Zhang, "Membership leakage in label-only exposures", CCS 2021.

use super::board::{Board, Place, Work};
use super::decision::{DecisionModel, check_images, labels_of};
use super::settings::Settings;
use crate::gpu::Gpu;
use crate::kernels::Shape;
use crate::kernels::hop_skip_jump::{PixelRange, Row};
use crate::rng::{Key, Stream};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Interval at which the search from the start towards the image ends, relative to the segment.
const START_INTERVAL: f64 = 0.001;
/// Most halvings of a step.
const MOST_HALVINGS: u32 = 50;

/// How the attack on one image ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The distance is that of an image with another label.
    Found,
    /// The classifier's label is wrong without any change: distance 0.
    Misclassified,
    /// No start with another label: distance 0.
    NoStart,
    /// A gradient or distance that is not a number: distance 0.
    NotANumber,
}

/// What was found for one image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// ‖x_adv − x‖₂ in pixel values, 0 unless the outcome is [`Outcome::Found`]: the score of membership.
    pub distance: f32,
    /// Queries spent on this image, that of its own label included.
    pub queries: u32,
    pub outcome: Outcome,
}

/// What is attacked.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// `[N, C, H, W]`, row-major, pixel values before normalisation.
    pub images: &'a [f32],
    /// True labels, one an image.
    pub labels: &'a [u32],
    /// A number for each image that keys its random draws, e.g. its index in the data set.
    pub numbers: &'a [u32],
    /// Images `[P, C, H, W]` of the attacker, some of which may serve as starts; may be empty. Their labels are asked once
    /// for all, which [`Found::queries`] does not count.
    pub auxiliary: &'a [f32],
}

/// Attacks every image; results in their order.
///
/// # Errors
/// Images, labels and numbers that do not fit each other or the model, settings without work, an empty clip range; as
/// [`DecisionModel::labels`].
pub fn hop_skip_jump(
    gpu: &Gpu,
    model: &dyn DecisionModel,
    targets: &Targets,
    settings: &Settings,
) -> Result<Vec<Found>> {
    settings.check()?;
    let each = check_images(model, targets.images)?;
    let pool_each = check_images(model, targets.auxiliary)?;
    let count = targets.images.len() / each;
    if targets.labels.len() != count || targets.numbers.len() != count {
        return Err(Error::shape(format!(
            "HopSkipJump: {count} images with {} labels and {} numbers; all three must have one length",
            targets.labels.len(),
            targets.numbers.len()
        )));
    }
    if count == 0 {
        return Ok(Vec::new());
    }
    let range = settings.clip.of(targets.images)?;
    let pool = if settings.auxiliary == 0 { &[][..] } else { targets.auxiliary };
    debug_assert_eq!(each, pool_each);
    let pool_labels = labels_of(gpu, model, pool)?;
    let image_bytes = Shape { n: 1, ..model.image() }.bytes();
    let fitting = usize::try_from(gpu.facts().max_binding_bytes / image_bytes.max(1)).unwrap_or(usize::MAX);
    let slots = settings.images_at_once.min(count).min(fitting).max(1);
    let board = Board::new(gpu, model, slots, pool, range)?;
    let key = Key::from_seed(settings.seed);
    let mut attack = Attack { gpu, model, board, settings, range, key, pool_labels, images: Vec::new() };
    let mut found = Vec::with_capacity(count);
    let groups = targets.labels.chunks(slots).zip(targets.numbers.chunks(slots));
    for ((labels, numbers), images) in groups.zip(targets.images.chunks(slots * each)) {
        found.extend(attack.group(images, labels, numbers)?);
    }
    Ok(found)
}

/// One attacked image.
struct Image {
    /// The classifier's label of the unchanged image.
    label: u32,
    queries: u32,
    outcome: Outcome,
}

/// The end of a segment that begins at the original image, and where the search on it leaves its result.
const TOWARDS_NEAR: (Place, Place) = (Place::Near, Place::Far);
const TOWARDS_FAR: (Place, Place) = (Place::Far, Place::Near);

struct Attack<'a> {
    gpu: &'a Gpu,
    model: &'a dyn DecisionModel,
    board: Board<'a>,
    settings: &'a Settings,
    range: PixelRange,
    key: Key,
    pool_labels: Vec<u32>,
    /// One a slot.
    images: Vec<Image>,
}

impl Attack<'_> {
    fn group(&mut self, images: &[f32], labels: &[u32], numbers: &[u32]) -> Result<Vec<Found>> {
        self.board.begin(images, numbers)?;
        let answers = labels_of(self.gpu, self.model, images)?;
        self.images = answers
            .iter()
            .zip(labels)
            .map(|(&label, &truth)| {
                let outcome = if label == truth { Outcome::Found } else { Outcome::Misclassified };
                Image { label, queries: 1, outcome }
            })
            .collect();
        let mut active: Vec<u32> = (0..labels.len() as u32)
            .filter(|&slot| !self.settings.skip_misclassified || self.image(slot).outcome == Outcome::Found)
            .collect();
        self.start(&mut active)?;
        self.search(TOWARDS_NEAR, &active, START_INTERVAL)?;
        // The first δ is a part of the pixels' range and not of a distance.
        let mut ahead = vec![0.0; labels.len()];
        for iteration in 0..self.settings.max_iterations {
            self.iterate(iteration, &mut active, &mut ahead)?;
        }
        let mut last = Place::Far;
        if self.settings.final_projection {
            self.search(TOWARDS_FAR, &active, self.interval())?;
            last = Place::Near;
        }
        let mut distances = vec![0.0; labels.len()];
        for (&slot, distance) in active.iter().zip(self.distances(last, &active)?) {
            distances[slot as usize] = distance;
        }
        let result = self.images.iter().zip(distances).map(|(image, distance)| {
            let outcome = match image.outcome {
                Outcome::Found if !distance.is_finite() => Outcome::NotANumber,
                outcome => outcome,
            };
            let distance = if outcome == Outcome::Found { distance } else { 0.0 };
            Found { distance, queries: image.queries, outcome }
        });
        Ok(result.collect())
    }

    fn image(&self, slot: u32) -> &Image {
        &self.images[slot as usize]
    }

    /// Takes images out of `active` for good. A wrong label stays the reason where it is one.
    fn give_up(&mut self, active: &mut Vec<u32>, lost: &[u32], outcome: Outcome) {
        active.retain(|slot| !lost.contains(slot));
        for &slot in lost {
            let image = &mut self.images[slot as usize];
            if image.outcome == Outcome::Found {
                image.outcome = outcome;
            }
        }
    }

    /// θ: where searches of an iteration end, relative to the segment.
    fn interval(&self) -> f64 {
        0.01 / self.dimension().sqrt()
    }

    fn dimension(&self) -> f64 {
        self.model.image().elements() as f64
    }

    /// Puts an adversarial image at `Near` for each active one; gives up those without.
    fn start(&mut self, active: &mut Vec<u32>) -> Result<()> {
        let nearest = self.nearest_auxiliary(active)?;
        let rows: Vec<Row> = nearest.iter().map(|&(slot, number)| copy(slot, number)).collect();
        self.board.submit_all(Work::Interpolate { b: Place::Pool, to: Place::Near }, &rows)?;
        let mut waiting: Vec<u32> = active
            .iter()
            .copied()
            .filter(|slot| !nearest.iter().any(|(started, _)| started == slot))
            .collect();
        self.board.set_key(self.key.stream(Stream::Boundary, u32::MAX))?;
        // 1, 2, 4, … tries at once: few rounds where starts are rare, few queries where they are not.
        let (mut tried, mut tries) = (0, 1);
        while tried < self.settings.start_tries && !waiting.is_empty() {
            tries = tries.min(self.settings.start_tries - tried);
            let mut started = Vec::new();
            // An image's tries may span two submits, whose queries overwrite each other: copied after each.
            let rows: Vec<Row> = waiting
                .iter()
                .flat_map(|&slot| {
                    (tried..tried + tries).map(move |number| Row { slot, number, output: 0, scale: 0.0 })
                })
                .collect();
            for chunk in rows.chunks(self.board.rows()) {
                let hits = self.ask_chunk(Work::Uniform, chunk)?;
                let mut copies = Vec::new();
                for (i, row) in chunk.iter().enumerate().filter(|&(i, _)| hits[i]) {
                    if !started.contains(&row.slot) {
                        started.push(row.slot);
                        copies.push(copy(row.slot, i as u32));
                    }
                }
                self.board.submit_all(Work::Interpolate { b: Place::Queries, to: Place::Near }, &copies)?;
            }
            waiting.retain(|slot| !started.contains(slot));
            tried += tries;
            tries *= 2;
        }
        self.give_up(active, &waiting, Outcome::NoStart);
        Ok(())
    }

    /// (slot, image of the pool): the nearest of the first auxiliary images with another label, where there is one.
    fn nearest_auxiliary(&self, active: &[u32]) -> Result<Vec<(u32, u32)>> {
        let rows: Vec<Row> = active
            .iter()
            .flat_map(|&slot| {
                let label = self.image(slot).label;
                let others = (0u32..).zip(&self.pool_labels).filter(move |(_, other)| **other != label);
                others.take(self.settings.auxiliary as usize).map(move |(number, _)| Row {
                    slot,
                    number,
                    output: 0,
                    scale: 0.0,
                })
            })
            .collect();
        let distances = self.board.scalars(Work::Distance { b: Place::Pool }, &rows)?;
        let mut nearest: Vec<(u32, u32, f32)> = Vec::new();
        for (row, distance) in rows.iter().zip(distances) {
            match nearest.last_mut() {
                Some((slot, number, least)) if *slot == row.slot => {
                    if distance < *least {
                        (*number, *least) = (row.number, distance);
                    }
                }
                _ => nearest.push((row.slot, row.number, distance)),
            }
        }
        Ok(nearest.into_iter().map(|(slot, number, _)| (slot, number)).collect())
    }

    /// Binary search on the segment from each image to its row of `end`, which is adversarial. All intervals are halved
    /// together; the adversarial end of the last one goes to `to`.
    fn search(&mut self, (end, to): (Place, Place), active: &[u32], interval: f64) -> Result<()> {
        let mut upper = vec![1.0; active.len()];
        let mut width = 1.0;
        while width > interval && !active.is_empty() {
            width /= 2.0;
            let rows: Vec<Row> =
                active.iter().zip(&upper).map(|(&slot, upper)| segment(slot, upper - width)).collect();
            let hits = self.ask(Work::Interpolate { b: end, to: Place::Queries }, &rows)?;
            for (upper, _) in upper.iter_mut().zip(hits).filter(|(_, hit)| *hit) {
                *upper -= width;
            }
        }
        let rows: Vec<Row> = active
            .iter()
            .zip(&upper)
            .map(|(&slot, &upper)| Row { output: slot, ..segment(slot, upper) })
            .collect();
        self.board.submit_all(Work::Interpolate { b: end, to }, &rows)
    }

    /// One iteration: back to the boundary, estimate of its normal there, step along it. `ahead` holds the distance of
    /// each slot's last step from its image.
    fn iterate(&mut self, iteration: u32, active: &mut Vec<u32>, ahead: &mut [f32]) -> Result<()> {
        for (&slot, distance) in active.iter().zip(self.distances(Place::Far, active)?) {
            ahead[slot as usize] = distance;
        }
        self.search(TOWARDS_FAR, active, self.interval())?;
        let deltas: Vec<f32> = active
            .iter()
            .map(|&slot| match iteration {
                0 => 0.1 * (self.range.high - self.range.low),
                // √d·θ·distance
                _ => (self.dimension().sqrt() * self.interval() * f64::from(ahead[slot as usize])) as f32,
            })
            .collect();
        let means = self.directions(iteration, active, &deltas)?;
        let rows: Vec<Row> = active
            .iter()
            .zip(&means)
            // Where all signs are equal, the sums differ by no more than their sign, and the plain mean counts.
            .map(|(&slot, &mean)| Row {
                slot,
                number: 0,
                output: 0,
                scale: if mean.abs() == 1.0 { 0.0 } else { mean },
            })
            .collect();
        let norms = self.board.scalars(Work::Gradient, &rows)?;
        let lost: Vec<u32> = active
            .iter()
            .zip(&norms)
            .filter(|(_, norm)| !(norm.is_finite() && **norm > 0.0))
            .map(|(&slot, _)| slot)
            .collect();
        self.give_up(active, &lost, Outcome::NotANumber);
        self.step(iteration, active)
    }

    /// Adds up the directions of this iteration's queries, weighted by their signs and plainly; returns the mean sign of
    /// each active image.
    fn directions(&mut self, iteration: u32, active: &[u32], deltas: &[f32]) -> Result<Vec<f32>> {
        let evaluations = self.settings.evaluations(iteration);
        self.board.set_key(self.key.stream(Stream::Boundary, iteration))?;
        self.board.clear_sums();
        let all = active.len() as u64 * u64::from(evaluations);
        // Query q is number q % evaluations of active image q / evaluations.
        let row = |query: u64| {
            let (place, number) = ((query / u64::from(evaluations)) as usize, query % u64::from(evaluations));
            Row { slot: active[place], number: number as u32, output: 0, scale: deltas[place] }
        };
        let mut positive = vec![0u32; active.len()];
        let mut first = 0;
        while first < all {
            let end = all.min(first + self.board.rows() as u64);
            let rows: Vec<Row> = (first..end).map(row).collect();
            let hits = self.ask_chunk(Work::Directions, &rows)?;
            let signs: Vec<f32> = hits.iter().map(|&hit| if hit { 1.0 } else { -1.0 }).collect();
            self.board.set_signs(&signs)?;
            let mut runs: Vec<Row> = Vec::new();
            for (i, (row, hit)) in rows.iter().zip(hits).enumerate() {
                positive[((first + i as u64) / u64::from(evaluations)) as usize] += u32::from(hit);
                match runs.last_mut() {
                    Some(run) if run.slot == row.slot => run.number += 1,
                    _ => runs.push(Row { number: 1, output: i as u32, ..*row }),
                }
            }
            self.board.submit(Work::Accumulate, &runs)?;
            first = end;
        }
        let mean = |&hits: &u32| (2.0 * f64::from(hits) / f64::from(evaluations) - 1.0) as f32;
        Ok(positive.iter().map(mean).collect())
    }

    /// Steps from the boundary along the direction, ε = distance/√(t + 1), halved until the end is adversarial.
    fn step(&mut self, iteration: u32, active: &[u32]) -> Result<()> {
        let scale = 1.0 / (f64::from(iteration) + 1.0).sqrt();
        let mut lengths: Vec<f32> = self
            .distances(Place::Near, active)?
            .iter()
            .map(|&distance| (f64::from(distance) * scale) as f32)
            .collect();
        let mut waiting: Vec<usize> = (0..active.len()).collect();
        for halving in 0..=MOST_HALVINGS {
            if waiting.is_empty() {
                break;
            }
            if halving > 0 {
                waiting.iter().for_each(|&i| lengths[i] /= 2.0);
            }
            let rows: Vec<Row> = waiting.iter().map(|&i| advance(active[i], lengths[i])).collect();
            let hits = self.ask(Work::Step { to: Place::Queries }, &rows)?;
            waiting = waiting.into_iter().zip(hits).filter(|(_, hit)| !hit).map(|(i, _)| i).collect();
        }
        // No step at all leaves the image on the boundary.
        waiting.iter().for_each(|&i| lengths[i] = 0.0);
        let rows: Vec<Row> =
            active.iter().zip(&lengths).map(|(&slot, &length)| advance(slot, length)).collect();
        self.board.submit_all(Work::Step { to: Place::Far }, &rows)
    }

    /// ‖place − original‖ of each active image.
    fn distances(&self, place: Place, active: &[u32]) -> Result<Vec<f32>> {
        let rows: Vec<Row> = active.iter().map(|&slot| copy(slot, slot)).collect();
        self.board.scalars(Work::Distance { b: place }, &rows)
    }

    /// Whether each row's query gets another label than its image, for any number of rows.
    fn ask(&mut self, work: Work, rows: &[Row]) -> Result<Vec<bool>> {
        let mut hits = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(self.board.rows()) {
            hits.extend(self.ask_chunk(work, chunk)?);
        }
        Ok(hits)
    }

    /// [`Attack::ask`] for rows that fit one submit; query i stays where it is.
    fn ask_chunk(&mut self, work: Work, rows: &[Row]) -> Result<Vec<bool>> {
        let numbered: Vec<Row> =
            rows.iter().enumerate().map(|(i, row)| Row { output: i as u32, ..*row }).collect();
        self.board.submit(work, &numbered)?;
        let labels = self.model.labels(self.gpu, rows.len())?;
        if labels.len() != rows.len() {
            return Err(Error::shape(format!(
                "HopSkipJump: the decision model gave {} labels for {} queries",
                labels.len(),
                rows.len()
            )));
        }
        Ok(rows
            .iter()
            .zip(labels)
            .map(|(row, label)| {
                let image = &mut self.images[row.slot as usize];
                image.queries += 1;
                label != image.label
            })
            .collect())
    }
}

/// Row `number` of the other operand as it is, to the image's own row.
fn copy(slot: u32, number: u32) -> Row {
    Row { slot, number, output: slot, scale: 1.0 }
}

/// The point at `position` of the segment from an image to its own row of the other operand.
fn segment(slot: u32, position: f64) -> Row {
    Row { slot, number: slot, output: 0, scale: position as f32 }
}

/// A step of an image, to its own row.
fn advance(slot: u32, length: f32) -> Row {
    Row { slot, number: 0, output: slot, scale: length }
}
