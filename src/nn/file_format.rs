//! Which format a file of weights has, by its content: what a file is called says nothing.

use std::fmt::{self, Display};
use std::fs::{File, FileType, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::state_dict::StateDict;
use super::{safetensors_file, torch_file};
use crate::data::problems::at;
use crate::{Error, Result};

/// Formats that weights are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Safetensors,
    /// The zip archive that `torch.save` writes since PyTorch 1.6.
    TorchZip,
    /// The zip archive that `torch.jit.save` writes; only its tensors are read.
    TorchScript,
}

impl Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileFormat::Safetensors => "safetensors",
            FileFormat::TorchZip => "PyTorch zip",
            FileFormat::TorchScript => "TorchScript",
        })
    }
}

/// As many of a file's first bytes tell its format.
const HEAD_BYTES: u64 = 512;

/// Beginnings of files that are recognised in order to be refused with advice: where, what, the advice.
const REFUSED: [(usize, &[u8], &str); 6] = [
    (
        257,
        b"ustar",
        "this is a tar archive (PyTorch before 0.1.10, or packed by hand): unpack it, or load it with torch.load and write it again with torch.save(model.state_dict(), FILE)",
    ),
    (0, b"\x1f\x8b", "this file is packed with gzip: unpack it first"),
    (0, b"\x89HDF", "this is an HDF5 file (Keras): export the weights to safetensors"),
    (0, b"\x93NUMPY", "this is a NumPy array: save the weights with safetensors.numpy.save_file"),
    (0, b"version https://git-lfs", "this is a Git LFS pointer, not the file: run git lfs pull"),
    (0, b"<", "this is a web page, not the file: download it again"),
];

/// Reads the weights in `bytes`, whatever the format; `path` is what errors call the file.
///
/// # Errors
/// [`Error::Data`]: what [`safetensors_file::parse`] and [`torch_file::parse`] refuse, and formats that are not
/// read (PyTorch's before 1.6 among them), by name with what to do.
pub fn parse(bytes: &[u8], path: &Path) -> Result<(StateDict, FileFormat)> {
    if is_zip(bytes) {
        return torch_file::parse(bytes, path);
    }
    refuse_others(bytes, bytes.len() as u64, path)?;
    Ok((safetensors_file::parse(bytes, path)?, FileFormat::Safetensors))
}

/// Reads a file that may be one of weights. Its kind, its beginning and its end are asked before the rest is read, so
/// that what cannot be such a file costs neither time nor memory.
///
/// # Errors
/// [`Error::Io`]; [`Error::Data`]: anything but a regular file, and formats that are not read.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let io = |error| Error::io(path, error);
    // Before it is opened: opening a pipe waits for someone to write to it.
    expect_regular(&std::fs::metadata(path).map_err(io)?, path)?;
    let mut file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    expect_regular(&metadata, path)?;
    let length = metadata.len();
    let mut bytes = Vec::new();
    (&mut file).take(length.min(HEAD_BYTES)).read_to_end(&mut bytes).map_err(io)?;
    if is_zip(&bytes) {
        let start = length.saturating_sub(torch_file::TAIL_BYTES as u64);
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(start)).map_err(io)?;
        (&mut file).take(length - start).read_to_end(&mut tail).map_err(io)?;
        if !torch_file::has_end(&tail) {
            return Err(Error::data(at(path, length), torch_file::NO_END));
        }
    } else {
        refuse_others(&bytes, length, path)?;
        safetensors_file::header_length(&bytes, length, path)?;
    }
    file.seek(SeekFrom::Start(bytes.len() as u64)).map_err(io)?;
    // No more than there was: a file may grow while it is read.
    let rest = length.saturating_sub(bytes.len() as u64);
    bytes.reserve_exact(usize::try_from(rest).unwrap_or(0));
    file.take(rest).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn expect_regular(metadata: &Metadata, path: &Path) -> Result<()> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let found = if kind.is_dir() { "a folder" } else { special(kind) };
    Err(Error::data(path.display(), format!("expected a regular file, found {found}")))
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn special(_kind: FileType) -> &'static str {
    "a device"
}

fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// Refuses a file of `length` bytes whose beginning is that of a known format that is not read.
fn refuse_others(bytes: &[u8], length: u64, path: &Path) -> Result<()> {
    // Asked before pickles: a header of 640 bytes begins as a pickle does.
    let plausible = bytes.get(8) == Some(&b'{')
        && bytes.first_chunk().is_some_and(|&header| u64::from_le_bytes(header) <= length);
    if !plausible {
        if let [0x80, protocol @ 2..=5, ..] = bytes {
            return Err(Error::data(
                path.display(),
                format!(
                    "expected a zip archive of torch.save, found a bare pickle (protocol {protocol}): PyTorch before \
                     1.6 and _use_new_zipfile_serialization=False write such files; load it once with torch.load \
                     and write it again with torch.save(state_dict, FILE), or with safetensors.torch.save_file"
                ),
            ));
        }
        for (offset, beginning, advice) in REFUSED {
            if bytes.get(offset..).is_some_and(|rest| rest.starts_with(beginning)) {
                return Err(Error::data(
                    path.display(),
                    format!("expected safetensors or a zip archive of torch.save; {advice}"),
                ));
            }
        }
    }
    Ok(())
}
