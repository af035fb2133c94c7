//! The main table and what lies behind its numbers, trial by trial.

use super::measures::{Cell, Line, lines};
use super::{NONE, headline, name, over_trials, several, with_interval};
use crate::experiment::leaks::results::{LeaksResults, MembershipAttack, Subject};
use crate::experiment::leaks::summary::Row;
use crate::experiment::report::format::{count, decimal, escape, interval_cell, number, p_value, percent};
use crate::experiment::report::html::section;
use crate::experiment::report::html_parts::{table, with_interval as number_with_interval};
use crate::metrics::compare::holm;
use crate::metrics::{LEVEL, Trials};

/// The section of the main table.
pub fn main(results: &LeaksResults, shown: &[&Row]) -> String {
    let all = lines(shown);
    if all.is_empty() {
        return String::new();
    }
    let columns = headline::columns(shown);
    let head: String = columns.iter().map(|c| format!(r#"<th scope="col">{}</th>"#, escape(c))).collect();
    let mut body = String::new();
    let mut group = "";
    for line in &all {
        if line.group != group {
            group = &line.group;
            body += &format!(
                r#"<tr class="group"><th scope="colgroup" colspan="{}">{}<span class="interval">{}</span></th></tr>"#,
                columns.len() + 1,
                escape(group),
                escape(&explain(results, group))
            );
        }
        body += &row(line, &columns);
    }
    let trials: Vec<String> =
        shown.iter().map(|row| format!("{}: {}", name(row.method), row.seeds.len())).collect();
    let intervals = all.iter().map(|line| line.cells.iter().flatten().count()).sum::<usize>();
    let text = format!(
        "<p><b>Accuracy</b> of a membership attack: share of images judged correctly, half of which are members. \
         <b>AUC</b>: how often a member scores higher than a non-member; 0.5 is guessing. <b>TPR at 1 % FPR</b>: share of \
         members found when at most 1 in 100 non-members may be accused wrongly. An attribute attack says something \
         only as far as it is better than <b>imputation</b>, which never sees an embedding.</p>\
         <table class=\"cards\"><caption>Means over trials ({}). Small numbers: 95 % intervals of the mean (Student, over \
         trials, cut at 0 and 100 %). TPR is that at 1 % FPR.</caption><thead><tr><th scope=\"col\">Measure</th>{head}</tr></thead><tbody>{body}\
         </tbody></table><p class=\"soft\">{} in this table, none corrected for their number. The strongest attribute \
         attacker has the highest mean on the test images themselves, which flatters it. Intervals over trials say how \
         much a new split and new weights would change a number; those within a trial, below, how much other test \
         images would. They are not mixed.</p>",
        trials.join(", "),
        several(intervals, "mean"),
    );
    let details = format!("{}{}{}", methods(results), membership_trials(results), attribute_trials(results));
    section(
        "leaks",
        "Contrastive, supervised, Talos: what they can do and what they leak",
        &(text + &details),
    )
}

/// A line about a group of measures.
fn explain(results: &LeaksResults, group: &str) -> String {
    let pool = results.task.counts.iter().sum::<u64>().max(1) as f64;
    let largest = results.task.counts.iter().copied().max().unwrap_or(0) as f64 / pool;
    let first = results.subjects.first();
    if group == "Usefulness" {
        return format!("always the most frequent class: {}", percent(largest));
    }
    if group.starts_with("Membership") {
        let few = first
            .into_iter()
            .flat_map(|s| &s.membership)
            .filter(|a| group.contains("label-only") && a.metrics.tpr_at(1e-2).is_some_and(|t| t.unresolved))
            .map(|a| a.metrics.non_members)
            .min();
        let few = few.map_or(String::new(), |n| {
            format!("; only {} non-members in one of them, too few for a TPR at 1 % FPR", count(n))
        });
        return format!("guessing: 50.0\u{202f}%{few}");
    }
    let finding = first
        .into_iter()
        .flat_map(|s| &s.attribute)
        .find(|f| group.strip_prefix("Attribute, attacker holds ") == Some(f.auxiliary.as_str()));
    let chance =
        finding.and_then(|f| f.baseline("chance")).map_or(String::new(), |c| percent(c.accuracy.value));
    match (group.ends_with("target-train"), chance.is_empty()) {
        (_, true) => String::new(),
        (true, _) => format!("chance: {chance}; the encoder's own training images, as published"),
        (false, _) => format!("chance: {chance}; images that the encoder has not seen"),
    }
}

fn row(line: &Line, columns: &[String]) -> String {
    let cell = |(cell, column): (&Option<Cell>, &String)| {
        let label = escape(column);
        let Some(cell) = cell else { return format!(r#"<td class="none" data-label="{label}">{NONE}</td>"#) };
        let (mean, interval) = cell.text(line.signed);
        let interval = interval.map_or(String::new(), |i| format!(r#"<span class="interval">{i}</span>"#));
        let notes: String =
            cell.notes.iter().map(|note| format!(r#"<span class="note">{}</span>"#, escape(note))).collect();
        format!(r#"<td data-label="{label}"><span>{mean}{interval}{notes}</span></td>"#)
    };
    let cells: String = line.cells.iter().zip(columns).map(cell).collect();
    format!(r#"<tr><th scope="row">{}</th>{cells}</tr>"#, escape(&line.title))
}

/// Usefulness of every method, with the other λ, from every trial.
fn methods(results: &LeaksResults) -> String {
    let rows = results
        .subjects
        .iter()
        .map(|s| {
            let share = |p: &crate::metrics::Proportion| with_interval(p.value, &p.interval);
            let u = &s.utility;
            vec![
                heading(s),
                share(&u.target_train),
                share(&u.target_test),
                super::points(u.overfitting_gap),
                share(&u.shadow_train),
                share(&u.shadow_test),
                share(&u.logistic),
                share(&u.neighbours),
            ]
        })
        .collect();
    let head = [
        "Model",
        "Target, training images",
        "Target, new images",
        "Gap, points",
        "Shadow, training images",
        "Shadow, new images",
        "Logistic regression on its features",
        "Nearest neighbours on its features",
    ];
    details(
        "Accuracy at the task, every model",
        table("Small numbers: 95 % intervals within the trial (Clopper–Pearson)", &head, rows),
    )
}

fn heading(subject: &Subject) -> String {
    format!("{}, trial {}", escape(&name(subject.method)), subject.seed)
}

fn details(summary: &str, body: String) -> String {
    match body.is_empty() {
        true => body,
        false => format!("<details><summary>{summary}</summary><div class=\"wide\">{body}</div></details>"),
    }
}

/// Every membership attack of every trial with the intervals within it.
fn membership_trials(results: &LeaksResults) -> String {
    let attacks = || results.subjects.iter().flat_map(|s| &s.membership);
    let p_values: Vec<f64> = attacks().map(|a| a.metrics.auc_p_value).collect();
    let mut adjusted = holm(&p_values).into_iter();
    let mut body = String::new();
    for subject in &results.subjects {
        let rows = subject
            .membership
            .iter()
            .map(|attack| membership_row(attack, adjusted.next().unwrap_or(1.0)))
            .collect();
        let head = [
            "Attack",
            "Accuracy",
            "AUC",
            "TPR at 1 % FPR",
            "Precision",
            "Recall",
            "p, AUC above 0.5",
            "Notes",
        ];
        body += &format!("<h3>{}</h3>{}", heading(subject), table("", &head, rows));
    }
    let text = format!(
        "<p>Small numbers: 95 % intervals within the trial, Clopper–Pearson for shares and bootstrap for AUC and TPR. \
         p: one-sided Mann–Whitney test, below it corrected for all {} after Holm.</p>",
        several(p_values.len(), "test")
    );
    let body = if p_values.is_empty() { String::new() } else { text + &body };
    details("Membership inference, every attack of every trial", body)
}

fn membership_row(attack: &MembershipAttack, adjusted: f64) -> Vec<String> {
    let m = &attack.metrics;
    let mut notes = vec![format!("{} + {} images", count(m.members), count(m.non_members))];
    notes.extend(attack.threshold.map(|t| format!("threshold {}", number(t))));
    notes.extend(attack.queries.map(|q| format!("{} queries an image", number(q))));
    notes.extend(attack.warnings.iter().map(|w| escape(w)));
    let tpr = m.tpr_at(1e-2).map_or(NONE.to_string(), |rate| {
        let unresolved =
            if rate.unresolved { r#"<span class="note">unresolved: too few images</span>"# } else { "" };
        with_interval(rate.rate.value, &rate.rate.interval) + unresolved
    });
    vec![
        escape(&attack.title),
        with_interval(m.accuracy.value, &m.accuracy.interval),
        number_with_interval(m.auc.value, &m.auc.interval, decimal),
        tpr,
        m.precision.map_or(NONE.into(), |p| with_interval(p.value, &p.interval)),
        with_interval(m.recall.value, &m.recall.interval),
        format!(r#"{}<span class="interval">Holm: {}</span>"#, p_value(m.auc_p_value), p_value(adjusted)),
        notes.join("; "),
    ]
}

/// Every attribute attacker of every trial.
fn attribute_trials(results: &LeaksResults) -> String {
    let mut body = String::new();
    for subject in &results.subjects {
        for finding in &subject.attribute {
            let interval = |value: f64, i: &crate::metrics::Interval| number_with_interval(value, i, decimal);
            let attackers = finding.attackers.iter().map(|a| {
                let m = &a.metrics;
                let auc = m.auc.map_or(NONE.to_string(), |auc| {
                    let interval = auc.interval.map_or(String::new(), |i| {
                        format!(r#"<span class="interval">{}</span>"#, interval_cell(&i, decimal))
                    });
                    decimal(auc.value) + &interval
                });
                vec![
                    escape(&a.title),
                    with_interval(m.accuracy.value, &m.accuracy.interval),
                    interval(m.balanced_accuracy.value, &m.balanced_accuracy.interval),
                    interval(m.macro_f1.value, &m.macro_f1.interval),
                    auc,
                    format!(
                        r#"{}<span class="interval">{}</span>"#,
                        super::points(a.advantage.value),
                        super::points_interval(&a.advantage.interval)
                    ),
                    percent(a.training_accuracy),
                ]
            });
            let baselines = finding.baselines.iter().map(|b| {
                let accuracy = match b.accuracy.interval {
                    Some(i) => with_interval(b.accuracy.value, &i),
                    None => percent(b.accuracy.value),
                };
                let metrics = |get: fn(&crate::metrics::attribute::AttributeMetrics) -> f64| {
                    b.metrics.as_ref().map_or(NONE.to_string(), |m| decimal(get(m)))
                };
                vec![
                    format!("baseline: {}", escape(&b.title)),
                    accuracy,
                    metrics(|m| m.balanced_accuracy.value),
                    metrics(|m| m.macro_f1.value),
                    b.metrics.as_ref().and_then(|m| m.auc).map_or(NONE.to_string(), |auc| decimal(auc.value)),
                    NONE.into(),
                    NONE.into(),
                ]
            });
            let over = format!("Points above {}", finding.advantage_over);
            let head = [
                "Attacker",
                "Accuracy",
                "Balanced accuracy",
                "Macro F1",
                "AUC",
                over.as_str(),
                "Accuracy on own images",
            ];
            let caption = format!(
                "Attacker holds {} of {} labelled images; {} embeddings attacked, {} classes",
                finding.auxiliary,
                count(finding.auxiliary_samples),
                count(finding.test_samples),
                finding.classes
            );
            let map = finding.decensoring.map_or(String::new(), |d| {
                format!(
                    "<p class=\"soft\">The de-censoring map explains {} of the variance of uncensored embeddings.</p>",
                    percent(d.explained)
                )
            });
            body += &format!(
                "<h3>{}</h3>{}{map}",
                heading(subject),
                table(&caption, &head, attackers.chain(baselines).collect())
            );
        }
    }
    let mean = attribute_means(results);
    details("Attribute inference, every attacker, means over trials", mean)
        + &details("Attribute inference, every attacker of every trial", body)
}

/// Every attacker over trials, by method.
fn attribute_means(results: &LeaksResults) -> String {
    let summary = crate::experiment::leaks::Summary::of(results);
    let shown = super::shown(results, &summary);
    let columns = headline::columns(&shown);
    let mut body = String::new();
    for auxiliary in auxiliaries(results) {
        let mut rows: Vec<Vec<String>> = Vec::new();
        for (id, title) in attackers(results, auxiliary) {
            let mut cells = vec![escape(title)];
            cells.extend(shown.iter().map(|row| {
                let values: Vec<f64> = results
                    .subjects
                    .iter()
                    .filter(|s| s.method == row.method)
                    .flat_map(|s| s.attribute.iter().filter(|f| f.auxiliary == auxiliary))
                    .filter_map(|f| f.attacker(id).map(|a| a.metrics.accuracy.value))
                    .collect();
                Trials::new(&values, LEVEL).map_or(NONE.into(), |trials| over_trials(&trials))
            }));
            rows.push(cells);
        }
        let head: Vec<&str> = std::iter::once("Attacker").chain(columns.iter().map(String::as_str)).collect();
        body += &table(&format!("Attacker holds {auxiliary}"), &head, rows);
    }
    body
}

/// Auxiliary sets in their order.
pub fn auxiliaries(results: &LeaksResults) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for finding in results.subjects.iter().flat_map(|s| &s.attribute) {
        if !found.contains(&finding.auxiliary.as_str()) {
            found.push(&finding.auxiliary);
        }
    }
    found
}

/// Id and title of every attacker that holds this set, in order.
pub fn attackers<'a>(results: &'a LeaksResults, auxiliary: &str) -> Vec<(&'a str, &'a str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let findings = results.subjects.iter().flat_map(|s| &s.attribute);
    for attacker in findings.filter(|f| f.auxiliary == auxiliary).flat_map(|f| &f.attackers) {
        if !found.iter().any(|(id, _)| *id == attacker.id) {
            found.push((&attacker.id, &attacker.title));
        }
    }
    found
}
