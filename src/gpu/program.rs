//! A recording made ready: memory given, pipelines compiled, bind groups made. Submitting it again
//! and again costs only the encoding of the resolved list.

use super::adapter::Gpu;
use super::pipeline::{self, Pipeline};
use super::plan::{self, MemoryPlan, TextureSlot};
use super::recording::{Binding, Dispatch, Op, Recording, Slice, TEXTURE_WIDTH};
use super::shared_memory::{self, SharedMemory};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) struct Resolved {
    pub pipeline: Arc<Pipeline>,
    pub bind_group: wgpu::BindGroup,
    pub immediates: Vec<u8>,
    pub grid: [u32; 3],
}

pub(super) enum Step {
    Dispatch(Resolved),
    CopyToTexture { buffer: wgpu::Buffer, offset: u64, texture: wgpu::Texture, texels: u64 },
    Copy { from: wgpu::Buffer, from_offset: u64, to: wgpu::Buffer, to_offset: u64, bytes: u64 },
    Clear { buffer: wgpu::Buffer, offset: u64, bytes: u64 },
}

/// Proof of a submit, to wait for.
#[derive(Clone)]
pub struct Submission(pub(super) wgpu::SubmissionIndex);

/// GPU work that can be submitted any number of times.
pub struct Program {
    /// What the first submit does before all others ([`Recording::once_for`]), until it is done.
    once: Mutex<Vec<Step>>,
    pub(super) steps: Vec<Step>,
    pub(super) dispatches: Vec<Dispatch>,
    plan: MemoryPlan,
}

impl Program {
    /// Plans memory, compiles pipelines in parallel and resolves every binding.
    ///
    /// # Errors
    /// Before anything is allocated: a tensor over the adapter's limits, by its name, size and limit.
    /// A shader that does not compile, by its name and constants.
    pub fn build(gpu: &Gpu, recording: &Recording) -> Result<Program> {
        let assignment = plan::assign(recording)?;
        let keys: Vec<_> = recording.dispatches().map(pipeline::key).collect();
        let pipelines = gpu.pipelines(&keys)?;
        let slots: Vec<Slot> = assignment
            .slot_bytes
            .iter()
            .enumerate()
            .map(|(slot, &bytes)| transient_slot(gpu, bytes, &assignment.views(slot)))
            .collect::<Result<_>>()?;
        let textures: Vec<wgpu::Texture> =
            assignment.texture_rows.iter().map(|&rows| operand_texture(gpu, rows.max(1))).collect();
        let buffer_of = |slice: &Slice| -> Result<wgpu::Buffer> {
            let index = slice.buffer.0 as usize;
            let decl = &recording.buffers[index];
            if slice.offset.checked_add(slice.bytes).is_none_or(|end| end > decl.bytes) {
                return Err(Error::gpu(format!(
                    "{}: {} bytes from {} on are used, but it has {}",
                    decl.label, slice.bytes, slice.offset, decl.bytes
                )));
            }
            match (&decl.persistent, assignment.buffer_slot[index]) {
                (Some(buffer), _) => buffer.device().cloned(),
                (None, Some(slot)) => Ok(slots[slot].buffer.clone()),
                (None, None) => Err(Error::gpu(format!("{}: has no memory", decl.label))),
            }
        };
        let texture_of = |id: usize| -> Result<wgpu::Texture> {
            match assignment.texture_slot[id] {
                Some(TextureSlot::Own(slot)) => Some(textures[slot].clone()),
                Some(TextureSlot::Shared(slot, offset)) => slots[slot].textures.get(&offset).cloned(),
                None => None,
            }
            .ok_or_else(|| Error::gpu(format!("{}: has no memory", recording.textures[id].label)))
        };
        for (decl, slot) in recording.buffers.iter().zip(&assignment.buffer_slot) {
            if let (Some(words), Some(slot)) = (&decl.contents, slot) {
                gpu.queue.write_buffer(&slots[*slot].buffer, 0, bytemuck::cast_slice(words));
            }
        }
        let mut pipelines = pipelines.into_iter();
        let (mut once, mut steps) = (Vec::new(), Vec::with_capacity(recording.ops.len()));
        for (i, op) in recording.ops.iter().enumerate() {
            let step = match op {
                Op::Dispatch(d) => {
                    let pipeline = pipelines
                        .next()
                        .ok_or_else(|| Error::gpu(format!("kernel {}: its pipeline is missing", d.shader)))?;
                    let bind_group = bind_group(gpu, d, &pipeline, &buffer_of, &texture_of)?;
                    let immediates = bytemuck::cast_slice(&d.immediates).to_vec();
                    Step::Dispatch(Resolved { pipeline, bind_group, immediates, grid: d.grid })
                }
                Op::CopyToTexture { to, .. } if assignment.shares(*to) => continue,
                Op::CopyToTexture { from, to } => Step::CopyToTexture {
                    buffer: buffer_of(from)?,
                    offset: from.offset,
                    texture: texture_of(to.0 as usize)?,
                    texels: from.bytes / 16,
                },
                Op::Copy { from, to } => Step::Copy {
                    from: buffer_of(from)?,
                    from_offset: from.offset,
                    to: buffer_of(to)?,
                    to_offset: to.offset,
                    bytes: from.bytes,
                },
                Op::Clear(s) => Step::Clear { buffer: buffer_of(s)?, offset: s.offset, bytes: s.bytes },
            };
            if recording.is_once(i) { once.push(step) } else { steps.push(step) }
        }
        gpu.check()?;
        let every_time = recording.ops.iter().enumerate().filter(|(i, _)| !recording.is_once(*i));
        let dispatches = every_time
            .filter_map(|(_, op)| match op {
                Op::Dispatch(d) => Some(d.clone()),
                _ => None,
            })
            .collect();
        Ok(Program { once: Mutex::new(once), steps, dispatches, plan: assignment.plan })
    }

    pub fn memory(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Kernel launches of a submit that is not the first, in order.
    pub fn dispatches(&self) -> &[Dispatch] {
        &self.dispatches
    }

    /// Floating-point operations of such a submit.
    pub fn flops(&self) -> u64 {
        self.dispatches.iter().map(|d| d.flops).sum()
    }

    /// Kernel launches of such a submit.
    pub fn launches(&self) -> usize {
        self.dispatches.len()
    }

    /// Encodes and submits the whole list once; returns at once.
    pub fn submit(&self, gpu: &Gpu) -> Submission {
        self.prepare(gpu);
        Submission(gpu.queue.submit([encode(gpu, &self.steps)]))
    }

    /// Does what only the first submit has to.
    pub(super) fn prepare(&self, gpu: &Gpu) {
        // Whoever finds the list empty comes behind its submit.
        let mut once = self.once.lock().unwrap_or_else(PoisonError::into_inner);
        if !once.is_empty() {
            gpu.queue.submit([encode(gpu, &once)]);
            once.clear();
        }
    }

    /// Submits and waits until the device is done.
    pub fn run(&self, gpu: &Gpu) -> Result<()> {
        let submission = self.submit(gpu);
        gpu.wait(&submission)
    }
}

/// The commands of `steps`, neighbouring dispatches in one pass.
fn encode(gpu: &Gpu, steps: &[Step]) -> wgpu::CommandBuffer {
    let mut encoder =
        gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("program") });
    let mut steps = steps.iter().peekable();
    while let Some(step) = steps.peek() {
        if let Step::Dispatch(..) = step {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            while let Some(Step::Dispatch(resolved)) = steps.peek() {
                resolved.encode(&mut pass);
                steps.next();
            }
        } else if let Some(step) = steps.next() {
            step.encode_copy(&mut encoder);
        }
    }
    encoder.finish()
}

impl Resolved {
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline.inner);
        pass.set_bind_group(0, &self.bind_group, &[]);
        if !self.immediates.is_empty() {
            pass.set_immediates(0, &self.immediates);
        }
        pass.dispatch_workgroups(self.grid[0], self.grid[1], self.grid[2]);
    }
}

impl Step {
    pub fn encode_copy(&self, encoder: &mut wgpu::CommandEncoder) {
        match self {
            Step::Dispatch(..) => {}
            Step::CopyToTexture { buffer, offset, texture, texels } => {
                copy_to_texture(encoder, buffer, *offset, texture, *texels);
            }
            Step::Copy { from, from_offset, to, to_offset, bytes } => {
                encoder.copy_buffer_to_buffer(from, *from_offset, to, *to_offset, *bytes);
            }
            Step::Clear { buffer, offset, bytes } => encoder.clear_buffer(buffer, *offset, Some(*bytes)),
        }
    }
}

/// Memory of transient buffers, and of the textures that show them.
struct Slot {
    buffer: wgpu::Buffer,
    /// By the byte that they begin at.
    textures: BTreeMap<u64, wgpu::Texture>,
}

fn transient_slot(gpu: &Gpu, bytes: u64, views: &BTreeSet<u64>) -> Result<Slot> {
    if !views.is_empty() {
        let made = shared_memory::create(&gpu.device, &gpu.queue, bytes, views, gpu.facts().max_texture_side);
        let SharedMemory { buffer, textures } = made.ok_or_else(|| {
            Error::gpu(format!(
                "adapter {}: has no memory for {bytes} bytes; use a smaller batch or model",
                gpu.description().name
            ))
        })?;
        return Ok(Slot { buffer, textures });
    }
    let buffer = gpu.device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("transient slot"),
        size: bytes,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    Ok(Slot { buffer, textures: BTreeMap::new() })
}

fn operand_texture(gpu: &Gpu, rows: u32) -> wgpu::Texture {
    gpu.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("operand texture"),
        size: wgpu::Extent3d { width: TEXTURE_WIDTH, height: rows, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba32Float,
        usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    })
}

/// Full rows in one copy, the rest of the last row in a second one.
fn copy_to_texture(
    encoder: &mut wgpu::CommandEncoder,
    buffer: &wgpu::Buffer,
    offset: u64,
    texture: &wgpu::Texture,
    texels: u64,
) {
    let width = u64::from(TEXTURE_WIDTH);
    let (rows, rest) = ((texels / width) as u32, (texels % width) as u32);
    for (first_row, width, rows) in [(0, TEXTURE_WIDTH, rows), (rows, rest, 1)] {
        if width == 0 || rows == 0 {
            continue;
        }
        encoder.copy_buffer_to_texture(
            wgpu::TexelCopyBufferInfo {
                buffer,
                layout: wgpu::TexelCopyBufferLayout {
                    offset: offset + u64::from(first_row) * u64::from(TEXTURE_WIDTH) * 16,
                    bytes_per_row: Some(TEXTURE_WIDTH * 16),
                    rows_per_image: None,
                },
            },
            wgpu::TexelCopyTextureInfo {
                texture,
                mip_level: 0,
                origin: wgpu::Origin3d { x: 0, y: first_row, z: 0 },
                aspect: wgpu::TextureAspect::All,
            },
            wgpu::Extent3d { width, height: rows, depth_or_array_layers: 1 },
        );
    }
}

fn bind_group(
    gpu: &Gpu,
    dispatch: &Dispatch,
    pipeline: &Pipeline,
    buffer_of: &dyn Fn(&Slice) -> Result<wgpu::Buffer>,
    texture_of: &dyn Fn(usize) -> Result<wgpu::Texture>,
) -> Result<wgpu::BindGroup> {
    enum Held {
        Buffer(wgpu::Buffer, u64, u64),
        View(wgpu::TextureView),
    }
    let held: Vec<Held> = dispatch
        .bindings
        .iter()
        .map(|binding| {
            Ok(match binding {
                Binding::Read(s) | Binding::Operand(s) | Binding::Write(s) => {
                    Held::Buffer(buffer_of(s)?, s.offset, s.bytes)
                }
                Binding::Texture(t) => {
                    Held::View(texture_of(t.0 as usize)?.create_view(&wgpu::TextureViewDescriptor::default()))
                }
            })
        })
        .collect::<Result<_>>()?;
    let entries: Vec<_> = held
        .iter()
        .enumerate()
        .map(|(i, held)| wgpu::BindGroupEntry {
            binding: i as u32,
            resource: match held {
                Held::Buffer(buffer, offset, bytes) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: *offset,
                    size: std::num::NonZeroU64::new(*bytes),
                }),
                Held::View(view) => wgpu::BindingResource::TextureView(view),
            },
        })
        .collect();
    Ok(gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(dispatch.shader),
        layout: &pipeline.layout,
        entries: &entries,
    }))
}
