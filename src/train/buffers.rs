//! The buffers that a run's programs work on, and the recordings of its steps.

use super::config::Training;
use super::images::GpuImages;
use super::key_encoder::KeyEncoder;
use super::model::{Model, Values, Weights};
use super::precision::LossScale;
use super::program::Parts;
use crate::Result;
use crate::gpu::{Allocator, Buffer, Recording};
use crate::graph::Role;
use crate::kernels::StepState;

/// Losses kept on the GPU until they are read.
pub const LOSS_RING: u64 = 64;

pub(super) struct Buffers {
    pub weights: Weights,
    pub keys: Option<KeyEncoder>,
    gradients: Buffer,
    pub optimizer_state: Vec<Buffer>,
    pub images: GpuImages,
    pub step_state: Buffer,
    pub loss_scale: Option<LossScale>,
    /// One label for each row of a batch.
    pub labels: Option<Buffer>,
    pub losses: Buffer,
}

impl Buffers {
    /// `values` of the model; none for a plan. `steps`: of the whole run.
    ///
    /// # Errors
    /// Names a buffer that is too large for the adapter.
    pub fn new(
        allocator: Allocator,
        training: &Training,
        model: &Model,
        values: Option<&Values>,
        images: GpuImages,
        steps: u64,
    ) -> Result<Buffers> {
        let settings = training.settings();
        let bytes = model.parameters.arena_bytes(Role::Trained);
        let weights = model.memory(allocator, values)?;
        let keys = match training {
            Training::Moco(config) => Some(KeyEncoder::new(allocator, config, model, values)?),
            Training::Simclr(_) | Training::Supervised(_) => None,
        };
        let optimizer_state = (0..settings.optimizer.state_buffers())
            .map(|i| allocator.buffer(&format!("optimizer state {i}"), bytes))
            .collect::<Result<Vec<_>>>()?;
        let rows = settings.batch * training.views();
        let labels = training.labelled().then(|| allocator.buffer("labels", rows as u64 * 4)).transpose()?;
        let scaling = settings.precision.loss_scaling;
        let loss_scale =
            scaling.map(|s| LossScale::new(allocator, s, &settings.optimizer, steps)).transpose()?;
        Ok(Buffers {
            loss_scale,
            weights,
            keys,
            gradients: allocator.buffer("gradients", bytes)?,
            optimizer_state,
            images,
            step_state: allocator.buffer("step", size_of::<StepState>() as u64)?,
            labels,
            losses: allocator.buffer("losses", LOSS_RING * 4)?,
        })
    }

    /// A step of each of the run's phases.
    pub fn record(&self, allocator: Allocator, training: &Training, model: &Model) -> Result<Vec<Recording>> {
        let parts = Parts {
            allocator,
            settings: training.settings(),
            model,
            weights: &self.weights,
            images: &self.images,
            gradients: &self.gradients,
            optimizer_state: &self.optimizer_state,
            step_state: &self.step_state,
            loss_scale: self.loss_scale.as_ref(),
            labels: self.labels.as_ref(),
            keys: self.keys.as_ref(),
            losses: &self.losses,
        };
        match training {
            Training::Simclr(config) => config.recordings(&parts),
            Training::Moco(config) => Ok(vec![config.recording(&parts)?]),
            Training::Supervised(config) => Ok(vec![config.recording(&parts)?]),
        }
    }
}
