//! What mixed precision needs of an adapter: cooperative matrices of 16 x 16 x 16, operands in f16 and sums in f32.

use wgpu::{AdapterInfo, CooperativeMatrixProperties, CooperativeScalarType, DeviceType, Features};

/// Features that its kernels use.
pub(super) const FEATURES: Features =
    Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(Features::SHADER_F16).union(Features::SUBGROUP);
/// Workgroup memory, in bytes, and invocations that their largest tile fits in.
const WORKGROUP_BYTES: u32 = 32_768;
const INVOCATIONS: u32 = 256;
/// Subgroups that their tiles divide among.
const SUBGROUPS: [u32; 3] = [16, 32, 64];

/// The kinds of cooperative matrices of an adapter, in words.
pub(super) fn kinds(adapter: &wgpu::Adapter) -> Vec<String> {
    let kind = |p: &CooperativeMatrixProperties| {
        format!("{}x{}x{} {:?} in {:?}", p.m_size, p.n_size, p.k_size, p.ab_type, p.cr_type).to_lowercase()
    };
    adapter.cooperative_matrix_properties().iter().map(kind).collect()
}

/// What an adapter lacks for mixed precision.
pub(super) fn problem(adapter: &wgpu::Adapter, info: &AdapterInfo) -> Option<String> {
    let limits = adapter.limits();
    let missing = FEATURES - adapter.features();
    let fits = |p: &CooperativeMatrixProperties| {
        [p.m_size, p.n_size, p.k_size] == [16; 3]
            && (p.ab_type, p.cr_type) == (CooperativeScalarType::F16, CooperativeScalarType::F32)
    };
    let (min, max) = (info.subgroup_min_size, info.subgroup_max_size);
    if info.device_type == DeviceType::Cpu {
        return Some("runs on the CPU, where it brings no speed".into());
    }
    if !missing.is_empty() {
        return Some(format!("needs the features {missing}, without which it brings no speed"));
    }
    if !adapter.cooperative_matrix_properties().iter().any(fits) {
        return Some(format!(
            "needs cooperative matrices of 16x16x16 with f16 operands and f32 sums, found [{}]",
            kinds(adapter).join(", ")
        ));
    }
    if min != max || !SUBGROUPS.contains(&min) {
        return Some(format!("needs subgroups of 16, 32 or 64, always the same, found {min} to {max}"));
    }
    if limits.max_compute_workgroup_storage_size < WORKGROUP_BYTES
        || limits.max_compute_invocations_per_workgroup < INVOCATIONS
    {
        return Some(format!(
            "needs {WORKGROUP_BYTES} bytes of workgroup memory for {INVOCATIONS} invocations, found {} for {}",
            limits.max_compute_workgroup_storage_size, limits.max_compute_invocations_per_workgroup
        ));
    }
    None
}
