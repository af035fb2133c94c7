//! WGSL preprocessor: imports, conditions, unrolled loops and text constants.
//!
//! | line or text | meaning |
//! | --- | --- |
//! | `#import common/threefry` | the text of `shaders/common/threefry.wgsl`, once |
//! | `#if EXPR` … `#else` … `#endif` | keeps one side; a bare name that is not defined counts as 0 |
//! | `#for i in A..B` … `#end` | the lines once for each `i`, both ends integer expressions |
//! | `${EXPR}` | the value of an integer expression, or the text of a constant |
//! | `${EXPR:xyzw}` | the letter of that list at the expression's value |
//!
//! Expressions know integers, names, `+ - * / % ( )`, comparisons, `&&`, `||` and `!`.

use crate::{Error, Result};
use include_dir::{Dir, include_dir};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

static SHADERS: Dir = include_dir!("$CARGO_MANIFEST_DIR/shaders");

/// Named constants of one shader variant; equal constants give the same pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Defines(BTreeMap<&'static str, String>);

impl Defines {
    pub fn new() -> Defines {
        Defines::default()
    }
    /// Adds or replaces a constant; `true` and `false` become 1 and 0.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Display) -> Defines {
        let value = match value.to_string().as_str() {
            "true" => "1".to_string(),
            "false" => "0".to_string(),
            other => other.to_string(),
        };
        self.0.insert(name, value);
        self
    }
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(k, v)| (*k, v.as_str()))
    }
}

/// Paths (without `.wgsl`) of every shader file that has an entry point, sorted.
pub fn entry_shaders() -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![&SHADERS];
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        for file in folder.files() {
            if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8())
                && text.contains("@compute")
                && let Some(name) = path.strip_suffix(".wgsl")
            {
                names.push(name.replace('\\', "/"));
            }
        }
    }
    names.sort();
    names
}

/// The WGSL text of `shaders/{name}.wgsl` with everything resolved.
///
/// # Errors
/// Names the shader and line of an unknown import, constant or directive.
pub fn preprocess(name: &str, defines: &Defines) -> Result<String> {
    let mut state = Preprocessor {
        names: defines.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        imported: BTreeSet::new(),
        out: String::new(),
    };
    state.file(name)?;
    Ok(state.out)
}

struct Preprocessor {
    names: BTreeMap<String, String>,
    imported: BTreeSet<String>,
    out: String,
}

struct Line<'a> {
    place: String,
    text: &'a str,
}

impl Preprocessor {
    fn file(&mut self, name: &str) -> Result<()> {
        let path = format!("{name}.wgsl");
        let text = SHADERS
            .get_file(&path)
            .and_then(|f| f.contents_utf8())
            .ok_or_else(|| Error::gpu(format!("shader {name}: there is no shaders/{path}")))?;
        let lines: Vec<Line> = text
            .lines()
            .enumerate()
            .map(|(i, text)| Line { place: format!("shaders/{path}:{}", i + 1), text })
            .collect();
        self.block(&lines)
    }

    fn block(&mut self, lines: &[Line]) -> Result<()> {
        let mut i = 0;
        while i < lines.len() {
            let line = &lines[i];
            let (word, rest) = directive(line.text);
            match word {
                "#import" => {
                    if self.imported.insert(rest.to_string()) {
                        self.file(rest)?;
                    }
                    i += 1;
                }
                "#if" => {
                    let (otherwise, end) = matching_endif(lines, i)?;
                    let split = otherwise.unwrap_or(end);
                    if self.integer(rest, &line.place)? != 0 {
                        self.block(&lines[i + 1..split])?;
                    } else if let Some(start) = otherwise {
                        self.block(&lines[start + 1..end])?;
                    }
                    i = end + 1;
                }
                "#for" => {
                    let end = matching_end(lines, i)?;
                    let (variable, range) =
                        rest.split_once(" in ").ok_or_else(|| bad(line, "expected `#for NAME in A..B`"))?;
                    let (a, b) = range.split_once("..").ok_or_else(|| bad(line, "expected a range A..B"))?;
                    let (a, b) = (self.integer(a, &line.place)?, self.integer(b, &line.place)?);
                    let variable = variable.trim().to_string();
                    let shadowed = self.names.get(&variable).cloned();
                    for value in a..b {
                        self.names.insert(variable.clone(), value.to_string());
                        self.block(&lines[i + 1..end])?;
                    }
                    match shadowed {
                        Some(old) => self.names.insert(variable, old),
                        None => self.names.remove(&variable),
                    };
                    i = end + 1;
                }
                "" => {
                    let text = self.substitute(line)?;
                    self.out.push_str(&text);
                    self.out.push('\n');
                    i += 1;
                }
                other => return Err(bad(line, &format!("unknown or misplaced directive {other}"))),
            }
        }
        Ok(())
    }

    fn substitute(&self, line: &Line) -> Result<String> {
        let mut out = String::with_capacity(line.text.len());
        let mut rest = line.text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let tail = &rest[start + 2..];
            let end = tail.find('}').ok_or_else(|| bad(line, "`${` without `}`"))?;
            let inner = &tail[..end];
            if let Some((expression, letters)) = inner.split_once(':') {
                let index = self.integer(expression, &line.place)?;
                let letter = usize::try_from(index).ok().and_then(|i| letters.chars().nth(i));
                out.push(
                    letter
                        .ok_or_else(|| bad(line, &format!("{expression} = {index} is outside {letters}")))?,
                );
            } else if let Some(text) = self.names.get(inner.trim()) {
                out.push_str(text);
            } else {
                out.push_str(&self.integer_strict(inner, &line.place)?.to_string());
            }
            rest = &tail[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn integer(&self, text: &str, place: &str) -> Result<i64> {
        Expression { names: &self.names, text: text.trim(), at: 0, place, unknown_is_zero: true }.parse()
    }

    fn integer_strict(&self, text: &str, place: &str) -> Result<i64> {
        Expression { names: &self.names, text: text.trim(), at: 0, place, unknown_is_zero: false }.parse()
    }
}

fn bad(line: &Line, problem: &str) -> Error {
    Error::gpu(format!("{}: {problem}: `{}`", line.place, line.text.trim()))
}

fn directive(text: &str) -> (&str, &str) {
    let trimmed = text.trim();
    if !trimmed.starts_with('#') {
        return ("", trimmed);
    }
    match trimmed.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim()),
        None => (trimmed, ""),
    }
}

/// Line numbers of the `#else` (if any) and the `#endif` that belong to the `#if` at `start`.
fn matching_endif(lines: &[Line], start: usize) -> Result<(Option<usize>, usize)> {
    let (mut depth, mut otherwise) = (0, None);
    for (i, line) in lines.iter().enumerate().skip(start + 1) {
        match directive(line.text).0 {
            "#if" => depth += 1,
            "#else" if depth == 0 => otherwise = Some(i),
            "#endif" if depth == 0 => return Ok((otherwise, i)),
            "#endif" => depth -= 1,
            _ => {}
        }
    }
    Err(bad(&lines[start], "#if without #endif"))
}

fn matching_end(lines: &[Line], start: usize) -> Result<usize> {
    let mut depth = 0;
    for (i, line) in lines.iter().enumerate().skip(start + 1) {
        match directive(line.text).0 {
            "#for" => depth += 1,
            "#end" if depth == 0 => return Ok(i),
            "#end" => depth -= 1,
            _ => {}
        }
    }
    Err(bad(&lines[start], "#for without #end"))
}

/// A recursive-descent parser of integer expressions, one method for each level of precedence.
struct Expression<'a> {
    names: &'a BTreeMap<String, String>,
    text: &'a str,
    at: usize,
    place: &'a str,
    unknown_is_zero: bool,
}

impl Expression<'_> {
    fn parse(mut self) -> Result<i64> {
        let value = self.any()?;
        self.spaces();
        if self.at < self.text.len() {
            return Err(self.fail("cannot read the rest"));
        }
        Ok(value)
    }

    fn fail(&self, problem: &str) -> Error {
        Error::gpu(format!("{}: {problem} of `{}` at column {}", self.place, self.text, self.at + 1))
    }

    fn spaces(&mut self) {
        while self.text[self.at..].starts_with(' ') {
            self.at += 1;
        }
    }

    fn take(&mut self, token: &str) -> bool {
        self.spaces();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn any(&mut self) -> Result<i64> {
        let mut value = self.all()?;
        while self.take("||") {
            let right = self.all()?;
            value = i64::from(value != 0 || right != 0);
        }
        Ok(value)
    }

    fn all(&mut self) -> Result<i64> {
        let mut value = self.comparison()?;
        while self.take("&&") {
            let right = self.comparison()?;
            value = i64::from(value != 0 && right != 0);
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Result<i64> {
        let left = self.sum()?;
        for (token, holds) in [
            ("==", (|a, b| a == b) as fn(i64, i64) -> bool),
            ("!=", |a, b| a != b),
            ("<=", |a, b| a <= b),
            (">=", |a, b| a >= b),
            ("<", |a, b| a < b),
            (">", |a, b| a > b),
        ] {
            if self.take(token) {
                let right = self.sum()?;
                return Ok(i64::from(holds(left, right)));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<i64> {
        let mut value = self.product()?;
        loop {
            if self.take("+") {
                value += self.product()?;
            } else if self.take("-") {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<i64> {
        let mut value = self.unary()?;
        loop {
            let divide = if self.take("*") {
                value *= self.unary()?;
                continue;
            } else if self.take("/") {
                true
            } else if self.take("%") {
                false
            } else {
                return Ok(value);
            };
            let right = self.unary()?;
            if right == 0 {
                return Err(self.fail("division by zero in the value"));
            }
            value = if divide { value / right } else { value % right };
        }
    }

    fn unary(&mut self) -> Result<i64> {
        self.spaces();
        if self.text[self.at..].starts_with('!') && !self.text[self.at..].starts_with("!=") {
            self.at += 1;
            return Ok(i64::from(self.unary()? == 0));
        }
        if self.take("-") {
            return Ok(-self.unary()?);
        }
        if self.take("(") {
            let value = self.any()?;
            if !self.take(")") {
                return Err(self.fail("missing `)` in the value"));
            }
            return Ok(value);
        }
        self.spaces();
        let length = self.text[self.at..]
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(self.text.len() - self.at);
        let word = &self.text[self.at..self.at + length];
        let value = match self.names.get(word) {
            Some(text) => text.parse().ok(),
            None if self.unknown_is_zero && word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                Some(0)
            }
            None => word.parse().ok(),
        };
        let value = value.ok_or_else(|| self.fail("not an integer or a defined constant in the value"))?;
        self.at += length;
        Ok(value)
    }
}
