//! Products for adapters that run on the CPU: operands packed into the order in which one subgroup of eight lanes, or of
//! four, reads them from textures, tiles of 32 x 32, or 32 x 16.

use super::{Layout, Sizes};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice, TextureId};
use crate::kernels::Tensor;
use crate::kernels::lanes::{long_round, wide};

/// Rows and columns of a tile.
const TILE: usize = 32;
/// Panels of B that pass through the second-level cache together.
const BAND_BYTES: usize = 512 << 10;

/// The orders in which `common/product32` reads a matrix from a texture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernels) enum Operand {
    /// Blocks of 32 rows, a texel holds four k of a row: the first operand.
    Blocks,
    /// Panels of 32 columns, a texel holds one k of four columns: the second operand.
    Panels,
}

/// A [rows, k] matrix (of which B is the transpose) as an operand texture, filled with zeros up to a multiple of 32 rows.
pub(in crate::kernels) fn operand(
    recording: &mut Recording,
    label: &str,
    x: Tensor,
    order: Operand,
) -> TextureId {
    pack(recording, label, x, 1, order, false)
}

/// `across`: the rows of the matrix are k, as in A [K, M] and B [K, N].
fn pack(
    recording: &mut Recording,
    label: &str,
    x: Tensor,
    batch: usize,
    order: Operand,
    across: bool,
) -> TextureId {
    let (lines, texels) = (x.shape.n / batch, x.shape.c4());
    let (blocks, depth) = match across {
        false => (lines.div_ceil(TILE), texels),
        true => (texels.div_ceil(TILE / 4), lines.div_ceil(4)),
    };
    let packed = recording.transient(format!("{label} packed"), (batch * blocks * TILE * depth * 16) as u64);
    let source = recording.as_texture(label, x.slice);
    recording.dispatch(Dispatch {
        shader: "gemm/pack_operand",
        defines: Defines::new().with("PANELS", order == Operand::Panels).with("ACROSS", across),
        bindings: vec![Binding::Texture(source), Binding::Write(packed)],
        immediates: [lines, texels, depth].map(|v| v as u32).to_vec(),
        grid: [depth.div_ceil(8), blocks, batch].map(|v| v as u32),
        flops: 0,
        bytes: x.shape.bytes() + packed.bytes,
    });
    recording.as_texture(format!("{label} operand"), packed)
}

pub(super) fn matmul(
    recording: &mut Recording,
    layout: Layout,
    sizes: Sizes,
    a: Tensor,
    b: Tensor,
    c: Tensor,
) {
    let blocks = pack(recording, "A", a, sizes.batch, Operand::Blocks, layout == Layout::Tn);
    let panels = pack(recording, "B", b, sizes.batch, Operand::Panels, layout != Layout::Nt);
    product(recording, sizes, blocks, panels, c.slice);
}

/// The product of packed operands.
pub(in crate::kernels) fn product(
    recording: &mut Recording,
    sizes: Sizes,
    a: TextureId,
    b: TextureId,
    c: Slice,
) {
    let Sizes { m, n, k, batch } = sizes;
    let lanes = recording.facts().lanes();
    // The columns of a tile: a panel of B, or half of one.
    let strips_panel = TILE / (4 * lanes);
    let (blocks, strips, depth) = (m.div_ceil(TILE), n.div_ceil(4 * lanes), k.div_ceil(4));
    let band = (BAND_BYTES * strips_panel / (depth * 4 * TILE * 4)).clamp(1, strips);
    let bands = strips.div_ceil(band);
    let tiles = batch * bands * band * blocks;
    recording.dispatch(Dispatch {
        shader: "gemm/matmul_software",
        defines: Defines::new()
            .with("LANES", lanes)
            .with("ROUND", long_round(recording.facts(), depth))
            .with("WIDE", wide(tiles)),
        bindings: vec![Binding::Texture(a), Binding::Texture(b), Binding::Write(c)],
        immediates: [depth, m, n.div_ceil(4), blocks, strips, band, bands, batch].map(|v| v as u32).to_vec(),
        grid: recording.grid(tiles as u64),
        flops: 2 * (m * n * k * batch) as u64,
        bytes: 4 * (batch * (m * k + k * n + m * n)) as u64,
    });
}
