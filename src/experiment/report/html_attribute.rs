//! Attribute inference on the page of an audit.

use super::format::{count, escape, percent};
use super::html_parts::{table, with_interval};
use crate::attack::attribute::AttributeFinding;
use crate::metrics::Interval;

/// Baselines that need no model, then attackers.
pub fn attribute(finding: &AttributeFinding) -> String {
    let share = |value: f64, interval: Option<&Interval>| match interval {
        Some(interval) => with_interval(value, interval, percent),
        None => percent(value),
    };
    let baselines = finding.baselines.iter().map(|b| {
        vec![
            format!("{} <span class=\"soft\">(no model)</span>", escape(&b.title)),
            share(b.accuracy.value, b.accuracy.interval.as_ref()),
            b.metrics.as_ref().map_or("–".into(), |m| percent(m.balanced_accuracy.value)),
            "–".into(),
        ]
    });
    let attackers = finding.attackers.iter().map(|a| {
        let gain = &a.advantage;
        vec![
            escape(&a.title),
            share(a.metrics.accuracy.value, Some(&a.metrics.accuracy.interval)),
            percent(a.metrics.balanced_accuracy.value),
            format!(
                "{:+.1} points ({:+.1} to {:+.1})",
                100.0 * gain.value,
                100.0 * gain.interval.lower,
                100.0 * gain.interval.upper
            ),
        ]
    });
    let control = match finding.shuffled_labels.at_chance {
        Some(true) => "Trained on shuffled labels, the attack is at chance, as it has to be.",
        Some(false) => {
            "Trained on shuffled labels, the attack is <b>not</b> at chance: do not rely on these numbers."
        }
        None => "The control with shuffled labels was not run.",
    };
    let text = format!(
        "<p>An attacker who holds {} images with their attribute ({} classes; here the non-members) learns to read it \
         from the encoder's features, and is tested on {} others (the members). What a classifier reaches on the \
         images themselves, made small, is given for comparison: only what goes beyond it is the encoder's \
         doing. {control}</p>\n",
        count(finding.auxiliary_samples),
        finding.classes,
        count(finding.test_samples)
    );
    let over = format!("Gain over {}", finding.advantage_over);
    let head = ["Attacker", "Accuracy", "Balanced accuracy", over.as_str()];
    text + &table(
        "Attribute inference. Small numbers: 95 % intervals.",
        &head,
        baselines.chain(attackers).collect(),
    )
}
