//! Which format a file of weights has, by its content: what a file is called says nothing.

use std::fmt::{self, Display};
use std::path::Path;

use super::state_dict::StateDict;
use super::{safetensors_file, torch_file};
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
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return torch_file::parse(bytes, path);
    }
    // Asked before pickles: a header of 640 bytes begins as a pickle does.
    let plausible = bytes.get(8) == Some(&b'{')
        && bytes.first_chunk().is_some_and(|&length| u64::from_le_bytes(length) <= bytes.len() as u64);
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
    Ok((safetensors_file::parse(bytes, path)?, FileFormat::Safetensors))
}
