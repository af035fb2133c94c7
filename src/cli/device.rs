//! `contraleak device`: the adapters, which one is used and why, what it can do, and the kernels chosen for it.

use serde::Serialize;

use super::{Global, output};
use crate::Result;
use crate::gpu::{AdapterDescription, Facts, KernelClass, RateSource, TileRates, list_adapters};
use crate::kernels::variants::{Variant, variants};

/// Show every adapter, which one is used and why, its limits, and the kernel variants chosen for it
#[derive(clap::Args, Debug)]
#[command(
    after_help = "The adapter is chosen by kind (a GPU of its own, a shared one, a software driver). To choose \
another:
  WGPU_ADAPTER_NAME=PART_OF_THE_NAME   WGPU_BACKEND=vulkan|metal|dx12

Examples:
  contraleak device
  contraleak device --json
  WGPU_ADAPTER_NAME=llvmpipe contraleak device"
)]
pub struct Args {}

#[derive(Serialize)]
struct Device {
    /// All adapters; one has `used`.
    adapters: Vec<AdapterDescription>,
    used: Used,
}

#[derive(Serialize)]
struct Used {
    name: String,
    backend: String,
    reason: String,
    /// What kernels know of the adapter: class, subgroup size, limits.
    facts: Facts,
    variants: Vec<Variant>,
}

pub fn run(_: &Args, global: &Global) -> Result<()> {
    let adapters = list_adapters();
    let gpu = match global.open_gpu() {
        Ok(gpu) => gpu,
        Err(error) => {
            if !global.json {
                output::text(&adapters.iter().map(adapter_text).collect::<String>())?;
            }
            return Err(error);
        }
    };
    let AdapterDescription { name, backend, reason, .. } = gpu.description().clone();
    let used = Used { name, backend, reason, facts: gpu.facts().clone(), variants: variants(gpu.facts()) };
    if global.json {
        return output::json(&Device { adapters, used });
    }
    let listed: String = adapters.iter().map(adapter_text).collect();
    output::text(&(listed + &used_text(&used)))
}

fn adapter_text(adapter: &AdapterDescription) -> String {
    let subgroup = match (adapter.subgroup_min, adapter.subgroup_max) {
        (min, max) if min == max => min.to_string(),
        (min, max) => format!("{min} to {max}"),
    };
    let matrices = match &adapter.cooperative_matrices[..] {
        [] => "none".into(),
        kinds => wrapped(kinds, 19),
    };
    let heading = format!("{} ({}, {})", adapter.name, adapter.backend, adapter.device_type);
    let state = if adapter.used { "yes" } else { "no" };
    output::aligned(&[
        (&heading, String::new()),
        ("  used", format!("{state}: {}", adapter.reason)),
        ("  driver", format!("{} {}", adapter.driver, adapter.driver_info).trim().to_string()),
        ("  kernel class", format!("{:?}", adapter.class).to_lowercase()),
        ("  subgroup", subgroup),
        ("  storage binding", output::bytes(adapter.max_storage_buffer_binding_size)),
        ("  buffer", output::bytes(adapter.max_buffer_size)),
        ("  texture side", adapter.max_texture_dimension_2d.to_string()),
        ("  matrices", matrices),
        (
            "  mixed precision",
            adapter.no_mixed_precision.clone().map_or("yes".into(), |problem| format!("no: {problem}")),
        ),
        ("  features", wrapped(&adapter.features, 19)),
    ]) + "\n"
}

fn used_text(used: &Used) -> String {
    let facts = &used.facts;
    let software = facts.class == KernelClass::Software;
    let heading = format!("in use: {} ({})", used.name, used.backend);
    let mut lines = vec![
        (&heading[..], String::new()),
        ("  fixed subgroup", facts.subgroup.map_or("none".into(), |size| size.to_string())),
        ("  64-bit integers", if facts.int64 { "yes" } else { "no" }.into()),
        ("  storage binding", output::bytes(facts.max_binding_bytes)),
        ("  buffer", output::bytes(facts.max_buffer_bytes)),
        ("  workgroup memory", output::bytes(facts.max_workgroup_bytes.into())),
        ("  invocations a group", facts.max_invocations.to_string()),
        ("  groups a dimension", facts.max_groups.to_string()),
        ("  offset alignment", output::bytes(facts.offset_alignment)),
    ];
    if software {
        lines.push(("  threads asked for", facts.threads.to_string()));
        lines.push(("  code cache of a core", output::bytes(facts.code_cache_bytes)));
    }
    let mut text = output::aligned(&lines);
    if !software {
        text.push_str(&tiles_text(&facts.tile_rates));
    }
    for Variant { family, variant, reason } in &used.variants {
        text.push_str(&format!("kernels {family}: {variant} ({reason})\n"));
    }
    text
}

/// Which rates choose the tiles of matrix products, and what was measured.
fn tiles_text(rates: &TileRates) -> String {
    let source = match rates.source {
        RateSource::Fixed => "by the fixed table",
        RateSource::Measured => "by rates measured now",
        RateSource::Cache => "by measured rates from the cache",
    };
    let lines: Vec<(String, String)> = rates
        .tiles
        .iter()
        .map(|tile| {
            let gflops = 2.0 * f64::from(tile.rows) * f64::from(tile.columns) / tile.full_ns;
            let text = format!("{gflops:.0} GFLOP/s, filled by {:.0} workgroups", tile.slots());
            (format!("  {} x {}", tile.rows, tile.columns), text)
        })
        .collect();
    let mut text = format!("tiles of matrix products: {source}\n");
    text.push_str(&output::aligned(
        &lines.iter().map(|(name, value)| (name.as_str(), value.clone())).collect::<Vec<_>>(),
    ));
    text
}

/// Words, a few a line, the further lines indented.
fn wrapped(words: &[String], indent: usize) -> String {
    let mut text = String::new();
    let mut column = indent;
    for word in words {
        if column > indent && column + word.len() + 1 > 100 {
            text.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if column > indent {
            text.push(' ');
        }
        text.push_str(word);
        column += word.len() + 1;
    }
    text
}
