//! Workgroup-memory tiles for every adapter.

use super::{Layout, Sizes};
use crate::gpu::{Binding, Dispatch, Recording};
use crate::kernels::tile::{Operand, Tile};
use crate::kernels::{Tensor, reduce};

/// Workgroups of 64 x 64 that a product asks for, and the terms that a part of its sums has at least: they fix the
/// number of parts by the shape alone, so that every adapter adds in the same order.
const GROUPS: usize = 256;
const PART_TERMS: usize = 512;

pub(super) fn matmul(
    recording: &mut Recording,
    layout: Layout,
    sizes: Sizes,
    a: Tensor,
    b: Tensor,
    c: Tensor,
) {
    let Sizes { m, n, k, batch } = sizes;
    let (part_k, parts) = split(sizes);
    let tile = Tile::choose(recording.facts(), m, n, batch * parts);
    let (row_tiles, column_tiles) = (tile.row_tiles(m), tile.column_tiles(n));
    let tiles = row_tiles * column_tiles * (batch * parts) as u64;
    let sums = match parts {
        1 => c.slice,
        _ => recording.scratch("parts of a product", parts as u64 * c.shape.bytes()),
    };
    let (of_a, of_b) = match layout {
        Layout::Nn => (Operand::AlongKFetchedByK, Operand::Across),
        Layout::Nt => (Operand::AlongKFetchedByK, Operand::AlongKFetchedByK),
        Layout::Tn => (Operand::Across, Operand::Across),
    };
    recording.dispatch(Dispatch {
        shader: "gemm/matmul",
        defines: tile.defines(recording.facts(), of_a, of_b),
        bindings: vec![Binding::Read(a.slice), Binding::Read(b.slice), Binding::Write(sums)],
        immediates: [m, n, k, part_k, batch]
            .map(|v| v as u32)
            .into_iter()
            .chain([row_tiles, column_tiles, tiles].map(|v| v as u32))
            .collect(),
        grid: recording.grid(tiles),
        flops: 2 * (m * n * k * batch) as u64,
        bytes: a.shape.bytes() + b.shape.bytes() + parts as u64 * c.shape.bytes(),
    });
    if parts > 1 {
        reduce::sum_parts(recording, sums, parts, c.slice.part(0, c.shape.bytes()));
    }
}

/// Terms of a part and the number of parts: small results of long sums, a layer's weight gradient, are too few workgroups
/// to fill an adapter.
fn split(Sizes { m, n, k, batch }: Sizes) -> (usize, usize) {
    let groups = m.div_ceil(64) * n.div_ceil(64) * batch;
    let wanted = (GROUPS / groups.max(1)).min(k / PART_TERMS).max(1);
    // Whole steps of every tile, and whole texels of operands.
    let part = k.div_ceil(wanted).next_multiple_of(16).max(16);
    (part, k.div_ceil(part).max(1))
}
