//! One piece of memory as a buffer and as operand textures at the same time, so that what kernels store in the
//! buffer need not be copied to be read as texels.
//!
//! WebGPU has no such thing, Vulkan has: a linear image has a defined layout, and in the general layout it and a
//! buffer over the same memory show the same bytes (Vulkan specification, "Memory Aliasing"). What Vulkan leaves to
//! the application, and what wgpu cannot know to do, is the barrier between a kernel that writes the buffer and one
//! that reads the texture. Lavapipe ends every dispatch before it begins the next, so none is needed there, and only
//! there this is used.

use super::recording::TEXTURE_WIDTH;
use std::collections::{BTreeMap, BTreeSet};

/// A buffer and textures over the same memory, by the bytes of the buffer that they begin at.
pub(super) struct SharedMemory {
    pub buffer: wgpu::Buffer,
    pub textures: BTreeMap<u64, wgpu::Texture>,
}

/// Textures begin at multiples of this many bytes.
pub(super) const VIEW_ALIGNMENT: u64 = 256;

const ROW_BYTES: u64 = TEXTURE_WIDTH as u64 * 16;

/// Whether `device`, of which `info` speaks, has memory that can be shared.
pub(super) fn available(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> bool {
    info.device_type == wgpu::DeviceType::Cpu
        && info.driver == "llvmpipe"
        && make(device, ROW_BYTES, &[(0, 1), (VIEW_ALIGNMENT, 1)]).is_some()
}

/// Memory of at least `bytes`, and a texture for each of `views`, of as many rows as show it from there on, but of `most_rows` at most.
/// `None` where the adapter has no such memory, or none left.
pub(super) fn create(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    bytes: u64,
    views: &BTreeSet<u64>,
    most_rows: u32,
) -> Option<SharedMemory> {
    let rows =
        |offset: u64| u32::try_from(bytes.saturating_sub(offset).div_ceil(ROW_BYTES)).unwrap_or(u32::MAX);
    let views: Vec<(u64, u32)> =
        views.iter().map(|&offset| (offset, rows(offset).clamp(1, most_rows))).collect();
    let shared = make(device, bytes, &views)?;
    // Into the general layout now: the change may discard what the memory holds.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(LABEL) });
    let state = wgpu::TextureUses::STORAGE_READ_ONLY;
    let transition = |texture| wgpu::TextureTransition { texture, selector: None, state };
    encoder.transition_resources(std::iter::empty(), shared.textures.values().map(transition));
    queue.submit([encoder.finish()]);
    Some(shared)
}

const LABEL: &str = "buffer and operand textures";

#[cfg(not(target_os = "linux"))]
fn make(_: &wgpu::Device, _: u64, _: &[(u64, u32)]) -> Option<SharedMemory> {
    None
}

#[cfg(target_os = "linux")]
use linux::make;

#[cfg(target_os = "linux")]
mod linux {
    use super::{LABEL, ROW_BYTES, SharedMemory, TEXTURE_WIDTH};
    use ash::vk;
    use std::sync::Arc;
    use wgpu::hal::{api::Vulkan, vulkan as hal};

    /// What is destroyed when neither the buffer nor a texture is in use any more.
    struct Raw {
        device: ash::Device,
        buffer: vk::Buffer,
        images: Vec<vk::Image>,
        memory: vk::DeviceMemory,
    }

    impl Drop for Raw {
        fn drop(&mut self) {
            // SAFETY: wgpu calls back when the device has done all work with a resource and before it destroys the
            // device; all callbacks have run. Handles that were never made are null, which Vulkan ignores.
            unsafe {
                self.device.destroy_buffer(self.buffer, None);
                for &image in &self.images {
                    self.device.destroy_image(image, None);
                }
                self.device.free_memory(self.memory, None);
            }
        }
    }

    fn extent(rows: u32) -> wgpu::Extent3d {
        wgpu::Extent3d { width: TEXTURE_WIDTH, height: rows, depth_or_array_layers: 1 }
    }

    fn image_info(rows: u32) -> vk::ImageCreateInfo<'static> {
        vk::ImageCreateInfo::default()
            .flags(vk::ImageCreateFlags::ALIAS)
            .image_type(vk::ImageType::TYPE_2D)
            .format(vk::Format::R32G32B32A32_SFLOAT)
            .extent(vk::Extent3D { width: TEXTURE_WIDTH, height: rows, depth: 1 })
            .mip_levels(1)
            .array_layers(1)
            .samples(vk::SampleCountFlags::TYPE_1)
            .tiling(vk::ImageTiling::LINEAR)
            .usage(vk::ImageUsageFlags::STORAGE)
    }

    /// A buffer and linear images (where each begins, and its rows) over one allocation, where the driver lays images out as texels are counted.
    ///
    /// # Safety
    /// `device` is alive as long as the result.
    unsafe fn allocate(device: &hal::Device, bytes: u64, views: &[(u64, u32)]) -> Option<Raw> {
        let most_rows = views.iter().map(|&(_, rows)| rows).max()?;
        let image = image_info(most_rows);
        let buffer_info = vk::BufferCreateInfo::default().size(bytes).usage(
            vk::BufferUsageFlags::STORAGE_BUFFER
                | vk::BufferUsageFlags::TRANSFER_SRC
                | vk::BufferUsageFlags::TRANSFER_DST,
        );
        // SAFETY: handles are made by and used with one device, images only if it can make them.
        unsafe {
            let supported =
                device.shared_instance().raw_instance().get_physical_device_image_format_properties(
                    device.raw_physical_device(),
                    image.format,
                    image.image_type,
                    image.tiling,
                    image.usage,
                    image.flags,
                );
            let most = supported.ok()?.max_extent;
            if most.width < TEXTURE_WIDTH || most.height < most_rows {
                return None;
            }
            let mut raw = Raw {
                device: device.raw_device().clone(),
                buffer: vk::Buffer::null(),
                images: Vec::new(),
                memory: vk::DeviceMemory::null(),
            };
            raw.buffer = raw.device.create_buffer(&buffer_info, None).ok()?;
            let of_buffer = raw.device.get_buffer_memory_requirements(raw.buffer);
            let (mut types, mut size) = (of_buffer.memory_type_bits, of_buffer.size);
            let part = vk::ImageSubresource::default().aspect_mask(vk::ImageAspectFlags::COLOR);
            for &(offset, rows) in views {
                let image = raw.device.create_image(&image_info(rows), None).ok()?;
                raw.images.push(image);
                let layout = raw.device.get_image_subresource_layout(image, part);
                let of_image = raw.device.get_image_memory_requirements(image);
                if (layout.offset, layout.row_pitch) != (0, ROW_BYTES)
                    || !offset.is_multiple_of(of_image.alignment)
                {
                    return None;
                }
                types &= of_image.memory_type_bits;
                size = size.max(offset + of_image.size);
            }
            if types == 0 {
                return None;
            }
            let memory_info = vk::MemoryAllocateInfo::default()
                .allocation_size(size)
                .memory_type_index(types.trailing_zeros());
            raw.memory = raw.device.allocate_memory(&memory_info, None).ok()?;
            raw.device.bind_buffer_memory(raw.buffer, raw.memory, 0).ok()?;
            for (&image, &(offset, _)) in raw.images.iter().zip(views) {
                raw.device.bind_image_memory(image, raw.memory, offset).ok()?;
            }
            Some(raw)
        }
    }

    pub(super) fn make(device: &wgpu::Device, bytes: u64, views: &[(u64, u32)]) -> Option<SharedMemory> {
        let of_hal = |rows| wgpu::hal::TextureDescriptor {
            label: Some(LABEL),
            size: extent(rows),
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Float,
            usage: wgpu::TextureUses::STORAGE_READ_ONLY,
            memory_flags: wgpu::hal::MemoryFlags::empty(),
            view_formats: Vec::new(),
        };
        let of_texture = |rows| wgpu::TextureDescriptor {
            label: Some(LABEL),
            size: extent(rows),
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba32Float,
            usage: wgpu::TextureUsages::STORAGE_BINDING,
            view_formats: &[],
        };
        let of_buffer = wgpu::BufferDescriptor {
            label: Some(LABEL),
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        // SAFETY: the handles live in `Raw` until wgpu has let go of all, and it lets go before its device ends;
        // descriptors name the sizes and usages that they were made with.
        unsafe {
            let wgpu_device = device.as_hal::<Vulkan>()?;
            let raw = Arc::new(allocate(&wgpu_device, bytes, views)?);
            let held = || {
                let held = raw.clone();
                Box::new(move || drop(held))
            };
            let texture = |(&image, &(offset, rows)): (&vk::Image, &(u64, u32))| {
                let memory = hal::TextureMemory::External;
                (offset, rows, wgpu_device.texture_from_raw(image, &of_hal(rows), Some(held()), memory))
            };
            let textures: Vec<_> = raw.images.iter().zip(views).map(texture).collect();
            let buffer = hal::Buffer::from_raw_externally_owned(raw.buffer, held());
            drop(wgpu_device);
            let uninitialized = wgpu::TextureUses::UNINITIALIZED;
            let texture = |(offset, rows, texture)| {
                let of_texture = of_texture(rows);
                (offset, device.create_texture_from_hal::<Vulkan>(texture, &of_texture, uninitialized))
            };
            Some(SharedMemory {
                textures: textures.into_iter().map(texture).collect(),
                buffer: device.create_buffer_from_hal::<Vulkan>(buffer, &of_buffer),
            })
        }
    }
}
