//! Learning-rate schedules.
//!
//! Steps and epochs count from 0 here; the comments of the variants say what published code does.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// How the learning rate changes during training. The text forms are those of [`fmt::Display`]:
/// `const`, `step(120,160)`, `cosine`, `cosine-notebook`, `cosine-delayed`, `cosine-batches`,
/// `warmup(500)+cosine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// η₀ throughout.
    Const,
    /// ×0.1 at the start of each of these epochs (MoCo v1).
    Step(Vec<u64>),
    /// η₀·½(1 + cos(πe/E)) in epoch e = 0..E−1 of E.
    Cosine,
    /// The same with e = 1..E, so that the last epoch runs at 0 and moves only batch-norm statistics and
    /// the key encoder (CIFAR-10 notebook of `facebookresearch/moco`).
    CosineNotebook,
    /// η₀ for the first eleven epochs, then cosine per epoch towards 0 at the end (what
    /// `sthalles/SimCLR` and He and Zhang's code meant).
    CosineDelayed,
    /// What that code does: the cosine's half-period is the number of *batches* of an epoch, yet it moves
    /// once per epoch; periodic when there are more epochs than batches.
    CosineBatches,
    /// Linear over this many steps up to η₀, then cosine per step towards 0 at the end (OpenCLIP).
    WarmupCosine { warmup: u64 },
}

/// Epochs that the delayed schedules wait: their counter first moves after the eleventh epoch.
const DELAY: u64 = 10;

/// The learning rate over a whole training run.
#[derive(Clone, Debug, PartialEq)]
pub struct LearningRate {
    /// η₀.
    pub base: f64,
    /// E, the epochs of the run.
    pub epochs: u64,
    pub schedule: Schedule,
}

impl LearningRate {
    /// The rate of optimiser step `step` = 0, 1, …, where an epoch has `steps_per_epoch` of them (0 counts
    /// as 1). Steps beyond the end stay at the last value of the non-periodic schedules.
    pub fn lr(&self, step: u64, steps_per_epoch: u64) -> f64 {
        self.base * self.schedule.factor(step, steps_per_epoch, self.epochs)
    }
}

/// ½(1 + cos(π·position/length)).
fn cosine(position: u64, length: u64) -> f64 {
    0.5 * (1.0 + (PI * position as f64 / length as f64).cos())
}

impl Schedule {
    /// What η₀ is multiplied by at `step` of a run of `epochs` epochs.
    pub fn factor(&self, step: u64, steps_per_epoch: u64, epochs: u64) -> f64 {
        let per_epoch = steps_per_epoch.max(1);
        let epochs = epochs.max(1);
        let epoch = step / per_epoch;
        let last = epochs - 1;
        match self {
            Schedule::Const => 1.0,
            Schedule::Step(milestones) => {
                let passed = milestones.iter().filter(|&&milestone| milestone <= epoch).count();
                // 10^-n by one division: a product of tenths would not give PyTorch's value either, and
                // this one is the nearest number.
                1.0 / 10_f64.powf(passed as f64)
            }
            Schedule::Cosine => cosine(epoch.min(last), epochs),
            Schedule::CosineNotebook => cosine(epoch.min(last) + 1, epochs),
            Schedule::CosineDelayed if epochs <= DELAY => 1.0,
            Schedule::CosineDelayed => cosine(epoch.min(last).saturating_sub(DELAY), epochs - DELAY),
            Schedule::CosineBatches => cosine(epoch.saturating_sub(DELAY), per_epoch),
            Schedule::WarmupCosine { warmup } if step < *warmup => (step + 1) as f64 / *warmup as f64,
            Schedule::WarmupCosine { warmup } => {
                let length = epochs.saturating_mul(per_epoch).saturating_sub(*warmup).max(1);
                cosine((step - warmup).min(length - 1), length)
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Schedule::Const => f.write_str("const"),
            Schedule::Step(milestones) => {
                let milestones: Vec<String> = milestones.iter().map(u64::to_string).collect();
                write!(f, "step({})", milestones.join(","))
            }
            Schedule::Cosine => f.write_str("cosine"),
            Schedule::CosineNotebook => f.write_str("cosine-notebook"),
            Schedule::CosineDelayed => f.write_str("cosine-delayed"),
            Schedule::CosineBatches => f.write_str("cosine-batches"),
            Schedule::WarmupCosine { warmup } => write!(f, "warmup({warmup})+cosine"),
        }
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Schedule> {
        let number = |digits: &str| digits.trim().parse::<u64>().ok();
        let between = |prefix: &str, suffix: &str| text.strip_prefix(prefix)?.strip_suffix(suffix);
        let parsed = match text {
            "const" => Some(Schedule::Const),
            "cosine" => Some(Schedule::Cosine),
            "cosine-notebook" => Some(Schedule::CosineNotebook),
            "cosine-delayed" => Some(Schedule::CosineDelayed),
            "cosine-batches" => Some(Schedule::CosineBatches),
            _ => {
                let step = between("step(", ")")
                    .and_then(|inside| inside.split(',').map(number).collect::<Option<Vec<_>>>());
                let warmup = between("warmup(", ")+cosine").and_then(number);
                step.map(Schedule::Step).or(warmup.map(|warmup| Schedule::WarmupCosine { warmup }))
            }
        };
        parsed.ok_or_else(|| {
            Error::usage(format!(
                "learning-rate schedule `{text}` is unknown; use one of const, step(EPOCH,EPOCH,…), cosine, \
                 cosine-notebook, cosine-delayed, cosine-batches, warmup(STEPS)+cosine"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(schedule: Schedule, epochs: u64) -> LearningRate {
        LearningRate { base: 0.06, epochs, schedule }
    }

    fn close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-15, "{actual} instead of {expected}");
    }

    #[test]
    fn step_falls_tenfold_at_each_milestone() {
        let rate = rate(Schedule::Step(vec![120, 160]), 200);
        for (epoch, expected) in [(0, 0.06), (119, 0.06), (120, 0.006), (159, 0.006), (160, 0.0006)] {
            close(rate.lr(epoch * 7 + 6, 7), expected);
        }
        close(self::rate(Schedule::Const, 3).lr(1_000, 1), 0.06);
    }

    #[test]
    fn cosine_is_constant_within_an_epoch_and_the_notebook_ends_at_zero() {
        let plain = rate(Schedule::Cosine, 4);
        close(plain.lr(0, 5), 0.06);
        assert_eq!(plain.lr(5, 5), plain.lr(9, 5));
        close(plain.lr(10, 5), 0.03);
        close(plain.lr(15, 5), 0.06 * 0.5 * (1.0 - 0.5_f64.sqrt()));
        assert_eq!(plain.lr(15, 5), plain.lr(1_000, 5), "beyond the end the last value stays");
        let notebook = rate(Schedule::CosineNotebook, 4);
        assert_eq!(notebook.lr(0, 5), plain.lr(5, 5));
        close(notebook.lr(19, 5), 0.0);
    }

    #[test]
    fn delayed_schedules_wait_eleven_epochs() {
        let delayed = rate(Schedule::CosineDelayed, 100);
        for epoch in 0..11 {
            close(delayed.lr(epoch * 195, 195), 0.06);
        }
        close(delayed.lr(11 * 195, 195), 0.06 * 0.5 * (1.0 + (PI / 90.0).cos()));
        close(delayed.lr(55 * 195, 195), 0.03);
        close(rate(Schedule::CosineDelayed, 10).lr(9, 1), 0.06);

        let batches = rate(Schedule::CosineBatches, 100);
        close(batches.lr(10 * 20, 20), 0.06);
        close(batches.lr(20 * 20, 20), 0.03);
        close(batches.lr(30 * 20, 20), 0.0);
        close(batches.lr(50 * 20, 20), 0.06);
    }

    #[test]
    fn warmup_reaches_the_base_rate_and_then_falls() {
        let rate = rate(Schedule::WarmupCosine { warmup: 4 }, 2);
        for (step, share) in [(0, 0.25), (3, 1.0), (4, 1.0), (12, 0.5), (8, 0.5 * (1.0 + 0.5_f64.sqrt()))] {
            close(rate.lr(step, 10), 0.06 * share);
        }
        close(self::rate(Schedule::WarmupCosine { warmup: 30 }, 2).lr(35, 10), 0.06);
    }

    #[test]
    fn text_forms_survive_a_round_trip_and_nonsense_is_refused() {
        for text in [
            "const",
            "step(120,160)",
            "cosine",
            "cosine-notebook",
            "cosine-delayed",
            "cosine-batches",
            "warmup(500)+cosine",
        ] {
            assert_eq!(text.parse::<Schedule>().map(|s| s.to_string()).ok().as_deref(), Some(text));
        }
        for text in ["", "cos", "step()", "step(1,x)", "warmup(-1)+cosine", "warmup(5)", "Const"] {
            let message = text.parse::<Schedule>().map_err(|e| e.to_string());
            assert!(message.is_err_and(|m| m.contains(&format!("`{text}`"))), "{text} was accepted");
        }
    }

    #[test]
    fn no_schedule_leaves_the_range_or_divides_by_zero() {
        let schedules =
            ["const", "step(0,1)", "cosine", "cosine-notebook", "cosine-delayed", "cosine-batches"];
        let warmups = ["warmup(0)+cosine", "warmup(1)+cosine", "warmup(99)+cosine"];
        for text in schedules.iter().chain(&warmups) {
            let schedule: Schedule = text.parse().expect("written above");
            for (step, per_epoch, epochs) in [(0, 0, 0), (5, 0, 1), (u64::MAX, 1, 3), (7, u64::MAX, u64::MAX)]
            {
                let factor = schedule.factor(step, per_epoch, epochs);
                assert!((0.0..=1.0).contains(&factor), "{text}: {factor}");
            }
        }
    }
}
