//! Metrics, intervals, tests and privacy parameters of membership and attribute inference. CPU only, f64, no GPU.
//!
//! * [`MembershipResult`]: scores, truth and decisions, validated once.
//! * [`MembershipMetrics::compute`]: everything a report prints about one attack, with intervals.
//! * [`Control`]: the same numbers for an attack that must fail (untrained encoder, shuffled labels, …).
//! * [`attribute`]: [`AttributeResult`](attribute::AttributeResult) and its metrics, for attacks that choose among classes.
//! * [`epsilon`]: lower bounds on ε from an attack; [`accountant`]: upper bound for DP training.
//! * [`compare`]: p-values, paired comparison, Holm correction. [`histogram`]: shared bins for two groups.
//!
//! Conventions: "positive" means "member"; P members, N non-members; larger scores mean "more likely member";
//! the rule at threshold t is "member iff score ≥ t"; an undefined rate is `None`, never 0. Nothing here imports
//! another room except [`crate::rng`] and [`crate::error`].

pub mod accountant;
pub mod attribute;
mod bootstrap;
pub mod compare;
mod confusion;
mod controls;
pub mod epsilon;
pub mod histogram;
mod interval;
mod jackknife;
mod membership;
mod ranking;
mod roc;
pub mod special;
mod summary;

pub use bootstrap::{Estimate, IntervalMethod, REPLICATES};
pub use confusion::Confusion;
pub use controls::{Control, Measured, mean_p_value};
pub use histogram::HistogramPair;
pub use interval::{
    Interval, LEVEL, Proportion, Trials, clopper_pearson, clopper_pearson_lower, clopper_pearson_upper,
};
pub use membership::MembershipResult;
pub use ranking::Ranking;
pub use roc::{OperatingPoint, Roc, RocPoint, auc, operating_point};
pub use summary::{MembershipMetrics, PositivePredictiveValue, RateAtLimit};

/// False-positive rates at which the true-positive rate is reported.
pub const FPR_GRID: [f64; 5] = [0.0, 1e-4, 1e-3, 1e-2, 1e-1];

/// Priors at which the positive predictive value is reported.
pub const PRIORS: [f64; 3] = [0.5, 0.1, 0.01];
