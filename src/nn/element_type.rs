//! Element types of tensors in files, and how their bytes become what a [`StateDict`] holds.

use half::{bf16, f16};

use super::state_dict::{StateDict, StateTensor};

/// What a weight may be stored as.
pub(super) const WEIGHT_TYPES: &str = "F32, F16, BF16 or F64";

/// An element type under the name that safetensors gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ElementType {
    pub name: &'static str,
    /// Bytes of one element.
    pub width: usize,
}

/// Every known type; those of which nothing is read are here for their widths.
const TYPES: [(&str, usize); 20] = [
    ("F32", 4),
    ("F16", 2),
    ("BF16", 2),
    ("F64", 8),
    ("I64", 8),
    ("I32", 4),
    ("I16", 2),
    ("I8", 1),
    ("U64", 8),
    ("U32", 4),
    ("U16", 2),
    ("U8", 1),
    ("BOOL", 1),
    ("F8_E4M3", 1),
    ("F8_E5M2", 1),
    ("F8_E4M3FNUZ", 1),
    ("F8_E5M2FNUZ", 1),
    ("F8_E8M0", 1),
    ("C64", 8),
    ("C128", 16),
];

impl ElementType {
    /// The type that safetensors calls `name`.
    pub fn named(name: &str) -> Option<ElementType> {
        let &(name, width) = TYPES.iter().find(|(known, _)| *known == name)?;
        Some(ElementType { name, width })
    }

    /// Whether [`ElementType::insert`] reads tensors of this type and this many elements, rather than listing them.
    pub fn is_read(self, dimensions: &[usize], count: usize) -> bool {
        matches!(self.name, "F32" | "F16" | "BF16" | "F64")
            || (count == 1 && dimensions.len() <= 1 && matches!(self.name.as_bytes()[0], b'I' | b'U'))
    }

    /// Puts a tensor of this type where it belongs in `state`: weights (as f32) among the tensors, single whole
    /// numbers among the counters, everything else among what was skipped. `bytes` are its elements, row-major and
    /// little-endian, as many as `dimensions` need. F64 is rounded; beyond f32's range it is skipped.
    pub fn insert(self, state: &mut StateDict, name: String, dimensions: Vec<usize>, bytes: &[u8]) {
        let count = bytes.len() / self.width;
        if !self.is_read(&dimensions, count) {
            state.skipped.insert(name, self.skipped(&dimensions));
            return;
        }
        let values: Vec<f32> = match self.name {
            "F32" => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            "F16" => bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            "BF16" => bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            "F64" => {
                let wide = || bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b));
                let beyond = |value: &f64| value.is_finite() && !(*value as f32).is_finite();
                if let Some((index, value)) = wide().enumerate().find(|(_, value)| beyond(value)) {
                    let text = format!("F64 with {value:e} at index {index}, beyond the range of f32");
                    state.skipped.insert(name, text);
                    return;
                }
                wide().map(|value| value as f32).collect()
            }
            _ => {
                match self.integer(bytes) {
                    Some(number) => state.counters.insert(name, number).map_or((), drop),
                    None => state.skipped.insert(name, self.skipped(&dimensions)).map_or((), drop),
                }
                return;
            }
        };
        state.tensors.insert(name, StateTensor { dimensions, values });
    }

    /// What stands in [`StateDict::skipped`] for a tensor of this type.
    pub fn skipped(self, dimensions: &[usize]) -> String {
        format!("{} of shape {dimensions:?}", self.name)
    }

    /// One whole number, unless it is beyond i64.
    pub fn integer(self, bytes: &[u8]) -> Option<i64> {
        let mut wide = [0; 8];
        let kept = bytes.get(..self.width).filter(|kept| kept.len() <= 8)?;
        let negative = self.name.starts_with('I') && kept.last().is_some_and(|&high| high >= 0x80);
        if negative {
            wide = [0xff; 8];
        }
        wide[..kept.len()].copy_from_slice(kept);
        match self.name.as_bytes()[0] {
            b'I' => Some(i64::from_le_bytes(wide)),
            _ => i64::try_from(u64::from_le_bytes(wide)).ok(),
        }
    }
}
