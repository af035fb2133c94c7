//! EncoderMI: membership inference against image encoders (H. Liu, J. Jia, W. Qu, N. Z. Gong, ACM CCS 2021).
//!
//! An encoder that overfits its pre-training images maps two augmented views of a member to more similar
//! vectors than two views of a non-member. Pipeline (section 4): n views of each image, their
//! n(n−1)/2 similarities, and a classifier of those that was trained on a shadow encoder's members and
//! non-members: a vector network (V), a set network (S), or a threshold on the mean (T).

mod features;
mod inferrer;
mod settings;
mod threshold;

pub use features::{MembershipFeatures, membership_features};
pub use inferrer::{Inference, Inferrer};
pub use settings::{SetSettings, Settings, Variant, VectorSettings, similarity_name, similarity_named};
pub use threshold::{Threshold, exact_threshold, grid501_threshold};
