//! Several small networks that share one set of parameters and are trained in turns: adversaries against defenders.
//!
//! A [`Learner`] owns the weights. A [`Player`] is a contiguous span of them (the parameters of one name prefix) with an
//! optimizer of its own. A [`Pass`] is a recorded program: one step of a player on a weighted sum of losses, or a forward
//! run. Gradients go only to the player's parameters; everything else is frozen in that pass.

mod batches;
mod session;

pub use batches::{Batches, EpochOrder, gather};
pub use session::{Feed, Input, SAMPLES};

use super::model::{Values, Weights};
use crate::gpu::{Buffer, Gpu, Program, Slice, Submission};
use crate::graph::{Form, ParameterId, ParameterSet, Role, Value};
use crate::kernels::StepState;
use crate::nn::{Mode, Tracer};
use crate::optim::{Arena, Optimizer};
use crate::rng::{Key, Stream};
use crate::{Error, Result};
use session::Session;
use std::collections::VecDeque;

/// The trained span of parameters of one name prefix, and its optimizer.
pub struct Player {
    prefix: String,
    members: Vec<ParameterId>,
    /// Bytes of the arena, from – to.
    span: [u64; 2],
    optimizer: Optimizer,
    state: Vec<Buffer>,
    steps: u64,
}

impl Player {
    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }
}

/// A recorded program with the buffers of its inputs and its result.
pub struct Pass {
    name: String,
    program: Program,
    inputs: Vec<(Input, Buffer)>,
    /// Losses in the order of the trace (16 bytes each), or the result of a forward run.
    results: Vec<(Form, Buffer)>,
}

/// Weights, gradients and passes over one set of parameters.
pub struct Learner {
    parameters: ParameterSet,
    weights: Weights,
    gradients: Buffer,
    step: Buffer,
    seed: u64,
    under_way: VecDeque<Submission>,
}

impl Learner {
    /// Uploads `values`, which hold every parameter by name.
    ///
    /// # Errors
    /// A missing or mis-sized tensor, by name.
    pub fn new(gpu: &Gpu, parameters: ParameterSet, values: &Values, seed: u64) -> Result<Learner> {
        let arena = |label, role| gpu.buffer_with(label, &parameters.pack_arena(role, values)?);
        let weights =
            Weights { trained: arena("parameters", Role::Trained)?, state: arena("state", Role::State)? };
        let gradients = parameters.arena(gpu, "gradients", Role::Trained)?;
        let step = gpu.buffer("step", size_of::<StepState>() as u64)?;
        Ok(Learner { parameters, weights, gradients, step, seed, under_way: VecDeque::new() })
    }

    pub fn parameters(&self) -> &ParameterSet {
        &self.parameters
    }

    /// A player over the trained parameters whose names begin with `prefix`.
    ///
    /// # Errors
    /// No such parameter, or others registered between them: a span must be contiguous.
    pub fn player(&self, gpu: &Gpu, prefix: &str, optimizer: Optimizer) -> Result<Player> {
        optimizer.check()?;
        let trained: Vec<_> = self.parameters.iter().filter(|(_, p)| p.trainable()).collect();
        let own = |name: &str| name.starts_with(prefix);
        let first = trained.iter().position(|(_, p)| own(&p.name));
        let last = trained.iter().rposition(|(_, p)| own(&p.name));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(Error::usage(format!("learner: no trained parameter begins with `{prefix}`")));
        };
        if let Some((_, stranger)) = trained[first..=last].iter().find(|(_, p)| !own(&p.name)) {
            return Err(Error::usage(format!(
                "learner: the parameters of `{prefix}` are not contiguous, {} lies between them; register them together",
                stranger.name
            )));
        }
        let from = trained[first].1.offset;
        let to = trained.get(last + 1).map_or(self.parameters.arena_bytes(Role::Trained), |(_, p)| p.offset);
        let state = (0..optimizer.state_buffers())
            .map(|_| gpu.buffer("optimizer state", to - from))
            .collect::<Result<Vec<_>>>()?;
        let members = trained[first..=last].iter().map(|(id, _)| *id).collect();
        Ok(Player { prefix: prefix.into(), members, span: [from, to], optimizer, state, steps: 0 })
    }

    /// Forgets the optimizer's state.
    pub fn reset(&self, gpu: &Gpu, player: &mut Player) -> Result<()> {
        player.steps = 0;
        for buffer in &player.state {
            gpu.write(buffer, 0, &vec![0f32; (player.span[1] - player.span[0]) as usize / 4])?;
        }
        Ok(())
    }

    /// Records one step of `player` on Σ weight·loss of the losses that `trace` returns. Layers are traced in training mode.
    ///
    /// # Errors
    /// What the layers find; losses that do not depend on the player.
    pub fn training(
        &self,
        gpu: &Gpu,
        player: &Player,
        inputs: &[Input],
        trace: impl FnOnce(&mut Tracer, &[Value]) -> Result<Vec<(Value, f32)>>,
    ) -> Result<Pass> {
        let mut session = Session::new(self, gpu, inputs)?;
        let losses = session.trace(self, Mode::Train, trace)?;
        let found = session.graph.backward_weighted(&losses)?;
        let mut memory = session.memory(self);
        let results = session.results(gpu, &mut memory, losses.iter().map(|(loss, _)| *loss))?;
        let mut reached = 0;
        for &id in &player.members {
            let gradient = self.parameters.slice(id, &mut session.recording, &self.gradients);
            match found.iter().find(|(found, _)| *found == id) {
                Some((_, value)) => {
                    memory.values.insert(*value, gradient);
                    reached += 1;
                }
                // Another pass may have left its gradient there.
                None => session.recording.clear(gradient),
            }
        }
        if reached == 0 {
            return Err(Error::shape(format!(
                "learner: no loss depends on a parameter of `{}`",
                player.prefix
            )));
        }
        session.graph.record(&mut session.recording, &memory)?;
        let [from, to] = player.span;
        let mut whole = |buffer: &Buffer| session.recording.persistent(buffer);
        let arena: [Slice; 2] =
            [&self.weights.trained, &self.gradients].map(|buffer| whole(buffer).part(from, to - from));
        let state: Vec<Slice> = player.state.iter().map(|b| whole(b).part(0, to - from)).collect();
        let step = whole(&self.step);
        let arena = Arena { parameters: arena[0], gradients: arena[1], state: &state, segments: None };
        player.optimizer.step(&mut session.recording, step, &arena)?;
        session.finish(gpu, player.prefix.clone(), results)
    }

    /// Records a forward run in evaluation mode; its results are read by [`Learner::forward`].
    pub fn evaluation(
        &self,
        gpu: &Gpu,
        name: &str,
        inputs: &[Input],
        trace: impl FnOnce(&mut Tracer, &[Value]) -> Result<Value>,
    ) -> Result<Pass> {
        let mut session = Session::new(self, gpu, inputs)?;
        let value = session.trace(self, Mode::Eval, trace)?;
        let mut memory = session.memory(self);
        let results = session.results(gpu, &mut memory, [value].into_iter())?;
        session.graph.record(&mut session.recording, &memory)?;
        session.finish(gpu, name.into(), results)
    }

    /// One step of `player` by a pass recorded for it. Feeds are in the order of the pass's inputs.
    pub fn step(
        &mut self,
        gpu: &Gpu,
        player: &mut Player,
        pass: &Pass,
        feeds: &[Feed],
        learning_rate: f64,
    ) -> Result<()> {
        let (bias1, bias2) = player.optimizer.bias_corrections(player.steps);
        let state = StepState {
            step: player.steps as u32,
            dropout_key: Key::from_seed(self.seed).stream(Stream::Dropout, player.steps as u32).0,
            learning_rate: learning_rate as f32,
            adam_bias1: bias1,
            adam_bias2_sqrt: bias2,
            ..StepState::default()
        };
        gpu.write(&self.step, 0, &[state])?;
        self.submit(gpu, pass, feeds)?;
        player.steps += 1;
        Ok(())
    }

    /// Runs a forward pass on whole rows: `rows` in chunks of the pass's batch, the last filled up with zero rows.
    ///
    /// # Errors
    /// A pass with other inputs than one of rows; numbers that do not make whole rows.
    pub fn forward(&mut self, gpu: &Gpu, pass: &Pass, rows: &[f32]) -> Result<Vec<f32>> {
        let ([(Input { form: Form::Tensor(input), .. }, _)], [(Form::Tensor(output), result)]) =
            (&pass.inputs[..], &pass.results[..])
        else {
            return Err(Error::shape(format!("{}: expected one input of rows and one result", pass.name)));
        };
        if !rows.len().is_multiple_of(input.c.max(1)) {
            return Err(Error::shape(format!(
                "{}: {} numbers do not make rows of {}",
                pass.name,
                rows.len(),
                input.c
            )));
        }
        let mut all = Vec::with_capacity(rows.len() / input.c.max(1) * output.c);
        for chunk in rows.chunks(input.elements().max(1)) {
            let mut padded = chunk.to_vec();
            padded.resize(input.elements(), 0.0);
            self.submit(gpu, pass, &[Feed::Rows(&padded)])?;
            let packed: Vec<f32> = gpu.read(result, 0, output.texels() * 4)?;
            all.extend_from_slice(&output.unpack(&packed)[..chunk.len() / input.c * output.c]);
        }
        Ok(all)
    }

    fn submit(&mut self, gpu: &Gpu, pass: &Pass, feeds: &[Feed]) -> Result<()> {
        if feeds.len() != pass.inputs.len() {
            return Err(Error::shape(format!(
                "{}: it has {} inputs, {} were given",
                pass.name,
                pass.inputs.len(),
                feeds.len()
            )));
        }
        for ((input, buffer), feed) in pass.inputs.iter().zip(feeds) {
            let found = match feed {
                Feed::Rows(values) => values.len(),
                Feed::Words(words) => words.len(),
            };
            match (input.form, feed) {
                (Form::Tensor(shape), Feed::Rows(values)) if found == shape.elements() => {
                    gpu.write(buffer, 0, &shape.pack(values))?;
                }
                (Form::Bytes(bytes), Feed::Words(words)) if found as u64 * 4 == bytes => {
                    gpu.write(buffer, 0, words)?;
                }
                (form, _) => {
                    return Err(Error::shape(format!(
                        "{}: input {} is {form:?}, {found} values of another kind or number were given",
                        pass.name, input.name
                    )));
                }
            }
        }
        self.under_way.push_back(pass.program.submit(gpu));
        if self.under_way.len() > 2
            && let Some(oldest) = self.under_way.pop_front()
        {
            gpu.wait(&oldest)?;
        }
        Ok(())
    }

    /// The losses of the last step of a pass, unweighted, in the order of its trace.
    ///
    /// # Errors
    /// [`Error::Diverged`] for a loss that is not finite.
    pub fn losses(&self, gpu: &Gpu, pass: &Pass) -> Result<Vec<f32>> {
        pass.results
            .iter()
            .map(|(_, buffer)| {
                let loss = gpu.read::<f32>(buffer, 0, 1)?[0];
                if loss.is_finite() {
                    return Ok(loss);
                }
                let problem = format!("{}: a loss is {loss}; try a lower learning rate", pass.name);
                Err(Error::Diverged(problem))
            })
            .collect()
    }

    /// All values by name, in file order.
    ///
    /// # Errors
    /// [`Error::Diverged`] for a weight that is not finite: bounded activations can hide it from the loss.
    pub fn values(&self, gpu: &Gpu) -> Result<Values> {
        let mut values = Values::new();
        for (role, arena) in [(Role::Trained, &self.weights.trained), (Role::State, &self.weights.state)] {
            let packed: Vec<f32> = gpu.read(arena, 0, self.parameters.arena_bytes(role) as usize / 4)?;
            self.parameters.unpack_arena(role, &packed, &mut values);
        }
        for (name, tensor) in &values {
            if let Some(weight) = tensor.iter().find(|weight| !weight.is_finite()) {
                return Err(Error::Diverged(format!(
                    "{name}: a weight became {weight}; try a lower learning rate"
                )));
            }
        }
        Ok(values)
    }

    /// Overwrites one trained parameter.
    ///
    /// # Errors
    /// An unknown name or another number of values.
    pub fn set(&self, gpu: &Gpu, name: &str, values: &[f32]) -> Result<()> {
        let parameter = self.trained(name)?;
        if values.len() != parameter.form.elements() {
            return Err(Error::shape(format!(
                "{name}: expected {} values, found {}",
                parameter.form.elements(),
                values.len()
            )));
        }
        gpu.write(&self.weights.trained, parameter.offset, &parameter.pack(values))
    }

    /// Reads one trained parameter, in file order.
    ///
    /// # Errors
    /// An unknown name.
    pub fn get(&self, gpu: &Gpu, name: &str) -> Result<Vec<f32>> {
        self.read(gpu, &self.weights.trained, name)
    }

    /// Reads the gradient that the last step left for a parameter of its player, in file order.
    ///
    /// # Errors
    /// An unknown name.
    pub fn gradient(&self, gpu: &Gpu, name: &str) -> Result<Vec<f32>> {
        self.read(gpu, &self.gradients, name)
    }

    fn read(&self, gpu: &Gpu, arena: &Buffer, name: &str) -> Result<Vec<f32>> {
        let parameter = self.trained(name)?;
        let packed: Vec<f32> = gpu.read(arena, parameter.offset, parameter.form.bytes() as usize / 4)?;
        Ok(parameter.unpack(&packed))
    }

    fn trained(&self, name: &str) -> Result<&crate::graph::Parameter> {
        let found = self.parameters.find(name).map(|id| self.parameters.get(id));
        found
            .filter(|parameter| parameter.trainable())
            .ok_or_else(|| Error::usage(format!("learner: no trained parameter is called `{name}`")))
    }
}
