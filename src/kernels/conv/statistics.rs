//! Statistics of what a convolution stores, a part for each tile, for the batch norm in training behind it, which then reads its input once instead of
//! twice.

use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Recording, Slice};
use crate::kernels::Tensor;
use crate::kernels::norm::PARTIAL_STATISTICS;

/// Mean and sum of squared deviations of each part, [2][groups][parts] texels as `norm/batch_norm_partials` has them.
pub(super) struct PartialStatistics {
    slice: Slice,
    parts: usize,
    /// Texels of each part.
    texels: usize,
}

impl PartialStatistics {
    /// Of `y` in parts of `texels` texels, in their order in it: if a batch norm asked for them and they are all whole.
    pub fn asked_for(
        recording: &mut Recording,
        y: Tensor,
        whole: bool,
        texels: usize,
    ) -> Option<PartialStatistics> {
        let facts = recording.facts();
        // The kernels sum over eight lanes.
        if !whole || facts.lanes() != 8 || !recording.is_asked_for(PARTIAL_STATISTICS, y.slice) {
            return None;
        }
        let parts = y.shape.n * y.shape.pixels() / texels;
        let slice = recording.transient(PARTIAL_STATISTICS, (2 * y.shape.c4() * parts * 16) as u64);
        Some(PartialStatistics { slice, parts, texels })
    }

    /// Adds what `conv/statistics` needs: a binding behind those that are there, and immediates, for results from part `first` on.
    pub fn bind(
        &self,
        defines: Defines,
        bindings: &mut Vec<Binding>,
        immediates: &mut Vec<u32>,
        first: usize,
    ) -> Defines {
        let defines = defines.with("STATISTICS", bindings.len());
        bindings.push(Binding::Write(self.slice));
        immediates.extend([self.parts as u32, first as u32]);
        defines
    }

    /// For the batch norm to find, once all parts are written.
    pub fn keep(&self, recording: &mut Recording, y: Tensor) {
        let texture = recording.as_texture(PARTIAL_STATISTICS, self.slice);
        recording.keep_derived(PARTIAL_STATISTICS, y.slice, [self.parts, self.texels, 0, 0], texture);
    }

    pub fn bytes(&self) -> u64 {
        self.slice.bytes
    }
}
