//! Optimizer steps over flat arenas: parameters, gradients and state in buffers of one length, in whole
//! vec4. Learning rate and Adam's bias corrections come from the [`StepState`](super::StepState); where it says `skip`, parameters
//! and state stay as they are.
//!
//! Elements are treated alike, so padding lanes and gaps (all zero) stay zero. Arenas larger than one
//! binding may be are split here; only LARS wants an arena that fits.

use crate::gpu::shader::Defines;
use crate::gpu::{Allocator, Binding, Buffer, Dispatch, Recording, Slice};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};

const WORKGROUP: u32 = 64;
/// vec4 of one invocation of an element-wise kernel.
const ITEMS: u32 = 4;
/// vec4 of one partial sum: 64 KiB, so that the number of parts depends on the arena only.
const CHUNK: usize = 4096;

/// Hyper-parameters of [`sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// μ; needs no state buffer when it is 0.
    pub momentum: f64,
    pub nesterov: bool,
    /// λ, added to the gradient as λp.
    pub weight_decay: f64,
}

/// Hyper-parameters of [`adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    pub beta1: f64,
    pub beta2: f64,
    /// Above 0.
    pub eps: f64,
    pub weight_decay: f64,
    /// AdamW: p shrinks by 1 − ηλ instead of λp joining the gradient.
    pub decoupled: bool,
}

/// Hyper-parameters of [`lars`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lars {
    pub momentum: f64,
    pub weight_decay: f64,
    /// κ.
    pub trust: f64,
}

/// What [`gradient_norm`] writes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct GradientNorm {
    /// ‖g‖₂; not finite where an element is not.
    pub norm: f32,
    /// Elements that are NaN or infinite.
    pub non_finite: u32,
    pub spare: [u32; 2],
}

/// `g ← g + λp; v ← μv + g; p ← p − ηv` (or Nesterov's form); `velocity` starts as zeros and is not
/// needed without momentum.
///
/// # Errors
/// Slices of different length; momentum without a velocity.
pub fn sgd(
    recording: &mut Recording,
    step: Slice,
    settings: &Sgd,
    parameters: Slice,
    gradients: Slice,
    velocity: Option<Slice>,
) -> Result<()> {
    let moving = settings.momentum != 0.0;
    let state = match velocity {
        Some(velocity) if moving => vec![velocity],
        None if moving => {
            return Err(Error::usage(format!(
                "SGD with momentum {} needs a state buffer of the parameters' size; none was given",
                settings.momentum
            )));
        }
        _ => Vec::new(),
    };
    let written: Vec<Slice> = [parameters].into_iter().chain(state).collect();
    let kernel = Elementwise {
        shader: "optim/sgd",
        defines: Defines::new().with("MOMENTUM", moving),
        immediates: vec![
            (settings.momentum as f32).to_bits(),
            (settings.weight_decay as f32).to_bits(),
            u32::from(settings.nesterov && moving),
        ],
        flops: 4 + 2 * u64::from(moving),
    };
    kernel.record(recording, Some(step), &[gradients], &written)
}

/// One step of Adam or AdamW; `mean` and `square` start as zeros.
///
/// # Errors
/// Slices of different length.
pub fn adam(
    recording: &mut Recording,
    step: Slice,
    settings: &Adam,
    parameters: Slice,
    gradients: Slice,
    mean: Slice,
    square: Slice,
) -> Result<()> {
    let numbers = [
        settings.beta1,
        1.0 - settings.beta1,
        settings.beta2,
        1.0 - settings.beta2,
        settings.eps,
        settings.weight_decay,
    ];
    let mut immediates = numbers.map(|v| (v as f32).to_bits()).to_vec();
    immediates.push(u32::from(settings.decoupled));
    let kernel = Elementwise { shader: "optim/adam", defines: Defines::new(), immediates, flops: 15 };
    kernel.record(recording, Some(step), &[gradients], &[parameters, mean, square])
}

/// `target ← m·target + (1 − m)·source`.
///
/// # Errors
/// Slices of different length.
pub fn ema(recording: &mut Recording, momentum: f64, target: Slice, source: Slice) -> Result<()> {
    let immediates = [momentum, 1.0 - momentum].map(|v| (v as f32).to_bits()).to_vec();
    let kernel = Elementwise { shader: "optim/ema", defines: Defines::new(), immediates, flops: 3 };
    kernel.record(recording, None, &[source], &[target])
}

/// The norm of all gradients together into `norm` ([`GradientNorm`], 16 bytes), in two ordered stages.
pub fn gradient_norm(recording: &mut Recording, gradients: &[Slice], norm: Slice) {
    let pieces: Vec<Slice> =
        gradients.iter().flat_map(|&g| split(g, recording.facts().max_binding_bytes)).collect();
    let chunks = |s: &Slice| (s.bytes / 16).div_ceil(CHUNK as u64);
    let total: u64 = pieces.iter().map(chunks).sum();
    let sums = recording.transient("partial gradient norms", total * 8);
    let defines = || Defines::new().with("WORKGROUP", WORKGROUP).with("CHUNK", CHUNK);
    let mut first = 0;
    for piece in pieces {
        recording.dispatch(Dispatch {
            shader: "optim/gradient_norm",
            defines: defines(),
            bindings: vec![Binding::Read(piece), Binding::Write(sums)],
            immediates: vec![(piece.bytes / 16) as u32, first as u32],
            grid: recording.grid(chunks(&piece)),
            flops: piece.bytes / 2,
            bytes: piece.bytes,
        });
        first += chunks(&piece);
    }
    recording.dispatch(Dispatch {
        shader: "optim/gradient_norm_total",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![Binding::Read(sums), Binding::Write(norm)],
        immediates: vec![total as u32],
        grid: [1, 1, 1],
        flops: total,
        bytes: total * 8,
    });
}

/// `g ← g·min(1, limit/(‖g‖ + 1e-6))` with the norm that [`gradient_norm`] wrote. Where a gradient is not
/// finite the result is not either.
///
/// # Errors
/// A slice that is not of whole vec4.
pub fn clip(recording: &mut Recording, norm: Slice, limit: f64, gradients: &[Slice]) -> Result<()> {
    for &gradient in gradients {
        let kernel = Elementwise {
            shader: "optim/clip",
            defines: Defines::new(),
            immediates: vec![(limit as f32).to_bits()],
            flops: 1,
        };
        kernel.record(recording, Some(norm), &[], &[gradient])?;
    }
    Ok(())
}

/// A kernel that treats every element alone: one small buffer first, arenas to read, arenas to update.
pub(super) struct Elementwise {
    pub shader: &'static str,
    pub defines: Defines,
    /// After the number of vec4.
    pub immediates: Vec<u32>,
    /// For each element.
    pub flops: u64,
}

impl Elementwise {
    pub fn record(
        self,
        recording: &mut Recording,
        small: Option<Slice>,
        read: &[Slice],
        written: &[Slice],
    ) -> Result<()> {
        check_lengths(self.shader, read.iter().chain(written))?;
        let most = recording.facts().max_binding_bytes;
        let whole = written[0];
        for piece in split(whole, most) {
            let part = |s: &Slice| s.part(piece.offset - whole.offset, piece.bytes);
            let bindings = small
                .into_iter()
                .map(Binding::Read)
                .chain(read.iter().map(|s| Binding::Operand(part(s))))
                .chain(written.iter().map(|s| Binding::Write(part(s))))
                .collect();
            let count = piece.bytes / 16;
            recording.dispatch(Dispatch {
                shader: self.shader,
                defines: self.defines.clone().with("WORKGROUP", WORKGROUP).with("ITEMS", ITEMS),
                bindings,
                immediates: [count as u32].into_iter().chain(self.immediates.iter().copied()).collect(),
                grid: recording.grid(count.div_ceil(u64::from(WORKGROUP * ITEMS))),
                flops: count * 4 * self.flops,
                bytes: piece.bytes * (read.len() + 2 * written.len()) as u64,
            });
        }
        Ok(())
    }
}

/// Pieces of at most `most` bytes; each starts at a multiple of 64 KiB within the slice, which suits every
/// adapter's offset alignment.
fn split(slice: Slice, most: u64) -> Vec<Slice> {
    let unit = CHUNK as u64 * 16;
    let piece = (most / unit * unit).max(unit);
    (0..slice.bytes.div_ceil(piece))
        .map(|i| slice.part(i * piece, piece.min(slice.bytes - i * piece)))
        .collect()
}

fn check_lengths<'a>(shader: &str, slices: impl Iterator<Item = &'a Slice>) -> Result<()> {
    let lengths: Vec<u64> = slices.map(|s| s.bytes).collect();
    if lengths.windows(2).any(|pair| pair[0] != pair[1]) || lengths.iter().any(|l| l % 16 != 0) {
        return Err(Error::shape(format!(
            "kernel {shader}: parameters, gradients and state must have one length, a multiple of 16 bytes; they have {lengths:?} bytes"
        )));
    }
    Ok(())
}

/// One tensor's place in an arena, in vec4; LARS scales each segment by a ratio of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub offset: usize,
    pub length: usize,
}

/// The segments of an arena, and the chunks that they are cut into, on the GPU.
pub struct SegmentTable {
    segments: Buffer,
    chunks: Buffer,
    segment_count: usize,
    chunk_count: usize,
    /// End of the last segment, in vec4.
    end: usize,
}

impl SegmentTable {
    /// # Errors
    /// When the buffers cannot be made.
    pub fn new<'a>(allocator: impl Into<Allocator<'a>>, segments: &[Segment]) -> Result<SegmentTable> {
        let allocator = allocator.into();
        let mut chunks: Vec<[u32; 4]> = Vec::new();
        let mut table: Vec<[u32; 4]> = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            let first = chunks.len() as u32;
            for start in (0..segment.length).step_by(CHUNK) {
                let length = CHUNK.min(segment.length - start);
                chunks.push([index as u32, (segment.offset + start) as u32, length as u32, 0]);
            }
            table.push([first, chunks.len() as u32 - first, 0, 0]);
        }
        Ok(SegmentTable {
            segments: allocator.buffer_with("segments", &table)?,
            chunks: allocator.buffer_with("chunks of segments", &chunks)?,
            segment_count: table.len(),
            chunk_count: chunks.len(),
            end: segments.iter().map(|s| s.offset + s.length).max().unwrap_or(0),
        })
    }
}

/// One step of LARS: norms of chunks, ratios of segments, update. `velocity` starts as zeros; elements
/// outside of all segments are left alone.
///
/// # Errors
/// Slices of different length, shorter than the segments, or larger than a binding may be.
pub fn lars(
    recording: &mut Recording,
    step: Slice,
    settings: &Lars,
    table: &SegmentTable,
    parameters: Slice,
    gradients: Slice,
    velocity: Slice,
) -> Result<()> {
    check_lengths("optim/lars", [parameters, gradients, velocity].iter())?;
    let most = recording.facts().max_binding_bytes;
    if parameters.bytes > most || parameters.bytes / 16 < table.end as u64 {
        return Err(Error::shape(format!(
            "LARS: the segments end at {} bytes and a binding of this adapter holds {most}; the arena has {}",
            table.end * 16,
            parameters.bytes
        )));
    }
    let (segments, chunks) = (recording.persistent(&table.segments), recording.persistent(&table.chunks));
    let sums = recording.transient("LARS norms", table.chunk_count as u64 * 8);
    let ratios = recording.transient("LARS ratios", table.segment_count as u64 * 4);
    let single = |v: f64| (v as f32).to_bits();
    let defines = || Defines::new().with("WORKGROUP", WORKGROUP);
    let (chunk_count, segment_count) = (table.chunk_count as u64, table.segment_count as u64);
    let elements = parameters.bytes / 4;
    recording.dispatch(Dispatch {
        shader: "optim/lars_norms",
        defines: defines(),
        bindings: vec![
            Binding::Read(chunks),
            Binding::Read(parameters),
            Binding::Read(gradients),
            Binding::Write(sums),
        ],
        immediates: vec![chunk_count as u32, single(settings.weight_decay)],
        grid: recording.grid(chunk_count),
        flops: elements * 6,
        bytes: elements * 8,
    });
    recording.dispatch(Dispatch {
        shader: "optim/lars_ratio",
        defines: defines(),
        bindings: vec![Binding::Read(segments), Binding::Read(sums), Binding::Write(ratios)],
        immediates: vec![segment_count as u32, single(settings.trust)],
        grid: recording.grid(segment_count.div_ceil(u64::from(WORKGROUP))),
        flops: chunk_count * 2,
        bytes: chunk_count * 8,
    });
    recording.dispatch(Dispatch {
        shader: "optim/lars",
        defines: defines(),
        bindings: vec![
            Binding::Read(step),
            Binding::Read(chunks),
            Binding::Read(ratios),
            Binding::Operand(gradients),
            Binding::Write(parameters),
            Binding::Write(velocity),
        ],
        immediates: vec![chunk_count as u32, single(settings.momentum), single(settings.weight_decay)],
        grid: recording.grid(chunk_count),
        flops: elements * 7,
        bytes: elements * 20,
    });
    Ok(())
}
