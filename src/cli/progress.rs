//! Progress on stderr. Shown only where stderr is a terminal; elsewhere the bars exist and draw nothing.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::interrupt;
use crate::experiment::Tell;

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

/// Stages as lines on stderr, the rest on the progress line.
pub struct Screen {
    bar: ProgressBar,
    start: Instant,
}

impl Screen {
    pub fn new(what: &str) -> Screen {
        Screen { bar: spinner(what), start: Instant::now() }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Tell for Screen {
    fn stage(&mut self, what: &str) {
        let line = format!("[{:5.1} s] {what}", self.start.elapsed().as_secs_f64());
        if std::io::stderr().is_terminal() {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }
    fn progress(&mut self, done: u64, total: u64, note: &str) {
        let text = if total > 0 { format!("step {done} of {total}, {note}") } else { note.to_string() };
        self.bar.set_message(text);
    }
    fn stop(&mut self) -> bool {
        interrupt::requested()
    }
}
