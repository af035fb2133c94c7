//! The control with shuffled labels: an attack that must find nothing.

use super::attackers::Method;
use super::finding::{ShuffledLabels, ShuffledRun};
use super::inputs::Space;
use super::settings::AttributeSettings;
use crate::gpu::Gpu;
use crate::metrics::Trials;
use crate::metrics::attribute::{AttributeResult, Confusion};
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};

/// Level of the interval that decides.
const CONTROL_LEVEL: f64 = 0.99;

/// Trains the published attack on permuted auxiliary labels, `settings.shuffles` times. `stop` is asked before each run.
pub(super) fn shuffled_labels(
    gpu: &Gpu,
    settings: &AttributeSettings,
    space: &Space,
    (aux, test): (&[u32], &[u32]),
    classes: usize,
    seed: u64,
    stop: &mut dyn FnMut(&str) -> bool,
) -> Result<ShuffledLabels> {
    let mut runs = Vec::new();
    for run in 0..settings.shuffles {
        if stop(&format!("shuffled labels, run {} of {}", run + 1, settings.shuffles)) {
            return Err(Error::Interrupted("stopped during the control; nothing was written".into()));
        }
        let order = permutation(Key::from_seed(seed).stream(Stream::Attack, 1 + run), aux.len());
        let shuffled: Vec<u32> = order.into_iter().map(|i| aux[i]).collect();
        let method = Method::Published(&settings.published);
        let run_seed = seed.wrapping_add(1 + u64::from(run));
        let posteriors = method.posteriors(gpu, space, &shuffled, classes, run_seed)?;
        let result = AttributeResult::from_scores(test, &posteriors.test, classes)?;
        let confusion = Confusion::new(&result);
        let n = result.count() as f64;
        let expected =
            (0..classes).map(|c| confusion.support(c) as f64 / n * (confusion.predicted(c) as f64 / n)).sum();
        let (accuracy, balanced_accuracy) = (result.accuracy(), confusion.balanced_accuracy());
        runs.push(ShuffledRun { accuracy, balanced_accuracy, expected });
    }
    let gains: Vec<f64> = runs.iter().map(|run: &ShuffledRun| run.accuracy.value - run.expected).collect();
    let excess = Trials::new(&gains, CONTROL_LEVEL);
    let interval = excess.as_ref().and_then(|excess| excess.interval);
    Ok(ShuffledLabels { runs, excess, at_chance: interval.map(|interval| interval.contains(0.0)) })
}
