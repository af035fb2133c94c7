//! Progress on stderr. Shown only where stderr is a terminal; elsewhere the bars exist and draw nothing.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// A bar for `total` steps of known number; `unit` names a step (`epoch`, `image`).
pub fn bar(total: u64, what: &str, unit: &str) -> ProgressBar {
    let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{elapsed}} spent, {{eta}} to go");
    finished(ProgressBar::new(total), &template, what)
}

/// A sign of life for work of unknown length.
pub fn spinner(what: &str) -> ProgressBar {
    let spinner = finished(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}", what);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// A bar that takes itself off the screen when it is dropped.
fn finished(bar: ProgressBar, template: &str, what: &str) -> ProgressBar {
    // A template that does not parse costs the style only.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(what.to_string()).with_finish(ProgressFinish::AndClear)
}
