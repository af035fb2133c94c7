//! `contraleak report`: the page of a run, made again from its results.

use std::path::PathBuf;

use serde::Serialize;

use super::{Global, output};
use crate::experiment::leaks;
use crate::experiment::report::{REPORT_FILE, RESULTS_FILE, Verdict, rerender};
use crate::{Error, Result};

/// Make DIR/report.html again from DIR/results.json, and print the verdict
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak report runs/audit
  contraleak report runs/audit --json")]
pub struct Args {
    /// Folder of a finished run, with results.json
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Serialize)]
struct Rendered<'a> {
    report: String,
    title: &'a str,
    verdict: &'a Verdict,
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    if !args.folder.join(RESULTS_FILE).exists() {
        let problem = format!("expected {RESULTS_FILE} in this folder, found none; a finished run writes it");
        return Err(Error::data(args.folder.display(), problem));
    }
    if leaks::is_here(&args.folder) {
        return super::run::show(&leaks::rerender(&args.folder)?, &args.folder, global);
    }
    let results = rerender(&args.folder)?;
    let report = args.folder.join(REPORT_FILE).display().to_string();
    if global.json {
        return output::json(&Rendered { report, title: &results.title, verdict: &results.verdict });
    }
    let mut text = format!("{}\n{}\n", results.title, results.verdict.sentence);
    for detail in &results.verdict.details {
        text.push_str(&format!("  {detail}\n"));
    }
    for warning in &results.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    output::text(&format!("{text}report: {report}\n"))
}
