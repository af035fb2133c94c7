//! The data SPEC of the command line: `KIND:LOCATION[#OPTION=VALUE,…]`.
//!
//! | kind | location | options of its own |
//! | --- | --- | --- |
//! | `cifar10:` `cifar100:` | folder of the binary version, or the one above it | `part=train\|test\|all` |
//! | `fashion-mnist:` `mnist:` | folder of the IDX files | `part=train\|test\|all` |
//! | `folder:` | folder with a folder a class | `alpha=white\|drop`, `skip-bad=true` |
//! | `csv:` | CSV file; its first column holds image paths relative to it | `target=COLUMN`, `attribute=COLUMN`, `where=COLUMN=VALUE`, `where=COLUMN!=VALUE` (repeatable), `alpha=`, `skip-bad=` |
//! | `tensor:` | safetensors file | |
//! | `synthetic-faces:` | none; options may stand here too | `count=N`, `seed=N`, `correlation=0..1` |
//!
//! Every kind: `size=S` (resize to S x S; the drawn size of synthetic faces), `shuffle=SEED`,
//! `take=A..B` (after the shuffle; `take=A..` and `take=..B` leave an end open).
//! In a location `%23` stands for `#`; in an option's value `%2C`, `%23`, `%3D`, `%21` and `%25` stand for
//! `,`, `#`, `=`, `!` and `%`.

use std::path::PathBuf;
use std::str::FromStr;

use super::decode::Alpha;
use super::faces::FacesOptions;
use super::problems::did_you_mean;
use crate::{Error, Result};

/// Kinds that can be read, in the order in which messages list them.
pub const KINDS: [&str; 8] =
    ["cifar10", "cifar100", "fashion-mnist", "mnist", "folder", "csv", "tensor", "synthetic-faces"];
const COMMON_OPTIONS: [&str; 3] = ["size", "shuffle", "take"];

/// Which official part of a data set is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    Train,
    Test,
    /// Train, then test.
    #[default]
    All,
}

impl Part {
    pub fn train(self) -> bool {
        self != Part::Test
    }
    pub fn test(self) -> bool {
        self != Part::Train
    }
}

/// Keeps the rows of a CSV whose `column` equals `value`, or differs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub column: String,
    pub value: String,
    pub equal: bool,
}

/// How image files are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageOptions {
    pub alpha: Alpha,
    /// Leaves out files that cannot be used, before anything is selected, instead of failing.
    pub skip_bad: bool,
}

/// Columns of a CSV data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CsvOptions {
    pub target: Option<String>,
    pub attribute: Option<String>,
    pub filters: Vec<Filter>,
    pub images: ImageOptions,
}

/// Where images come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Cifar10 { folder: PathBuf, part: Part },
    Cifar100 { folder: PathBuf, part: Part },
    FashionMnist { folder: PathBuf, part: Part },
    Mnist { folder: PathBuf, part: Part },
    Folder { folder: PathBuf, images: ImageOptions },
    Csv { file: PathBuf, options: CsvOptions },
    Tensor { file: PathBuf },
    SyntheticFaces(FacesOptions),
}

/// A parsed data SPEC.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub source: Source,
    /// Resize to `size` x `size`.
    pub size: Option<usize>,
    /// Seed of the shuffle before `take`; the data set's own order without it.
    pub shuffle: Option<u64>,
    /// First image and one past the last; an open end reaches to the end of the set.
    pub take: Option<(usize, Option<usize>)>,
    /// As it was written, for messages and reports.
    pub text: String,
}

impl FromStr for Spec {
    type Err = Error;

    /// # Errors
    /// [`Error::Usage`] naming the part that is not understood, what is allowed there and the nearest name.
    fn from_str(text: &str) -> Result<Spec> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        if !KINDS.contains(&kind) {
            return Err(Error::usage(format!(
                "data {text:?}: unknown kind {kind:?}; known kinds: {}{}",
                KINDS.map(|kind| format!("{kind}:")).join(" "),
                did_you_mean(kind, KINDS)
            )));
        }
        let (location, options) = rest.split_once('#').unwrap_or((rest, ""));
        let mut options = Options::split(text, kind, options)?;
        let source = if kind == "synthetic-faces" {
            options.pairs.splice(0..0, Options::split(text, kind, location)?.pairs);
            Source::SyntheticFaces(FacesOptions::default())
        } else {
            if location.is_empty() {
                return Err(options.wrong(format!("expected a path after \"{kind}:\", found none")));
            }
            source_of(kind, PathBuf::from(location.replace("%23", "#")))
        };
        options.apply(Spec { source, size: None, shuffle: None, take: None, text: text.to_string() })
    }
}

fn source_of(kind: &str, path: PathBuf) -> Source {
    let part = Part::default();
    match kind {
        "cifar10" => Source::Cifar10 { folder: path, part },
        "cifar100" => Source::Cifar100 { folder: path, part },
        "fashion-mnist" => Source::FashionMnist { folder: path, part },
        "mnist" => Source::Mnist { folder: path, part },
        "folder" => Source::Folder { folder: path, images: ImageOptions::default() },
        "csv" => Source::Csv { file: path, options: CsvOptions::default() },
        _ => Source::Tensor { file: path },
    }
}

impl Source {
    /// Names of the options that only this kind understands.
    fn options(&self) -> &'static [&'static str] {
        match self {
            Source::Cifar10 { .. }
            | Source::Cifar100 { .. }
            | Source::FashionMnist { .. }
            | Source::Mnist { .. } => &["part"],
            Source::Folder { .. } => &["alpha", "skip-bad"],
            Source::Csv { .. } => &["target", "attribute", "where", "alpha", "skip-bad"],
            Source::Tensor { .. } => &[],
            Source::SyntheticFaces(_) => &["count", "seed", "correlation"],
        }
    }

    fn image_options(&mut self) -> Option<&mut ImageOptions> {
        match self {
            Source::Folder { images, .. } => Some(images),
            Source::Csv { options, .. } => Some(&mut options.images),
            _ => None,
        }
    }
}

/// `NAME=VALUE` pairs of one SPEC.
struct Options<'a> {
    text: &'a str,
    kind: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Options<'a> {
    fn split(text: &'a str, kind: &'a str, options: &'a str) -> Result<Options<'a>> {
        let mut parsed = Options { text, kind, pairs: Vec::new() };
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                Some(pair) => parsed.pairs.push(pair),
                None => return Err(parsed.wrong(format!("expected NAME=VALUE, found {option:?}"))),
            }
        }
        Ok(parsed)
    }

    fn wrong(&self, problem: impl std::fmt::Display) -> Error {
        Error::usage(format!("data {:?}: {problem}", self.text))
    }

    fn apply(self, mut spec: Spec) -> Result<Spec> {
        let mut seen: Vec<&str> = Vec::new();
        for &(name, value) in &self.pairs {
            let known: Vec<&str> = spec.source.options().iter().chain(&COMMON_OPTIONS).copied().collect();
            if !known.contains(&name) {
                return Err(self.wrong(format!(
                    "unknown option {name:?}; {}: knows {}{}",
                    self.kind,
                    known.join(", "),
                    did_you_mean(name, known.iter().copied())
                )));
            }
            if name != "where" && seen.contains(&name) {
                return Err(self.wrong(format!("option {name:?} is given twice")));
            }
            seen.push(name);
            self.set(&mut spec, name, value)?;
        }
        if let Source::SyntheticFaces(faces) = &mut spec.source
            && let Some(size) = spec.size.take()
        {
            faces.size = size;
        }
        Ok(spec)
    }

    fn set(&self, spec: &mut Spec, name: &str, value: &str) -> Result<()> {
        match name {
            "size" => {
                let size: usize = self.number(name, value)?;
                if !(8..=4096).contains(&size) {
                    return Err(self.wrong(format!("expected size=8 to 4096, found size={size}")));
                }
                spec.size = Some(size);
            }
            "shuffle" => spec.shuffle = Some(self.number(name, value)?),
            "take" => spec.take = Some(self.range(value)?),
            "alpha" | "skip-bad" => {
                let Some(images) = spec.source.image_options() else { return Ok(()) };
                if name == "alpha" {
                    images.alpha =
                        self.choice(name, value, &[("white", Alpha::White), ("drop", Alpha::Drop)])?;
                } else {
                    images.skip_bad = self.choice(name, value, &[("true", true), ("false", false)])?;
                }
            }
            _ => self.set_own(&mut spec.source, name, value)?,
        }
        Ok(())
    }

    fn set_own(&self, source: &mut Source, name: &str, value: &str) -> Result<()> {
        match (source, name) {
            (
                Source::Cifar10 { part, .. }
                | Source::Cifar100 { part, .. }
                | Source::FashionMnist { part, .. }
                | Source::Mnist { part, .. },
                _,
            ) => {
                let parts = [("train", Part::Train), ("test", Part::Test), ("all", Part::All)];
                *part = self.choice(name, value, &parts)?;
            }
            (Source::Csv { options, .. }, "target") => options.target = Some(unescape(value)),
            (Source::Csv { options, .. }, "attribute") => options.attribute = Some(unescape(value)),
            (Source::Csv { options, .. }, _) => options.filters.push(self.filter(value)?),
            (Source::SyntheticFaces(faces), "count") => faces.count = self.number(name, value)?,
            (Source::SyntheticFaces(faces), "seed") => faces.seed = self.number(name, value)?,
            (Source::SyntheticFaces(faces), _) => faces.correlation = self.number(name, value)?,
            (Source::Folder { .. } | Source::Tensor { .. }, _) => {}
        }
        Ok(())
    }

    fn number<T: FromStr>(&self, name: &str, value: &str) -> Result<T> {
        value.parse().map_err(|_| {
            let wanted = if name == "correlation" { "a number from 0 to 1" } else { "a whole number" };
            self.wrong(format!("expected {wanted} after {name}=, found {value:?}"))
        })
    }

    fn choice<T: Copy>(&self, name: &str, value: &str, choices: &[(&str, T)]) -> Result<T> {
        choices.iter().find(|(choice, _)| *choice == value).map(|&(_, chosen)| chosen).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|&(choice, _)| choice).collect();
            let hint = did_you_mean(value, names.iter().copied());
            self.wrong(format!("expected {name}={}, found {value:?}{hint}", names.join("|")))
        })
    }

    fn range(&self, value: &str) -> Result<(usize, Option<usize>)> {
        let bounds = value.split_once("..").and_then(|(start, end)| {
            let start = if start.is_empty() { Some(0) } else { start.parse().ok() };
            let end = if end.is_empty() { Some(None) } else { end.parse().ok().map(Some) };
            Some((start?, end?))
        });
        match bounds {
            Some((start, end)) if end.is_none_or(|end| start < end) => Ok((start, end)),
            _ => Err(self.wrong(format!("expected take=A..B with A below B, found take={value}"))),
        }
    }

    fn filter(&self, value: &str) -> Result<Filter> {
        let Some((column, value)) = value.split_once('=') else {
            return Err(self
                .wrong(format!("expected where=COLUMN=VALUE or where=COLUMN!=VALUE, found where={value}")));
        };
        let (column, equal) = column.strip_suffix('!').map_or((column, true), |column| (column, false));
        Ok(Filter { column: unescape(column), value: unescape(value), equal })
    }
}

fn unescape(value: &str) -> String {
    let escapes = [("%2C", ","), ("%23", "#"), ("%3D", "="), ("%21", "!"), ("%25", "%")];
    escapes.iter().fold(value.to_string(), |text, (escape, meant)| text.replace(escape, meant))
}
