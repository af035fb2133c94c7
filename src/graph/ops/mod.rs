//! One operation a file: shape rule, kernel calls, gradient.

mod activation;
mod add;
mod batch_norm;
mod bias_activation;
mod conv2d;
mod dropout;
mod gather_rows;
mod gradient_reversal;
mod info_nce;
mod nt_xent;
mod pool;
mod row_distance;
mod rows;
mod scale;
mod set;
mod sigmoid_mean;
mod softmax;
mod softmax_cross_entropy;

pub use activation::Activation;
pub use add::Add;
pub use batch_norm::{BatchNormEval, BatchNormTrain};
pub use bias_activation::BiasActivation;
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use gather_rows::GatherRows;
pub use gradient_reversal::GradientReversal;
pub use info_nce::InfoNce;
pub use nt_xent::NtXent;
pub use pool::{GlobalAvgPool2d, MaxPool2d};
pub use row_distance::RowDistance;
pub use rows::{ConcatRows, TakeRows};
pub use scale::Scale;
pub use set::{SetBroadcastAdd, SetMax, SetSum};
pub use sigmoid_mean::SigmoidMean;
pub use softmax::Softmax;
pub use softmax_cross_entropy::SoftmaxCrossEntropy;
