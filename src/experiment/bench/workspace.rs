//! Recordings with inputs made up on the spot.

use crate::Result;
use crate::gpu::{Buffer, Facts, Gpu, Recording, Slice};
use crate::kernels::{Shape, StepState, Tensor};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A recording and the buffers that it reads. Inputs have names: the same name is the same buffer.
pub struct Workspace<'a> {
    pub gpu: &'a Gpu,
    pub recording: Recording,
    inputs: BTreeMap<String, Buffer>,
    filled: bool,
}

impl<'a> Workspace<'a> {
    /// For work that `gpu` runs, with the kernel variants that `facts` ask for.
    pub fn new(gpu: &'a Gpu, facts: &Facts) -> Workspace<'a> {
        Workspace { gpu, recording: Recording::new(facts), inputs: BTreeMap::new(), filled: true }
    }

    /// For work that is recorded and not run: nothing is uploaded.
    pub fn unfilled(gpu: &'a Gpu, facts: &Facts) -> Workspace<'a> {
        Workspace { filled: false, ..Workspace::new(gpu, facts) }
    }

    /// The recording so far; what follows starts a new one with the same inputs.
    pub fn take_recording(&mut self) -> Recording {
        let new = Recording::new(self.recording.facts());
        std::mem::replace(&mut self.recording, new)
    }

    fn input(
        &mut self,
        label: &str,
        bytes: u64,
        fill: impl FnOnce(&Gpu, &Buffer) -> Result<()>,
    ) -> Result<Slice> {
        if let Some(buffer) = self.inputs.get(label) {
            return Ok(self.recording.persistent(buffer).part(0, bytes.max(16).next_multiple_of(16)));
        }
        let buffer = self.gpu.buffer(label, bytes)?;
        if self.filled {
            fill(self.gpu, &buffer)?;
        }
        let slice = self.recording.persistent(&buffer);
        self.inputs.insert(label.to_string(), buffer);
        Ok(slice)
    }

    /// A tensor of numbers in [−1, 1), its padding zero. Kernels may also write to it.
    pub fn tensor(&mut self, label: &str, shape: Shape) -> Result<Tensor> {
        let values = || match shape.c % 4 {
            0 => noise(shape.texels() * 4),
            _ => shape.pack(&noise(shape.elements())),
        };
        let slice = self.input(label, shape.bytes(), |gpu, buffer| gpu.write(buffer, 0, &values()))?;
        Ok(Tensor::new(shape, slice))
    }

    /// Numbers in [−1, 1).
    pub fn floats(&mut self, label: &str, bytes: u64) -> Result<Slice> {
        self.input(label, bytes, |gpu, buffer| gpu.write(buffer, 0, &noise(bytes as usize / 4)))
    }

    /// A tensor that is `value` in every lane, padding included.
    pub fn constant(&mut self, label: &str, shape: Shape, value: f32) -> Result<Tensor> {
        let values = || vec![value; shape.texels() * 4];
        let slice = self.input(label, shape.bytes(), |gpu, buffer| gpu.write(buffer, 0, &values()))?;
        Ok(Tensor::new(shape, slice))
    }

    /// Zeros.
    pub fn zeros(&mut self, label: &str, bytes: u64) -> Result<Slice> {
        self.input(label, bytes, |_, _| Ok(()))
    }

    pub fn words<T: bytemuck::NoUninit>(&mut self, label: &str, words: &[T]) -> Result<Slice> {
        let bytes = size_of_val(words) as u64;
        self.input(label, bytes, |gpu, buffer| gpu.write(buffer, 0, words))
    }

    /// Promises that nothing changes these inputs: what is made of them alone is made once ([`Recording::freeze`]), before the clock starts.
    ///
    /// # Panics
    /// Where there is no input of a name: the caller has just made it.
    pub fn freeze(&mut self, labels: &[&str]) {
        for &label in labels {
            self.recording.freeze(&self.inputs[label]);
        }
    }

    /// The state of the third step of a run.
    pub fn step(&mut self) -> Result<Slice> {
        let state = StepState {
            step: 2,
            augment_key: [1, 2],
            dropout_key: [3, 4],
            learning_rate: 1e-3,
            adam_bias1: 0.271,
            adam_bias2_sqrt: 0.055,
            ..StepState::default()
        };
        self.words("step", &[state])
    }

    /// A tensor that is only written.
    pub fn output(&mut self, shape: Shape) -> Tensor {
        Tensor::transient(&mut self.recording, "output", shape)
    }

    /// Memory that is only written.
    pub fn output_bytes(&mut self, bytes: u64) -> Slice {
        self.recording.transient("output", bytes)
    }
}

/// The same numbers over and over: their values do not matter, but zeros and denormals would.
fn noise(count: usize) -> Vec<f32> {
    static BLOCK: OnceLock<Vec<f32>> = OnceLock::new();
    let block = BLOCK.get_or_init(|| {
        let mut state = 0u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        // Not a power of two, so that no row of a tensor is like the one before it.
        (0..65_521).map(|_| draw()).collect()
    });
    block.iter().copied().cycle().take(count).collect()
}
