//! Results of a run and their report: `results.json`, `scores.csv`, `report.html`.
//!
//! A caller fills [`Results`], then calls [`write()`], which adds the verdict and the warnings that follow from
//! the numbers, renders everything in memory and only then touches the disk; every file appears whole or not at
//! all. [`rerender`] makes the page again from `results.json`.
//!
//! `schema` holds the data, `verdict` the judgement, `svg` the figures, `html` the page (with `html_parts` for
//! its tables). The page is one file without scripts and without anything loaded from elsewhere.

// The page of other experiments is made of the same parts.
pub(in crate::experiment) mod format;
pub(in crate::experiment) mod html;
mod html_attribute;
pub(in crate::experiment) mod html_parts;
mod images;
mod schema;
pub(in crate::experiment) mod svg;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

pub use format::{decimal, escape, interval_cell, interval_text, percent};
pub use html::render_html;
pub use images::{extremes, png_data_uri};
pub use schema::{
    AdapterSummary, Assumption, Attack, Citation, Cost, DataPart, DataSummary, EncoderSummary,
    HistogramFigure, Results, SCHEMA, SampleImage, Stage, Utility,
};
pub use verdict::{KeyNumber, Test, Verdict, VerdictKind, judge};

use crate::metrics::MembershipResult;
use crate::{Error, Result};

/// Name of the machine-readable results in a run's folder.
pub const RESULTS_FILE: &str = "results.json";
/// Name of the per-sample table.
pub const SCORES_FILE: &str = "scores.csv";
/// Name of the page.
pub const REPORT_FILE: &str = "report.html";

/// Concludes `results` (see [`Results::conclude`]) and writes `results.json`, `scores.csv` and `report.html`
/// into `folder`, which is created if missing. `scores` lists every attack's id and per-sample result; all must
/// be about the same samples in the same order.
///
/// # Errors
/// Attacks on different samples, a number that is NaN or infinite, or the operating system's refusal. Errors of
/// content are found before anything is written.
pub fn write(folder: &Path, results: &mut Results, scores: &[(&str, &MembershipResult)]) -> Result<()> {
    results.conclude();
    let table = scores_csv(scores)?;
    let json = to_json(results)?;
    let page = render_html(results);
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    for (name, bytes) in
        [(SCORES_FILE, table.as_slice()), (RESULTS_FILE, json.as_bytes()), (REPORT_FILE, page.as_bytes())]
    {
        write_file(&folder.join(name), bytes)?;
    }
    Ok(())
}

/// Renders `report.html` again from the `results.json` in `folder`.
///
/// # Errors
/// A missing or unreadable file, another schema, or the operating system's refusal to write.
pub fn rerender(folder: &Path) -> Result<Results> {
    let results = read(folder)?;
    write_file(&folder.join(REPORT_FILE), render_html(&results).as_bytes())?;
    Ok(results)
}

/// Reads `results.json` in `folder`.
///
/// # Errors
/// A missing file, text that is not JSON of this form, or another schema version.
pub fn read(folder: &Path) -> Result<Results> {
    let path = folder.join(RESULTS_FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    from_json(&text, &path.display().to_string())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    crate::files::write_bytes_atomic(path, bytes)
}

/// Pretty JSON that is known to be readable again (JSON has no NaN or infinity).
///
/// # Errors
/// A number that JSON cannot hold.
pub fn to_json(results: &Results) -> Result<String> {
    let refuse = |e: serde_json::Error| {
        Error::data(RESULTS_FILE, format!("a value cannot be stored ({e}); every number must be finite"))
    };
    let text = serde_json::to_string_pretty(results).map_err(refuse)?;
    // NaN becomes null without complaint; reading back is what notices it.
    serde_json::from_str::<Results>(&text).map_err(refuse)?;
    Ok(text + "\n")
}

/// Parses `results.json`; `place` names the file in errors.
///
/// # Errors
/// Text that is not JSON of this form, or another schema version.
pub fn from_json(text: &str, place: &str) -> Result<Results> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| Error::data(place, format!("not valid JSON: {e}")))?;
    let found = value.get("schema").and_then(serde_json::Value::as_u64);
    if found != Some(u64::from(SCHEMA)) {
        let found = found.map_or("no schema number".to_string(), |v| format!("schema {v}"));
        return Err(Error::data(
            place,
            format!(
                "expected results of schema {SCHEMA}, found {found}; use the contraleak version that wrote it"
            ),
        ));
    }
    serde_json::from_value(value).map_err(|e| Error::data(place, format!("not a results file: {e}")))
}

/// Table with one row per sample: id, membership (1 or 0), and a score and a decision column per attack. Attacks that
/// judged only some of the samples leave cells empty.
fn scores_csv(scores: &[(&str, &MembershipResult)]) -> Result<Vec<u8>> {
    let broken = |e: csv::Error| Error::data(SCORES_FILE, e);
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header = vec!["id".to_string(), "membership".to_string()];
    for (attack, _) in scores {
        header.extend([format!("{attack}_score"), format!("{attack}_decision")]);
    }
    writer.write_record(&header).map_err(broken)?;
    let flag = |b: bool| u8::from(b).to_string();
    // The attack that judged most samples gives their order.
    let longest = scores.iter().rev().max_by_key(|(_, result)| result.count());
    if let Some((first_name, first)) = longest {
        let mut columns = Vec::new();
        for (name, other) in scores {
            let places: BTreeMap<&str, usize> =
                other.ids().iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
            let known = |(i, id): (usize, &String)| {
                places.get(id.as_str()).is_none_or(|&j| other.members()[j] == first.members()[i])
            };
            let agree = first.ids().iter().enumerate().all(known);
            let found = first.ids().iter().filter(|id| places.contains_key(id.as_str())).count();
            if !agree || found != other.count() {
                return Err(Error::shape(format!(
                    "{SCORES_FILE}: attacks '{first_name}' and '{name}' are about different samples"
                )));
            }
            columns.push((places, other));
        }
        for (i, id) in first.ids().iter().enumerate() {
            let mut row = vec![id.clone(), flag(first.members()[i])];
            for (places, result) in &columns {
                match places.get(id.as_str()) {
                    Some(&j) => row.extend([result.scores()[j].to_string(), flag(result.decisions()[j])]),
                    None => row.extend([String::new(), String::new()]),
                }
            }
            writer.write_record(&row).map_err(broken)?;
        }
    }
    writer.into_inner().map_err(|e| Error::data(SCORES_FILE, e))
}
