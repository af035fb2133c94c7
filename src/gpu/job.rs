//! Launches that do the work of several layers.
//!
//! A launch costs its threads a sleep and a wake (docs/kernels.md), which for a small layer is more than the work. Kernels whose
//! layers need nothing of one another are recorded as jobs: between [`Recording::gather`]'s ends those of one kernel wait for
//! each other and share a launch. A table tells each workgroup whose work it does (`shaders/common/job.wgsl`).

use super::recording::{Binding, BufferId, Dispatch, Recording, Slice, TextureId};
use super::shader::Defines;
use std::collections::BTreeMap;

/// Words of a row of the table: an invocation, two places, [`NUMBERS`].
const ROW: usize = 8;
/// What a kernel may be told of a job.
pub const NUMBERS: usize = ROW - 3;
/// Bytes of a job that waits for others: beside the work of more a launch costs nothing.
const MOST_JOB_BYTES: u64 = 4 << 20;
/// Bytes of all that wait, which keep their memory as long.
const MOST_WAITING_BYTES: u64 = 16 << 20;
/// Where jobs' transient buffers begin in the one that they share: what every adapter can bind, and Vulkan lay an image at.
const ALIGNMENT: u64 = super::shared_memory::VIEW_ALIGNMENT;

/// One layer's work of a kernel from texels to texels.
#[derive(Clone, Debug)]
pub struct Job {
    pub shader: &'static str,
    pub defines: Defines,
    /// Invocations of a workgroup, which the shader knows as WORKGROUP.
    pub workgroup: u32,
    /// Read; `#operand 0`.
    pub from: Slice,
    /// Written; `#result 1`.
    pub to: Slice,
    /// A texture that shows `to` as soon as it is written.
    pub shown: Option<TextureId>,
    pub numbers: [u32; NUMBERS],
    pub invocations: u64,
    pub flops: u64,
    pub bytes: u64,
}

impl Job {
    fn workgroups(&self) -> u64 {
        self.invocations.div_ceil(u64::from(self.workgroup))
    }
}

impl Recording {
    /// Jobs that `record` records wait for one another: until it ends, or something else touches what they read or write.
    pub fn gather<T>(&mut self, record: impl FnOnce(&mut Recording) -> T) -> T {
        let outer = std::mem::replace(&mut self.gathering, true);
        let result = record(self);
        self.gathering = outer;
        if !outer {
            self.launch_jobs();
        }
        result
    }

    /// Records `job`, at once or with others.
    pub fn job(&mut self, job: Job) {
        self.settle(&[job.from], &[job.to], &[]);
        let waits = self.would_wait(job.bytes) && self.can_share(&job);
        if !waits {
            return self.launch(vec![job]);
        }
        let waiting: u64 = self.jobs.iter().map(|job| job.bytes).sum();
        if waiting + job.bytes > MOST_WAITING_BYTES {
            self.launch_jobs();
        }
        self.jobs.push(job);
    }

    /// Whether a job of `bytes` waits for others at all: what is made ahead of its use only for that need not be, otherwise.
    pub fn would_wait(&self, bytes: u64) -> bool {
        self.gathering && bytes <= MOST_JOB_BYTES
    }

    /// Launches what waits if something that reads, writes or shows the given would come before it otherwise.
    pub(super) fn settle(&mut self, reads: &[Slice], writes: &[Slice], textures: &[TextureId]) {
        let touches = |job: &Job| {
            let touched =
                |of: &[Slice], by: Slice| of.iter().any(|slice| self.place(*slice).meets(self.place(by)));
            touched(reads, job.to)
                || touched(writes, job.to)
                || touched(writes, job.from)
                || job.shown.is_some_and(|texture| textures.contains(&texture))
        };
        if self.jobs.iter().any(touches) {
            self.launch_jobs();
        }
    }

    /// Launches what waits, each kernel once for all jobs between the same arenas.
    pub(super) fn launch_jobs(&mut self) {
        let mut open = std::mem::take(&mut self.jobs);
        while let Some(first) = open.first() {
            let same_kernel = |job: &Job| {
                (job.shader, &job.defines, job.workgroup) == (first.shader, &first.defines, first.workgroup)
            };
            let same_arenas = |job: &Job| {
                self.arena(job.from) == self.arena(first.from) && self.arena(job.to) == self.arena(first.to)
            };
            // Of an earlier launch's buffer none becomes a part once more.
            let whole = |job: &Job| [job.from, job.to].iter().all(|s| self.within(*s).is_none());
            let (jobs, rest): (Vec<Job>, Vec<Job>) = match whole(first) {
                true => {
                    open.iter().cloned().partition(|job| same_kernel(job) && same_arenas(job) && whole(job))
                }
                false => (vec![first.clone()], open[1..].to_vec()),
            };
            open = rest;
            self.launch(jobs);
        }
    }

    /// The persistent buffer that a slice is a part of.
    fn arena(&self, slice: Slice) -> Option<BufferId> {
        self.buffers[slice.buffer.0 as usize].persistent.as_ref().map(|_| slice.buffer)
    }

    /// Whether one binding can hold what `job` reads, or writes, and the same of others: a persistent buffer as a whole, a launcher's own
    /// as a part of another.
    fn can_share(&self, job: &Job) -> bool {
        let bindable =
            |bytes: u64| bytes <= self.facts().max_binding_bytes.min(self.facts().max_buffer_bytes);
        [job.from, job.to].iter().all(|slice| {
            let decl = &self.buffers[slice.buffer.0 as usize];
            match decl.persistent {
                Some(_) => bindable(decl.bytes),
                None => {
                    let small = decl.bytes <= MOST_JOB_BYTES && bindable(MOST_WAITING_BYTES);
                    decl.scratch && decl.within.is_none() && slice.offset == 0 && small
                }
            }
        })
    }

    fn launch(&mut self, jobs: Vec<Job>) {
        let Some(first) = jobs.first() else { return };
        let (shader, workgroup) = (first.shader, first.workgroup);
        let defines = first.defines.clone().with("WORKGROUP", workgroup);
        let (from, to) = match &jobs[..] {
            [job] => (self.place(job.from), self.place(job.to)),
            _ => (self.shared(jobs.iter().map(|job| job.from)), self.shared(jobs.iter().map(|job| job.to))),
        };
        let mut rows = Vec::new();
        for job in &jobs {
            let texel =
                |slice: Slice, within: Slice| ((self.place(slice).offset - within.offset) / 16) as u32;
            let (read, written) = (texel(job.from, from), texel(job.to, to));
            for group in 0..job.workgroups() {
                // Within the bounds of `Recording::grid`, which counts workgroups in 32 bits.
                rows.extend([group as u32 * workgroup, read, written]);
                rows.extend(job.numbers);
            }
        }
        let grid = self.grid(rows.len() as u64 / ROW as u64);
        // The last row of a grid may go on beyond the table: jobs of nothing.
        rows.resize(grid.iter().map(|&side| side as usize).product::<usize>() * ROW, 0);
        let table = self.constant(format!("jobs of {shader}"), rows);
        self.dispatch(Dispatch {
            shader,
            defines,
            bindings: vec![Binding::Operand(from), Binding::Write(to), Binding::Read(table)],
            immediates: Vec::new(),
            grid,
            flops: jobs.iter().map(|job| job.flops).sum(),
            bytes: jobs.iter().map(|job| job.bytes).sum(),
        });
        for job in &jobs {
            if let Some(texture) = job.shown {
                self.copy_to_texture(job.to, texture);
            }
        }
    }

    /// One slice around all of `parts`: their persistent buffer, or a new transient one that theirs become parts of.
    fn shared(&mut self, parts: impl Iterator<Item = Slice>) -> Slice {
        let mut offsets: BTreeMap<BufferId, u64> = BTreeMap::new();
        let mut bytes = 0;
        for part in parts {
            let decl = &self.buffers[part.buffer.0 as usize];
            if decl.persistent.is_some() {
                return Slice { buffer: part.buffer, offset: 0, bytes: decl.bytes };
            }
            offsets.entry(part.buffer).or_insert_with(|| {
                let offset = bytes;
                bytes += decl.bytes.next_multiple_of(ALIGNMENT);
                offset
            });
        }
        let first = offsets.keys().next().map_or("", |id| &self.buffers[id.0 as usize].label);
        let all = self.transient(format!("{first}, and of other layers"), bytes);
        for (id, offset) in offsets {
            self.buffers[id.0 as usize].within = Some((all.buffer, offset));
        }
        let mut ops = std::mem::take(&mut self.ops);
        for op in &mut ops {
            op.for_each_slice(|slice| *slice = self.place(*slice));
        }
        self.ops = ops;
        all
    }

    /// The buffer that a slice's has become a part of, and where in it.
    fn within(&self, slice: Slice) -> Option<(BufferId, u64)> {
        self.buffers[slice.buffer.0 as usize].within
    }

    /// Where a slice lies: elsewhere than it was made, if its buffer has become a part of another.
    pub(super) fn place(&self, slice: Slice) -> Slice {
        match self.within(slice) {
            Some((buffer, offset)) => Slice { buffer, offset: offset + slice.offset, bytes: slice.bytes },
            None => slice,
        }
    }
}
