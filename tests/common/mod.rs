//! What tests share: the reference values of `tests/golden`, the `fill` generator they are made with,
//! random test data, the engine's layout, and comparisons with messages that say where and by how much.
//!
//! `CONTRALEAK_GOLDEN=DIR` reads the reference values from another folder of the same form.

// Every test binary compiles its own copy of this file and uses only a part of it.
#![allow(dead_code)]

pub mod augment;
pub mod defence;
pub mod dense;
pub mod gpu;
pub mod training;

use std::path::PathBuf;
use std::sync::OnceLock;

use contraleak::rng::{Key, threefry2x32_20};
use safetensors::{Dtype, SafeTensors};

/// The folder of the reference values.
pub fn golden_dir() -> PathBuf {
    std::env::var_os("CONTRALEAK_GOLDEN")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"), PathBuf::from)
}

fn read(name: &str) -> Vec<u8> {
    let path = golden_dir().join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("reference values {}: {e}", path.display()))
}

/// A JSON file of the reference values, e.g. `ops.json`.
pub fn golden_json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&read(name)).unwrap_or_else(|e| panic!("reference values {name}: {e}"))
}

/// A tensor as float64, row-major.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// One safetensors file of the reference values.
pub struct Golden {
    name: String,
    bytes: Vec<u8>,
    salt: String,
}

impl Golden {
    /// Opens `NAME.safetensors`.
    pub fn open(name: &str) -> Golden {
        Golden {
            name: name.to_owned(),
            bytes: read(&format!("{name}.safetensors")),
            salt: golden_salt().into(),
        }
    }

    /// Opens `tests/reference/NAME.safetensors`, which `tests/torch/reference_values.py` makes with the salt "public".
    pub fn reference(name: &str) -> Golden {
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/reference/{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Golden { name: name.to_owned(), bytes, salt: "public".into() }
    }

    /// [`fill`] with the salt of this file.
    pub fn fill(&self, name: &str, shape: &[usize]) -> Vec<f64> {
        fill_salted(&self.salt, name, shape)
    }

    /// [`probe`] with the salt of this file.
    pub fn probe(&self, name: &str, tensor: &[f64]) -> Vec<f64> {
        probe_along(&self.fill(&format!("probe.{name}"), &[tensor.len()]), tensor)
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap_or_else(|e| panic!("{}.safetensors: {e}", self.name))
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.file().names().into_iter().map(|n| n.to_string()).collect();
        names.sort();
        names
    }

    pub fn has(&self, name: &str) -> bool {
        self.file().tensor(name).is_ok()
    }

    /// A tensor of type F64, F32 or I64, as f64.
    pub fn tensor(&self, name: &str) -> Tensor {
        let file = self.file();
        let view =
            file.tensor(name).unwrap_or_else(|e| panic!("tensor {name} of {}.safetensors: {e}", self.name));
        let bytes = view.data();
        let data = match view.dtype() {
            Dtype::F64 => bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::I64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("tensor {name} of {}.safetensors has type {other:?}", self.name),
        };
        Tensor { shape: view.shape().to_vec(), data }
    }

    /// The elements of [`Golden::tensor`] alone.
    pub fn data(&self, name: &str) -> Vec<f64> {
        self.tensor(name).data
    }
}

/// The numbers in [−1, 1) that the reference values are made from (`tests/golden/README.md`), in
/// row-major order of `shape`; exact in f32. The salt is that of `meta.json`.
pub fn fill(name: &str, shape: &[usize]) -> Vec<f64> {
    fill_salted(golden_salt(), name, shape)
}

fn golden_salt() -> &'static str {
    static SALT: OnceLock<String> = OnceLock::new();
    SALT.get_or_init(|| {
        let meta = golden_json("meta.json");
        meta["salt"].as_str().expect("meta.json holds a string `salt`").to_owned()
    })
}

fn fill_salted(salt: &str, name: &str, shape: &[usize]) -> Vec<f64> {
    let key = format!("{salt}:{name}").bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    (1..=shape.iter().product::<usize>() as u64)
        .map(|i| {
            let mut z = key.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f64 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// The probe of a tensor, as the encoders' reference files store it: its norm, its product with
/// `fill("probe." + name)`, and its first eight elements.
pub fn probe(name: &str, tensor: &[f64]) -> Vec<f64> {
    probe_along(&fill(&format!("probe.{name}"), &[tensor.len()]), tensor)
}

fn probe_along(direction: &[f64], tensor: &[f64]) -> Vec<f64> {
    let mut probe = vec![norm(tensor), tensor.iter().zip(direction).map(|(t, d)| t * d).sum()];
    probe.extend(tensor.iter().take(8));
    probe
}

/// `count` seeded random numbers, uniform in [−1, 1), exact in f32.
pub fn random(seed: u64, count: usize) -> Vec<f64> {
    let key = Key::from_seed(seed);
    (0..count as u32)
        .map(|i| f64::from(contraleak::rng::uniform(threefry2x32_20(key.0, [i, u32::MAX])[0])) * 2.0 - 1.0)
        .collect()
}

/// `count` seeded random integers in `low..=high`.
pub fn random_sizes(seed: u64, count: usize, low: usize, high: usize) -> Vec<usize> {
    let span = (high - low + 1) as f64;
    random(seed, count).iter().map(|u| low + ((u + 1.0) / 2.0 * span) as usize).collect()
}

/// NCHW → the engine's NC4HW4 in f32, padding channels zero. A matrix [N, D] has height = width = 1.
pub fn pack_nc4hw4(x: &[f64], batch: usize, channels: usize, height: usize, width: usize) -> Vec<f32> {
    let blocks = channels.div_ceil(4);
    let mut packed = vec![0.0; batch * blocks * height * width * 4];
    for (i, &x) in x.iter().enumerate() {
        packed[nc4hw4_index(i, channels, height * width)] = x as f32;
    }
    packed
}

/// The inverse of [`pack_nc4hw4`]; padding channels that are not zero fail the test.
pub fn unpack_nc4hw4(packed: &[f32], batch: usize, channels: usize, height: usize, width: usize) -> Vec<f64> {
    let count = batch * channels * height * width;
    let mut rest = packed.to_vec();
    let unpacked = (0..count)
        .map(|i| f64::from(std::mem::take(&mut rest[nc4hw4_index(i, channels, height * width)])))
        .collect();
    if let Some(at) = rest.iter().position(|&x| x != 0.0) {
        panic!("a lane of a padding channel holds {} at index {at} of the packed tensor", rest[at]);
    }
    unpacked
}

fn nc4hw4_index(i: usize, channels: usize, spatial: usize) -> usize {
    let (n, c, position) = (i / spatial / channels, i / spatial % channels, i % spatial);
    ((n * channels.div_ceil(4) + c / 4) * spatial + position) * 4 + c % 4
}

pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Fails unless max|actual − expected| ≤ tolerance · max|expected|, naming the worst element. An
/// `expected` of nothing but zeros is compared absolutely.
#[track_caller]
pub fn assert_close(label: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_same_length(label, actual, expected);
    let largest = expected.iter().fold(0.0_f64, |m, e| m.max(e.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let error = |i: usize| (actual[i] - expected[i]).abs() / scale;
    // NaN counts as the worst.
    let worst = (0..actual.len()).reduce(|a, b| if error(b) > error(a) || error(b).is_nan() { b } else { a });
    let Some(worst) = worst else { panic!("{label}: nothing to compare") };
    assert!(
        error(worst) <= tolerance,
        "{label}: element {worst} of {} is {} instead of {}: error {:.3e} of the largest magnitude {scale:.3e}, \
         allowed {tolerance:.1e}",
        actual.len(),
        actual[worst],
        expected[worst],
        error(worst)
    );
}

/// Fails unless ‖actual − expected‖ ≤ tolerance · ‖expected‖.
#[track_caller]
pub fn assert_close_l2(label: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_same_length(label, actual, expected);
    let error = relative_l2(actual, expected);
    assert!(
        error <= tolerance,
        "{label}: relative L2 error {error:.3e}, allowed {tolerance:.1e} (norms {:.6e} and {:.6e})",
        norm(actual),
        norm(expected)
    );
}

/// ‖actual − expected‖ / ‖expected‖.
pub fn relative_l2(actual: &[f64], expected: &[f64]) -> f64 {
    let difference: Vec<f64> = actual.iter().zip(expected).map(|(a, e)| a - e).collect();
    norm(&difference) / norm(expected).max(f64::MIN_POSITIVE)
}

#[track_caller]
fn assert_same_length(label: &str, actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len(), "{label}: numbers of elements (actual, expected)");
}
