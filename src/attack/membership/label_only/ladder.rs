//! One program in several sizes, because a recorded grid is fixed and stragglers should not pay for a full one.

use crate::gpu::Program;
use crate::{Error, Result};

/// Programs for growing numbers of rows.
pub(super) struct Ladder {
    programs: Vec<(usize, Program)>,
}

impl Ladder {
    /// One program for each of `sizes`.
    pub fn new(mut sizes: Vec<usize>, mut build: impl FnMut(usize) -> Result<Program>) -> Result<Ladder> {
        sizes.sort_unstable();
        sizes.dedup();
        let programs = sizes.into_iter().map(|rows| Ok((rows, build(rows)?))).collect::<Result<_>>()?;
        Ok(Ladder { programs })
    }

    /// `most`, an eighth of it, an eighth of that, … and 1.
    pub fn eighths(most: usize) -> Vec<usize> {
        std::iter::successors(Some(most), |&rows| (rows > 1).then_some(rows.div_ceil(8))).collect()
    }

    pub fn most(&self) -> usize {
        self.programs.last().map_or(0, |(rows, _)| *rows)
    }

    /// The rows of the smallest program for at least `rows`.
    ///
    /// # Errors
    /// When there is none.
    pub fn size(&self, rows: usize) -> Result<usize> {
        self.find(rows).map(|(size, _)| *size)
    }

    /// The smallest program for at least `rows` rows.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(&self, rows: usize) -> Result<&Program> {
        self.find(rows).map(|(_, program)| program)
    }

    fn find(&self, rows: usize) -> Result<&(usize, Program)> {
        self.programs.iter().find(|(size, _)| *size >= rows).ok_or_else(|| {
            Error::shape(format!("label-only attack: {rows} rows asked at once, at most {} fit", self.most()))
        })
    }
}
