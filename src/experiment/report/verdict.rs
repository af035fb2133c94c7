//! The answer in one sentence, and why.
//!
//! Two hypotheses per attack are tested against chance, one-sided: accuracy (exact binomial, against the share
//! of the larger set) and AUC (Mann–Whitney, against ½). Holm's correction covers all of them.
//!
//! * **Leaks**: some adjusted p-value is below 5 %, at least one control was run, and all controls are at chance.
//! * **No evidence**: no adjusted p-value is below 5 %, every 95 % interval includes chance, no control failed.
//! * **Inconclusive**: everything else.

use serde::{Deserialize, Serialize};

use super::format::{count, interval_text, p_value, percent};
use super::schema::Attack;
use crate::metrics::compare::holm;
use crate::metrics::special::{beta_quantile, binomial_upper_tail};
use crate::metrics::{Control, Interval};

const CONTROL_ALPHA: f64 = 0.01;
const ALPHA: f64 = 0.05;

/// The three answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerdictKind {
    Leaks,
    NoEvidence,
    Inconclusive,
}

/// The number that the sentence is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeyNumber {
    /// Title of the attack.
    pub attack: String,
    /// "accuracy" or "AUC".
    pub measure: String,
    pub value: f64,
    pub interval: Interval,
    /// The value that guessing reaches.
    pub chance: f64,
}

/// One hypothesis test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Title of the attack.
    pub attack: String,
    /// "accuracy" or "AUC".
    pub measure: String,
    pub p: f64,
    /// Adjusted by Holm over all tests of the report.
    pub p_holm: f64,
}

/// Answer to "does this encoder give away what it was trained on?".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub kind: VerdictKind,
    /// Begins with "Yes:", "No evidence" or "Inconclusive:".
    pub sentence: String,
    pub key: Option<KeyNumber>,
    /// Reasons, strength and limits, a sentence or two each.
    pub details: Vec<String>,
    pub tests: Vec<Test>,
    /// Level of the family of tests.
    pub alpha: f64,
}

fn numbers(attack: &Attack) -> [KeyNumber; 2] {
    let m = &attack.metrics;
    let key = |measure: &str, value, interval, chance| KeyNumber {
        attack: attack.title.clone(),
        measure: measure.into(),
        value,
        interval,
        chance,
    };
    [
        key("accuracy", m.accuracy.value, m.accuracy.interval, m.majority_share),
        key("AUC", m.auc.value, m.auc.interval, 0.5),
    ]
}

/// Judges attacks (with their own controls) and the controls of the sets as a whole.
pub fn judge(attacks: &[Attack], set_controls: &[Control]) -> Verdict {
    if attacks.is_empty() {
        return Verdict {
            kind: VerdictKind::Inconclusive,
            sentence: "Inconclusive: no attack was run.".into(),
            key: None,
            details: Vec::new(),
            tests: Vec::new(),
            alpha: ALPHA,
        };
    }
    let keys: Vec<KeyNumber> = attacks.iter().flat_map(numbers).collect();
    let p: Vec<f64> =
        attacks.iter().flat_map(|a| [a.metrics.accuracy_p_value, a.metrics.auc_p_value]).collect();
    let adjusted = holm(&p);
    let tests: Vec<Test> = keys
        .iter()
        .zip(p.iter().zip(&adjusted))
        .map(|(key, (&p, &p_holm))| Test {
            attack: key.attack.clone(),
            measure: key.measure.clone(),
            p,
            p_holm,
        })
        .collect();

    let controls = || attacks.iter().flat_map(|a| &a.controls).chain(set_controls);
    let decided = controls().filter(|c| c.at_chance.is_some()).count();
    // With many controls one of them leaves its 99 % interval by luck; together they may do so in 1 % of honest audits.
    let by_luck = |c: &Control| c.p_value.is_some_and(|p| p * decided as f64 >= CONTROL_ALPHA);
    let failed: Vec<&Control> = controls().filter(|c| c.at_chance == Some(false) && !by_luck(c)).collect();
    let significant = |measure: &str| {
        let hits = keys.iter().zip(&adjusted).filter(|(k, p)| k.measure == measure && **p < ALPHA);
        hits.map(|(k, _)| k).max_by(|a, b| a.value.total_cmp(&b.value))
    };
    let strongest =
        || keys.iter().filter(|k| k.measure == "accuracy").max_by(|a, b| a.value.total_cmp(&b.value));
    let found = significant("accuracy").or_else(|| significant("AUC"));
    let key = found.or_else(strongest).cloned();
    let at_chance = keys.iter().all(|k| k.interval.contains(k.chance));

    let (kind, sentence) = match (&key, found) {
        (Some(key), _) if !failed.is_empty() => (VerdictKind::Inconclusive, failed_sentence(key, &failed)),
        (Some(key), Some(_)) if decided == 0 => (
            VerdictKind::Inconclusive,
            format!(
                "Inconclusive: {}, but no control was run, so the two sets of images may differ for other reasons \
                 than training.",
                lower_first(&achievement(key))
            ),
        ),
        (Some(key), Some(_)) => (VerdictKind::Leaks, leak_sentence(key)),
        (Some(key), None) if at_chance => (
            VerdictKind::NoEvidence,
            format!(
                "No evidence that this encoder gives away which images it was trained on: {}.",
                lower_first(&achievement(key))
            ),
        ),
        (Some(key), None) => (
            VerdictKind::Inconclusive,
            format!(
                "Inconclusive: the results differ from guessing, but not in a way that shows a leak. {}.",
                achievement(key)
            ),
        ),
        (None, _) => (VerdictKind::Inconclusive, "Inconclusive: no number could be computed.".into()),
    };
    let details = details(kind, attacks, &tests, &failed, decided, set_controls);
    Verdict { kind, sentence, key, details, tests, alpha: ALPHA }
}

fn achievement(key: &KeyNumber) -> String {
    let interval = interval_text(&key.interval, percent);
    let level = format!("{:.0}\u{202f}%", 100.0 * key.interval.level);
    let (value, chance) = (percent(key.value), percent(key.chance));
    if key.measure == "accuracy" {
        format!(
            "The attack {} is right for {value} of the images ({level} interval {interval}), guessing for {chance}",
            key.attack
        )
    } else {
        format!(
            "The attack {} ranks a training image above an unseen one in {value} of all pairs ({level} interval \
             {interval}), guessing in {chance}",
            key.attack
        )
    }
}

fn lower_first(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

fn leak_sentence(key: &KeyNumber) -> String {
    // A few points above chance concern few images; the reader should not picture a general break.
    let degree = if key.value < key.chance + 0.05 { ", to a small degree," } else { "" };
    format!("Yes: this encoder gives away{degree} which images it was trained on. {}.", achievement(key))
}

fn failed_sentence(key: &KeyNumber, failed: &[&Control]) -> String {
    let mut names: Vec<&str> = failed.iter().map(|c| c.title.as_str()).collect();
    names.dedup();
    format!(
        "Inconclusive: {}, but a control that cannot know the answer is not at chance either ({}), so the \
         difference may have nothing to do with training.",
        lower_first(&achievement(key)),
        names.join(", ")
    )
}

fn details(
    kind: VerdictKind,
    attacks: &[Attack],
    tests: &[Test],
    failed: &[&Control],
    decided: usize,
    set_controls: &[Control],
) -> Vec<String> {
    let mut out = Vec::new();
    let m = &attacks[0].metrics;
    if let Some(best) = tests.iter().min_by(|a, b| a.p_holm.total_cmp(&b.p_holm)) {
        out.push(format!(
            "If the encoder gave nothing away, luck alone would produce a result this good with probability {} \
             ({} of {}; Holm-corrected for {} tests).",
            p_value(best.p_holm),
            best.measure,
            best.attack,
            tests.len()
        ));
    }
    for control in failed {
        if let (Some(auc), Some(interval)) = (control.auc, control.auc_99) {
            out.push(format!(
                "Control “{}” should have AUC 0.5 but has {:.3} (99 % interval {:.3} to {:.3}).",
                control.title, auc.value, interval.lower, interval.upper
            ));
        }
    }
    if failed.is_empty() && decided > 0 {
        out.push(format!(
            "{}: none leaves AUC 0.5 by more than luck, tested at 1 % for all together.",
            if decided == 1 {
                "The control is at chance".to_string()
            } else {
                format!("All {decided} controls are at chance")
            }
        ));
    }
    let guards = ["untrained-encoder", "foreign-encoder", "blind"];
    let guarded = attacks.iter().flat_map(|a| &a.controls).chain(set_controls);
    if kind == VerdictKind::Leaks && !guarded.into_iter().any(|c| guards.contains(&c.id.as_str())) {
        out.push(
            "No control without this encoder's training was run (untrained, foreign or blind): a difference \
             between the two sets of images themselves is not excluded."
                .into(),
        );
    }
    if kind != VerdictKind::Leaks
        && let Some(accuracy) = detectable_accuracy(m.members + m.non_members, m.majority_share, tests.len())
    {
        out.push(format!(
            "With {} members and {} non-members, an attack that is right for {} of the images would have been \
             noticed with 80 % probability; a weaker leak can stay unseen.",
            count(m.members),
            count(m.non_members),
            percent(accuracy)
        ));
    }
    if kind == VerdictKind::Leaks {
        let best = attacks.iter().filter_map(|a| Some((a, a.metrics.tpr_at(1e-2)?)));
        let best = best.filter(|(_, rate)| !rate.unresolved);
        if let Some((attack, rate)) = best.max_by(|a, b| a.1.rate.value.total_cmp(&b.1.rate.value)) {
            out.push(format!(
                "For single images: when at most 1 in 100 unseen images may be accused wrongly, {} still finds {} of \
                 the training images ({}).",
                attack.title,
                percent(rate.rate.value),
                interval_text(&rate.rate.interval, percent)
            ));
        }
    }
    out.push(
        "The verdict is about these attacks on these images. A stronger attack can find more, and it says nothing \
         about other kinds of leakage."
            .into(),
    );
    out
}

/// Smallest true accuracy that the first Holm step would detect with 80 % probability; `None` when the set is too
/// small for any result to be significant.
fn detectable_accuracy(n: u64, chance: f64, tests: usize) -> Option<f64> {
    let level = ALPHA / tests.max(1) as f64;
    // Smallest number of correct decisions that is significant, by bisection: the tail falls as k grows.
    let (mut low, mut high) = (0, n + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if binomial_upper_tail(middle, n, chance) < level { high = middle } else { low = middle + 1 }
    }
    (low <= n).then(|| beta_quantile(0.8, low as f64, (n - low + 1) as f64))
}
