//! What kernels of the software class, one subgroup of eight or four lanes a workgroup, agree on.

use crate::gpu::Facts;

/// Texels of columns, at most, for which a lane has a row and all of its columns: in tiles of 32 columns, a column
/// texel each of eight lanes, half of the lanes would be idle.
pub(super) const NARROW: usize = 4;

/// Texels of a sum that one turn of a product's loop does: more save loads and stores of accumulators.
pub(super) fn round(depth: usize) -> usize {
    if depth.is_multiple_of(2) { 2 } else { 1 }
}

/// Texels of a sum from which on a turn of four pays for its code.
const LONG_DEPTH: usize = 32;

/// [`round`] for products with sums so long that a loop of 48 KB pays: twice as many, where a core's cache holds it.
pub(super) fn long_round(facts: &Facts, depth: usize) -> usize {
    let fits = facts.code_cache_bytes >= 64 << 10 && facts.lanes() == 8;
    if fits && depth >= LONG_DEPTH && depth.is_multiple_of(4) { 4 } else { round(depth) }
}

/// Whether `common/divide` has to divide numbers up to `most` as integers.
pub(super) fn wide(most: usize) -> bool {
    most >= 1 << 24
}
