//! What is timed: each launcher at the shapes of the published encoders (ResNet-18 and -50, MobileNetV2), as data.

pub(super) mod dense;
mod label_only;
mod layers;
mod rows;
mod training;
mod transformers;

use super::workspace::Workspace;
use crate::Result;
use crate::gpu::Gpu;

/// Records one call of a launcher.
pub type Record = dyn Fn(&mut Workspace) -> Result<()>;

/// One launcher at one shape.
pub struct Case {
    /// The launcher's name.
    pub name: &'static str,
    pub shape: String,
    pub record: Box<Record>,
}

impl Case {
    fn new(
        name: &'static str,
        shape: impl ToString,
        record: impl Fn(&mut Workspace) -> Result<()> + 'static,
    ) -> Case {
        Case { name, shape: shape.to_string(), record: Box::new(record) }
    }

    /// Whether name, shape or a shader that this adapter uses contain `filter`.
    pub(super) fn matches(&self, gpu: &Gpu, filter: &str) -> bool {
        let mut space = Workspace::unfilled(gpu, gpu.facts());
        format!("{} {}", self.name, self.shape).contains(filter)
            || (self.record)(&mut space)
                .is_ok_and(|()| space.recording.dispatches().any(|dispatch| dispatch.shader.contains(filter)))
    }
}

/// How large the cases are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Images (views) of a layer's input.
    pub batch: usize,
    /// Side of square matrices.
    pub matrix: usize,
    /// Embeddings of similarities and contrastive losses.
    pub rows: usize,
    /// Elements of a model's arena, a multiple of 4.
    pub parameters: usize,
    /// Bytes of the pass over memory that gives the bandwidth: more than any cache holds.
    pub stream_bytes: u64,
}

impl Scale {
    /// The sizes of the published encoders: 64 views, ResNet-18's 11.2 million parameters.
    pub fn published() -> Scale {
        Scale { batch: 64, matrix: 1024, rows: 1024, parameters: 11_200_000, stream_bytes: 128 << 20 }
    }
    /// Channels and kernels as published, everything else as little as possible: to see that all of it runs.
    pub fn small() -> Scale {
        Scale { batch: 1, matrix: 32, rows: 64, parameters: 20_000, stream_bytes: 1 << 20 }
    }
}

/// Every launcher of the kernels room at least once.
pub fn cases(scale: &Scale) -> Vec<Case> {
    [
        dense::cases(scale),
        layers::cases(scale),
        rows::cases(scale),
        training::cases(scale),
        transformers::cases(scale),
        label_only::cases(scale),
    ]
    .into_iter()
    .flatten()
    .collect()
}
