//! What a pass is given, and a pass while it is recorded.

use super::{Learner, Pass};
use crate::Result;
use crate::gpu::{Buffer, Gpu, Program, Recording, Slice};
use crate::graph::{Form, Graph, Memory, Value};
use crate::kernels::{Shape, StepState};
use crate::nn::{Draws, Mode, Tracer};

/// An input of a pass: a name and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub name: &'static str,
    pub form: Form,
}

impl Input {
    /// Rows of f32, `[rows, width]`.
    pub fn rows(name: &'static str, rows: usize, width: usize) -> Input {
        Input { name, form: Form::Tensor(Shape::matrix(rows, width)) }
    }
    /// One u32 a row: labels, or (under the name [`SAMPLES`]) the numbers that dropout draws by.
    pub fn words(name: &'static str, rows: usize) -> Input {
        Input { name, form: Form::Bytes(rows as u64 * 4) }
    }
}

/// The input that turns dropout on: one u32 a sample.
pub const SAMPLES: &str = "samples";

/// What an input gets for one run.
#[derive(Clone, Copy, Debug)]
pub enum Feed<'a> {
    /// Row-major, unpadded.
    Rows(&'a [f32]),
    Words(&'a [u32]),
}

/// A pass while it is recorded.
pub(super) struct Session {
    pub recording: Recording,
    pub graph: Graph,
    inputs: Vec<(Input, Buffer, Slice)>,
    step: Slice,
}

impl Session {
    pub fn new(learner: &Learner, gpu: &Gpu, inputs: &[Input]) -> Result<Session> {
        let mut recording = Recording::new(gpu.facts());
        let step = recording.persistent(&learner.step);
        let inputs = inputs
            .iter()
            .map(|input| {
                let buffer = gpu.buffer(input.name, input.form.bytes())?;
                let slice = recording.persistent(&buffer);
                Ok((input.clone(), buffer, slice))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Session { recording, graph: Graph::new(), inputs, step })
    }

    pub fn trace<T>(
        &mut self,
        learner: &Learner,
        mode: Mode,
        trace: impl FnOnce(&mut Tracer, &[Value]) -> Result<T>,
    ) -> Result<T> {
        let graph = &mut self.graph;
        let values: Vec<Value> =
            self.inputs.iter().map(|(input, ..)| graph.input(input.name, input.form)).collect();
        let samples = self.inputs.iter().position(|(input, ..)| input.name == SAMPLES);
        let draws = samples.map(|at| Draws {
            step: graph.input("step", Form::Bytes(size_of::<StepState>() as u64)),
            samples: values[at],
        });
        let mut tracer = Tracer { draws, ..Tracer::new(graph, &learner.parameters, mode) };
        trace(&mut tracer, &values)
    }

    pub fn memory(&mut self, learner: &Learner) -> Memory {
        let mut memory = learner.weights.memory(&learner.parameters, &self.graph, &mut self.recording);
        memory = memory.with_input("step", self.step);
        for (input, _, slice) in &self.inputs {
            memory = memory.with_input(input.name, *slice);
        }
        memory
    }

    /// Gives each value a buffer of its own that outlives the run.
    pub fn results(
        &mut self,
        gpu: &Gpu,
        memory: &mut Memory,
        values: impl Iterator<Item = Value>,
    ) -> Result<Vec<(Form, Buffer)>> {
        values
            .map(|value| {
                let form = self.graph.form(value);
                let buffer = gpu.buffer("result", form.bytes())?;
                memory.values.insert(value, self.recording.persistent(&buffer));
                Ok((form, buffer))
            })
            .collect()
    }

    pub fn finish(self, gpu: &Gpu, name: String, results: Vec<(Form, Buffer)>) -> Result<Pass> {
        let program = Program::build(gpu, &self.recording)?;
        let inputs = self.inputs.into_iter().map(|(input, buffer, _)| (input, buffer)).collect();
        Ok(Pass { name, program, inputs, results })
    }
}
