//! Image folders: a folder a class, in bytewise order of names; or a flat folder of unlabelled images.

use std::path::{Path, PathBuf};

use super::decode::ImageFile;
use super::file_set::{self, FileSet, SourceHash};
use super::image_set::Labels;
use super::problems::Problem;
use super::spec::ImageOptions;
use crate::{Error, Result};

const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "bmp", "webp"];
/// Deepest nesting of folders below a class.
const DEEPEST: usize = 16;

/// One image of the folder: its path relative to the root with `/`, and its class.
struct Entry {
    id: String,
    class: Option<u32>,
}

/// Lists the images below `folder`. Classes are its subfolders, numbered in bytewise order of their names;
/// images are in bytewise order of their paths, whatever order the file system lists them in. Hidden files
/// and folders are passed over, files that are not images by their ending are counted in a note.
///
/// # Errors
/// [`Error::Data`]: no images, images beside class folders, an empty class folder, a name that is not UTF-8,
/// and a folder that cannot be read.
pub fn files(folder: &Path, options: ImageOptions) -> Result<FileSet> {
    let mut ignored = Vec::new();
    let (classes, entries) = list(folder, &mut ignored)?;
    let mut notes = Vec::new();
    if let Some(first) = ignored.first() {
        notes.push(format!(
            "{} files that are not PNG, JPEG, BMP or WebP by name ignored, first {first}",
            ignored.len()
        ));
    }
    let target = (!classes.is_empty())
        .then(|| Labels { values: entries.iter().filter_map(|entry| entry.class).collect(), names: classes });
    let entries = entries.into_iter().map(|entry| file_set::Entry {
        file: ImageFile { path: folder.join(&entry.id), named_at: None },
        id: entry.id,
    });
    Ok(FileSet {
        name: folder_name(folder),
        entries: entries.collect(),
        target,
        attribute: None,
        source: SourceHash::Files,
        published_normalization: None,
        images: options,
        notes,
    })
}

/// The folder's own name, to call the data set by.
pub fn folder_name(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    path.file_stem().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn list(folder: &Path, ignored: &mut Vec<String>) -> Result<(Vec<String>, Vec<Entry>)> {
    if !folder.is_dir() {
        let tried = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        let found = if folder.exists() { "a file" } else { "nothing" };
        return Err(Error::data(
            tried.display(),
            format!("expected a folder with a folder a class, found {found}"),
        ));
    }
    let top = children(folder)?;
    let classes: Vec<&String> =
        top.iter().filter(|(_, is_folder)| *is_folder).map(|(name, _)| name).collect();
    let mut loose: Vec<&String> =
        top.iter().filter(|(_, is_folder)| !is_folder).map(|(name, _)| name).collect();
    loose.retain(|name| {
        is_image(name) || {
            ignored.push((*name).clone());
            false
        }
    });

    let mut entries = Vec::new();
    if classes.is_empty() {
        entries.extend(loose.iter().map(|name| Entry { id: (*name).clone(), class: None }));
    } else if let Some(name) = loose.first() {
        return Err(Error::data(
            folder.join(name).display(),
            format!(
                "expected images inside class folders only, found {} beside {} folders; move them",
                loose.len(),
                classes.len()
            ),
        ));
    }
    for (class, name) in classes.iter().enumerate() {
        let mut paths = Vec::new();
        descend(folder, name, DEEPEST, &mut paths, ignored)?;
        if paths.is_empty() {
            return Err(Error::data(
                folder.join(name).display(),
                "expected images in this class folder, found none; fill it or remove it",
            ));
        }
        paths.sort_unstable();
        entries.extend(paths.into_iter().map(|id| Entry { id, class: Some(class as u32) }));
    }
    if entries.is_empty() {
        return Err(Error::data(
            folder.display(),
            format!("expected PNG, JPEG, BMP or WebP images, found none ({} other files)", ignored.len()),
        ));
    }
    Ok((classes.into_iter().cloned().collect(), entries))
}

/// Images below `root/below`, as paths relative to `root`.
fn descend(
    root: &Path,
    below: &str,
    depth: usize,
    paths: &mut Vec<String>,
    ignored: &mut Vec<String>,
) -> Result<()> {
    for (name, is_folder) in children(&root.join(below))? {
        let path = format!("{below}/{name}");
        if is_folder && depth == 0 {
            return Err(Error::data(
                root.join(&path).display(),
                format!("expected at most {DEEPEST} folders inside each other; is a link pointing back?"),
            ));
        } else if is_folder {
            descend(root, &path, depth - 1, paths, ignored)?;
        } else if is_image(&name) {
            paths.push(path);
        } else {
            ignored.push(path);
        }
    }
    Ok(())
}

/// Names in a folder and whether each is a folder, in bytewise order, without hidden ones.
pub(super) fn children(folder: &Path) -> Result<Vec<(String, bool)>> {
    let fail = |error| Error::io(folder, error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path: PathBuf = entry.map_err(fail)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return Err(Error::data(
                path.display(),
                "expected a name in UTF-8, found other bytes; rename it",
            ));
        };
        if !name.starts_with('.') {
            names.push((name.to_string(), path.is_dir()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a file is an image by the ending of its name.
pub(super) fn is_image(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// The sentence of a report that names the files left out.
pub fn skipped_note(skipped: &[Problem]) -> Option<String> {
    let listed: Vec<String> = skipped.iter().map(|p| format!("{}: {}", p.place, p.problem)).collect();
    (!skipped.is_empty()).then(|| format!("{} bad files skipped: {}", skipped.len(), listed.join("; ")))
}
