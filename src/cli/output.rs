//! Results on stdout, and the folders that commands write into.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::Global;
use crate::experiment::report::{Results, decimal};
use crate::files::write_bytes_atomic;
use crate::{Error, Result};

const STDOUT: &str = "standard output";

/// Prints text and flushes it.
///
/// # Errors
/// [`Error::Io`] when stdout cannot be written to; see [`reader_left`].
pub fn text(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| Error::io(STDOUT, error))
}

/// Prints one JSON object. Numbers that are NaN or infinite become null: JSON has no others.
///
/// # Errors
/// See [`text()`].
pub fn json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Error::data(STDOUT, format!("the result cannot be written as JSON: {error}")))?;
    text(&format!("{json}\n"))
}

/// Whether `error` only says that whoever read our stdout (`| head`) has seen enough.
pub fn reader_left(error: &Error) -> bool {
    matches!(error, Error::Io { path, source }
        if path == Path::new(STDOUT) && source.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Lines of names and values, the values aligned; lines without a value are headings.
pub fn aligned(lines: &[(&str, String)]) -> String {
    let named = lines.iter().filter(|(_, value)| !value.is_empty());
    let width = named.map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| match value.is_empty() {
        true => format!("{name}\n"),
        false => format!("{name:width$}  {value}\n"),
    };
    lines.iter().map(line).collect()
}

/// A table: the first column flush left, the others flush right, two spaces between.
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A number of bytes for people: `128 MiB`, `3.5 KiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "bytes";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    let decimals = if value.fract() == 0.0 { 0 } else { 1 };
    format!("{value:.decimals$} {unit}")
}

/// Finds out now, before hours of work, whether `folder` can be made and written into. Leaves nothing behind.
///
/// # Errors
/// [`Error::Io`] naming the folder, the cause and what to do.
pub fn check_folder(folder: &Path) -> Result<()> {
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        return create_folder(folder);
    }
    // Named after the process: others may probe the same folder now.
    let probe = there.join(format!(".contraleak-probe-{}", std::process::id()));
    write_bytes_atomic(&probe, b"")?;
    std::fs::remove_file(&probe).map_err(|error| Error::io(&probe, error))
}

/// Makes `folder` and those above it unless they exist.
///
/// # Errors
/// [`Error::Io`] naming the folder and what to do.
pub fn create_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
                "; a part of the path is a file: choose another folder"
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                "; choose a folder that can be written to"
            }
            _ => "",
        };
        let message = format!("the folder cannot be made: {error}{advice}");
        Error::io(folder, std::io::Error::new(error.kind(), message))
    })
}

/// The verdict, the attacks' key numbers, and where the report lies; with `--json` the whole results.
pub fn verdict(results: &Results, folder: &Path, global: &Global) -> Result<()> {
    if global.json {
        return json(results);
    }
    let mut out = format!("{}\n\n", results.verdict.sentence);
    for attack in &results.attacks {
        let accuracy = &attack.metrics.accuracy;
        out.push_str(&format!(
            "  {:12} accuracy {} (95 % interval {} to {}), AUC {}\n",
            attack.title,
            decimal(accuracy.value),
            decimal(accuracy.interval.lower),
            decimal(accuracy.interval.upper),
            decimal(attack.metrics.auc.value)
        ));
        for control in &attack.controls {
            let interval = control
                .accuracy
                .interval
                .map_or(String::new(), |i| format!(" ({} to {})", decimal(i.lower), decimal(i.upper)));
            out.push_str(&format!(
                "    control: {:32} accuracy {}{interval}\n",
                control.title,
                decimal(control.accuracy.value)
            ));
        }
    }
    for warning in &results.warnings {
        out.push_str(&format!("  warning: {warning}\n"));
    }
    out.push_str(&format!("\n  report: {}\n", folder.join("report.html").display()));
    text(&out)
}
