//! The JSON header of a safetensors file, read straight into typed entries: whatever else it holds ends the reading
//! where it stands, before memory is taken for it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::data::problems::shown;

pub(super) const METADATA: &str = "__metadata__";
/// As many as PyTorch's tensors may have.
const MOST_DIMENSIONS: usize = 64;
const LONGEST_NAME: usize = 512;
const MOST_TENSORS: usize = 1_000_000;
const MOST_METADATA: usize = 100_000;

/// One tensor in a header.
#[derive(serde::Deserialize)]
pub(super) struct Entry {
    pub dtype: String,
    pub shape: Shape,
    pub data_offsets: [u64; 2],
}

/// Dimensions of a tensor, at most [`MOST_DIMENSIONS`].
pub(super) struct Shape(pub Vec<u64>);

/// What a header says, by name.
#[derive(Default)]
pub(super) struct Header {
    pub metadata: BTreeMap<String, String>,
    pub entries: BTreeMap<String, Entry>,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "a shape of at most {MOST_DIMENSIONS} dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(dimension) = items.next_element()? {
            if shape.len() == MOST_DIMENSIONS {
                return Err(A::Error::custom(format!(
                    "expected at most {MOST_DIMENSIONS} dimensions, found more"
                )));
            }
            shape.push(dimension);
        }
        Ok(Shape(shape))
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut described = false;
        while let Some(name) = items.next_key::<String>()? {
            // The reader's own message ends with the place, which it finds again in this one.
            let wrong = |wanted: &str, error: A::Error| {
                A::Error::custom(format!("{}: expected {wanted}: {error}", shown(&name)))
            };
            if name == METADATA {
                if std::mem::replace(&mut described, true) {
                    return Err(twice(&name));
                }
                let texts: Texts =
                    items.next_value().map_err(|error| wrong("names with text values", error))?;
                header.metadata = texts.0;
                continue;
            }
            if name.len() > LONGEST_NAME {
                return Err(A::Error::custom(format!(
                    "expected names of at most {LONGEST_NAME} bytes, found {} of {} bytes",
                    shown(&name),
                    name.len()
                )));
            }
            if header.entries.len() == MOST_TENSORS {
                return Err(A::Error::custom(format!("expected at most {MOST_TENSORS} tensors, found more")));
            }
            if header.entries.contains_key(&name) {
                return Err(twice(&name));
            }
            let entry = items.next_value().map_err(|error| wrong("dtype, shape and data_offsets", error))?;
            header.entries.insert(name, entry);
        }
        Ok(header)
    }
}

/// Texts by name.
struct Texts(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        deserializer.deserialize_map(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON object of texts by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Texts, A::Error> {
        let mut texts = BTreeMap::new();
        while let Some((name, text)) = items.next_entry::<String, String>()? {
            if texts.len() == MOST_METADATA {
                return Err(A::Error::custom(format!("expected at most {MOST_METADATA} texts, found more")));
            }
            if texts.contains_key(&name) {
                return Err(twice(&name));
            }
            texts.insert(name, text);
        }
        Ok(Texts(texts))
    }
}

fn twice<E: Error>(name: &str) -> E {
    E::custom(format!("{}: expected every name once, found it twice", shown(name)))
}
