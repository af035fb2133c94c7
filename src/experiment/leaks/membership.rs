//! Membership inference on one method's models: the three families of He & Zhang.

use super::config::LeaksConfig;
use super::models::{Models, SideModel};
use super::parts::{Parts, task};
use super::results::{Family, MembershipAttack};
use crate::Result;
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
use crate::gpu::Gpu;
use crate::metrics::{Control, MembershipMetrics, MembershipResult};
use crate::train::PixelInput;

/// Queries of a submit.
const QUERIES: usize = 256;
/// Images that serve as starts of HopSkipJump.
const STARTS: usize = 64;

/// The attacks that see posteriors.
pub fn on_posteriors(
    gpu: &Gpu,
    config: &LeaksConfig,
    posteriors: &Four<Posteriors>,
    seed: u64,
) -> Result<Vec<MembershipAttack>> {
    let (network, thresholds) = match config.compat {
        false => (NeuralSettings::default(), MetricSettings::default()),
        true => (NeuralSettings::compat(), MetricSettings::compat()),
    };
    let top = network.top.min(posteriors.classes()?);
    let outcome = neural::attack(gpu, posteriors, &NeuralSettings { top, ..network }, seed)?;
    let title = format!("Neural network on the {top} largest posteriors");
    let mut attacks = vec![attack("neural", &title, Family::Neural, outcome, seed)];
    for measure in Measure::ALL {
        let (outcome, _) = metric::attack(posteriors, measure, &thresholds)?;
        attacks.push(attack(measure.id(), measure.title(), Family::Metric, outcome, seed));
    }
    Ok(attacks)
}

/// The neural attack after learning from shuffled membership labels.
pub fn shuffled(
    gpu: &Gpu,
    config: &LeaksConfig,
    posteriors: &Four<Posteriors>,
    seed: u64,
) -> Result<Option<Control>> {
    let settings = if config.compat { NeuralSettings::compat() } else { NeuralSettings::default() };
    let top = settings.top.min(posteriors.classes()?);
    neural::shuffled_labels(gpu, posteriors, &NeuralSettings { top, ..settings }, neural::PERMUTATIONS, seed)
}

/// The attacks that see labels only: HopSkipJump and translated images.
pub fn label_only(
    gpu: &Gpu,
    config: &LeaksConfig,
    parts: &Parts,
    models: &Models,
    seed: u64,
    tell: &mut dyn Tell,
) -> Result<Vec<MembershipAttack>> {
    let four = parts.four();
    let shadow = [four.shadow_members, four.shadow_non_members];
    let target = [four.target_members, four.target_non_members];
    let shadow = Answers::ask(gpu, config, &models.shadow, shadow, (seed, 0), tell)?;
    let target = Answers::ask(gpu, config, &models.target, target, (seed, 2), tell)?;
    let distances = distance_settings(config, seed);
    let ids = |members: &[bool]| {
        (0..members.len())
            .map(|i| format!("{}/{i}", if members[i] { "member" } else { "non-member" }))
            .collect()
    };

    let (result, tau) = distance_attack(
        Scored { scores: &shadow.distances, members: &shadow.attacked },
        Scored { scores: &target.distances, members: &target.attacked },
        ids(&target.attacked),
        &distances,
    )?;
    let mut boundary =
        scored("hop-skip-jump", "Distance to the boundary (HopSkipJump)", Family::LabelOnly, &result, seed);
    boundary.threshold = Some(tau);
    boundary.queries = Some(target.queries);
    let settings =
        AugmentationSettings { hard_decisions: config.compat, seed, ..AugmentationSettings::default() };
    let result = augmentation_attack(
        gpu,
        Rows { bits: &shadow.bits, members: &shadow.members },
        Rows { bits: &target.bits, members: &target.members },
        ids(&target.members),
        &settings,
    )?;
    let mut moved = scored("translations", "Labels of translated images", Family::LabelOnly, &result, seed);
    moved.queries = Some((target.bits.len() / target.members.len().max(1)) as f64);
    Ok(vec![boundary, moved])
}

fn distance_settings(config: &LeaksConfig, seed: u64) -> DistanceSettings {
    let settings = if config.compat { DistanceSettings::compat() } else { DistanceSettings::default() };
    DistanceSettings { samples: Some(config.boundary_samples), seed, ..settings }
}

/// What one model answered about its members and non-members.
struct Answers {
    /// Distances of the attacked images and which of them are members.
    distances: Vec<f64>,
    attacked: Vec<bool>,
    /// Mean queries of an attacked image.
    queries: f64,
    /// Right labels of translations of all images, and which of them are members.
    bits: Vec<bool>,
    members: Vec<bool>,
}

impl Answers {
    fn ask(
        gpu: &Gpu,
        config: &LeaksConfig,
        model: &SideModel,
        sets: [&ImageSet; 2],
        (seed, number): (u64, u32),
        tell: &mut dyn Tell,
    ) -> Result<Answers> {
        let pixels = PixelInput::new(gpu, &model.classifier.encoder, model.classifier.normalization)?;
        let decide = GraphModel::new(gpu, pixels.image(), &[QUERIES], &|graph, recording, x| {
            pixels.trace(graph, recording, x)
        })?;
        let settings = if config.compat { Settings::compat() } else { Settings::default() };
        let settings = Settings { seed, ..settings };
        let choice = distance_settings(config, seed);
        let mut answers = Answers {
            distances: Vec::new(),
            attacked: Vec::new(),
            queries: 0.0,
            bits: Vec::new(),
            members: Vec::new(),
        };
        for (side, set) in sets.into_iter().enumerate() {
            let member = side == 0;
            let number = number + side as u32;
            tell.progress(
                0,
                0,
                &format!("label-only attacks on the {} model, set {number}", model.side.name()),
            );
            let chosen = choice.choose(number, set.len());
            let (images, labels) = (values(set, &chosen), labels(set, &chosen)?);
            // Starts are images of the attacker: of the other set, which is as much his.
            let pool: Vec<usize> = (0..sets[1 - side].len().min(STARTS)).collect();
            let starts = values(sets[1 - side], &pool);
            let numbers: Vec<u32> = chosen.iter().map(|&i| number << 24 | i as u32).collect();
            let targets = Targets { images: &images, labels: &labels, numbers: &numbers, auxiliary: &starts };
            for found in hop_skip_jump(gpu, &decide, &targets, &settings)? {
                answers.distances.push(f64::from(found.distance));
                answers.queries += f64::from(found.queries);
                answers.attacked.push(member);
            }
            if tell.stop() {
                return Err(crate::Error::Interrupted("stopped; the same command goes on from here".into()));
            }
            let all: Vec<usize> = (0..set.len()).collect();
            let bits = correctness(gpu, &decide, &values(set, &all), &labels_of_all(set)?, &translations(1))?;
            answers.bits.extend(bits);
            answers.members.extend(vec![member; set.len()]);
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
    let labels = task(set)?;
    Ok(chosen.iter().map(|&index| labels.values[index]).collect())
}

fn labels_of_all(set: &ImageSet) -> Result<Vec<u32>> {
    Ok(task(set)?.values.clone())
}

/// An outcome with its metrics.
pub fn attack(id: &str, title: &str, family: Family, outcome: Outcome, seed: u64) -> MembershipAttack {
    let found = scored(id, title, family, &outcome.result, seed);
    MembershipAttack { threshold: outcome.threshold, warnings: outcome.warnings, ..found }
}

fn scored(id: &str, title: &str, family: Family, result: &MembershipResult, seed: u64) -> MembershipAttack {
    MembershipAttack {
        id: id.into(),
        title: title.into(),
        family,
        metrics: MembershipMetrics::compute(result, seed),
        threshold: None,
        queries: None,
        warnings: Vec::new(),
    }
}
