//! Collects what is wrong with a data set in one pass, so that one error shows more than the first fault.

use std::fmt::Display;
use std::path::Path;

use crate::{Error, Result};

/// How many problems of one pass an error lists before it only counts.
pub const LISTED: usize = 20;

/// One thing wrong at one place (`FILE`, `FILE:LINE` or `FILE@OFFSET`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: String,
    pub problem: String,
}

impl Problem {
    pub fn new(place: impl Display, problem: impl Display) -> Problem {
        Problem { place: place.to_string(), problem: problem.to_string() }
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        Error::data(problem.place, problem.problem)
    }
}

/// Problems in the order in which they were found. The first [`LISTED`] are kept, all are counted.
#[derive(Debug, Default)]
pub struct Problems {
    listed: Vec<Problem>,
    count: usize,
}

impl Problems {
    pub fn push(&mut self, problem: Problem) {
        self.count += 1;
        if self.listed.len() < LISTED {
            self.listed.push(problem);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ok when nothing is wrong, else one error that lists every kept problem, one a line.
    pub fn into_result(self) -> Result<()> {
        let mut listed = self.listed.into_iter();
        let Some(first) = listed.next() else {
            return Ok(());
        };
        let mut text = first.problem;
        let mut shown = 1;
        for problem in listed {
            text.push_str(&format!("\n{}: {}", problem.place, problem.problem));
            shown += 1;
        }
        if self.count > shown {
            text.push_str(&format!("\nand {} more", self.count - shown));
        }
        Err(Error::data(first.place, text))
    }
}

/// `FILE@OFFSET`.
pub fn at(file: &Path, offset: u64) -> String {
    format!("{}@{offset}", file.display())
}

/// `FILE:LINE`.
pub fn on_line(file: &Path, line: usize) -> String {
    format!("{}:{line}", file.display())
}

/// The known name nearest to a mistyped one, when it is near enough to be meant.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean "NAME"?`, or nothing when no known name is near.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wrong, known).map(|name| format!("; did you mean {name:?}?")).unwrap_or_default()
}

/// Longest message of another library about a file's text that is repeated, in characters.
pub const LONGEST_MESSAGE: usize = 200;

/// A name or value out of a file, fit to be printed: control characters escaped, and cut when it is long.
pub fn shown(text: &str) -> String {
    shown_up_to(text, 120)
}

/// [`shown`], cut after `most` characters.
pub fn shown_up_to(text: &str, most: usize) -> String {
    let mut result = String::new();
    for (index, letter) in text.chars().enumerate() {
        match letter {
            _ if index == most => {
                result.push('…');
                break;
            }
            '"' | '\'' => result.push(letter),
            _ => result.extend(letter.escape_debug()),
        }
    }
    result
}
