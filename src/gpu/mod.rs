//! The only room that names wgpu: adapter choice, shader preprocessing, pipelines, buffers, and
//! programs (recordings that were planned once and are replayed every step).
//!
//! The way of a kernel call: a launcher in [`crate::kernels`] pushes plain data onto a
//! [`Recording`] (which shader, which buffers, which grid); [`Program::build`] gives transient
//! buffers memory by their lifetimes, compiles the pipelines in parallel and makes the bind groups;
//! [`Program::submit`] replays the whole list without allocating anything.

mod adapter;
mod cooperative;
mod derived;
mod expression;
mod facts;
mod job;
mod memory;
mod pipeline;
mod plan;
mod profile;
mod program;
mod recording;
pub mod shader;
mod shared_memory;
mod transfer;
mod tune;

pub use adapter::{AdapterDescription, Gpu, GpuOptions, KernelClass, list_adapters};
pub use facts::{Facts, Products};
pub use job::Job;
pub use memory::{Allocator, Buffer};
pub use plan::MemoryPlan;
pub use profile::{KernelTime, Profile};
pub use program::{Program, Submission};
pub use recording::{Binding, BufferId, Dispatch, Recording, Slice, TEXTURE_WIDTH, TextureId};
pub use transfer::Pending;
pub use tune::{RateSource, TileRate, TileRates, TuneCache, TuneKey};
