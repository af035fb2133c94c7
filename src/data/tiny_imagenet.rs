//! Tiny-ImageNet: 64x64 JPEG files, a folder a class for training and an annotation file for validation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::decode::ImageFile;
use super::file_set::{FileSet, LabelledEntry, PublishedFiles};
use super::folder::children;
use super::missing::expected_files;
use super::problems::{Problem, Problems, on_line};
use super::spec::{ImageOptions, Part};
use super::text::{Text, read_text};
use crate::{Error, Result};

/// Lists the images of `folder` or `folder/tiny-imagenet-200`: train in the order of `wnids.txt`
/// and then of the images' numbers, after it validation in the order of its annotations
/// ([`Part::Test`] is the validation part). Class names come from `words.txt` where it exists.
///
/// # Errors
/// [`Error::Data`] naming file and line: an unknown class id, an annotation without 6 fields, an image
/// listed twice or listed but absent, a class folder that is missing or empty, an image with another name
/// than `<wnid>_<number>.JPEG`.
pub fn files(folder: &Path, part: Part) -> Result<FileSet> {
    let mut names = vec!["wnids.txt".to_string()];
    if part.test() {
        names.push("val/val_annotations.txt".into());
    }
    let folders = [folder.join("tiny-imagenet-200"), folder.to_path_buf()];
    let files = expected_files(folder, &folders, &names, &[""])?;
    let root = files[0].parent().unwrap_or(folder);
    let wnids = read_text(&files[0])?;
    let classes = class_ids(&files[0], &wnids)?;
    let mut hashes = vec![wnids.hash];
    let mut entries = Vec::new();
    if part.train() {
        train(root, &files[0], &classes, &mut entries)?;
    }
    if let Some(annotations) = files.get(1) {
        let text = read_text(annotations)?;
        validation(root, annotations, &text, &classes, &mut entries)?;
        hashes.push(text.hash);
    }
    Ok(PublishedFiles {
        name: "tiny-imagenet",
        entries,
        target: class_names(root, &classes)?,
        attribute: None,
        hashes,
        images: ImageOptions::default(),
        notes: Vec::new(),
    }
    .into_file_set())
}

/// Class id and the line that names it, in class order.
fn class_ids<'a>(file: &Path, wnids: &'a Text) -> Result<Vec<(&'a str, usize)>> {
    let mut classes: Vec<(&str, usize)> = Vec::new();
    let mut known = BTreeSet::new();
    let mut problems = Problems::default();
    for (line, text) in wnids.lines() {
        let id = text.trim();
        if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) || !known.insert(id) {
            problems.push(Problem::new(
                on_line(file, line),
                format!("expected a class id (wnid) that stands there once, found {id:?}"),
            ));
        }
        classes.push((id, line));
    }
    problems.into_result()?;
    if classes.is_empty() {
        return Err(Error::data(file.display(), "expected class ids (wnids), one a line, found none"));
    }
    Ok(classes)
}

fn class_names(root: &Path, classes: &[(&str, usize)]) -> Result<Vec<String>> {
    let file = root.join("words.txt");
    let words = if file.is_file() { read_text(&file)?.text } else { String::new() };
    let names: BTreeMap<&str, &str> = words.lines().filter_map(|line| line.split_once('\t')).collect();
    Ok(classes.iter().map(|(id, _)| names.get(id).map_or(*id, |name| name.trim()).to_string()).collect())
}

fn train(
    root: &Path,
    wnids: &Path,
    classes: &[(&str, usize)],
    entries: &mut Vec<LabelledEntry>,
) -> Result<()> {
    let mut problems = Problems::default();
    for (class, (id, line)) in classes.iter().enumerate() {
        let below = format!("train/{id}/images");
        let folder = root.join(&below);
        if !folder.is_dir() {
            problems.push(Problem::new(
                absolute(&folder).display(),
                format!("expected the folder of class {id} ({}), found none", on_line(wnids, *line)),
            ));
            continue;
        }
        let mut images: Vec<(u64, String)> = Vec::new();
        for (name, _) in children(&folder)? {
            let number = name.strip_prefix(id).and_then(|rest| rest.strip_prefix('_'));
            let number = number.and_then(|rest| rest.strip_suffix(".JPEG")).and_then(|k| k.parse().ok());
            match number {
                Some(number) => images.push((number, name)),
                None => problems.push(Problem::new(
                    folder.join(&name).display(),
                    format!("expected an image named {id}_<number>.JPEG, found {name:?}"),
                )),
            }
        }
        images.sort_unstable();
        if images.is_empty() {
            problems.push(Problem::new(folder.display(), "expected images in this class folder, found none"));
        }
        check_boxes(&root.join(format!("train/{id}/{id}_boxes.txt")), &folder, &images, &mut problems)?;
        entries.extend(images.into_iter().map(|(_, name)| LabelledEntry {
            file: ImageFile { path: folder.join(&name), named_at: None },
            id: format!("{below}/{name}"),
            target: class as u32,
            attribute: 0,
        }));
    }
    problems.into_result()
}

/// The boxes are not used, but an image that they list and that is absent tells of an incomplete copy.
fn check_boxes(file: &Path, folder: &Path, images: &[(u64, String)], problems: &mut Problems) -> Result<()> {
    if !file.is_file() {
        return Ok(());
    }
    let present: BTreeSet<&str> = images.iter().map(|(_, name)| name.as_str()).collect();
    for (line, text) in read_text(file)?.lines() {
        let name = text.split('\t').next().unwrap_or(text).trim();
        if !present.contains(name) {
            problems.push(absent(file, line, folder, name));
        }
    }
    Ok(())
}

fn validation(
    root: &Path,
    file: &Path,
    text: &Text,
    classes: &[(&str, usize)],
    entries: &mut Vec<LabelledEntry>,
) -> Result<()> {
    let folder = root.join("val/images");
    if !folder.is_dir() {
        return Err(Error::data(
            absolute(&folder).display(),
            format!("expected the folder of the images that {} lists, found none", file.display()),
        ));
    }
    let listed = children(&folder)?;
    let present: BTreeSet<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    let number: BTreeMap<&str, u32> =
        classes.iter().enumerate().map(|(class, (id, _))| (*id, class as u32)).collect();
    let mut first_line: BTreeMap<&str, usize> = BTreeMap::new();
    let mut problems = Problems::default();
    for (line, text) in text.lines() {
        let place = on_line(file, line);
        let fields: Vec<&str> = text.split('\t').map(str::trim).collect();
        let [name, id, ..] = fields[..] else {
            problems.push(Problem::new(
                place,
                format!("expected 6 tab-separated fields, found {}", fields.len()),
            ));
            continue;
        };
        if fields.len() != 6 {
            problems.push(Problem::new(
                place,
                format!("expected 6 tab-separated fields, found {}", fields.len()),
            ));
        } else if !number.contains_key(id) {
            problems
                .push(Problem::new(place, format!("expected a class id (wnid) of wnids.txt, found {id:?}")));
        } else if !present.contains(name) {
            problems.push(absent(file, line, &folder, name));
        } else if let Some(first) = first_line.insert(name, line) {
            problems.push(Problem::new(
                place,
                format!("expected each image once, found {name:?} again (first on line {first})"),
            ));
        } else {
            entries.push(LabelledEntry {
                id: format!("val/images/{name}"),
                file: ImageFile { path: folder.join(name), named_at: Some(place) },
                target: number[id],
                attribute: 0,
            });
        }
    }
    problems.into_result()
}

fn absent(file: &Path, line: usize, folder: &Path, name: &str) -> Problem {
    Problem::new(
        on_line(file, line),
        format!("expected the image {}, found none", folder.join(name).display()),
    )
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
