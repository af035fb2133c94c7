//! Settings of HopSkipJump.

use crate::kernels::hop_skip_jump::PixelRange;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which pixel values a query may have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClipRange {
    /// `low` to `high`, whatever the images are.
    Fixed { low: f32, high: f32 },
    /// The least and the largest value of the attacked images: the range of a query then depends on which images are
    /// attacked together.
    OfImages,
}

impl ClipRange {
    /// The range for these images.
    ///
    /// # Errors
    /// A range that is empty.
    pub(super) fn of(self, images: &[f32]) -> Result<PixelRange> {
        let (low, high) = match self {
            ClipRange::Fixed { low, high } => (low, high),
            ClipRange::OfImages => images
                .iter()
                .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v))),
        };
        if low < high && low.is_finite() && high.is_finite() {
            Ok(PixelRange { low, high })
        } else {
            Err(Error::usage(format!("clip range of HopSkipJump: {low} to {high} is empty")))
        }
    }
}

/// Settings of untargeted HopSkipJump in L2. The default is the sound form of the specification; [`Settings::compat`] is
/// that of the published code.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Iterations of gradient estimate and step.
    pub max_iterations: u32,
    /// Gradient queries of the first iteration; iteration t takes √(t + 1) times as many.
    pub initial_evaluations: u32,
    /// Most gradient queries of one iteration.
    pub max_evaluations: u32,
    /// Most random images that are tried as a start.
    pub start_tries: u32,
    /// Start from the nearest of so many auxiliary images that get another label; random tries only where there is none.
    /// 0: random tries only.
    pub auxiliary: u32,
    /// End on the boundary by one more binary search. Without it the last step's end counts, which lies off the boundary.
    pub final_projection: bool,
    pub clip: ClipRange,
    /// Do not attack images whose label is wrong. Their score is 0 in any case.
    pub skip_misclassified: bool,
    /// Images whose state is on the GPU together; fewer where memory limits ask for it. Results do not depend on it.
    pub images_at_once: usize,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            max_iterations: 7,
            initial_evaluations: 100,
            max_evaluations: 10_000,
            start_tries: 100,
            auxiliary: 32,
            final_projection: true,
            clip: ClipRange::Fixed { low: 0.0, high: 1.0 },
            skip_misclassified: true,
            images_at_once: 512,
            seed: 0,
        }
    }
}

impl Settings {
    /// As published: random starts, no final projection, the clip range of the given images, misclassified images
    /// attacked as well.
    pub fn compat() -> Settings {
        Settings {
            auxiliary: 0,
            final_projection: false,
            clip: ClipRange::OfImages,
            skip_misclassified: false,
            ..Settings::default()
        }
    }

    /// The same attack with `factor` times the gradient queries, which are nine tenths of all: each iteration estimates
    /// its gradient from `factor` times as many.
    #[must_use]
    pub fn with_budget(self, factor: u32) -> Settings {
        Settings {
            initial_evaluations: self.initial_evaluations.saturating_mul(factor),
            max_evaluations: self.max_evaluations.saturating_mul(factor),
            ..self
        }
    }

    /// Gradient queries of iteration t: `min(⌊initial·√(t + 1)⌋, max)`.
    pub fn evaluations(&self, iteration: u32) -> u32 {
        let wanted = (f64::from(self.initial_evaluations) * (f64::from(iteration) + 1.0).sqrt()).floor();
        // Saturates.
        (wanted as u32).min(self.max_evaluations)
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.max_iterations == 0 || self.evaluations(0) == 0 || self.images_at_once == 0 {
            return Err(Error::usage(format!(
                "HopSkipJump: expected at least one iteration, one evaluation and one image at once, found {}, {} and {}",
                self.max_iterations,
                self.evaluations(0),
                self.images_at_once
            )));
        }
        Ok(())
    }
}
