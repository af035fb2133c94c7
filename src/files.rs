//! Files that appear whole or not at all.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes `path` through a temporary file in the same folder: write, fsync, rename. On any error the
/// temporary file is removed and an existing `path` stays as it was.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let name =
        path.file_name().ok_or_else(|| Error::usage(format!("{}: not a file name", path.display())))?;
    let temporary = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let attempt = || -> Result<()> {
        let file = fs::File::create(&temporary).map_err(|e| Error::io(&temporary, e))?;
        let mut buffered = BufWriter::new(file);
        write(&mut buffered)?;
        let file = buffered.into_inner().map_err(|e| Error::io(path, e.into_error()))?;
        file.sync_all().map_err(|e| Error::io(path, e))?;
        fs::rename(&temporary, path).map_err(|e| Error::io(path, e))
    };
    attempt().inspect_err(|_| {
        // The first error is the one worth reporting; a leftover that cannot be removed is harmless.
        let _ = fs::remove_file(&temporary);
    })
}
