//! Defences that Talos is compared with, each against attribute inference on embeddings or membership inference on posteriors.
//!
//! * [`olympus`], [`attriguard`]: embeddings whose sensitive attribute is hidden, for an encoder and a head that stay as they are.
//! * [`memguard`]: noise on posteriors; [`adversarial_regularization`], [`dp_sgd`]: other trainings of the classifier on the
//!   embeddings; [`early_stopping`]: which checkpoint to keep.

pub mod adversarial_regularization;
pub mod attriguard;
pub mod dense;
pub mod dp_sgd;
pub mod early_stopping;
pub mod memguard;
pub mod network;
pub mod olympus;

use crate::rng::Key;
use crate::{Error, Result};
use sha2::{Digest, Sha256};

/// Finite f32 rows of one width, row-major.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    pub values: &'a [f32],
    pub width: usize,
}

impl<'a> Rows<'a> {
    /// # Errors
    /// No row, a part of a row, or a number that is not finite, by its place. `what` names the rows in the message.
    pub fn new(what: &str, values: &'a [f32], width: usize) -> Result<Rows<'a>> {
        if width == 0 || values.is_empty() || !values.len().is_multiple_of(width) {
            return Err(Error::shape(format!(
                "{what}: expected whole rows of {width} numbers and at least one, found {} numbers",
                values.len()
            )));
        }
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(Rows { values, width }),
            Some(at) => Err(Error::shape(format!(
                "{what}: row {} holds {} at place {}; expected finite numbers",
                at / width,
                values[at],
                at % width
            ))),
        }
    }

    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }

    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.width..(index + 1) * self.width]
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [f32]> {
        self.values.chunks(self.width)
    }
}

/// One class of `0..classes` a row.
///
/// # Errors
/// Another number of labels than rows, or a label that is no class; `what` names the labels.
pub fn check_labels(what: &str, labels: &[u32], rows: usize, classes: usize) -> Result<()> {
    if labels.len() != rows {
        return Err(Error::shape(format!("{what}: {} labels for {rows} rows", labels.len())));
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(row) => Err(Error::shape(format!(
            "{what}: label {} of row {row} is not one of the {classes} classes",
            labels[row]
        ))),
    }
}

/// First place of the largest number.
pub fn argmax<T: PartialOrd>(row: &[T]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// A key that depends on `seed` and on the bits of `values` alone: asking twice about the same content draws the same noise, so that
/// repeated queries average nothing out.
pub fn content_key(seed: u64, values: &[f32]) -> Key {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for value in values {
        // −0 and 0 are one content.
        hash.update((value + 0.0).to_bits().to_le_bytes());
    }
    let digest = hash.finalize();
    let word = |at: usize| u32::from_le_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]);
    Key([word(0), word(4)])
}
