//! Near duplicates across two sets of images: pictures that a viewer would call the same although their
//! pixels differ (another compression, another size).

use rayon::prelude::*;

use super::image_set::ImageSet;
use super::resize::resize_bilinear;

/// Bits in which the hashes of near duplicates may differ.
pub const NEAR: u32 = 2;
const SIDE: usize = 8;

/// The 8x8 difference hash of an image, u8 `[height, width, 3]`: the image is shrunk to 9x8, and bit
/// `8 y + x` tells whether its brightness (0.299 R + 0.587 G + 0.114 B) rises from column x to x + 1.
/// Extents are at least 1 and `pixels.len() == height * width * 3`.
pub fn difference_hash(pixels: &[u8], (width, height): (usize, usize)) -> u64 {
    let small = resize_bilinear(pixels, (width, height), (SIDE + 1, SIDE));
    let brightness: Vec<u32> = small
        .chunks_exact(3)
        .map(|pixel| 299 * u32::from(pixel[0]) + 587 * u32::from(pixel[1]) + 114 * u32::from(pixel[2]))
        .collect();
    let rises =
        brightness.chunks_exact(SIDE + 1).flat_map(|row| row.windows(2).map(|pair| pair[1] > pair[0]));
    rises.zip(0..).fold(0, |hash, (rises, bit)| hash | (u64::from(rises) << bit))
}

/// [`difference_hash`] of every image, in order.
pub fn difference_hashes(set: &ImageSet) -> Vec<u64> {
    let extents = (set.width, set.height);
    (0..set.len()).into_par_iter().map(|index| difference_hash(set.image(index), extents)).collect()
}

/// Number of images of `nonmembers` that have a near duplicate among `members`: difference hashes at a
/// Hamming distance of at most [`NEAR`]. Exact duplicates count too; the sets may differ in image size.
pub fn near_duplicates(members: &ImageSet, nonmembers: &ImageSet) -> usize {
    near_duplicates_of(&difference_hashes(members), &difference_hashes(nonmembers))
}

/// [`near_duplicates`] of images of which only the difference hashes are at hand.
pub fn near_duplicates_of(members: &[u64], nonmembers: &[u64]) -> usize {
    let mut known = members.to_vec();
    known.sort_unstable();
    known.dedup();
    let near = |hash: &u64| known.iter().any(|other| (hash ^ other).count_ones() <= NEAR);
    nonmembers.par_iter().filter(|hash| near(hash)).count()
}
