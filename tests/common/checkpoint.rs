//! Checkpoints by hand: a writer of pickles and one of zip archives.
#![allow(dead_code)]

use std::io::Write;

use flate2::Crc;
use flate2::write::DeflateEncoder;

/// A pickle, one instruction after another.
pub struct Pickle(pub Vec<u8>);

impl Pickle {
    pub fn new() -> Pickle {
        Pickle(vec![0x80, 2])
    }
    pub fn raw(mut self, bytes: &[u8]) -> Pickle {
        self.0.extend(bytes);
        self
    }
    pub fn text(self, text: &str) -> Pickle {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }
    /// A whole number, as LONG1 of eight bytes.
    pub fn int(self, number: i64) -> Pickle {
        self.raw(b"\x8a\x08").raw(&number.to_le_bytes())
    }
    pub fn global(self, module: &str, name: &str) -> Pickle {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }
    pub fn ints(self, numbers: &[i64]) -> Pickle {
        numbers.iter().fold(self.raw(b"("), |pickle, &number| pickle.int(number)).raw(b"t")
    }
    pub fn storage(self, kind: &str, key: &str, elements: i64) -> Pickle {
        self.raw(b"(").text("storage").global("torch", kind).text(key).text("cpu").int(elements).raw(b"tQ")
    }
    /// A tensor of `torch._utils._rebuild_tensor_v2`.
    pub fn tensor(self, kind: &str, key: &str, elements: i64, view: (i64, &[i64], &[i64])) -> Pickle {
        let (offset, shape, strides) = view;
        self.global("torch._utils", "_rebuild_tensor_v2")
            .raw(b"(")
            .storage(kind, key, elements)
            .int(offset)
            .ints(shape)
            .ints(strides)
            .raw(b"\x89}tR")
    }
    pub fn stop(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// An entry of an archive: name, content, whether it is deflated.
pub type Entry<'a> = (&'a str, &'a [u8], bool);

/// A zip archive.
pub fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut file, mut list) = (Vec::new(), Vec::new());
    for &(name, content, deflated) in entries {
        let packed = match deflated {
            true => {
                let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            false => content.to_vec(),
        };
        let mut crc = Crc::new();
        crc.update(content);
        let mut common = vec![20, 0, 0, 0, if deflated { 8 } else { 0 }, 0, 0, 0, 0, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend((packed.len() as u32).to_le_bytes());
        common.extend((content.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let header = file.len() as u32;
        file.extend(b"PK\x03\x04");
        file.extend(&common);
        file.extend(name.as_bytes());
        file.extend(&packed);
        list.extend(b"PK\x01\x02\x14\0");
        list.extend(&common);
        list.extend([0; 10]);
        list.extend(header.to_le_bytes());
        list.extend(name.as_bytes());
    }
    let start = file.len() as u32;
    file.extend(&list);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend((entries.len() as u16).to_le_bytes().repeat(2));
    file.extend((list.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

/// A checkpoint of a pickle and its storages.
pub fn checkpoint(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let names: Vec<String> = storages.iter().map(|(key, _)| format!("archive/data/{key}")).collect();
    let mut entries: Vec<Entry> =
        vec![("archive/data.pkl", pickle, false), ("archive/byteorder", b"little", false)];
    entries.extend(names.iter().zip(storages).map(|(name, (_, content))| (name.as_str(), *content, false)));
    zip(&entries)
}

/// `{"w": tensor}` of one storage `0`.
pub fn one_tensor(kind: &str, elements: i64, view: (i64, &[i64], &[i64]), storage: &[u8]) -> Vec<u8> {
    let pickle = Pickle::new().raw(b"}(").text("w").tensor(kind, "0", elements, view).raw(b"u").stop();
    checkpoint(&pickle, &[("0", storage)])
}

/// Bytes of a small file in tests/data/torch.
pub fn written_by_torch(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/data/torch/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
