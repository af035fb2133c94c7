//! Memory for transient buffers and textures: whole slots shared by disjoint lifetimes.
//!
//! Two resources that are alive at the same op never share a slot, because wgpu refuses one buffer
//! bound for reading and writing in one dispatch, even on disjoint ranges.

use super::recording::{Binding, BufferId, Op, Recording, Slice, TEXTURE_WIDTH, TextureId};
use super::shared_memory::VIEW_ALIGNMENT;
use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeSet;

/// How much memory a recording needs, known before anything is allocated.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MemoryPlan {
    /// Bytes of all transient slots (buffers and textures).
    pub transient_bytes: u64,
    /// Bytes of the persistent buffers that the recording touches.
    pub persistent_bytes: u64,
    /// Bytes that transient resources would need without sharing.
    pub unshared_bytes: u64,
    pub buffer_slots: usize,
    pub texture_slots: usize,
}

pub(super) struct Assignment {
    /// Slot of each buffer; `None` for persistent and for unused ones.
    pub buffer_slot: Vec<Option<usize>>,
    pub slot_bytes: Vec<u64>,
    pub texture_slot: Vec<Option<TextureSlot>>,
    /// Rows of each texture slot.
    pub texture_rows: Vec<u32>,
    pub plan: MemoryPlan,
}

impl Assignment {
    /// Whether a texture shows the memory of a buffer.
    pub fn shares(&self, texture: TextureId) -> bool {
        matches!(self.texture_slot[texture.0 as usize], Some(TextureSlot::Shared(..)))
    }
    /// From which bytes on textures show a buffer slot.
    pub fn views(&self, slot: usize) -> BTreeSet<u64> {
        let view = |texture: &Option<TextureSlot>| match texture {
            Some(TextureSlot::Shared(of, offset)) if *of == slot => Some(*offset),
            _ => None,
        };
        self.texture_slot.iter().filter_map(view).collect()
    }
}

/// Where a texture has its memory.
#[derive(Clone, Copy)]
pub(super) enum TextureSlot {
    /// In a texture slot, filled by copies.
    Own(usize),
    /// In the buffer slot that holds what it shows, from so many bytes on; its copies are left out.
    Shared(usize, u64),
}

/// First and last op that touch a resource.
type Lifetime = Option<(usize, usize)>;

/// Who uses a resource, and when.
#[derive(Clone, Copy, Default)]
struct Use {
    life: Lifetime,
    /// Whether ops of the first submit alone do.
    once: bool,
    /// Whether ops of every submit do.
    every_time: bool,
}

impl Use {
    fn by(&mut self, op: usize, once: bool) {
        self.life = Some(self.life.map_or((op, op), |(first, _)| (first, op)));
        self.once |= once;
        self.every_time |= !once;
    }

    /// What the first submit leaves to the others lives through all `ops`.
    fn lifetime(self, ops: usize) -> Lifetime {
        if self.once && self.every_time { Some((0, ops)) } else { self.life }
    }

    /// What is there from the beginning lives as long as the program.
    fn always(&mut self, ops: usize) {
        self.life = self.life.map(|_| (0, ops));
    }
}

/// Decides slots for every transient of `recording` and checks every size against the adapter's limits.
pub(super) fn assign(recording: &Recording) -> Result<Assignment> {
    if let Some(job) = recording.jobs.first() {
        return Err(Error::gpu(format!(
            "{}: a job still waits for others; a recording is planned behind Recording::gather, not within",
            job.shader
        )));
    }
    check_once(recording)?;
    let mut buffers = vec![Use::default(); recording.buffers.len()];
    let mut textures = vec![Use::default(); recording.textures.len()];
    let sources = shared_sources(recording);
    for (i, op) in recording.ops.iter().enumerate() {
        let once = recording.is_once(i);
        match op {
            Op::Dispatch(d) => {
                for binding in &d.bindings {
                    match binding {
                        Binding::Read(s) | Binding::Operand(s) | Binding::Write(s) => {
                            buffers[s.buffer.0 as usize].by(i, once)
                        }
                        Binding::Texture(t) => match sources[t.0 as usize] {
                            Some((buffer, _)) => buffers[buffer].by(i, once),
                            None => textures[t.0 as usize].by(i, once),
                        },
                    }
                }
            }
            Op::CopyToTexture { from, to } => {
                buffers[from.buffer.0 as usize].by(i, once);
                if sources[to.0 as usize].is_none() {
                    textures[to.0 as usize].by(i, once);
                }
            }
            Op::Copy { from, to } => {
                buffers[from.buffer.0 as usize].by(i, once);
                buffers[to.buffer.0 as usize].by(i, once);
            }
            Op::Clear(s) => buffers[s.buffer.0 as usize].by(i, once),
        }
    }
    for (of, decl) in buffers.iter_mut().zip(&recording.buffers) {
        if decl.contents.is_some() {
            of.always(recording.ops.len());
        }
    }
    let lifetimes = |uses: Vec<Use>| -> Vec<Lifetime> {
        uses.into_iter().map(|of| of.lifetime(recording.ops.len())).collect()
    };
    let (buffers, textures) = (lifetimes(buffers), lifetimes(textures));
    check_limits(recording)?;
    let transient: Vec<(usize, u64, (usize, usize))> = recording
        .buffers
        .iter()
        .enumerate()
        .filter(|(_, b)| b.persistent.is_none())
        .filter_map(|(i, b)| buffers[i].map(|life| (i, b.bytes, life)))
        .collect();
    let (buffer_slot, slot_bytes) = pack(recording.buffers.len(), transient);
    let rows = |texels: u64| texels.div_ceil(u64::from(TEXTURE_WIDTH));
    let transient: Vec<_> = recording
        .textures
        .iter()
        .enumerate()
        .filter_map(|(i, t)| textures[i].map(|life| (i, rows(t.texels), life)))
        .collect();
    let (own_slot, texture_rows) = pack(recording.textures.len(), transient);
    let slot_of = |(own, source): (Option<usize>, &Option<(usize, u64)>)| match source {
        Some((buffer, offset)) => buffer_slot[*buffer].map(|slot| TextureSlot::Shared(slot, *offset)),
        None => own.map(TextureSlot::Own),
    };
    let texture_slot = own_slot.into_iter().zip(&sources).map(slot_of).collect();
    let own = recording.textures.iter().zip(&sources).filter(|(_, source)| source.is_none());
    let own_rows: u64 = own.map(|(t, _)| rows(t.texels)).sum();
    let row_bytes = u64::from(TEXTURE_WIDTH) * 16;
    let plan = MemoryPlan {
        transient_bytes: slot_bytes.iter().sum::<u64>() + texture_rows.iter().sum::<u64>() * row_bytes,
        persistent_bytes: recording.buffers.iter().filter(|b| b.persistent.is_some()).map(|b| b.bytes).sum(),
        unshared_bytes: recording
            .buffers
            .iter()
            .filter(|b| b.persistent.is_none() && b.within.is_none())
            .map(|b| b.bytes)
            .sum::<u64>()
            + own_rows * row_bytes,
        buffer_slots: slot_bytes.len(),
        texture_slots: texture_rows.len(),
    };
    // Rows fit u32: check_limits compared them with the adapter's u32 limit.
    let texture_rows = texture_rows.into_iter().map(|r| r as u32).collect();
    Ok(Assignment { buffer_slot, slot_bytes, texture_slot, texture_rows, plan })
}

/// Refuses what would make the results of the first submit wrong: see [`Recording::once_for`].
fn check_once(recording: &Recording) -> Result<()> {
    let (mut buffers, mut textures) = (BTreeSet::new(), BTreeSet::new());
    let ops = || recording.ops.iter().enumerate().map(|(i, op)| (recording.is_once(i), op));
    let buffer = |id: BufferId, problem: &str| -> Result<()> {
        Err(Error::gpu(format!("{}: {problem}", recording.buffers[id.0 as usize].label)))
    };
    let texture = |id: TextureId, problem: &str| -> Result<()> {
        Err(Error::gpu(format!("{}: {problem}", recording.textures[id.0 as usize].label)))
    };
    for (_, op) in ops().filter(|(once, _)| *once) {
        let problem = "is read by what only the first submit does, but is neither frozen nor made there";
        let constant = |id: &BufferId| recording.buffers[id.0 as usize].contents.is_some();
        let unknown =
            |id: &BufferId| !recording.frozen.contains(id) && !buffers.contains(&id.0) && !constant(id);
        if let Some(id) = op.reads().iter().map(|slice| slice.buffer).find(unknown) {
            return buffer(id, problem);
        }
        if let Some(id) = op.textures().into_iter().find(|id| !textures.contains(&id.0)) {
            return texture(id, problem);
        }
        buffers.extend(op.writes().iter().map(|slice| slice.buffer.0));
        if let Op::CopyToTexture { to, .. } = op {
            textures.insert(to.0);
        }
    }
    for (once, op) in ops() {
        let problem = "is written, but is frozen or left by the first submit";
        let kept = |id: &BufferId| recording.frozen.contains(id) || (!once && buffers.contains(&id.0));
        if let Some(id) = op.writes().iter().map(|slice| slice.buffer).find(kept) {
            return buffer(id, problem);
        }
        match op {
            Op::CopyToTexture { to, .. } if !once && textures.contains(&to.0) => {
                return texture(*to, problem);
            }
            _ => {}
        }
    }
    Ok(())
}

/// For each texture the buffer whose memory it can share, where the adapter has such memory, and from which byte on: a transient one
/// that every copy into the texture is from, and that nothing changes between a copy and the reads that see it.
fn shared_sources(recording: &Recording) -> Vec<Option<(usize, u64)>> {
    #[derive(Clone, Copy)]
    enum Seen {
        Nothing,
        /// The buffer and the place in it, and whether it still holds what was copied.
        From(usize, u64, bool),
        Unshareable,
    }
    let mut seen = vec![Seen::Nothing; recording.textures.len()];
    if !recording.facts().shared_memory {
        return vec![None; seen.len()];
    }
    let changed = |seen: &mut [Seen], written: &Slice| {
        for of in seen {
            if let Seen::From(buffer, _, same) = of
                && *buffer == written.buffer.0 as usize
            {
                *same = false;
            }
        }
    };
    for op in &recording.ops {
        match op {
            Op::Dispatch(d) => {
                // Writes first: a kernel may store before it loads.
                for binding in &d.bindings {
                    if let Binding::Write(s) = binding {
                        changed(&mut seen, s);
                    }
                }
                for binding in &d.bindings {
                    if let Binding::Texture(t) = binding
                        && !matches!(seen[t.0 as usize], Seen::From(.., true))
                    {
                        seen[t.0 as usize] = Seen::Unshareable;
                    }
                }
            }
            Op::CopyToTexture { from, to } => {
                let buffer = from.buffer.0 as usize;
                let transient = recording.buffers[buffer].persistent.is_none();
                let of = &mut seen[to.0 as usize];
                *of = match *of {
                    Seen::Nothing if transient && from.offset.is_multiple_of(VIEW_ALIGNMENT) => {
                        Seen::From(buffer, from.offset, true)
                    }
                    Seen::From(known, offset, _) if (known, offset) == (buffer, from.offset) => {
                        Seen::From(buffer, offset, true)
                    }
                    _ => Seen::Unshareable,
                };
            }
            Op::Copy { to, .. } => changed(&mut seen, to),
            Op::Clear(s) => changed(&mut seen, s),
        }
    }
    let source = |of: &Seen| match of {
        Seen::From(buffer, offset, _) => Some((*buffer, *offset)),
        Seen::Nothing | Seen::Unshareable => None,
    };
    seen.iter().map(source).collect()
}

/// Largest first, each into the first slot whose tenants are all dead or unborn while it lives.
fn pack(count: usize, mut items: Vec<(usize, u64, (usize, usize))>) -> (Vec<Option<usize>>, Vec<u64>) {
    items.sort_by_key(|&(i, size, _)| (std::cmp::Reverse(size), i));
    let mut slot_of = vec![None; count];
    let mut sizes: Vec<u64> = Vec::new();
    let mut tenants: Vec<Vec<(usize, usize)>> = Vec::new();
    for (i, size, (first, last)) in items {
        let free = tenants.iter().position(|lives| lives.iter().all(|&(a, b)| b < first || last < a));
        let slot = free.unwrap_or_else(|| {
            sizes.push(size);
            tenants.push(Vec::new());
            sizes.len() - 1
        });
        tenants[slot].push((first, last));
        slot_of[i] = Some(slot);
    }
    (slot_of, sizes)
}

impl Recording {
    /// The memory that it needs; nothing is allocated, and no device is needed.
    ///
    /// # Errors
    /// [`Error::Limit`] for what is over the limits of its [`Facts`](super::Facts), by its name, size and limit.
    pub fn plan(&self) -> Result<MemoryPlan> {
        Ok(assign(self)?.plan)
    }
}

fn check_limits(recording: &Recording) -> Result<()> {
    let facts = recording.facts();
    for b in &recording.buffers {
        if b.bytes > facts.max_buffer_bytes {
            return Err(too_large(&b.label, b.bytes, facts.max_buffer_bytes, "buffer"));
        }
    }
    for t in &recording.textures {
        let most = u64::from(TEXTURE_WIDTH) * u64::from(facts.max_texture_side);
        if t.texels > most || facts.max_texture_side < TEXTURE_WIDTH {
            return Err(too_large(&t.label, t.texels * 16, most * 16, "texture"));
        }
    }
    for d in recording.dispatches() {
        for binding in &d.bindings {
            if let Binding::Read(s) | Binding::Operand(s) | Binding::Write(s) = binding
                && s.bytes > facts.max_binding_bytes
            {
                let label = &recording.buffers[s.buffer.0 as usize].label;
                return Err(too_large(
                    &format!("{label} (kernel {})", d.shader),
                    s.bytes,
                    facts.max_binding_bytes,
                    "binding",
                ));
            }
        }
        if d.grid.iter().any(|&g| g > facts.max_groups) {
            return Err(Error::Limit {
                problem: format!(
                    "kernel {}: a grid of {:?} workgroups, but this adapter allows {} in each dimension",
                    d.shader, d.grid, facts.max_groups
                ),
                advice: "use a smaller batch".into(),
            });
        }
    }
    Ok(())
}

pub(super) fn too_large(label: &str, bytes: u64, limit: u64, what: &str) -> Error {
    Error::Limit {
        problem: format!(
            "{label}: {bytes} bytes ({:.1} MiB), but this adapter allows a {what} of at most {limit} bytes ({:.1} MiB)",
            bytes as f64 / 1048576.0,
            limit as f64 / 1048576.0
        ),
        advice: "use a smaller model, image or batch".into(),
    }
}
