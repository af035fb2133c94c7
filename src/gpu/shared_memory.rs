//! One piece of memory as a buffer and as an operand texture at the same time, so that what kernels store in the
//! buffer need not be copied to be read as texels.
//!
//! WebGPU has no such thing, Vulkan has: a linear image has a defined layout, and in the general layout it and a
//! buffer over the same memory show the same bytes (Vulkan specification, "Memory Aliasing"). What Vulkan leaves to
//! the application, and what wgpu cannot know to do, is the barrier between a kernel that writes the buffer and one
//! that reads the texture. Lavapipe ends every dispatch before it begins the next, so none is needed there, and only
//! there this is used.

use super::recording::TEXTURE_WIDTH;

/// A buffer and a texture over the same memory.
pub(super) struct SharedMemory {
    pub buffer: wgpu::Buffer,
    pub texture: wgpu::Texture,
}

const ROW_BYTES: u64 = TEXTURE_WIDTH as u64 * 16;

/// Whether `device`, of which `info` speaks, has memory that can be shared.
pub(super) fn available(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> bool {
    info.device_type == wgpu::DeviceType::Cpu
        && info.driver == "llvmpipe"
        && make(device, ROW_BYTES, 1).is_some()
}

/// Memory of at least `bytes`, and a texture of as many rows as show it, but of `most_rows` at most. `None` where the
/// adapter has no such memory, or none left.
pub(super) fn create(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    bytes: u64,
    most_rows: u32,
) -> Option<SharedMemory> {
    let rows = u32::try_from(bytes.div_ceil(ROW_BYTES)).unwrap_or(u32::MAX).clamp(1, most_rows);
    let shared = make(device, bytes, rows)?;
    // Into the general layout now: the change may discard what the memory holds.
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some(LABEL) });
    let state = wgpu::TextureUses::STORAGE_READ_ONLY;
    let transition = wgpu::TextureTransition { texture: &shared.texture, selector: None, state };
    encoder.transition_resources(std::iter::empty(), std::iter::once(transition));
    queue.submit([encoder.finish()]);
    Some(shared)
}

const LABEL: &str = "buffer and operand texture";

#[cfg(not(target_os = "linux"))]
fn make(_: &wgpu::Device, _: u64, _: u32) -> Option<SharedMemory> {
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

    /// What is destroyed when neither the buffer nor the texture is in use any more.
    struct Raw {
        device: ash::Device,
        buffer: vk::Buffer,
        image: vk::Image,
        memory: vk::DeviceMemory,
    }

    impl Drop for Raw {
        fn drop(&mut self) {
            // SAFETY: wgpu calls back when the device has done all work with a resource and before it destroys the
            // device; both callbacks have run. Handles that were never made are null, which Vulkan ignores.
            unsafe {
                self.device.destroy_buffer(self.buffer, None);
                self.device.destroy_image(self.image, None);
                self.device.free_memory(self.memory, None);
            }
        }
    }

    fn extent(rows: u32) -> wgpu::Extent3d {
        wgpu::Extent3d { width: TEXTURE_WIDTH, height: rows, depth_or_array_layers: 1 }
    }

    /// A buffer and a linear image over one allocation, where the driver lays the image out as texels are counted.
    ///
    /// # Safety
    /// `device` is alive as long as the result.
    unsafe fn allocate(device: &hal::Device, bytes: u64, rows: u32) -> Option<Raw> {
        let image_info = vk::ImageCreateInfo::default()
            .flags(vk::ImageCreateFlags::ALIAS)
            .image_type(vk::ImageType::TYPE_2D)
            .format(vk::Format::R32G32B32A32_SFLOAT)
            .extent(vk::Extent3D { width: TEXTURE_WIDTH, height: rows, depth: 1 })
            .mip_levels(1)
            .array_layers(1)
            .samples(vk::SampleCountFlags::TYPE_1)
            .tiling(vk::ImageTiling::LINEAR)
            .usage(vk::ImageUsageFlags::STORAGE);
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
                    image_info.format,
                    image_info.image_type,
                    image_info.tiling,
                    image_info.usage,
                    image_info.flags,
                );
            let most = supported.ok()?.max_extent;
            if most.width < TEXTURE_WIDTH || most.height < rows {
                return None;
            }
            let mut raw = Raw {
                device: device.raw_device().clone(),
                buffer: vk::Buffer::null(),
                image: vk::Image::null(),
                memory: vk::DeviceMemory::null(),
            };
            raw.image = raw.device.create_image(&image_info, None).ok()?;
            raw.buffer = raw.device.create_buffer(&buffer_info, None).ok()?;
            let part = vk::ImageSubresource::default().aspect_mask(vk::ImageAspectFlags::COLOR);
            let layout = raw.device.get_image_subresource_layout(raw.image, part);
            if (layout.offset, layout.row_pitch) != (0, ROW_BYTES) {
                return None;
            }
            let of_image = raw.device.get_image_memory_requirements(raw.image);
            let of_buffer = raw.device.get_buffer_memory_requirements(raw.buffer);
            let types = of_image.memory_type_bits & of_buffer.memory_type_bits;
            if types == 0 {
                return None;
            }
            let memory_info = vk::MemoryAllocateInfo::default()
                .allocation_size(of_image.size.max(of_buffer.size))
                .memory_type_index(types.trailing_zeros());
            raw.memory = raw.device.allocate_memory(&memory_info, None).ok()?;
            raw.device.bind_image_memory(raw.image, raw.memory, 0).ok()?;
            raw.device.bind_buffer_memory(raw.buffer, raw.memory, 0).ok()?;
            Some(raw)
        }
    }

    pub(super) fn make(device: &wgpu::Device, bytes: u64, rows: u32) -> Option<SharedMemory> {
        let of_hal = wgpu::hal::TextureDescriptor {
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
        let of_texture = wgpu::TextureDescriptor {
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
        // SAFETY: the handles live in `Raw` until wgpu has let go of both, and it lets go before its device ends;
        // descriptors name the sizes and usages that they were made with.
        unsafe {
            let wgpu_device = device.as_hal::<Vulkan>()?;
            let raw = Arc::new(allocate(&wgpu_device, bytes, rows)?);
            let (held_by_texture, held_by_buffer) = (raw.clone(), raw.clone());
            let texture = wgpu_device.texture_from_raw(
                raw.image,
                &of_hal,
                Some(Box::new(move || drop(held_by_texture))),
                hal::TextureMemory::External,
            );
            let buffer =
                hal::Buffer::from_raw_externally_owned(raw.buffer, Box::new(move || drop(held_by_buffer)));
            drop(wgpu_device);
            let uninitialized = wgpu::TextureUses::UNINITIALIZED;
            Some(SharedMemory {
                texture: device.create_texture_from_hal::<Vulkan>(texture, &of_texture, uninitialized),
                buffer: device.create_buffer_from_hal::<Vulkan>(buffer, &of_buffer),
            })
        }
    }
}
