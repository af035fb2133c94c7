//! Trials put together: means over seeds with intervals, and what the paper found against what is seen.

use super::encoders::Method;
use super::results::{LeaksResults, MembershipAttack, Subject};
use crate::experiment::membership::Family;
use crate::metrics::{LEVEL, Trials};
use serde::Serialize;

/// One method over all its trials.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub method: Method,
    pub seeds: Vec<u64>,
    pub task_accuracy: Trials,
    pub overfitting_gap: Trials,
    /// Every attack.
    pub membership: Vec<Measured>,
    /// Accuracies of the attribute attacks, the published one and the strongest adaptive one, by auxiliary set.
    pub attribute: Vec<AttributeRow>,
}

/// A membership attack over trials.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub title: String,
    pub family: Family,
    pub accuracy: Trials,
    pub auc: Trials,
    /// `None` where there are too few non-members to tell 1 % of them.
    pub tpr_at_1_percent_fpr: Option<Trials>,
}

/// Attribute attacks over trials.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttributeRow {
    pub auxiliary: String,
    pub published: Trials,
    /// Mean over trials of each adaptive attacker, by title.
    pub adaptive: Vec<(String, Trials)>,
    pub majority: Trials,
    pub imputation: Trials,
}

impl AttributeRow {
    /// The attacker, published or adaptive, with the highest mean.
    pub fn strongest(&self) -> (&str, &Trials) {
        let all = self.adaptive.iter().map(|(title, trials)| (title.as_str(), trials));
        all.chain([("published network", &self.published)])
            .max_by(|a, b| a.1.mean.total_cmp(&b.1.mean))
            .unwrap_or(("published network", &self.published))
    }
}

/// A finding of the paper beside what was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// e.g. `talos-task`.
    pub id: &'static str,
    pub claim: String,
    pub seen: String,
    /// What `seen` says, as shares: first method minus second, trial by trial.
    pub difference: Trials,
    /// `None` where the intervals leave it open.
    pub agrees: Option<bool>,
    /// Whether the claim is about the sign, and the mean difference has the other one.
    pub other_sign: bool,
}

/// The whole, as tables show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub rows: Vec<Row>,
    pub comparisons: Vec<Comparison>,
}

impl Summary {
    pub fn of(results: &LeaksResults) -> Summary {
        let mut methods: Vec<Method> = Vec::new();
        for subject in &results.subjects {
            if !methods.contains(&subject.method) {
                methods.push(subject.method);
            }
        }
        let rows: Vec<Row> = methods.into_iter().filter_map(|method| row(results, method)).collect();
        let comparisons = comparisons(results);
        Summary { rows, comparisons }
    }

    pub fn row(&self, method: Method) -> Option<&Row> {
        self.rows.iter().find(|row| row.method == method)
    }
}

fn trials(subjects: &[&Subject], f: impl Fn(&Subject) -> Option<f64>) -> Option<Trials> {
    let values: Vec<f64> = subjects.iter().filter_map(|s| f(s)).collect();
    Trials::new(&values, LEVEL)
}

fn row(results: &LeaksResults, method: Method) -> Option<Row> {
    let subjects: Vec<&Subject> = results.subjects.iter().filter(|s| s.method == method).collect();
    Some(Row {
        method,
        seeds: subjects.iter().map(|s| s.seed).collect(),
        task_accuracy: trials(&subjects, |s| Some(s.utility.target_test.value))?,
        overfitting_gap: trials(&subjects, |s| Some(s.utility.overfitting_gap))?,
        membership: membership(&subjects),
        attribute: attribute(&subjects),
    })
}

fn membership(subjects: &[&Subject]) -> Vec<Measured> {
    let Some(first) = subjects.first() else { return Vec::new() };
    first
        .membership
        .iter()
        .filter_map(|attack| {
            let of = |s: &Subject| s.membership.iter().find(|a| a.id == attack.id).cloned();
            let number =
                |f: fn(&MembershipAttack) -> Option<f64>| trials(subjects, |s| of(s).and_then(|a| f(&a)));
            Some(Measured {
                title: attack.title.clone(),
                family: attack.family,
                accuracy: number(|a| Some(a.metrics.accuracy.value))?,
                auc: number(|a| Some(a.metrics.auc.value))?,
                tpr_at_1_percent_fpr: number(|a| {
                    a.metrics.tpr_at(1e-2).filter(|r| !r.unresolved).map(|r| r.rate.value)
                }),
            })
        })
        .collect()
}

fn attribute(subjects: &[&Subject]) -> Vec<AttributeRow> {
    let Some(first) = subjects.first() else { return Vec::new() };
    first
        .attribute
        .iter()
        .filter_map(|finding| {
            let auxiliary = &finding.auxiliary;
            let of = |s: &Subject| s.attribute.iter().find(|f| f.auxiliary == *auxiliary).cloned();
            let attacker =
                |id: &str| trials(subjects, |s| of(s)?.attacker(id).map(|a| a.metrics.accuracy.value));
            let baseline = |id: &str| trials(subjects, |s| of(s)?.baseline(id).map(|b| b.accuracy.value));
            Some(AttributeRow {
                auxiliary: auxiliary.clone(),
                published: trials(subjects, |s| of(s)?.published().map(|a| a.metrics.accuracy.value))?,
                adaptive: finding
                    .attackers
                    .iter()
                    .filter(|a| a.adaptive)
                    .filter_map(|a| Some((a.title.clone(), attacker(&a.id)?)))
                    .collect(),
                majority: baseline("majority")?,
                imputation: baseline("imputation")?,
            })
        })
        .collect()
}

/// Differences between two methods over the trials that both have.
fn difference(
    results: &LeaksResults,
    (a, b): (Method, Method),
    f: impl Fn(&Subject) -> Option<f64>,
) -> Option<Trials> {
    let of = |method| results.subjects.iter().filter(move |s| s.method == method);
    let values: Vec<f64> =
        of(a).filter_map(|x| Some(f(x)? - f(of(b).find(|y| y.seed == x.seed)?)?)).collect();
    Trials::new(&values, LEVEL)
}

fn comparisons(results: &LeaksResults) -> Vec<Comparison> {
    let headline = Method::Talos { lambda: results.config.lambda };
    let (contrastive, supervised) = (Method::Contrastive, Method::Supervised);
    let membership =
        |s: &Subject| s.membership.iter().find(|a| a.id == "neural").map(|a| a.metrics.accuracy.value);
    // The attacker who has not seen the encoder's training images, where he was run.
    let attribute = |s: &Subject| {
        let finding = s.attribute.iter().find(|f| f.auxiliary == "shadow-train").or(s.attribute.first())?;
        finding.published().map(|a| a.metrics.accuracy.value)
    };
    let adaptive = |s: &Subject| {
        let finding = s.attribute.iter().find(|f| f.auxiliary == "shadow-train").or(s.attribute.first())?;
        finding.attacker("logistic").map(|a| a.metrics.accuracy.value)
    };
    let task = |s: &Subject| Some(s.utility.target_test.value);
    let gap = |s: &Subject| Some(s.utility.overfitting_gap);
    let mut found = Vec::new();
    let mut compare = |id: &'static str, claim: &str, difference: Option<Trials>, wanted: Sign| {
        let Some(d) = difference else { return };
        let interval = d.interval.map_or(String::from("one trial, no interval"), |i| {
            format!("95 % interval {:+.1} to {:+.1}", 100.0 * i.lower, 100.0 * i.upper)
        });
        let agrees = d.interval.and_then(|i| wanted.judge(i.lower, i.upper));
        let seen =
            format!("difference {:+.1} points ({interval}, {} trials)", 100.0 * d.mean, d.values.len());
        let other_sign = wanted.differs(d.mean);
        found.push(Comparison { id, claim: claim.into(), seen, difference: d, agrees, other_sign });
    };
    compare(
        "membership",
        "Contrastive models are less vulnerable to membership inference than supervised ones (neural attack)",
        difference(results, (contrastive, supervised), membership),
        Sign::Below,
    );
    compare(
        "gap",
        "Contrastive models overfit less: train minus test accuracy",
        difference(results, (contrastive, supervised), gap),
        Sign::Below,
    );
    compare(
        "attribute",
        "Contrastive models are more vulnerable to attribute inference (published network)",
        difference(results, (contrastive, supervised), attribute),
        Sign::Above,
    );
    compare(
        "attribute-logistic",
        "The same with logistic regression as the attacker",
        difference(results, (contrastive, supervised), adaptive),
        Sign::Above,
    );
    compare(
        "talos-attribute",
        "Talos lowers attribute inference (published network)",
        difference(results, (headline, contrastive), attribute),
        Sign::Below,
    );
    compare(
        "talos-attribute-logistic",
        "Talos lowers attribute inference by logistic regression too",
        difference(results, (headline, contrastive), adaptive),
        Sign::Below,
    );
    compare(
        "talos-task",
        "Talos costs at most 3 points of task accuracy",
        difference(results, (headline, contrastive), task),
        Sign::AtLeast(-0.03),
    );
    compare(
        "talos-membership",
        "Talos keeps membership privacy: the neural attack gains at most 3 points",
        difference(results, (headline, contrastive), membership),
        Sign::AtMost(0.03),
    );
    found
}

/// What a claim says of a difference.
#[derive(Clone, Copy)]
enum Sign {
    Below,
    Above,
    AtLeast(f64),
    AtMost(f64),
}

impl Sign {
    /// Whether a difference points the other way.
    fn differs(self, difference: f64) -> bool {
        match self {
            Sign::Below => difference > 0.0,
            Sign::Above => difference < 0.0,
            Sign::AtLeast(_) | Sign::AtMost(_) => false,
        }
    }

    /// Whether an interval of the difference agrees; `None` where it leaves it open.
    fn judge(self, lower: f64, upper: f64) -> Option<bool> {
        match self {
            Sign::Below if upper < 0.0 => Some(true),
            Sign::Below if lower > 0.0 => Some(false),
            Sign::Above if lower > 0.0 => Some(true),
            Sign::Above if upper < 0.0 => Some(false),
            Sign::AtLeast(least) if lower >= least => Some(true),
            Sign::AtLeast(least) if upper < least => Some(false),
            Sign::AtMost(most) if upper <= most => Some(true),
            Sign::AtMost(most) if lower > most => Some(false),
            _ => None,
        }
    }
}

/// A line for each membership attack of each trial.
pub fn csv(results: &LeaksResults) -> String {
    let mut text = String::from("seed,method,attack,family,accuracy,lower,upper,auc,tpr_at_1_percent_fpr\n");
    for subject in &results.subjects {
        for attack in &subject.membership {
            let m = &attack.metrics;
            let tpr = m.tpr_at(1e-2).map_or(String::new(), |r| r.rate.value.to_string());
            text.push_str(&format!(
                "{},{},{},{:?},{},{},{},{},{tpr}\n",
                subject.seed,
                subject.method,
                attack.id,
                attack.family,
                m.accuracy.value,
                m.accuracy.interval.lower,
                m.accuracy.interval.upper,
                m.auc.value
            ));
        }
    }
    text
}
