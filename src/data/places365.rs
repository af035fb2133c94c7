//! Places365: photographs of scenes, indoor or outdoor. Subsets of scenes with a number of images each are
//! drawn by a seed, or given as a list.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::decode::ImageFile;
use super::file_set::{FileSet, LabelledEntry, PublishedFiles, stays_inside};
use super::missing::{expected_files, expected_folder};
use super::problems::{Problem, Problems, did_you_mean, on_line};
use super::spec::ImageOptions;
use super::splits::shuffled;
use super::text::read_text;
use crate::files::write_atomic;
use crate::{Error, Result};

const CATEGORIES: &str = "categories_places365.txt";
const INDOOR_OUTDOOR: &str = "IO_places365.txt";
const TRAIN: &str = "places365_train_standard.txt";
const LARGEST_SCENE: u32 = 364;
/// Permutations of the subset seed: indoor scenes, outdoor scenes, then the images of scene s at `IMAGES + s`.
/// Splits and shuffles use those below.
const INDOOR: u32 = 3;
const OUTDOOR: u32 = 4;
const IMAGES: u32 = 5;

/// Which images of Places365 are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlacesImages {
    /// `scenes` scenes drawn by `seed`, half of them indoor (or all there are), and `per_scene` training images
    /// of each.
    Drawn { scenes: usize, per_scene: usize, seed: u64 },
    /// The images of a list, `path scene io` a line, as [`write_list`] writes it.
    Listed(PathBuf),
}

impl Default for PlacesImages {
    fn default() -> PlacesImages {
        PlacesImages::Drawn { scenes: 365, per_scene: 200, seed: 0 }
    }
}

/// Images a scene of the published subsets (He & Zhang, CCS 2021): 365 x 200, 100 x 400, 50 x 800, 20 x 2,000.
pub fn published_per_scene(scenes: usize) -> Option<usize> {
    [(365, 200), (100, 400), (50, 800), (20, 2_000)]
        .into_iter()
        .find_map(|(published, images)| (published == scenes).then_some(images))
}

/// One image of a subset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacesImage {
    /// As in the published list, `/a/airfield/00000001.jpg`.
    pub path: String,
    /// Class of `categories_places365.txt`.
    pub scene: u32,
    pub outdoor: bool,
    /// `FILE:LINE` that names it.
    pub place: String,
}

/// The scenes of the category file.
struct Scenes {
    names: BTreeMap<u32, String>,
    numbers: BTreeMap<String, u32>,
}

/// Lists the images of a subset: indoor (0) or outdoor (1) is the target, the scene the attribute,
/// numbered from 0 in ascending order of the scenes in the subset. Images are in ascending order of scenes, then
/// in the order of the published list; a supplied list keeps its own order.
///
/// # Errors
/// [`Error::Data`] naming file and line: an unknown category, a class outside 0 to 364 or other than the path's
/// category, an indoor/outdoor code other than 1 and 2, too few scenes or images for the subset, images that are
/// absent. [`Error::Usage`] for an odd number of scenes.
pub fn files(folder: &Path, images: &PlacesImages) -> Result<FileSet> {
    let (scenes, hash) = scenes(folder)?;
    let chosen = chosen_of(folder, images, &scenes)?;
    let data = expected_folder(
        folder,
        &[folder.join("data_256_standard"), folder.join("data_256")],
        "data_256_standard or data_256",
    )?;
    let present: BTreeSet<u32> = chosen.iter().map(|image| image.scene).collect();
    let number: BTreeMap<u32, u32> =
        present.iter().zip(0..).map(|(&scene, number)| (scene, number)).collect();
    let entries = chosen.into_iter().map(|image| LabelledEntry {
        file: ImageFile { path: data.join(image.path.trim_start_matches('/')), named_at: Some(image.place) },
        id: image.path,
        target: u32::from(image.outdoor),
        attribute: number[&image.scene],
    });
    Ok(PublishedFiles {
        name: "places365",
        entries: entries.collect(),
        target: vec!["indoor".into(), "outdoor".into()],
        attribute: Some(present.iter().map(|scene| short(&scenes.names[scene])).collect()),
        hashes: vec![hash],
        images: ImageOptions::default(),
        notes: Vec::new(),
    }
    .into_file_set())
}

/// The images of a subset, in the order in which [`files`] hands them over, without decoding any. Errors as there.
pub fn chosen(folder: &Path, images: &PlacesImages) -> Result<Vec<PlacesImage>> {
    chosen_of(folder, images, &scenes(folder)?.0)
}

/// Writes `path scene io` a line (`/a/airfield/00000001.jpg 0 2`), whole or not at all; `list=FILE` reads it.
pub fn write_list(file: &Path, images: &[PlacesImage]) -> Result<()> {
    write_atomic(file, |out| {
        images.iter().try_for_each(|image| {
            writeln!(out, "{} {} {}", image.path, image.scene, if image.outdoor { 2 } else { 1 })
        })
    })
}

fn chosen_of(folder: &Path, images: &PlacesImages, scenes: &Scenes) -> Result<Vec<PlacesImage>> {
    match images {
        PlacesImages::Drawn { scenes: count, per_scene, seed } => {
            draw(folder, scenes, *count, *per_scene, *seed)
        }
        PlacesImages::Listed(file) => listed(file, scenes),
    }
}

/// `/a/airfield` as `airfield`.
fn short(category: &str) -> String {
    category.splitn(3, '/').last().unwrap_or(category).to_string()
}

fn scenes(folder: &Path) -> Result<(Scenes, [u8; 32])> {
    let files = expected_files(folder, &[folder.to_path_buf()], &[CATEGORIES.into()], &[""])?;
    let text = read_text(&files[0])?;
    let mut scenes = Scenes { names: BTreeMap::new(), numbers: BTreeMap::new() };
    let mut problems = Problems::default();
    for (line, row) in text.lines() {
        let place = on_line(&files[0], line);
        match fields::<2>(row, "category and class").and_then(|[name, class]| Ok((name, class_index(class)?)))
        {
            Ok((name, class)) => {
                let again = scenes.names.insert(class, name.into()).is_some();
                if scenes.numbers.insert(name.into(), class).is_some() || again {
                    problems.push(Problem::new(
                        place,
                        format!("expected each category and class once, found {row:?} again"),
                    ));
                }
            }
            Err(problem) => problems.push(Problem::new(place, problem)),
        }
    }
    problems.into_result()?;
    if scenes.names.is_empty() {
        return Err(Error::data(files[0].display(), "expected categories, found none"));
    }
    Ok((scenes, text.hash))
}

impl Scenes {
    fn category(&self, name: &str) -> Result<u32, String> {
        self.numbers.get(name).copied().ok_or_else(|| {
            let hint = did_you_mean(name, self.numbers.keys().map(String::as_str));
            format!("expected a category of {CATEGORIES}, found {name:?}{hint}")
        })
    }

    /// Class index of a list, one that the category file holds.
    fn class(&self, text: &str) -> Result<u32, String> {
        let class = class_index(text)?;
        if !self.names.contains_key(&class) {
            return Err(format!("expected a class of {CATEGORIES}, found {class}"));
        }
        Ok(class)
    }
}

fn fields<'a, const N: usize>(row: &'a str, wanted: &str) -> Result<[&'a str; N], String> {
    let fields: Vec<&str> = row.split_ascii_whitespace().collect();
    fields.try_into().map_err(|fields: Vec<&str>| {
        format!("expected {N} fields ({wanted}), found {}: {row:?}", fields.len())
    })
}

fn class_index(text: &str) -> Result<u32, String> {
    let class = text.parse().ok().filter(|class| *class <= LARGEST_SCENE);
    class.ok_or_else(|| format!("expected a class from 0 to {LARGEST_SCENE}, found {text:?}"))
}

fn outdoor(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(false),
        "2" => Ok(true),
        other => Err(format!("expected 1 (indoor) or 2 (outdoor), found {other:?}")),
    }
}

fn inside(path: &str) -> Result<&str, String> {
    if stays_inside(path.trim_start_matches('/')) {
        return Ok(path);
    }
    Err(format!("expected an image path below the data folder, found {path:?}"))
}

/// Whether each scene is outdoors.
fn indoor_outdoor(file: &Path, scenes: &Scenes) -> Result<BTreeMap<u32, bool>> {
    let mut codes = BTreeMap::new();
    let mut problems = Problems::default();
    for (line, row) in read_text(file)?.lines() {
        let parsed = fields::<2>(row, "category and code")
            .and_then(|[name, code]| Ok((scenes.category(name)?, outdoor(code)?)));
        match parsed {
            Ok((scene, outdoor)) => {
                codes.insert(scene, outdoor);
            }
            Err(problem) => problems.push(Problem::new(on_line(file, line), problem)),
        }
    }
    for (_, name) in scenes.names.iter().filter(|(scene, _)| !codes.contains_key(scene)) {
        problems
            .push(Problem::new(file.display(), format!("expected a line for category {name}, found none")));
    }
    problems.into_result()?;
    Ok(codes)
}

fn draw(
    folder: &Path,
    scenes: &Scenes,
    count: usize,
    per_scene: usize,
    seed: u64,
) -> Result<Vec<PlacesImage>> {
    let names = [INDOOR_OUTDOOR.to_string(), TRAIN.to_string()];
    let files = expected_files(folder, &[folder.to_path_buf()], &names, &[""])?;
    let codes = indoor_outdoor(&files[0], scenes)?;
    let drawn = draw_scenes(&codes, count, seed)?;

    let train = read_text(&files[1])?;
    let mut images: BTreeMap<u32, Vec<(usize, &str)>> =
        drawn.iter().map(|&scene| (scene, Vec::new())).collect();
    let mut problems = Problems::default();
    for (line, row) in train.lines() {
        match train_image(row, scenes) {
            Ok((path, scene)) => {
                if let Some(images) = images.get_mut(&scene) {
                    images.push((line, path));
                }
            }
            Err(problem) => problems.push(Problem::new(on_line(&files[1], line), problem)),
        }
    }
    problems.into_result()?;

    let mut chosen = Vec::new();
    for (scene, images) in images {
        if images.len() < per_scene {
            return Err(Error::data(
                files[1].display(),
                format!(
                    "expected at least {per_scene} images of {} for per-scene={per_scene}, found {}",
                    scenes.names[&scene],
                    images.len()
                ),
            ));
        }
        let mut picked = shuffled(images.len(), seed, IMAGES + scene)?;
        picked.truncate(per_scene);
        picked.sort_unstable();
        chosen.extend(picked.into_iter().map(|index| PlacesImage {
            path: images[index].1.to_string(),
            scene,
            outdoor: codes[&scene],
            place: on_line(&files[1], images[index].0),
        }));
    }
    Ok(chosen)
}

/// Scenes of a subset in ascending order: all there are, or half indoor and half outdoor.
fn draw_scenes(codes: &BTreeMap<u32, bool>, count: usize, seed: u64) -> Result<Vec<u32>> {
    if count == codes.len() {
        return Ok(codes.keys().copied().collect());
    }
    if !count.is_multiple_of(2) {
        return Err(Error::usage(format!(
            "places365: expected subset={} (all scenes) or an even number, half indoor and half outdoor, found \
             subset={count}",
            codes.len()
        )));
    }
    let mut drawn = Vec::new();
    for (outdoor, kind, number) in [(false, "indoor", INDOOR), (true, "outdoor", OUTDOOR)] {
        let of_kind: Vec<u32> =
            codes.iter().filter(|(_, code)| **code == outdoor).map(|(scene, _)| *scene).collect();
        if of_kind.len() < count / 2 {
            return Err(Error::data(
                "places365",
                format!(
                    "expected at least {} {kind} scenes for subset={count}, found {}",
                    count / 2,
                    of_kind.len()
                ),
            ));
        }
        let order = shuffled(of_kind.len(), seed, number)?;
        drawn.extend(order[..count / 2].iter().map(|&index| of_kind[index]));
    }
    drawn.sort_unstable();
    Ok(drawn)
}

/// Path and scene of a line of the training list.
fn train_image<'a>(row: &'a str, scenes: &Scenes) -> Result<(&'a str, u32), String> {
    let [path, class] = fields::<2>(row, "path and class")?;
    let category = path.rsplit_once('/').map_or("", |(category, _)| category);
    let scene = scenes.category(category)?;
    let class = class_index(class)?;
    if class != scene {
        return Err(format!("expected class {scene} of {category}, found {class}"));
    }
    Ok((inside(path)?, scene))
}

fn listed(file: &Path, scenes: &Scenes) -> Result<Vec<PlacesImage>> {
    let mut images = Vec::new();
    let mut problems = Problems::default();
    let mut first_line: BTreeMap<String, usize> = BTreeMap::new();
    for (line, row) in read_text(file)?.lines() {
        let place = on_line(file, line);
        let parsed = fields::<3>(row, "path, scene and io")
            .and_then(|[path, scene, io]| Ok((inside(path)?, scenes.class(scene)?, outdoor(io)?)));
        match parsed {
            Ok((path, scene, outdoor)) => match first_line.insert(path.to_string(), line) {
                Some(first) => problems.push(Problem::new(
                    place,
                    format!("expected each image once, found {path:?} again (first on line {first})"),
                )),
                None => images.push(PlacesImage { path: path.to_string(), scene, outdoor, place }),
            },
            Err(problem) => problems.push(Problem::new(place, problem)),
        }
    }
    problems.into_result()?;
    if images.is_empty() {
        return Err(Error::data(file.display(), "expected lines of path, scene and io, found none"));
    }
    Ok(images)
}
