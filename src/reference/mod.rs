//! The float64 twin of every GPU kernel, under the kernel's name, in the most obvious form: plain loops
//! over row-major slices, one file per kernel family. Tests compare the kernels with these functions,
//! and these functions with `tests/golden`; nothing else may import this room.
//!
//! Layouts are those of files: images and activations NCHW, convolution weights OIHW, matrices
//! row-major, nothing padded. Shapes stand in a struct beside the slices. The callers are tests: a slice
//! whose length does not fit its shape is a mistake there and panics; settings that the mathematics
//! forbids (one sample in a training batch norm, …) are errors here as they are in the kernels.
//!
//! A backward function takes the upstream gradient `gout` and returns the gradient of each input.

pub mod attention;
pub mod augment;
pub mod augment_params;
pub mod conv;
pub mod elementwise;
pub mod hop_skip_jump;
pub mod layer_norm;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod optim;
pub mod pool;
pub mod reduce;
pub mod rows;
pub mod similarity;
pub mod winograd;
