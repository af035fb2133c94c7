//! Zip archives as PyTorch writes and reads them: a list of entries at the file's end, stored or deflated.
//!
//! Read here rather than by a general zip library for three properties that a checkpoint needs: stored entries are
//! borrowed from the file and never copied, two entries of one name are an error, and nothing is inflated beyond a
//! budget that the file's own length sets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::{Fault, shown};

const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const MOST_COMMENT: usize = 0xffff;
/// Within as many bytes of its end, an archive has the record with which it ends.
pub const TAIL_BYTES: usize = MOST_COMMENT + END_BYTES;
pub const NO_END: &str = "zip: expected the archive's list of entries before the end of the file, found none; the file \
                          is cut short, download or copy it again";
const WIDE_END: &[u8] = b"PK\x06\x06";
const WIDE_LOCATOR: &[u8] = b"PK\x06\x07";
const WIDE_LOCATOR_BYTES: usize = 20;
const LISTED: &[u8] = b"PK\x01\x02";
const LISTED_BYTES: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
/// Stands in a narrow field whose value is in the entry's extra field.
const WIDE: u64 = 0xffff_ffff;
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// What may be inflated beside four times the file's length.
const INFLATED_BASE: u64 = 16 << 20;

#[derive(Clone, Copy)]
struct Entry {
    method: u16,
    crc: u32,
    packed: u64,
    unpacked: u64,
    /// Where its local header stands.
    header: u64,
    /// Whether it was read before and found sound.
    sound: bool,
}

pub struct Archive<'f> {
    bytes: &'f [u8],
    entries: BTreeMap<&'f str, Entry>,
    inflatable: u64,
    /// Bytes that entries may still have in all: fewer than the file, unless they overlap.
    readable: u64,
}

/// A little-endian number of `width` bytes at `offset`.
fn number(bytes: &[u8], offset: usize, width: usize) -> Option<u64> {
    let field = bytes.get(offset..offset.checked_add(width)?)?;
    Some(field.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

impl<'f> Archive<'f> {
    /// Reads the list of entries.
    pub fn open(bytes: &'f [u8]) -> Result<Archive<'f>, Fault> {
        let (mut list, end, count) = find_list(bytes)?;
        let mut entries = BTreeMap::new();
        let mut found = 0_u64;
        while list < end {
            let cut = || Fault::at(list as u64, "zip: expected an entry of the archive's list, found none");
            let fixed = bytes.get(list..end).filter(|rest| rest.starts_with(LISTED)).ok_or_else(cut)?;
            let field = |offset, width| number(fixed, offset, width).ok_or_else(cut);
            let (name_length, extra_length) = (field(28, 2)? as usize, field(30, 2)? as usize);
            let comment_length = field(32, 2)? as usize;
            let name = fixed.get(LISTED_BYTES..LISTED_BYTES + name_length).ok_or_else(cut)?;
            let name = std::str::from_utf8(name)
                .map_err(|_| Fault::at(list as u64, "zip: expected names in UTF-8, found other bytes"))?;
            let extra_start = LISTED_BYTES + name_length;
            let extra = fixed.get(extra_start..extra_start + extra_length).ok_or_else(cut)?;
            let mut wide = wide_fields(extra).into_iter();
            let mut size = |narrow: u64| match narrow {
                WIDE => wide.next().ok_or_else(cut),
                narrow => Ok(narrow),
            };
            // In this order in the extra field, and only those that do not fit their narrow fields.
            let (unpacked, packed) = (size(field(24, 4)?)?, size(field(20, 4)?)?);
            let header = size(field(42, 4)?)?;
            if field(8, 2)? as u16 & ENCRYPTED != 0 {
                return Err(Fault::at(
                    list as u64,
                    format!("zip: {}: encrypted; unpack it first", shown(name)),
                ));
            }
            let method = field(10, 2)? as u16;
            let entry = Entry { method, crc: field(16, 4)? as u32, packed, unpacked, header, sound: false };
            if entries.insert(name, entry).is_some() {
                return Err(Fault::at(
                    list as u64,
                    format!("zip: expected every name once, found two entries {}", shown(name)),
                ));
            }
            found += 1;
            list += extra_start + extra_length + comment_length;
        }
        if list != end || found != count {
            return Err(Fault::at(
                end as u64,
                format!("zip: expected a list of {count} entries that ends here, found {found}"),
            ));
        }
        let inflatable = (bytes.len() as u64).saturating_mul(4).saturating_add(INFLATED_BASE);
        Ok(Archive { bytes, entries, inflatable, readable: bytes.len() as u64 })
    }

    /// Bytes of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// What stands before `data.pkl`: the archive's name and a slash.
    pub fn root(&self) -> Result<&'f str, Fault> {
        let pickles = || self.entries.keys().filter(|name| name.rsplit('/').next() == Some("data.pkl"));
        let depth = |name: &str| name.matches('/').count();
        let Some(nearest) = pickles().map(|name| depth(name)).min() else {
            let few: Vec<String> = self.entries.keys().take(5).map(|name| shown(name)).collect();
            return Err(Fault::new(format!(
                "expected a zip archive of torch.save with NAME/data.pkl, found {} entries ({}{})",
                self.entries.len(),
                few.join(", "),
                if self.entries.len() > few.len() { ", …" } else { "" }
            )));
        };
        let mut roots = pickles().filter(|name| depth(name) == nearest);
        match (roots.next(), roots.next()) {
            (Some(first), Some(second)) => Err(Fault::new(format!(
                "expected one checkpoint in the archive, found {} and {}",
                shown(first),
                shown(second)
            ))),
            (first, _) => Ok(first.and_then(|name| name.strip_suffix("data.pkl")).unwrap_or_default()),
        }
    }

    /// The bytes of an entry, checked against its CRC-32, and where they stand in the file unless they are packed.
    pub fn read(&mut self, name: &str) -> Result<(Cow<'f, [u8]>, Option<u64>), Fault> {
        let Some(&entry) = self.entries.get(name) else {
            return Err(Fault::new(format!("zip: expected an entry {}, found none", shown(name))));
        };
        let cut = |problem: String| Fault::at(entry.header, format!("zip: {}: {problem}", shown(name)));
        let missing = || cut("expected its header here, found none".into());
        let start = usize::try_from(entry.header).map_err(|_| missing())?;
        let local = self.bytes.get(start..).filter(|rest| rest.starts_with(LOCAL)).ok_or_else(missing)?;
        let field = |offset, width| number(local, offset, width).ok_or_else(missing);
        let name_end = LOCAL_BYTES + field(26, 2)? as usize;
        if local.get(LOCAL_BYTES..name_end) != Some(name.as_bytes()) {
            return Err(missing());
        }
        let data_start = start + name_end + field(28, 2)? as usize;
        let packed = usize::try_from(entry.packed).ok();
        let packed = packed.and_then(|length| self.bytes.get(data_start..data_start.checked_add(length)?));
        let Some(packed) = packed else {
            return Err(cut(format!(
                "expected {} bytes within the file of {}; it is cut short",
                entry.packed,
                self.bytes.len()
            )));
        };
        if !entry.sound {
            self.readable = self.readable.checked_sub(entry.packed).ok_or_else(|| {
                cut("expected entries that do not overlap, found more bytes than the file has".into())
            })?;
        }
        let (data, place) = match entry.method {
            STORED if entry.sound => return Ok((Cow::Borrowed(packed), Some(data_start as u64))),
            STORED if entry.unpacked == entry.packed => (Cow::Borrowed(packed), Some(data_start as u64)),
            STORED => {
                return Err(cut(format!(
                    "expected a stored entry of {} bytes to unpack to as many, found {}",
                    entry.packed, entry.unpacked
                )));
            }
            DEFLATED => {
                if entry.unpacked > self.inflatable {
                    return Err(cut(format!(
                        "expected to unpack to at most {} bytes, as a file of {} may, found a claim of {}",
                        self.inflatable,
                        self.bytes.len(),
                        entry.unpacked
                    )));
                }
                self.inflatable -= entry.unpacked;
                // One byte more than claimed would show; memory grows with what really comes out.
                let mut data = Vec::new();
                DeflateDecoder::new(packed)
                    .take(entry.unpacked + 1)
                    .read_to_end(&mut data)
                    .map_err(|error| cut(format!("expected deflated data: {error}")))?;
                if data.len() as u64 != entry.unpacked {
                    return Err(cut(format!(
                        "expected to unpack to {} bytes, found {}{}",
                        entry.unpacked,
                        data.len(),
                        if data.len() as u64 > entry.unpacked { " and more" } else { "" }
                    )));
                }
                (Cow::Owned(data), None)
            }
            other => {
                return Err(cut(format!(
                    "expected a stored or deflated entry, found method {other}; pack it again without compression"
                )));
            }
        };
        let mut crc = Crc::new();
        crc.update(&data);
        // Zero: PyTorch leaves the sum out on request (set_crc32_options).
        if entry.crc != 0 && crc.sum() != entry.crc {
            return Err(cut(format!(
                "expected CRC-32 {:08x}, found {:08x}; the file is damaged, download or copy it again",
                entry.crc,
                crc.sum()
            )));
        }
        if let Some(entry) = self.entries.get_mut(name) {
            entry.sound = true;
        }
        Ok((data, place))
    }
}

/// Where the record stands with which an archive ends; `bytes` are the archive or its last [`TAIL_BYTES`].
pub fn end_record(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    // Its comment must end with the file.
    (last.saturating_sub(MOST_COMMENT)..=last).rev().find(|&end| {
        bytes[end..].starts_with(END)
            && number(bytes, end + 20, 2) == Some((bytes.len() - end - END_BYTES) as u64)
    })
}

/// Start and end of the list of entries, and how many it has.
fn find_list(bytes: &[u8]) -> Result<(usize, usize, u64), Fault> {
    let none = || Fault::at(bytes.len() as u64, NO_END);
    let end = end_record(bytes).ok_or_else(none)?;
    let field = |offset, width| number(bytes, offset, width).ok_or_else(none);
    let (mut count, mut length, mut start) = (field(end + 10, 2)?, field(end + 12, 4)?, field(end + 16, 4)?);
    let locator = end.checked_sub(WIDE_LOCATOR_BYTES).filter(|&l| bytes[l..].starts_with(WIDE_LOCATOR));
    if let Some(locator) = locator {
        let wide = usize::try_from(field(locator + 8, 8)?).map_err(|_| none())?;
        if !bytes.get(wide..).is_some_and(|rest| rest.starts_with(WIDE_END)) {
            return Err(none());
        }
        // It was found within the file, so these sums do not overflow.
        (count, length, start) = (field(wide + 32, 8)?, field(wide + 40, 8)?, field(wide + 48, 8)?);
    }
    let list_end = start.checked_add(length).filter(|&list_end| list_end <= end as u64);
    match list_end {
        Some(list_end) => Ok((start as usize, list_end as usize, count)),
        None => Err(Fault::at(
            end as u64,
            format!(
                "zip: expected a list of entries that ends before {end}, found {length} bytes from {start} on"
            ),
        )),
    }
}

/// The 64-bit fields of an entry, in their order.
fn wide_fields(mut extra: &[u8]) -> Vec<u64> {
    while let (Some(id), Some(length)) = (number(extra, 0, 2), number(extra, 2, 2)) {
        let Some(field) = extra.get(4..4 + length as usize) else { break };
        if id == 1 {
            return field.as_chunks().0.iter().take(3).map(|&bytes| u64::from_le_bytes(bytes)).collect();
        }
        extra = &extra[4 + length as usize..];
    }
    Vec::new()
}
