//! The whole attack.

use super::attackers::Method;
use super::baselines;
use super::control::shuffled_labels;
use super::finding::{Attacker, AttributeFinding, Decensoring};
use super::inputs::{Embeddings, Features, Labelled, Space};
use super::settings::AttributeSettings;
use crate::attack::probe::RidgeMap;
use crate::gpu::Gpu;
use crate::metrics::attribute::{AttributeMetrics, AttributeResult, accuracy_difference};
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};

/// An attribute attack with its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeAttack {
    pub settings: AttributeSettings,
    pub seed: u64,
}

/// The chosen auxiliary images' labels and all test labels.
struct Task<'a> {
    attack: &'a AttributeAttack,
    gpu: &'a Gpu,
    aux: Labelled<'a>,
    test: Labelled<'a>,
    classes: usize,
    /// What advantages are measured against.
    reference: AttributeResult,
}

impl AttributeAttack {
    /// Trains every attacker on the auxiliary embeddings and measures it on the test embeddings: the published network,
    /// logistic regression, nearest neighbours, networks of the adaptive widths; on other feature spaces that `given`
    /// holds (mean of views, projection, de-censored) the published network and logistic regression; beside them the
    /// baselines and the control. `auxiliary` names the auxiliary set. `progress` hears what comes next and says whether
    /// to stop.
    ///
    /// # Errors
    /// Parts that do not fit each other; [`Error::Interrupted`] when `progress` says so; [`Error::Diverged`].
    pub fn run(
        &self,
        gpu: &Gpu,
        auxiliary: &str,
        given: &Embeddings,
        progress: &mut dyn FnMut(&str) -> bool,
    ) -> Result<AttributeFinding> {
        given.check()?;
        let settings = &self.settings;
        let mut next = |what: &str| match progress(what) {
            false => Ok(()),
            true => Err(Error::Interrupted("stopped during the attack; nothing was written".into())),
        };
        let rows = given.aux.attribute.len();
        let mut chosen = permutation(Key::from_seed(self.seed).stream(Stream::Attack, 0), rows);
        chosen.truncate(settings.used(rows)?);
        // In the set's own order, so that ratio 1 is the set as it was given.
        chosen.sort_unstable();
        let of_chosen = |labels: &[u32]| -> Vec<u32> { chosen.iter().map(|&i| labels[i]).collect() };
        let (attribute, task) = (of_chosen(given.aux.attribute), given.aux.task.map(of_chosen));
        let aux = Labelled { attribute: &attribute, task: task.as_deref() };
        let (classes, test) = (given.classes, given.test);

        next("baselines")?;
        let majority = baselines::majority(&attribute, test.attribute, classes)?;
        let sizes = (classes, given.task_classes);
        let imputed = baselines::imputation(gpu, settings, &aux, &test, sizes, self.seed)?;
        let mut found = vec![baselines::chance(classes)];
        let measured = |id, title, explanation, result: &AttributeResult| {
            baselines::measured(id, title, explanation, result, settings, self.seed)
        };
        found.push(measured(
            "majority",
            "majority",
            "Always the most frequent class of the auxiliary set.",
            &majority,
        ));
        if let Some(result) = &imputed {
            found.push(measured(
                "imputation",
                "imputation",
                "Logistic regression from the true task label alone: what the attribute's correlation with the task gives.",
                result,
            ));
        }
        if let Some(pixels) = &given.pixels {
            next("pixel baselines")?;
            let space = Space::of(pixels, &chosen);
            let labels = (&attribute[..], test.attribute);
            found.extend(baselines::pixels(gpu, settings, &space, labels.0, labels.1, classes, self.seed)?);
        }

        let advantage_over = if imputed.is_some() { "imputation" } else { "majority" };
        let reference = imputed.unwrap_or(majority);
        let task = Task { attack: self, gpu, aux, test, classes, reference };
        let published = Method::Published(&settings.published);
        let logistic = Method::Logistic(&settings.logistic);
        let embedding = Space::of(&given.embedding, &chosen);
        let mut attackers = Vec::new();
        let widths = settings.adaptive.widths.iter();
        let methods = [published, logistic, Method::Knn(settings.knn)]
            .into_iter()
            .chain(widths.map(|&width| Method::Adaptive(&settings.adaptive, width)));
        for (index, method) in methods.enumerate() {
            next(&method.title())?;
            attackers.push(task.attacker("", "", index > 0, method, &embedding)?);
        }
        let other = |features: &Option<Features>| features.as_ref().map(|f| Space::of(f, &chosen));
        let (decensored, decensoring) = match given.uncensored {
            None => (None, None),
            Some((width, rows)) => {
                next("de-censoring map")?;
                let (space, map) = task.decensored(&embedding, width, rows, &chosen)?;
                (Some(space), Some(map))
            }
        };
        for (prefix, suffix, space) in [
            ("views-", " on the mean of views", other(&given.views)),
            ("projection-", " on the projection", other(&given.projection)),
            ("decensored-", " on de-censored embeddings", decensored),
        ] {
            let Some(space) = space else { continue };
            for method in [published, logistic] {
                next(&format!("{}{suffix}", method.title()))?;
                attackers.push(task.attacker(prefix, suffix, true, method, &space)?);
            }
        }
        let labels = (&attribute[..], test.attribute);
        let shuffled_labels =
            shuffled_labels(gpu, settings, &embedding, labels, classes, self.seed, progress)?;
        let mut finding = AttributeFinding {
            auxiliary: auxiliary.to_string(),
            auxiliary_samples: attribute.len() as u64,
            test_samples: test.attribute.len() as u64,
            classes: classes as u64,
            advantage_over: advantage_over.into(),
            attackers,
            baselines: found,
            shuffled_labels,
            decensoring,
            warnings: Vec::new(),
            settings: settings.clone(),
            seed: self.seed,
        };
        finding.warnings = warnings(&finding, &attribute);
        Ok(finding)
    }
}

impl Task<'_> {
    fn attacker(
        &self,
        prefix: &str,
        suffix: &str,
        adaptive: bool,
        method: Method,
        space: &Space,
    ) -> Result<Attacker> {
        let AttributeAttack { settings, seed } = self.attack;
        let posteriors = method.posteriors(self.gpu, space, self.aux.attribute, self.classes, *seed)?;
        let trained = AttributeResult::from_scores(self.aux.attribute, &posteriors.train, self.classes)?;
        let result = AttributeResult::from_scores(self.test.attribute, &posteriors.test, self.classes)?;
        Ok(Attacker {
            id: format!("{prefix}{}", method.id()),
            title: format!("{}{suffix}", method.title()),
            adaptive,
            training_accuracy: trained.accuracy().value,
            metrics: AttributeMetrics::compute(&result, settings.replicates, *seed),
            by_task: self.test.task.map_or(Ok(Vec::new()), |task| result.by_group(task))?,
            advantage: accuracy_difference(&result, &self.reference, settings.replicates, *seed)?,
            result: Some(result),
        })
    }

    /// Embeddings mapped into the attacker's own uncensored space. The map is fitted on the auxiliary images, so the
    /// attack is trained on mapped embeddings too: those are what it will see.
    fn decensored(
        &self,
        embedding: &Space,
        width: usize,
        uncensored: &[f32],
        chosen: &[usize],
    ) -> Result<(Space, Decensoring)> {
        let AttributeAttack { settings, seed } = self.attack;
        let target: Vec<f32> =
            chosen.iter().flat_map(|&i| &uncensored[i * width..(i + 1) * width]).copied().collect();
        let map = RidgeMap::fit(&settings.ridge, &embedding.aux, embedding.width, &target, width, *seed)?;
        let space = Space { width, aux: map.apply(&embedding.aux)?, test: map.apply(&embedding.test)? };
        Ok((space, Decensoring { l2: map.l2, explained: map.explained }))
    }
}

fn warnings(finding: &AttributeFinding, aux: &[u32]) -> Vec<String> {
    let mut warnings = Vec::new();
    for attacker in finding.attackers.iter().filter(|attacker| attacker.metrics.one_class) {
        warnings.push(format!(
            "{} ({}) gives more than 99 % of the images one class: it learned nothing or died, so its accuracy is that class's share.",
            attacker.title, attacker.id
        ));
    }
    let missing: Vec<String> =
        (0..finding.classes as u32).filter(|class| !aux.contains(class)).map(|c| c.to_string()).collect();
    if !missing.is_empty() {
        warnings.push(format!(
            "The auxiliary set has no image of attribute class {}: no attacker can predict it.",
            missing.join(", ")
        ));
    }
    if finding.shuffled_labels.at_chance == Some(false) {
        warnings.push(
            "The control with shuffled labels is not at chance: the attack or the split has a flaw.".into(),
        );
    }
    if finding.advantage_over == "majority" {
        warnings.push(
            "The task's labels are not known, so advantages are over the majority class, not over imputation.".into(),
        );
    }
    warnings
}
