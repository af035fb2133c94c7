//! Small classifiers that attacks train on feature rows: a network, its training, its logits.

use crate::gpu::{Buffer, Gpu, Program, Recording, Slice};
use crate::graph::ops::SoftmaxCrossEntropy;
use crate::graph::{Form, Graph, Memory, ParameterId, ParameterSet, Role, Value};
use crate::kernels::elementwise::Unary;
use crate::kernels::{Shape, StepState, Tensor, elementwise, optim};
use crate::nn::{DeepSets, Draws, LinearInit, Mlp, Mode, Names, PointSets, Tracer};
use crate::optim::{Arena, Optimizer};
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use std::collections::{BTreeMap, VecDeque};

/// Which network classifies a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Architecture {
    /// Fully connected; widths from input to classes, so that `[d, C]` is a linear layer. `last` is applied to the
    /// logits: `None` unless a published artefact is reproduced (a ReLU there can die and then answers class 0 for
    /// everything).
    Mlp { widths: Vec<usize>, activation: Unary, init: LinearInit, last: Option<Unary> },
    /// Fully connected with ReLU, default initial weights and dropout behind the first hidden layer.
    DropoutMlp { widths: Vec<usize>, dropout: f32 },
    /// A row is a set of scalars.
    DeepSets { elements: usize, width: usize, dropout: f32 },
    /// A row is a set of points of three coordinates (`compat: deepsets`).
    PointSets { elements: usize, width: usize, dropout: f32 },
}

/// How a classifier is trained: mean cross-entropy, batches drawn anew each epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    pub batch: usize,
    pub epochs: u64,
    pub learning_rate: f64,
    /// The rate is multiplied by 0.1 every so many epochs.
    pub decay_every: Option<u64>,
    pub optimizer: Optimizer,
    /// λ of λ·Σ‖W‖² over weight matrices, biases excluded; beside the optimizer's own weight decay.
    pub weight_penalty: f64,
    /// Largest global norm of the gradient.
    pub clip: Option<f64>,
    /// Whether the last, smaller batch of an epoch is used.
    pub keep_partial: bool,
    pub seed: u64,
}

enum Network {
    Mlp(Mlp),
    DeepSets(DeepSets, usize),
    PointSets(PointSets, usize),
}

impl Network {
    fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        match self {
            Network::Mlp(net) => net.forward(tracer, x),
            Network::DeepSets(net, elements) => net.forward(tracer, x, *elements),
            Network::PointSets(net, elements) => net.forward(tracer, x, *elements),
        }
    }
    fn penalised(&self) -> Vec<ParameterId> {
        match self {
            Network::Mlp(net) => net.weights(),
            Network::DeepSets(..) | Network::PointSets(..) => Vec::new(),
        }
    }
}

impl Architecture {
    fn build(&self, parameters: &mut ParameterSet) -> Network {
        let mut names = Names::new(parameters);
        match self {
            Architecture::Mlp { widths, activation, init, last } => {
                Network::Mlp(Mlp::new(&mut names, widths, *activation, *init, *last))
            }
            Architecture::DropoutMlp { widths, dropout } => {
                let net = Mlp::new(&mut names, widths, Unary::Relu, LinearInit::Default, None);
                Network::Mlp(net.with_dropout(*dropout))
            }
            Architecture::DeepSets { elements, width, dropout } => {
                Network::DeepSets(DeepSets::new(&mut names, *width, 2, *dropout), *elements)
            }
            Architecture::PointSets { elements, width, dropout } => {
                Network::PointSets(PointSets::new(&mut names, *width, 2, *dropout), *elements)
            }
        }
    }

    /// Numbers of a row.
    pub fn row(&self) -> usize {
        match self {
            Architecture::Mlp { widths, .. } | Architecture::DropoutMlp { widths, .. } => {
                widths.first().copied().unwrap_or(0)
            }
            Architecture::DeepSets { elements, .. } => *elements,
            Architecture::PointSets { elements, .. } => *elements * 3,
        }
    }

    fn classes(&self) -> usize {
        match self {
            Architecture::Mlp { widths, .. } | Architecture::DropoutMlp { widths, .. } => {
                widths.last().copied().unwrap_or(0)
            }
            _ => 2,
        }
    }

    /// The tensor of `rows` rows.
    fn input(&self, rows: usize) -> Shape {
        match self {
            Architecture::Mlp { .. } | Architecture::DropoutMlp { .. } => Shape::matrix(rows, self.row()),
            Architecture::DeepSets { elements, .. } => Shape::matrix(rows * elements, 1),
            Architecture::PointSets { elements, .. } => Shape::matrix(rows * elements, 3),
        }
    }
}

/// Changes the rows of a batch in place, given a key of that batch.
pub type Augment<'a> = dyn Fn(&mut [f32], Key) + 'a;

/// Hears the number of each epoch that is over, and sees the classifier as it is then.
pub type Observer<'a> = dyn FnMut(u64, &Classifier) -> Result<()> + 'a;

/// A trained classifier on the GPU.
pub struct Classifier {
    architecture: Architecture,
    network: Network,
    parameters: ParameterSet,
    weights: Buffer,
}

/// Rows of a batch at inference.
const INFERENCE_ROWS: usize = 256;

impl Classifier {
    /// Trains on `rows` (each of [`Architecture::row`] numbers) with a class each. `augment` may change the rows of
    /// a batch in place before they are used, given a key of that batch.
    ///
    /// # Errors
    /// Empty or mis-sized data, or data that is not finite; [`Error::Diverged`] for a loss or weights that are not
    /// finite after training.
    pub fn train(
        gpu: &Gpu,
        architecture: &Architecture,
        training: &Training,
        rows: &[f32],
        labels: &[u32],
        augment: Option<&Augment>,
    ) -> Result<Classifier> {
        Classifier::train_observed(gpu, architecture, training, rows, labels, augment, &mut |_, _| Ok(()))
    }

    /// [`Classifier::train`] with an observer that is called after every epoch, numbered from 1: it may keep
    /// [`Classifier::values`] of some of them, or measure.
    ///
    /// # Errors
    /// See [`Classifier::train`]; and those of the observer, which end the training.
    pub fn train_observed(
        gpu: &Gpu,
        architecture: &Architecture,
        training: &Training,
        rows: &[f32],
        labels: &[u32],
        augment: Option<&Augment>,
        observer: &mut Observer,
    ) -> Result<Classifier> {
        let width = architecture.row();
        if labels.is_empty() || rows.len() != labels.len() * width || training.batch == 0 {
            return Err(Error::shape(format!(
                "classifier: {} numbers do not make {} rows of {width}",
                rows.len(),
                labels.len()
            )));
        }
        if let Some(at) = rows.iter().position(|value| !value.is_finite()) {
            return Err(Error::shape(format!(
                "classifier: row {} holds {} at place {}; expected finite numbers",
                at / width,
                rows[at],
                at % width
            )));
        }
        if training.epochs == 0 {
            return Err(Error::usage("epochs of a classifier: expected at least 1, found 0"));
        }
        crate::kernels::loss::check_labels(labels, architecture.classes())?;
        let mut parameters = ParameterSet::new();
        architecture.build(&mut parameters);
        let classifier =
            Classifier::with_values(gpu, architecture, &parameters.initial_values(training.seed))?;
        let session = Session::new(gpu, &classifier, training, labels.len())?;
        session.run(gpu, rows, labels, augment, observer)?;
        classifier.check_weights(gpu)?;
        Ok(classifier)
    }

    /// The weights by name (`layers.<i>.weight` `[O, I]`, `layers.<i>.bias` `[O]` for an MLP), row-major.
    pub fn values(&self, gpu: &Gpu) -> Result<BTreeMap<String, Vec<f32>>> {
        let words = self.parameters.arena_bytes(Role::Trained) as usize / 4;
        let arena: Vec<f32> = gpu.read(&self.weights, 0, words)?;
        let mut values = BTreeMap::new();
        self.parameters.unpack_arena(Role::Trained, &arena, &mut values);
        Ok(values)
    }

    /// A classifier with these weights, as [`Classifier::values`] gives them.
    ///
    /// # Errors
    /// A missing or mis-sized tensor, by name.
    pub fn with_values(
        gpu: &Gpu,
        architecture: &Architecture,
        values: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Classifier> {
        let mut parameters = ParameterSet::new();
        let network = architecture.build(&mut parameters);
        let weights = gpu.buffer_with("classifier", &parameters.pack_arena(Role::Trained, values)?)?;
        Ok(Classifier { architecture: architecture.clone(), network, parameters, weights })
    }

    /// Logits `[rows, classes]`.
    ///
    /// # Errors
    /// Numbers that do not make whole rows.
    pub fn logits(&self, gpu: &Gpu, rows: &[f32]) -> Result<Vec<f32>> {
        let (width, classes) = (self.architecture.row(), self.architecture.classes());
        let count = rows.len() / width.max(1);
        if count * width != rows.len() {
            return Err(Error::shape(format!(
                "classifier: {} numbers do not make rows of {width}",
                rows.len()
            )));
        }
        let batch = INFERENCE_ROWS.min(count.max(1));
        let mut recording = Recording::new(gpu.facts());
        let shape = self.architecture.input(batch);
        let input = gpu.buffer("rows", shape.bytes())?;
        let mut graph = Graph::new();
        let x = graph.input("rows", Form::Tensor(shape));
        let mut tracer = Tracer::new(&mut graph, &self.parameters, Mode::Eval);
        let y = self.network.forward(&mut tracer, x)?;
        let out = Shape::matrix(batch, classes);
        let output = gpu.buffer("logits", out.bytes())?;
        let memory = self.memory(&graph, &mut recording);
        let (source, target) = (recording.persistent(&input), recording.persistent(&output));
        graph.record(&mut recording, &memory.with_input("rows", source).with_value(y, target))?;
        let program = Program::build(gpu, &recording)?;
        let mut logits = Vec::with_capacity(count * classes);
        for chunk in rows.chunks(batch * width) {
            let mut padded = chunk.to_vec();
            padded.resize(batch * width, 0.0);
            gpu.write(&input, 0, &shape.pack(&padded))?;
            program.submit(gpu);
            let packed: Vec<f32> = gpu.read(&output, 0, out.texels() * 4)?;
            logits.extend_from_slice(&out.unpack(&packed)[..chunk.len() / width * classes]);
        }
        Ok(logits)
    }

    /// A bounded activation can hide broken weights from the loss.
    fn check_weights(&self, gpu: &Gpu) -> Result<()> {
        let words = self.parameters.arena_bytes(Role::Trained) as usize / 4;
        let weights: Vec<f32> = gpu.read(&self.weights, 0, words)?;
        match weights.iter().find(|weight| !weight.is_finite()) {
            None => Ok(()),
            Some(weight) => Err(Error::Diverged(format!(
                "classifier: a weight became {weight} in training; try a lower learning rate"
            ))),
        }
    }

    fn memory(&self, graph: &Graph, recording: &mut Recording) -> Memory {
        let mut memory = Memory::default();
        for (id, value) in graph.parameters() {
            memory.values.insert(value, self.parameters.slice(id, recording, &self.weights));
        }
        memory
    }
}

/// The buffers and programs of one training.
struct Session<'a> {
    classifier: &'a Classifier,
    training: &'a Training,
    step: Buffer,
    rows: Buffer,
    labels: Buffer,
    samples: Buffer,
    loss: Buffer,
    full: Program,
    partial: Option<Program>,
    batch: usize,
}

impl<'a> Session<'a> {
    fn new(
        gpu: &Gpu,
        classifier: &'a Classifier,
        training: &'a Training,
        count: usize,
    ) -> Result<Session<'a>> {
        let batch = training.batch.min(count);
        let bytes = classifier.parameters.arena_bytes(Role::Trained);
        let state = (0..training.optimizer.state_buffers())
            .map(|_| gpu.buffer("optimizer state", bytes))
            .collect::<Result<Vec<_>>>()?;
        let step = gpu.buffer("step", size_of::<StepState>() as u64)?;
        let rows = gpu.buffer("rows", classifier.architecture.input(batch).bytes())?;
        let labels = gpu.buffer("labels", batch as u64 * 4)?;
        let samples = gpu.buffer("samples", batch as u64 * 4)?;
        let loss = gpu.buffer("loss", 16)?;
        let gradients = gpu.buffer("gradients", bytes)?;
        let record = |rows_count: usize| -> Result<Program> {
            let mut recording = Recording::new(gpu.facts());
            let slices: Vec<Slice> =
                [&step, &rows, &labels, &samples, &loss].iter().map(|b| recording.persistent(b)).collect();
            let mut graph = Graph::new();
            let shape = classifier.architecture.input(rows_count);
            let x = graph.input("rows", Form::Tensor(shape));
            let target = graph.input("labels", Form::Bytes(rows_count as u64 * 4));
            let draws = Draws {
                step: graph.input("step", Form::Bytes(size_of::<StepState>() as u64)),
                samples: graph.input("samples", Form::Bytes(rows_count as u64 * 4)),
            };
            let parameters = &classifier.parameters;
            let mut tracer =
                Tracer { draws: Some(draws), ..Tracer::new(&mut graph, parameters, Mode::Train) };
            let logits = classifier.network.forward(&mut tracer, x)?;
            let value = graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[logits, target])?;
            let found = graph.backward(value)?;
            let mut memory = classifier.memory(&graph, &mut recording);
            for (name, slice) in ["step", "rows", "labels", "samples"].iter().zip(&slices) {
                memory = memory.with_input(name, *slice);
            }
            memory = memory.with_value(value, slices[4]);
            for (id, gradient) in found {
                memory.values.insert(gradient, parameters.slice(id, &mut recording, &gradients));
            }
            graph.record(&mut recording, &memory)?;
            if training.weight_penalty != 0.0 {
                for id in classifier.network.penalised() {
                    let all =
                        |slice: Slice| Tensor::new(Shape::matrix((slice.bytes / 16) as usize, 4), slice);
                    let weight = parameters.slice(id, &mut recording, &classifier.weights);
                    let gradient = parameters.slice(id, &mut recording, &gradients);
                    let factor = (2.0 * training.weight_penalty) as f32;
                    elementwise::accumulate_scaled(&mut recording, all(weight), factor, all(gradient));
                }
            }
            let gradient = recording.persistent(&gradients);
            if let Some(limit) = training.clip {
                let norm = recording.transient("gradient norm", 16);
                optim::gradient_norm(&mut recording, &[gradient], norm);
                optim::clip(&mut recording, norm, limit, &[gradient])?;
            }
            let state: Vec<Slice> = state.iter().map(|b| recording.persistent(b)).collect();
            let parameters = recording.persistent(&classifier.weights);
            let arena = Arena { parameters, gradients: gradient, state: &state, segments: None };
            training.optimizer.step(&mut recording, slices[0], &arena)?;
            Program::build(gpu, &recording)
        };
        let full = record(batch)?;
        let rest = count % batch;
        let partial = if rest > 0 && training.keep_partial { Some(record(rest)?) } else { None };
        Ok(Session { classifier, training, step, rows, labels, samples, loss, full, partial, batch })
    }

    fn run(
        &self,
        gpu: &Gpu,
        rows: &[f32],
        labels: &[u32],
        augment: Option<&Augment>,
        observer: &mut Observer,
    ) -> Result<()> {
        let width = self.classifier.architecture.row();
        let key = Key::from_seed(self.training.seed);
        let mut under_way = VecDeque::new();
        let mut step = 0u64;
        for epoch in 0..self.training.epochs {
            let order = permutation(key.stream(Stream::BatchOrder, epoch as u32), labels.len());
            for chosen in order.chunks(self.batch) {
                let program =
                    if chosen.len() == self.batch { Some(&self.full) } else { self.partial.as_ref() };
                let Some(program) = program else { continue };
                let mut batch: Vec<f32> =
                    chosen.iter().flat_map(|&i| &rows[i * width..(i + 1) * width]).copied().collect();
                if let Some(augment) = augment {
                    augment(&mut batch, key.stream(Stream::Augment, step as u32));
                }
                let input = self.classifier.architecture.input(chosen.len());
                gpu.write(&self.rows, 0, &input.pack(&batch))?;
                let batch_labels: Vec<u32> = chosen.iter().map(|&i| labels[i]).collect();
                gpu.write(&self.labels, 0, &batch_labels)?;
                let samples: Vec<u32> = chosen.iter().map(|&i| i as u32).collect();
                gpu.write(&self.samples, 0, &samples)?;
                let (bias1, bias2) = self.training.optimizer.bias_corrections(step);
                let decays = self.training.decay_every.map_or(0, |every| epoch / every.max(1));
                let state = StepState {
                    step: step as u32,
                    epoch: epoch as u32,
                    dropout_key: key.stream(Stream::Dropout, step as u32).0,
                    learning_rate: (self.training.learning_rate * 0.1f64.powi(decays as i32)) as f32,
                    adam_bias1: bias1,
                    adam_bias2_sqrt: bias2,
                    ..StepState::default()
                };
                gpu.write(&self.step, 0, &[state])?;
                under_way.push_back(program.submit(gpu));
                if under_way.len() > 2
                    && let Some(oldest) = under_way.pop_front()
                {
                    gpu.wait(&oldest)?;
                }
                step += 1;
            }
            observer(epoch + 1, self.classifier)?;
        }
        let loss: Vec<f32> = gpu.read(&self.loss, 0, 1)?;
        if !loss[0].is_finite() {
            return Err(Error::Diverged(format!("classifier: the loss is {} after {step} steps", loss[0])));
        }
        Ok(())
    }
}
