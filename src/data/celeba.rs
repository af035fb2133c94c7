//! CelebA: aligned faces with 40 binary attributes in one list and an official part in another.

use std::collections::BTreeSet;
use std::path::Path;

use super::decode::ImageFile;
use super::file_set::{FileSet, LabelledEntry, PublishedFiles, stays_inside};
use super::folder::children;
use super::missing::{expected_files, expected_folder};
use super::problems::{Problem, Problems, did_you_mean, on_line};
use super::spec::ImageOptions;
use super::text::{Text, read_text};
use crate::{Error, Result};

const ATTRIBUTES: &str = "list_attr_celeba.txt";
const PARTITION: &str = "list_eval_partition.txt";
const IMAGES: &str = "img_align_celeba";
const COLUMNS: usize = 40;

/// Which official part of CelebA is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CelebaPart {
    Train,
    Valid,
    Test,
    #[default]
    All,
}

/// Which of CelebA's attributes are labels: a name (2 classes), or `A+B` (4 classes, `2 a + b`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CelebaOptions {
    pub target: String,
    pub attribute: Option<String>,
    pub part: CelebaPart,
}

impl Default for CelebaOptions {
    fn default() -> CelebaOptions {
        CelebaOptions { target: "Male".into(), attribute: None, part: CelebaPart::All }
    }
}

/// One attribute, or a pair of them.
struct Label {
    columns: Vec<usize>,
    classes: Vec<String>,
}

/// Lists the faces of `folder` or `folder/celeba`, in the order of the lists.
///
/// # Errors
/// [`Error::Data`] naming file and line: a count that differs from the rows, other than 40 names, a row without
/// 41 fields, a value other than -1 and 1, a partition other than 0, 1 and 2, lists in different orders, an
/// attribute that does not exist (with the nearest that does), images that are absent.
pub fn files(folder: &Path, options: &CelebaOptions) -> Result<FileSet> {
    let folders = [folder.join("celeba"), folder.to_path_buf()];
    let files = expected_files(folder, &folders, &[ATTRIBUTES.into(), PARTITION.into()], &[""])?;
    let root = files[0].parent().unwrap_or(folder);
    let images = expected_folder(root, &[root.join(IMAGES)], IMAGES)?;
    let (attributes, partition) = (read_text(&files[0])?, read_text(&files[1])?);
    let rows: Vec<(usize, &str)> = attributes.lines().collect();
    let names = header(&files[0], &rows)?;
    let target = label(&files[0], &options.target, &names)?;
    let attribute = options.attribute.as_ref().map(|text| label(&files[0], text, &names)).transpose()?;

    let mut entries = Vec::with_capacity(rows.len());
    let mut problems = Problems::default();
    for &(line, row) in &rows[2..] {
        let place = on_line(&files[0], line);
        match values(row, &names) {
            Ok((name, values)) => entries.push(LabelledEntry {
                id: name.to_string(),
                file: ImageFile { path: images.join(name), named_at: Some(place) },
                target: class(&target, &values),
                attribute: attribute.as_ref().map_or(0, |label| class(label, &values)),
            }),
            Err(problem) => problems.push(Problem::new(place, problem)),
        }
    }
    problems.into_result()?;
    let parts = partition_codes(&files[1], &partition, &entries)?;
    let wanted = match options.part {
        CelebaPart::Train => Some(0),
        CelebaPart::Valid => Some(1),
        CelebaPart::Test => Some(2),
        CelebaPart::All => None,
    };
    let mut parts = parts.into_iter();
    entries.retain(|_| parts.next().is_some_and(|part| wanted.is_none_or(|wanted| wanted == part)));
    check_present(&images, &entries)?;
    Ok(PublishedFiles {
        name: "celeba",
        entries,
        target: target.classes,
        attribute: attribute.map(|label| label.classes),
        hashes: vec![attributes.hash, partition.hash],
        images: ImageOptions::default(),
        notes: Vec::new(),
    }
    .into_file_set())
}

/// Checks the count and returns the names of the attributes. On success there are at least 2 rows.
fn header<'a>(file: &Path, rows: &[(usize, &'a str)]) -> Result<Vec<&'a str>> {
    let count = rows.first().and_then(|(_, text)| text.trim().parse::<usize>().ok());
    let found = rows.first().map_or("an empty file".into(), |(_, text)| format!("{:?}", text.trim()));
    let Some(count) = count else {
        return Err(Error::data(on_line(file, 1), format!("expected the number of images, found {found}")));
    };
    let names: Vec<&str> =
        rows.get(1).map_or(Vec::new(), |(_, text)| text.split_ascii_whitespace().collect());
    if names.len() != COLUMNS {
        return Err(Error::data(
            on_line(file, 2),
            format!("expected {COLUMNS} attribute names, found {}", names.len()),
        ));
    }
    if rows.len() - 2 != count {
        return Err(Error::data(
            on_line(file, 1),
            format!("expected {count} rows, as this line says, found {}", rows.len() - 2),
        ));
    }
    Ok(names)
}

/// File name and values of one row.
fn values<'a>(row: &'a str, names: &[&str]) -> Result<(&'a str, Vec<bool>), String> {
    let mut fields = row.split_ascii_whitespace();
    let name = fields.next().unwrap_or_default();
    let fields: Vec<&str> = fields.collect();
    if fields.len() != COLUMNS {
        return Err(format!(
            "expected {} fields (the image and {COLUMNS} values), found {}",
            COLUMNS + 1,
            fields.len() + 1
        ));
    }
    if !stays_inside(name) {
        return Err(format!("expected the name of an image, found {name:?}"));
    }
    let mut values = Vec::with_capacity(COLUMNS);
    for (field, attribute) in fields.into_iter().zip(names) {
        match field {
            "1" => values.push(true),
            "-1" => values.push(false),
            other => return Err(format!("expected -1 or 1 for {attribute}, found {other:?}")),
        }
    }
    Ok((name, values))
}

fn label(file: &Path, text: &str, names: &[&str]) -> Result<Label> {
    let parts: Vec<&str> = text.split('+').collect();
    let column = |name: &str| {
        names.iter().position(|known| *known == name).ok_or_else(|| {
            Error::data(
                on_line(file, 2),
                format!(
                    "expected an attribute {name:?}, found the attributes {}{}",
                    names.join(", "),
                    did_you_mean(name, names.iter().copied())
                ),
            )
        })
    };
    let columns = parts.iter().map(|name| column(name)).collect::<Result<Vec<usize>>>()?;
    let classes = match parts[..] {
        [a] => vec![format!("not {a}"), a.to_string()],
        [a, b] if a != b => {
            let not = |absent: bool| if absent { "not " } else { "" };
            (0..4).map(|class| format!("{}{a}, {}{b}", not(class < 2), not(class % 2 == 0))).collect()
        }
        _ => {
            return Err(Error::usage(format!(
                "celeba: expected an attribute or a pair A+B of two different ones, found {text:?}"
            )));
        }
    };
    Ok(Label { columns, classes })
}

fn class(label: &Label, values: &[bool]) -> u32 {
    label.columns.iter().fold(0, |class, &column| 2 * class + u32::from(values[column]))
}

/// The part of each image, 0 train, 1 valid, 2 test; the same images in the same order are required.
fn partition_codes(file: &Path, text: &Text, entries: &[LabelledEntry]) -> Result<Vec<u8>> {
    let mut codes = Vec::with_capacity(entries.len());
    let mut problems = Problems::default();
    for (index, (line, row)) in text.lines().enumerate() {
        let place = on_line(file, line);
        let fields: Vec<&str> = row.split_ascii_whitespace().collect();
        let [name, code] = fields[..] else {
            let found = fields.len();
            problems
                .push(Problem::new(place, format!("expected 2 fields (image and partition), found {found}")));
            continue;
        };
        match entries.get(index) {
            Some(entry) if entry.id != name => problems.push(Problem::new(
                &place,
                format!("expected the images in the order of {ATTRIBUTES}: {}, found {name}", entry.id),
            )),
            Some(_) => {}
            None => problems.push(Problem::new(
                &place,
                format!("expected {} images, as many as in {ATTRIBUTES}, found {name} too", entries.len()),
            )),
        }
        match code {
            "0" => codes.push(0),
            "1" => codes.push(1),
            "2" => codes.push(2),
            other => {
                problems.push(Problem::new(place, format!("expected partition 0, 1 or 2, found {other:?}")))
            }
        }
    }
    problems.into_result()?;
    if codes.len() != entries.len() {
        return Err(Error::data(
            file.display(),
            format!("expected {} images, as many as in {ATTRIBUTES}, found {}", entries.len(), codes.len()),
        ));
    }
    Ok(codes)
}

/// An incomplete folder is found before a split is drawn, whichever images the split would take.
fn check_present(folder: &Path, entries: &[LabelledEntry]) -> Result<()> {
    let listed = children(folder)?;
    let present: BTreeSet<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    let mut problems = Problems::default();
    for entry in entries.iter().filter(|entry| !present.contains(entry.id.as_str())) {
        let named = entry.file.named_at.as_deref().unwrap_or(ATTRIBUTES);
        problems.push(Problem::new(
            entry.file.path.display(),
            format!("expected an image, found none (named at {named})"),
        ));
    }
    problems.into_result()
}
