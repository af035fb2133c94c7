//! How kernels that treat each channel group alone split a tensor among invocations; the twin of
//! `shaders/common/planes.wgsl`. The split depends on the kernel class and the shape only, and so do
//! the bits of every sum.

use super::Shape;
use super::lanes::wide;
use crate::gpu::shader::Defines;
use crate::gpu::{KernelClass, Recording};

/// Invocations of a workgroup of these kernels. They use no workgroup memory, so this is only launch cost.
pub(super) const WORKGROUP: u32 = 64;

/// Neighbouring invocations along one run of memory: 128 bytes, a cache line or two. More would make a
/// software adapter, which finishes eight invocations before it starts the next, skip through memory.
const LANES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planes {
    images: usize,
    groups: usize,
    pixels: usize,
    lanes: usize,
    images_each: usize,
    /// Runs that the pixels of one image are cut into, where images are large.
    segments: usize,
    segment_pixels: usize,
}

impl Planes {
    /// For kernels that write one result for each texel.
    pub fn map(class: KernelClass, shape: Shape) -> Planes {
        Planes::new(shape, cpu_share(class, shape).unwrap_or((shape.texels() / 65_536).clamp(8, 64)))
    }

    /// For kernels that write one partial result for each share, which a second pass reads.
    pub fn reduce(class: KernelClass, shape: Shape) -> Planes {
        Planes::new(shape, cpu_share(class, shape).unwrap_or((shape.texels() / 16_384).clamp(32, 256)))
    }

    /// Shares of about `texels_each` texels.
    fn new(shape: Shape, texels_each: usize) -> Planes {
        let pixels = shape.pixels().max(1);
        let lanes = pixels.min(LANES);
        let segment_pixels = pixels.min(lanes * texels_each);
        let images_each = (lanes * texels_each / segment_pixels).clamp(1, shape.n.max(1));
        Planes {
            images: shape.n,
            groups: shape.c4(),
            pixels,
            lanes,
            images_each,
            segments: pixels.div_ceil(segment_pixels),
            segment_pixels,
        }
    }

    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Partial results of one channel group.
    pub fn parts(&self) -> usize {
        self.lanes * self.segments * self.images.div_ceil(self.images_each)
    }

    /// Partial results of all channel groups.
    pub fn shares(&self) -> usize {
        self.parts() * self.groups
    }

    pub fn words(&self) -> [u32; 8] {
        [
            self.images,
            self.groups,
            self.pixels,
            self.lanes,
            self.images_each,
            self.segments,
            self.segment_pixels,
            self.parts(),
        ]
        .map(|v| v as u32)
    }

    /// [`words`](Self::words) for a kernel that combines `parts` partial results of each channel group which others made.
    pub fn words_with_parts(&self, parts: usize) -> [u32; 8] {
        let [images, groups, pixels, lanes, images_each, segments, segment_pixels, _] = self.words();
        [images, groups, pixels, lanes, images_each, segments, segment_pixels, parts as u32]
    }

    /// What `common/planes` asks for, in workgroups of `workgroup` invocations: divisions through f32 only where they are known to be
    /// rounded correctly.
    pub fn defines(&self, recording: &Recording, workgroup: u32) -> Defines {
        let invocations: u64 =
            self.grid(recording).iter().map(|n| u64::from(*n)).product::<u64>() * u64::from(WORKGROUP);
        let exact = recording.facts().texture_kernels() && !wide(invocations as usize);
        Defines::new().with("WORKGROUP", workgroup).with("WIDE", !exact)
    }

    /// Texels of a share in one turn of a loop over an image: two where every share has an even number of them in every image, which saves a
    /// CPU half of what turns cost beside their texels.
    pub fn turn(&self) -> usize {
        let pair = 2 * self.lanes;
        if self.pixels.is_multiple_of(pair) && self.segment_pixels.is_multiple_of(pair) { 2 } else { 1 }
    }

    /// One invocation for each share.
    pub fn grid(&self, recording: &Recording) -> [u32; 3] {
        recording.grid((self.shares() as u64).div_ceil(u64::from(WORKGROUP)))
    }
}

/// Texels of a share on a CPU, which is busy with fewer shares than a GPU: finding the place and the constants of each costs it
/// as much as a few texels, and a partial result two stores and a turn of the second pass.
fn cpu_share(class: KernelClass, shape: Shape) -> Option<usize> {
    (class == KernelClass::Software).then_some((shape.texels() / 8_192).clamp(64, 256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_texel_once() {
        for ((n, c, h, w), turn) in [
            ((1, 1, 1, 1), 1),
            ((5, 9, 13, 7), 1),
            ((512, 3, 1, 1), 1),
            ((2, 4, 224, 224), 2),
            ((33, 5, 4, 4), 2),
            ((3, 5, 16, 40), 2),
            ((3, 5, 3, 8), 1),
        ] {
            let shape = Shape::new(n, c, h, w);
            assert_eq!(Planes::reduce(KernelClass::Software, shape).turn(), turn, "{shape}");
            let both = |class| [Planes::map(class, shape), Planes::reduce(class, shape)];
            for planes in [KernelClass::Software, KernelClass::Discrete].into_iter().flat_map(both) {
                let mut texels = 0;
                for part in 0..planes.parts() {
                    let (row, lane) = (part / planes.lanes, part % planes.lanes);
                    let (block, segment) = (row / planes.segments, row % planes.segments);
                    let images = planes.images_each.min(planes.images - block * planes.images_each);
                    let corner = segment * planes.segment_pixels;
                    let length = planes.segment_pixels.min(planes.pixels - corner);
                    assert!(images > 0 && length > 0, "{shape}: {planes:?}");
                    let each = (length + planes.lanes - 1 - lane) / planes.lanes;
                    assert!(each.is_multiple_of(planes.turn()), "{shape}: {planes:?}");
                    texels += images * each;
                }
                assert_eq!(texels * shape.c4(), shape.texels(), "{shape}: {planes:?}");
            }
        }
    }
}
