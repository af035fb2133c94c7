//! A training run on the GPU, advanced step by step, whatever its method.

use super::buffers::{Buffers, LOSS_RING};
use super::config::{Place, Settings, Training};
use super::images::{GpuImages, SetSize};
use super::model::{Model, Values};
use super::plan;
use crate::data::ImageSet;
use crate::gpu::{Gpu, MemoryPlan, Pending, Program, Submission};
use crate::graph::Role;
use crate::kernels::StepState;
use crate::kernels::loss_scale::LossScaleState;
use crate::optim::LearningRate;
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use std::collections::VecDeque;

/// Submits that may be under way.
const IN_FLIGHT: usize = 2;
/// Epochs of the second phase draw from numbers that no epoch of the first has.
const SECOND_PHASE: u32 = 1 << 31;

/// The bits of a step depend on the configuration, the start, the images and the number of the step alone.
pub struct Trainer<'a> {
    gpu: &'a Gpu,
    set: &'a ImageSet,
    labels: Option<&'a [u32]>,
    training: Training,
    rate: LearningRate,
    model: Model,
    buffers: Buffers,
    programs: Vec<Program>,
    done: u64,
    order: Option<(usize, u64, Vec<usize>)>,
    in_flight: VecDeque<Submission>,
}

impl<'a> Trainer<'a> {
    /// Traces, differentiates, plans and compiles the steps; parameters get their initial values.
    ///
    /// # Errors
    /// Settings out of range; tensors over the adapter's limits, before anything large is allocated.
    pub fn new(gpu: &'a Gpu, training: impl Into<Training>, set: &'a ImageSet) -> Result<Trainer<'a>> {
        let training = training.into();
        training.check(set)?;
        let images = GpuImages::new(gpu, set, training.settings().batch)
            .map_err(|error| plan::with_largest_batch(error, gpu.facts(), &training, SetSize::of(set)))?;
        Trainer::with_images(gpu, training, set, images)
    }

    /// The same with the images of `set` kept as `images` does, which has room for a batch; the bits are the same.
    pub fn with_images(
        gpu: &'a Gpu,
        training: impl Into<Training>,
        set: &'a ImageSet,
        images: GpuImages,
    ) -> Result<Trainer<'a>> {
        let training = training.into();
        training.check(set)?;
        let labels = training.labels(set)?;
        let settings = training.settings();
        settings.precision.check_gpu(gpu)?;
        let model = Model::new(settings.encoder, training.attachments())?;
        let values = model.parameters.initial_values(settings.seed);
        let steps = training.total_steps(set.len());
        let buffers = Buffers::new(gpu.into(), &training, &model, Some(&values), images, steps)?;
        let programs = buffers
            .record(gpu.into(), &training, &model)
            .and_then(|steps| steps.iter().map(|step| Program::build(gpu, step)).collect())
            .map_err(|error| plan::with_largest_batch(error, gpu.facts(), &training, SetSize::of(set)))?;
        let rate = training.rate()?;
        Ok(Trainer {
            gpu,
            set,
            labels,
            rate,
            model,
            buffers,
            programs,
            done: 0,
            order: None,
            in_flight: VecDeque::new(),
            training,
        })
    }

    /// Takes the weights of `values` in place of the initial ones, wherever the names and sizes agree; tells the names that it
    /// took. MoCo's key encoder starts as a copy of them.
    pub fn start_from(&mut self, values: &Values) -> Result<Vec<String>> {
        let mut all = self.model.download(self.gpu, &self.buffers.weights)?;
        let mut taken = Vec::new();
        for (name, own) in &mut all {
            if let Some(given) = values.get(name).filter(|given| given.len() == own.len()) {
                own.clone_from(given);
                taken.push(name.clone());
            }
        }
        self.buffers.weights.write(self.gpu, &self.model.parameters, &all)?;
        if let Some(keys) = &self.buffers.keys {
            keys.copy_of(self.gpu, &self.model, &all)?;
        }
        Ok(taken)
    }

    pub fn training(&self) -> &Training {
        &self.training
    }
    pub fn model(&self) -> &Model {
        &self.model
    }
    /// Steps done.
    pub fn step_count(&self) -> u64 {
        self.done
    }
    pub fn steps_per_epoch(&self) -> u64 {
        self.training.steps_per_epoch(self.set.len())
    }
    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.training.total_steps(self.set.len())
    }
    pub fn memory(&self) -> &MemoryPlan {
        self.program().memory()
    }
    /// The program of the first phase, to time and profile.
    pub fn program(&self) -> &Program {
        &self.programs[0]
    }
    /// What step `step`, counted from 0, does.
    pub fn place(&self, step: u64) -> Place {
        self.training.place(step, self.set.len())
    }
    /// The rate of step `step`. The adversary of Talos keeps the base rate (He & Zhang schedule the encoder only).
    pub fn learning_rate(&self, step: u64) -> f64 {
        let place = self.place(step);
        match place.phase {
            0 => self.rate.lr(place.step, self.steps_per_epoch()),
            _ => self.rate.base,
        }
    }

    /// Queues the next step; waits only while more than two are under way.
    pub fn step(&mut self) -> Result<()> {
        let place = self.place(self.done);
        let Settings { seed, batch, optimizer, .. } = self.training.settings();
        let key = Key::from_seed(seed);
        let epoch = place.epoch as u32 | if place.phase == 0 { 0 } else { SECOND_PHASE };
        if self.order.as_ref().is_none_or(|(phase, epoch, _)| (*phase, *epoch) != (place.phase, place.epoch))
        {
            let order = permutation(key.stream(Stream::BatchOrder, epoch), self.set.len());
            self.order = Some((place.phase, place.epoch, order));
        }
        let order = self.order.as_ref().map_or(&[][..], |(_, _, order)| order);
        let first = place.batch as usize * batch;
        let chosen = &order[first..first + batch];
        self.buffers.images.choose(self.gpu, self.set, chosen)?;
        if let (Some(labels), Some(buffer)) = (self.labels, &self.buffers.labels) {
            let rows: Vec<u32> =
                (0..self.training.views()).flat_map(|_| chosen.iter().map(|&i| labels[i])).collect();
            self.gpu.write(buffer, 0, &rows)?;
        }
        if let Some(keys) = &self.buffers.keys {
            keys.prepare(self.gpu, self.done)?;
        }
        let (bias1, bias2) = optimizer.bias_corrections(place.step);
        let state = StepState {
            step: self.done as u32,
            epoch: place.epoch as u32,
            augment_key: key.stream(Stream::Augment, epoch).0,
            dropout_key: key.stream(Stream::Dropout, self.done as u32).0,
            learning_rate: self.learning_rate(self.done) as f32,
            adam_bias1: bias1,
            adam_bias2_sqrt: bias2,
            queue_pointer: self.training.queue_pointer(self.done) as u32,
            optimizer_step: place.step as u32,
            ..StepState::default()
        };
        self.gpu.write(&self.buffers.step_state, 0, &[state])?;
        self.in_flight.push_back(self.programs[place.phase].submit(self.gpu));
        if self.in_flight.len() > IN_FLIGHT
            && let Some(oldest) = self.in_flight.pop_front()
        {
            self.gpu.wait(&oldest)?;
        }
        self.done += 1;
        Ok(())
    }

    /// Asks for the ring of the last 64 losses; that of step s, counted from 0, lies at s % 64.
    pub fn losses_later(&self) -> Result<Pending> {
        self.gpu.read_later(&self.buffers.losses, 0, LOSS_RING * 4)
    }

    /// Everything that the next step depends on: parameters and running statistics, optimizer state. With MoCo the values have
    /// the key encoder's under `encoder_k.`, and `queue` [D, K].
    pub fn download(&self) -> Result<(Values, Vec<Vec<f32>>)> {
        let mut values = self.model.download(self.gpu, &self.buffers.weights)?;
        if let Some(keys) = &self.buffers.keys {
            keys.download(self.gpu, &self.model, &mut values)?;
        }
        let words = self.model.parameters.arena_bytes(Role::Trained) as usize / 4;
        let state =
            self.buffers.optimizer_state.iter().map(|b| self.gpu.read(b, 0, words)).collect::<Result<_>>()?;
        Ok((values, state))
    }

    /// The state of dynamic loss scaling, where the run has it: the next step depends on it too.
    pub fn loss_scale(&self) -> Result<Option<LossScaleState>> {
        self.buffers.loss_scale.as_ref().map(|scale| scale.download(self.gpu)).transpose()
    }

    /// Goes on from what [`Trainer::loss_scale`] gave.
    ///
    /// # Errors
    /// A state where the run has none, or none where it has one.
    pub fn restore_loss_scale(&mut self, state: Option<LossScaleState>) -> Result<()> {
        match (&self.buffers.loss_scale, state) {
            (Some(scale), Some(state)) => scale.restore(self.gpu, state),
            (None, None) => Ok(()),
            (Some(_), None) => Err(Error::shape("checkpoint: the state of loss scaling is missing")),
            (None, Some(_)) => {
                Err(Error::shape("checkpoint: has a state of loss scaling, which the run has not"))
            }
        }
    }

    /// Goes on from what [`Trainer::download`] gave after `done` steps.
    ///
    /// # Errors
    /// Values that do not fit this model, by name.
    pub fn restore(&mut self, done: u64, values: &Values, optimizer_state: &[Vec<f32>]) -> Result<()> {
        let words = self.model.parameters.arena_bytes(Role::Trained) as usize / 4;
        if optimizer_state.len() != self.buffers.optimizer_state.len()
            || optimizer_state.iter().any(|s| s.len() != words)
        {
            return Err(Error::shape("checkpoint: its optimizer state does not fit this configuration"));
        }
        self.buffers.weights.write(self.gpu, &self.model.parameters, values)?;
        if let Some(keys) = &self.buffers.keys {
            keys.restore(self.gpu, &self.model, values)?;
        }
        for (buffer, state) in self.buffers.optimizer_state.iter().zip(optimizer_state) {
            self.gpu.write(buffer, 0, state)?;
        }
        self.done = done;
        Ok(())
    }
}
