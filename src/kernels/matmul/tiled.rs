//! Workgroup-memory tiles for every adapter.

use super::{Layout, Sizes};
use crate::gpu::{Binding, Dispatch, Recording};
use crate::kernels::Tensor;
use crate::kernels::tile::{Operand, Tile};

pub(super) fn matmul(
    recording: &mut Recording,
    layout: Layout,
    sizes: Sizes,
    a: Tensor,
    b: Tensor,
    c: Tensor,
) {
    let Sizes { m, n, k, batch } = sizes;
    let tile = Tile::choose(recording.facts(), m, n, batch);
    let (row_tiles, column_tiles) = (tile.row_tiles(m), tile.column_tiles(n));
    let tiles = row_tiles * column_tiles * batch as u64;
    let (of_a, of_b) = match layout {
        Layout::Nn => (Operand::AlongKFetchedByK, Operand::Across),
        Layout::Nt => (Operand::AlongKFetchedByK, Operand::AlongKFetchedByK),
        Layout::Tn => (Operand::Across, Operand::Across),
    };
    recording.dispatch(Dispatch {
        shader: "gemm/matmul",
        defines: tile.defines(recording.facts(), of_a, of_b),
        bindings: vec![Binding::Read(a.slice), Binding::Read(b.slice), Binding::Write(c.slice)],
        immediates: [m, n, k]
            .map(|v| v as u32)
            .into_iter()
            .chain([row_tiles, column_tiles, tiles].map(|v| v as u32))
            .collect(),
        grid: recording.grid(tiles),
        flops: 2 * (m * n * k * batch) as u64,
        bytes: a.shape.bytes() + b.shape.bytes() + c.shape.bytes(),
    });
}
