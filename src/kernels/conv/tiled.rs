//! Workgroup-memory tiles for GPUs and for adapters without a fixed subgroup size.

use super::{Conv2d, Weights};
use crate::gpu::Recording;
use crate::kernels::Tensor;

pub fn conv2d(_recording: &mut Recording, _conv: &Conv2d, _x: Tensor, _w: Weights, _y: Tensor) {}
pub fn conv2d_grad_input(_recording: &mut Recording, _conv: &Conv2d, _dy: Tensor, _w: Weights, _dx: Tensor) {}
pub fn conv2d_grad_weight(_recording: &mut Recording, _conv: &Conv2d, _x: Tensor, _dy: Tensor, _dw: Weights) {
}
