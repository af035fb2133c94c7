//! Checkpoints of PyTorch (`.pt`, `.pth`, `.pth.tar`): zip archives of `torch.save` and of `torch.jit.save`.
//!
//! Such a file holds a pickle, which is a program for Python's pickle machine, and the tensors' bytes beside it. A
//! pickle may call any function of the Python that loads it. Here it cannot: `unpickle` is a machine of our own
//! whose instructions only build data (`rebuild` says what of), `globals` is the short list of names a pickle may mention, and whatever is
//! not on the list is refused by name. Code in TorchScript archives is never read.
//!
//! Nor are sizes believed. Text is borrowed from the pickle, stored entries from the file; everything else is
//! counted against limits, and tensors against the file's length, before memory is taken.
//!
//! Sources: PyTorch, `torch/serialization.py`, `torch/_utils.py`, `torch/csrc/jit/serialization/pickler.cpp`;
//! CPython, `Lib/pickletools.py`; PKWARE, APPNOTE.TXT 6.3.

mod archive;
mod globals;
mod rebuild;
mod tensors;
mod tree;
mod unpickle;
mod value;

use std::path::Path;

use super::file_format::FileFormat;
use super::state_dict::StateDict;
use crate::data::problems::{at, shown};
use crate::{Error, Result};

use archive::Archive;
pub(super) use archive::{NO_END, TAIL_BYTES};
use tensors::Reader;

/// What is wrong with a checkpoint, and at which byte of the file where that is known.
#[derive(Debug)]
struct Fault {
    offset: Option<u64>,
    problem: String,
}

impl Fault {
    fn new(problem: impl Into<String>) -> Fault {
        Fault { offset: None, problem: problem.into() }
    }
    fn at(offset: u64, problem: impl Into<String>) -> Fault {
        Fault { offset: Some(offset), problem: problem.into() }
    }
}

/// Whether a file that ends with `tail` ends as a zip archive does.
pub(super) fn has_end(tail: &[u8]) -> bool {
    archive::end_record(tail).is_some()
}

/// Reads the weights of a checkpoint; `path` is what errors call the file.
///
/// The weights are the dict of tensors that the checkpoint holds: the checkpoint itself or a part of it, found by
/// the rule of `tree::select` and named in the metadata (`checkpoint.taken`, `checkpoint.passed_over`). State of
/// optimisers is never taken. Dicts and modules within it give dotted names. Numbers and text beside it become
/// metadata (`checkpoint.epoch`, `checkpoint.arch`, `checkpoint.args.lr`). Types of tensors are treated as in
/// [`safetensors_file`](super::safetensors_file).
///
/// # Errors
/// [`Error::Data`] at `FILE@OFFSET` or `FILE`: an archive that is damaged, big-endian or not PyTorch's; a pickle
/// that names anything but tensors and plain data (the name is in the message); sizes that do not fit the file; a
/// checkpoint without weights.
pub fn parse(bytes: &[u8], path: &Path) -> Result<(StateDict, FileFormat)> {
    read(bytes).map_err(|fault| match fault.offset {
        Some(offset) => Error::data(at(path, offset), fault.problem),
        None => Error::data(path.display(), fault.problem),
    })
}

fn read(bytes: &[u8]) -> Result<(StateDict, FileFormat), Fault> {
    let mut archive = Archive::open(bytes)?;
    let root = archive.root()?;
    let order = format!("{root}byteorder");
    if archive.contains(&order) {
        let (order, _) = archive.read(&order)?;
        if order.trim_ascii() != b"little" {
            return Err(Fault::new(format!(
                "expected byteorder little, found {}; save the checkpoint on a little-endian machine",
                shown(&String::from_utf8_lossy(&order[..order.len().min(16)]))
            )));
        }
    }
    let format = match archive.contains(&format!("{root}constants.pkl")) {
        true => FileFormat::TorchScript,
        false => FileFormat::TorchZip,
    };
    let (pickle, start) = archive.read(&format!("{root}data.pkl"))?;
    let loaded = unpickle::load(&pickle).map_err(|fault| Fault {
        // A byte of a packed pickle is no byte of the file.
        offset: fault.offset.zip(start).map(|(offset, start)| start + offset),
        problem: format!("data.pkl: {}", fault.problem),
    })?;
    let selection = tree::select(&loaded)?;
    let mut reader = Reader::new(&mut archive, root);
    let mut state = StateDict { metadata: selection.metadata, ..StateDict::default() };
    for (name, tensor) in selection.tensors {
        reader.insert(&mut state, name, tensor)?;
    }
    state.skipped.extend(selection.others);
    Ok((state, format))
}
