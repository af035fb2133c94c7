//! EncoderMI's baselines on the contrastive encoders of a trial: controls that must find nothing.

use super::config::LeaksConfig;
use super::models::{Models, SideModel};
use super::parts::Parts;
use super::results::{Baselines, MembershipAttack};
use crate::Result;
use crate::attack::baselines::differential::{differential_comparison, edge_filtered};
use crate::attack::baselines::{
    Baseline, BaselineSettings, Setting, ViewFeatures, confidence_network, correctness_bits,
    encoder_as_classifier, head_metrics, label_only, multi_view,
};
use crate::attack::membership::{Four, Outcome, Posteriors, Rows};
use crate::attack::probe::{LinearHead, LinearSettings, Rows as ProbeRows, linear_probe};
use crate::augment::Recipe;
use crate::data::ImageSet;
use crate::experiment::Tell;
use crate::experiment::features::Label;
use crate::experiment::membership::{Family, Found};
use crate::gpu::Gpu;
use crate::train::{Encoder, Views};

/// Runs A to G (EncoderMI, section 6.1, as far as it is known). Heads learn on images of no part; F, whose head has
/// learnt on the members themselves, is He & Zhang's own setting.
pub fn run(
    gpu: &Gpu,
    config: &LeaksConfig,
    parts: &Parts,
    models: &Models,
    seed: u64,
    tell: &mut dyn Tell,
) -> Result<Baselines> {
    let settings = BaselineSettings::default();
    let mut found: Vec<Baseline> = Vec::new();
    let plain = models.features(gpu, parts, tell)?;
    let width = models.target.encoder.encoder.feature_dim();
    let rows = plain.try_map(|set| Rows::new(width, set.clone()))?;
    found.extend(encoder_as_classifier(gpu, &rows, &settings, seed)?);
    let four = parts.four();
    let views = Four {
        target_members: views(gpu, config, &models.target, four.target_members, 8 * seed, tell)?,
        target_non_members: views(gpu, config, &models.target, four.target_non_members, 8 * seed + 1, tell)?,
        shadow_members: views(gpu, config, &models.shadow, four.shadow_members, 8 * seed + 2, tell)?,
        shadow_non_members: views(gpu, config, &models.shadow, four.shadow_non_members, 8 * seed + 3, tell)?,
    };
    let view_rows = Four {
        target_members: joined(&plain.target_members, &views.target_members, width, config.views)?,
        target_non_members: joined(
            &plain.target_non_members,
            &views.target_non_members,
            width,
            config.views,
        )?,
        shadow_members: joined(&plain.shadow_members, &views.shadow_members, width, config.views)?,
        shadow_non_members: joined(
            &plain.shadow_non_members,
            &views.shadow_non_members,
            width,
            config.views,
        )?,
    };
    found.extend(multi_view(gpu, &view_rows, &settings, seed)?);

    // F: the heads that learnt on the members.
    let own = models.posteriors(gpu, parts, tell)?;
    found.push(confidence_network(gpu, &own, Setting::HeadOnMembers, &settings, seed)?);
    found.extend(head_metrics(&own, Setting::HeadOnMembers)?);
    let mut head_images = 0;
    if let Some(rest) = &parts.rest {
        head_images = rest.len() as u64;
        let target = neutral_head(gpu, &models.target, rest, seed, tell)?;
        let shadow = neutral_head(gpu, &models.shadow, rest, seed, tell)?;
        let answer = |head: &LinearHead, features: &[f32], set: &ImageSet| -> Result<Posteriors> {
            Posteriors::from_logits(
                head.classes,
                &head.logits(features)?,
                Label::Target.of(set)?.values.clone(),
            )
        };
        let posteriors = Four {
            target_members: answer(&target, &plain.target_members, four.target_members)?,
            target_non_members: answer(&target, &plain.target_non_members, four.target_non_members)?,
            shadow_members: answer(&shadow, &plain.shadow_members, four.shadow_members)?,
            shadow_non_members: answer(&shadow, &plain.shadow_non_members, four.shadow_non_members)?,
        };
        found.push(confidence_network(gpu, &posteriors, Setting::DisjointHead, &settings, seed)?);
        found.extend(head_metrics(&posteriors, Setting::DisjointHead)?);
        let bits = |head: &LinearHead, views: &[f32], set: &ImageSet| -> Result<Rows> {
            let labels =
                Label::Target.of(set)?.values.iter().flat_map(|&label| vec![label; config.views]).collect();
            let posteriors = Posteriors::from_logits(head.classes, &head.logits(views)?, labels)?;
            correctness_bits(&posteriors, config.views)
        };
        let bits = Four {
            target_members: bits(&target, &views.target_members, four.target_members)?,
            target_non_members: bits(&target, &views.target_non_members, four.target_non_members)?,
            shadow_members: bits(&shadow, &views.shadow_members, four.shadow_members)?,
            shadow_non_members: bits(&shadow, &views.shadow_non_members, four.shadow_non_members)?,
        };
        found.extend(label_only(gpu, &bits, &settings, seed)?);
        let edges = edge_filtered(four.target_members);
        let labels = Label::Target.of(four.target_members)?.values.clone();
        let edge_features = models.target.features(gpu, &edges, tell)?;
        let generated = Posteriors::from_logits(target.classes, &target.logits(&edge_features)?, labels)?;
        found.push(untrained(gpu, config, parts, rest, seed, tell)?);
        found.push(differential_comparison(
            &posteriors.target_members,
            &posteriors.target_non_members,
            &generated,
            &settings,
            seed,
        )?);
    }
    let attacks: Vec<MembershipAttack> = found
        .into_iter()
        .map(|Baseline { id, title, explanation, outcome }| {
            MembershipAttack::new(Found::of(&id, &title, &explanation, Family::Neural, outcome), seed)
        })
        .collect();
    Ok(Baselines { seed, head_images, attacks })
}

/// The neural attack on encoders that never trained, with heads that saw no member: nothing can leak.
fn untrained(
    gpu: &Gpu,
    config: &LeaksConfig,
    parts: &Parts,
    rest: &ImageSet,
    seed: u64,
    tell: &mut dyn Tell,
) -> Result<Baseline> {
    let labels = Label::Target.of(rest)?;
    let mut answers = |number: u64, sets: [&ImageSet; 2]| -> Result<[Posteriors; 2]> {
        let encoder = Encoder::untrained(gpu, config.encoder, 2 * seed + number)?;
        let mut features = |set: &ImageSet| -> Result<Vec<f32>> {
            let all: Vec<usize> = (0..set.len()).collect();
            let views = Views::plain(Recipe::plain(config.encoder.size));
            encoder.features(gpu, set, &all, &views, |_| tell.stop())
        };
        let known = features(rest)?;
        let rows = ProbeRows::new(&known, &labels.values, encoder.feature_dim(), labels.classes())?;
        let head = linear_probe(gpu, &LinearSettings::default(), &rows, seed)?;
        let mut answer = |set: &ImageSet| -> Result<Posteriors> {
            let truth = Label::Target.of(set)?.values.clone();
            Posteriors::from_logits(head.classes, &head.logits(&features(set)?)?, truth)
        };
        Ok([answer(sets[0])?, answer(sets[1])?])
    };
    let four = parts.four();
    let [target_members, target_non_members] = answers(0, [four.target_members, four.target_non_members])?;
    let [shadow_members, shadow_non_members] = answers(1, [four.shadow_members, four.shadow_non_members])?;
    let posteriors = Four { target_members, target_non_members, shadow_members, shadow_non_members };
    let found = config.membership().neural_attack(gpu, &posteriors, seed)?;
    let outcome = Outcome {
        result: found.result,
        threshold: found.threshold,
        training_accuracy: found.training_accuracy,
        warnings: found.warnings,
    };
    Ok(Baseline {
        id: "control-untrained".into(),
        title: "Neural attack on encoders that never trained".into(),
        explanation:
            "Encoders with random weights and heads that saw no member: the attack has nothing to find."
                .into(),
        outcome,
    })
}

fn views(
    gpu: &Gpu,
    config: &LeaksConfig,
    model: &SideModel,
    set: &ImageSet,
    seed: u64,
    tell: &mut dyn Tell,
) -> Result<Vec<f32>> {
    model.view_features(gpu, set, (config.views, seed), tell)
}

fn joined(image: &[f32], views: &[f32], width: usize, count: usize) -> Result<ViewFeatures> {
    ViewFeatures::new(width, count, image.to_vec(), views.to_vec())
}

/// A linear head that saw none of the evaluated images.
fn neutral_head(
    gpu: &Gpu,
    model: &SideModel,
    rest: &ImageSet,
    seed: u64,
    tell: &mut dyn Tell,
) -> Result<LinearHead> {
    let features = model.features(gpu, rest, tell)?;
    let labels = Label::Target.of(rest)?;
    let rows =
        ProbeRows::new(&features, &labels.values, model.encoder.encoder.feature_dim(), labels.classes())?;
    linear_probe(gpu, &LinearSettings::default(), &rows, seed)
}
