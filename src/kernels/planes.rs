//! How kernels that treat each channel group alone split a tensor among invocations; the twin of
//! `shaders/common/planes.wgsl`. The split depends on the shape only, and so do the bits of every sum.

use super::Shape;
use crate::gpu::Recording;

/// Invocations of a workgroup of these kernels. They use no workgroup memory, so this is only launch cost.
pub(super) const WORKGROUP: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planes {
    images: usize,
    groups: usize,
    pixels: usize,
    lanes: usize,
    images_each: usize,
    blocks: usize,
}

impl Planes {
    /// For kernels that write one result for each texel.
    pub fn map(shape: Shape) -> Planes {
        Planes::new(shape, (shape.texels() / 65_536).clamp(4, 64))
    }

    /// For kernels that write one partial result for each share.
    pub fn reduce(shape: Shape) -> Planes {
        Planes::new(shape, (shape.texels() / 16_384).clamp(16, 256))
    }

    /// Shares of about `texels_each` texels.
    fn new(shape: Shape, texels_each: usize) -> Planes {
        let pixels = shape.pixels();
        // 64 neighbours read whole cache lines; larger images need more lanes to keep shares small.
        let lanes = pixels.min(64).max(pixels.div_ceil(texels_each)).max(1);
        let images_each = (texels_each / pixels.div_ceil(lanes).max(1)).clamp(1, shape.n.max(1));
        Planes {
            images: shape.n,
            groups: shape.c4(),
            pixels,
            lanes,
            images_each,
            blocks: shape.n.div_ceil(images_each),
        }
    }

    /// Partial results of one channel group.
    pub fn parts(&self) -> usize {
        self.lanes * self.blocks
    }

    /// Partial results of all channel groups.
    pub fn shares(&self) -> usize {
        self.parts() * self.groups
    }

    pub fn words(&self) -> [u32; 6] {
        [self.images, self.groups, self.pixels, self.lanes, self.images_each, self.blocks].map(|v| v as u32)
    }

    /// One invocation for each share.
    pub fn grid(&self, recording: &Recording) -> [u32; 3] {
        recording.grid((self.shares() as u64).div_ceil(u64::from(WORKGROUP)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_every_texel_once() {
        for (n, c, h, w) in [(1, 1, 1, 1), (5, 9, 13, 7), (512, 3, 1, 1), (2, 4, 224, 224), (33, 5, 4, 4)] {
            let shape = Shape::new(n, c, h, w);
            for planes in [Planes::map(shape), Planes::reduce(shape)] {
                let mut texels = 0;
                for part in 0..planes.parts() {
                    let (block, lane) = (part / planes.lanes, part % planes.lanes);
                    let images = planes.images_each.min(planes.images - block * planes.images_each);
                    assert!(images > 0 && lane < planes.pixels, "{shape}: {planes:?}");
                    texels += images * (planes.pixels - lane).div_ceil(planes.lanes);
                }
                assert_eq!(texels * shape.c4(), shape.texels(), "{shape}: {planes:?}");
            }
        }
    }
}
