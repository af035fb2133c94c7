//! Membership inference against classifiers: was this image among those that it was trained on?

pub mod label_only;
