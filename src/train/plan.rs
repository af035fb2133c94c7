//! What a run needs of an adapter, found without one: its steps are recorded and planned, nothing is allocated.

use super::buffers::Buffers;
use super::config::Training;
use super::images::{GpuImages, SetSize};
use super::model::Model;
use crate::gpu::{Allocator, Facts, MemoryPlan};
use crate::{Error, Result};

/// The memory of a step of each of the run's phases on an adapter with `facts`, the whole set's images included where they
/// stay there.
///
/// # Errors
/// [`Error::Limit`] for what is over the adapter's limits, by its name, size and limit; settings that fit no model.
pub fn memory(facts: &Facts, training: &Training, set: SetSize) -> Result<Vec<MemoryPlan>> {
    training.check_settings()?;
    let allocator = Allocator::Plan(facts);
    let settings = training.settings();
    let model = Model::new(settings.encoder, training.attachments())?;
    let images = GpuImages::room(allocator, set, settings.batch)?;
    let buffers = Buffers::new(allocator, training, &model, None, images, training.total_steps(set.images))?;
    buffers.record(allocator, training, &model)?.iter().map(|recording| recording.plan()).collect()
}

/// Whether the run fits an adapter with `facts`.
///
/// # Errors
/// As [`memory`], and [`Error::Limit`] says which is the largest batch that fits.
pub fn check(facts: &Facts, training: &Training, set: SetSize) -> Result<()> {
    memory(facts, training, set).map(drop).map_err(|error| with_largest_batch(error, facts, training, set))
}

/// A refusal by the adapter's limits with the largest batch that the method of `training` allows and that fits; other
/// errors as they are.
pub(super) fn with_largest_batch(error: Error, facts: &Facts, training: &Training, set: SetSize) -> Error {
    let batch = training.settings().batch;
    let allowed = (2..batch).filter(|&batch| training.with_batch(batch).check_settings().is_ok());
    name_largest(error, batch, allowed, |batch| memory(facts, &training.with_batch(batch), set).is_ok())
}

/// A refusal of `batch` by the adapter's limits with the largest of the smaller ones, `allowed` in rising order, that
/// `fits`: by bisection, since what is needed grows with the batch. Other errors as they are.
pub(super) fn name_largest(
    error: Error,
    batch: usize,
    allowed: impl Iterator<Item = usize>,
    fits: impl Fn(usize) -> bool,
) -> Error {
    let Error::Limit { problem, .. } = error else { return error };
    let allowed: Vec<usize> = allowed.collect();
    let fitting = allowed.partition_point(|&batch| fits(batch));
    let advice = match fitting.checked_sub(1).and_then(|last| allowed.get(last)) {
        Some(largest) => format!("the largest batch that fits is {largest}"),
        None => "no batch fits; use smaller images or a smaller model".to_string(),
    };
    Error::Limit { problem: format!("batch {batch}: {problem}"), advice }
}
