//! What a launcher may know of the adapter, and how products are computed on it.

use super::adapter::KernelClass;
use super::recording::TEXTURE_WIDTH;
use super::tune::TileRates;

/// How the tiled kernels of the GPU classes multiply (matrix products and dense convolutions, in every direction).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Products {
    /// In f32 throughout.
    #[default]
    Single,
    /// Operands rounded to f16, sums in f32, on plain arithmetic: the numbers of `Cooperative` up to the order of sums, on
    /// any adapter and without its speed. Tests ask for it; no command does.
    Rounded,
    /// Operands rounded to f16, sums in f32, on cooperative matrices ("tensor cores").
    Cooperative,
}

/// What kernels may know of the adapter they will run on. Tests change fields to force a variant.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Facts {
    pub class: KernelClass,
    /// The subgroup size, where it is the same for every dispatch.
    pub subgroup: Option<u32>,
    /// Direct convolutions everywhere, never Winograd's.
    pub exact_conv: bool,
    pub products: Products,
    /// Memory that is a buffer and an operand texture at once: copies between the two are left out where nothing
    /// changes the buffer before the texture is read.
    pub shared_memory: bool,
    /// 64-bit integers in shaders (the software class stores pairs of floats through them).
    pub int64: bool,
    /// Threads that a software adapter runs workgroups on, 1 on others. Only the number of launches may depend on it, no bits.
    pub threads: usize,
    /// What a core of a software adapter keeps of its code: how far loops are unrolled may depend on it, no bits.
    pub code_cache_bytes: u64,
    pub max_binding_bytes: u64,
    pub max_buffer_bytes: u64,
    pub max_texture_side: u32,
    pub max_groups: u32,
    pub max_invocations: u32,
    pub max_workgroup_bytes: u32,
    pub offset_alignment: u64,
    /// Measured rates of tiled products, on GPUs.
    pub tile_rates: TileRates,
}

impl Facts {
    /// Whether the storage-texture kernels of the software class can run here: those of matrix products have one subgroup
    /// of eight or four lanes in a workgroup. lavapipe is the only driver that has run them.
    pub fn texture_kernels(&self) -> bool {
        self.class == KernelClass::Software && matches!(self.subgroup, Some(4 | 8)) && self.int64
    }

    /// Texels of the largest operand texture.
    pub fn most_texels(&self) -> u64 {
        u64::from(TEXTURE_WIDTH) * u64::from(self.max_texture_side)
    }

    /// Lanes of the storage-texture kernels of matrix products, convolutions and contrastive losses, where there are such kernels.
    pub fn lanes(&self) -> usize {
        match self.subgroup {
            Some(4) => 4,
            _ => 8,
        }
    }
}
