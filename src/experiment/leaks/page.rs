//! The page of the experiment: one file, no script, nothing loaded from elsewhere.
//!
//! `headline` answers the question, `measures` lists the rows of the main table (which [`markdown`] shares), `tables`
//! and `defences` show them, `figures` draws, `controls` judges what must find nothing, `about` says how all was made.

mod about;
mod chart;
mod controls;
mod defences;
mod figures;
mod headline;
mod measures;
mod tables;

use super::encoders::Method;
use super::results::{LeaksResults, MembershipAttack, Subject};
use super::summary::{AttributeRow, Row, Summary};
use crate::attack::attribute::AttributeFinding;
use crate::experiment::report::format::{count, escape, interval_cell, number, percent};
use crate::experiment::report::html::{document, section};
use crate::experiment::report::html_parts::table;
use crate::metrics::{Interval, LEVEL, Proportion, Trials};

pub use measures::markdown;

const STYLE: &str = include_str!("page/style.css");
/// A cell without a number.
const NONE: &str = r#"<span class="soft">–</span>"#;

/// Renders the whole page.
pub fn render(results: &LeaksResults) -> String {
    let summary = Summary::of(results);
    let shown = shown(results, &summary);
    let sections = [
        headline::header(results, &summary, &shown),
        headline::findings(&summary),
        what_was_run(results),
        tables::main(results, &shown),
        figures::curve(results),
        figures::overfitting(results),
        defences::section(results),
        figures::epochs(results),
        controls::section(results),
        about::warnings(results),
        about::making(results),
        about::assumptions(results),
        about::citations(),
        format!(
            "<footer>Made by {} {}. All numbers in full precision: results.json (schema {}); one row per membership \
             attack: membership.csv. This page is one file and loads nothing.</footer>",
            escape(&results.tool),
            escape(&results.version),
            results.schema
        ),
    ];
    document(&results.title, STYLE, &sections)
}

/// The methods of the main table: contrastive, supervised, and Talos at the λ of the experiment.
fn shown<'a>(results: &LeaksResults, summary: &'a Summary) -> Vec<&'a Row> {
    let methods = [Method::Contrastive, Method::Supervised, Method::Talos { lambda: results.config.lambda }];
    methods.into_iter().filter_map(|method| summary.row(method)).collect()
}

/// A method as people call it.
fn name(method: Method) -> String {
    match method {
        Method::Contrastive => "Contrastive".into(),
        Method::Supervised => "Supervised".into(),
        Method::Talos { lambda } => format!("Talos, λ = {}", number(f64::from(lambda))),
    }
}

/// The attribute attack that the findings are about: by an attacker who has not seen the encoder's training images,
/// where he was run.
fn chief(row: &Row) -> Option<&AttributeRow> {
    row.attribute.iter().find(|a| a.auxiliary == CHIEF).or(row.attribute.first())
}

/// As [`chief`], in one trial.
fn chief_of(subject: &Subject) -> Option<&AttributeFinding> {
    subject.attribute.iter().find(|a| a.auxiliary == CHIEF).or(subject.attribute.first())
}

const CHIEF: &str = "shadow-train";

fn neural(attacks: &[MembershipAttack]) -> Option<&MembershipAttack> {
    attacks.iter().find(|a| a.id == "neural")
}

/// "61.2 %" with the interval below it.
fn with_interval(value: f64, interval: &Interval) -> String {
    format!(
        r#"{}<span class="interval">{}</span>"#,
        percent(value),
        interval_cell(&within_shares(interval), percent)
    )
}

/// Mean of shares over trials, with Student's interval cut at 0 and 1.
fn over_trials(trials: &Trials) -> String {
    match &trials.interval {
        Some(interval) => with_interval(trials.mean, interval),
        None => percent(trials.mean),
    }
}

/// One measurement with its own interval; several with Student's interval of their mean.
fn over_proportions(values: &[Proportion]) -> String {
    match values {
        [] => NONE.into(),
        [one] => with_interval(one.value, &one.interval),
        several => {
            let values: Vec<f64> = several.iter().map(|p| p.value).collect();
            Trials::new(&values, LEVEL).map_or(NONE.into(), |trials| over_trials(&trials))
        }
    }
}

/// Student's interval does not know that shares end at 0 and 1.
fn within_shares(interval: &Interval) -> Interval {
    Interval { lower: interval.lower.clamp(0.0, 1.0), upper: interval.upper.clamp(0.0, 1.0), ..*interval }
}

/// A difference of shares in points, signed.
fn points(difference: f64) -> String {
    let text = format!("{:+.1}", 100.0 * difference);
    match text.as_str() {
        "-0.0" | "+0.0" => "0.0".into(),
        _ => text.replace('-', "−"),
    }
}

fn points_interval(interval: &Interval) -> String {
    format!("{} to {}", points(interval.lower), points(interval.upper))
}

/// `n` things, with a plural s.
fn several(n: usize, thing: &str) -> String {
    format!("{} {thing}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

fn what_was_run(results: &LeaksResults) -> String {
    let config = &results.config;
    let tile = |value: &str, label: &str| format!("<li><b>{value}</b>{label}</li>");
    let part = results.data.parts.first().map_or(0, |p| p.count);
    let size = results.data.image_size.map_or(String::new(), |[h, w]| format!(", {w}×{h} pixels"));
    let censored = results.attribute.names.is_empty();
    let stage_zero = config.stage_zero.as_ref().map_or(
        "Contrastive encoders start from random weights.".to_string(),
        |stage| {
            format!(
                "Contrastive encoders start from an encoder that learnt {} epochs on other images (<span class=\"code\">{}</span>).",
                count(stage.epochs),
                escape(&stage.data)
            )
        },
    );
    let classes = |what: &str, names: &[String], counts: &[u64]| -> Vec<Vec<String>> {
        let total = counts.iter().sum::<u64>().max(1) as f64;
        names
            .iter()
            .zip(counts)
            .map(|(class, &n)| {
                vec![format!("{what}: {}", escape(class)), count(n), percent(n as f64 / total)]
            })
            .collect()
    };
    let mut rows = classes("task", &results.task.names, &results.task.counts);
    rows.extend(classes("attribute", &results.attribute.names, &results.attribute.counts));
    let censoring = if censored {
        "The images have no sensitive attribute, so nothing is inferred or censored."
    } else {
        "<em>Talos</em> trains like the contrastive model while a second network tries to read a sensitive attribute \
         from the embeddings and the encoder learns to prevent it; λ says how hard."
    };
    let body = format!(
        "<p>A <em>contrastive model</em> learns from images without labels (SimCLR) and gets a linear classifier \
         afterwards; a <em>supervised model</em> learns the labels directly. {censoring} Of every method a target and \
         a shadow model were trained on separate images, attacked, and compared. <b>Membership inference</b> asks \
         whether an image was trained on; <b>attribute inference</b> reads a property from an embedding that the model \
         was not trained to tell.</p>\n<ul class=\"tiles\">{}{}{}{}</ul>\n<p>Each trial cuts the images anew into four \
         parts of equal size: the target's training images (members), its test images (non-members), and the same two \
         for the shadow. {stage_zero} Stage 1, Talos and supervised training: {} epochs, batch {}. Nothing was chosen \
         or tuned on the target's test images unless a table says so.</p>\n<details><summary>Classes of task and \
         attribute</summary>{}</details>",
        tile(&escape(&results.data.name), &format!("data{size}")),
        tile(
            &escape(&config.encoder.arch.to_string()),
            &format!("encoder, width {}, {} pixels", config.encoder.width, config.encoder.size)
        ),
        tile(&count(part), "images in each of the four parts"),
        tile(&count(config.seeds.len() as u64), "trials, each with its own split and weights"),
        count(config.epochs),
        count(config.batch as u64),
        table(
            "Images of each class in the four parts of the first trial",
            &["Class", "Images", "Share"],
            rows
        ),
    );
    section("run", "What was run", &body)
}
