//! One file for each shader family: what it computes, its variants, its grid, its flops and bytes.
//!
//! A launcher takes a [`Recording`](crate::gpu::Recording) and tensors, and pushes dispatches. It
//! picks the variant from [`Facts`](crate::gpu::Facts); nothing above this room knows which one runs.

pub mod attention;
pub mod augment;
pub mod conv;
pub mod elementwise;
pub mod hop_skip_jump;
mod lanes;
pub mod loss;
pub mod loss_scale;
pub mod matmul;
pub mod norm;
pub mod optim;
mod planes;
pub mod pool;
pub mod reduce;
pub mod self_test;
pub mod similarity;
mod step;
mod tensor;
mod tile;
pub mod tokens;
pub mod tune;
pub mod variants;

pub use step::StepState;
pub use tensor::{Shape, Tensor};
