//! Reads a SPEC's text.

use std::path::PathBuf;
use std::str::FromStr;

use super::{CsvOptions, Filter, ImageOptions, KINDS, Part, Source, Spec};
use crate::data::celeba::{CelebaOptions, CelebaPart};
use crate::data::decode::Alpha;
use crate::data::faces::FacesOptions;
use crate::data::places365::{PlacesImages, published_per_scene};
use crate::data::problems::did_you_mean;
use crate::data::resize::{self, Fit};
use crate::data::select::{Quarter, QuarterName};
use crate::data::splits::Permutation;
use crate::data::stl10::Stl10Part;
use crate::{Error, Result};

const COMMON_OPTIONS: [&str; 11] = [
    "size",
    "unique",
    "shuffle",
    "take",
    "quarter",
    "quarter-seed",
    "quarters",
    "subset",
    "crop",
    "short",
    "filter",
];

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
        options.apply(Spec {
            source,
            fit: Fit::AsIs,
            unique: false,
            quarter: None,
            shuffle: None,
            take: None,
            text: text.to_string(),
        })
    }
}

fn source_of(kind: &str, path: PathBuf) -> Source {
    let part = Part::default();
    match kind {
        "cifar10" => Source::Cifar10 { folder: path, part },
        "cifar100" => Source::Cifar100 { folder: path, part },
        "stl10" => Source::Stl10 { folder: path, part: Stl10Part::default() },
        "tiny-imagenet" => Source::TinyImagenet { folder: path, part },
        "fashion-mnist" => Source::FashionMnist { folder: path, part },
        "mnist" => Source::Mnist { folder: path, part },
        "utkface" => Source::UtkFace { folder: path, images: ImageOptions::default() },
        "celeba" => Source::Celeba { folder: path, options: CelebaOptions::default() },
        "places365" => Source::Places365 { folder: path, images: PlacesImages::default() },
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
            | Source::Stl10 { .. }
            | Source::TinyImagenet { .. }
            | Source::FashionMnist { .. }
            | Source::Mnist { .. } => &["part"],
            Source::UtkFace { .. } => &["skip-bad"],
            Source::Celeba { .. } => &["target", "attribute", "part"],
            Source::Places365 { .. } => &["subset", "per-scene", "subset-seed", "list"],
            Source::Folder { .. } => &["alpha", "skip-bad"],
            Source::Csv { .. } => &["target", "attribute", "where", "alpha", "skip-bad"],
            Source::Tensor { .. } => &[],
            Source::SyntheticFaces(_) => &["count", "seed", "correlation"],
        }
    }

    fn image_options(&mut self) -> Option<&mut ImageOptions> {
        match self {
            Source::Folder { images, .. } | Source::UtkFace { images, .. } => Some(images),
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
            let own = spec.source.options();
            let common = COMMON_OPTIONS.iter().filter(|name| !own.contains(name));
            let known: Vec<&str> = own.iter().chain(common).copied().collect();
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
        let mut size = self.side("size")?;
        if let Source::SyntheticFaces(faces) = &mut spec.source
            && let Some(size) = size.take()
        {
            faces.size = size;
        }
        spec.fit = self.fit(size)?;
        if let Source::Places365 { images, .. } = &mut spec.source {
            *images = self.places_images()?;
        }
        spec.quarter = self.quarter(&spec.source)?;
        Ok(spec)
    }

    fn set(&self, spec: &mut Spec, name: &str, value: &str) -> Result<()> {
        match name {
            "unique" => spec.unique = self.choice(name, value, &[("true", true), ("false", false)])?,
            "shuffle" => spec.shuffle = Some(self.number(name, value)?),
            "take" => spec.take = Some(self.range(value)?),
            // Options that belong together are read together, whatever their order.
            "size" | "crop" | "short" | "filter" => {}
            "quarter" | "quarter-seed" | "quarters" | "subset" | "per-scene" | "subset-seed" | "list" => {}
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
            (Source::Stl10 { part, .. }, _) => {
                let parts = [
                    ("train", Stl10Part::Train),
                    ("test", Stl10Part::Test),
                    ("unlabeled", Stl10Part::Unlabeled),
                    ("all", Stl10Part::All),
                ];
                *part = self.choice(name, value, &parts)?;
            }
            (Source::TinyImagenet { part, .. }, _) => {
                let parts = [("train", Part::Train), ("val", Part::Test), ("all", Part::All)];
                *part = self.choice(name, value, &parts)?;
            }
            (Source::Celeba { options, .. }, "target") => options.target = unescape(value),
            (Source::Celeba { options, .. }, "attribute") => options.attribute = Some(unescape(value)),
            (Source::Celeba { options, .. }, _) => {
                let parts = [
                    ("train", CelebaPart::Train),
                    ("valid", CelebaPart::Valid),
                    ("test", CelebaPart::Test),
                    ("all", CelebaPart::All),
                ];
                options.part = self.choice(name, value, &parts)?;
            }
            (Source::Csv { options, .. }, "target") => options.target = Some(unescape(value)),
            (Source::Csv { options, .. }, "attribute") => options.attribute = Some(unescape(value)),
            (Source::Csv { options, .. }, _) => options.filters.push(self.filter(value)?),
            (Source::SyntheticFaces(faces), "count") => faces.count = self.number(name, value)?,
            (Source::SyntheticFaces(faces), "seed") => faces.seed = self.number(name, value)?,
            (Source::SyntheticFaces(faces), _) => faces.correlation = self.number(name, value)?,
            (
                Source::UtkFace { .. }
                | Source::Places365 { .. }
                | Source::Folder { .. }
                | Source::Tensor { .. },
                _,
            ) => {}
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn optional_number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.value(name).map(|value| self.number(name, value)).transpose()
    }

    /// Pixels on a side.
    fn side(&self, name: &str) -> Result<Option<usize>> {
        match self.optional_number::<usize>(name)? {
            Some(side) if !(8..=4096).contains(&side) => {
                Err(self.wrong(format!("expected {name}=8 to 4096, found {name}={side}")))
            }
            side => Ok(side),
        }
    }

    fn fit(&self, size: Option<usize>) -> Result<Fit> {
        let Some(side) = self.side("crop")? else {
            return match ["short", "filter"].into_iter().find(|name| self.value(name).is_some()) {
                Some(name) => Err(self.wrong(format!("{name}= needs crop=S, found none"))),
                None => Ok(size.map_or(Fit::AsIs, Fit::Stretch)),
            };
        };
        if size.is_some() {
            return Err(self.wrong("size= stretches images and crop= cuts them: expected one of the two"));
        }
        let short = self.side("short")?.unwrap_or(side);
        if short < side {
            return Err(self.wrong(format!("expected short= of at least crop={side}, found short={short}")));
        }
        let filter = match self.value("filter") {
            Some(value) => self.choice(
                "filter",
                value,
                &[("bicubic", resize::Filter::Bicubic), ("bilinear", resize::Filter::Bilinear)],
            )?,
            None => resize::Filter::default(),
        };
        Ok(Fit::Crop { side, short, filter })
    }

    fn quarter(&self, source: &Source) -> Result<Option<Quarter>> {
        let own_subset = source.options().contains(&"subset");
        let Some(number) = self.value("quarter") else {
            let alone = ["quarter-seed", "quarters", "subset"]
                .into_iter()
                .find(|name| self.value(name).is_some() && !(own_subset && *name == "subset"));
            return match alone {
                Some(name) => Err(self.wrong(format!("{name}= needs quarter=1|2|3|4, found none"))),
                None => Ok(None),
            };
        };
        let names = [
            ("1", QuarterName::TargetTrain),
            ("2", QuarterName::TargetTest),
            ("3", QuarterName::ShadowTrain),
            ("4", QuarterName::ShadowTest),
        ];
        let name = self.choice("quarter", number, &names)?;
        let torch = match self.value("quarters") {
            Some(value) => self.choice("quarters", value, &[("seeded", false), ("torch", true)])?,
            None => false,
        };
        let seed = self.optional_number("quarter-seed")?;
        if torch && seed.is_some() {
            return Err(
                self.wrong("quarters=torch is the released code's permutation and takes no quarter-seed=")
            );
        }
        let permutation =
            if torch { Permutation::TorchSplits } else { Permutation::Seeded(seed.unwrap_or_default()) };
        let subset = if own_subset { None } else { self.optional_number("subset")? };
        Ok(Some(Quarter { name, permutation, subset }))
    }

    fn places_images(&self) -> Result<PlacesImages> {
        if let Some(file) = self.value("list") {
            return match ["subset", "per-scene", "subset-seed"]
                .into_iter()
                .find(|name| self.value(name).is_some())
            {
                Some(name) => Err(self.wrong(format!("list= names the images itself and takes no {name}="))),
                None => Ok(PlacesImages::Listed(PathBuf::from(unescape(file)))),
            };
        }
        let scenes: usize = self.optional_number("subset")?.unwrap_or(365);
        let Some(per_scene) = self.optional_number("per-scene")?.or(published_per_scene(scenes)) else {
            return Err(self.wrong(format!(
                "subset={scenes} is none of the published subsets (365, 100, 50, 20) and needs per-scene=N"
            )));
        };
        if scenes == 0 || per_scene == 0 {
            return Err(self.wrong("expected subset= and per-scene= of at least 1, found 0"));
        }
        let seed = self.optional_number("subset-seed")?.unwrap_or_default();
        Ok(PlacesImages::Drawn { scenes, per_scene, seed })
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
