//! Parameters and state of a model: names, forms, initial values, and their places in flat arenas.

use super::form::Form;
use crate::gpu::{Buffer, Gpu, Recording, Slice};
use crate::rng::{Key, Stream, normal, uniform};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// Index of a parameter in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub usize);

/// Initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    Zeros,
    Ones,
    /// U(−bound, bound)
    Uniform(f64),
    /// N(0, std²)
    Normal(f64),
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Moved by the optimizer.
    Trained,
    /// Written by the forward pass: running statistics.
    State,
}

/// One named tensor of a model.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// As torchvision names it.
    pub name: String,
    pub form: Form,
    pub init: Init,
    pub role: Role,
    /// Byte offset in the arena of its role.
    pub offset: u64,
    /// Dimensions in files.
    pub dimensions: Vec<usize>,
    /// Whether files hold the transpose, `[columns, rows]`, of the matrix that `form` orders as `[rows, columns]`.
    pub transposed: bool,
}

impl Parameter {
    pub fn trainable(&self) -> bool {
        self.role == Role::Trained
    }

    /// Values in file order to the engine's order.
    pub fn pack(&self, values: &[f32]) -> Vec<f32> {
        match self.transposed {
            true => self.form.pack(&transpose(values, self.columns())),
            false => self.form.pack(values),
        }
    }

    /// The inverse of [`Parameter::pack`].
    pub fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        let values = self.form.unpack(packed);
        match self.transposed {
            true => transpose(&values, values.len() / self.columns().max(1)),
            false => values,
        }
    }

    /// Of the matrix in files.
    fn columns(&self) -> usize {
        self.dimensions.last().copied().unwrap_or(1)
    }
}

/// A row-major matrix of `columns` columns, column by column.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns.max(1)).copied()).collect()
}

/// All parameters of a model. Trained ones and state lie in an arena each; every offset is a multiple of
/// 256 bytes, the largest alignment that WebGPU asks of a binding.
#[derive(Clone, Debug, Default)]
pub struct ParameterSet {
    entries: Vec<Parameter>,
    trained_bytes: u64,
    state_bytes: u64,
}

const ALIGNMENT: u64 = 256;

impl ParameterSet {
    pub fn new() -> ParameterSet {
        ParameterSet::default()
    }

    /// Adds a parameter; `dimensions` are those it has in files (a linear layer's `[O, I]`).
    pub fn add(
        &mut self,
        name: String,
        form: Form,
        dimensions: Vec<usize>,
        init: Init,
        role: Role,
    ) -> ParameterId {
        let end = match role {
            Role::Trained => &mut self.trained_bytes,
            Role::State => &mut self.state_bytes,
        };
        let offset = *end;
        *end = (offset + form.bytes()).next_multiple_of(ALIGNMENT);
        self.entries.push(Parameter { name, form, init, role, offset, dimensions, transposed: false });
        ParameterId(self.entries.len() - 1)
    }

    /// Adds a matrix that files hold as `[rows, columns]` and `form` orders as `[columns, rows]`: a linear layer's
    /// weight that stands on the right of its input, or positions `[T, D]` of tokens `[1, D, 1, T]`.
    pub fn add_transposed(
        &mut self,
        name: String,
        form: Form,
        [rows, columns]: [usize; 2],
        init: Init,
        role: Role,
    ) -> ParameterId {
        let id = self.add(name, form, vec![rows, columns], init, role);
        self.entries[id.0].transposed = true;
        id
    }

    pub fn get(&self, id: ParameterId) -> &Parameter {
        &self.entries[id.0]
    }

    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &Parameter)> {
        self.entries.iter().enumerate().map(|(i, p)| (ParameterId(i), p))
    }

    pub fn find(&self, name: &str) -> Option<ParameterId> {
        self.entries.iter().position(|p| p.name == name).map(ParameterId)
    }

    /// Bytes of the arena of one role.
    pub fn arena_bytes(&self, role: Role) -> u64 {
        match role {
            Role::Trained => self.trained_bytes.max(ALIGNMENT),
            Role::State => self.state_bytes.max(ALIGNMENT),
        }
    }

    /// Trained elements, padding left out.
    pub fn trained_elements(&self) -> usize {
        self.entries.iter().filter(|p| p.trainable()).map(|p| p.form.elements()).sum()
    }

    /// Initial values by name in file order, from the init stream: parameter i, element j takes draw (i, j).
    pub fn initial_values(&self, seed: u64) -> BTreeMap<String, Vec<f32>> {
        let key = Key::from_seed(seed).stream(Stream::Init, 0);
        self.iter()
            .map(|(id, p)| {
                let draw = |j: usize| key.draw(j as u32, id.0 as u16, 0);
                let count = p.form.elements();
                let values = match p.init {
                    Init::Zeros => vec![0.0; count],
                    Init::Ones => vec![1.0; count],
                    Init::Uniform(bound) => (0..count)
                        .map(|j| ((f64::from(uniform(draw(j)[0])) * 2.0 - 1.0) * bound) as f32)
                        .collect(),
                    Init::Normal(std) => (0..count).map(|j| (normal(draw(j)) * std) as f32).collect(),
                };
                (p.name.clone(), values)
            })
            .collect()
    }

    /// The arena of one role, packed for the GPU.
    ///
    /// # Errors
    /// A missing or mis-sized tensor, by name.
    pub fn pack_arena(&self, role: Role, values: &BTreeMap<String, Vec<f32>>) -> Result<Vec<f32>> {
        let mut arena = vec![0.0; self.arena_bytes(role) as usize / 4];
        for p in self.entries.iter().filter(|p| p.role == role) {
            let given = values
                .get(&p.name)
                .filter(|v| v.len() == p.form.elements())
                .ok_or_else(|| Error::shape(format!("{}: expected {} values", p.name, p.form.elements())))?;
            let start = p.offset as usize / 4;
            let packed = p.pack(given);
            arena[start..start + packed.len()].copy_from_slice(&packed);
        }
        Ok(arena)
    }

    /// The inverse of [`ParameterSet::pack_arena`]: adds the tensors of `role` to `values`.
    pub fn unpack_arena(&self, role: Role, arena: &[f32], values: &mut BTreeMap<String, Vec<f32>>) {
        for p in self.entries.iter().filter(|p| p.role == role) {
            let start = p.offset as usize / 4;
            let packed = &arena[start..start + p.form.bytes() as usize / 4];
            values.insert(p.name.clone(), p.unpack(packed));
        }
    }

    /// The bytes of the trained arena that parameters whose names start with `prefix` take, or an empty range.
    /// Parameters registered one after the other lie side by side.
    pub fn span(&self, prefix: &str) -> std::ops::Range<u64> {
        let chosen = || self.entries.iter().filter(|p| p.trainable() && p.name.starts_with(prefix));
        let first = chosen().map(|p| p.offset).min().unwrap_or(0);
        let end = chosen().map(|p| p.offset + p.form.bytes().next_multiple_of(ALIGNMENT)).max().unwrap_or(0);
        first..end
    }

    /// A GPU buffer for the arena of one role, zero-filled.
    pub fn arena(&self, gpu: &Gpu, label: &str, role: Role) -> Result<Buffer> {
        gpu.buffer(label, self.arena_bytes(role))
    }

    /// The place of a parameter in `arena`, which belongs to its role.
    pub fn slice(&self, id: ParameterId, recording: &mut Recording, arena: &Buffer) -> Slice {
        let p = self.get(id);
        recording.persistent(arena).part(p.offset, p.form.bytes())
    }
}
