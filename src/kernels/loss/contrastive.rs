//! What NT-Xent and InfoNCE share: a row-wise log-sum-exp over cosines divided by a temperature, its gradient, and
//! never the matrix of cosines.
//!
//! Logits are kept in units of log₂ and relative to the largest possible one: x_ij = κ (â_i·b̂_j − 1), κ = log₂e/τ, so
//! x ∈ [−2κ, 0]. Forward: partial sums of exp2 x over column ranges, put together per row in a fixed order. Backward:
//! the cosines are computed again, and each row gathers Σ_j W_ij b̂_j.

use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice, TextureId};
use crate::kernels::lanes::round;
use crate::kernels::matmul::software::{Operand, operand};
use crate::kernels::similarity::{WORKGROUP, normalized, per_row};
use crate::kernels::{Shape, Tensor, reduce};
use crate::{Error, Result};

/// Rows of a tile of the texture kernels; per-row arrays are padded to it.
const BLOCK: usize = 32;
/// Below this temperature the sums need a running maximum: exp2(−2κ) would leave the range of f32.
const FIXED_SHIFT_FROM: f32 = 0.05;
/// Workgroups that keep a large GPU busy, and a CPU with many cores.
const ENOUGH_TILED: usize = 512;
const ENOUGH_SOFTWARE: usize = 64;
/// Weights that a CPU driver holds at once: they should stay in its caches between the two products.
const MOST_WEIGHT_BYTES: usize = 8 << 20;
/// At most this many partial column sums for each row in the symmetric kernel: its scratch memory.
const MOST_COLUMN_SUMS: usize = 128;

/// What to compare with what.
pub(super) struct Problem {
    /// Un-normalised rows [R, D], the ones that get a gradient.
    pub x: Tensor,
    pub against: Against,
    pub temperature: f32,
}

pub(super) enum Against {
    /// Every other row of x; row i's positive is row (i + R/2) mod R.
    Itself,
    /// Normalised rows [K, D], and for each row of x an un-normalised positive.
    Queue { queue: Tensor, positives: Tensor },
}

/// What the gradient needs of the forward pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saved {
    a: Tensor,
    norms: Slice,
    b: Tensor,
    positives: Tensor,
    /// Row i's positive is row (i + shift) mod R.
    shift: usize,
    symmetric: bool,
    temperature: f32,
    log_sums: Slice,
    factors: Slice,
    textures: Option<ForwardTextures>,
}

#[derive(Clone, Copy, Debug)]
struct ForwardTextures {
    a_blocks: TextureId,
    b_panels: TextureId,
}

impl Saved {
    /// # Errors
    /// When a gradient's shape is not that of the rows that get it.
    pub(super) fn check_gradient(&self, what: &str, dx: Tensor) -> Result<()> {
        if dx.shape != self.a.shape {
            return Err(Error::shape(format!(
                "{what}: gradient of shape {} for rows of shape {}; expected equal shapes",
                dx.shape, self.a.shape
            )));
        }
        Ok(())
    }
    fn kappa(&self) -> f32 {
        std::f32::consts::LOG2_E / self.temperature
    }
    fn rows(&self) -> usize {
        self.a.shape.n
    }
    fn depth(&self) -> usize {
        self.a.shape.c4()
    }
    /// Length of per-row arrays.
    fn stride(&self) -> usize {
        self.rows().next_multiple_of(BLOCK)
    }
    fn row_array(&self, recording: &mut Recording, label: &str, count: usize) -> Slice {
        recording.transient(label, (self.stride() * count * 4) as u64)
    }
}

/// # Errors
/// Names the loss and a temperature that f32 logits cannot take.
pub(super) fn check_temperature(loss: &str, temperature: f32) -> Result<()> {
    if !(1e-3..=1e3).contains(&temperature) {
        return Err(Error::shape(format!("{loss}: temperature {temperature}; expected 0.001 to 1000")));
    }
    Ok(())
}

/// `loss` [1, 1] = the mean loss over rows.
pub(super) fn forward(recording: &mut Recording, problem: &Problem, loss: Tensor) -> Saved {
    let (a, norms) = normalized(recording, "projections", problem.x);
    let rows = a.shape.n;
    let (b, positives, shift, symmetric) = match problem.against {
        Against::Itself => (a, a, rows / 2, true),
        Against::Queue { queue, positives } => {
            (queue, normalized(recording, "positives", positives).0, 0, false)
        }
    };
    let padded_bytes = (rows.next_multiple_of(BLOCK) * 4) as u64;
    let log_sums = recording.transient("row log-sums", padded_bytes);
    let factors = recording.transient("positive factors", padded_bytes);
    let textures = recording.facts().texture_kernels().then(|| ForwardTextures {
        a_blocks: operand(recording, "projections", a, Operand::Blocks),
        b_panels: operand(recording, "compared rows", b, Operand::Panels),
    });
    let temperature = problem.temperature;
    let saved = Saved { a, norms, b, positives, shift, symmetric, temperature, log_sums, factors, textures };
    let partial = match textures {
        Some(textures) if symmetric => symmetric_sums(recording, &saved, textures),
        Some(textures) => software_sums(recording, &saved, textures),
        None => tiled_sums(recording, &saved),
    };
    let losses = Tensor::transient(recording, "row losses", Shape::matrix(rows, 1));
    finish_rows(recording, &saved, &partial, losses);
    reduce::mean(recording, losses, loss);
    saved
}

/// Partial sums of every row, [slots, stride].
struct Partial {
    slice: Slice,
    slots: usize,
    /// Row blocks of a workgroup of the symmetric kernel; 0 where every slot holds something for every row.
    group: usize,
    /// Whether the sums are given by their log₂.
    logarithms: bool,
}

/// `units` of work in equal contiguous chunks (multiples of `multiple`), so many that `workgroups` times their number is
/// about `enough`. Depends on shapes alone, so that sums have the same order everywhere. Returns (splits, chunk).
fn splits(units: usize, workgroups: usize, enough: usize, multiple: usize) -> (usize, usize) {
    let wanted = enough.div_ceil(workgroups).clamp(1, units.div_ceil(multiple));
    let chunk = units.div_ceil(wanted).next_multiple_of(multiple);
    (units.div_ceil(chunk), chunk)
}

fn symmetric_sums(recording: &mut Recording, saved: &Saved, textures: ForwardTextures) -> Partial {
    let blocks = saved.rows().div_ceil(BLOCK);
    let group = blocks.div_ceil(MOST_COLUMN_SUMS);
    let workgroups = blocks.div_ceil(group);
    launch_software_sums(recording, saved, textures, workgroups + 1, group, 0, workgroups)
}

fn software_sums(recording: &mut Recording, saved: &Saved, textures: ForwardTextures) -> Partial {
    let blocks = saved.rows().div_ceil(BLOCK);
    let (slots, chunk) = splits(saved.b.shape.n.div_ceil(BLOCK), blocks, ENOUGH_SOFTWARE, 1);
    launch_software_sums(recording, saved, textures, slots, 1, chunk, blocks * slots)
}

fn launch_software_sums(
    recording: &mut Recording,
    saved: &Saved,
    textures: ForwardTextures,
    slots: usize,
    group: usize,
    chunk: usize,
    workgroups: usize,
) -> Partial {
    let online = saved.temperature < FIXED_SHIFT_FROM;
    let slice = saved.row_array(recording, "partial sums", slots);
    let columns = saved.b.shape.n;
    let (blocks, panels) = (saved.rows().div_ceil(BLOCK), columns.div_ceil(BLOCK));
    let sizes = [saved.depth(), columns, blocks, panels, group, chunk, slots - 1, saved.stride()];
    recording.dispatch(Dispatch {
        shader: "loss/contrastive_sums_software",
        defines: Defines::new()
            .with("LANES", recording.facts().lanes())
            .with("SYMMETRIC", saved.symmetric)
            .with("ONLINE", online)
            .with("ROUND", round(saved.depth())),
        bindings: vec![
            Binding::Texture(textures.a_blocks),
            Binding::Texture(textures.b_panels),
            Binding::Write(slice),
        ],
        immediates: immediates(&sizes, saved.kappa()),
        grid: recording.grid(workgroups as u64),
        flops: product_flops(saved),
        bytes: saved.a.shape.bytes() + saved.b.shape.bytes() + slice.bytes,
    });
    Partial { slice, slots, group: if saved.symmetric { group } else { 0 }, logarithms: online }
}

fn tiled_sums(recording: &mut Recording, saved: &Saved) -> Partial {
    let (rows, columns) = (saved.rows(), saved.b.shape.n);
    let blocks = rows.div_ceil(64);
    let (slots, chunk) = splits(columns.div_ceil(64), blocks, ENOUGH_TILED, 1);
    let slice = saved.row_array(recording, "partial sums", slots);
    let sizes = [saved.depth(), rows, columns, blocks, chunk, usize::from(saved.symmetric), saved.stride()];
    recording.dispatch(Dispatch {
        shader: "loss/contrastive_sums_tiled",
        defines: Defines::new().with("ROWS_EACH", 4),
        bindings: vec![Binding::Read(saved.a.slice), Binding::Read(saved.b.slice), Binding::Write(slice)],
        immediates: immediates(&sizes, saved.kappa()),
        grid: recording.grid((blocks * slots) as u64),
        flops: product_flops(saved),
        bytes: saved.a.shape.bytes() + saved.b.shape.bytes() + slice.bytes,
    });
    Partial { slice, slots, group: 0, logarithms: true }
}

fn finish_rows(recording: &mut Recording, saved: &Saved, partial: &Partial, losses: Tensor) {
    let sizes = [
        saved.rows(),
        saved.depth(),
        partial.slots,
        saved.stride(),
        saved.shift,
        partial.group,
        usize::from(partial.logarithms),
        usize::from(!saved.symmetric),
    ];
    recording.dispatch(Dispatch {
        shader: "loss/contrastive_rows",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![
            Binding::Read(partial.slice),
            Binding::Read(saved.a.slice),
            Binding::Read(saved.positives.slice),
            Binding::Write(saved.log_sums),
            Binding::Write(losses.slice),
            Binding::Write(saved.factors),
        ],
        immediates: immediates(&sizes, saved.kappa()),
        grid: per_row(recording, saved.stride()),
        flops: 2 * saved.a.shape.elements() as u64,
        bytes: 2 * saved.a.shape.bytes() + partial.slice.bytes,
    });
}

/// `upstream` times the gradient of the mean loss to the un-normalised rows, into `dx`.
pub(super) fn backward(recording: &mut Recording, saved: &Saved, upstream: f32, dx: Tensor) {
    let (gradient, splits) = match saved.textures {
        Some(textures) => software_gradient(recording, saved, textures),
        None => tiled_gradient(recording, saved),
    };
    let sizes = [saved.rows(), saved.depth(), splits, saved.shift];
    recording.dispatch(Dispatch {
        shader: "loss/contrastive_finish",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![
            Binding::Read(gradient),
            Binding::Read(saved.a.slice),
            Binding::Read(saved.positives.slice),
            Binding::Read(saved.factors),
            Binding::Read(saved.norms),
            Binding::Write(dx.slice),
        ],
        immediates: immediates(&sizes, upstream / (saved.rows() as f32 * saved.temperature)),
        grid: per_row(recording, saved.rows()),
        flops: 8 * saved.a.shape.elements() as u64,
        bytes: 3 * saved.a.shape.bytes() + gradient.bytes,
    });
}

/// Some row blocks at a time: their weights into a buffer, from there into a texture, then their sums.
fn software_gradient(recording: &mut Recording, saved: &Saved, textures: ForwardTextures) -> (Slice, usize) {
    let b_blocks = match saved.symmetric {
        true => textures.a_blocks,
        false => operand(recording, "compared rows", saved.b, Operand::Blocks),
    };
    let (rows, columns, depth) = (saved.rows(), saved.b.shape.n, saved.depth());
    let (columns4, panels) = (columns.div_ceil(4), columns.div_ceil(BLOCK));
    let lanes = recording.facts().lanes();
    let (all_blocks, dim_tiles) = (rows.div_ceil(BLOCK), depth.div_ceil(lanes));
    let block_bytes = columns4 * BLOCK * 16;
    let blocks_at_once = (MOST_WEIGHT_BYTES / block_bytes).clamp(1, all_blocks);
    let (_, panel_chunk) = splits(panels, blocks_at_once, ENOUGH_SOFTWARE, 1);
    let (splits, texel_chunk) = splits(columns4, blocks_at_once * depth.div_ceil(8), ENOUGH_SOFTWARE / 4, 64);
    let gradient = recording.transient("gradient parts", saved.a.shape.bytes() * splits as u64);
    for first_block in (0..all_blocks).step_by(blocks_at_once) {
        let blocks = blocks_at_once.min(all_blocks - first_block);
        let share = (blocks * BLOCK * columns * saved.a.shape.c) as u64;
        let weights = recording.transient("gradient weights", (blocks * block_bytes) as u64);
        recording.dispatch(Dispatch {
            shader: "loss/contrastive_weights_software",
            defines: Defines::new()
                .with("LANES", lanes)
                .with("SYMMETRIC", saved.symmetric)
                .with("ROUND", round(depth)),
            bindings: vec![
                Binding::Texture(textures.a_blocks),
                Binding::Texture(textures.b_panels),
                Binding::Read(saved.log_sums),
                Binding::Write(weights),
            ],
            immediates: immediates(
                &[depth, columns, first_block, blocks, panels, panel_chunk],
                saved.kappa(),
            ),
            grid: recording.grid((blocks * panels.div_ceil(panel_chunk)) as u64),
            flops: 2 * share,
            bytes: saved.b.shape.bytes() + weights.bytes,
        });
        let weights = recording.as_texture("gradient weights", weights);
        let sizes = [depth, rows, first_block, blocks, dim_tiles, columns4, texel_chunk];
        recording.dispatch(Dispatch {
            shader: "loss/weighted_sums_software",
            defines: Defines::new()
                .with("LANES", lanes)
                .with("ROUND", round(columns4).min(round(texel_chunk))),
            bindings: vec![Binding::Texture(weights), Binding::Texture(b_blocks), Binding::Write(gradient)],
            immediates: sizes.iter().map(|&v| v as u32).collect(),
            grid: recording.grid((blocks * dim_tiles * splits) as u64),
            flops: 2 * share,
            bytes: saved.b.shape.bytes() + (blocks * block_bytes) as u64,
        });
    }
    (gradient, splits)
}

fn tiled_gradient(recording: &mut Recording, saved: &Saved) -> (Slice, usize) {
    let (rows, columns) = (saved.rows(), saved.b.shape.n);
    let (blocks, dim_tiles) = (rows.div_ceil(32), saved.depth().div_ceil(32));
    let (splits, chunk) = splits(columns.div_ceil(64), blocks * dim_tiles, ENOUGH_TILED, 1);
    let gradient = recording.transient("gradient parts", saved.a.shape.bytes() * splits as u64);
    let sizes = [saved.depth(), rows, columns, blocks, dim_tiles, chunk, usize::from(saved.symmetric)];
    recording.dispatch(Dispatch {
        shader: "loss/contrastive_gradient_tiled",
        defines: Defines::new().with("ROWS_EACH", 2),
        bindings: vec![
            Binding::Read(saved.a.slice),
            Binding::Read(saved.b.slice),
            Binding::Read(saved.log_sums),
            Binding::Write(gradient),
        ],
        immediates: immediates(&sizes, saved.kappa()),
        grid: recording.grid((blocks * dim_tiles * splits) as u64),
        flops: 2 * product_flops(saved),
        bytes: saved.a.shape.bytes() + saved.b.shape.bytes() + gradient.bytes,
    });
    (gradient, splits)
}

/// Operations of all cosines.
fn product_flops(saved: &Saved) -> u64 {
    2 * (saved.rows() * saved.b.shape.n * saved.a.shape.c) as u64
}

/// Sizes and one factor, as the shaders' parameters end.
fn immediates(sizes: &[usize], factor: f32) -> Vec<u32> {
    sizes.iter().map(|&v| v as u32).chain([factor.to_bits()]).collect()
}
