//! The second stage of sums that are cut into parts: always in the same order.

use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};

const WORKGROUP: u32 = 64;

/// Parts that one invocation adds up; more parts take more levels.
const FAN: u64 = 32;

/// `out = Σ parts[p]` in index order, groups of 32 at a time; `parts` holds `count` parts of `out.bytes` bytes each.
pub(super) fn sum_parts(recording: &mut Recording, parts: Slice, count: u64, out: Slice) {
    let texels = out.bytes / 16;
    let (mut parts, mut count) = (parts, count);
    while count > 0 {
        let groups = count.div_ceil(FAN);
        let to = if groups == 1 { out } else { recording.transient("sums of parts", groups * out.bytes) };
        recording.dispatch(Dispatch {
            shader: "conv/sum_parts",
            defines: Defines::new().with("WORKGROUP", WORKGROUP),
            bindings: vec![Binding::Read(parts), Binding::Write(to)],
            immediates: vec![texels as u32, count as u32, FAN as u32],
            grid: recording.grid((groups * texels).div_ceil(u64::from(WORKGROUP))),
            flops: count * texels * 4,
            bytes: (count + groups) * out.bytes,
        });
        if groups == 1 {
            return;
        }
        (parts, count) = (to, groups);
    }
}
