//! The control with shuffled labels: an attack that must find nothing.

use super::attackers::Method;
use super::finding::{ShuffledLabels, ShuffledRun};
use super::inputs::Space;
use super::settings::AttributeSettings;
use crate::gpu::Gpu;
use crate::metrics::attribute::{AttributeResult, Confusion};
use crate::metrics::clopper_pearson;
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};

/// Error of all runs together.
const ERROR: f64 = 0.01;

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
    let count = f64::from(settings.shuffles.max(1));
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
        let accuracy = result.accuracy();
        runs.push(ShuffledRun {
            accuracy,
            balanced_accuracy: confusion.balanced_accuracy(),
            expected,
            interval: clopper_pearson(accuracy.successes, accuracy.trials, 1.0 - ERROR / count),
        });
    }
    let at_chance = (!runs.is_empty()).then(|| runs.iter().all(|run| run.interval.contains(run.expected)));
    Ok(ShuffledLabels { runs, at_chance })
}
