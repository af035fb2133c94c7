//! Membership inference on a target with a shadow model: the three families of He & Zhang (CCS 2021, section 3).

mod audit;

pub use audit::{MembershipAudit, audit};

use crate::attack::membership::label_only::augmentation::{
    AugmentationSettings, Rows, augmentation_attack, correctness, translations,
};
use crate::attack::membership::label_only::{
    DistanceSettings, GraphModel, Scored, Settings, Targets, distance_attack, hop_skip_jump,
};
use crate::attack::membership::metric::{self, Measure, MetricSettings};
use crate::attack::membership::neural::{self, NeuralSettings};
use crate::attack::membership::{Four, Outcome, Posteriors};
use crate::data::ImageSet;
use crate::experiment::Tell;
use crate::experiment::features::Label;
use crate::experiment::load::Loaded;
use crate::gpu::Gpu;
use crate::metrics::{Control, MembershipResult};
use crate::train::PixelInput;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The three families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    Neural,
    Metric,
    LabelOnly,
}

impl Family {
    pub const ALL: [Family; 3] = [Family::Neural, Family::Metric, Family::LabelOnly];
    pub const NAMES: [&'static str; 3] = ["neural", "metric", "label-only"];
}

impl std::str::FromStr for Family {
    type Err = Error;
    fn from_str(name: &str) -> Result<Family> {
        let found = Family::NAMES.iter().position(|known| *known == name);
        found.map(|i| Family::ALL[i]).ok_or_else(|| Error::unknown("attack", name, &Family::NAMES))
    }
}

/// How the attacks are run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MembershipSettings {
    /// Posteriors that the neural attack sees.
    pub top: usize,
    /// Images of each set that HopSkipJump attacks.
    pub boundary_samples: usize,
    /// The artefacts of the released code.
    pub compat: bool,
}

impl Default for MembershipSettings {
    fn default() -> MembershipSettings {
        MembershipSettings { top: NeuralSettings::default().top, boundary_samples: 500, compat: false }
    }
}

/// What one attack found about the target.
pub struct Found {
    pub id: String,
    pub title: String,
    /// What it does, in a sentence.
    pub explanation: String,
    pub family: Family,
    pub result: MembershipResult,
    pub threshold: Option<f64>,
    pub training_accuracy: Option<f64>,
    /// Mean queries an image, where they are many.
    pub queries: Option<f64>,
    pub warnings: Vec<String>,
}

impl Found {
    /// Of an attack with a shadow model.
    pub fn of(id: &str, title: &str, explanation: &str, family: Family, outcome: Outcome) -> Found {
        Found {
            id: id.into(),
            title: title.into(),
            explanation: explanation.into(),
            family,
            result: outcome.result,
            threshold: outcome.threshold,
            training_accuracy: outcome.training_accuracy,
            queries: None,
            warnings: outcome.warnings,
        }
    }
}

/// Queries of a submit: a few stragglers need not pay for a full one.
const QUERIES: [usize; 3] = [32, 128, 512];
/// Images that serve as starts of HopSkipJump.
const STARTS: usize = 64;

impl MembershipSettings {
    fn neural(&self, classes: usize) -> NeuralSettings {
        let settings = if self.compat { NeuralSettings::compat() } else { NeuralSettings::default() };
        NeuralSettings { top: self.top.min(classes), ..settings }
    }

    fn distance(&self, seed: u64) -> DistanceSettings {
        let settings = if self.compat { DistanceSettings::compat() } else { DistanceSettings::default() };
        DistanceSettings { samples: Some(self.boundary_samples), seed, ..settings }
    }

    /// The network on the largest posteriors.
    pub fn neural_attack(&self, gpu: &Gpu, posteriors: &Four<Posteriors>, seed: u64) -> Result<Found> {
        let settings = self.neural(posteriors.classes()?);
        let outcome = neural::attack(gpu, posteriors, &settings, seed)?;
        let title = format!("Neural network on the {} largest posteriors", settings.top);
        let explanation = "A network sees the largest posteriors and whether the prediction is right; it learnt from \
                           a shadow model what members look like.";
        Ok(Found::of("neural", &title, explanation, Family::Neural, outcome))
    }

    /// Thresholds on one number of the posteriors.
    pub fn metric_attacks(&self, posteriors: &Four<Posteriors>) -> Result<Vec<Found>> {
        let settings = if self.compat { MetricSettings::compat() } else { MetricSettings::default() };
        Measure::ALL
            .into_iter()
            .map(|measure| {
                let (outcome, _) = metric::attack(posteriors, measure, &settings)?;
                Ok(Found::of(measure.id(), measure.title(), measure.explanation(), Family::Metric, outcome))
            })
            .collect()
    }

    /// The neural attack after learning from shuffled membership labels.
    pub fn shuffled(&self, gpu: &Gpu, posteriors: &Four<Posteriors>, seed: u64) -> Result<Option<Control>> {
        let settings = self.neural(posteriors.classes()?);
        neural::shuffled_labels(gpu, posteriors, &settings, neural::PERMUTATIONS, seed)
    }

    /// The attacks that see labels only: HopSkipJump and translated images. The classifiers answer with logits.
    pub fn label_only(
        &self,
        gpu: &Gpu,
        four: &Four<&ImageSet>,
        [target, shadow]: [&Loaded; 2],
        seed: u64,
        tell: &mut dyn Tell,
    ) -> Result<Vec<Found>> {
        let shadow_sets = [four.shadow_members, four.shadow_non_members];
        let target_sets = [four.target_members, four.target_non_members];
        let starts = four.shadow_non_members;
        let shadow = Answers::ask(gpu, self, shadow, shadow_sets, starts, (seed, 0), tell)?;
        let target = Answers::ask(gpu, self, target, target_sets, starts, (seed, 2), tell)?;
        let found = |id: &str, title: &str, explanation: &str, result| Found {
            id: id.into(),
            title: title.into(),
            explanation: explanation.into(),
            family: Family::LabelOnly,
            result,
            threshold: None,
            training_accuracy: None,
            queries: None,
            warnings: Vec::new(),
        };
        let (result, tau) = distance_attack(
            Scored { scores: &shadow.distances, members: &shadow.attacked },
            Scored { scores: &target.distances, members: &target.attacked },
            target.attacked_ids.clone(),
            &self.distance(seed),
        )?;
        let boundary = Found {
            threshold: Some(tau),
            queries: Some(target.queries),
            ..found(
                "hop-skip-jump",
                "Distance to the boundary (HopSkipJump)",
                "How far an image must be changed before the label changes, found from labels alone; members lie \
                 further from the boundary.",
                result,
            )
        };
        let settings =
            AugmentationSettings { hard_decisions: self.compat, seed, ..AugmentationSettings::default() };
        let result = augmentation_attack(
            gpu,
            Rows { bits: &shadow.bits, members: &shadow.members },
            Rows { bits: &target.bits, members: &target.members },
            target.ids.clone(),
            &settings,
        )?;
        let moved = Found {
            queries: Some((target.bits.len() / target.members.len().max(1)) as f64),
            ..found(
                "translations",
                "Labels of translated images",
                "Whether the label stays right when the image is moved by a pixel; members' labels are steadier.",
                result,
            )
        };
        Ok(vec![boundary, moved])
    }
}

/// What one model answered about its members and non-members.
struct Answers {
    /// Distances of the attacked images and which of them are members.
    distances: Vec<f64>,
    attacked: Vec<bool>,
    attacked_ids: Vec<String>,
    /// Mean queries of an attacked image.
    queries: f64,
    /// Right labels of translations of all images, and which of them are members.
    bits: Vec<bool>,
    members: Vec<bool>,
    ids: Vec<String>,
}

impl Answers {
    fn ask(
        gpu: &Gpu,
        settings: &MembershipSettings,
        model: &Loaded,
        sets: [&ImageSet; 2],
        starts: &ImageSet,
        (seed, number): (u64, u32),
        tell: &mut dyn Tell,
    ) -> Result<Answers> {
        let pixels = PixelInput::new(gpu, &model.encoder, model.normalization)?;
        let decide = GraphModel::new(gpu, pixels.image(), &QUERIES, &|graph, recording, x| {
            pixels.trace(graph, recording, x)
        })?;
        let choice = settings.distance(seed);
        let base = if settings.compat { Settings::compat() } else { Settings::default() };
        let settings = Settings { seed, ..base };
        let mut answers = Answers {
            distances: Vec::new(),
            attacked: Vec::new(),
            attacked_ids: Vec::new(),
            queries: 0.0,
            bits: Vec::new(),
            members: Vec::new(),
            ids: Vec::new(),
        };
        let id = |member: bool, i: usize| format!("{}/{i}", if member { "member" } else { "non-member" });
        // The same starts for every image: who is a member must not enter through them.
        let pool: Vec<usize> = (0..starts.len().min(STARTS)).collect();
        let starts = values(starts, &pool);
        for (side, set) in sets.into_iter().enumerate() {
            let member = side == 0;
            let number = number + side as u32;
            tell.progress(
                0,
                0,
                &format!("label-only attacks on the {} model, set {number}", model.summary.role),
            );
            let chosen = choice.choose(number, set.len());
            let (images, truth) = (values(set, &chosen), labels(set, &chosen)?);
            let numbers: Vec<u32> = chosen.iter().map(|&i| number << 24 | i as u32).collect();
            let targets = Targets { images: &images, labels: &truth, numbers: &numbers, auxiliary: &starts };
            for found in hop_skip_jump(gpu, &decide, &targets, &settings)? {
                answers.distances.push(f64::from(found.distance));
                answers.queries += f64::from(found.queries);
                answers.attacked.push(member);
            }
            if tell.stop() {
                return Err(Error::Interrupted("stopped; the same command goes on from here".into()));
            }
            let all: Vec<usize> = (0..set.len()).collect();
            let bits = correctness(gpu, &decide, &values(set, &all), &labels(set, &all)?, &translations(1))?;
            answers.bits.extend(bits);
            answers.members.extend(vec![member; set.len()]);
            answers.ids.extend(all.iter().map(|&i| id(member, i)));
            answers.attacked_ids.extend(chosen.iter().map(|&i| id(member, i)));
        }
        answers.queries /= answers.attacked.len().max(1) as f64;
        Ok(answers)
    }
}

/// Pixel values in 0..1 of the chosen images, `[images, 3, H, W]`.
fn values(set: &ImageSet, chosen: &[usize]) -> Vec<f32> {
    let plane = set.width * set.height;
    let mut values = Vec::with_capacity(chosen.len() * plane * 3);
    for &index in chosen {
        let image = set.image(index);
        for channel in 0..3 {
            values.extend((0..plane).map(|pixel| f32::from(image[pixel * 3 + channel]) / 255.0));
        }
    }
    values
}

fn labels(set: &ImageSet, chosen: &[usize]) -> Result<Vec<u32>> {
    let labels = Label::Target.of(set)?;
    Ok(chosen.iter().map(|&index| labels.values[index]).collect())
}
