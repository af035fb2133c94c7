//! EncoderMI-T: a threshold on the mean similarity.

use crate::{Error, Result};

/// The rule: member iff the mean is at least `value`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    pub value: f64,
    /// Share of the shadow images that the rule decides rightly, members and non-members weighing the same.
    pub training_accuracy: f64,
}

fn check(members: &[f64], nonmembers: &[f64]) -> Result<()> {
    if members.is_empty() || nonmembers.is_empty() {
        return Err(Error::shape(
            "EncoderMI-T: needs shadow members and shadow non-members to set its threshold",
        ));
    }
    Ok(())
}

/// Balanced accuracy of "at least `value`".
fn accuracy(members: &[f64], nonmembers: &[f64], value: f64) -> f64 {
    let share = |scores: &[f64]| scores.iter().filter(|&&s| s >= value).count() as f64 / scores.len() as f64;
    (share(members) + 1.0 - share(nonmembers)) / 2.0
}

/// The threshold of best shadow accuracy: all midpoints between neighbouring means and both infinities are tried; of
/// equally good intervals the widest finite one is taken, at its middle.
///
/// # Errors
/// When either group is empty.
pub fn exact_threshold(members: &[f64], nonmembers: &[f64]) -> Result<Threshold> {
    check(members, nonmembers)?;
    let (p, n) = (members.len() as i64, nonmembers.len() as i64);
    let mut all: Vec<(f64, bool)> =
        members.iter().map(|&s| (s, true)).chain(nonmembers.iter().map(|&s| (s, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Rightly decided images, with weights n for a member and p for a non-member so that groups weigh the same; at −∞ all members are.
    let mut right = p * n;
    let mut best = (right, 0.0, f64::NEG_INFINITY);
    for (i, &(score, member)) in all.iter().enumerate() {
        right += if member { -n } else { p };
        let next = all.get(i + 1).map(|a| a.0);
        if next == Some(score) {
            continue;
        }
        let (width, value) = next.map_or((0.0, f64::INFINITY), |next| {
            let middle = score + (next - score) / 2.0;
            // Between neighbouring floats there is no middle, and `score` itself is on the other side.
            (next - score, if middle > score { middle } else { next })
        });
        if right > best.0 || (right == best.0 && width > best.1) {
            best = (right, width, value);
        }
    }
    let value = best.2;
    Ok(Threshold { value, training_accuracy: accuracy(members, nonmembers, value) })
}

/// `compat: grid501`: the first of 501 equally spaced edges on [0, 1] with the best shadow accuracy.
///
/// # Errors
/// When either group is empty.
pub fn grid501_threshold(members: &[f64], nonmembers: &[f64]) -> Result<Threshold> {
    check(members, nonmembers)?;
    let mut best = Threshold { value: 0.0, training_accuracy: -1.0 };
    for edge in 0..=500 {
        let value = f64::from(edge) / 500.0;
        let training_accuracy = accuracy(members, nonmembers, value);
        if training_accuracy > best.training_accuracy {
            best = Threshold { value, training_accuracy };
        }
    }
    Ok(best)
}
