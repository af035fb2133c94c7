//! Loss functions: mean over rows forward, gradients backward.

mod softmax_cross_entropy;

pub use softmax_cross_entropy::{
    CrossEntropy, check_labels, softmax, softmax_cross_entropy, softmax_cross_entropy_grad,
};
