//! The auditor's job: an encoder that somebody else trained, images known to be in and out of its training data, one report.
//!
//! Images are looked at once (duplicates, what they tell without any model), then the encoder is asked about views of
//! each, in chunks that are kept in the folder, so that the same audit goes on where it was interrupted.

mod attribute;
mod images;
mod shadow;

pub use images::AuditImages;
pub use shadow::ShadowTraining;

use super::encodermi::{Audit, Finding, Knowledge, Side};
use super::load::{Answer, Hints, Loaded, fit_in_words, fitted_specs, load_file};
use super::report::{Assumption, Cost, Results, Stage};
use super::tell::Tell;
use crate::attack::blind::{self, BlindSettings};
use crate::attack::encodermi::{Settings, Variant};
use crate::augment::Recipe;
use crate::data::Images;
use crate::data::resize::Fit;
use crate::gpu::Gpu;
use crate::nn::EncoderFile;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// Where the auditor's inference classifiers come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Auditor {
    /// No other encoder: one half of the images teaches how the others are judged. `fit_images`: members, and as many
    /// non-members, that rules are learned from, at most.
    Alone { fit_images: usize },
    /// An encoder of the auditor's own with its images.
    Shadow { encoder: PathBuf, members: String, non_members: String },
    /// Images of which one half trains a shadow encoder.
    ShadowData { data: String, training: ShadowTraining },
}

/// What is audited, and how.
#[derive(Clone, Debug, Serialize)]
pub struct AuditOptions {
    pub encoder: PathBuf,
    pub hints: Hints,
    /// Data SPECs of images that the encoder was and was not trained on.
    pub members: String,
    pub non_members: String,
    pub auditor: Auditor,
    pub variants: Vec<Variant>,
    pub settings: Settings,
    /// Name of the views' recipe; by default `clip-query` for CLIP and `moco-cifar` for all others.
    pub augment: Option<String>,
    pub shuffles: u32,
    pub control_images: usize,
    /// Whether the images' attribute is inferred from features too.
    pub attribute: bool,
    pub blind: BlindSettings,
    pub seed: u64,
    /// Folder of the report, and of what is kept for an interrupted audit to go on.
    pub out: PathBuf,
}

/// Folder of kept measurements in that of the report.
const KEPT: &str = "measured";

/// Runs the audit. The finding is not written yet.
///
/// # Errors
/// Files and SPECs that cannot be read, by name; sets that overlap; [`Error::Interrupted`] when `tell` says so, after
/// which the same audit goes on.
pub fn audit(gpu: &Gpu, options: &AuditOptions, tell: &mut dyn Tell) -> Result<Finding> {
    let start = Instant::now();
    tell.stage(&format!("reading {}", options.encoder.display()));
    let file = EncoderFile::read(&options.encoder)?;
    let mut specs = vec![&options.members[..], &options.non_members];
    match &options.auditor {
        Auditor::Alone { .. } => {}
        Auditor::Shadow { members, non_members, .. } => specs.extend([&members[..], non_members]),
        Auditor::ShadowData { data, .. } => specs.push(data),
    }
    let mut specs = fitted_specs(&specs, &file, &options.hints)?;
    let fit = specs[0].fit;
    let shadow_images = match &options.auditor {
        Auditor::ShadowData { .. } => {
            specs.pop().map(|spec| shadow::halves(&spec, options.seed)).transpose()?
        }
        _ => None,
    };
    let mut halves: Vec<Box<dyn Images>> = Vec::new();
    if let Some((members, non_members)) = shadow_images.clone() {
        halves.extend([Box::new(members) as Box<dyn Images>, Box::new(non_members)]);
    }
    let given = AuditImages::open(&specs, halves)?;
    given.check(&options.blind, options.attribute)?;
    let side = given.side();
    let loaded = load_file(gpu, file, "target", side, &options.hints, Answer::Features)?;
    let name = options.augment.as_deref();
    let own_recipe = recipe(name, &loaded)?;
    let given_shadow = match &options.auditor {
        Auditor::Shadow { encoder, .. } => {
            let file = EncoderFile::read(encoder)?;
            Some(load_file(gpu, file, "shadow", side, &options.hints, Answer::Features)?)
        }
        _ => None,
    };
    if given_shadow.as_ref().is_some_and(|shadow| shadow.sha256() == loaded.sha256()) {
        return Err(Error::usage(format!(
            "{} is given as its own shadow; the shadow is an encoder of yours, trained on other images",
            options.encoder.display()
        )));
    }
    tell.stage("looking at every image");
    let surveyed = given.survey(&mut |what| tell.note(what))?;
    surveyed.check(&options.blind)?;
    let looked = start.elapsed().as_secs_f64();
    let shadow = match (&options.auditor, &shadow_images) {
        (Auditor::ShadowData { data, training }, Some((members, _))) => {
            // Without images that are members or non-members of the audited encoder.
            let members = members.subset(surveyed.kept(2))?;
            Some(training.train(gpu, &loaded, data, &members, options, tell)?)
        }
        _ => given_shadow,
    };
    let trained = start.elapsed().as_secs_f64() - looked;

    let shadow_recipe = shadow.as_ref().map(|shadow| recipe(name, shadow)).transpose()?;
    let parts = match &options.auditor {
        Auditor::Alone { fit_images } => surveyed.held_out(*fit_images, options.seed),
        _ => surveyed.parts(),
    };
    let chosen = given.chosen(&parts)?;
    let kept = options.out.join(KEPT);
    let target = Side {
        encoder: &loaded.encoder,
        sha256: loaded.sha256(),
        recipe: &own_recipe,
        members: &chosen[0],
        non_members: &chosen[1],
    };
    let (members, non_members): (&dyn Images, &dyn Images) = (&chosen[2], &chosen[3]);
    let knowledge = match (&shadow, &shadow_recipe) {
        (Some(shadow), Some(recipe)) => Knowledge::Shadow(Side {
            encoder: &shadow.encoder,
            sha256: shadow.sha256(),
            recipe,
            members,
            non_members,
        }),
        _ => Knowledge::Own { members, non_members },
    };
    let audit = Audit {
        target,
        knowledge,
        variants: options.variants.clone(),
        settings: options.settings,
        shuffles: options.shuffles,
        control_images: options.control_images,
        keep: Some(&kept),
        seed: options.seed,
    };
    tell.stage("asking the encoder about views of each image");
    let title = format!("Audit of {}", options.encoder.display());
    let mut finding = audit.run(gpu, &title, &mut |what| tell.note(what))?;
    let results = &mut finding.results;
    results.stages.insert(
        0,
        Stage {
            name: "looking at every image: duplicates, what it tells without a model".into(),
            seconds: looked,
        },
    );
    if trained > 1.0 {
        results.stages.insert(1, Stage { name: "training the shadow encoder".into(), seconds: trained });
    }

    tell.stage("control: a classifier that sees only the images");
    let clock = Instant::now();
    let [members, non_members] = surveyed.described()?;
    results
        .controls
        .push(blind::cross_validate(gpu, &members, &non_members, &options.blind, options.seed)?.control);
    results.stages.push(Stage { name: "blind control".into(), seconds: clock.elapsed().as_secs_f64() });
    if options.attribute {
        tell.stage("attribute inference");
        let clock = Instant::now();
        let (found, queries) =
            attribute::infer(gpu, &loaded, &given.chosen(&surveyed.parts())?, &kept, options.seed, tell)?;
        results.attribute = Some(found);
        results.cost.push(Cost {
            what: "Queries to the audited encoder for attribute inference".into(),
            value: queries as f64,
            unit: "queries".into(),
        });
        results
            .stages
            .push(Stage { name: "attribute inference".into(), seconds: clock.elapsed().as_secs_f64() });
    }

    results.data = given.summary(&surveyed, &parts);
    results.encoder = loaded.summary.clone();
    results.other_encoders = shadow.iter().map(|shadow| shadow.summary.clone()).collect();
    results.warnings.extend(given.notes());
    if loaded.data_hash.as_ref().is_some_and(|said| *said != surveyed.content_hash(0)) {
        results.warnings.push(
            "The encoder's file says that it was trained on other images than --members names: membership labels may be wrong.".into(),
        );
    }
    describe(results, options, &loaded, fit);
    results.wall_time_s = start.elapsed().as_secs_f64();
    Ok(finding)
}

/// How views are made for an encoder: its own size and normalisation.
fn recipe(name: Option<&str>, loaded: &Loaded) -> Result<Recipe> {
    let config = loaded.encoder.config();
    let usual = if config.arch.is_clip() { "clip-query" } else { "moco-cifar" };
    let recipe = Recipe::named(name.unwrap_or(usual))?;
    if recipe.crop.is_none() {
        return Err(Error::usage(format!(
            "{}: its views are all alike; choose a random recipe such as moco-cifar",
            name.unwrap_or(usual)
        )));
    }
    Ok(recipe.sized(config.size).normalised(loaded.normalization))
}

/// What the numbers rest on, for specialists, and what they do not say, for everybody.
fn describe(results: &mut Results, options: &AuditOptions, loaded: &Loaded, fit: Fit) {
    let assume = |what: &str, value: String, certainty: &str| Assumption {
        what: what.into(),
        value,
        certainty: certainty.into(),
    };
    for sentence in &loaded.conclusions {
        results.assumptions.push(assume("Encoder file", sentence.clone(), "concluded from names and shapes"));
    }
    let (how, note) = match &options.auditor {
        Auditor::Alone { fit_images } => (
            format!(
                "trained on half of the members and of the non-members, at most {fit_images} of each, drawn at random; the others are judged"
            ),
            Some(
                "No shadow encoder was given: rules were learned from some members and non-members of this encoder, and the others were judged. This shows what the encoder's answers give away to somebody who knows some of its training images, which is more than a stranger knows.",
            ),
        ),
        Auditor::Shadow { encoder, .. } => {
            (format!("trained on the shadow encoder {}", encoder.display()), None)
        }
        Auditor::ShadowData { data, training } => {
            (format!("trained on a shadow encoder: {training} on one half of {data}"), None)
        }
    };
    results.assumptions.push(assume("Preparation of images", fit_in_words(fit), "chosen"));
    results.assumptions.push(assume("Inference classifiers", how, "chosen"));
    results.notes.extend(note.map(String::from));
    let recipe = results.config.get("recipe").cloned();
    let ran =
        json!({ "attack": "audit", "recipe": recipe, "preparation": fit_in_words(fit), "options": options });
    results.config = without_nulls(ran);
}

/// TOML has no null: what is not set is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let set = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(set.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        other => other,
    }
}
