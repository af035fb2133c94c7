//! The SimCLR training program: augment, encode, project, NT-Xent, backward, optimizer, in one replayed list.

use super::config::{BatchNormScope, SimclrConfig};
use super::images::GpuImages;
use super::model::{Model, Values, Weights};
use crate::augment::augment;
use crate::data::ImageSet;
use crate::gpu::{Buffer, Gpu, MemoryPlan, Pending, Program, Recording, Slice, Submission};
use crate::graph::ops::{ConcatRows, NtXent, TakeRows};
use crate::graph::{Form, Graph, Role, Value};
use crate::kernels::augment::{Batch, ViewOrder};
use crate::kernels::optim::{Segment, SegmentTable};
use crate::kernels::{Shape, StepState, Tensor, loss};
use crate::nn::{Mode, Tracer};
use crate::optim::{Arena, LearningRate};
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use std::collections::VecDeque;

/// Losses kept on the GPU until they are read.
pub const LOSS_RING: u64 = 64;
/// Submits that may be under way.
const IN_FLIGHT: usize = 2;

/// A SimCLR run on the GPU, advanced step by step. The bits of a step depend on the configuration, the images
/// and the number of the step alone.
pub struct SimclrTrainer<'a> {
    gpu: &'a Gpu,
    set: &'a ImageSet,
    config: SimclrConfig,
    rate: LearningRate,
    model: Model,
    weights: Weights,
    optimizer_state: Vec<Buffer>,
    images: GpuImages,
    step_state: Buffer,
    losses: Buffer,
    program: Program,
    done: u64,
    order: (u64, Vec<usize>),
    in_flight: VecDeque<Submission>,
}

impl<'a> SimclrTrainer<'a> {
    /// Traces, differentiates, plans and compiles the step; parameters get their initial values.
    ///
    /// # Errors
    /// Settings out of range; tensors over the adapter's limits, before anything large is allocated.
    pub fn new(gpu: &'a Gpu, config: SimclrConfig, set: &'a ImageSet) -> Result<SimclrTrainer<'a>> {
        config.check(set.len())?;
        let images = GpuImages::new(gpu, set, config.batch)?;
        SimclrTrainer::with_images(gpu, config, set, images)
    }

    /// The same with the images of `set` kept as `images` does, which has room for a batch; the bits are the same.
    pub fn with_images(
        gpu: &'a Gpu,
        config: SimclrConfig,
        set: &'a ImageSet,
        images: GpuImages,
    ) -> Result<SimclrTrainer<'a>> {
        config.check(set.len())?;
        let model = Model::new(config.encoder, Some(config.head))?;
        let weights = model.upload(gpu, &model.parameters.initial_values(config.seed))?;
        let bytes = model.parameters.arena_bytes(Role::Trained);
        let optimizer_state = (0..config.optimizer.state_buffers())
            .map(|i| gpu.buffer(&format!("optimizer state {i}"), bytes))
            .collect::<Result<Vec<_>>>()?;
        let step_state = gpu.buffer("step", size_of::<StepState>() as u64)?;
        let losses = gpu.buffer("losses", LOSS_RING * 4)?;
        let mut parts = Parts { gpu, config: &config, model: &model, weights: &weights, images: &images };
        let program = parts.program(&optimizer_state, &step_state, &losses)?;
        let rate = config.rate()?;
        Ok(SimclrTrainer {
            gpu,
            set,
            rate,
            model,
            weights,
            optimizer_state,
            images,
            step_state,
            losses,
            program,
            done: 0,
            order: (u64::MAX, Vec::new()),
            in_flight: VecDeque::new(),
            config,
        })
    }

    pub fn config(&self) -> &SimclrConfig {
        &self.config
    }
    pub fn model(&self) -> &Model {
        &self.model
    }
    /// Steps done.
    pub fn step_count(&self) -> u64 {
        self.done
    }
    pub fn steps_per_epoch(&self) -> u64 {
        self.config.steps_per_epoch(self.set.len())
    }
    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.steps_per_epoch() * self.config.epochs
    }
    pub fn memory(&self) -> &MemoryPlan {
        self.program.memory()
    }
    /// The program of one step, to time and profile.
    pub fn program(&self) -> &Program {
        &self.program
    }
    pub fn learning_rate(&self, step: u64) -> f64 {
        self.rate.lr(step, self.steps_per_epoch())
    }

    /// Queues the next step; waits only while more than two are under way.
    pub fn step(&mut self) -> Result<()> {
        let (epoch, place) = (self.done / self.steps_per_epoch(), self.done % self.steps_per_epoch());
        let key = Key::from_seed(self.config.seed);
        if self.order.0 != epoch {
            let key = key.stream(Stream::BatchOrder, epoch as u32);
            self.order = (epoch, permutation(key, self.set.len()));
        }
        let first = place as usize * self.config.batch;
        self.images.choose(self.gpu, self.set, &self.order.1[first..first + self.config.batch])?;
        let (bias1, bias2) = self.config.optimizer.bias_corrections(self.done);
        let state = StepState {
            step: self.done as u32,
            epoch: epoch as u32,
            augment_key: key.stream(Stream::Augment, epoch as u32).0,
            dropout_key: key.stream(Stream::Dropout, self.done as u32).0,
            learning_rate: self.learning_rate(self.done) as f32,
            adam_bias1: bias1,
            adam_bias2_sqrt: bias2,
            ..StepState::default()
        };
        self.gpu.write(&self.step_state, 0, &[state])?;
        self.in_flight.push_back(self.program.submit(self.gpu));
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
        self.gpu.read_later(&self.losses, 0, LOSS_RING * 4)
    }

    /// Everything that the next step depends on: parameters and running statistics, optimizer state.
    pub fn download(&self) -> Result<(Values, Vec<Vec<f32>>)> {
        let values = self.model.download(self.gpu, &self.weights)?;
        let words = self.model.parameters.arena_bytes(Role::Trained) as usize / 4;
        let state = self.optimizer_state.iter().map(|b| self.gpu.read(b, 0, words)).collect::<Result<_>>()?;
        Ok((values, state))
    }

    /// Goes on from what [`SimclrTrainer::download`] gave after `done` steps.
    ///
    /// # Errors
    /// Values that do not fit this model, by name.
    pub fn restore(&mut self, done: u64, values: &Values, optimizer_state: &[Vec<f32>]) -> Result<()> {
        let words = self.model.parameters.arena_bytes(Role::Trained) as usize / 4;
        if optimizer_state.len() != self.optimizer_state.len()
            || optimizer_state.iter().any(|s| s.len() != words)
        {
            return Err(Error::shape("checkpoint: its optimizer state does not fit this configuration"));
        }
        for (role, arena) in [(Role::Trained, &self.weights.trained), (Role::State, &self.weights.state)] {
            self.gpu.write(arena, 0, &self.model.parameters.pack_arena(role, values)?)?;
        }
        for (buffer, state) in self.optimizer_state.iter().zip(optimizer_state) {
            self.gpu.write(buffer, 0, state)?;
        }
        self.done = done;
        Ok(())
    }
}

/// What the program is made of.
struct Parts<'a> {
    gpu: &'a Gpu,
    config: &'a SimclrConfig,
    model: &'a Model,
    weights: &'a Weights,
    images: &'a GpuImages,
}

impl Parts<'_> {
    fn program(
        &mut self,
        optimizer_state: &[Buffer],
        step_state: &Buffer,
        losses: &Buffer,
    ) -> Result<Program> {
        let (gpu, config) = (self.gpu, self.config);
        let gradients = gpu.buffer("gradients", self.model.parameters.arena_bytes(Role::Trained))?;
        let mut recording = Recording::new(gpu.facts());
        let step = recording.persistent(step_state);

        let size = config.encoder.size;
        let input = Shape::new(2 * config.batch, 3, size, size);
        let views = Tensor::transient(&mut recording, "views", input);
        let batch = Batch {
            entries: recording.persistent(self.images.entries()),
            images: config.batch,
            views: 2,
            first_view: 0,
            order: ViewOrder::ViewMajor,
        };
        let source = self.images.images(&mut recording);
        augment(&mut recording, step, &source, &batch, &config.recipe, views)?;

        let mut graph = Graph::new();
        let x = graph.input("views", Form::Tensor(input));
        let z = self.project(&mut graph, x)?;
        let loss = graph.apply1(NtXent { temperature: config.temperature }, &[z])?;
        let parameter_gradients = graph.backward(loss)?;
        let mut memory = self
            .weights
            .memory(&self.model.parameters, &graph, &mut recording)
            .with_input("views", views.slice);
        for (id, gradient) in parameter_gradients {
            memory.values.insert(gradient, self.model.parameters.slice(id, &mut recording, &gradients));
        }
        let loss_slice = recording.transient("loss", 16);
        memory.values.insert(loss, loss_slice);
        graph.record(&mut recording, &memory)?;
        let ring = recording.persistent(losses);
        loss::keep_loss(&mut recording, step, Tensor::new(Shape::matrix(1, 1), loss_slice), ring);
        self.optimize(&mut recording, step, &gradients, optimizer_state)?;
        Program::build(gpu, &recording)
    }

    /// Projections `[2N, D]` of the views.
    fn project(&self, graph: &mut Graph, x: Value) -> Result<Value> {
        let n = self.config.batch;
        let parameters = &self.model.parameters;
        let mut tracer = Tracer { graph, parameters, mode: Mode::Train, draws: None };
        let pass = |tracer: &mut Tracer, x| {
            let h = self.model.encoder.forward(tracer, x)?;
            match &self.model.head {
                Some(head) => head.forward(tracer, h),
                None => Ok(h),
            }
        };
        match self.config.batch_norm {
            BatchNormScope::Joint => pass(&mut tracer, x),
            BatchNormScope::PerView => {
                let first = tracer.graph.apply1(TakeRows { first: 0, count: n }, &[x])?;
                let second = tracer.graph.apply1(TakeRows { first: n, count: n }, &[x])?;
                let (a, b) = (pass(&mut tracer, first)?, pass(&mut tracer, second)?);
                tracer.graph.apply1(ConcatRows, &[a, b])
            }
        }
    }

    fn optimize(
        &self,
        recording: &mut Recording,
        step: Slice,
        gradients: &Buffer,
        state: &[Buffer],
    ) -> Result<()> {
        let segments: Vec<Segment> = self
            .model
            .parameters
            .iter()
            .filter(|(_, p)| p.trainable())
            .map(|(_, p)| Segment { offset: p.offset as usize / 16, length: p.form.bytes() as usize / 16 })
            .collect();
        let table = SegmentTable::new(self.gpu, &segments)?;
        let state: Vec<Slice> = state.iter().map(|b| recording.persistent(b)).collect();
        let arena = Arena {
            parameters: recording.persistent(&self.weights.trained),
            gradients: recording.persistent(gradients),
            state: &state,
            segments: Some(&table),
        };
        self.config.optimizer.step(recording, step, &arena)
    }
}
