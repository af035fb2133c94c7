//! The augmentation attack: does the classifier keep the right label when the image is shifted or turned a little?
//!
//! Each sample becomes a row of bits, one a view: 1 where the label is right. A shadow model's rows, whose membership is
//! known, train either the least number of right labels that makes a member, or a small network.
//!
//! Source: C. Choquette-Choo, F. Tramèr, N. Carlini, N. Papernot, "Label-only membership inference attacks", ICML 2021,
//! section 3.2 (data augmentation attacks) and its appendix on their sets of views.

use super::decision::{DecisionModel, labels_of};
use super::{Scored, decided};
use crate::attack::classifier::{Architecture, Classifier, Training};
use crate::gpu::Gpu;
use crate::kernels::Shape;
use crate::kernels::elementwise::Unary;
use crate::metrics::MembershipResult;
use crate::nn::LinearInit;
use crate::optim::Optimizer;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One way to look at an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Content moves `down` and `right` pixels; the border is continued outwards.
    Shift { down: i32, right: i32 },
    /// Content turns counter-clockwise around the centre, bilinear, the border continued outwards.
    Rotation { degrees: f64 },
}

/// The 4d + 1 shifts: none, and all with |down| + |right| = d.
pub fn translations(d: u32) -> Vec<View> {
    let d = d.min(i32::MAX as u32) as i32;
    let ring = (-d..=d).flat_map(|down| {
        let right = d - down.abs();
        // At the corners of the diamond both are the same shift.
        if right == 0 { vec![(down, 0)] } else { vec![(down, -right), (down, right)] }
    });
    let moved = ring.filter(|&shift| shift != (0, 0));
    std::iter::once((0, 0)).chain(moved).map(|(down, right)| View::Shift { down, right }).collect()
}

/// The three rotations: none, and by `degrees` either way.
pub fn rotations(degrees: f64) -> Vec<View> {
    [0.0, -degrees, degrees].map(|degrees| View::Rotation { degrees }).to_vec()
}

impl View {
    /// The view of one image `[C, H, W]`.
    pub fn of(self, image: &[f32], shape: Shape) -> Vec<f32> {
        let (h, w) = (shape.h, shape.w);
        let pixel = |plane: usize, y: i64, x: i64| {
            let y = y.clamp(0, h as i64 - 1) as usize;
            let x = x.clamp(0, w as i64 - 1) as usize;
            image[(plane * h + y) * w + x]
        };
        let place = |i: usize| (i / (h * w), (i / w % h) as i64, (i % w) as i64);
        match self {
            View::Shift { down, right } => (0..shape.c * h * w)
                .map(|i| {
                    let (plane, y, x) = place(i);
                    pixel(plane, y - i64::from(down), x - i64::from(right))
                })
                .collect(),
            View::Rotation { degrees } => {
                let (sin, cos) = degrees.to_radians().sin_cos();
                let (cy, cx) = ((h as f64 - 1.0) / 2.0, (w as f64 - 1.0) / 2.0);
                (0..shape.c * h * w)
                    .map(|i| {
                        let (plane, y, x) = place(i);
                        let (dy, dx) = (y as f64 - cy, x as f64 - cx);
                        // Rows count downwards, so the inverse of a counter-clockwise turn is this one.
                        let (sy, sx) = (cy + cos * dy + sin * dx, cx - sin * dy + cos * dx);
                        let (fy, fx) = (sy - sy.floor(), sx - sx.floor());
                        let at = |oy: i64, ox: i64| {
                            f64::from(pixel(plane, sy.floor() as i64 + oy, sx.floor() as i64 + ox))
                        };
                        let top = (1.0 - fx) * at(0, 0) + fx * at(0, 1);
                        let bottom = (1.0 - fx) * at(1, 0) + fx * at(1, 1);
                        ((1.0 - fy) * top + fy * bottom) as f32
                    })
                    .collect()
            }
        }
    }
}

/// Whether the label of each view of each image is right: rows of `views.len()` bits.
///
/// # Errors
/// Images that do not fit the model or their labels; as [`DecisionModel::labels`].
pub fn correctness(
    gpu: &Gpu,
    model: &dyn DecisionModel,
    images: &[f32],
    labels: &[u32],
    views: &[View],
) -> Result<Vec<bool>> {
    let shape = model.image();
    let each = shape.elements();
    if images.len() != labels.len() * each {
        return Err(Error::shape(format!(
            "augmentation attack: {} numbers do not make {} images {shape}",
            images.len(),
            labels.len()
        )));
    }
    let mut bits = Vec::with_capacity(labels.len() * views.len());
    // As many images at a time as fill a submit.
    let batch = (model.rows() / views.len().max(1)).max(1);
    for (images, labels) in images.chunks(batch * each).zip(labels.chunks(batch)) {
        let all: Vec<f32> = images
            .chunks(each)
            .flat_map(|image| views.iter().flat_map(|view| view.of(image, shape)))
            .collect();
        let answers = labels_of(gpu, model, &all)?;
        bits.extend(answers.iter().enumerate().map(|(i, answer)| *answer == labels[i / views.len()]));
    }
    Ok(bits)
}

/// What decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// At least so many right labels, the number of the best shadow accuracy.
    Count,
    /// A network on the bits with hidden layers of these widths, ReLU between them.
    Mlp { hidden: Vec<usize>, epochs: u64 },
}

/// Settings of the augmentation attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentationSettings {
    pub decision: Decision,
    /// Compute ROC and AUC from decisions instead of scores.
    pub hard_decisions: bool,
    pub seed: u64,
}

impl Default for AugmentationSettings {
    fn default() -> AugmentationSettings {
        let decision = Decision::Mlp { hidden: vec![10, 10], epochs: 100 };
        AugmentationSettings { decision, hard_decisions: false, seed: 0 }
    }
}

/// Bits of samples whose membership is known: `bits` is `[members.len(), views]`, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    pub bits: &'a [bool],
    pub members: &'a [bool],
}

impl Rows<'_> {
    fn views(&self, of: &str) -> Result<usize> {
        let count = self.members.len();
        if count == 0 || self.bits.is_empty() || !self.bits.len().is_multiple_of(count) {
            return Err(Error::shape(format!(
                "augmentation attack: {} bits of the {of} do not make {count} rows",
                self.bits.len()
            )));
        }
        Ok(self.bits.len() / count)
    }

    fn counts(&self, views: usize) -> Vec<f64> {
        self.bits.chunks(views).map(|row| row.iter().filter(|&&bit| bit).count() as f64).collect()
    }

    fn numbers(&self) -> Vec<f32> {
        self.bits.iter().map(|&bit| f32::from(u8::from(bit))).collect()
    }
}

/// Trains on the shadow's rows and decides on the target's.
///
/// # Errors
/// Rows that do not fit each other, a network without hidden units; as [`Classifier::train`] and
/// [`MembershipResult::new`].
pub fn augmentation_attack(
    gpu: &Gpu,
    shadow: Rows,
    target: Rows,
    ids: Vec<String>,
    settings: &AugmentationSettings,
) -> Result<MembershipResult> {
    let views = shadow.views("shadow model")?;
    if target.views("target model")? != views {
        return Err(Error::shape(format!(
            "augmentation attack: {views} views of the shadow model's images, {} of the target's",
            target.bits.len() / target.members.len()
        )));
    }
    let (scores, decisions) = match &settings.decision {
        Decision::Count => {
            let least = best_count(&shadow.counts(views), shadow.members, views);
            let scores = target.counts(views);
            let decisions = scores.iter().map(|&count| count >= least).collect();
            (scores, decisions)
        }
        Decision::Mlp { hidden, epochs } => {
            let scores = network(gpu, shadow, target, views, hidden, *epochs, settings.seed)?;
            let decisions = scores.iter().map(|&score| score > 0.0).collect();
            (scores, decisions)
        }
    };
    decided(Scored { scores: &scores, members: target.members }, decisions, ids, settings.hard_decisions)
}

/// The number of right labels from which on "member" has the best accuracy; the least of equal ones. `views` + 1 means
/// nobody.
fn best_count(counts: &[f64], members: &[bool], views: usize) -> f64 {
    let correct = |least: f64| {
        counts.iter().zip(members).filter(|(count, member)| (**count >= least) == **member).count()
    };
    let mut best = (0.0, None);
    for least in 0..=views + 1 {
        let hits = Some(correct(least as f64));
        if hits > best.1 {
            best = (least as f64, hits);
        }
    }
    best.0
}

/// Logit of "member" less that of "non-member" for each of the target's rows.
fn network(
    gpu: &Gpu,
    shadow: Rows,
    target: Rows,
    views: usize,
    hidden: &[usize],
    epochs: u64,
    seed: u64,
) -> Result<Vec<f64>> {
    if hidden.contains(&0) {
        return Err(Error::usage("augmentation attack: a hidden layer without units"));
    }
    let widths = [&[views][..], hidden, &[2]].concat();
    let architecture = Architecture::Mlp { widths, activation: Unary::Relu, init: LinearInit::Default };
    let training = Training {
        batch: 256,
        epochs,
        learning_rate: 1e-3,
        decay_every: None,
        optimizer: Optimizer::adam(0.0),
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed,
    };
    let labels: Vec<u32> = shadow.members.iter().map(|&member| u32::from(member)).collect();
    let classifier = Classifier::train(gpu, &architecture, &training, &shadow.numbers(), &labels, None)?;
    let logits = classifier.logits(gpu, &target.numbers())?;
    Ok(logits.chunks(2).map(|pair| f64::from(pair[1]) - f64::from(pair[0])).collect())
}
