//! Which variants of the kernels an adapter gets, in words: for `contraleak device` and for reports.

use serde::Serialize;

use crate::gpu::{Facts, KernelClass};

/// The variant that one family of kernels runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variant {
    pub family: &'static str,
    pub variant: &'static str,
    /// What about the adapter decided it.
    pub reason: String,
}

/// The variants of every family that has more than one.
pub fn variants(facts: &Facts) -> Vec<Variant> {
    let (variant, reason) = if facts.texture_kernels() {
        (
            "software: operands in storage textures",
            "a software adapter with subgroups of 8 and 64-bit integers".to_string(),
        )
    } else {
        let tiles = match facts.class {
            KernelClass::Discrete => "tiled: workgroup-memory tiles, large where the shape allows",
            KernelClass::Integrated | KernelClass::Software => {
                "tiled: medium and small workgroup-memory tiles"
            }
        };
        (tiles, tiled_because(facts))
    };
    vec![Variant { family: "conv2d", variant, reason }]
}

fn tiled_because(facts: &Facts) -> String {
    match (facts.class, facts.subgroup, facts.int64) {
        (KernelClass::Discrete, ..) => "a GPU with its own memory".into(),
        (KernelClass::Integrated, ..) => "a GPU that shares memory with the CPU".into(),
        (KernelClass::Software, Some(8), false) => "a software adapter without 64-bit integers".into(),
        (KernelClass::Software, Some(size), _) => {
            format!("a software adapter with subgroups of {size}, not 8")
        }
        (KernelClass::Software, None, _) => "a software adapter without a fixed subgroup size".into(),
    }
}
