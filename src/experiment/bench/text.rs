//! Tables and numbers for people.

use super::{Machine, Timing};
use std::fmt::{self, Display};

/// Lines with aligned columns, the first to the left, the others to the right.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let headings: Vec<String> = headings.iter().map(|h| h.to_string()).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| {
        all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for row in all() {
        for (i, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            match i {
                0 => text.push_str(&format!("{cell:width$}")),
                _ => text.push_str(&format!("  {cell:>width$}")),
            }
        }
        text.push('\n');
    }
    text
}

/// Lines of a name and what it is.
pub(super) fn list(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    lines.iter().map(|(name, value)| format!("  {name:width$}  {value}\n")).collect()
}

/// Three digits that matter: `0.0123`, `1.23`, `123`, `12345`.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let decimals = (2 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    format!("{value:.decimals$}")
}

/// Milliseconds: the median, and what it varied between.
pub(super) fn milliseconds(t: &Timing) -> String {
    let ms = |s: f64| short(s * 1e3);
    format!("{} ms (median of {}; {} to {})", ms(t.median), t.runs, ms(t.min), ms(t.max))
}

pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", short(bytes as f64 / (1 << 20) as f64))
}

impl Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = format!("{:?}", self.class).to_lowercase();
        write!(f, "{} ({}, {}), {class} kernels", self.adapter, self.backend, self.driver)?;
        if let Some(load) = self.load_average {
            write!(f, "; load {load} on {} CPUs before", self.cpus)?;
        }
        Ok(())
    }
}
