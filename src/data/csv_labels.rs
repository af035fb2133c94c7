//! A CSV of image paths and labels (RFC 4180, UTF-8, header required). The first column holds the path
//! relative to the CSV's folder; any other column can be the target, the sensitive attribute or a filter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use super::decode::ImageFile;
use super::file_set::{Entry, FileSet, SourceHash};
use super::folder::folder_name;
use super::image_set::Labels;
use super::problems::{Problem, Problems, did_you_mean, on_line};
use super::spec::{CsvOptions, Filter};
use super::text::{Text, read_text};
use crate::{Error, Result};

/// A parsed CSV: rows with the line on which each starts.
struct Table {
    columns: Vec<String>,
    rows: Vec<(usize, Vec<String>)>,
    /// SHA-256 of the file.
    hash: [u8; 32],
}

/// Lists the rows that pass every filter and have a value in the target and attribute columns (the others
/// are counted in a note). Classes are the column's values in bytewise order, over all rows of the file
/// whether they pass or not, so that two selections of one file number their classes alike; a filter on the
/// column itself removes the values that it excludes.
///
/// # Errors
/// [`Error::Data`] at `FILE:LINE` or `FILE:LINE:COLUMN`: no header, an unknown column (with those there are),
/// a ragged row, a path that is absolute, leaves the folder or occurs twice, a label column with one value;
/// `FILE@OFFSET` where the text is not UTF-8.
pub fn files(file: &Path, options: &CsvOptions) -> Result<FileSet> {
    let table = parse(file)?;
    check_paths(file, &table)?;
    let filters: Vec<(usize, &Filter)> = options
        .filters
        .iter()
        .map(|filter| Ok((column(file, &table, &filter.column)?, filter)))
        .collect::<Result<_>>()?;
    let find = |name: &Option<String>| name.as_ref().map(|name| column(file, &table, name)).transpose();
    let (target, attribute) = (find(&options.target)?, find(&options.attribute)?);
    let labelled: Vec<usize> = target.iter().chain(&attribute).copied().collect();

    let passing: Vec<usize> = (0..table.rows.len())
        .filter(|&row| filters.iter().all(|(column, filter)| passes(&table.rows[row].1[*column], filter)))
        .collect();
    if passing.is_empty() {
        return Err(Error::data(
            file.display(),
            format!(
                "expected rows with {}, found none among {}",
                describe(&options.filters),
                table.rows.len()
            ),
        ));
    }
    let complete: Vec<usize> = passing
        .iter()
        .copied()
        .filter(|&row| labelled.iter().all(|&column| !table.rows[row].1[column].is_empty()))
        .collect();
    let mut notes = Vec::new();
    if complete.len() < passing.len() {
        let names: Vec<&str> = labelled.iter().map(|&column| table.columns[column].as_str()).collect();
        notes.push(format!(
            "{} rows dropped: no value in {}",
            passing.len() - complete.len(),
            names.join(" or ")
        ));
    }
    let target = target.map(|column| classes(file, &table, column, &filters, &complete)).transpose()?;
    let attribute = attribute.map(|column| classes(file, &table, column, &filters, &complete)).transpose()?;

    let folder = file.parent().unwrap_or(Path::new("."));
    let entries = complete.iter().map(|&row| {
        let (line, fields) = &table.rows[row];
        let path = folder.join(&fields[0]);
        Entry { id: fields[0].clone(), file: ImageFile { path, named_at: Some(on_line(file, *line)) } }
    });
    Ok(FileSet {
        name: folder_name(file),
        entries: entries.collect(),
        target,
        attribute,
        source: SourceHash::Table(table.hash),
        published_normalization: None,
        images: options.images,
        notes,
    })
}

fn parse(file: &Path) -> Result<Table> {
    let Text { text, hash } = read_text(file)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut columns: Option<Vec<String>> = None;
    let mut rows = Vec::new();
    let mut problems = Problems::default();
    // A record's position may stand on the line break before it, so lines are counted here.
    let (mut line, mut counted) = (1, 0);
    for record in reader.records() {
        let record = record.map_err(|error| Error::data(file.display(), error))?;
        let mut start = record.position().map_or(0, |position| position.byte() as usize).min(text.len());
        start += text[start..].len() - text[start..].trim_start_matches(['\r', '\n']).len();
        line += text[counted..start].matches('\n').count();
        counted = start;
        let fields: Vec<String> = record.iter().map(String::from).collect();
        match &columns {
            None => columns = Some(fields),
            Some(columns) if columns.len() != fields.len() => problems.push(Problem::new(
                format!("{}:{}", on_line(file, line), fields.len().min(columns.len()) + 1),
                format!("expected {} fields like the header, found {}", columns.len(), fields.len()),
            )),
            Some(_) => rows.push((line, fields)),
        }
    }
    problems.into_result()?;
    let Some(columns) = columns else {
        return Err(Error::data(
            on_line(file, 1),
            "expected a header line with column names, found an empty file",
        ));
    };
    for (index, name) in columns.iter().enumerate() {
        if name.is_empty() || columns[..index].contains(name) {
            let found = if name.is_empty() { "an empty one".into() } else { format!("{name:?} twice") };
            return Err(Error::data(
                format!("{}:{}", on_line(file, 1), index + 1),
                format!("expected a header with different column names, found {found}"),
            ));
        }
    }
    if rows.is_empty() {
        return Err(Error::data(on_line(file, 2), "expected rows after the header, found none"));
    }
    Ok(Table { columns, rows, hash })
}

fn check_paths(file: &Path, table: &Table) -> Result<()> {
    let mut problems = Problems::default();
    let mut first_line: BTreeMap<&str, usize> = BTreeMap::new();
    for (line, fields) in &table.rows {
        let path = fields[0].as_str();
        let place = || format!("{}:1", on_line(file, *line));
        let inside =
            Path::new(path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if path.is_empty() || !inside {
            problems.push(Problem::new(
                place(),
                format!(
                    "expected an image path inside the CSV's folder in column {:?}, found {path:?}",
                    table.columns[0]
                ),
            ));
        }
        if let Some(first) = first_line.insert(path, *line) {
            first_line.insert(path, first);
            problems.push(Problem::new(
                place(),
                format!("expected each image once, found {path:?} again (first on line {first})"),
            ));
        }
    }
    problems.into_result()
}

fn column(file: &Path, table: &Table, name: &str) -> Result<usize> {
    table.columns.iter().position(|column| column == name).ok_or_else(|| {
        Error::data(
            on_line(file, 1),
            format!(
                "expected a column {name:?}, found the columns {}{}",
                table.columns.join(", "),
                did_you_mean(name, table.columns.iter().map(String::as_str))
            ),
        )
    })
}

fn passes(value: &str, filter: &Filter) -> bool {
    (value == filter.value) == filter.equal
}

fn describe(filters: &[Filter]) -> String {
    let sign = |filter: &Filter| if filter.equal { "=" } else { "!=" };
    let text: Vec<String> = filters.iter().map(|f| format!("{}{}{}", f.column, sign(f), f.value)).collect();
    text.join(" and ")
}

/// Labels of the rows `complete` by one column.
fn classes(
    file: &Path,
    table: &Table,
    column: usize,
    filters: &[(usize, &Filter)],
    complete: &[usize],
) -> Result<Labels> {
    let own: Vec<&Filter> =
        filters.iter().filter(|(filtered, _)| *filtered == column).map(|(_, f)| *f).collect();
    let names: BTreeSet<&str> = table
        .rows
        .iter()
        .map(|(_, fields)| fields[column].as_str())
        .filter(|value| !value.is_empty() && own.iter().all(|filter| passes(value, filter)))
        .collect();
    let present: BTreeSet<&str> = complete.iter().map(|&row| table.rows[row].1[column].as_str()).collect();
    if present.len() < 2 {
        return Err(Error::data(
            format!("{}:{}", on_line(file, 1), column + 1),
            format!(
                "expected at least 2 values in column {:?}, found {} in {} rows",
                table.columns[column],
                present.first().map_or("none".into(), |value| format!("only {value:?}")),
                complete.len()
            ),
        ));
    }
    let number: BTreeMap<&str, u32> =
        names.iter().enumerate().map(|(index, name)| (*name, index as u32)).collect();
    let values = complete.iter().map(|&row| number[table.rows[row].1[column].as_str()]).collect();
    Ok(Labels { values, names: names.into_iter().map(String::from).collect() })
}
