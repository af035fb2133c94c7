//! Finds the files of a published data set, and says what is there instead when they are not.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// The files `names`, each with the first of `endings` that exists, all from the first of `folders` that
/// holds any of them.
///
/// # Errors
/// [`Error::Data`] with the full path tried, the names expected, and what was found instead: an archive
/// that is not unpacked, or the Python version of CIFAR.
pub fn expected_files(
    root: &Path,
    folders: &[PathBuf],
    names: &[String],
    endings: &[&str],
) -> Result<Vec<PathBuf>> {
    let find = |folder: &Path, name: &str| {
        endings.iter().map(|ending| folder.join(format!("{name}{ending}"))).find(|path| path.is_file())
    };
    let folder = folders
        .iter()
        .find(|folder| names.iter().any(|name| find(folder, name).is_some()))
        .unwrap_or(&folders[0]);
    let mut found = Vec::new();
    for name in names {
        match find(folder, name) {
            Some(path) => found.push(path),
            None => {
                let path = folder.join(name);
                let path = std::path::absolute(&path).unwrap_or(path);
                return Err(Error::data(
                    path.display(),
                    format!("expected the files {}, found {}", names.join(" "), instead(root, folders)),
                ));
            }
        }
    }
    Ok(found)
}

/// What stands where the files should be, in words.
fn instead(root: &Path, folders: &[PathBuf]) -> String {
    if !root.exists() {
        return format!("no folder {}", root.display());
    }
    let mut names: Vec<String> = Vec::new();
    for folder in folders.iter().map(PathBuf::as_path).chain([root]) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    names.dedup();
    if names
        .iter()
        .any(|name| name == "data_batch_1" || name == "cifar-10-batches-py" || name == "cifar-100-python")
    {
        return "Python pickle version found, binary version required".into();
    }
    const ARCHIVES: [&str; 5] = [".tar.gz", ".tgz", ".zip", ".tar", ".7z"];
    if let Some(archive) = names.iter().find(|name| ARCHIVES.iter().any(|ending| name.ends_with(ending))) {
        return format!("only the archive {archive}; unpack it there");
    }
    match names.len() {
        0 => format!("an empty folder {}", root.display()),
        1..=5 => format!("{} without it", names.join(" ")),
        more => format!("{} and {} more without it", names[..5].join(" "), more - 5),
    }
}
