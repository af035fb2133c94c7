//! Compiled pipelines, one for each shader variant, made once and in parallel.

use super::adapter::Gpu;
use super::recording::{Binding, Dispatch};
use super::shader::{self, Defines};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Read,
    Write,
    Texture,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    shader: &'static str,
    defines: Defines,
    kinds: Vec<Kind>,
    immediate_bytes: u32,
}

pub(super) struct Pipeline {
    pub inner: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
}

pub(super) struct PipelineCache {
    checked: bool,
    map: Mutex<HashMap<Key, Arc<Pipeline>>>,
}

impl PipelineCache {
    pub fn new(checked: bool) -> PipelineCache {
        PipelineCache { checked, map: Mutex::new(HashMap::new()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Pipeline>>> {
        // A panic while the lock was held can only have left the map as it was or with one more whole entry.
        self.map.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

pub(super) fn key(dispatch: &Dispatch) -> Key {
    Key {
        shader: dispatch.shader,
        defines: dispatch.defines.clone(),
        kinds: dispatch
            .bindings
            .iter()
            .map(|b| match b {
                Binding::Read(_) | Binding::Operand(_) => Kind::Read,
                Binding::Write(_) => Kind::Write,
                Binding::Texture(_) => Kind::Texture,
            })
            .collect(),
        immediate_bytes: dispatch.immediates.len() as u32 * 4,
    }
}

impl Gpu {
    /// The pipelines of `keys`, compiling those that are not known yet on all cores.
    pub(super) fn pipelines(&self, keys: &[Key]) -> Result<Vec<Arc<Pipeline>>> {
        let missing: Vec<Key> = {
            let map = self.pipelines.lock();
            let mut seen = std::collections::HashSet::new();
            keys.iter().filter(|k| !map.contains_key(*k) && seen.insert(*k)).cloned().collect()
        };
        let made: Result<Vec<Arc<Pipeline>>> =
            missing.par_iter().map(|k| self.compile(k).map(Arc::new)).collect();
        let mut map = self.pipelines.lock();
        for (key, pipeline) in missing.into_iter().zip(made?) {
            map.insert(key, pipeline);
        }
        keys.iter()
            .map(|k| {
                map.get(k)
                    .cloned()
                    .ok_or_else(|| Error::gpu(format!("shader {}: its pipeline is missing", k.shader)))
            })
            .collect()
    }

    fn compile(&self, key: &Key) -> Result<Pipeline> {
        let source = shader::preprocess(key.shader, &key.defines)?;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(key.shader),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let module = if self.pipelines.checked {
            self.device.create_shader_module(descriptor)
        } else {
            // SAFETY: every shader of this crate is tested in checked and unchecked form on the same
            // shapes; none indexes outside its bindings or loops without end.
            unsafe {
                self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            }
        };
        let entries: Vec<_> = key
            .kinds
            .iter()
            .enumerate()
            .map(|(i, kind)| wgpu::BindGroupLayoutEntry {
                binding: i as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: match kind {
                    Kind::Texture => wgpu::BindingType::StorageTexture {
                        access: wgpu::StorageTextureAccess::ReadOnly,
                        format: wgpu::TextureFormat::Rgba32Float,
                        view_dimension: wgpu::TextureViewDimension::D2,
                    },
                    kind => wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Storage { read_only: *kind == Kind::Read },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                },
                count: None,
            })
            .collect();
        let layout = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(key.shader),
            entries: &entries,
        });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(key.shader),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: key.immediate_bytes,
        });
        let inner = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(key.shader),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: None,
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: self.pipelines.checked,
                ..Default::default()
            },
            cache: None,
        });
        match pollster::block_on(scope.pop()) {
            Some(e) => Err(Error::gpu(format!("shader {} with {:?}: {e}", key.shader, key.defines))),
            None => Ok(Pipeline { inner, layout }),
        }
    }
}
