//! Tables and lists of the page.

use super::format::{
    count, decimal, duration, escape, interval_cell, interval_text, number, p_value, percent,
};
use super::schema::{Attack, Results};
use crate::metrics::{Control, Interval, Measured, RateAtLimit};

/// A number with its interval below it.
fn cell(label: &str, value: Option<f64>, interval: Option<Interval>, format: fn(f64) -> String) -> String {
    let label = escape(label);
    match value {
        None => format!(r#"<td class="none" data-label="{label}"><span class="soft">–</span></td>"#),
        Some(value) => {
            let interval = interval
                .map(|i| format!(r#"<span class="interval">{}</span>"#, interval_cell(&i, format)))
                .unwrap_or_default();
            format!(r#"<td data-label="{label}"><span>{}{interval}</span></td>"#, format(value))
        }
    }
}

fn measured(label: &str, value: Option<Measured>, format: fn(f64) -> String) -> String {
    cell(label, value.map(|m| m.value), value.and_then(|m| m.interval), format)
}

const COLUMNS: [&str; 5] = ["Accuracy", "Precision", "Recall", "AUC", "TPR at 1 % FPR"];

fn attack_row(attack: &Attack) -> String {
    let m = &attack.metrics;
    let tpr = m.tpr_at(1e-2);
    let unresolved = if tpr.is_some_and(|t| t.unresolved) { " (unresolved)" } else { "" };
    let training = attack
        .training_accuracy
        .map(|a| format!(r#"<span class="interval">on its own training data: {}</span>"#, percent(a)))
        .unwrap_or_default();
    format!(
        r#"<tr class="attack"><th scope="row">{}{training}</th>{}{}{}{}{}<td></td></tr>"#,
        escape(&attack.title),
        cell(COLUMNS[0], Some(m.accuracy.value), Some(m.accuracy.interval), percent),
        cell(COLUMNS[1], m.precision.map(|p| p.value), m.precision.map(|p| p.interval), percent),
        cell(COLUMNS[2], Some(m.recall.value), Some(m.recall.interval), percent),
        cell(COLUMNS[3], Some(m.auc.value), Some(m.auc.interval), decimal),
        cell(
            &format!("{}{unresolved}", COLUMNS[4]),
            tpr.map(|t| t.rate.value),
            tpr.map(|t| t.rate.interval),
            percent
        ),
    )
}

fn control_row(control: &Control) -> String {
    let status = match control.at_chance {
        Some(true) => r#"<span class="chip good">at chance</span>"#,
        Some(false) => r#"<span class="chip bad">NOT at chance</span>"#,
        None => "",
    };
    let status = match control.auc_99 {
        Some(i) => format!(
            r#"<span>{status}<span class="interval">99 %: AUC {}</span></span>"#,
            interval_text(&i, decimal)
        ),
        None => status.to_string(),
    };
    let runs = if control.runs > 1 {
        format!(r#"<span class="interval">mean of {} runs</span>"#, count(control.runs))
    } else {
        String::new()
    };
    let status = if status.is_empty() {
        "<td></td>".to_string()
    } else {
        format!(r#"<td data-label="Control passed?">{status}</td>"#)
    };
    format!(
        r#"<tr class="control"><th scope="row">{}{runs}</th>{}{}{}{}{}{status}</tr>"#,
        escape(&control.title),
        measured(COLUMNS[0], Some(control.accuracy), percent),
        measured(COLUMNS[1], control.precision, percent),
        measured(COLUMNS[2], control.recall, percent),
        measured(COLUMNS[3], control.auc, decimal),
        measured(COLUMNS[4], control.tpr_at_1_percent_fpr, percent),
    )
}

/// Attacks with their controls beneath.
pub fn attack_table(results: &Results) -> String {
    let head: String = COLUMNS.iter().map(|c| format!(r#"<th scope="col">{c}</th>"#)).collect();
    let rows: String = results
        .attacks
        .iter()
        .map(|a| attack_row(a) + &a.controls.iter().map(control_row).collect::<String>())
        .chain(results.controls.iter().map(control_row))
        .collect();
    format!(
        r#"<table class="cards"><caption>Attacks (bold) and controls. Small numbers: 95 % intervals.</caption><thead><tr><th scope="col">Attack or control</th>{head}<th scope="col">Control passed?</th></tr></thead><tbody>{rows}</tbody></table>"#
    )
}

/// What each attack and control does.
pub fn explanations(results: &Results) -> String {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let attacks = results.attacks.iter().map(|a| (a.title.as_str(), a.explanation.as_str()));
    let controls = results.attacks.iter().flat_map(|a| &a.controls).chain(&results.controls);
    for pair in attacks.chain(controls.map(|c| (c.title.as_str(), c.explanation.as_str()))) {
        if !pair.1.is_empty() && !seen.contains(&pair) {
            seen.push(pair);
        }
    }
    definitions(seen.into_iter().map(|(t, e)| (escape(t), escape(e))))
}

/// A definition list from HTML.
pub fn definitions(items: impl Iterator<Item = (String, String)>) -> String {
    let body: String = items.map(|(t, d)| format!("<dt>{t}</dt><dd>{d}</dd>")).collect();
    if body.is_empty() { String::new() } else { format!("<dl>{body}</dl>") }
}

/// A plain table from HTML cells; empty without rows.
pub fn table(caption: &str, head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let columns: String = head.iter().map(|h| format!(r#"<th scope="col">{}</th>"#, escape(h))).collect();
    let body: String = rows
        .iter()
        .map(|row| {
            let cells: String = row
                .iter()
                .zip(head)
                .enumerate()
                .map(|(i, (text, label))| {
                    if i == 0 {
                        format!(r#"<th scope="row">{text}</th>"#)
                    } else {
                        format!(r#"<td data-label="{}"><span>{text}</span></td>"#, escape(label))
                    }
                })
                .collect();
            format!("<tr>{cells}</tr>")
        })
        .collect();
    format!(
        r#"<table class="cards"><caption>{}</caption><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>"#,
        escape(caption)
    )
}

/// A number with its interval below it, where that is all of a cell.
pub fn with_interval(value: f64, interval: &Interval, format: fn(f64) -> String) -> String {
    format!(r#"{}<span class="interval">{}</span>"#, format(value), interval_cell(interval, format))
}

fn rate_rows(rates: &[RateAtLimit]) -> Vec<Vec<String>> {
    rates
        .iter()
        .map(|rate| {
            let note = if rate.unresolved { " – unresolved: the set is too small" } else { "" };
            vec![
                format!("{}\u{202f}%", number(100.0 * rate.limit)),
                with_interval(rate.rate.value, &rate.rate.interval, percent),
                percent(rate.interpolated),
                format!("{} wrong decisions{note}", count(rate.error_count)),
            ]
        })
        .collect()
}

/// Every further number of an attack.
pub fn attack_details(attack: &Attack) -> String {
    let m = &attack.metrics;
    let c = m.confusion;
    let title = escape(&attack.title);
    let mut items = vec![
        (
            "Training images called training images / unseen".to_string(),
            format!("{} / {}", count(c.true_positives), count(c.false_negatives)),
        ),
        (
            "Unseen images called training images / unseen".into(),
            format!("{} / {}", count(c.false_positives), count(c.true_negatives)),
        ),
        ("Balanced accuracy".into(), percent(m.balanced_accuracy)),
        ("F1".into(), with_interval(m.f1.value, &m.f1.interval, decimal)),
        (
            "Advantage, max (TPR − FPR)".into(),
            with_interval(m.advantage.value, &m.advantage.interval, decimal),
        ),
        ("Equal-error rate".into(), percent(m.equal_error_rate)),
        ("p-value, accuracy above guessing".into(), p_value(m.accuracy_p_value)),
        ("p-value, AUC above 0.5".into(), p_value(m.auc_p_value)),
        (
            "Smallest false-positive rate shown, 1/N".into(),
            format!("{}\u{202f}%", number(100.0 * m.smallest_fpr)),
        ),
    ];
    for ppv in &m.positive_predictive_value {
        let value = ppv.value.map_or("–".to_string(), percent);
        items
            .push((format!("Precision if {} of all images were training images", percent(ppv.prior)), value));
    }
    for (name, trials) in &attack.across_trials {
        let deviation = trials.standard_deviation.map_or(String::new(), |sd| format!(" ± {}", decimal(sd)));
        let interval = trials
            .interval
            .map_or(String::new(), |i| format!(", 95 % interval of the mean {}", interval_text(&i, decimal)));
        items.push((
            format!("{}, {} trials", escape(name), trials.values.len()),
            format!(
                "{}{deviation} (from {} to {}{interval})",
                decimal(trials.mean),
                decimal(trials.minimum),
                decimal(trials.maximum)
            ),
        ));
    }
    if let Some(threshold) = attack.threshold {
        items.push(("Threshold".into(), number(threshold)));
    }
    if !attack.parameters.is_null() {
        items.push((
            "Parameters".into(),
            format!(r#"<span class="code">{}</span>"#, escape(&attack.parameters.to_string())),
        ));
    }
    let head = |rate: &'static str, limit: &'static str| [limit, rate, "Interpolated", "Errors it rests on"];
    format!(
        "<details><summary>All numbers of {title}</summary>{}{}{}</details>",
        definitions(items.into_iter()),
        table(
            "True-positive rate at a limited false-positive rate (training images found while few unseen ones are accused)",
            &head("TPR", "FPR at most"),
            rate_rows(&m.tpr_at_fpr)
        ),
        table(
            "True-negative rate at a limited false-negative rate (unseen images cleared while few training images are missed)",
            &head("TNR", "FNR at most"),
            rate_rows(&m.tnr_at_fnr)
        ),
    )
}

/// Lower and upper bounds on ε.
pub fn privacy(results: &Results) -> String {
    let rows = results
        .privacy
        .iter()
        .map(|b| {
            let asymptotic = if b.asymptotic { ", asymptotic" } else { "" };
            vec![
                escape(&b.estimator),
                decimal(b.epsilon),
                format!("{}{asymptotic}", escape(&b.kind)),
                number(b.alpha),
                number(b.delta),
                format!("{} + {}", count(b.members), count(b.non_members)),
                count(b.thresholds),
                escape(&b.unit),
            ]
        })
        .collect();
    let head = ["Estimator", "ε at least", "Kind", "α", "δ", "Samples", "Thresholds", "Unit of privacy"];
    let mut out = table("Lower bounds on ε from the attack", &head, rows);
    if let Some(s) = &results.dp_training {
        out += &definitions(
            [(
                "Upper bound from DP training".to_string(),
                format!(
                    "ε = {} at δ = {} (adjacency: {}; Poisson sampling: {}; sampling rate {}, noise multiplier {}, {} \
                     steps, Rényi order {})",
                    decimal(s.epsilon),
                    number(s.delta),
                    escape(&s.adjacency),
                    if s.poisson_sampling { "yes" } else { "NO" },
                    number(s.accountant.sampling_rate),
                    number(s.accountant.noise_multiplier),
                    count(s.accountant.steps),
                    s.order
                ),
            )]
            .into_iter(),
        );
    }
    out
}

/// Data, encoders, seeds, adapter, times.
pub fn making(results: &Results) -> String {
    let code = |text: &str| format!(r#"<span class="code">{}</span>"#, escape(text));
    let mut items = Vec::new();
    let a = &results.adapter;
    let adapter = format!("{} ({} backend, driver {}, class {})", a.name, a.backend, a.driver, a.class);
    items.push(("Adapter".to_string(), escape(&adapter)));
    items.push(("Wall time".into(), duration(results.wall_time_s)));
    if !results.stages.is_empty() {
        let list: Vec<String> =
            results.stages.iter().map(|s| format!("{} {}", escape(&s.name), duration(s.seconds))).collect();
        items.push(("of which".into(), list.join(", ")));
    }
    if let Some(trial) = results.trial {
        items.push(("Trial".into(), count(trial)));
    }
    if !results.seeds.is_empty() {
        let list: Vec<String> = results.seeds.iter().map(|(k, v)| format!("{} {v}", escape(k))).collect();
        items.push(("Seeds".into(), list.join(", ")));
    }
    if !results.compat.is_empty() {
        items.push(("Compatibility switches".into(), code(&results.compat.join(", "))));
    }
    let d = &results.data;
    if let Some(hash) = &d.content_hash {
        items.push(("Data hash".into(), code(hash)));
    }
    items.push(("Exact duplicates removed".into(), count(d.duplicates_removed)));
    if let Some(near) = d.near_duplicates {
        items.push(("Near-duplicates across the border".into(), count(near)));
    }
    items.push(("Files skipped".into(), count(d.files_skipped)));
    let parts = d.parts.iter().map(|p| vec![escape(&p.role), count(p.count), code(&p.sha256)]).collect();
    let encoders = std::iter::once(&results.encoder)
        .chain(&results.other_encoders)
        .filter(|e| !e.architecture.is_empty())
        .map(|e| {
            vec![
                escape(&e.role),
                escape(&e.architecture),
                e.training.as_deref().map_or("–".into(), escape),
                e.parameters.map_or("–".into(), count),
                e.epochs.map_or("–".into(), count),
                e.final_loss.map_or("–".into(), decimal),
                e.checkpoint_hash.as_deref().map_or("–".into(), code),
            ]
        })
        .collect();
    let costs = results
        .cost
        .iter()
        .map(|c| vec![escape(&c.what), format!("{} {}", number(c.value), escape(&c.unit))])
        .collect();
    let utility = results
        .utility
        .iter()
        .map(|u| vec![escape(&u.title), percent(u.value), u.chance.map_or("–".into(), percent)])
        .collect();
    definitions(items.into_iter())
        + &table("Index lists", &["Part", "Images", "SHA-256 of the list"], parts)
        + &table(
            "Encoders",
            &["Role", "Architecture", "Training", "Parameters", "Epochs", "Final loss", "Checkpoint hash"],
            encoders,
        )
        + &table("Usefulness of the audited encoder", &["Measure", "Value", "Guessing"], utility)
        + &table("Cost", &["What", "Amount"], costs)
}
