//! What must find nothing, and how many of them do.

use super::{NONE, name, several, with_interval};
use crate::experiment::leaks::results::{LeaksResults, MembershipAttack};
use crate::experiment::report::format::{count, decimal, escape, interval_text, number, p_value};
use crate::experiment::report::html;
use crate::experiment::report::html_parts::{table, with_interval as number_with_interval};
use crate::metrics::compare::holm;
use crate::metrics::special::binomial_upper_tail;
use crate::metrics::{Control, Interval, Trials};

/// Controls are doubted where chance does what they did less often than this.
const ALARM: f64 = 0.05;
/// Error of a control's interval.
const ERROR: f64 = 0.01;

const BLIND: &str = "Images without a model (blind)";
const SHUFFLED: &str = "Neural attack after shuffled membership labels";
const ATTRIBUTE: &str = "Attribute attack after shuffled labels";
const BASELINES: &str = "EncoderMI's baselines A–E and G";
const FAMILIES: [&str; 4] = [BLIND, SHUFFLED, ATTRIBUTE, BASELINES];

/// One control of one model.
struct Check {
    family: &'static str,
    title: String,
    /// HTML.
    accuracy: String,
    /// HTML.
    auc: String,
    /// What decides, in text.
    deciding: String,
    p: Option<f64>,
    /// `None` where there is nothing to decide.
    at_chance: Option<bool>,
}

fn measured(value: f64, interval: Option<Interval>) -> String {
    match interval {
        Some(i) => with_interval(value, &i),
        None => super::percent(value),
    }
}

fn auc_interval(interval: Option<Interval>) -> String {
    interval.map_or("–".into(), |i| format!("AUC {}", interval_text(&i, decimal)))
}

fn of_control(family: &'static str, title: String, control: &Control) -> Check {
    let auc = match control.auc {
        None => NONE.into(),
        Some(auc) => match auc.interval {
            Some(i) => number_with_interval(auc.value, &i, decimal),
            None => decimal(auc.value),
        },
    };
    Check {
        family,
        title,
        accuracy: measured(control.accuracy.value, control.accuracy.interval),
        auc,
        deciding: auc_interval(control.auc_99),
        p: control.p_value,
        at_chance: control.at_chance,
    }
}

/// Whether a baseline's head has learnt on the members, so that it is He & Zhang's attack and no control.
fn on_members(attack: &MembershipAttack) -> bool {
    attack.id.starts_with("baseline-f")
}

fn of_baseline(attack: &MembershipAttack, seed: u64) -> Check {
    let control = Control::single(&attack.id, &attack.title, "", &attack.metrics);
    of_control(BASELINES, format!("{}, trial {seed}", escape(&attack.title)), &control)
}

fn checks(results: &LeaksResults) -> Vec<Check> {
    let mut checks = Vec::new();
    for (seed, control) in &results.blind {
        checks.push(of_control(BLIND, format!("trial {seed}"), control));
    }
    for subject in &results.subjects {
        let model = format!("{}, trial {}", escape(&name(subject.method)), subject.seed);
        if let Some(control) = &subject.shuffled {
            let title = format!("{model}, {} runs", count(control.runs));
            checks.push(of_control(SHUFFLED, title, control));
        }
        for finding in &subject.attribute {
            let runs = &finding.shuffled_labels.runs;
            let mean = |get: fn(&crate::attack::attribute::ShuffledRun) -> f64| {
                Trials::new(&runs.iter().map(get).collect::<Vec<f64>>(), crate::metrics::LEVEL)
            };
            let (Some(accuracy), Some(expected)) = (mean(|r| r.accuracy.value), mean(|r| r.expected)) else {
                continue;
            };
            checks.push(Check {
                family: ATTRIBUTE,
                title: format!("{model}, {}, {} runs", escape(&finding.auxiliary), runs.len()),
                accuracy: super::over_trials(&accuracy),
                auc: NONE.into(),
                deciding: format!("expected without knowledge {}", super::percent(expected.mean)),
                p: None,
                at_chance: finding.shuffled_labels.at_chance,
            });
        }
    }
    for baselines in &results.baselines {
        let controls = baselines.attacks.iter().filter(|a| !on_members(a));
        checks.extend(controls.map(|attack| of_baseline(attack, baselines.seed)));
    }
    checks
}

fn chip(at_chance: Option<bool>) -> &'static str {
    match at_chance {
        Some(true) => r#"<span class="chip good">at chance</span>"#,
        Some(false) => r#"<span class="chip bad">NOT at chance</span>"#,
        None => NONE,
    }
}

/// The section.
pub fn section(results: &LeaksResults) -> String {
    let checks = checks(results);
    if checks.is_empty() {
        return String::new();
    }
    let p_values: Vec<f64> = checks.iter().filter_map(|c| c.p).collect();
    let mut corrected = holm(&p_values).into_iter();
    let adjusted: Vec<Option<f64>> = checks.iter().map(|c| c.p.and_then(|_| corrected.next())).collect();

    let tally = |family: Option<&str>| {
        let of = checks.iter().filter(|c| family.is_none_or(|f| c.family == f));
        let decided: Vec<bool> = of.filter_map(|c| c.at_chance).collect();
        (decided.len() as u64, decided.iter().filter(|at_chance| !**at_chance).count() as u64)
    };
    let mut rows = Vec::new();
    for family in FAMILIES.map(Some).into_iter().chain([None]) {
        let (tests, outside) = tally(family);
        if tests == 0 {
            continue;
        }
        let least = checks
            .iter()
            .zip(&adjusted)
            .filter(|(c, _)| family.is_none_or(|f| c.family == f))
            .filter_map(|(_, p)| *p)
            .reduce(f64::min);
        let as_many = binomial_upper_tail(outside, tests, ERROR);
        rows.push(vec![
            family.map_or("All".into(), escape),
            count(tests),
            count(outside),
            number(ERROR * tests as f64),
            p_value(as_many),
            least.map_or(NONE.into(), p_value),
        ]);
    }
    let head = [
        "Control",
        "Tests",
        "Outside 99 %",
        "Expected by chance",
        "Probability of so many",
        "Smallest p (Holm)",
    ];
    let (tests, outside) = tally(None);
    let as_many = binomial_upper_tail(outside, tests, ERROR);
    // Many that are slightly outside, or one that is far outside.
    let striking = as_many < ALARM || adjusted.iter().flatten().any(|p| *p < ALARM);
    let judgement = match (outside, striking) {
        (_, true) => {
            "<b>That is more than chance explains</b>: doubt the results whose controls are concerned; the tables \
             below name them."
        }
        (0, false) => "Chance alone would do that.",
        (_, false) => "Chance alone would not seldom do that.",
    };
    let text = format!(
        "<p>A <b>control</b> is an attack that has nothing to find: on images alone, with labels in random order, or of a \
         kind that was reported to fail against encoders. {} were run; {outside} {} outside the 99 % interval of \
         guessing, where about {} would be by chance. {judgement}</p>{}<p class=\"soft\">Probability of so many: that \
         chance puts at least so many outside, if the tests were independent, which those of one trial are not. p-values are \
         two-sided for AUC 0.5 and corrected after Holm for all {} of this section that have one.</p>",
        several(tests as usize, "control"),
        if outside == 1 { "is" } else { "are" },
        number(ERROR * tests as f64),
        table("Controls", &head, rows),
        several(p_values.len(), "test"),
    );
    let body = text + &baselines(results, &checks, &adjusted) + &all(&checks, &adjusted);
    html::section("controls", "Controls: what must find nothing", &body)
}

fn rows(checks: &[Check], adjusted: &[Option<f64>], keep: impl Fn(&Check) -> bool) -> Vec<Vec<String>> {
    checks
        .iter()
        .zip(adjusted)
        .filter(|(check, _)| keep(check))
        .map(|(check, adjusted)| {
            let p = match (check.p, adjusted) {
                (Some(p), Some(adjusted)) => {
                    format!(r#"{}<span class="interval">Holm: {}</span>"#, p_value(p), p_value(*adjusted))
                }
                _ => NONE.into(),
            };
            vec![
                check.title.clone(),
                check.accuracy.clone(),
                check.auc.clone(),
                check.deciding.clone(),
                p,
                chip(check.at_chance).into(),
            ]
        })
        .collect()
}

const HEAD: [&str; 6] = ["Control", "Accuracy", "AUC", "Decided by, 99 %", "p", "Passed?"];

fn baselines(results: &LeaksResults, checks: &[Check], adjusted: &[Option<f64>]) -> String {
    if results.baselines.is_empty() {
        return String::new();
    }
    let heads: Vec<String> = results
        .baselines
        .iter()
        .map(|b| match b.head_images {
            0 => format!(
                "in trial {} no images were left for neutral heads, so A, C, D and G are missing",
                b.seed
            ),
            n => format!(
                "in trial {} neutral heads learnt on {} images that are never evaluated",
                b.seed,
                count(n)
            ),
        })
        .collect();
    let own: Vec<Check> = results
        .baselines
        .iter()
        .flat_map(|b| b.attacks.iter().filter(|a| on_members(a)).map(|a| of_baseline(a, b.seed)))
        .collect();
    let none = vec![None; own.len()];
    let mut leaking = rows(&own, &none, |_| true);
    for row in &mut leaking {
        // Nothing has to pass here, so there is no p-value either.
        row.truncate(4);
    }
    let fitted = match leaking.is_empty() {
        true => String::new(),
        false => format!(
            "{}<p class=\"soft\">In F the classifier itself learnt on the members, as in He &amp; Zhang's setting: it may \
             leak by overfitting, is no control and is not counted.</p>",
            table(
                "Baseline F: the head has learnt on the members",
                &["Baseline", "Accuracy", "AUC", "99 % interval"],
                leaking
            )
        ),
    };
    format!(
        "<h3>EncoderMI's baselines on the contrastive encoders</h3><p>Attacks made for classifiers, adapted to encoders; \
         EncoderMI reports that all of them stay close to guessing. Here {}. Small numbers: 95 % intervals within the \
         trial.</p>{}{fitted}",
        heads.join("; "),
        table("Baselines A to E and G", &HEAD, rows(checks, adjusted, |c| c.family == BASELINES)),
    )
}

fn all(checks: &[Check], adjusted: &[Option<f64>]) -> String {
    let tables: String = FAMILIES
        .into_iter()
        .filter(|family| *family != BASELINES)
        .map(|family| table(family, &HEAD, rows(checks, adjusted, |c| c.family == family)))
        .collect();
    if tables.is_empty() {
        return tables;
    }
    format!(
        "<details><summary>Every other control</summary><p class=\"soft\">Small numbers: 95 % intervals; over runs \
         (Student) for shuffled labels, within the trial for the others. Shuffled attribute labels pass if every run is \
         inside its interval, at 1 % error for the runs of a row together.</p><div class=\"wide\">{tables}</div></details>"
    )
}
