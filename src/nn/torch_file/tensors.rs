//! Tensors out of storages: views are checked against the bytes that are there, then gathered.

use std::borrow::Cow;

use super::archive::Archive;
use super::value::Tensor;
use super::{Fault, shown};
use crate::nn::state_dict::StateDict;

/// Reads tensors of one archive.
pub struct Reader<'a, 'f> {
    archive: &'a mut Archive<'f>,
    root: &'f str,
    /// The storage that was read last: packed ones are not unpacked for every view of them.
    last: Option<(String, Cow<'f, [u8]>)>,
    /// Elements that may still be read: as many as the file, unpacked, has bytes, which lets views share a storage
    /// and keeps a small file from filling memory with views of the same bytes.
    elements: u64,
}

impl<'a, 'f> Reader<'a, 'f> {
    pub fn new(archive: &'a mut Archive<'f>, root: &'f str) -> Reader<'a, 'f> {
        let elements = archive.file_bytes();
        Reader { archive, root, last: None, elements }
    }

    /// Adds a tensor to `state`, where its type says.
    pub fn insert(&mut self, state: &mut StateDict, name: String, tensor: &Tensor) -> Result<(), Fault> {
        let wrong = |problem: String| Fault::new(format!("{}: {problem}", shown(&name)));
        let element_type = tensor.element_type;
        let width = element_type.width as u64;
        let count = tensor.shape.iter().try_fold(1_u64, |count, &d| count.checked_mul(d));
        // A zero among the dimensions makes any others possible.
        let empty = tensor.shape.contains(&0);
        let dimensions: Option<Vec<usize>> = tensor.shape.iter().map(|&d| usize::try_from(d).ok()).collect();
        let (Some(dimensions), Some(count)) = (dimensions, if empty { Some(0) } else { count }) else {
            return Err(wrong(format!("expected a shape that memory can hold, found {:?}", tensor.shape)));
        };
        if !element_type.is_read(&dimensions, usize::try_from(count).unwrap_or(usize::MAX)) {
            state.skipped.insert(name, element_type.skipped(&dimensions));
            return Ok(());
        }
        if empty {
            element_type.insert(state, name, dimensions, &[]);
            return Ok(());
        }
        // One past the last element of the storage that the view touches.
        let reach =
            tensor.shape.iter().zip(&tensor.strides).try_fold(tensor.offset, |reach, (&d, &stride)| {
                reach.checked_add((d - 1).checked_mul(stride)?)
            });
        let end = reach.and_then(|reach| reach.checked_add(1)?.checked_mul(width));
        if end.is_none_or(|end| end > tensor.storage.bytes) {
            return Err(wrong(format!(
                "expected a view within its storage of {} bytes, found offset {}, shape {:?}, strides {:?} of {}",
                tensor.storage.bytes, tensor.offset, tensor.shape, tensor.strides, element_type.name
            )));
        }
        // A buffer that `expand` made shows few elements many times; to copy them out could fill memory.
        let stored = tensor.shape.iter().zip(&tensor.strides).filter(|(_, stride)| **stride > 0);
        let stored: u64 = stored.map(|(&d, _)| d).product();
        if stored < count && count > self.elements {
            state.skipped.insert(name, format!("a view of {count} elements over {stored} stored"));
            return Ok(());
        }
        let storage = self.storage(tensor, &name)?;
        self.elements = self.elements.checked_sub(count).ok_or_else(|| {
            wrong(format!(
                "expected views of all storages to have no more elements than the file has bytes, found {count} \
                 more; save the tensors with .clone()"
            ))
        })?;
        // Both were found to lie within the storage.
        let (width, count) = (element_type.width, count as usize);
        let start = tensor.offset as usize * width;
        if is_contiguous(tensor) {
            let bytes = storage.get(start..start + count * width).unwrap_or_default();
            element_type.insert(state, name, dimensions, bytes);
        } else {
            let bytes = gather(&storage, tensor, start, count * width);
            element_type.insert(state, name, dimensions, &bytes);
        }
        Ok(())
    }

    /// The bytes that a tensor is a view of, as many as the pickle claims.
    fn storage(&mut self, tensor: &Tensor, name: &str) -> Result<Cow<'f, [u8]>, Fault> {
        let entry = format!("{}data/{}", self.root, tensor.storage.key);
        let kept = self.last.take().filter(|(last, _)| *last == entry);
        let bytes = match kept {
            Some((_, bytes)) => bytes,
            None => {
                let (bytes, place) = self.archive.read(&entry)?;
                if place.is_none() {
                    self.elements = self.elements.saturating_add(bytes.len() as u64);
                }
                bytes
            }
        };
        if (bytes.len() as u64) < tensor.storage.bytes {
            return Err(Fault::new(format!(
                "{}: expected {} bytes in {}, found {}",
                shown(name),
                tensor.storage.bytes,
                shown(&entry),
                bytes.len()
            )));
        }
        let result = bytes.clone();
        self.last = Some((entry, bytes));
        Ok(result)
    }
}

/// Whether the elements stand in row-major order without gaps.
fn is_contiguous(tensor: &Tensor) -> bool {
    let mut expected = 1;
    tensor.shape.iter().zip(&tensor.strides).rev().all(|(&dimension, &stride)| {
        let fits = dimension == 1 || stride == expected;
        expected *= dimension;
        fits
    })
}

/// The elements in row-major order. The view lies within `storage`, `length` is its number of bytes.
fn gather(storage: &[u8], tensor: &Tensor, start: usize, length: usize) -> Vec<u8> {
    let width = tensor.element_type.width;
    let mut bytes = Vec::with_capacity(length);
    let mut index = vec![0; tensor.shape.len()];
    let mut position = start;
    while bytes.len() < length {
        bytes.extend_from_slice(&storage[position..position + width]);
        for axis in (0..index.len()).rev() {
            // Where a dimension is 1 its stride means nothing, and may be any number.
            let stride = match tensor.shape[axis] {
                1 => 0,
                _ => tensor.strides[axis] as usize * width,
            };
            index[axis] += 1;
            position += stride;
            if index[axis] < tensor.shape[axis] {
                break;
            }
            position -= stride * index[axis] as usize;
            index[axis] = 0;
        }
    }
    bytes
}
