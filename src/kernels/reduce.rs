//! Sums in a fixed order.

use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};

const WORKGROUP: u32 = 64;

/// `y = part 0 + part 1 + …`, element by element in this order. `parts` holds `count` ranges as long as `y`.
pub fn sum_parts(recording: &mut Recording, parts: Slice, count: usize, y: Slice) {
    let texels = y.bytes / 16;
    recording.dispatch(Dispatch {
        shader: "reduce/sum_parts",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![Binding::Read(parts), Binding::Write(y)],
        immediates: vec![texels as u32, count as u32],
        grid: recording.grid(texels.div_ceil(u64::from(WORKGROUP))),
        flops: (count as u64 - 1) * texels * 4,
        bytes: (count as u64 + 1) * y.bytes,
    });
}
