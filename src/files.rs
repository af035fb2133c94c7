//! Files that appear whole or not at all: written aside, flushed to disk, then renamed into place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Tells files apart that one process writes aside at the same time.
static WRITTEN_ASIDE: AtomicU64 = AtomicU64::new(0);

/// Removes the file written aside unless it was renamed into place.
struct Aside {
    path: PathBuf,
    keep: bool,
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.keep {
            // The failure that led here is the one worth reporting.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes `path` whole or not at all: `write` fills a file beside it (`.NAME.PID-K.partial`), which is
/// flushed to disk (fsync) and renamed over `path`; then the folder is flushed. A reader sees the old
/// file or the new one, never a part.
///
/// # Errors
/// [`Error::Io`] naming `path`, the cause and, for a full disk or a read-only folder, what to do. Nothing
/// is left behind and a file that stood at `path` before is untouched.
pub fn write_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    write_aside_and_rename(path, write).map_err(|error| Error::io(path, explain(error)))
}

/// [`write_atomic`] of bytes that are already there.
pub fn write_bytes_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |file| file.write_all(bytes))
}

/// [`write_atomic`] of parts that are made one after the other: `write` is handed a function that takes the next
/// bytes.
///
/// # Errors
/// As [`write_atomic`], and what `write` fails with, unchanged.
pub fn write_parts_atomic(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let mut failure = None;
    let written = write_atomic(path, |file| {
        let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(|error| Error::io(path, explain(error)));
        write(&mut put).map_err(|error| {
            failure = Some(error);
            io::Error::other("a part failed")
        })
    });
    failure.map_or(written, Err)
}

fn write_aside_and_rename(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a file name"));
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut aside_name = std::ffi::OsString::from(".");
    aside_name.push(name);
    let number = WRITTEN_ASIDE.fetch_add(1, Ordering::Relaxed);
    aside_name.push(format!(".{}-{number}.partial", std::process::id()));
    let aside_path = folder.join(aside_name);

    let file = OpenOptions::new().write(true).create_new(true).open(&aside_path)?;
    let mut aside = Aside { path: aside_path, keep: false };
    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    let file = writer.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()?;
    // Windows does not rename open files.
    drop(file);
    fs::rename(&aside.path, path)?;
    aside.keep = true;
    // The rename itself survives a power cut only once the folder is on disk.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}

fn explain(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full: free some space or choose another folder"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "the folder cannot be written to: choose another one or change its permissions"
        }
        io::ErrorKind::NotFound => "the folder does not exist: create it first",
        io::ErrorKind::NotADirectory => "a part of the path is a file, not a folder",
        io::ErrorKind::IsADirectory => "a folder stands where the file should be",
        _ => return io::Error::new(error.kind(), format!("cannot be written: {error}")),
    };
    io::Error::new(error.kind(), format!("cannot be written: {error}; {advice}"))
}
