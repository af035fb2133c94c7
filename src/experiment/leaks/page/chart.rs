//! Line charts of shares, with legend.

use crate::experiment::report::format::escape;
use crate::experiment::report::svg::{Plot, STYLES, linear_ticks};
use crate::metrics::{Interval, LEVEL, Proportion, Trials};

/// Height of a figure in its own units.
pub const HEIGHT: f64 = 330.0;

/// A line of a chart: a point for each tick, where there is one.
pub struct Series {
    pub title: String,
    pub points: Vec<Option<Point>>,
}

#[derive(Clone, Copy)]
pub struct Point {
    pub value: f64,
    /// Drawn as a bar where it is shown.
    pub interval: Option<Interval>,
}

/// A level that all points are judged against.
pub struct Level {
    pub title: String,
    pub class: &'static str,
    pub value: f64,
}

impl Point {
    /// One measurement with its own interval, or the mean of several with Student's.
    pub fn of(values: &[Proportion]) -> Option<Point> {
        match values {
            [] => None,
            [one] => Some(Point { value: one.value, interval: Some(one.interval) }),
            several => {
                let values: Vec<f64> = several.iter().map(|p| p.value).collect();
                Trials::new(&values, LEVEL).map(|t| Point { value: t.mean, interval: t.interval })
            }
        }
    }

    pub fn without_interval(self) -> Point {
        Point { interval: None, ..self }
    }
}

/// Range of shares that holds all values, on a grid of 5 points.
pub fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.filter(|v| v.is_finite()).fold((f64::INFINITY, 0.0f64), |(a, b), v| (a.min(v), b.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    (((low - 0.02) * 20.0).floor() / 20.0, ((high + 0.02) * 20.0).ceil() / 20.0)
}

/// Range of a chart's vertical axis.
pub fn extent(series: &[Series], levels: &[Level]) -> (f64, f64) {
    let points = series.iter().flat_map(|s| &s.points).flatten();
    let values = points.flat_map(|p| {
        [p.value, p.interval.map_or(p.value, |i| i.lower), p.interval.map_or(p.value, |i| i.upper)]
    });
    let (low, high) = range(values.chain(levels.iter().map(|l| l.value)));
    (low.max(0.0), high.min(1.0))
}

/// Round percentages in a range of shares.
pub fn percent_ticks((low, high): (f64, f64)) -> Vec<(f64, String)> {
    linear_ticks(100.0 * low, 100.0 * high, 6.0)
        .into_iter()
        .map(|(v, text)| (v / 100.0, format!("{}\u{202f}%", text.replace('-', "−"))))
        .collect()
}

/// Lines over evenly spaced ticks, with their legend below.
pub fn chart(
    title: &str,
    ticks: &[String],
    (x_label, y_label): (&str, &str),
    series: &[Series],
    levels: &[Level],
    extent: (f64, f64),
) -> String {
    let last = ticks.len().saturating_sub(1).max(1) as f64;
    // Room for the outer points.
    let mut plot = Plot::new(HEIGHT, (-0.15, last + 0.15), extent, false);
    let ticks: Vec<(f64, String)> = ticks.iter().enumerate().map(|(i, t)| (i as f64, t.clone())).collect();
    plot.x_ticks(&ticks, x_label);
    plot.y_ticks(&percent_ticks(extent), y_label);
    let (left, right) = (plot.x.start, plot.x.end);
    let mut legend = String::from(r#"<ul class="legend">"#);
    let mut key = |line: &str, text: &str| {
        legend += &format!(
            r#"<li><svg class="key" viewBox="0 0 34 10" aria-hidden="true">{line}</svg>{}</li>"#,
            escape(text)
        );
    };
    for level in levels {
        let y = plot.y.at(level.value);
        plot.body += &format!(r#"<path class="{}" d="M{left:.1} {y:.1}H{right:.1}"/>"#, level.class);
        key(&format!(r#"<path class="{}" d="M1 5H33"/>"#, level.class), &level.title);
    }
    for (k, line) in series.iter().enumerate() {
        let style = k % STYLES;
        let (mut path, mut marks) = (String::new(), String::new());
        let mut pen = 'M';
        for (i, point) in line.points.iter().enumerate() {
            let Some(point) = point else {
                pen = 'M';
                continue;
            };
            let (x, y) = (plot.x.at(i as f64), plot.y.at(point.value));
            path += &format!("{pen}{x:.1} {y:.1}");
            pen = 'L';
            if let Some(interval) = point.interval {
                let (low, high) = (plot.y.at(interval.lower), plot.y.at(interval.upper));
                marks += &format!(r#"<path class="range s{style}" d="M{x:.1} {low:.1}V{high:.1}"/>"#);
            }
            marks += &format!(r#"<circle class="mark p{style}" cx="{x:.1}" cy="{y:.1}" r="4"/>"#);
        }
        plot.body += &format!(r#"<path class="line s{style}" d="{path}"/>{marks}"#);
        let sample = format!(
            r#"<path class="line s{style}" d="M1 5H33"/><circle class="mark p{style}" cx="17" cy="5" r="4"/>"#
        );
        key(&sample, &line.title);
    }
    legend += "</ul>";
    format!("{}{legend}", plot.finish(title))
}
