//! The defences that Talos is compared with, on the models of one method in one trial.

use super::attribute::on_rows;
use super::config::LeaksConfig;
use super::encoders::Method;
use super::models::{Models, SideModel, accuracy};
use super::parts::Parts;
use super::results::{Defence, MembershipAttack};
use crate::attack::membership::{Four, Posteriors};
use crate::attack::probe::LinearHead;
use crate::data::ImageSet;
use crate::defence::Rows;
use crate::defence::adversarial_regularization::{self as adv_reg, AdvRegSettings};
use crate::defence::attriguard::{
    AttriGuardSettings, Defender, TwoPhaseSettings, guard_embeddings, guard_two_phase,
};
use crate::defence::dp_sgd::{self, DpSgdSettings};
use crate::defence::early_stopping::{Checkpoint, EarlyStoppingSettings, earliest};
use crate::defence::memguard::{MemGuard, MemGuardSettings};
use crate::defence::network::NetworkTraining;
use crate::defence::olympus::{Olympus, OlympusData, OlympusSettings};
use crate::experiment::Tell;
use crate::experiment::features::Label;
use crate::gpu::Gpu;
use crate::metrics::Proportion;
use crate::metrics::accountant::DpStatement;
use crate::optim::Optimizer;
use crate::{Error, Result};

/// Budgets of MemGuard.
const MEMGUARD: [f64; 5] = crate::defence::memguard::EPSILONS;
/// ε of DP-SGD.
const DP_SGD: [f64; 4] = [1.0, 4.0, 8.0, 16.0];
/// Weights of Olympus' adversarial loss.
const OLYMPUS: [f64; 3] = [0.1, 1.0, 10.0];

/// Runs all of them; `tell` hears which.
pub fn run(
    gpu: &Gpu,
    config: &LeaksConfig,
    parts: &Parts,
    (seed, method): (u64, Method),
    models: &Models,
    tell: &mut dyn Tell,
) -> Result<Vec<Defence>> {
    let features = Asked {
        gpu,
        config,
        parts,
        seed,
        method,
        models,
        width: models.target.encoder.encoder.feature_dim(),
        four: models.features(gpu, parts, tell)?,
        shadow_train: models.target.features(gpu, &parts.shadow_train, tell)?,
        rest: match &parts.rest {
            Some(rest) => {
                Some([models.target.features(gpu, rest, tell)?, models.shadow.features(gpu, rest, tell)?])
            }
            None => None,
        },
    };
    let mut found = Vec::new();
    let mut next = |what: &str| -> Result<()> {
        tell.progress(0, 0, &format!("defences on the {method} models: {what}"));
        match tell.stop() {
            true => Err(Error::Interrupted("stopped; the same command goes on from here".into())),
            false => Ok(()),
        }
    };
    if parts.has_attribute() {
        for alpha in OLYMPUS {
            next("Olympus")?;
            found.push(features.olympus(alpha)?);
        }
        next("AttriGuard")?;
        found.extend(features.attriguard()?);
    }
    let published = MemGuardSettings::default().network;
    // The published rate is for thousands of posteriors; on a few hundred the defence classifier learns nothing by it.
    let adam = NetworkTraining { optimizer: Optimizer::adam(0.0), ..published.clone() };
    for (how, training) in [("published training", published), ("trained by Adam", adam)] {
        next("MemGuard")?;
        found.extend(features.memguard(how, training)?);
    }
    next("adversarial regularisation")?;
    found.extend(features.adversarial_regularization()?);
    next("DP-SGD")?;
    for epsilon in DP_SGD {
        found.push(features.dp_sgd(epsilon)?);
    }
    next("early stopping")?;
    found.extend(features.early_stopping()?);
    Ok(found)
}

/// The models of one method and what they answered.
struct Asked<'a> {
    gpu: &'a Gpu,
    config: &'a LeaksConfig,
    parts: &'a Parts,
    seed: u64,
    method: Method,
    models: &'a Models,
    width: usize,
    four: Four<Vec<f32>>,
    /// The target's features of shadow-train, the attribute attacker's images.
    shadow_train: Vec<f32>,
    /// The target's and the shadow's features of the images of no part.
    rest: Option<[Vec<f32>; 2]>,
}

impl Asked<'_> {
    fn entry(&self, id: &str, title: &str, setting: String, task_accuracy: Proportion) -> Defence {
        Defence {
            seed: self.seed,
            method: self.method,
            id: id.into(),
            title: title.into(),
            setting,
            task_accuracy,
            membership: Vec::new(),
            attribute: Vec::new(),
            dp: None,
            notes: Vec::new(),
        }
    }

    /// Accuracies of the attribute attacks on changed embeddings.
    fn attribute(&self, aux: &[f32], test: &[f32]) -> Result<Vec<(String, Proportion)>> {
        let finding = on_rows(self.gpu, self.parts, self.width, (aux, test), self.seed)?;
        Ok(finding.attackers.iter().map(|a| (a.id.clone(), a.metrics.accuracy)).collect())
    }

    /// Accuracy of the target's head on changed embeddings of target-test.
    fn task_accuracy(&self, test: &[f32]) -> Result<Proportion> {
        let set = &self.parts.target_test;
        let posteriors = self.models.target.posteriors_of(&self.models.target.head, test, set)?;
        Ok(accuracy(&posteriors))
    }

    fn olympus(&self, alpha: f64) -> Result<Defence> {
        let set = &self.parts.target_train;
        let attributes = Label::Attribute.of(set)?;
        let settings = OlympusSettings { alpha, seed: self.seed, ..OlympusSettings::default() };
        let data = OlympusData {
            features: Rows::new("olympus", &self.four.target_members, self.width)?,
            labels: &Label::Target.of(set)?.values,
            attributes: &attributes.values,
            attribute_classes: attributes.classes(),
        };
        let mut olympus = Olympus::train(self.gpu, &settings, &data, &self.models.target.head)?;
        let mut hide = |rows: &[f32]| olympus.obfuscate(self.gpu, &Rows::new("olympus", rows, self.width)?);
        let (aux, test) = (hide(&self.shadow_train)?, hide(&self.four.target_non_members)?);
        let accuracy = self.task_accuracy(&test)?;
        let mut entry = self.entry("olympus", "Olympus", format!("alpha {alpha}"), accuracy);
        entry.attribute = self.attribute(&aux, &test)?;
        Ok(entry)
    }

    fn attriguard(&self) -> Result<Vec<Defence>> {
        let attributes = Label::Attribute.of(&self.parts.target_train)?;
        let training = NetworkTraining { seed: self.seed, ..Defender::default_training() };
        let own = Rows::new("attriguard", &self.four.target_members, self.width)?;
        let classes = attributes.classes();
        let defender = Defender::train(self.gpu, &training, &own, &attributes.values, classes)?;
        let aux = Rows::new("attriguard", &self.shadow_train, self.width)?;
        let test = Rows::new("attriguard", &self.four.target_non_members, self.width)?;
        let settings = AttriGuardSettings::default();
        let embedding = |rows: &Rows| guard_embeddings(self.gpu, &settings, &defender, rows);
        let two_phase_settings = TwoPhaseSettings { seed: self.seed, ..TwoPhaseSettings::default() };
        let two_phase = |rows: &Rows| guard_two_phase(&two_phase_settings, &defender, rows);
        let forms = [
            (
                "attriguard",
                "AttriGuard",
                format!("embedding form, alpha {}", settings.alpha),
                embedding(&aux)?,
                embedding(&test)?,
            ),
            (
                "attriguard-two-phase",
                "AttriGuard",
                format!("two phases, budget {}", two_phase_settings.epsilon),
                two_phase(&aux)?,
                two_phase(&test)?,
            ),
        ];
        forms
            .into_iter()
            .map(|(id, title, setting, aux, test)| {
                let accuracy = self.task_accuracy(&test.features)?;
                let mut entry = self.entry(id, title, setting, accuracy);
                entry.attribute = self.attribute(&aux.features, &test.features)?;
                let mean = test.distance.iter().sum::<f64>() / test.distance.len().max(1) as f64;
                entry.notes.push(format!("embeddings move by {mean:.3} on average (L2)"));
                Ok(entry)
            })
            .collect()
    }

    /// Both models answer through MemGuard: the attacker knows the defence and has it on his shadow too.
    fn memguard(&self, how: &str, training: NetworkTraining) -> Result<Vec<Defence>> {
        let (Some(rest), Some(outsiders)) = (&self.rest, &self.parts.rest) else { return Ok(Vec::new()) };
        let answers = Four {
            target_members: self.answers(
                &self.models.target,
                &self.four.target_members,
                &self.parts.target_train,
            )?,
            target_non_members: self.answers(
                &self.models.target,
                &self.four.target_non_members,
                &self.parts.target_test,
            )?,
            shadow_members: self.answers(
                &self.models.shadow,
                &self.four.shadow_members,
                &self.parts.shadow_train,
            )?,
            shadow_non_members: self.answers(
                &self.models.shadow,
                &self.four.shadow_non_members,
                &self.parts.shadow_test,
            )?,
        };
        let classes = answers.classes()?;
        let values =
            |set: &Posteriors| -> Vec<f32> { set.iter().flat_map(|(row, _)| row.to_vec()).collect() };
        let network = NetworkTraining { seed: self.seed, ..training };
        let settings = MemGuardSettings { seed: self.seed, network, ..MemGuardSettings::default() };
        // The non-members that the defender knows are the images of no part.
        let protect = |model: &SideModel, members: &Posteriors, others: &Posteriors, features: &[f32]| {
            let (inside, outside) = (values(members), values(others));
            let known = values(&self.answers(model, features, outsiders)?);
            let guard = MemGuard::train(
                self.gpu,
                &settings,
                &Rows::new("memguard", &inside, classes)?,
                &Rows::new("memguard", &known, classes)?,
            )?;
            let members = guard.protect(&Rows::new("memguard", &inside, classes)?)?;
            let others = guard.protect(&Rows::new("memguard", &outside, classes)?)?;
            Ok::<_, Error>((guard, members, others))
        };
        let (target, t_in, t_out) =
            protect(&self.models.target, &answers.target_members, &answers.target_non_members, &rest[0])?;
        let (shadow, s_in, s_out) =
            protect(&self.models.shadow, &answers.shadow_members, &answers.shadow_non_members, &rest[1])?;
        MEMGUARD
            .iter()
            .map(|&epsilon| {
                let released = |guard: &MemGuard, protected: &[_], labels: &[u32]| {
                    Posteriors::new(classes, guard.release(protected, epsilon), labels.to_vec())
                };
                let released = Four {
                    target_members: released(&target, &t_in, answers.target_members.labels())?,
                    target_non_members: released(&target, &t_out, answers.target_non_members.labels())?,
                    shadow_members: released(&shadow, &s_in, answers.shadow_members.labels())?,
                    shadow_non_members: released(&shadow, &s_out, answers.shadow_non_members.labels())?,
                };
                let accuracy = accuracy(&released.target_non_members);
                let mut entry = self.entry("memguard", "MemGuard", format!("{how}, budget {epsilon}"), accuracy);
                entry.membership = self.membership(&released)?;
                let all = t_in.iter().chain(&t_out);
                let moved = all.map(|query| query.distortion).sum::<f64>() / (t_in.len() + t_out.len()) as f64;
                entry.notes.push(format!(
                    "what it would add moves posteriors by {moved:.3} on average (L1); labels do not change, so label-only attacks see no difference"
                ));
                Ok(entry)
            })
            .collect()
    }

    fn adversarial_regularization(&self) -> Result<Option<Defence>> {
        let (Some(rest), Some(set)) = (&self.rest, &self.parts.rest) else { return Ok(None) };
        let classes = Label::Target.of(set)?.classes();
        let settings = AdvRegSettings { seed: self.seed, ..AdvRegSettings::default() };
        let train =
            |members: &[f32], member_set: &ImageSet, reference: &[f32], sets: [(&[f32], &ImageSet); 2]| {
                let labelled = |features, set| -> Result<adv_reg::Labelled> {
                    Ok(adv_reg::Labelled {
                        features: Rows::new("adversarial regularisation", features, self.width)?,
                        labels: &Label::Target.of(set)?.values,
                    })
                };
                let (own, other) = (labelled(members, member_set)?, labelled(reference, set)?);
                let mut model = adv_reg::train(self.gpu, &settings, &own, &other, classes)?;
                let mut answer = |(features, set): (&[f32], &ImageSet)| -> Result<Posteriors> {
                    let rows = Rows::new("adversarial regularisation", features, self.width)?;
                    let logits = model.logits(self.gpu, &rows)?;
                    Posteriors::from_logits(classes, &logits, Label::Target.of(set)?.values.clone())
                };
                Ok::<_, Error>((answer(sets[0])?, answer(sets[1])?))
            };
        let (four, sets) = (&self.four, self.parts.four());
        let (target_members, target_non_members) = train(
            &four.target_members,
            sets.target_members,
            &rest[0],
            [
                (&four.target_members, sets.target_members),
                (&four.target_non_members, sets.target_non_members),
            ],
        )?;
        let (shadow_members, shadow_non_members) = train(
            &four.shadow_members,
            sets.shadow_members,
            &rest[1],
            [
                (&four.shadow_members, sets.shadow_members),
                (&four.shadow_non_members, sets.shadow_non_members),
            ],
        )?;
        let answers = Four { target_members, target_non_members, shadow_members, shadow_non_members };
        let accuracy = accuracy(&answers.target_non_members);
        let setting = format!("on the head, alpha {}", settings.alpha);
        let mut entry =
            self.entry("adversarial-regularization", "Adversarial regularisation", setting, accuracy);
        entry.membership = self.membership(&answers)?;
        entry.notes.push("of the head; the encoder was trained without it".into());
        Ok(Some(entry))
    }

    fn dp_sgd(&self, epsilon: f64) -> Result<Defence> {
        let train = |features: &[f32], set: &ImageSet, seed: u64| {
            let labels = Label::Target.of(set)?;
            let settings =
                DpSgdSettings { epsilon, seed, batch: 256.min(set.len()), ..DpSgdSettings::default() };
            dp_sgd::train(
                &settings,
                &Rows::new("dp-sgd", features, self.width)?,
                &labels.values,
                labels.classes(),
            )
        };
        let target = train(&self.four.target_members, &self.parts.target_train, 2 * self.seed)?;
        let shadow = train(&self.four.shadow_members, &self.parts.shadow_train, 2 * self.seed + 1)?;
        let statement: DpStatement = target.statement.clone();
        let answers = self.of_heads(&target.head, &shadow.head)?;
        let accuracy = accuracy(&answers.target_non_members);
        let mut entry = self.entry("dp-sgd", "DP-SGD on the probe", format!("epsilon {epsilon}"), accuracy);
        entry.membership = self.membership(&answers)?;
        entry.dp = Some(statement);
        entry.notes.push("the promise is about the probe; the encoder was trained without it".into());
        Ok(entry)
    }

    /// The probe as it was at the earliest epoch that is as accurate as the best, judged on images of no part.
    fn early_stopping(&self) -> Result<Option<Defence>> {
        let (Some(rest), Some(set)) = (&self.rest, &self.parts.rest) else { return Ok(None) };
        let (target, shadow) = (&self.models.target, &self.models.shadow);
        if target.checkpoints.is_empty() {
            return Ok(None);
        }
        let judged = target
            .checkpoints
            .iter()
            .map(|checkpoint| {
                let posteriors = target.posteriors_of(&checkpoint.head, &rest[0], set)?;
                Ok(Checkpoint { epoch: checkpoint.epoch, accuracy: accuracy(&posteriors).value })
            })
            .collect::<Result<Vec<_>>>()?;
        let settings = EarlyStoppingSettings::default();
        let kept = earliest(&settings, &judged)?;
        let at = |model: &'_ SideModel| {
            model.checkpoints.iter().find(|c| c.epoch == kept.epoch).map(|c| c.head.clone())
        };
        let (Some(a), Some(b)) = (at(target), at(shadow)) else { return Ok(None) };
        let answers = self.of_heads(&a, &b)?;
        let setting = format!("probe stopped after {} epochs", kept.epoch);
        let accuracy = accuracy(&answers.target_non_members);
        let mut entry = self.entry("early-stopping", "Early stopping", setting, accuracy);
        entry.membership = self.membership(&answers)?;
        Ok(Some(entry))
    }

    fn answers(&self, model: &SideModel, features: &[f32], set: &ImageSet) -> Result<Posteriors> {
        model.posteriors_of(&model.head, features, set)
    }

    fn of_heads(&self, target: &LinearHead, shadow: &LinearHead) -> Result<Four<Posteriors>> {
        let sets = self.parts.four();
        let (a, b, four) = (&self.models.target, &self.models.shadow, &self.four);
        Ok(Four {
            target_members: a.posteriors_of(target, &four.target_members, sets.target_members)?,
            target_non_members: a.posteriors_of(target, &four.target_non_members, sets.target_non_members)?,
            shadow_members: b.posteriors_of(shadow, &four.shadow_members, sets.shadow_members)?,
            shadow_non_members: b.posteriors_of(shadow, &four.shadow_non_members, sets.shadow_non_members)?,
        })
    }

    fn membership(&self, answers: &Four<Posteriors>) -> Result<Vec<MembershipAttack>> {
        let settings = self.config.membership();
        let mut found = vec![settings.neural_attack(self.gpu, answers, self.seed)?];
        found.extend(settings.metric_attacks(answers)?);
        Ok(found.into_iter().map(|found| MembershipAttack::new(found, self.seed)).collect())
    }
}
