//! Batches of an epoch, and the passes that fit them.

use super::Pass;
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};

/// The same pass for whole batches and for the last, smaller one.
pub struct Batches {
    pub batch: usize,
    full: Pass,
    /// With its number of rows.
    rest: Option<(usize, Pass)>,
}

impl Batches {
    /// Records `record(rows)` for batches of `batch` out of `count` rows.
    pub fn new(count: usize, batch: usize, mut record: impl FnMut(usize) -> Result<Pass>) -> Result<Batches> {
        if count == 0 || batch == 0 {
            return Err(Error::usage(format!(
                "learner: batches of {batch} out of {count} rows hold nothing"
            )));
        }
        let batch = batch.min(count);
        let rest = count % batch;
        let full = record(batch)?;
        let rest = if rest > 0 { Some((rest, record(rest)?)) } else { None };
        Ok(Batches { batch, full, rest })
    }

    /// The pass for `rows` rows.
    ///
    /// # Errors
    /// Another number of rows than a whole batch or the rest.
    pub fn of(&self, rows: usize) -> Result<&Pass> {
        match &self.rest {
            _ if rows == self.batch => Ok(&self.full),
            Some((rest, pass)) if rows == *rest => Ok(pass),
            _ => Err(Error::shape(format!("{}: no program was recorded for {rows} rows", self.full.name))),
        }
    }

    /// The pass for whole batches.
    pub fn full(&self) -> &Pass {
        &self.full
    }
}

/// Random order of one epoch's rows, in batches.
pub struct EpochOrder {
    order: Vec<usize>,
    batch: usize,
}

impl EpochOrder {
    /// The order of epoch `epoch`; two players of one epoch use two numbers.
    pub fn new(seed: u64, epoch: u64, count: usize, batch: usize) -> EpochOrder {
        let key = Key::from_seed(seed).stream(Stream::BatchOrder, epoch as u32);
        EpochOrder { order: permutation(key, count), batch: batch.max(1) }
    }
    /// Row numbers, batch by batch; the last batch may be smaller.
    pub fn batches(&self) -> impl Iterator<Item = &[usize]> {
        self.order.chunks(self.batch)
    }
}

/// The rows `chosen` of a row-major matrix.
pub fn gather<T: Copy>(values: &[T], width: usize, chosen: &[usize]) -> Vec<T> {
    chosen.iter().flat_map(|&i| &values[i * width..(i + 1) * width]).copied().collect()
}
