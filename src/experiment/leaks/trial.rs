//! One trial: its encoders, what they leak, its controls.

use super::baselines;
use super::config::LeaksConfig;
use super::encoders::{self, Method};
use super::kept::{Measurement, keep, kept};
use super::models::{Models, accuracy};
use super::parts::{Parts, Side};
use super::results::{Defence, LeaksResults, MembershipAttack, Subject, Utility};
use super::{attribute, defences};
use crate::Result;
use crate::attack::blind::{self, BlindSettings};
use crate::attack::membership::{Four, Posteriors};
use crate::attack::probe::{EpochAccuracy, ProbeKind, ProbeSettings, Rows, probe};
use crate::experiment::Tell;
use crate::experiment::features::Label;
use crate::gpu::Gpu;
use crate::metrics::Proportion;
use crate::nn::EncoderFile;
use crate::train::Start;
use std::path::Path;
use std::time::Instant;

/// One trial.
pub struct Trial<'a> {
    pub gpu: &'a Gpu,
    pub config: &'a LeaksConfig,
    pub folder: &'a Path,
    pub parts: &'a Parts,
    pub seed: u64,
}

impl Trial<'_> {
    /// Trains both encoders of a method, unless that has been done; their files' hashes.
    pub fn encoders(
        &self,
        method: Method,
        start: Option<&Start>,
        tell: &mut dyn Tell,
    ) -> Result<[String; 2]> {
        let Trial { gpu, config, folder, parts, seed } = *self;
        let mut hashes = [String::new(), String::new()];
        for side in Side::BOTH {
            let file = encoders::encoder(gpu, config, folder, parts, (seed, method, side), start, tell)?;
            hashes[side as usize] = EncoderFile::read(&file)?.sha256;
        }
        Ok(hashes)
    }

    /// Measures one method, unless that has been done, and its defences where they are asked for.
    pub fn subject(
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
        let known = kept::<Subject>(&path, Measurement::Subject, &hashes)?;
        let subject = match known {
            Some(subject) => subject,
            None => {
                tell.stage(&format!("measuring: seed {seed}, {method}"));
                let opened = Models::open(gpu, config, folder, parts, (seed, method), tell)?;
                let subject = self.measure(method, &opened, hashes.clone(), tell)?;
                keep(&path, Measurement::Subject, &subject, &hashes)?;
                models = Some(opened);
                subject
            }
        };
        results.subjects.push(subject);
        let path = here.join("defences.json");
        if defended {
            let found = match kept::<Vec<Defence>>(&path, Measurement::Defences, &hashes)? {
                Some(found) => found,
                None => {
                    tell.stage(&format!("defences: seed {seed}, {method}"));
                    let models = match models {
                        Some(models) => models,
                        None => Models::open(gpu, config, folder, parts, (seed, method), tell)?,
                    };
                    let found = defences::run(gpu, config, parts, (seed, method), &models, tell)?;
                    keep(&path, Measurement::Defences, &found, &hashes)?;
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
        posteriors: &Four<Posteriors>,
        tell: &mut dyn Tell,
    ) -> Result<Utility> {
        let Trial { gpu, parts, seed, .. } = *self;
        let four = posteriors.try_map(|set| Ok(accuracy(set)))?;
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
        let find = |kind| -> Result<Proportion> {
            Ok(probe(gpu, kind, &settings, &train, &test, seed)?.test_accuracy)
        };
        let by_epoch = target
            .checkpoints
            .iter()
            .map(|checkpoint| {
                let share = |features, set| -> Result<f64> {
                    Ok(accuracy(&target.posteriors_of(&checkpoint.head, features, set)?).value)
                };
                Ok(EpochAccuracy {
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
    pub fn controls(&self, tell: &mut dyn Tell, results: &mut LeaksResults) -> Result<()> {
        let Trial { gpu, config, folder, parts, seed } = *self;
        let path = folder.join(format!("seed-{seed}")).join("blind.json");
        let images = [parts.target_train.content_hash(), parts.target_test.content_hash()];
        let control = match kept(&path, Measurement::Blind, &images)? {
            Some(control) => control,
            None => {
                tell.stage(&format!("control without a model: seed {seed}"));
                let settings = BlindSettings::default();
                let found = blind::control(gpu, &parts.target_train, &parts.target_test, &settings, seed)?;
                keep(&path, Measurement::Blind, &found.control, &images)?;
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
            let found = match kept(&path, Measurement::Baselines, &encoders)? {
                Some(found) => found,
                None => {
                    tell.stage(&format!("EncoderMI's baselines: seed {seed}"));
                    let models = Models::open(gpu, config, folder, parts, (seed, method), tell)?;
                    let found = baselines::run(gpu, config, parts, &models, seed, tell)?;
                    keep(&path, Measurement::Baselines, &found, &encoders)?;
                    found
                }
            };
            results.baselines.push(found);
        }
        Ok(())
    }
}
