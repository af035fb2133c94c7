//! Adapter choice, the opened device, and what kernels may know of it.

use super::cooperative;
use super::facts::{Facts, Products};
use super::pipeline::PipelineCache;
use super::shared_memory;
use super::tune::TileRates;
use crate::{Error, Result};
use serde::Serialize;

/// Which family of kernels an adapter gets. Everything above `kernels/` must not look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelClass {
    /// A Vulkan driver that runs on the CPU (Mesa's lavapipe): storage-texture operands, one subgroup a workgroup.
    Software,
    /// A GPU that shares memory with the CPU: workgroup-memory tiles, small.
    Integrated,
    /// A GPU with its own memory: workgroup-memory tiles, large.
    Discrete,
}

/// How a [`Gpu`] is opened.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Keep naga's bounds checks and loop bounds in every shader (tests do).
    pub checked: bool,
    /// Direct convolutions everywhere, never Winograd's, which is faster and rounds about twice as much.
    pub exact_conv: bool,
    /// Tiles by the fixed table alone: nothing is measured, no cache is read or written.
    pub deterministic: bool,
    /// Products of operands rounded to f16 on cooperative matrices, see [`Products::Cooperative`].
    pub mixed_precision: bool,
}

/// What `contraleak device` says of one adapter.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterDescription {
    pub name: String,
    pub backend: String,
    pub device_type: String,
    pub driver: String,
    pub driver_info: String,
    pub subgroup_min: u32,
    pub subgroup_max: u32,
    pub class: KernelClass,
    /// Why this adapter is used, or why not.
    pub reason: String,
    pub used: bool,
    pub max_storage_buffer_binding_size: u64,
    pub max_buffer_size: u64,
    pub max_texture_dimension_2d: u32,
    pub features: Vec<String>,
    /// Cooperative matrices, each as M x N x K with the types of operands and sums.
    pub cooperative_matrices: Vec<String>,
    /// What stands against mixed precision here; `None` where it can be asked for.
    pub no_mixed_precision: Option<String>,
}

/// An opened device with its pipelines. Cheap to share by reference; all methods take `&self`.
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) pipelines: PipelineCache,
    pub(super) facts: Facts,
    pub(super) timestamps: bool,
    description: AdapterDescription,
    device_errors: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

/// Features that are used where an adapter has them.
const WANTED: wgpu::Features = wgpu::Features::SUBGROUP
    .union(wgpu::Features::SHADER_INT64)
    .union(wgpu::Features::TIMESTAMP_QUERY)
    .union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

impl Gpu {
    /// Opens the best adapter, or the one that `WGPU_BACKEND` and `WGPU_ADAPTER_NAME` name.
    ///
    /// # Errors
    /// [`Error::Gpu`] when no adapter is found (the message says what to install on this system),
    /// when the named one does not exist (the message lists those that do), or when it lacks a
    /// feature that every kernel needs. [`Error::Usage`] for mixed precision on an adapter that has no use for it.
    pub fn open(options: &GpuOptions) -> Result<Gpu> {
        let candidates = candidates();
        let chosen = choose(&candidates)?;
        let (adapter, description) =
            (&candidates[chosen].0, describe(&candidates, Some(chosen)).swap_remove(chosen));
        let missing = wgpu::Features::IMMEDIATES - adapter.features();
        if !missing.is_empty() {
            return Err(Error::gpu(format!(
                "adapter {}: needs the feature {missing}, which its driver {} {} does not offer; update the driver or choose another adapter with WGPU_ADAPTER_NAME",
                description.name, description.driver, description.driver_info
            )));
        }
        let mut features = wgpu::Features::IMMEDIATES | (WANTED & adapter.features());
        let mut experimental = wgpu::ExperimentalFeatures::disabled();
        if options.mixed_precision {
            if let Some(problem) = &description.no_mixed_precision {
                return Err(Error::usage(format!(
                    "mixed precision: adapter {}: {problem}; leave --precision out, or choose another adapter with WGPU_ADAPTER_NAME",
                    description.name
                )));
            }
            features |= cooperative::FEATURES;
            // SAFETY: wgpu calls a feature experimental whose use its validation does not cover. Every shader that uses this
            // one is tested, and a product of known values is compared before the first training step.
            experimental = unsafe { wgpu::ExperimentalFeatures::enabled() };
        }
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("contraleak"),
            required_features: features,
            required_limits: adapter.limits(),
            experimental_features: experimental,
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        }))
        .map_err(|e| Error::gpu(format!("adapter {}: {e}", description.name)))?;
        let device_errors = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = device_errors.clone();
        device.on_uncaptured_error(std::sync::Arc::new(move |e: wgpu::Error| {
            if let Ok(mut list) = sink.lock() {
                list.push(e.to_string());
            }
        }));
        let limits = device.limits();
        let info = adapter.get_info();
        let facts = Facts {
            class: description.class,
            subgroup: (features.contains(wgpu::Features::SUBGROUP)
                && info.subgroup_min_size == info.subgroup_max_size)
                .then_some(info.subgroup_min_size),
            exact_conv: options.exact_conv,
            products: if options.mixed_precision { Products::Cooperative } else { Products::Single },
            shared_memory: shared_memory::available(&device, &info),
            int64: features.contains(wgpu::Features::SHADER_INT64),
            threads: if description.class == KernelClass::Software { software_threads() } else { 1 },
            code_cache_bytes: code_cache_bytes(),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            max_texture_side: limits.max_texture_dimension_2d,
            max_groups: limits.max_compute_workgroups_per_dimension,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            offset_alignment: u64::from(limits.min_storage_buffer_offset_alignment).max(16),
            tile_rates: TileRates::default(),
        };
        Ok(Gpu {
            pipelines: PipelineCache::new(options.checked),
            timestamps: features
                .contains(wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS),
            device,
            queue,
            facts,
            description,
            device_errors,
        })
    }

    /// The same device whose kernels are told other facts: tests force variants that its adapter would not get.
    #[must_use]
    pub fn with_facts(mut self, facts: Facts) -> Gpu {
        self.facts = facts;
        self
    }

    /// What kernels may know of this adapter.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Takes measured rates in place of the fixed ones, for recordings that are made from now on.
    pub fn set_tile_rates(&mut self, rates: TileRates) {
        self.facts.tile_rates = rates;
    }

    /// Name, driver, class and limits of the adapter in use.
    pub fn description(&self) -> &AdapterDescription {
        &self.description
    }

    /// Errors that the device reported since the last call, as one [`Error::Gpu`].
    pub fn check(&self) -> Result<()> {
        let mut list = match self.device_errors.lock() {
            Ok(list) => list,
            Err(poisoned) => poisoned.into_inner(),
        };
        if list.is_empty() {
            return Ok(());
        }
        let all = std::mem::take(&mut *list);
        Err(Error::gpu(format!("adapter {}: {}", self.description.name, all.join("; "))))
    }
}

/// Every adapter that wgpu sees, with the one that [`Gpu::open`] would use marked.
pub fn list_adapters() -> Vec<AdapterDescription> {
    let candidates = candidates();
    let chosen = choose(&candidates).ok();
    describe(&candidates, chosen)
}

type Candidate = (wgpu::Adapter, wgpu::AdapterInfo);

fn candidates() -> Vec<Candidate> {
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::PRIMARY);
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(backends))
        .into_iter()
        .map(|adapter| {
            let info = adapter.get_info();
            (adapter, info)
        })
        .collect()
}

fn rank(info: &wgpu::AdapterInfo) -> u8 {
    match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

fn choose(candidates: &[Candidate]) -> Result<usize> {
    let wanted = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|s| !s.is_empty());
    let matching = candidates.iter().enumerate().filter(|(_, (_, info))| {
        wanted.as_ref().is_none_or(|w| info.name.to_lowercase().contains(&w.to_lowercase()))
    });
    if let Some((i, _)) = matching.min_by_key(|(i, (_, info))| (rank(info), *i)) {
        return Ok(i);
    }
    let backend = std::env::var("WGPU_BACKEND").ok();
    let of_backend = backend.as_ref().map(|b| format!(" (WGPU_BACKEND={b})")).unwrap_or_default();
    if let (Some(wanted), false) = (wanted, candidates.is_empty()) {
        let names: Vec<_> = candidates.iter().map(|(_, i)| format!("{} ({:?})", i.name, i.backend)).collect();
        return Err(Error::gpu(format!(
            "WGPU_ADAPTER_NAME={wanted}: no adapter's name contains this{of_backend}; adapters here: {}",
            names.join(", ")
        )));
    }
    let otherwise = match backend {
        Some(_) => "unset WGPU_BACKEND (it knows vulkan, metal and dx12) or ",
        None => "",
    };
    Err(Error::gpu(format!("no GPU adapter found{of_backend}; {otherwise}{}", install_hint())))
}

fn install_hint() -> &'static str {
    if cfg!(target_os = "linux") {
        "install a Vulkan driver: your GPU vendor's, or the software driver of Mesa, which needs no GPU (Debian, Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers; Fedora: dnf install vulkan-loader mesa-vulkan-drivers; Arch: pacman -S vulkan-icd-loader vulkan-swrast)"
    } else if cfg!(target_os = "windows") {
        "install a current graphics driver with DirectX 12 or Vulkan support"
    } else if cfg!(target_os = "macos") {
        "use a Mac with Metal support"
    } else {
        "install a Vulkan driver, for example Mesa's software driver lavapipe"
    }
}

fn describe(candidates: &[Candidate], chosen: Option<usize>) -> Vec<AdapterDescription> {
    let by_name = std::env::var("WGPU_ADAPTER_NAME").is_ok_and(|s| !s.is_empty());
    candidates
        .iter()
        .enumerate()
        .map(|(i, (adapter, info))| {
            let limits = adapter.limits();
            let used = chosen == Some(i);
            let reason = match (used, by_name, info.device_type) {
                (true, true, _) => "named by WGPU_ADAPTER_NAME".to_string(),
                (true, false, kind) => format!("the first of the best kind seen here ({kind:?})"),
                (false, true, _) => "another one is named by WGPU_ADAPTER_NAME".to_string(),
                (false, false, _) => "a better or earlier one exists".to_string(),
            };
            AdapterDescription {
                name: info.name.clone(),
                backend: format!("{:?}", info.backend),
                device_type: format!("{:?}", info.device_type),
                driver: info.driver.clone(),
                driver_info: info.driver_info.clone(),
                subgroup_min: info.subgroup_min_size,
                subgroup_max: info.subgroup_max_size,
                class: class_of(info),
                reason,
                used,
                max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
                max_buffer_size: limits.max_buffer_size,
                max_texture_dimension_2d: limits.max_texture_dimension_2d,
                features: adapter.features().iter_names().map(|(n, _)| n.to_string()).collect(),
                cooperative_matrices: cooperative::kinds(adapter),
                no_mixed_precision: cooperative::problem(adapter, info),
            }
        })
        .collect()
}

/// What lavapipe is asked for, or would take by itself: a thread for each core.
fn software_threads() -> usize {
    let asked = std::env::var("LP_NUM_THREADS").ok().and_then(|number| number.parse().ok());
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).clamp(1, 32)
}

/// Of code, in a core's first-level cache, where nothing is known.
const LEAST_CODE_CACHE_BYTES: u64 = 32 << 10;

/// The first-level instruction cache of this machine's first core, where Linux says it; else what nearly all have at least.
fn code_cache_bytes() -> u64 {
    let read = |index: u32, what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
        std::fs::read_to_string(path).map(|text| text.trim().to_string()).ok()
    };
    let instructions = |index: &u32| read(*index, "type").as_deref() == Some("Instruction");
    let size = (0..4).find(instructions).and_then(|index| read(index, "size"));
    let kilobytes = size.and_then(|size| size.strip_suffix('K')?.parse::<u64>().ok());
    kilobytes.map_or(LEAST_CODE_CACHE_BYTES, |kilobytes| kilobytes << 10)
}

fn class_of(info: &wgpu::AdapterInfo) -> KernelClass {
    match info.device_type {
        wgpu::DeviceType::Cpu => KernelClass::Software,
        wgpu::DeviceType::DiscreteGpu => KernelClass::Discrete,
        _ => KernelClass::Integrated,
    }
}
