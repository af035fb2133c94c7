//! What kernels of the software class, one subgroup of eight or four lanes a workgroup, agree on.

/// Texels of columns, at most, for which a lane has a row and all of its columns: in tiles of 32 columns, a column
/// texel each of eight lanes, half of the lanes would be idle.
pub(super) const NARROW: usize = 4;

/// Texels of a sum that one turn of a product's loop does: more save loads and stores of accumulators.
pub(super) fn round(depth: usize) -> usize {
    if depth.is_multiple_of(2) { 2 } else { 1 }
}

/// Whether `common/divide` has to divide numbers up to `most` as integers.
pub(super) fn wide(most: usize) -> bool {
    most >= 1 << 24
}
