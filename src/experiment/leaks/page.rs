//! The page of the experiment.

use super::results::LeaksResults;
use super::summary::Summary;

/// Renders the whole page: one file, no script, nothing loaded from elsewhere.
pub fn render(results: &LeaksResults) -> String {
    format!("{:?}", Summary::of(results))
}
