//! The input of every membership metric: scores, truth and decisions, checked once.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Result of a membership attack on a set of samples. Larger scores mean "more likely member".
///
/// All vectors have the same length; scores are finite; ids are distinct; there is at least one member and one
/// non-member. Checked on construction and on deserialisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct MembershipResult {
    ids: Vec<String>,
    members: Vec<bool>,
    scores: Vec<f64>,
    decisions: Vec<bool>,
}

#[derive(Deserialize)]
struct Unchecked {
    ids: Vec<String>,
    members: Vec<bool>,
    scores: Vec<f64>,
    decisions: Vec<bool>,
}

impl TryFrom<Unchecked> for MembershipResult {
    type Error = Error;
    fn try_from(raw: Unchecked) -> Result<MembershipResult> {
        MembershipResult::new(raw.scores, raw.members, raw.decisions, raw.ids)
    }
}

impl MembershipResult {
    /// Takes scores, true membership, the attack's own decisions and sample ids, each of length n.
    ///
    /// # Errors
    /// Lengths that differ, a NaN or infinite score (the message names the sample), an id that occurs twice, or
    /// a set without members or without non-members.
    pub fn new(
        scores: Vec<f64>,
        members: Vec<bool>,
        decisions: Vec<bool>,
        ids: Vec<String>,
    ) -> Result<MembershipResult> {
        let n = scores.len();
        if members.len() != n || decisions.len() != n || ids.len() != n {
            return Err(Error::shape(format!(
                "membership result: {n} scores, {} membership labels, {} decisions and {} ids; all four must \
                 have the same length",
                members.len(),
                decisions.len(),
                ids.len()
            )));
        }
        if let Some(i) = scores.iter().position(|s| !s.is_finite()) {
            return Err(Error::data(
                format!("membership score of sample '{}'", ids[i]),
                format!(
                    "expected a finite number, found {}; the features of this sample are broken",
                    scores[i]
                ),
            ));
        }
        let mut seen = BTreeSet::new();
        if let Some(id) = ids.iter().find(|id| !seen.insert(id.as_str())) {
            return Err(Error::data(
                format!("membership result, sample '{id}'"),
                "the id occurs twice; every audited sample needs an id of its own, and no sample may be both \
                 member and non-member",
            ));
        }
        let positives = members.iter().filter(|&&m| m).count();
        if positives == 0 || positives == n {
            return Err(Error::data(
                "membership result",
                format!(
                    "{positives} members and {} non-members; at least one of each is needed",
                    n - positives
                ),
            ));
        }
        Ok(MembershipResult { ids, members, scores, decisions })
    }

    /// Like [`MembershipResult::new`] with the decision "member iff score ≥ `threshold`".
    pub fn with_threshold(
        scores: Vec<f64>,
        members: Vec<bool>,
        threshold: f64,
        ids: Vec<String>,
    ) -> Result<MembershipResult> {
        let decisions = scores.iter().map(|&s| s >= threshold).collect();
        MembershipResult::new(scores, members, decisions, ids)
    }

    /// Sample ids, in the order of every other vector.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }
    /// True membership.
    pub fn members(&self) -> &[bool] {
        &self.members
    }
    /// Scores; larger means more likely member.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }
    /// The attack's own decisions.
    pub fn decisions(&self) -> &[bool] {
        &self.decisions
    }
    /// Number of samples.
    pub fn count(&self) -> usize {
        self.scores.len()
    }
    /// Number of members, P.
    pub fn member_count(&self) -> usize {
        self.members.iter().filter(|&&m| m).count()
    }
    /// Number of non-members, N.
    pub fn non_member_count(&self) -> usize {
        self.count() - self.member_count()
    }
    /// Scores of the members and scores of the non-members, in order.
    pub fn split_scores(&self) -> (Vec<f64>, Vec<f64>) {
        let pick = |wanted: bool| {
            self.scores.iter().zip(&self.members).filter(|(_, m)| **m == wanted).map(|(s, _)| *s).collect()
        };
        (pick(true), pick(false))
    }
}
