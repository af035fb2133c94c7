//! He & Zhang's experiment (ACM CCS 2021): what contrastive models leak against supervised ones, and what Talos
//! changes. For each trial: encoders of every method for target and shadow, task classifiers, membership inference of
//! three families, attribute inference with adaptive attackers, other defences, controls.
//!
//! Everything lies in one folder: encoders in `seed-N/METHOD/{target,shadow}`, what was measured of them in
//! `seed-N/METHOD/subject.json`; a run that was stopped goes on where it was.

mod attribute;
mod baselines;
mod config;
mod defences;
mod encoders;
mod kept;
mod models;
mod page;
mod parts;
mod presets;
mod results;
mod summary;
mod trial;

pub use config::{LeaksConfig, Scale, StageZero};
pub use encoders::Method;
pub use page::{markdown, render};
pub use presets::{PRESETS, preset};
pub use results::{Baselines, Classes, Defence, LeaksResults, MembershipAttack, SCHEMA, Subject, Utility};
pub use summary::{AttributeRow, Comparison, Measured, Row, Summary};

use crate::experiment::Tell;
use crate::experiment::encodermi::adapter;
use crate::experiment::features::Label;
use crate::experiment::report::{DataPart, DataSummary, Stage};
use crate::files::write_bytes_atomic;
use crate::gpu::Gpu;
use crate::train::CONFIG_FILE;
use crate::{Error, Result};
use kept::{fetch, store};
use parts::Parts;
use std::path::Path;
use std::time::Instant;
use trial::Trial;

const RESULTS: &str = "results.json";
const PAGE: &str = "report.html";

/// Runs what is missing in `folder` and writes `results.json`, `report.html`, `membership.csv` and `config.toml` there.
///
/// # Errors
/// Settings out of range; a folder of another experiment; [`Error::Interrupted`] when `tell` asked to stop: the same call goes on.
pub fn run(gpu: &Gpu, config: &LeaksConfig, folder: &Path, tell: &mut dyn Tell) -> Result<LeaksResults> {
    config.check()?;
    let start = Instant::now();
    same_experiment(config, folder)?;
    let first = Parts::open(config, config.seeds[0])?;
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let text = toml::to_string_pretty(config).map_err(|e| Error::usage(format!("configuration: {e}")))?;
    write_bytes_atomic(folder.join(CONFIG_FILE), text.as_bytes())?;
    let mut results = empty(gpu, config, &first)?;
    drop(first);
    let mut clock = Instant::now();
    let stage_zero = encoders::stage_zero(gpu, config, folder, tell)?;
    let mut lap = |results: &mut LeaksResults, name: String| {
        results.stages.push(Stage { name, seconds: clock.elapsed().as_secs_f64() });
        clock = Instant::now();
    };
    lap(&mut results, "stage 0".into());
    // Everything is trained before anything is measured: training takes most of the time and knows no attack.
    for &seed in &config.seeds {
        let parts = Parts::open(config, seed)?;
        let trial = Trial { gpu, config, folder, parts: &parts, seed };
        for method in encoders::methods(config, seed, parts.has_attribute()) {
            trial.encoders(method, stage_zero.as_ref(), tell)?;
        }
        lap(&mut results, format!("training, trial {seed}"));
    }
    for &seed in &config.seeds {
        let parts = Parts::open(config, seed)?;
        if parts.rest.is_none() && config.defence_seeds.contains(&seed) {
            results.warnings.push(format!(
                "Trial {seed}: the four parts leave no images of the pool. MemGuard, adversarial regularisation, early \
                 stopping, the untrained control and the baselines with a head of their own need some and were left \
                 out; a smaller --part leaves some."
            ));
        }
        let trial = Trial { gpu, config, folder, parts: &parts, seed };
        for method in encoders::methods(config, seed, parts.has_attribute()) {
            trial.subject(method, stage_zero.as_ref(), tell, &mut results)?;
        }
        trial.controls(tell, &mut results)?;
        lap(&mut results, format!("measuring, trial {seed}"));
    }
    results.wall_time_s = start.elapsed().as_secs_f64();
    write(folder, &results)?;
    Ok(results)
}

/// Writes the results and the page.
fn write(folder: &Path, results: &LeaksResults) -> Result<()> {
    store(&folder.join(RESULTS), results)?;
    write_bytes_atomic(folder.join("membership.csv"), summary::csv(results).as_bytes())?;
    write_bytes_atomic(folder.join(PAGE), render(results).as_bytes())
}

/// Whether `folder` holds results of this experiment rather than an audit's.
pub fn is_here(folder: &Path) -> bool {
    std::fs::read_to_string(folder.join(RESULTS))
        .is_ok_and(|text| text.contains("\"experiment\": \"contrastive-leaks\""))
}

/// Renders the results in `folder` again.
///
/// # Errors
/// Results that are missing or not understood.
pub fn rerender(folder: &Path) -> Result<LeaksResults> {
    let path = folder.join(RESULTS);
    let results: LeaksResults = fetch(&path)?
        .ok_or_else(|| Error::data(path.display(), "expected the results of an experiment, found none"))?;
    write(folder, &results)?;
    Ok(results)
}

fn same_experiment(config: &LeaksConfig, folder: &Path) -> Result<()> {
    let path = folder.join(CONFIG_FILE);
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
    let old: LeaksConfig =
        toml::from_str(&text).map_err(|e| Error::data(path.display(), e.to_string().trim_end()))?;
    // More trials and a longer curve go on with what is there.
    let comparable = |c: &LeaksConfig| LeaksConfig {
        seeds: Vec::new(),
        sweep: Vec::new(),
        sweep_seeds: Vec::new(),
        defence_seeds: Vec::new(),
        lambda: 0.0,
        ..c.clone()
    };
    if comparable(&old) != comparable(config) {
        return Err(Error::usage(format!(
            "{}: holds the same experiment with other settings ({}); choose another folder with --out, or delete it",
            folder.display(),
            path.display()
        )));
    }
    Ok(())
}

fn empty(gpu: &Gpu, config: &LeaksConfig, parts: &Parts) -> Result<LeaksResults> {
    let sets = [
        ("target-train", &parts.target_train),
        ("target-test", &parts.target_test),
        ("shadow-train", &parts.shadow_train),
        ("shadow-test", &parts.shadow_test),
    ];
    let classes = |label: Label| -> Result<Classes> {
        let mut classes = Classes { names: label.of(sets[0].1)?.names.clone(), counts: Vec::new() };
        classes.counts = vec![0; classes.names.len()];
        for (_, set) in &sets {
            for (sum, count) in classes.counts.iter_mut().zip(label.of(*set)?.counts()) {
                *sum += count as u64;
            }
        }
        Ok(classes)
    };
    let near = crate::data::duplicates::near_duplicates(&parts.target_train, &parts.target_test);
    Ok(LeaksResults {
        schema: SCHEMA,
        experiment: "contrastive-leaks".into(),
        tool: env!("CARGO_PKG_NAME").into(),
        version: env!("CARGO_PKG_VERSION").into(),
        title: format!("What contrastive models leak: {}", parts.target_train.name),
        config: config.clone(),
        data: DataSummary {
            name: parts.target_train.name.clone(),
            image_size: Some([parts.target_train.height as u64, parts.target_train.width as u64]),
            content_hash: None,
            parts: sets
                .iter()
                .map(|(role, set)| DataPart {
                    role: role.to_string(),
                    count: set.len() as u64,
                    sha256: set.content_hash(),
                })
                .collect(),
            duplicates_removed: parts.duplicates,
            near_duplicates: Some(near as u64),
            files_skipped: 0,
        },
        task: classes(Label::Target)?,
        attribute: if parts.has_attribute() { classes(Label::Attribute)? } else { Classes::default() },
        subjects: Vec::new(),
        defences: Vec::new(),
        baselines: Vec::new(),
        blind: Vec::new(),
        adapter: adapter(gpu),
        wall_time_s: 0.0,
        stages: Vec::new(),
        warnings: Vec::new(),
    })
}
