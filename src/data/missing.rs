//! Finds the files of a published data set, and says what is there instead when they are not.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Part of the names expected, a file or folder that then tells of another version, and what to say.
const OTHER_VERSIONS: [(&str, &str, &str); 12] = [
    ("_batch", "data_batch_1", PYTHON),
    ("_batch", "cifar-10-batches-py", PYTHON),
    ("train.bin", "cifar-100-python", PYTHON),
    ("test.bin", "cifar-100-python", PYTHON),
    ("_X.bin", "stl10_matlab", MATLAB),
    ("_X.bin", "unlabeled.mat", MATLAB),
    (
        "list_attr_celeba",
        "list_attr_celeba.csv",
        "CSV version found, the text file list_attr_celeba.txt required",
    ),
    (
        "img_align_celeba",
        "img_align_celeba_png",
        "PNG version found, the JPEG version img_align_celeba required",
    ),
    (
        "img_align_celeba",
        "img_celeba",
        "images in the wild found, the aligned version img_align_celeba required",
    ),
    (
        "data_256",
        "data_large_standard",
        "large version found, the 256x256 version data_256_standard required",
    ),
    ("data_256", "data_large", "large version found, the 256x256 version data_256 required"),
    (
        "places365_train_standard",
        "places365_train_challenge.txt",
        "challenge version found, the standard version required",
    ),
];
const PYTHON: &str = "Python pickle version found, binary version required";
const MATLAB: &str = "MATLAB version found, binary version required";

/// The files `names`, each with the first of `endings` that exists, all from the first of `folders` that
/// holds any of them.
///
/// # Errors
/// [`Error::Data`] with the full path tried, the names expected, and what was found instead: an archive
/// that is not unpacked, or another version of the data set.
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
                let names = names.join(" ");
                let path = folder.join(name);
                let path = std::path::absolute(&path).unwrap_or(path);
                return Err(Error::data(
                    path.display(),
                    format!("expected the files {names}, found {}", instead(root, folders, &names)),
                ));
            }
        }
    }
    Ok(found)
}

/// The first of `folders` that exists, for a data set that is a folder of `names`.
///
/// # Errors
/// [`Error::Data`] with the full path tried and what was found instead.
pub fn expected_folder(root: &Path, folders: &[PathBuf], names: &str) -> Result<PathBuf> {
    if let Some(folder) = folders.iter().find(|folder| folder.is_dir()) {
        return Ok(folder.clone());
    }
    let path = std::path::absolute(&folders[0]).unwrap_or_else(|_| folders[0].clone());
    let found = instead(root, &[root.to_path_buf()], names);
    Err(Error::data(path.display(), format!("expected the folder of {names}, found {found}")))
}

/// What stands where the files named in `expected` should be, in words.
pub fn instead(root: &Path, folders: &[PathBuf], expected: &str) -> String {
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
    let version = OTHER_VERSIONS
        .iter()
        .find(|(part, mark, _)| expected.contains(part) && names.iter().any(|name| name == mark));
    if let Some((_, mark, version)) = version {
        return format!("{version} ({mark})");
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
