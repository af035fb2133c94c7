//! Losses of contrastive and supervised training: means over rows, and their gradients.

mod contrastive;
mod info_nce;
mod keep_loss;
mod nt_xent;
mod rows;
mod softmax_cross_entropy;

pub use info_nce::{InfoNce, info_nce, info_nce_grad, queue_update};
pub use keep_loss::keep_loss;
pub use nt_xent::{NtXent, nt_xent, nt_xent_grad};
pub use rows::{row_distance, row_distance_grad, sigmoid_mean, sigmoid_mean_grad, softmax_grad};
pub use softmax_cross_entropy::{
    CrossEntropy, check_labels, softmax, softmax_cross_entropy, softmax_cross_entropy_grad,
};
