//! Figures as inline SVG: no script, colours from the page's style sheet, every series told apart by colour and
//! by dash pattern.

use std::fmt::Write as _;

use super::format::{count, escape, interval_text, percent};
use super::schema::{Attack, EncoderSummary, HistogramFigure};
use crate::metrics::{Control, Interval};

/// Width of a figure in its own units.
pub const WIDTH: f64 = 460.0;
/// Number of series styles in the style sheet.
pub const STYLES: usize = 6;

/// Scale of one axis: from data to pixels.
pub struct Axis {
    low: f64,
    high: f64,
    log: bool,
    pub start: f64,
    pub end: f64,
}

impl Axis {
    pub fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }
}

/// A figure while it is drawn.
pub struct Plot {
    pub x: Axis,
    pub y: Axis,
    pub body: String,
    height: f64,
}

// Writing into a String cannot fail, so the results of `write!` are dropped throughout.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{ let _ = write!($out, $($arg)*); }};
}

impl Plot {
    pub fn new(height: f64, x: (f64, f64), y: (f64, f64), log: bool) -> Plot {
        Plot {
            x: Axis { low: x.0, high: x.1, log, start: 62.0, end: WIDTH - 14.0 },
            y: Axis { low: y.0, high: y.1, log, start: height - 52.0, end: 14.0 },
            body: String::new(),
            height,
        }
    }

    pub fn x_ticks(&mut self, ticks: &[(f64, String)], label: &str) {
        let (top, bottom) = (self.y.end, self.y.start);
        for (value, text) in ticks {
            let x = self.x.at(*value);
            put!(self.body, r#"<path class="grid" d="M{x:.1} {top:.1}V{bottom:.1}"/>"#);
            put!(
                self.body,
                r#"<text class="tick" x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 17.0,
                escape(text)
            );
        }
        let middle = 0.5 * (self.x.start + self.x.end);
        put!(
            self.body,
            r#"<text class="label" x="{middle:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            bottom + 40.0,
            escape(label)
        );
    }

    pub fn y_ticks(&mut self, ticks: &[(f64, String)], label: &str) {
        let (left, right) = (self.x.start, self.x.end);
        for (value, text) in ticks {
            let y = self.y.at(*value);
            put!(self.body, r#"<path class="grid" d="M{left:.1} {y:.1}H{right:.1}"/>"#);
            put!(
                self.body,
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                left - 6.0,
                y + 4.0,
                escape(text)
            );
        }
        let middle = 0.5 * (self.y.start + self.y.end);
        put!(
            self.body,
            r#"<text class="label" transform="translate(13 {middle:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            escape(label)
        );
    }

    pub fn finish(self, title: &str) -> String {
        let title = escape(title);
        format!(
            r#"<svg viewBox="0 0 {WIDTH} {}" role="img" aria-label="{title}"><title>{title}</title>{}</svg>"#,
            self.height, self.body
        )
    }
}

/// Axis label of a power-of-ten share: 0.01 %, 1 %, 100 %.
fn share_tick(value: f64) -> (f64, String) {
    let percent = 100.0 * value;
    let digits = (-percent.log10().round()).max(0.0) as usize;
    (value, format!("{percent:.digits$}\u{202f}%"))
}

/// Round tick values that cover [low, high], about `wanted` of them.
pub fn linear_ticks(low: f64, high: f64, wanted: f64) -> Vec<(f64, String)> {
    let raw = (high - low) / wanted;
    if !(raw > 0.0 && raw.is_finite()) {
        return Vec::new();
    }
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw).unwrap_or(raw);
    let digits = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let first = (low / step - 1e-9).ceil();
    (0..20)
        .map(|i| (first + f64::from(i)) * step)
        .take_while(|v| *v <= high + 1e-9 * step)
        .map(|v| (v, format!("{:.digits$}", v + 0.0)))
        .collect()
}

/// ROC curves of all attacks, one line each, as steps (between two thresholds nothing better was observed).
pub fn roc(attacks: &[Attack], log: bool) -> String {
    let non_members = attacks.iter().map(|a| a.metrics.non_members).min().unwrap_or(1).max(1) as f64;
    // Whole decades, from the smallest rate that the set can show, at most four.
    let decades = non_members.log10().ceil().clamp(2.0, 4.0);
    let floor = if log { 10f64.powf(-decades) } else { 0.0 };
    let mut plot = Plot::new(430.0, (floor, 1.0), (floor, 1.0), log);
    let ticks: Vec<(f64, String)> = if log {
        (0..=decades as i32).rev().map(|k| share_tick(10f64.powi(-k))).collect()
    } else {
        (0..=5).map(|k| (0.2 * f64::from(k), format!("{}\u{202f}%", 20 * k))).collect()
    };
    let (left, right, top, bottom) = (plot.x.start, plot.x.end, plot.y.end, plot.y.start);
    if log && 1.0 / non_members > floor * 1.001 {
        let edge = plot.x.at(1.0 / non_members);
        put!(
            plot.body,
            r#"<rect class="unresolved" x="{left:.1}" y="{top:.1}" width="{:.1}" height="{:.1}"/>"#,
            edge - left,
            bottom - top
        );
    }
    plot.x_ticks(&ticks, "false-positive rate (unseen images accused wrongly)");
    plot.y_ticks(&ticks, "true-positive rate (training images found)");
    put!(plot.body, r#"<path class="guess" d="M{left:.1} {bottom:.1}L{right:.1} {top:.1}"/>"#);
    for (i, attack) in attacks.iter().enumerate() {
        let mut path = String::new();
        let mut pen: Option<(f64, f64)> = None;
        for point in attack.roc.iter().filter(|p| p.tpr >= floor || !log) {
            let (x, y) = (plot.x.at(point.fpr), plot.y.at(point.tpr));
            match pen {
                None => {
                    put!(path, "M{x:.1} {y:.1}");
                    pen = Some((x, y));
                }
                // Moves of less than a third of a pixel are not drawn on their own.
                Some((px, py)) if (x - px).abs() + (y - py).abs() >= 0.3 || point.fpr >= 1.0 => {
                    put!(path, "H{x:.1}V{y:.1}");
                    pen = Some((x, y));
                }
                Some(_) => {}
            }
        }
        put!(plot.body, r#"<path class="line s{}" d="{path}"/>"#, i % STYLES);
    }
    let kind = if log { "logarithmic axes" } else { "linear axes" };
    plot.finish(&format!("ROC curves, {kind}"))
}

/// Legend of the ROC figures, as HTML around small line samples.
pub fn roc_legend(attacks: &[Attack]) -> String {
    let mut out = String::from(r#"<ul class="legend">"#);
    for (i, attack) in attacks.iter().enumerate() {
        put!(
            out,
            r#"<li><svg class="key" viewBox="0 0 34 10" aria-hidden="true"><path class="line s{}" d="M1 5H33"/></svg>{} (AUC {:.3})</li>"#,
            i % STYLES,
            escape(&attack.title),
            attack.metrics.auc.value
        );
    }
    out.push_str(r#"<li><svg class="key" viewBox="0 0 34 10" aria-hidden="true"><path class="guess" d="M1 5H33"/></svg>guessing</li></ul>"#);
    out
}

/// Members and non-members over shared bins, each as share of its own group.
pub fn histogram(figure: &HistogramFigure) -> String {
    let h = &figure.histogram;
    let shares = |counts: &[u64]| -> Vec<f64> {
        let total = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().map(|&c| c as f64 / total).collect()
    };
    let (members, non_members) = (shares(&h.members), shares(&h.non_members));
    let (Some(&low), Some(&high)) = (h.edges.first(), h.edges.last()) else { return String::new() };
    let top = members.iter().chain(&non_members).copied().fold(0.0, f64::max).max(1e-6);
    let mut plot = Plot::new(270.0, (low, high), (0.0, 1.16 * top), false);
    plot.x_ticks(&linear_ticks(low, high, 5.0), &figure.feature);
    let ticks: Vec<(f64, String)> = linear_ticks(0.0, 100.0 * top, 4.0)
        .into_iter()
        .map(|(v, t)| (v / 100.0, format!("{t}\u{202f}%")))
        .collect();
    plot.y_ticks(&ticks, "share of the group");
    let base = plot.y.start;
    for (class, shares) in [("non-members", &non_members), ("members", &members)] {
        let mut outline = format!("M{:.1} {base:.1}", plot.x.at(low));
        for (i, share) in shares.iter().enumerate().take(h.edges.len().saturating_sub(1)) {
            put!(outline, "V{:.1}H{:.1}", plot.y.at(*share), plot.x.at(h.edges[i + 1]));
        }
        put!(plot.body, r#"<path class="area {class}" d="{outline}V{base:.1}Z"/>"#);
        put!(plot.body, r#"<path class="outline {class}" d="{outline}V{base:.1}"/>"#);
    }
    if let Some(threshold) = figure.threshold.filter(|t| (low..=high).contains(t)) {
        let x = plot.x.at(threshold);
        put!(plot.body, r#"<path class="threshold" d="M{x:.1} {base:.1}V{:.1}"/>"#, plot.y.end);
        let (anchor, dx) = if x > 0.7 * WIDTH { ("end", -5.0) } else { ("start", 5.0) };
        put!(
            plot.body,
            r#"<text class="tick strong" x="{:.1}" y="{:.1}" text-anchor="{anchor}">threshold</text>"#,
            x + dx,
            plot.y.end + 10.0
        );
    }
    plot.finish(&format!("Histogram: {} of members and non-members, {}", figure.feature, figure.title))
}

/// Legend of the histograms.
pub fn histogram_legend() -> &'static str {
    concat!(
        r#"<ul class="legend"><li><svg class="key" viewBox="0 0 34 14" aria-hidden="true"><rect class="area members" x="1" y="1" width="32" height="12"/><rect class="outline members" x="1" y="1" width="32" height="12"/></svg>members (trained on)</li>"#,
        r#"<li><svg class="key" viewBox="0 0 34 14" aria-hidden="true"><rect class="area non-members" x="1" y="1" width="32" height="12"/><rect class="outline non-members" x="1" y="1" width="32" height="12"/></svg>non-members (never seen)</li></ul>"#
    )
}

/// Accuracy of every attack and control as a dot with its interval, around the line of guessing.
pub fn accuracies(attacks: &[Attack], controls: &[Control]) -> String {
    struct Row<'a> {
        title: &'a str,
        value: f64,
        interval: Option<Interval>,
        control: bool,
    }
    let mut rows: Vec<Row> = Vec::new();
    let control_row = |c: &'_ Control| (c.accuracy.value, c.accuracy.interval);
    for attack in attacks {
        let accuracy = &attack.metrics.accuracy;
        rows.push(Row {
            title: &attack.title,
            value: accuracy.value,
            interval: Some(accuracy.interval),
            control: false,
        });
        for control in &attack.controls {
            let (value, interval) = control_row(control);
            rows.push(Row { title: &control.title, value, interval, control: true });
        }
    }
    for control in controls.iter().filter(|c| c.id != "majority") {
        let (value, interval) = control_row(control);
        rows.push(Row { title: &control.title, value, interval, control: true });
    }
    let chance = attacks.first().map_or(0.5, |a| a.metrics.majority_share);
    let ends = rows.iter().flat_map(|r| {
        [r.value, r.interval.map_or(r.value, |i| i.lower), r.interval.map_or(r.value, |i| i.upper)]
    });
    let (mut low, mut high) = ends.fold((chance, chance), |(a, b), v| (a.min(v), b.max(v)));
    low = ((low - 0.02).max(0.0) * 20.0).floor() / 20.0;
    high = ((high + 0.02).min(1.0) * 20.0).ceil() / 20.0;
    const ROW: f64 = 40.0;
    let mut plot = Plot::new(14.0 + ROW * rows.len() as f64 + 52.0, (low, high), (0.0, 1.0), false);
    plot.x.start = 14.0;
    let ticks: Vec<(f64, String)> = linear_ticks(100.0 * low, 100.0 * high, 5.0)
        .into_iter()
        .map(|(v, t)| (v / 100.0, format!("{t}\u{202f}%")))
        .collect();
    plot.x_ticks(&ticks, "accuracy: images judged correctly");
    let x = plot.x.at(chance);
    put!(plot.body, r#"<path class="guess" d="M{x:.1} {:.1}V{:.1}"/>"#, plot.y.end, plot.y.start);
    for (i, row) in rows.iter().enumerate() {
        let top = plot.y.end + ROW * i as f64;
        let (text_y, y) = (top + 14.0, top + 26.0);
        let class = if row.control { "control" } else { "attack" };
        let indent = if row.control { 24.0 } else { 14.0 };
        let range = row.interval.map_or(String::new(), |i| format!(" ({})", interval_text(&i, percent)));
        put!(
            plot.body,
            r#"<text class="rowlabel {class}" x="{indent}" y="{text_y:.1}">{}: {}{range}</text>"#,
            escape(row.title),
            percent(row.value)
        );
        if let Some(interval) = row.interval {
            put!(
                plot.body,
                r#"<path class="whisker {class}" d="M{:.1} {y:.1}H{:.1}"/>"#,
                plot.x.at(interval.lower),
                plot.x.at(interval.upper)
            );
        }
        put!(
            plot.body,
            r#"<circle class="dot {class}" cx="{:.1}" cy="{y:.1}" r="4.5"/>"#,
            plot.x.at(row.value)
        );
    }
    plot.finish("Accuracy of attacks and controls with intervals")
}

/// Training loss of every encoder that recorded one; `None` when none did.
pub fn losses(encoders: &[&EncoderSummary]) -> Option<(String, String)> {
    let curves: Vec<(&str, Vec<[f64; 2]>)> = encoders
        .iter()
        .map(|e| {
            (
                e.role.as_str(),
                e.loss_curve.iter().copied().filter(|p| p[0].is_finite() && p[1].is_finite()).collect(),
            )
        })
        .filter(|(_, curve): &(&str, Vec<[f64; 2]>)| curve.len() > 1)
        .collect();
    let points = || curves.iter().flat_map(|(_, curve)| curve);
    points().next()?;
    let range = |k: usize| {
        points().map(|p| p[k]).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
    };
    let ((x_low, x_high), (y_low, y_high)) = (range(0), range(1));
    let margin = (0.05 * (y_high - y_low)).max(1e-6);
    let mut plot =
        Plot::new(270.0, (x_low, x_high.max(x_low + 1e-6)), (y_low - margin, y_high + margin), false);
    plot.x_ticks(&linear_ticks(x_low, x_high, 6.0), "epoch");
    plot.y_ticks(&linear_ticks(y_low - margin, y_high + margin, 4.0), "training loss");
    let mut legend = String::from(r#"<ul class="legend">"#);
    for (i, (role, curve)) in curves.iter().enumerate() {
        let mut path = String::new();
        for (k, point) in curve.iter().enumerate() {
            put!(
                path,
                "{}{:.1} {:.1}",
                if k == 0 { "M" } else { "L" },
                plot.x.at(point[0]),
                plot.y.at(point[1])
            );
        }
        put!(plot.body, r#"<path class="line s{}" d="{path}"/>"#, i % STYLES);
        put!(
            legend,
            r#"<li><svg class="key" viewBox="0 0 34 10" aria-hidden="true"><path class="line s{}" d="M1 5H33"/></svg>{} encoder</li>"#,
            i % STYLES,
            escape(role)
        );
    }
    legend.push_str("</ul>");
    let title = format!("Training loss of {} encoders", count(curves.len() as u64));
    Some((plot.finish(&title), legend))
}
