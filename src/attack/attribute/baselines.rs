//! Baselines of attribute inference: what needs no answer of the victim's model.

use super::attackers::Method;
use super::finding::Baseline;
use super::inputs::{Labelled, Space};
use super::settings::AttributeSettings;
use crate::Result;
use crate::gpu::Gpu;
use crate::metrics::Measured;
use crate::metrics::attribute::{AttributeMetrics, AttributeResult};

/// Width of the pixel baseline's hidden layers.
const PIXEL_WIDTH: usize = 256;

/// 1/C.
pub(super) fn chance(classes: usize) -> Baseline {
    Baseline {
        id: "chance".into(),
        title: "chance".into(),
        explanation: "Guesses each class equally often.".into(),
        accuracy: Measured { value: 1.0 / classes as f64, interval: None },
        metrics: None,
    }
}

pub(super) fn measured(
    id: &str,
    title: &str,
    explanation: &str,
    result: &AttributeResult,
    settings: &AttributeSettings,
    seed: u64,
) -> Baseline {
    let metrics = AttributeMetrics::compute(result, settings.replicates, seed);
    Baseline {
        id: id.into(),
        title: title.into(),
        explanation: explanation.into(),
        accuracy: metrics.accuracy.into(),
        metrics: Some(metrics),
    }
}

/// The auxiliary set's class shares as everybody's posterior.
pub(super) fn majority(aux: &[u32], test: &[u32], classes: usize) -> Result<AttributeResult> {
    let share = |class: usize| aux.iter().filter(|&&a| a as usize == class).count() as f64 / aux.len() as f64;
    let row: Vec<f64> = (0..classes).map(share).collect();
    let scores: Vec<f64> = test.iter().flat_map(|_| row.iter().copied()).collect();
    AttributeResult::from_scores(test, &scores, classes)
}

/// Logistic regression on the one-hot task label (Jayaraman and Evans, CCS 2022); `None` where it is not known.
pub(super) fn imputation(
    gpu: &Gpu,
    settings: &AttributeSettings,
    aux: &Labelled,
    test: &Labelled,
    (classes, task_classes): (usize, usize),
    seed: u64,
) -> Result<Option<AttributeResult>> {
    let (Some(known), Some(asked)) = (aux.task, test.task) else { return Ok(None) };
    let one_hot = |labels: &[u32]| -> Vec<f32> {
        let of = |&label: &u32| (0..task_classes as u32).map(move |c| f32::from(u8::from(c == label)));
        labels.iter().flat_map(of).collect()
    };
    let space = Space { width: task_classes, aux: one_hot(known), test: one_hot(asked) };
    let method = Method::Logistic(&settings.logistic);
    let posteriors = method.posteriors(gpu, &space, aux.attribute, classes, seed)?;
    AttributeResult::from_scores(test.attribute, &posteriors.test, classes).map(Some)
}

/// Classifiers of the attribute trained on the small auxiliary images themselves.
pub(super) fn pixels(
    gpu: &Gpu,
    settings: &AttributeSettings,
    space: &Space,
    aux: &[u32],
    test: &[u32],
    classes: usize,
    seed: u64,
) -> Result<Vec<Baseline>> {
    let methods = [
        ("pixels-logistic", "pixels, logistic regression", Method::Logistic(&settings.logistic)),
        ("pixels-mlp", "pixels, MLP", Method::Adaptive(&settings.adaptive, PIXEL_WIDTH)),
    ];
    let explanation = format!(
        "Trained from scratch on the auxiliary images, made small ({} numbers each): what an attacker who holds the images needs no embedding for.",
        space.width
    );
    let one = |(id, title, method): (&str, &str, Method)| -> Result<Baseline> {
        let posteriors = method.posteriors(gpu, space, aux, classes, seed)?;
        let result = AttributeResult::from_scores(test, &posteriors.test, classes)?;
        Ok(measured(id, title, &explanation, &result, settings, seed))
    };
    methods.into_iter().map(one).collect()
}
