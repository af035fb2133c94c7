//! An audit of a classifier: every family of attacks with their controls, as a report.

use super::{Family, Found, MembershipSettings};
use crate::attack::blind::{self, BlindSettings};
use crate::attack::membership::{Four, Posteriors};
use crate::data::ImageSet;
use crate::experiment::Tell;
use crate::experiment::encodermi::{Finding, Sets, adapter};
use crate::experiment::features::{Label, plain};
use crate::experiment::load::Loaded;
use crate::experiment::report::{Attack, Citation, Cost, Results, Stage};
use crate::gpu::Gpu;
use crate::metrics::MembershipResult;
use crate::{Error, Result};
use serde_json::json;
use std::time::Instant;

/// What is attacked, and how. Both models answer with logits.
pub struct MembershipAudit<'a> {
    pub target: &'a Loaded,
    pub shadow: &'a Loaded,
    pub sets: &'a Sets,
    pub families: Vec<Family>,
    pub settings: MembershipSettings,
    pub seed: u64,
}

/// Runs the attacks and their controls.
///
/// # Errors
/// Models of other classes than the images' labels; [`Error::Interrupted`] when `tell` asked to stop.
pub fn audit(gpu: &Gpu, asked: &MembershipAudit, tell: &mut dyn Tell) -> Result<Finding> {
    let MembershipAudit { target, shadow, sets, families, settings, seed } = asked;
    let start = Instant::now();
    let mut clock = Instant::now();
    let mut stages = Vec::new();
    let mut lap = |name: &str| {
        stages.push(Stage { name: name.into(), seconds: clock.elapsed().as_secs_f64() });
        clock = Instant::now();
    };
    let four = Four {
        target_members: &sets.members,
        target_non_members: &sets.non_members,
        shadow_members: &sets.shadow_members,
        shadow_non_members: &sets.shadow_non_members,
    };
    tell.stage("asking both classifiers for posteriors");
    let posteriors = Four {
        target_members: posteriors(gpu, target, four.target_members, tell)?,
        target_non_members: posteriors(gpu, target, four.target_non_members, tell)?,
        shadow_members: posteriors(gpu, shadow, four.shadow_members, tell)?,
        shadow_non_members: posteriors(gpu, shadow, four.shadow_non_members, tell)?,
    };
    lap("posteriors");
    let mut results = Results::new("Membership inference on a classifier");
    let mut found: Vec<Found> = Vec::new();
    if families.contains(&Family::Neural) {
        tell.stage("neural attack and its control with shuffled labels");
        found.push(settings.neural_attack(gpu, &posteriors, *seed)?);
        lap("neural attack");
    }
    if families.contains(&Family::Metric) {
        found.extend(settings.metric_attacks(&posteriors)?);
        lap("metric-based attacks");
    }
    if families.contains(&Family::LabelOnly) {
        tell.stage("label-only attacks");
        found.extend(settings.label_only(gpu, &four, [target, shadow], *seed, tell)?);
        lap("label-only attacks");
    }
    let mut scores = Vec::new();
    for one in found {
        let mut attack = Attack::new(&one.id, &one.title, &one.explanation, &one.result, *seed);
        attack.threshold = one.threshold.filter(|threshold| threshold.is_finite());
        attack.training_accuracy = one.training_accuracy;
        attack.parameters = json!({ "family": one.family, "settings": settings });
        if one.family == Family::Neural {
            attack.controls.extend(settings.shuffled(gpu, &posteriors, *seed)?);
        }
        if let Some(queries) = one.queries {
            let what = format!("{}: queries an image", one.title);
            results.cost.push(Cost { what, value: queries, unit: "queries".into() });
        }
        results.warnings.extend(one.warnings.iter().map(|w| format!("{}: {w}", one.title)));
        scores.push((one.id.clone(), named(&one.result, sets)?));
        results.attacks.push(attack);
    }
    tell.stage("control without a model");
    let control =
        blind::control(gpu, four.target_members, four.target_non_members, &BlindSettings::default(), *seed);
    match control {
        Ok(found) => results.controls.push(found.control),
        Err(Error::Shape(problem)) => {
            results.warnings.push(format!("The control without a model was left out: {problem}"))
        }
        Err(error) => return Err(error),
    }
    lap("control without a model");
    results.data = sets.summary();
    results.config =
        json!({ "attack": "membership", "seed": seed, "settings": settings, "families": families });
    results.compat = if settings.compat { vec!["contrastive-leaks".into()] } else { Vec::new() };
    results.seeds = [("attack".to_string(), *seed)].into();
    results.encoder = target.summary.clone();
    results.other_encoders = vec![shadow.summary.clone()];
    results.citation = citations();
    results.adapter = adapter(gpu);
    results.stages = stages;
    results.wall_time_s = start.elapsed().as_secs_f64();
    Ok(Finding { results, scores })
}

/// The result with the images' own names behind their places.
fn named(result: &MembershipResult, sets: &Sets) -> Result<MembershipResult> {
    let name = |(id, &member): (&String, &bool)| {
        let set = if member { &sets.members } else { &sets.non_members };
        let place = id.rsplit('/').next().and_then(|place| place.parse::<usize>().ok());
        let image = place.and_then(|place| set.ids.get(place));
        image.map_or_else(|| id.clone(), |image| format!("{id}/{image}"))
    };
    let ids = result.ids().iter().zip(result.members()).map(name).collect();
    MembershipResult::new(
        result.scores().to_vec(),
        result.members().to_vec(),
        result.decisions().to_vec(),
        ids,
    )
}

fn posteriors(gpu: &Gpu, model: &Loaded, set: &ImageSet, tell: &mut dyn Tell) -> Result<Posteriors> {
    let labels = Label::Target.of(set)?;
    let classes = model.encoder.feature_dim();
    if labels.classes() != classes {
        return Err(Error::usage(format!(
            "{}: expected the {classes} classes of the {} classifier, found {}",
            set.name,
            model.summary.role,
            labels.classes()
        )));
    }
    let logits = plain(gpu, model, set, &mut |what| tell.note(what))?;
    Posteriors::from_logits(classes, &logits, labels.values.clone())
}

fn citations() -> Vec<Citation> {
    let cite = |what: &str, authors: &str, title: &str, venue: &str| Citation {
        what: what.into(),
        authors: authors.into(),
        title: title.into(),
        venue: venue.into(),
        identifier: None,
    };
    vec![
        cite(
            "Membership inference on contrastive models",
            "X. He, Y. Zhang",
            "Quantifying and Mitigating Privacy Risks of Contrastive Learning",
            "ACM CCS 2021",
        ),
        cite(
            "Metric-based attacks",
            "L. Song, P. Mittal",
            "Systematic Evaluation of Privacy Risks of Machine Learning Models",
            "USENIX Security 2021",
        ),
        cite(
            "Label-only attacks",
            "C. A. Choquette-Choo, F. Tramèr, N. Carlini, N. Papernot",
            "Label-Only Membership Inference Attacks",
            "ICML 2021",
        ),
        cite(
            "HopSkipJump",
            "J. Chen, M. I. Jordan, M. J. Wainwright",
            "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack",
            "IEEE S&P 2020",
        ),
    ]
}
