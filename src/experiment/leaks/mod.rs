//! He & Zhang's experiment (ACM CCS 2021): what contrastive models leak against supervised ones, and what Talos
//! changes. For each trial: encoders of every method for target and shadow, task classifiers, membership inference of
//! three families, attribute inference with adaptive attackers, other defences, controls.
//!
//! Everything lies in one folder: encoders in `seed-N/METHOD/{target,shadow}`, what was measured of them in
//! `seed-N/METHOD/subject.json`; a run that was stopped goes on where it was.

mod attribute;
mod baselines;
mod config;
mod defences;
mod encoders;
mod models;
mod page;
mod parts;
mod presets;
mod results;
mod summary;

pub use config::{LeaksConfig, Scale, StageZero};
pub use encoders::Method;
pub use page::{markdown, render};
pub use presets::{PRESETS, preset};
pub use results::{Baselines, Classes, Defence, LeaksResults, MembershipAttack, SCHEMA, Subject, Utility};
pub use summary::{AttributeRow, Comparison, Measured, Row, Summary};

use crate::attack::blind::{self, BlindSettings};
use crate::attack::probe::{ProbeKind, ProbeSettings, Rows, probe};
use crate::experiment::Tell;
use crate::experiment::encodermi::adapter;
use crate::experiment::features::Label;
use crate::experiment::report::{DataPart, DataSummary, Stage};
use crate::files::write_bytes_atomic;
use crate::gpu::Gpu;
use crate::nn::EncoderFile;
use crate::train::{CONFIG_FILE, Start};
use crate::{Error, Result};
use models::Models;
use parts::{Parts, Side};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;

/// Raised whenever an attack, a defence or a control measures differently: older measurements are then made again.
const MEASUREMENT: u32 = 1;
const RESULTS: &str = "results.json";
const PAGE: &str = "report.html";

/// Runs what is missing in `folder` and writes `results.json`, `report.html`, `membership.csv` and `config.toml` there.
///
/// # Errors
/// Settings out of range; a folder of another experiment; [`Error::Interrupted`] when `tell` asked to stop: the same call goes on.
pub fn run(gpu: &Gpu, config: &LeaksConfig, folder: &Path, tell: &mut dyn Tell) -> Result<LeaksResults> {
    config.check()?;
    let start = Instant::now();
    same_experiment(config, folder)?;
    let first = Parts::open(config, config.seeds[0])?;
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let text = toml::to_string_pretty(config).map_err(|e| Error::usage(format!("configuration: {e}")))?;
    write_bytes_atomic(folder.join(CONFIG_FILE), text.as_bytes())?;
    let mut results = empty(gpu, config, &first)?;
    drop(first);
    let mut clock = Instant::now();
    let stage_zero = encoders::stage_zero(gpu, config, folder, tell)?;
    let mut lap = |results: &mut LeaksResults, name: String| {
        results.stages.push(Stage { name, seconds: clock.elapsed().as_secs_f64() });
        clock = Instant::now();
    };
    lap(&mut results, "stage 0".into());
    // Everything is trained before anything is measured: training takes most of the time and knows no attack.
    for &seed in &config.seeds {
        let parts = Parts::open(config, seed)?;
        let trial = Trial { gpu, config, folder, parts: &parts, seed };
        for method in encoders::methods(config, seed, parts.has_attribute()) {
            trial.encoders(method, stage_zero.as_ref(), tell)?;
        }
        lap(&mut results, format!("training, trial {seed}"));
    }
    for &seed in &config.seeds {
        let parts = Parts::open(config, seed)?;
        if parts.rest.is_none() && config.defence_seeds.contains(&seed) {
            results.warnings.push(format!(
                "Trial {seed}: the four parts leave no images of the pool. MemGuard, adversarial regularisation, early \
                 stopping, the untrained control and the baselines with a head of their own need some and were left \
                 out; a smaller --part leaves some."
            ));
        }
        let trial = Trial { gpu, config, folder, parts: &parts, seed };
        for method in encoders::methods(config, seed, parts.has_attribute()) {
            trial.subject(method, stage_zero.as_ref(), tell, &mut results)?;
        }
        trial.controls(tell, &mut results)?;
        lap(&mut results, format!("measuring, trial {seed}"));
    }
    results.wall_time_s = start.elapsed().as_secs_f64();
    write(folder, &results)?;
    Ok(results)
}

/// Writes the results and the page.
fn write(folder: &Path, results: &LeaksResults) -> Result<()> {
    store(&folder.join(RESULTS), results)?;
    write_bytes_atomic(folder.join("membership.csv"), summary::csv(results).as_bytes())?;
    write_bytes_atomic(folder.join(PAGE), render(results).as_bytes())
}

/// Whether `folder` holds results of this experiment rather than an audit's.
pub fn is_here(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join(RESULTS))
        .is_ok_and(|text| text.contains("\"experiment\": \"contrastive-leaks\""))
}

/// Renders the results in `folder` again.
///
/// # Errors
/// Results that are missing or not understood.
pub fn rerender(folder: &Path) -> Result<LeaksResults> {
    let path = folder.join(RESULTS);
    let results: LeaksResults = fetch(&path)?
        .ok_or_else(|| Error::data(path.display(), "expected the results of an experiment, found none"))?;
    write(folder, &results)?;
    Ok(results)
}

fn same_experiment(config: &LeaksConfig, folder: &Path) -> Result<()> {
    let path = folder.join(CONFIG_FILE);
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    let old: LeaksConfig =
        toml::from_str(&text).map_err(|e| Error::data(path.display(), e.to_string().trim_end()))?;
    // More trials and a longer curve go on with what is there.
    let comparable = |c: &LeaksConfig| LeaksConfig {
        seeds: Vec::new(),
        sweep: Vec::new(),
        sweep_seeds: Vec::new(),
        defence_seeds: Vec::new(),
        lambda: 0.0,
        ..c.clone()
    };
    if comparable(&old) != comparable(config) {
        return Err(Error::usage(format!(
            "{}: holds the same experiment with other settings ({}); choose another folder with --out, or delete it",
            folder.display(),
            path.display()
        )));
    }
    Ok(())
}

fn empty(gpu: &Gpu, config: &LeaksConfig, parts: &Parts) -> Result<LeaksResults> {
    let sets = [
        ("target-train", &parts.target_train),
        ("target-test", &parts.target_test),
        ("shadow-train", &parts.shadow_train),
        ("shadow-test", &parts.shadow_test),
    ];
    let classes = |label: Label| -> Result<Classes> {
        let mut classes = Classes { names: label.of(sets[0].1)?.names.clone(), counts: Vec::new() };
        classes.counts = vec![0; classes.names.len()];
        for (_, set) in &sets {
            for (sum, count) in classes.counts.iter_mut().zip(label.of(set)?.counts()) {
                *sum += count as u64;
            }
        }
        Ok(classes)
    };
    let near = crate::data::duplicates::near_duplicates(&parts.target_train, &parts.target_test);
    Ok(LeaksResults {
        schema: SCHEMA,
        experiment: "contrastive-leaks".into(),
        tool: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
        title: format!("What contrastive models leak: {}", parts.target_train.name),
        config: config.clone(),
        data: DataSummary {
            name: parts.target_train.name.clone(),
            image_size: Some([parts.target_train.height as u64, parts.target_train.width as u64]),
            content_hash: None,
            parts: sets
                .iter()
                .map(|(role, set)| DataPart {
                    role: role.to_string(),
                    count: set.len() as u64,
                    sha256: set.content_hash(),
                })
                .collect(),
            duplicates_removed: parts.duplicates,
            near_duplicates: Some(near as u64),
            files_skipped: 0,
        },
        task: classes(Label::Target)?,
        attribute: if parts.has_attribute() { classes(Label::Attribute)? } else { Classes::default() },
        subjects: Vec::new(),
        defences: Vec::new(),
        baselines: Vec::new(),
        blind: Vec::new(),
        adapter: adapter(gpu),
        wall_time_s: 0.0,
        stages: Vec::new(),
        warnings: Vec::new(),
    })
}

/// One trial.
struct Trial<'a> {
    gpu: &'a Gpu,
    config: &'a LeaksConfig,
    folder: &'a Path,
    parts: &'a Parts,
    seed: u64,
}

impl Trial<'_> {
    /// Trains both encoders of a method, unless that has been done; their files' hashes.
    fn encoders(&self, method: Method, start: Option<&Start>, tell: &mut dyn Tell) -> Result<[String; 2]> {
        let Trial { gpu, config, folder, parts, seed } = *self;
        let mut hashes = [String::new(), String::new()];
        for side in Side::BOTH {
            let file = encoders::encoder(gpu, config, folder, parts, (seed, method, side), start, tell)?;
            hashes[side as usize] = EncoderFile::read(&file)?.sha256;
        }
        Ok(hashes)
    }

    /// Measures one method, unless that has been done, and its defences where they are asked for.
    fn subject(
        &self,
        method: Method,
        start: Option<&Start>,
        tell: &mut dyn Tell,
        results: &mut LeaksResults,
    ) -> Result<()> {
        let Trial { gpu, config, folder, parts, seed } = *self;
        let hashes = self.encoders(method, start, tell)?;
        let here = encoders::folder(folder, seed, method);
        let defended = config.defence_seeds.contains(&seed)
            && matches!(method, Method::Contrastive | Method::Supervised);
        let mut models = None;
        let path = here.join("subject.json");
        let known = kept::<Subject>(&path, &hashes)?;
        let subject = match known {
            Some(subject) => subject,
            None => {
                tell.stage(&format!("measuring: seed {seed}, {method}"));
                let opened = Models::open(gpu, config, folder, parts, (seed, method), tell)?;
                let subject = self.measure(method, &opened, hashes.clone(), tell)?;
                keep(&path, &subject, &hashes)?;
                models = Some(opened);
                subject
            }
        };
        results.subjects.push(subject);
        let path = here.join("defences.json");
        if defended {
            let found = match kept::<Vec<Defence>>(&path, &hashes)? {
                Some(found) => found,
                None => {
                    tell.stage(&format!("defences: seed {seed}, {method}"));
                    let models = match models {
                        Some(models) => models,
                        None => Models::open(gpu, config, folder, parts, (seed, method), tell)?,
                    };
                    let found = defences::run(gpu, config, parts, (seed, method), &models, tell)?;
                    keep(&path, &found, &hashes)?;
                    found
                }
            };
            results.defences.extend(found);
        }
        Ok(())
    }

    fn measure(
        &self,
        method: Method,
        models: &Models,
        encoders: [String; 2],
        tell: &mut dyn Tell,
    ) -> Result<Subject> {
        let Trial { gpu, config, folder, parts, seed } = *self;
        let start = Instant::now();
        let posteriors = models.posteriors(gpu, parts, tell)?;
        let utility = self.utility(models, &posteriors, tell)?;
        let settings = config.membership();
        let mut attacks = vec![settings.neural_attack(gpu, &posteriors, seed)?];
        attacks.extend(settings.metric_attacks(&posteriors)?);
        let classifiers = [&models.target.classifier, &models.shadow.classifier];
        attacks.extend(settings.label_only(gpu, &parts.four(), classifiers, seed, tell)?);
        let membership = attacks.into_iter().map(|found| MembershipAttack::new(found, seed)).collect();
        let shuffled = settings.shuffled(gpu, &posteriors, seed)?;
        let attacked =
            attribute::Attacked { config, root: folder, parts, seed, method, target: &models.target };
        let attribute =
            if parts.has_attribute() { attribute::attack(gpu, &attacked, tell)? } else { Vec::new() };
        let seconds = start.elapsed().as_secs_f64();
        Ok(Subject { seed, method, encoders, utility, membership, shuffled, attribute, seconds })
    }

    fn utility(
        &self,
        models: &Models,
        posteriors: &crate::attack::membership::Four<crate::attack::membership::Posteriors>,
        tell: &mut dyn Tell,
    ) -> Result<Utility> {
        let Trial { gpu, parts, seed, .. } = *self;
        let four = posteriors.try_map(|set| Ok(defences::accuracy(set)))?;
        let target = &models.target;
        let (train, test) = (
            target.features(gpu, &parts.target_train, tell)?,
            target.features(gpu, &parts.target_test, tell)?,
        );
        let (train_labels, test_labels) =
            (Label::Target.of(&parts.target_train)?, Label::Target.of(&parts.target_test)?);
        let (width, classes) = (target.encoder.encoder.feature_dim(), train_labels.classes());
        let train = Rows::new(&train, &train_labels.values, width, classes)?;
        let test = Rows::new(&test, &test_labels.values, width, classes)?;
        let settings = ProbeSettings::default();
        let find = |kind| -> Result<crate::metrics::Proportion> {
            Ok(probe(gpu, kind, &settings, &train, &test, seed)?.test_accuracy)
        };
        let by_epoch = target
            .checkpoints
            .iter()
            .map(|checkpoint| {
                let share = |features, set| -> Result<f64> {
                    Ok(defences::accuracy(&target.posteriors_of(&checkpoint.head, features, set)?).value)
                };
                Ok(crate::attack::probe::EpochAccuracy {
                    epoch: checkpoint.epoch,
                    train: share(train.features, &parts.target_train)?,
                    test: share(test.features, &parts.target_test)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Utility {
            overfitting_gap: four.target_members.value - four.target_non_members.value,
            target_train: four.target_members,
            target_test: four.target_non_members,
            shadow_train: four.shadow_members,
            shadow_test: four.shadow_non_members,
            logistic: find(ProbeKind::Logistic)?,
            neighbours: find(ProbeKind::Knn)?,
            by_epoch,
        })
    }

    /// What must find nothing: images without a model, and EncoderMI's baselines.
    fn controls(&self, tell: &mut dyn Tell, results: &mut LeaksResults) -> Result<()> {
        let Trial { gpu, config, folder, parts, seed } = *self;
        let path = folder.join(format!("seed-{seed}")).join("blind.json");
        let images = [parts.target_train.content_hash(), parts.target_test.content_hash()];
        let control = match kept(&path, &images)? {
            Some(control) => control,
            None => {
                tell.stage(&format!("control without a model: seed {seed}"));
                let settings = BlindSettings::default();
                let found = blind::control(gpu, &parts.target_train, &parts.target_test, &settings, seed)?;
                keep(&path, &found.control, &images)?;
                found.control
            }
        };
        if control.at_chance == Some(false) {
            results.warnings.push(format!(
                "Trial {seed}: members and non-members are distinguishable without the model."
            ));
        }
        results.blind.push((seed, control));
        if config.defence_seeds.contains(&seed) {
            let path = folder.join(format!("seed-{seed}")).join("baselines.json");
            let method = Method::Contrastive;
            let encoders = results
                .subjects
                .iter()
                .find(|subject| subject.seed == seed && subject.method == method)
                .map(|subject| subject.encoders.clone())
                .unwrap_or_default();
            let found = match kept(&path, &encoders)? {
                Some(found) => found,
                None => {
                    tell.stage(&format!("EncoderMI's baselines: seed {seed}"));
                    let models = Models::open(gpu, config, folder, parts, (seed, method), tell)?;
                    let found = baselines::run(gpu, config, parts, &models, seed, tell)?;
                    keep(&path, &found, &encoders)?;
                    found
                }
            };
            results.baselines.push(found);
        }
        Ok(())
    }
}

/// A measurement with what it was made of.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    measurement: u32,
    of: [String; 2],
    found: T,
}

fn keep<T: Serialize>(path: &Path, found: &T, of: &[String; 2]) -> Result<()> {
    store(path, &Kept { measurement: MEASUREMENT, of: of.clone(), found })
}

/// The measurement in `path`, if it was made of these files by these attacks.
fn kept<T: DeserializeOwned>(path: &Path, of: &[String; 2]) -> Result<Option<T>> {
    // Another measurement may have had another form.
    let Some(value) = fetch::<serde_json::Value>(path)? else { return Ok(None) };
    if value.get("measurement").and_then(serde_json::Value::as_u64) != Some(u64::from(MEASUREMENT)) {
        return Ok(None);
    }
    let kept: Kept<T> = serde_json::from_value(value)
        .map_err(|e| Error::data(path.display(), format!("{e}; delete the file to measure again")))?;
    Ok(Some(kept).filter(|kept| kept.of == *of).map(|kept| kept.found))
}

fn store(path: &Path, value: &impl Serialize) -> Result<()> {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Error::shape(format!("{}: {e}", path.display())))?;
    write_bytes_atomic(path, text.as_bytes())
}

/// What `path` holds; `None` where there is no file.
fn fetch<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|e| Error::data(path.display(), format!("{e}; delete the file to measure again"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, error)),
    }
}
