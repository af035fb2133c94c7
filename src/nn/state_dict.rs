//! Weights of a model by name, outside of any model: what files hold and what models ask for.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::element_type::WEIGHT_TYPES;
use crate::data::image_set::hex;
use crate::graph::ParameterSet;
use crate::{Error, Result};

/// How many tensors an error names before it only counts.
const LISTED: usize = 20;
/// Ending of the counters that PyTorch keeps beside running statistics.
pub const BATCH_COUNTER: &str = "num_batches_tracked";

/// Ending of the names of running variances.
const VARIANCE: &str = "running_var";

/// One tensor, row-major, with the dimensions that it has in files (OIHW for convolutions).
#[derive(Clone, Debug, PartialEq)]
pub struct StateTensor {
    pub dimensions: Vec<usize>,
    pub values: Vec<f32>,
}

/// Tensors, counters and metadata, each in the order of their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    pub tensors: BTreeMap<String, StateTensor>,
    /// Single whole numbers: `….num_batches_tracked`, `queue_ptr`.
    pub counters: BTreeMap<String, i64>,
    pub metadata: BTreeMap<String, String>,
    /// Tensors of a file that are no weights here, with what they are (`BOOL of shape [77, 77]`). They are neither
    /// hashed nor written; a model that needs one is told what was found.
    pub skipped: BTreeMap<String, String>,
}

/// What a model takes from a [`StateDict`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matched {
    /// Every expected tensor that was there, as [`ParameterSet::pack_arena`] takes it.
    pub values: BTreeMap<String, Vec<f32>>,
    /// Tensors that the model does not have, skipped ones among them, in order of their names.
    pub extra: Vec<String>,
    /// Optional tensors that were not there.
    pub absent: Vec<String>,
}

impl StateDict {
    /// The state of a model: `values` by name with the dimensions that `parameters` states, and a batch counter
    /// of `batches` beside each running mean.
    ///
    /// # Errors
    /// [`Error::Shape`] naming a parameter without values or with a wrong number of them.
    pub fn of_parameters(
        parameters: &ParameterSet,
        values: &BTreeMap<String, Vec<f32>>,
        batches: i64,
    ) -> Result<StateDict> {
        let mut state = StateDict::default();
        for (_, parameter) in parameters.iter() {
            let name = &parameter.name;
            let expected = parameter.dimensions.iter().product::<usize>();
            let given = values.get(name).filter(|values| values.len() == expected).ok_or_else(|| {
                let found = values.get(name).map_or("none".into(), |values| values.len().to_string());
                Error::shape(format!("{name}: expected {expected} values, found {found}"))
            })?;
            let dimensions = parameter.dimensions.clone();
            state.tensors.insert(name.clone(), StateTensor { dimensions, values: given.clone() });
        }
        for counter in state.batch_counters() {
            state.counters.insert(counter, batches);
        }
        Ok(state)
    }

    /// Names of the batch counters that belong to the running means.
    pub fn batch_counters(&self) -> BTreeSet<String> {
        let stems = self.tensors.keys().filter_map(|name| name.strip_suffix("running_mean"));
        stems.map(|stem| format!("{stem}{BATCH_COUNTER}")).collect()
    }

    /// The values that a model with the tensors `expected` (name, dimensions) takes from this state. `optional`
    /// says which of them may be missing. Tensors that the model does not have are listed, not refused; batch
    /// counters are neither expected nor listed.
    ///
    /// # Errors
    /// [`Error::Data`] at `place`, naming each expected tensor (up to 20, then a count) that is missing, has other
    /// dimensions (with both), or holds NaN, infinity or, in a running variance, a
    /// negative number (with its index and value).
    pub fn match_parameters<'a>(
        &self,
        place: &str,
        expected: impl IntoIterator<Item = (&'a str, &'a [usize])>,
        optional: impl Fn(&str) -> bool,
    ) -> Result<Matched> {
        let mut matched = Matched::default();
        let (mut wrong, mut count, mut unfit) = (Vec::new(), 0, false);
        let mut known = BTreeSet::new();
        for (name, dimensions) in expected {
            known.insert(name);
            count += 1;
            match self.tensors.get(name) {
                None if optional(name) && !self.skipped.contains_key(name) => {
                    matched.absent.push(name.to_string())
                }
                None => match self.skipped.get(name) {
                    Some(found) => wrong.push(format!("{name}: expected {WEIGHT_TYPES}, found {found}")),
                    None => {
                        unfit = true;
                        wrong.push(format!("{name}: missing, expected {dimensions:?}"));
                    }
                },
                Some(tensor) if tensor.dimensions != dimensions => {
                    unfit = true;
                    wrong.push(format!("{name}: expected {dimensions:?}, found {:?}", tensor.dimensions));
                }
                Some(tensor) => {
                    // The root of a negative variance is NaN, which a ReLU turns into zeros that nobody notices.
                    let (wanted, least) = match name.ends_with(VARIANCE) {
                        true => ("finite variances of 0 or more", 0.0),
                        false => ("finite values", f32::MIN),
                    };
                    match tensor.values.iter().position(|value| !value.is_finite() || *value < least) {
                        Some(index) => wrong.push(format!(
                            "{name}: expected {wanted}, found {} at index {index}",
                            tensor.values[index]
                        )),
                        None => {
                            matched.values.insert(name.to_string(), tensor.values.clone());
                        }
                    }
                }
            }
        }
        if !wrong.is_empty() {
            let mut text = format!("{} of {count} tensors do not fit the model", wrong.len());
            for problem in wrong.iter().take(LISTED) {
                text.push_str(&format!("\n  {problem}"));
            }
            if wrong.len() > LISTED {
                text.push_str(&format!("\n  and {} more", wrong.len() - LISTED));
            }
            if unfit {
                text.push_str("\nis it an encoder of another architecture, stem or width?");
            }
            return Err(Error::data(place, text));
        }
        let counters = self.counters.keys().filter(|name| !name.ends_with(BATCH_COUNTER));
        let held = self.tensors.keys().chain(counters).chain(self.skipped.keys());
        matched.extra = held.filter(|name| !known.contains(name.as_str())).cloned().collect();
        matched.extra.sort_unstable();
        Ok(matched)
    }

    /// [`StateDict::match_parameters`] for all parameters of a model.
    ///
    /// # Errors
    /// See there.
    pub fn match_parameter_set(
        &self,
        place: &str,
        parameters: &ParameterSet,
        optional: impl Fn(&str) -> bool,
    ) -> Result<Matched> {
        let expected = parameters.iter().map(|(_, p)| (p.name.as_str(), p.dimensions.as_slice()));
        self.match_parameters(place, expected, optional)
    }

    /// SHA-256 (hexadecimal) over names, dimensions and values of all tensors in the order of their names: equal
    /// for equal weights, whatever the file's type, order or metadata. Counters do not enter.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        let number = |hash: &mut Sha256, n: usize| hash.update((n as u64).to_le_bytes());
        for (name, tensor) in &self.tensors {
            // Lengths before contents, so that no two different states give the same bytes.
            number(&mut hash, name.len());
            hash.update(name);
            number(&mut hash, tensor.dimensions.len());
            for &dimension in &tensor.dimensions {
                number(&mut hash, dimension);
            }
            for chunk in tensor.values.chunks(4096) {
                hash.update(chunk.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            }
        }
        hex(&hash.finalize())
    }
}
