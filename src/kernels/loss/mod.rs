//! Losses of contrastive and supervised training.

mod contrastive;
pub mod info_nce;
pub mod nt_xent;
