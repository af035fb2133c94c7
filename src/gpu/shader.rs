//! WGSL preprocessor: imports, conditions, unrolled loops and text constants.
//!
//! | line or text | meaning |
//! | --- | --- |
//! | `#import common/threefry` | the text of `shaders/common/threefry.wgsl`, once |
//! | `#if EXPR` … `#else` … `#endif` | keeps one side; a bare name that is not defined counts as 0 |
//! | `#for i in A..B` … `#end` | the lines once for each `i`, both ends integer expressions |
//! | `#operand N x` | binding N as an array of `vec4<f32>` to read: `load_x(i)` |
//! | `#result N y` | the same to write: `store_y(i, value)` |
//! | `#update N p` | the same to read and write: `load_p(i)`, `store_p(i, value)` |
//! | `${EXPR}` | the value of an integer expression, or the text of a constant |
//! | `${EXPR:xyzw}` | the letter of that list at the expression's value |
//!
//! Expressions know integers, names, `+ - * / % ( )`, comparisons, `&&`, `||` and `!`; everywhere but in `#if`,
//! a name that is not defined is an error.
//!
//! An operand is a texture if `TEXTURE_N` is defined; every other such array is one of pairs of 64-bit words if `WORDS` is
//! ([`Recording::dispatch`](super::Recording::dispatch) decides both), because a software adapter loads and stores word by word.

use super::expression;
use crate::{Error, Result};
use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

static SHADERS: Dir = include_dir!("$CARGO_MANIFEST_DIR/shaders");

/// Named constants of one shader variant; equal constants give the same pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Defines(BTreeMap<Cow<'static, str>, String>);

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
        self.0.insert(name.into(), value);
        self
    }
    /// The constant `{name}{number}`.
    #[must_use]
    pub fn with_numbered(mut self, name: &str, number: usize, value: impl Display) -> Defines {
        self.0.insert(format!("{name}{number}").into(), value.to_string());
        self
    }
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_ref(), v.as_str()))
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

/// SHA-256 over the names and texts of all shader files and `more`, hexadecimal.
pub fn sources_sha256(more: &str) -> String {
    let mut files = Vec::new();
    let mut folders = vec![&SHADERS];
    while let Some(folder) = folders.pop() {
        folders.extend(folder.dirs());
        files.extend(folder.files().map(|file| (file.path(), file.contents())));
    }
    files.sort();
    let mut hash = Sha256::new();
    for (path, text) in files {
        hash.update(path.to_string_lossy().as_bytes());
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    hash.update(more);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The WGSL text of `shaders/{name}.wgsl` with everything resolved.
///
/// # Errors
/// Names the shader and line of an unknown import, constant or directive.
pub fn preprocess(name: &str, defines: &Defines) -> Result<String> {
    let text =
        file(name).ok_or_else(|| Error::gpu(format!("shader {name}: there is no shaders/{name}.wgsl")))?;
    preprocess_text(&format!("shaders/{name}.wgsl"), text, defines)
}

/// Any text with everything resolved; imports come from the shaders of this crate. `place` is the text's name
/// in messages.
///
/// # Errors
/// As for [`preprocess`]; also for loops and nesting beyond what any shader needs.
pub fn preprocess_text(place: &str, text: &str, defines: &Defines) -> Result<String> {
    let mut state = Preprocessor {
        names: defines.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        imported: BTreeSet::new(),
        out: String::new(),
        lines: 0,
        depth: 0,
    };
    state.text(place, text)?;
    Ok(state.out)
}

fn file(name: &str) -> Option<&'static str> {
    SHADERS.get_file(format!("{name}.wgsl")).and_then(|f| f.contents_utf8())
}

/// Most repetitions of one `#for`.
const MOST_REPETITIONS: i64 = 4096;
/// Most lines that a text may unfold to.
const MOST_LINES: usize = 1 << 20;
/// Most blocks and imports within each other.
const MOST_DEPTH: usize = 64;

struct Preprocessor {
    names: BTreeMap<String, String>,
    imported: BTreeSet<String>,
    out: String,
    /// Lines seen so far, each as often as it was repeated.
    lines: usize,
    depth: usize,
}

struct Line<'a> {
    place: String,
    text: &'a str,
}

impl Preprocessor {
    fn text(&mut self, place: &str, text: &str) -> Result<()> {
        let lines: Vec<Line> = text
            .lines()
            .enumerate()
            .map(|(i, text)| Line { place: format!("{place}:{}", i + 1), text })
            .collect();
        self.block(&lines)
    }

    fn block(&mut self, lines: &[Line]) -> Result<()> {
        self.depth += 1;
        let mut i = 0;
        while i < lines.len() {
            let line = &lines[i];
            self.lines += 1;
            if self.lines > MOST_LINES || self.depth > MOST_DEPTH {
                return Err(bad(
                    line,
                    &format!("more than {MOST_LINES} lines unfolded or {MOST_DEPTH} blocks nested here"),
                ));
            }
            i = match directive(line.text) {
                ("", _) => {
                    let text = self.substitute(line)?;
                    self.out.push_str(&text);
                    self.out.push('\n');
                    i + 1
                }
                ("#import", name) => {
                    self.import(line, name)?;
                    i + 1
                }
                ("#if", condition) => {
                    let (otherwise, end) = matching_endif(lines, i)?;
                    let split = otherwise.unwrap_or(end);
                    if self.condition(condition, &line.place)? != 0 {
                        self.block(&lines[i + 1..split])?;
                    } else if let Some(start) = otherwise {
                        self.block(&lines[start + 1..end])?;
                    }
                    end + 1
                }
                ("#for", range) => {
                    let end = matching_end(lines, i)?;
                    self.repeat(line, range, &lines[i + 1..end])?;
                    end + 1
                }
                (word @ ("#operand" | "#result" | "#update"), text) => {
                    self.array(line, word, text)?;
                    i + 1
                }
                (other, _) => return Err(bad(line, &format!("unknown or misplaced directive {other}"))),
            };
        }
        self.depth -= 1;
        Ok(())
    }

    fn import(&mut self, line: &Line, name: &str) -> Result<()> {
        let text = file(name)
            .ok_or_else(|| bad(line, &format!("unknown import: there is no shaders/{name}.wgsl")))?;
        if self.imported.insert(name.to_string()) {
            self.text(&format!("shaders/{name}.wgsl"), text)?;
        }
        Ok(())
    }

    fn array(&mut self, line: &Line, word: &str, text: &str) -> Result<()> {
        let binding_and_name = text.split_once(' ').filter(|(_, name)| is_name(name));
        let (binding, name) =
            binding_and_name.ok_or_else(|| bad(line, &format!("expected `{word} BINDING NAME`")))?;
        let binding = self.value(binding, &line.place)?;
        let defined = |name: &str| self.names.get(name).is_some_and(|value| value != "0");
        let texture = word == "#operand" && defined(&format!("TEXTURE_{binding}"));
        let words = !texture && defined("WORDS");
        if texture {
            self.import(line, "common/texel")?;
        } else if words {
            self.import(line, "common/pack64")?;
        }
        let place = format!("@group(0) @binding({binding})");
        let access = if word == "#operand" { "read" } else { "read_write" };
        let element = if words { "vec2<u64>" } else { "vec4<f32>" };
        let (kind, load, store) = match (texture, words) {
            (true, _) => {
                ("texture_storage_2d<rgba32float, read>".into(), format!("textureLoad({name}, at(i))"), "")
            }
            (_, true) => (format!("array<{element}>"), format!("unpack64({name}[i])"), "pack64(value)"),
            (..) => (format!("array<{element}>"), format!("{name}[i]"), "value"),
        };
        let space = if texture { "var".to_string() } else { format!("var<storage, {access}>") };
        self.out.push_str(&format!("{place} {space} {name}: {kind};\n"));
        if word != "#result" {
            self.out.push_str(&format!("fn load_{name}(i: u32) -> vec4<f32> {{ return {load}; }}\n"));
        }
        if word != "#operand" {
            self.out
                .push_str(&format!("fn store_{name}(i: u32, value: vec4<f32>) {{ {name}[i] = {store}; }}\n"));
        }
        Ok(())
    }

    fn repeat(&mut self, line: &Line, range: &str, body: &[Line]) -> Result<()> {
        let (variable, range) =
            range.split_once(" in ").ok_or_else(|| bad(line, "expected `#for NAME in A..B`"))?;
        let variable = variable.trim().to_string();
        if !is_name(&variable) {
            return Err(bad(line, &format!("{variable} is not a name that a loop can count in")));
        }
        let (a, b) = range.split_once("..").ok_or_else(|| bad(line, "expected a range A..B"))?;
        let (a, b) = (self.value(a, &line.place)?, self.value(b, &line.place)?);
        if b.checked_sub(a).is_none_or(|repetitions| repetitions > MOST_REPETITIONS) {
            return Err(bad(line, &format!("{a}..{b} is more than {MOST_REPETITIONS} repetitions")));
        }
        let shadowed = self.names.get(&variable).cloned();
        for value in a..b {
            self.names.insert(variable.clone(), value.to_string());
            self.block(body)?;
        }
        match shadowed {
            Some(old) => self.names.insert(variable, old),
            None => self.names.remove(&variable),
        };
        Ok(())
    }

    fn substitute(&self, line: &Line) -> Result<String> {
        let mut out = String::with_capacity(line.text.len());
        let mut rest = line.text;
        while let Some((before, tail)) = rest.split_once("${") {
            out.push_str(before);
            let (inner, after) = tail.split_once('}').ok_or_else(|| bad(line, "`${` without `}`"))?;
            if let Some((expression, letters)) = inner.split_once(':') {
                let index = self.value(expression, &line.place)?;
                let letter = usize::try_from(index).ok().and_then(|i| letters.chars().nth(i));
                out.push(
                    letter
                        .ok_or_else(|| bad(line, &format!("{expression} = {index} is outside {letters}")))?,
                );
            } else if let Some(text) = self.names.get(inner.trim()) {
                out.push_str(text);
            } else {
                out.push_str(&self.value(inner, &line.place)?.to_string());
            }
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Where a name that is not defined counts as 0.
    fn condition(&self, text: &str, place: &str) -> Result<i64> {
        expression::evaluate(text, &self.names, place, true)
    }

    fn value(&self, text: &str, place: &str) -> Result<i64> {
        expression::evaluate(text, &self.names, place, false)
    }
}

fn bad(line: &Line, problem: &str) -> Error {
    Error::gpu(format!("{}: {problem}: `{}`", line.place, line.text.trim()))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
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
            "#else" if depth == 0 && otherwise.is_some() => return Err(bad(line, "a second #else")),
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
