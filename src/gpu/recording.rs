//! GPU work as plain data. Nothing here touches a device, so recordings can be made, inspected and
//! tested anywhere.

use super::derived::Derived;
use super::facts::Facts;
use super::job::Job;
use super::memory::{Buffer, whole_vectors};
use super::shader::Defines;
use std::ops::Range;

/// A buffer of a recording: transient (memory given by the plan) or persistent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub(super) u32);

/// A texture of a recording; always transient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextureId(pub(super) u32);

/// Texels (of four f32) in a row of every operand texture. Texel `i` lies at `(i % TEXTURE_WIDTH, i / TEXTURE_WIDTH)`.
pub const TEXTURE_WIDTH: u32 = 8192;

/// A range of a buffer, in bytes. Offsets are multiples of [`Facts::offset_alignment`] where bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub buffer: BufferId,
    pub offset: u64,
    pub bytes: u64,
}

/// One binding of a dispatch, in the order of `@binding(0)`, `@binding(1)`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// `var<storage, read>`
    Read(Slice),
    /// `#operand`: an array to read in the adapter's cheapest way, which [`Recording::dispatch`] decides; results beside it
    /// that are texels too are `#result` or `#update`.
    Operand(Slice),
    /// `var<storage, read_write>`
    Write(Slice),
    /// `texture_storage_2d<rgba32float, read>`
    Texture(TextureId),
}

/// One kernel launch.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Path of the WGSL file under `shaders/` without its ending, e.g. `elementwise/relu`.
    pub shader: &'static str,
    pub defines: Defines,
    pub bindings: Vec<Binding>,
    /// Up to 32 words for the shader's `var<immediate>`.
    pub immediates: Vec<u32>,
    /// Workgroups per dimension.
    pub grid: [u32; 3],
    /// Floating-point operations of the useful work (a multiply–add counts two).
    pub flops: u64,
    /// Bytes that must at least be read and written.
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Dispatch(Dispatch),
    CopyToTexture { from: Slice, to: TextureId },
    Copy { from: Slice, to: Slice },
    Clear(Slice),
}

impl Op {
    /// The parts of buffers that it reads.
    pub fn reads(&self) -> Vec<Slice> {
        match self {
            Op::Dispatch(d) => {
                let read = |binding: &Binding| match binding {
                    Binding::Read(slice) | Binding::Operand(slice) => Some(*slice),
                    Binding::Write(_) | Binding::Texture(_) => None,
                };
                d.bindings.iter().filter_map(read).collect()
            }
            Op::CopyToTexture { from, .. } | Op::Copy { from, .. } => vec![*from],
            Op::Clear(_) => Vec::new(),
        }
    }

    /// The textures that it reads.
    pub fn textures(&self) -> Vec<TextureId> {
        let Op::Dispatch(d) = self else { return Vec::new() };
        let texture = |binding: &Binding| match binding {
            Binding::Texture(texture) => Some(*texture),
            _ => None,
        };
        d.bindings.iter().filter_map(texture).collect()
    }

    /// The parts of buffers that it writes.
    pub fn writes(&self) -> Vec<Slice> {
        match self {
            Op::Dispatch(d) => {
                let written = |binding: &Binding| match binding {
                    Binding::Write(slice) => Some(*slice),
                    _ => None,
                };
                d.bindings.iter().filter_map(written).collect()
            }
            Op::Copy { to, .. } | Op::Clear(to) => vec![*to],
            Op::CopyToTexture { .. } => Vec::new(),
        }
    }

    pub fn for_each_slice(&mut self, mut change: impl FnMut(&mut Slice)) {
        match self {
            Op::Dispatch(d) => {
                for binding in &mut d.bindings {
                    match binding {
                        Binding::Read(slice) | Binding::Operand(slice) | Binding::Write(slice) => {
                            change(slice)
                        }
                        Binding::Texture(_) => {}
                    }
                }
            }
            Op::CopyToTexture { from, .. } => change(from),
            Op::Copy { from, to } => {
                change(from);
                change(to);
            }
            Op::Clear(slice) => change(slice),
        }
    }
}

#[derive(Clone)]
pub(super) struct BufferDecl {
    pub label: String,
    pub bytes: u64,
    pub persistent: Option<Buffer>,
    /// What it holds from the beginning, if nothing ever writes there.
    pub contents: Option<Vec<u32>>,
    /// Whether jobs may make it a part of another (`super::job`).
    pub scratch: bool,
    /// The buffer that it has become a part of, and where in it (`super::job`).
    pub within: Option<(BufferId, u64)>,
}

#[derive(Clone)]
pub(super) struct TextureDecl {
    pub label: String,
    pub texels: u64,
}

/// A list of GPU work in order, with the buffers and textures that it touches.
#[derive(Clone)]
pub struct Recording {
    facts: Facts,
    pub(super) buffers: Vec<BufferDecl>,
    pub(super) textures: Vec<TextureDecl>,
    pub(super) ops: Vec<Op>,
    pub(super) derived: Vec<Derived>,
    pub(super) asked_for: Vec<(&'static str, Slice)>,
    pub(super) frozen: Vec<BufferId>,
    /// Ops that only a program's first submit does.
    once: Vec<Range<usize>>,
    /// Whether jobs wait for one another, and those that do.
    pub(super) gathering: bool,
    pub(super) jobs: Vec<Job>,
}

impl Recording {
    pub fn new(facts: &Facts) -> Recording {
        Recording {
            facts: facts.clone(),
            buffers: Vec::new(),
            textures: Vec::new(),
            ops: Vec::new(),
            derived: Vec::new(),
            asked_for: Vec::new(),
            frozen: Vec::new(),
            once: Vec::new(),
            gathering: false,
            jobs: Vec::new(),
        }
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A buffer that lives from its first to its last use in this recording and holds nothing before (but see [`once_for`](Self::once_for)).
    pub fn transient(&mut self, label: impl Into<String>, bytes: u64) -> Slice {
        let bytes = whole_vectors(bytes);
        let label = label.into();
        self.buffers.push(BufferDecl {
            label,
            bytes,
            persistent: None,
            contents: None,
            scratch: false,
            within: None,
        });
        Slice { buffer: BufferId(self.buffers.len() as u32 - 1), offset: 0, bytes }
    }

    /// A transient buffer of a launcher's own, which may become a part of another: no op reads it and writes another one of a job, or the
    /// other way round, as wgpu allows nobody to read and write one buffer.
    pub fn scratch(&mut self, label: impl Into<String>, bytes: u64) -> Slice {
        let slice = self.transient(label, bytes);
        self.buffers[slice.buffer.0 as usize].scratch = true;
        slice
    }

    /// A buffer of words that nothing writes to.
    pub fn constant(&mut self, label: impl Into<String>, words: Vec<u32>) -> Slice {
        let slice = self.transient(label, words.len() as u64 * 4);
        self.buffers[slice.buffer.0 as usize].contents = Some(words);
        slice
    }

    /// A persistent buffer as part of this recording.
    pub fn persistent(&mut self, buffer: &Buffer) -> Slice {
        let known = self.buffers.iter().position(|b| b.persistent.as_ref().is_some_and(|p| p.is(buffer)));
        let index = known.unwrap_or_else(|| {
            self.buffers.push(BufferDecl {
                label: buffer.label().to_string(),
                bytes: buffer.bytes(),
                persistent: Some(buffer.clone()),
                contents: None,
                scratch: false,
                within: None,
            });
            self.buffers.len() - 1
        });
        Slice { buffer: BufferId(index as u32), offset: 0, bytes: buffer.bytes() }
    }

    /// A transient texture of at least `texels` texels of four f32.
    pub fn texture(&mut self, label: impl Into<String>, texels: u64) -> TextureId {
        self.textures.push(TextureDecl { label: label.into(), texels: texels.max(1) });
        TextureId(self.textures.len() as u32 - 1)
    }

    pub fn dispatch(&mut self, dispatch: Dispatch) {
        self.push(Op::Dispatch(dispatch));
    }

    /// Behind the jobs that wait, if it touches what they do.
    fn push(&mut self, mut op: Op) {
        if !self.jobs.is_empty() {
            self.settle(&op.reads(), &op.writes(), &op.textures());
        }
        op.for_each_slice(|slice| *slice = self.place(*slice));
        match &mut op {
            Op::Dispatch(d) if d.bindings.iter().any(|b| matches!(b, Binding::Operand(_))) => {
                self.resolve_operands(d);
            }
            _ => {}
        }
        self.ops.push(op);
    }

    /// How the kernels of this adapter see arrays of texels: as textures where those need no copy, else as 64-bit words on
    /// the software class.
    fn resolve_operands(&mut self, dispatch: &mut Dispatch) {
        let software = self.facts.texture_kernels();
        let most = self.facts.most_texels();
        let mut defines = std::mem::take(&mut dispatch.defines).with("WORDS", software);
        let written = dispatch.bindings.clone();
        for (i, binding) in dispatch.bindings.iter_mut().enumerate() {
            let Binding::Operand(slice) = *binding else { continue };
            let in_place = written.iter().any(|b| matches!(b, Binding::Write(s) if s.buffer == slice.buffer));
            let transient = self.buffers[slice.buffer.0 as usize].persistent.is_none();
            let shared = software && self.facts.shared_memory && transient && slice.offset == 0;
            *binding = if shared && !in_place && slice.bytes / 16 <= most {
                defines = defines.with_numbered("TEXTURE_", i, 1);
                Binding::Texture(self.as_texture("operand", slice))
            } else {
                Binding::Read(slice)
            };
        }
        dispatch.defines = defines;
    }

    /// Copies a buffer range into a texture, texel by texel.
    pub fn copy_to_texture(&mut self, from: Slice, to: TextureId) {
        self.push(Op::CopyToTexture { from, to });
    }

    /// The texture that holds what `from` holds now.
    pub fn as_texture(&mut self, label: impl Into<String>, from: Slice) -> TextureId {
        let to = self.texture(label, from.bytes / 16);
        self.copy_to_texture(from, to);
        to
    }

    /// Promises that nothing will change what `buffer` holds as long as programs of this recording live: see [`once_for`](Self::once_for),
    /// which has to come after it.
    pub fn freeze(&mut self, buffer: &Buffer) {
        let buffer = self.persistent(buffer).buffer;
        self.frozen.push(buffer);
    }

    /// What `record` records: done by the first submit of a program alone, before all else, where all of `from` is frozen, and by every one elsewhere.
    /// `record` reads nothing but `from` and its own results, and nothing else writes these; a plan refuses what does. They live as
    /// long as the program and share no memory, a copy in each program.
    pub fn once_for<T>(&mut self, from: &[Slice], record: impl FnOnce(&mut Recording) -> T) -> T {
        debug_assert!(!from.is_empty(), "made of nothing, and so by nobody's promise");
        if !self.all_frozen(from) {
            return record(self);
        }
        // Jobs of the first submit wait for no others, nor others for them.
        self.launch_jobs();
        let gathering = std::mem::replace(&mut self.gathering, false);
        let first = self.ops.len();
        let result = record(self);
        self.once.push(first..self.ops.len());
        self.gathering = gathering;
        result
    }

    /// Whether nothing will ever change `slices`.
    pub fn all_frozen(&self, slices: &[Slice]) -> bool {
        slices.iter().all(|slice| self.frozen.contains(&slice.buffer))
    }

    /// Whether only a program's first submit does this op.
    pub(super) fn is_once(&self, op: usize) -> bool {
        self.once.iter().any(|range| range.contains(&op))
    }

    /// Copies `from.bytes` bytes.
    pub fn copy(&mut self, from: Slice, to: Slice) {
        self.push(Op::Copy { from, to });
    }

    /// Fills a range with zeros.
    pub fn clear(&mut self, slice: Slice) {
        self.push(Op::Clear(slice));
    }

    /// The dispatches in order, for tests, counts and cost models.
    pub fn dispatches(&self) -> impl Iterator<Item = &Dispatch> {
        self.ops.iter().filter_map(|op| match op {
            Op::Dispatch(d) => Some(d),
            _ => None,
        })
    }

    /// Workgroup counts for `groups` workgroups in one row, folded where a dimension is too short.
    /// The shader's linear workgroup index is `id.x + id.y * count.x` (`common/grid`).
    pub fn grid(&self, groups: u64) -> [u32; 3] {
        let max = u64::from(self.facts.max_groups);
        let x = groups.clamp(1, max);
        // More rows than fit are over every adapter's limit, which the plan names.
        [x as u32, u32::try_from(groups.div_ceil(x).max(1)).unwrap_or(u32::MAX), 1]
    }
}

impl Slice {
    /// The part of this slice from `offset` bytes on.
    pub fn part(self, offset: u64, bytes: u64) -> Slice {
        Slice { buffer: self.buffer, offset: self.offset + offset, bytes }
    }

    /// Whether the two have bytes in common.
    pub(super) fn meets(self, other: Slice) -> bool {
        self.buffer == other.buffer
            && self.offset < other.offset + other.bytes
            && other.offset < self.offset + self.bytes
    }
}
