//! Which variants of the kernels an adapter gets, in words: for `contraleak device` and for reports.

use serde::Serialize;

use crate::gpu::{Facts, KernelClass, RateSource};

/// The variant that one family of kernels runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variant {
    pub family: &'static str,
    pub variant: &'static str,
    /// What about the adapter decided it.
    pub reason: String,
}

const TEXTURES: &str = "software: operands in storage textures, one subgroup a workgroup";
const WINOGRAD: &str =
    "software, and Winograd for 3x3 with stride 1: operands in storage textures, one subgroup a workgroup";
const BUFFERS: &str = "buffers: operands read where they lie";
const TILES: &str = "tiled: operands in workgroup memory";

/// The variants of every family that has more than one.
pub fn variants(facts: &Facts) -> Vec<Variant> {
    let dense = if facts.texture_kernels() { TEXTURES } else { TILES };
    let tiles = match (facts.tile_rates.source, facts.class) {
        (RateSource::Measured, _) => "tiled: sizes by rates measured now",
        (RateSource::Cache, _) => "tiled: sizes by measured rates from the cache",
        (RateSource::Fixed, KernelClass::Discrete) => "tiled: large tiles where the shape allows",
        (RateSource::Fixed, _) => "tiled: medium and small tiles",
    };
    let convolution = match (facts.texture_kernels(), facts.exact_conv) {
        (true, false) => WINOGRAD,
        (true, true) => TEXTURES,
        (false, _) => tiles,
    };
    let direct = if facts.texture_kernels() { TEXTURES } else { BUFFERS };
    let families = [
        ("conv2d", convolution),
        ("depthwise conv2d", direct),
        ("attention", direct),
        ("contrastive losses", dense),
        ("similarity", dense),
        ("matmul", if facts.texture_kernels() { TEXTURES } else { tiles }),
    ];
    families.map(|(family, variant)| Variant { family, variant, reason: reason(facts) }).to_vec()
}

fn reason(facts: &Facts) -> String {
    match (facts.class, facts.subgroup) {
        (KernelClass::Discrete, _) => "a GPU with its own memory".into(),
        (KernelClass::Integrated, _) => "a GPU that shares memory with the CPU".into(),
        (KernelClass::Software, Some(size @ (4 | 8))) if facts.int64 => {
            format!("a software adapter with subgroups of {size} and 64-bit integers")
        }
        (KernelClass::Software, Some(4 | 8)) => "a software adapter without 64-bit integers".into(),
        (KernelClass::Software, Some(size)) => {
            format!("a software adapter with subgroups of {size}, not 4 or 8")
        }
        (KernelClass::Software, None) => "a software adapter without a fixed subgroup size".into(),
    }
}
