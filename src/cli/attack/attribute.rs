//! `contraleak attack attribute`: a sensitive attribute from embeddings.

use std::path::PathBuf;

use crate::attack::attribute::{AttributeFinding, AttributeSettings};
use crate::augment::Recipe;
use crate::cli::encoder_options::EncoderOptions;
use crate::cli::{Global, interrupt, output, progress};
use crate::data;
use crate::experiment::attribute::AttributeJob;
use crate::experiment::load::load_encoder;
use crate::experiment::report::{decimal, interval_text};
use crate::files::write_bytes_atomic;
use crate::metrics::Interval;
use crate::{Error, Result};

/// Attribute inference (CCS 2021): does an image's embedding tell a sensitive attribute?
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  F=synthetic-faces:count=2000,size=32#shuffle=1
  contraleak attack attribute --encoder runs/target/encoder.safetensors --aux $F,take=0..1000 \\
    --test $F,take=1000..2000 --out runs/attribute

The auxiliary images are the attacker's own, with their attribute; the test images are those whose attribute is
inferred. Leaves results.json, table.csv and confusion.csv in the folder; without --out the table is only printed
(--json: as one JSON object).")]
pub struct Args {
    /// The attacked encoder, safetensors
    #[arg(long, value_name = "FILE")]
    encoder: PathBuf,
    /// Images whose attribute the attacker knows
    #[arg(long, value_name = "SPEC")]
    aux: String,
    /// Images whose attribute is inferred
    #[arg(long, value_name = "SPEC")]
    test: String,
    /// Name of the auxiliary set in the results, e.g. shadow-train or target-train
    #[arg(long, default_value = "aux", value_name = "NAME")]
    aux_name: String,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Share of the auxiliary set that is used, after a shuffle
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    ratio: f64,
    /// Also attack the mean embedding of so many random views of each image
    #[arg(long, value_name = "N")]
    views: Option<usize>,
    /// Recipe of the views
    #[arg(long, default_value = "moco-cifar", value_name = "NAME")]
    augment: String,
    /// Also attack through a map into the space of this encoder, your own, trained without censoring
    #[arg(long, value_name = "FILE")]
    decensor: Option<PathBuf>,
    /// Epochs of the published network
    #[arg(long, default_value_t = 100, value_name = "N")]
    epochs: u64,
    /// Widths of the adaptive networks; none leaves them out
    #[arg(long, value_delimiter = ',', default_value = "64,256,1024", value_name = "LIST")]
    widths: Vec<String>,
    /// Epochs of the adaptive networks
    #[arg(long, default_value_t = 50, value_name = "N")]
    adaptive_epochs: u64,
    /// Side of the small images that the pixel baselines see; 0 leaves them out
    #[arg(long, default_value_t = 16, value_name = "PIXELS")]
    pixel_side: usize,
    /// Runs of the shuffled-labels control
    #[arg(long, default_value_t = 5, value_name = "N")]
    shuffles: u32,
    /// Published artefacts to reproduce: relu (behind the logits), flips (random mirrors while embedding)
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    compat: Vec<String>,
    #[command(flatten)]
    encoder_options: EncoderOptions,
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    let (settings, flips) = settings(args)?;
    let hints = args.encoder_options.hints()?;
    let recipe = Recipe::named(&args.augment)?;
    if args.views.is_some() && recipe.crop.is_none() {
        return Err(Error::usage(format!(
            "{}: its views are all alike; choose a random recipe such as moco-cifar",
            args.augment
        )));
    }
    if args.views == Some(0) {
        return Err(Error::usage("views: expected at least 1 view of each image, found 0"));
    }
    if let Some(folder) = &args.out {
        output::check_folder(folder)?;
    }
    let (aux, test) = (data::open(&args.aux)?, data::open(&args.test)?);
    if let Some(id) = shared(&aux, &test) {
        return Err(Error::usage(format!(
            "--aux and --test overlap: both hold the image {id}; use disjoint parts, e.g. #shuffle=1,take=0..500 and #shuffle=1,take=500..1000"
        )));
    }
    let gpu = global.open_gpu()?;
    let side = aux.width.max(aux.height);
    let encoder = load_encoder(&gpu, &args.encoder, "target", side, &hints)?;
    let own = args.decensor.as_ref();
    let own = own.map(|path| load_encoder(&gpu, path, "uncensored", side, &hints)).transpose()?;
    let job = AttributeJob {
        encoder: &encoder,
        aux: &aux,
        auxiliary: &args.aux_name,
        test: &test,
        views: args.views.map(|views| (views, recipe)),
        uncensored: own.as_ref(),
        pixel_side: (args.pixel_side > 0).then_some(args.pixel_side),
        flips,
        settings,
        seed: args.seed,
    };
    let spinner = progress::spinner("attribute inference");
    let finding = job.run(&gpu, &mut |what| {
        spinner.set_message(what.to_string());
        interrupt::requested()
    })?;
    spinner.finish_and_clear();
    if let Some(folder) = &args.out {
        output::create_folder(folder)?;
        let results =
            serde_json::to_string_pretty(&finding).map_err(|error| Error::data("results.json", error))?;
        write_bytes_atomic(folder.join("results.json"), results.as_bytes())?;
        write_bytes_atomic(folder.join("table.csv"), csv(&finding).as_bytes())?;
        write_bytes_atomic(folder.join("confusion.csv"), confusion(&finding).as_bytes())?;
    }
    if global.json {
        return output::json(&finding);
    }
    output::text(&table(&finding))
}

/// An image that both sets hold.
fn shared(a: &data::ImageSet, b: &data::ImageSet) -> Option<String> {
    let known: std::collections::BTreeSet<[u8; 32]> = a.pixel_hashes().into_iter().collect();
    let found = b.pixel_hashes().iter().position(|hash| known.contains(hash))?;
    Some(b.ids[found].clone())
}

fn settings(args: &Args) -> Result<(AttributeSettings, bool)> {
    let mut settings = AttributeSettings { ratio: args.ratio, shuffles: args.shuffles, ..Default::default() };
    for (name, epochs) in [("epochs", args.epochs), ("adaptive-epochs", args.adaptive_epochs)] {
        if epochs == 0 {
            return Err(Error::usage(format!("{name}: expected at least 1, found 0")));
        }
    }
    settings.published.epochs = args.epochs;
    settings.adaptive.epochs = args.adaptive_epochs;
    settings.adaptive.widths = match &args.widths[..] {
        [none] if none == "none" => Vec::new(),
        widths => widths.iter().map(|width| width_of(width)).collect::<Result<_>>()?,
    };
    let mut flips = false;
    for name in &args.compat {
        match name.as_str() {
            "relu" => settings.published.final_relu = true,
            "flips" => flips = true,
            _ => return Err(Error::unknown("compat switch", name, &["relu", "flips"])),
        }
    }
    if matches!(args.shuffles, 1 | 2) {
        return Err(Error::usage(format!(
            "shuffles: expected 0 or at least 3 runs, found {}; fewer say nothing about their mean",
            args.shuffles
        )));
    }
    settings.used(1)?;
    Ok((settings, flips))
}

fn width_of(text: &str) -> Result<usize> {
    text.parse()
        .ok()
        .filter(|width| *width > 0)
        .ok_or_else(|| Error::usage(format!("widths: expected numbers above 0, or none, found {text:?}")))
}

fn optional(value: Option<f64>) -> String {
    value.map_or("–".into(), decimal)
}

/// One line an attacker or baseline.
fn table(finding: &AttributeFinding) -> String {
    let mut lines = vec![
        ["", "accuracy", "95 % interval", "balanced", "macro-F1", "AUC", "top 1 %", "advantage"]
            .map(String::from),
    ];
    for baseline in &finding.baselines {
        let metrics = baseline.metrics.as_ref();
        lines.push([
            baseline.title.clone(),
            decimal(baseline.accuracy.value),
            baseline.accuracy.interval.map_or(String::new(), |i| interval_text(&i, decimal)),
            optional(metrics.map(|m| m.balanced_accuracy.value)),
            optional(metrics.map(|m| m.macro_f1.value)),
            optional(metrics.and_then(|m| m.auc).map(|a| a.value)),
            optional(metrics.and_then(|m| m.confident.first()).map(|c| c.value.value)),
            String::new(),
        ]);
    }
    for attacker in &finding.attackers {
        let m = &attacker.metrics;
        let Interval { lower, upper, .. } = attacker.advantage.interval;
        lines.push([
            attacker.title.clone(),
            decimal(m.accuracy.value),
            interval_text(&m.accuracy.interval, decimal),
            decimal(m.balanced_accuracy.value),
            decimal(m.macro_f1.value),
            optional(m.auc.map(|a| a.value)),
            optional(m.confident.first().map(|c| c.value.value)),
            format!("{:+.3} ({lower:+.3} to {upper:+.3})", attacker.advantage.value),
        ]);
    }
    let mut out = format!(
        "{} classes, {} auxiliary images ({}), {} test images; advantage over {}\n\n",
        finding.classes,
        finding.auxiliary_samples,
        finding.auxiliary,
        finding.test_samples,
        finding.advantage_over
    );
    out.push_str(&output::columns(&lines));
    let runs = &finding.shuffled_labels.runs;
    if !runs.is_empty() {
        let accuracies: Vec<String> = runs
            .iter()
            .map(|run| format!("{} (expected {})", decimal(run.accuracy.value), decimal(run.expected)))
            .collect();
        let verdict =
            if finding.shuffled_labels.at_chance == Some(true) { "at chance" } else { "NOT at chance" };
        out.push_str(&format!("\ncontrol, shuffled labels: {verdict}: {}\n", accuracies.join(", ")));
    }
    if let Some(map) = &finding.decensoring {
        out.push_str(&format!(
            "de-censoring map: explains {} of the uncensored embeddings' variance\n",
            decimal(map.explained)
        ));
    }
    for warning in &finding.warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    out
}

/// The table for other programs.
fn csv(finding: &AttributeFinding) -> String {
    let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
    let mut out = String::from(
        "kind,id,accuracy,accuracy_lower,accuracy_upper,balanced_accuracy,macro_f1,auc,training_accuracy,advantage,advantage_lower,advantage_upper\n",
    );
    for b in &finding.baselines {
        let (m, interval) = (b.metrics.as_ref(), b.accuracy.interval);
        let cells = [
            Some(b.accuracy.value),
            interval.map(|i| i.lower),
            interval.map(|i| i.upper),
            m.map(|m| m.balanced_accuracy.value),
            m.map(|m| m.macro_f1.value),
            m.and_then(|m| m.auc).map(|a| a.value),
        ]
        .map(number);
        out.push_str(&format!("baseline,{},{},,,,\n", b.id, cells.join(",")));
    }
    for a in &finding.attackers {
        let (m, gain) = (&a.metrics, &a.advantage);
        let cells = [
            Some(m.accuracy.value),
            Some(m.accuracy.interval.lower),
            Some(m.accuracy.interval.upper),
            Some(m.balanced_accuracy.value),
            Some(m.macro_f1.value),
            m.auc.map(|a| a.value),
            Some(a.training_accuracy),
            Some(gain.value),
            Some(gain.interval.lower),
            Some(gain.interval.upper),
        ]
        .map(number);
        out.push_str(&format!("attacker,{},{}\n", a.id, cells.join(",")));
    }
    out
}

/// Confusion counts of every attacker, a line a cell.
fn confusion(finding: &AttributeFinding) -> String {
    let mut out = String::from("attacker,class,prediction,count\n");
    for attacker in &finding.attackers {
        for (class, row) in attacker.metrics.confusion.counts.iter().enumerate() {
            for (prediction, count) in row.iter().enumerate() {
                out.push_str(&format!("{},{class},{prediction},{count}\n", attacker.id));
            }
        }
    }
    out
}
