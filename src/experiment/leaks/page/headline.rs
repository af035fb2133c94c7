//! The answer in sentences, and every finding of the paper beside what is seen.

use super::{chief, name, points, points_interval, several};
use crate::experiment::leaks::encoders::Method;
use crate::experiment::leaks::results::LeaksResults;
use crate::experiment::leaks::summary::{Comparison, Row, Summary};
use crate::experiment::report::format::{escape, p_value, percent};
use crate::experiment::report::html::section;
use crate::experiment::report::html_parts::table;
use crate::metrics::compare::holm;
use crate::metrics::mean_p_value;

/// Title and answer.
pub fn header(results: &LeaksResults, summary: &Summary, shown: &[&Row]) -> String {
    let warnings = super::about::all_warnings(results).len();
    let banner = match warnings {
        0 => String::new(),
        n => format!(
            "<p><a href=\"#warnings\">{} – read before you use these numbers</a></p>",
            several(n, "warning")
        ),
    };
    let sentences: String = [membership(summary, shown), attribute(summary, shown), talos(summary, shown)]
        .into_iter()
        .flatten()
        .map(|(answer, rest)| {
            format!("<p class=\"sentence\"><b>{}</b> {}</p>", escape(&answer), escape(&rest))
        })
        .collect();
    let counted = |wanted| summary.comparisons.iter().filter(|c| c.agrees == wanted).count();
    let tally = match summary.comparisons.len() {
        0 => "<p>Nothing can be compared: no trial has two methods.</p>".to_string(),
        n => format!(
            "<p class=\"soft\">Of {} of the paper, {} seen here, {} not, and {} open: <a href=\"#findings\">all of \
             them with numbers</a>. Points are percentage points; intervals are 95 % over {}.</p>",
            several(n, "finding"),
            counted(Some(true)),
            counted(Some(false)),
            counted(None),
            several(results.config.seeds.len(), "trial"),
        ),
    };
    format!(
        "<header>\n<p class=\"eyebrow\">{} {} · contrastive against supervised models (He &amp; Zhang, CCS 2021)</p>\n\
         <h1>{}</h1>\n<div class=\"verdict findings\">{sentences}{tally}</div>\n{banner}\n</header>",
        escape(&results.tool),
        escape(&results.version),
        escape(&results.title)
    )
}

fn comparison<'a>(summary: &'a Summary, id: &str) -> Option<&'a Comparison> {
    summary.comparisons.iter().find(|c| c.id == id)
}

/// −1 or 1 where the interval leaves 0 out, else 0.
fn direction(comparison: &Comparison) -> i8 {
    match comparison.difference.interval {
        Some(i) if i.upper < 0.0 => -1,
        Some(i) if i.lower > 0.0 => 1,
        _ => 0,
    }
}

/// "−12.3 points (interval −20.1 to −4.5, 3 trials)".
fn amount(comparison: &Comparison) -> String {
    let trials = several(comparison.difference.values.len(), "trial");
    let interval = comparison.difference.interval;
    let interval =
        interval.map_or("no interval".to_string(), |i| format!("interval {}", points_interval(&i)));
    format!("{} points ({interval}, {trials})", points(comparison.difference.mean))
}

/// What to add where the sign is not the paper's.
fn against(comparison: &Comparison) -> &'static str {
    match (comparison.other_sign, direction(comparison)) {
        (false, _) => "",
        (true, 0) => " The sign is not the paper's.",
        (true, _) => " This is the opposite of what the paper found.",
    }
}

/// Means of the methods: "52.0 % against 71.3 %".
fn means(shown: &[&Row], get: impl Fn(&Row) -> Option<f64>) -> Option<String> {
    let [a, b, ..] = shown else { return None };
    Some(format!("{} against {}", percent(get(a)?), percent(get(b)?)))
}

fn membership(summary: &Summary, shown: &[&Row]) -> Option<(String, String)> {
    let found = comparison(summary, "membership")?;
    let answer = match direction(found) {
        -1 => "Contrastive models leak less about who was trained on than supervised ones:",
        1 => "Contrastive models leak more about who was trained on than supervised ones:",
        _ => "Which leaks more about who was trained on, contrastive or supervised models, stays open:",
    };
    let means = means(shown, |row| row.membership.first().map(|a| a.accuracy.mean))?;
    let rest = format!(
        "the neural attack judges {means} of the images correctly (guessing 50 %), a difference of {}.{}",
        amount(found),
        against(found)
    );
    Some((answer.into(), rest))
}

fn attribute(summary: &Summary, shown: &[&Row]) -> Option<(String, String)> {
    let found = comparison(summary, "attribute")?;
    let answer = match direction(found) {
        -1 => "Contrastive models leak less about the sensitive attribute:",
        1 => "Contrastive models leak more about the sensitive attribute:",
        _ => "Which leaks more about the sensitive attribute stays open:",
    };
    let means = means(shown, |row| chief(row).map(|a| a.published.mean))?;
    let majority = shown.first().and_then(|row| chief(row)).map(|a| percent(a.majority.mean))?;
    let logistic = comparison(summary, "attribute-logistic")
        .map_or(String::new(), |c| format!(" With logistic regression as the attacker: {}.", amount(c)));
    let rest = format!(
        "the published attack reads it from {means} of the embeddings (always the same answer: {majority}), a \
         difference of {}.{}{logistic}",
        amount(found),
        against(found)
    );
    Some((answer.into(), rest))
}

fn talos(summary: &Summary, shown: &[&Row]) -> Option<(String, String)> {
    let published = comparison(summary, "talos-attribute")?;
    let logistic = comparison(summary, "talos-attribute-logistic");
    let answer = match (direction(published), logistic.map(direction)) {
        (-1, Some(-1) | None) => "Talos hides the attribute better:",
        (-1, _) => {
            "Talos hides the attribute from the published attack, but not provably from logistic regression:"
        }
        (1, _) => "Talos makes the attribute easier to read:",
        _ => "Whether Talos hides the attribute stays open:",
    };
    let part = |what: &str, id: &str| {
        comparison(summary, id).map_or(String::new(), |c| format!("; {what} {}", amount(c)))
    };
    // What the published attack no longer finds another attacker may find.
    let left = shown.iter().find(|row| matches!(row.method, Method::Talos { .. })).and_then(|row| chief(row));
    let left = left.map_or(String::new(), |found| {
        let (title, strongest) = found.strongest();
        format!(
            " The strongest of all attackers, {title}, still reads it from {} (always the same answer: {}).",
            percent(strongest.mean),
            percent(found.majority.mean)
        )
    });
    let rest = format!(
        "compared with the contrastive model the published attack changes by {}{}{}{}.{}{left}",
        amount(published),
        part("logistic regression by", "talos-attribute-logistic"),
        part("accuracy at the task by", "talos-task"),
        part("membership inference by", "talos-membership"),
        against(published)
    );
    Some((answer.into(), rest))
}

/// Every finding with the chip "seen", "not seen" or "open".
pub fn findings(summary: &Summary) -> String {
    let comparisons = &summary.comparisons;
    if comparisons.is_empty() {
        return String::new();
    }
    // Tests of a sign; "stays within 3 points" is no hypothesis that this p-value is about.
    let tested = |c: &&Comparison| !matches!(c.id, "talos-task" | "talos-membership");
    let p_values: Vec<(&str, f64)> = comparisons
        .iter()
        .filter(tested)
        .filter_map(|c| Some((c.id, mean_p_value(&c.difference.values, 0.0)?)))
        .collect();
    let adjusted = holm(&p_values.iter().map(|(_, p)| *p).collect::<Vec<f64>>());
    let rows = comparisons
        .iter()
        .map(|c| {
            let chip = match c.agrees {
                Some(true) => r#"<span class="chip good">seen</span>"#,
                Some(false) => r#"<span class="chip bad">not seen</span>"#,
                None => r#"<span class="chip open">open</span>"#,
            };
            let sign = match c.other_sign {
                true => r#"<span class="note">the sign differs from the paper's</span>"#,
                false => "",
            };
            let index = p_values.iter().position(|(id, _)| *id == c.id);
            let p = index.map_or(super::NONE.to_string(), |i| {
                format!(
                    r#"{}<span class="interval">Holm: {}</span>"#,
                    p_value(p_values[i].1),
                    p_value(adjusted[i])
                )
            });
            vec![
                escape(&c.claim),
                format!("<span>{chip}{sign}</span>"),
                format!(
                    r#"{}<span class="interval">{}</span>"#,
                    points(c.difference.mean),
                    c.difference.interval.map_or("one trial".into(), |i| points_interval(&i))
                ),
                c.difference.values.len().to_string(),
                p,
            ]
        })
        .collect();
    let head = ["Finding of the paper", "Here", "Difference, points", "Trials", "p"];
    let tests = p_values.len();
    let expected = 0.05 * comparisons.len() as f64;
    let body = format!(
        "<p><b>Seen</b> and <b>not seen</b> need an interval that leaves no doubt; everything else is <b>open</b>. \
         Differences are taken within each trial, first method minus second (Talos minus contrastive), at the λ of the \
         main table.</p>{}<p class=\"soft\">{} side by side, each with its own interval: about {expected:.1} of them \
         would miss the truth by chance. p is two-sided (Student's t over trials, difference 0), then corrected for \
         {} after Holm; claims about staying within a margin have none. With few trials, open means little evidence, \
         not that there is no effect.</p>",
        table(
            "What the paper found and what is seen here. Small numbers: 95 % intervals over trials",
            &head,
            rows
        ),
        several(comparisons.len(), "comparison"),
        several(tests, "test"),
    );
    section("findings", "The paper's findings", &body)
}

/// Used by tables that name methods in their columns.
pub fn columns(shown: &[&Row]) -> Vec<String> {
    shown.iter().map(|row| name(row.method)).collect()
}
