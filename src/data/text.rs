//! Text files of labels: UTF-8 or an error at the byte, and the lines that count.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::problems::at;
use crate::{Error, Result};

/// A label file's text (without a byte order mark) and the SHA-256 of the file.
pub struct Text {
    pub text: String,
    pub hash: [u8; 32],
}

/// Reads a whole file as UTF-8.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Data`] at `FILE@OFFSET` of the first byte that is not UTF-8.
pub fn read_text(file: &Path) -> Result<Text> {
    let bytes = std::fs::read(file).map_err(|error| Error::io(file, error))?;
    let hash = Sha256::digest(&bytes).into();
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Error::data(
            at(file, offset as u64),
            format!(
                "expected UTF-8 text, found byte 0x{:02x}; save the file as UTF-8",
                error.as_bytes()[offset]
            ),
        )
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(Text { text, hash })
}

impl Text {
    /// The lines with their numbers from 1, without blank ones.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        numbered.filter(|(_, line)| !line.trim().is_empty())
    }
}
