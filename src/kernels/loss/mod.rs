//! Losses of contrastive and supervised training: means over rows, and their gradients.

mod contrastive;
pub mod info_nce;
pub mod nt_xent;
mod softmax_cross_entropy;

pub use softmax_cross_entropy::{
    CrossEntropy, check_labels, softmax, softmax_cross_entropy, softmax_cross_entropy_grad,
};
