//! `contraleak data`: what a data set holds, and a sheet of its images.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::{Global, output, progress};
use crate::Result;
use crate::data::info::ClassCount;
use crate::data::sheet::SheetRow;
use crate::data::{self, ImageSet, Info, Normalization, export_sheet};

/// Classes that the table names before it only counts.
const LISTED: usize = 20;

/// Look into a data set: counts, classes, hashes, sample images
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak data info cifar10:cifar-10-batches-bin#part=train
  contraleak data export synthetic-faces:count=40,size=32 --out sheet")]
pub struct Args {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand, Debug)]
enum DataCommand {
    Info(InfoArgs),
    Export(ExportArgs),
}

/// Count images, classes, attributes and duplicates; print image size and content hash
#[derive(clap::Args, Debug)]
#[command(after_help = SPEC_HELP)]
struct InfoArgs {
    /// Data set, as KIND:LOCATION[#OPTION=VALUE,…]
    spec: String,
}

/// Write a sheet of sample images, DIR/sheet.png: a row for each combination of labels
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak data export synthetic-faces:count=200,size=32 --out sheet
  contraleak data export fashion-mnist:data/fashion#part=test --out sheet --columns 16")]
struct ExportArgs {
    /// Data set, as KIND:LOCATION[#OPTION=VALUE,…] (see data info --help)
    spec: String,
    /// Folder for sheet.png; made if missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Images a row
    #[arg(long, value_name = "N", default_value_t = 10)]
    columns: usize,
}

const SPEC_HELP: &str = "Data sets:
  cifar10:DIR cifar100:DIR fashion-mnist:DIR mnist:DIR     [#part=train|test|all]
  stl10:DIR                                                [#part=train|test|unlabeled|all]
  tiny-imagenet:DIR                                        [#part=train|val|all]
  utkface:DIR                                              gender, race [#skip-bad=true]
  celeba:DIR#target=Male,attribute=Young+Smiling           A+B: 4 classes [part=train|valid|test|all]
  places365:DIR#subset=100,per-scene=400,subset-seed=0     indoor/outdoor, scene [or #list=FILE]
  folder:DIR                                               a folder a class [#skip-bad=true,alpha=white|drop]
  csv:FILE#target=COLUMN,attribute=COLUMN,where=COLUMN=VALUE  first column: image path relative to the CSV
  tensor:FILE.safetensors                                  images f32 [N,3,H,W] in 0..1, target, attribute i64 [N]
  synthetic-faces:count=N,size=S,seed=N,correlation=0..1   drawn on the spot
Options of all kinds, after '#': size=S, shuffle=SEED, take=A..B, unique=true
  crop=S (short side S, bicubic, then the middle S x S: CLIP), crop=S,short=R,filter=bicubic|bilinear
  quarter=1|2|3|4 (target-train, target-test, shadow-train, shadow-test of the pool), quarter-seed=SEED,
  quarters=torch (as He & Zhang's code cuts them), subset=N (images drawn before the cut)

Examples:
  contraleak data info synthetic-faces:count=100,size=32
  contraleak data info 'cifar10:cifar-10-batches-bin#part=train,shuffle=1,take=0..1000' --json
  contraleak data info 'celeba:celeba#attribute=Young+Smiling,subset=30000,quarter=1,size=96'";

#[derive(Serialize)]
struct Export<'a> {
    file: String,
    width: usize,
    height: usize,
    rows: &'a [SheetRow],
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.command {
        DataCommand::Info(args) => info(args, global),
        DataCommand::Export(args) => export(args, global),
    }
}

/// The data set of a SPEC, with a sign of life while it is read.
fn open(spec: &str) -> Result<ImageSet> {
    let spinner = progress::spinner(&format!("reading {spec}"));
    let set = data::open(spec);
    spinner.finish_and_clear();
    set
}

fn info(args: &InfoArgs, global: &Global) -> Result<()> {
    let set = open(&args.spec)?;
    let info = data::info(&set);
    if global.json { output::json(&info) } else { output::text(&info_text(&info)) }
}

fn export(args: &ExportArgs, global: &Global) -> Result<()> {
    let set = open(&args.spec)?;
    output::create_folder(&args.out)?;
    let path = args.out.join("sheet.png");
    let sheet = export_sheet(&set, &path, args.columns)?;
    let file = path.display().to_string();
    if global.json {
        return output::json(&Export { file, width: sheet.width, height: sheet.height, rows: &sheet.rows });
    }
    let mut text = format!("{file}: {}x{} pixels, {} rows\n", sheet.width, sheet.height, sheet.rows.len());
    for (number, row) in sheet.rows.iter().enumerate().filter(|(_, row)| !row.label.is_empty()) {
        text.push_str(&format!("  row {}: {}\n", number + 1, row.label));
    }
    output::text(&text)
}

fn info_text(info: &Info) -> String {
    let Normalization { mean, std } = info.normalization;
    let three = |v: [f32; 3]| format!("{:.4} {:.4} {:.4}", v[0], v[1], v[2]);
    let heading = format!("{}: {} images of {}x{}", info.name, info.images, info.width, info.height);
    let mut text = output::aligned(&[
        (&heading, String::new()),
        ("  exact duplicates", info.exact_duplicates.to_string()),
        ("  normalization", format!("mean {}, std {}", three(mean), three(std))),
        ("  content hash", info.content_hash.clone()),
        ("  source hash", info.source_hash.clone()),
    ]);
    for (kind, classes) in [("target", &info.target), ("attribute", &info.attribute)] {
        match classes {
            Some(classes) => text.push_str(&classes_text(kind, classes)),
            None => text.push_str(&format!("{kind}: none\n")),
        }
    }
    if let (Some(joint), Some(target), Some(attribute)) =
        (&info.target_by_attribute, &info.target, &info.attribute)
        && target.len() <= LISTED
        && attribute.len() <= LISTED
    {
        text.push_str(&joint_text(joint, target, attribute));
    }
    for note in &info.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

fn classes_text(kind: &str, classes: &[ClassCount]) -> String {
    let mut lines = vec![(format!("{kind}: {} classes", classes.len()), String::new())];
    lines.extend(classes.iter().take(LISTED).map(|c| (format!("  {}", c.name), c.images.to_string())));
    if classes.len() > LISTED {
        lines.push((format!("  and {} more", classes.len() - LISTED), String::new()));
    }
    let borrowed: Vec<(&str, String)> =
        lines.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    output::aligned(&borrowed)
}

/// Images of each target (rows) and attribute (columns).
fn joint_text(joint: &[Vec<usize>], target: &[ClassCount], attribute: &[ClassCount]) -> String {
    let first = target.iter().map(|class| class.name.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = attribute.iter().map(|class| class.name.chars().count().max(6)).collect();
    let mut text = format!("target by attribute\n  {:first$}", "");
    for (class, width) in attribute.iter().zip(&widths) {
        text.push_str(&format!("  {:>width$}", class.name));
    }
    for (class, counts) in target.iter().zip(joint) {
        text.push_str(&format!("\n  {:first$}", class.name));
        for (count, width) in counts.iter().zip(&widths) {
            text.push_str(&format!("  {count:>width$}"));
        }
    }
    text + "\n"
}
