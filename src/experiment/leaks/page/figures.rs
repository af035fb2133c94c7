//! The figures: attribute, task and membership over λ; membership over the overfitting gap; accuracy over epochs.

use super::chart::{HEIGHT, Level, Point, Series, chart, extent, percent_ticks, range};
use super::tables::{attackers, auxiliaries};
use super::{CHIEF, NONE, name, neural, over_proportions, several};
use crate::experiment::leaks::encoders::Method;
use crate::experiment::leaks::results::{LeaksResults, Subject};
use crate::experiment::report::format::{count, escape, interval_cell, number, percent};
use crate::experiment::report::html::section;
use crate::experiment::report::html_parts::table;
use crate::experiment::report::svg::{Plot, STYLES};
use crate::metrics::{LEVEL, Proportion, Trials};

/// The λ of the curve in order, and the trials that have all of them. λ = 0 is contrastive training itself.
struct Sweep<'a> {
    results: &'a LeaksResults,
    lambdas: Vec<f32>,
    seeds: Vec<u64>,
}

impl<'a> Sweep<'a> {
    fn of(results: &'a LeaksResults) -> Option<Sweep<'a>> {
        let mut lambdas: Vec<f32> = vec![0.0];
        for subject in &results.subjects {
            if let Method::Talos { lambda } = subject.method
                && !lambdas.contains(&lambda)
            {
                lambdas.push(lambda);
            }
        }
        lambdas.sort_by(f32::total_cmp);
        let mut sweep = Sweep { results, lambdas, seeds: Vec::new() };
        let has_all =
            |seed: &&u64| sweep.lambdas.iter().all(|&lambda| sweep.subject(**seed, lambda).is_some());
        let seeds: Vec<u64> = results.config.seeds.iter().filter(has_all).copied().collect();
        sweep.seeds = seeds;
        (sweep.lambdas.len() > 1 && !sweep.seeds.is_empty()).then_some(sweep)
    }

    fn subject(&self, seed: u64, lambda: f32) -> Option<&'a Subject> {
        let of = |method| self.results.subjects.iter().find(|s| s.seed == seed && s.method == method);
        of(Method::Talos { lambda }).or_else(|| if lambda == 0.0 { of(Method::Contrastive) } else { None })
    }

    /// A number of every trial, for each λ.
    fn values(&self, get: impl Fn(&Subject) -> Option<Proportion>) -> Vec<Vec<Proportion>> {
        let of = |&lambda: &f32| -> Vec<Proportion> {
            self.seeds.iter().filter_map(|&seed| get(self.subject(seed, lambda)?)).collect()
        };
        self.lambdas.iter().map(of).collect()
    }

    fn series(&self, title: &str, get: impl Fn(&Subject) -> Option<Proportion>) -> Series {
        Series { title: title.into(), points: self.values(get).iter().map(|v| Point::of(v)).collect() }
    }

    /// Mean of a baseline over everything in the curve.
    fn level(&self, auxiliary: &str, id: &str, title: &str, class: &'static str) -> Option<Level> {
        let all = self.values(|s| {
            s.attribute
                .iter()
                .find(|f| f.auxiliary == auxiliary)?
                .baseline(id)?
                .metrics
                .as_ref()
                .map(|m| m.accuracy)
        });
        let values: Vec<f64> = all.iter().flatten().map(|p| p.value).collect();
        let value = Trials::new(&values, LEVEL)?.mean;
        Some(Level { title: format!("{title}: {}", percent(value)), class, value })
    }
}

fn attacker(subject: &Subject, auxiliary: &str, id: &str) -> Option<Proportion> {
    let finding = subject.attribute.iter().find(|f| f.auxiliary == auxiliary)?;
    finding.attacker(id).map(|a| a.metrics.accuracy)
}

/// Everything over λ.
pub fn curve(results: &LeaksResults) -> String {
    let Some(sweep) = Sweep::of(results) else { return String::new() };
    let ticks: Vec<String> = sweep.lambdas.iter().map(|&l| number(f64::from(l))).collect();
    let sets = auxiliaries(results);
    let chief = sets.iter().find(|set| **set == CHIEF).or(sets.first()).copied();
    // Attribute attacks on the left, what must stay level beside the first of them.
    let mut attribute: Vec<String> = Vec::new();
    if let Some(auxiliary) = chief {
        let levels: Vec<Level> = [
            sweep.level(auxiliary, "majority", "majority, always the same answer", "majority"),
            sweep.level(auxiliary, "imputation", "imputation, from the task label alone", "guess"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let listed = attackers(results, auxiliary);
        let (other, own): (Vec<_>, Vec<_>) = listed.into_iter().partition(|(id, _)| {
            ["views-", "projection-", "decensored-"].iter().any(|prefix| id.starts_with(prefix))
        });
        let lines = |list: &[(&str, &str)]| -> Vec<Series> {
            list.iter()
                .enumerate()
                .map(|(k, (id, title))| {
                    let mut series = sweep.series(title, |s| attacker(s, auxiliary, id));
                    // Bars of all lines would hide each other; the first line stands for all.
                    if k > 0 {
                        series.points.iter_mut().flatten().for_each(|p| *p = p.without_interval());
                    }
                    series
                })
                .collect()
        };
        let (own, other) = (lines(&own), lines(&other));
        let (a, b) = (extent(&own, &levels), extent(&other, &levels));
        let common = (a.0.min(b.0), a.1.max(b.1));
        for (title, what, series) in [
            ("Attribute attacks on the embeddings", "embeddings", own),
            ("Attribute attacks that go around the censoring", "other feature spaces", other),
        ] {
            // More lines than the style sheet can tell apart go to further charts.
            for part in series.chunks(STYLES) {
                let label = format!("attribute accuracy over lambda, {what}");
                attribute.push(format!(
                    "<div><h3>{title}</h3>{}</div>",
                    chart(&label, &ticks, ("λ", "attribute accuracy"), part, &levels, common)
                ));
            }
        }
    }
    let usefulness = [
        sweep.series("task accuracy, new images", |s| Some(s.utility.target_test)),
        sweep.series("membership, neural attack", |s| neural(&s.membership).map(|a| a.metrics.accuracy)),
    ];
    let guess = [Level { title: "guessing membership".into(), class: "guess", value: 0.5 }];
    let level = format!(
        "<div><h3>Task and membership</h3>{}</div>",
        chart(
            "task accuracy and membership accuracy over lambda",
            &ticks,
            ("λ", "accuracy"),
            &usefulness,
            &guess,
            extent(&usefulness, &guess)
        )
    );
    attribute.insert(attribute.len().min(1), level);
    let figures = attribute.concat();
    let held = chief.map_or(String::new(), |a| format!(" The attacker holds {}.", escape(a)));
    let bars = match sweep.seeds.len() {
        1 => "bars are 95 % intervals within this one trial (Clopper–Pearson)".to_string(),
        n => format!("bars are 95 % intervals over {n} trials (Student)"),
    };
    let seeds: Vec<String> = sweep.seeds.iter().map(u64::to_string).collect();
    let body = format!(
        "<figure><div class=\"duo\">{figures}</div><figcaption><b>How to read it.</b> To the right the censoring gets \
         stronger; λ = 0 is contrastive training itself. If it works, the lines of the attackers fall towards the \
         dashed line, below which an attacker knows nothing that always giving the same answer does not, while task \
         and membership stay level. The λ are spaced evenly. Trial {}; {bars}, drawn for the first line of a figure \
         of attackers and for both lines of the other.{held}</figcaption></figure>\
         <details><summary>All numbers of the curve</summary><div class=\"wide\">{}</div></details>",
        seeds.join(", "),
        curve_tables(&sweep, &sets, &ticks)
    );
    section("curve", "Talos with growing λ", &body)
}

fn curve_tables(sweep: &Sweep, sets: &[&str], ticks: &[String]) -> String {
    let titles: Vec<String> = ticks.iter().map(|t| format!("λ = {t}")).collect();
    let row = |title: &str, get: &dyn Fn(&Subject) -> Option<Proportion>| {
        let cells = sweep.values(get).into_iter().map(|v| over_proportions(&v));
        std::iter::once(escape(title)).chain(cells).collect::<Vec<String>>()
    };
    let head = |first: &'static str| -> Vec<&str> {
        std::iter::once(first).chain(titles.iter().map(String::as_str)).collect()
    };
    let mut rows = vec![row("task accuracy, new images", &|s| Some(s.utility.target_test))];
    let first = sweep.seeds.first().and_then(|&seed| sweep.subject(seed, sweep.lambdas[0]));
    for attack in first.map_or(&[][..], |s| &s.membership[..]) {
        rows.push(row(&attack.title, &|s| {
            s.membership.iter().find(|a| a.id == attack.id).map(|a| a.metrics.accuracy)
        }));
    }
    let caption = match sweep.seeds.len() {
        1 => "Task and membership. Small numbers: 95 % intervals within the trial",
        _ => "Task and membership. Small numbers: 95 % intervals over trials",
    };
    let mut text = table(caption, &head("Measure"), rows);
    for auxiliary in sets {
        let rows = attackers(sweep.results, auxiliary)
            .into_iter()
            .map(|(id, title)| row(title, &|s| attacker(s, auxiliary, id)))
            .collect();
        let caption = format!("Attribute attacks, attacker holds {auxiliary}");
        text += &table(&caption, &head("Attacker"), rows);
    }
    text
}

/// Membership over the overfitting gap, a mark for each model (H5).
pub fn overfitting(results: &LeaksResults) -> String {
    let marks: Vec<(Method, f64, f64)> = results
        .subjects
        .iter()
        .filter_map(|s| {
            Some((s.method, s.utility.overfitting_gap, neural(&s.membership)?.metrics.accuracy.value))
        })
        .filter(|(_, gap, accuracy)| gap.is_finite() && accuracy.is_finite())
        .collect();
    if marks.is_empty() {
        return String::new();
    }
    let (low, high) = range(marks.iter().map(|m| m.1.max(0.0)));
    let x = (marks.iter().map(|m| m.1).fold(low, f64::min).min(0.0), high);
    let x = if x.0 < 0.0 { ((x.0 * 20.0).floor() / 20.0, x.1) } else { x };
    let (low, high) = range(marks.iter().map(|m| m.2).chain([0.5]));
    let y = (low.max(0.0), high.min(1.0));
    let mut plot = Plot::new(HEIGHT, x, y, false);
    let ticks: Vec<(f64, String)> =
        percent_ticks(x).into_iter().map(|(v, t)| (v, t.trim_end_matches("\u{202f}%").to_string())).collect();
    plot.x_ticks(&ticks, "overfitting gap: training minus test accuracy, points");
    plot.y_ticks(&percent_ticks(y), "membership accuracy, neural attack");
    // The part of "0.5 + gap / 2" inside the frame.
    let (from, to) = (x.0.max(2.0 * (y.0 - 0.5)), x.1.min(2.0 * (y.1 - 0.5)));
    if from < to {
        let at = |plot: &Plot, gap: f64| (plot.x.at(gap), plot.y.at(0.5 + 0.5 * gap));
        let ((x1, y1), (x2, y2)) = (at(&plot, from), at(&plot, to));
        plot.body += &format!(r#"<path class="guess" d="M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}"/>"#);
    }
    let mut legend = String::from(r#"<ul class="legend">"#);
    let kind = |method: Method| match method {
        Method::Contrastive => 0,
        Method::Supervised => 1,
        Method::Talos { .. } => 2,
    };
    for (k, title) in ["contrastive", "supervised", "Talos, any λ"].into_iter().enumerate() {
        let mut any = false;
        for (method, gap, accuracy) in marks.iter().filter(|m| kind(m.0) == k) {
            any = true;
            let label =
                format!("{}: gap {}, membership {}", name(*method), percent(*gap), percent(*accuracy));
            let shape = shape(k, plot.x.at(*gap), plot.y.at(*accuracy), Some(&label));
            plot.body += &shape;
        }
        if any {
            legend += &format!(
                r#"<li><svg class="key" viewBox="0 0 34 14" aria-hidden="true">{}</svg>{title}</li>"#,
                shape(k, 17.0, 7.0, None)
            );
        }
    }
    legend += r#"<li><svg class="key" viewBox="0 0 34 10" aria-hidden="true"><path class="guess" d="M1 5H33"/></svg>what the gap alone gives away</li></ul>"#;
    let body = format!(
        "{legend}<figure class=\"single\">{}<figcaption><b>How to read it.</b> A mark for each of {} models. The paper \
         explains membership leaks by overfitting: models that know their training images much better than new ones \
         should lie further right and higher. An attacker who calls every rightly classified image a member reaches \
         the dotted line, 50 % plus half the gap; marks above it leak more than that.</figcaption></figure>",
        plot.finish("Membership accuracy against the overfitting gap"),
        count(marks.len() as u64)
    );
    section("overfitting", "Membership and overfitting", &body)
}

/// Circle, square or triangle around a point, in the colour of style `k`.
fn shape(k: usize, x: f64, y: f64, label: Option<&str>) -> String {
    let title = label.map_or(String::new(), |l| format!("<title>{}</title>", escape(l)));
    let d = match k {
        0 => return format!(r#"<circle class="mark p0" cx="{x:.1}" cy="{y:.1}" r="5.5">{title}</circle>"#),
        1 => format!("M{:.1} {:.1}h10v10h-10Z", x - 5.0, y - 5.0),
        _ => format!("M{x:.1} {:.1}l6.5 11h-13Z", y - 7.0),
    };
    format!(r#"<path class="mark p{k}" d="{d}">{title}</path>"#)
}

/// Accuracy of the linear classifier while it trains.
pub fn epochs(results: &LeaksResults) -> String {
    let headline = Method::Talos { lambda: results.config.lambda };
    let mut epochs: Vec<u64> =
        results.subjects.iter().flat_map(|s| &s.utility.by_epoch).map(|e| e.epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    let mut series = Vec::new();
    let mut trials = 0;
    for method in [Method::Contrastive, headline] {
        let subjects: Vec<&Subject> = results
            .subjects
            .iter()
            .filter(|s| s.method == method && !s.utility.by_epoch.is_empty())
            .collect();
        trials = trials.max(subjects.len());
        for (what, get) in [("training images", true), ("new images", false)] {
            let at = |epoch: &u64| {
                let values: Vec<f64> = subjects
                    .iter()
                    .filter_map(|s| s.utility.by_epoch.iter().find(|e| e.epoch == *epoch))
                    .map(|e| if get { e.train } else { e.test })
                    .collect();
                Trials::new(&values, LEVEL)
                    .map(|t| Point { value: t.mean, interval: t.interval.map(|i| super::within_shares(&i)) })
            };
            let points: Vec<Option<Point>> = epochs.iter().map(at).collect();
            if points.iter().flatten().count() > 1 {
                series.push(Series { title: format!("{}, {what}", name(method)), points });
            }
        }
    }
    if series.is_empty() {
        return String::new();
    }
    let titles: Vec<&str> = std::iter::once("Epoch").chain(series.iter().map(|s| s.title.as_str())).collect();
    let rows = epochs
        .iter()
        .enumerate()
        .map(|(i, epoch)| {
            let cells = series.iter().map(|s| match s.points[i] {
                None => NONE.to_string(),
                Some(p) => {
                    let interval = p.interval.map_or(String::new(), |i| {
                        format!(r#"<span class="interval">{}</span>"#, interval_cell(&i, percent))
                    });
                    percent(p.value) + &interval
                }
            });
            std::iter::once(count(*epoch)).chain(cells).collect()
        })
        .collect();
    let numbers = table("Means over trials with 95 % intervals (Student)", &titles, rows);
    let ticks: Vec<String> = epochs.iter().map(u64::to_string).collect();
    // Bars of several lines over each other cannot be read; the table has them.
    let bare: Vec<Series> = series
        .iter()
        .map(|s| Series {
            title: s.title.clone(),
            points: s.points.iter().map(|p| p.map(Point::without_interval)).collect(),
        })
        .collect();
    let figure = chart(
        "accuracy of the linear classifier by epoch",
        &ticks,
        ("epoch of the linear classifier", "accuracy"),
        &bare,
        &[],
        extent(&bare, &[]),
    );
    let body = format!(
        "<figure class=\"single\">{figure}<figcaption><b>How to read it.</b> The encoder is fixed; only the linear \
         classifier learns. Where training images are still classified better and better but new ones are not, \
         longer training adds overfitting only. Means over {}.</figcaption></figure><details><summary>All numbers \
         of the figure</summary><div class=\"wide\">{numbers}</div></details>",
        several(trials, "trial")
    );
    section("epochs", "When to stop: the classifier by epoch", &body)
}
