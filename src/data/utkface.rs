//! UTKFace, aligned and cropped: one folder of faces whose names hold age, gender and race.

use std::path::Path;

use super::decode::ImageFile;
use super::file_set::{FileSet, LabelledEntry, PublishedFiles};
use super::folder::{children, is_image, skipped_note};
use super::missing::{expected_folder, instead};
use super::problems::{Problem, Problems};
use super::spec::ImageOptions;
use crate::{Error, Result};

const EXPECTED: &str = "<age>_<gender>_<race>_<timestamp>.jpg.chip.jpg";
/// The parts of a name that are labels, and the largest value of each.
const LABELS: [(&str, u32); 3] = [("age", 116), ("gender", 1), ("race", 4)];
const GENDERS: [&str; 2] = ["male", "female"];
const RACES: [&str; 5] = ["White", "Black", "Asian", "Indian", "Others"];

/// Lists the faces of `folder` or `folder/UTKFace`, in bytewise order of their names: gender is the
/// target, race the attribute.
///
/// # Errors
/// [`Error::Data`] naming the file and the part of its name: other than four parts, a part that is not a
/// number, a value out of range; no faces at all. With `skip_bad` such files are left
/// out before anything is selected, and named in a note.
pub fn files(folder: &Path, images: ImageOptions) -> Result<FileSet> {
    let folders = [folder.join("UTKFace"), folder.to_path_buf()];
    let inner = expected_folder(folder, &folders, EXPECTED)?;
    let (mut entries, mut skipped, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
    let mut problems = Problems::default();
    for (name, is_folder) in children(&inner)? {
        if is_folder || !is_image(&name) {
            ignored.push(name);
            continue;
        }
        let path = inner.join(&name);
        match labels_of(&name) {
            Ok((gender, race)) => entries.push(LabelledEntry {
                id: name,
                file: ImageFile { path, named_at: None },
                target: gender,
                attribute: race,
            }),
            Err(problem) if images.skip_bad => skipped.push(Problem::new(path.display(), problem)),
            Err(problem) => problems.push(Problem::new(
                path.display(),
                format!(
                    "{problem}; a few published names lack a part: skip-bad=true (--skip-bad) leaves such files out"
                ),
            )),
        }
    }
    problems.into_result()?;
    if entries.is_empty() {
        return Err(Error::data(
            inner.display(),
            format!("expected images named {EXPECTED}, found {}", instead(folder, &folders, EXPECTED)),
        ));
    }
    let mut notes: Vec<String> = skipped_note(&skipped).into_iter().collect();
    if let Some(first) = ignored.first() {
        notes.push(format!("{} entries that are not images by name ignored, first {first}", ignored.len()));
    }
    Ok(PublishedFiles {
        name: "utkface",
        entries,
        target: GENDERS.map(String::from).to_vec(),
        attribute: Some(RACES.map(String::from).to_vec()),
        hashes: Vec::new(),
        images,
        notes,
    }
    .into_file_set())
}

/// Gender and race of a file name, or what is wrong with it.
fn labels_of(name: &str) -> Result<(u32, u32), String> {
    // One published name lacks the dot before the first "jpg", another has a space there.
    let stem = [".jpg.chip.jpg", "jpg.chip.jpg"].iter().find_map(|ending| name.strip_suffix(ending));
    let stem = stem.unwrap_or_else(|| name.split('.').next().unwrap_or(name)).trim();
    let parts: Vec<&str> = stem.split('_').collect();
    if parts.len() != 4 {
        let found = parts.len();
        let which = if found < 4 {
            format!("part {} is missing", found + 1)
        } else {
            "part 5 is one too many".into()
        };
        return Err(format!("expected a name age_gender_race_timestamp of 4 parts, found {found}: {which}"));
    }
    let mut values = [0; LABELS.len()];
    for (index, (value, (label, largest))) in values.iter_mut().zip(LABELS).enumerate() {
        let wrong = || {
            format!(
                "expected age_gender_race_timestamp with a number from 0 to {largest} as part {} ({label}), found {:?}",
                index + 1,
                parts[index]
            )
        };
        *value = parts[index].parse().map_err(|_| wrong())?;
        if *value > largest {
            return Err(wrong());
        }
    }
    if parts[3].is_empty() || !parts[3].bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "expected age_gender_race_timestamp with a number as part 4 (timestamp), found {:?}",
            parts[3]
        ));
    }
    Ok((values[1], values[2]))
}
