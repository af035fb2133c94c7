//! Membership inference against a classifier from its answers: the attacks with which X. He and Y. Zhang
//! (ACM CCS 2021, section 3) compare contrastive with supervised models.
//!
//! * [`neural`]: a network on the largest posteriors and whether the prediction was right;
//! * [`metric`]: thresholds on one number of the posteriors (Song and Mittal, USENIX Security 2021).
//! * [`label_only`]: distance to the decision boundary by HopSkipJump, and labels of altered images.
//!
//! The attacker trains a shadow model whose training samples it knows, learns there how members are answered, and
//! applies that to the target: every attack takes [`Four`] sets and ends in an [`Outcome`]. An attack on the target
//! never sees which of the target's samples are members; only the evaluation does.

pub mod label_only;
pub mod metric;
pub mod network;
pub mod neural;
mod posteriors;

pub use crate::attack::encodermi::Inference;
pub(crate) use posteriors::descending;
pub use posteriors::{Posteriors, Rows};

use crate::metrics::MembershipResult;
use crate::{Error, Result};

/// The sets of an attack with a shadow model: what the target answers for its members and non-members, and what the
/// shadow model answers for its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Four<T> {
    pub target_members: T,
    pub target_non_members: T,
    pub shadow_members: T,
    pub shadow_non_members: T,
}

impl<T> Four<T> {
    /// The four sets with their names, for messages.
    pub fn named(&self) -> [(&'static str, &T); 4] {
        [
            ("target members", &self.target_members),
            ("target non-members", &self.target_non_members),
            ("shadow members", &self.shadow_members),
            ("shadow non-members", &self.shadow_non_members),
        ]
    }

    /// Something made of each set.
    ///
    /// # Errors
    /// The first error of `f`.
    pub fn try_map<U>(&self, mut f: impl FnMut(&T) -> Result<U>) -> Result<Four<U>> {
        Ok(Four {
            target_members: f(&self.target_members)?,
            target_non_members: f(&self.target_non_members)?,
            shadow_members: f(&self.shadow_members)?,
            shadow_non_members: f(&self.shadow_non_members)?,
        })
    }
}

/// Checks that no set is empty and that all have one width, called `what` in messages; returns the width.
fn common_width<T>(four: &Four<T>, what: &str, size: impl Fn(&T) -> (usize, usize)) -> Result<usize> {
    let (_, width) = size(&four.shadow_members);
    for (name, set) in four.named() {
        let (count, found) = size(set);
        if count == 0 {
            return Err(Error::shape(format!("membership attack: the set of {name} is empty")));
        }
        if found != width {
            return Err(Error::shape(format!(
                "membership attack: expected {width} {what} for each of the {name}, as the shadow members have, \
                 found {found}; target and shadow model must answer in the same form"
            )));
        }
    }
    Ok(width)
}

impl Four<Posteriors> {
    /// Checks that no set is empty and that all have the same classes; returns their number.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the set.
    pub fn classes(&self) -> Result<usize> {
        common_width(self, "posteriors", |set| (set.len(), set.classes()))
    }
}

impl Four<Rows> {
    /// Checks that no set is empty and that all have one width, which it returns.
    ///
    /// # Errors
    /// [`Error::Shape`] naming the set.
    pub fn width(&self) -> Result<usize> {
        common_width(self, "numbers", |set| (set.len(), set.width()))
    }
}

/// What an attack found about the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Scores and decisions for the target's members, then for its non-members, in the order they were given;
    /// ids `member/0`, …, `non-member/0`, ….
    pub result: MembershipResult,
    /// The one threshold on the score, where there is one.
    pub threshold: Option<f64>,
    /// Share of the shadow samples decided rightly; `None` for attacks without a shadow model.
    pub training_accuracy: Option<f64>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// Joins the inferences about members and non-members; warns when nearly all decisions are the same.
    ///
    /// # Errors
    /// An empty set, or a score that is not finite.
    pub fn new(
        members: Inference,
        non_members: Inference,
        threshold: Option<f64>,
        training_accuracy: Option<f64>,
    ) -> Result<Outcome> {
        let (p, n) = (members.scores.len(), non_members.scores.len());
        let ids = (0..p).map(|i| format!("member/{i}")).chain((0..n).map(|i| format!("non-member/{i}")));
        let (mut scores, mut decisions) = (members.scores, members.decisions);
        scores.extend(non_members.scores);
        decisions.extend(non_members.decisions);
        let warnings = one_answer_warning(&decisions).into_iter().collect();
        let truth = (0..p + n).map(|i| i < p).collect();
        let result = MembershipResult::new(scores, truth, decisions, ids.collect())?;
        Ok(Outcome { result, threshold, training_accuracy, warnings })
    }
}

/// Share of decisions for one answer above which an attack counts as dead.
const ONE_ANSWER: f64 = 0.99;

/// A warning when more than 99 % of the decisions are the same: a network whose outputs died looks like that, and
/// its accuracy of one half says nothing about the target.
pub fn one_answer_warning(decisions: &[bool]) -> Option<String> {
    let members = decisions.iter().filter(|&&d| d).count();
    let (answer, most) = if 2 * members > decisions.len() {
        ("member", members)
    } else {
        ("non-member", decisions.len() - members)
    };
    let share = most as f64 / decisions.len().max(1) as f64;
    (share > ONE_ANSWER).then(|| {
        format!(
            "{:.1} % of the decisions are \"{answer}\": the attack may be dead or its threshold may not fit, and its \
             accuracy then measures nothing.",
            100.0 * share
        )
    })
}

/// Share of right decisions about members and non-members together.
fn accuracy(members: &[bool], non_members: &[bool]) -> f64 {
    let right = members.iter().filter(|&&d| d).count() + non_members.iter().filter(|&&d| !d).count();
    right as f64 / (members.len() + non_members.len()).max(1) as f64
}
