// One invocation's share of an NC4HW4 tensor, for kernels that treat each channel group alone; the twin of
// kernels::planes. Neighbouring invocations have neighbouring pixels, then neighbouring channel groups, so
// that their loads are contiguous; a share is the pixels lane, lane + lanes, … of consecutive images.
struct Planes {
    images: u32,
    groups: u32,
    pixels: u32,
    lanes: u32,
    images_each: u32,
    blocks: u32,
}

struct Share {
    // Channel group.
    group: u32,
    lane: u32,
    // Images first..end; first ≥ images where the grid has more invocations than shares.
    first: u32,
    end: u32,
    // Place of this share's partial result: those of a channel group are contiguous.
    part: u32,
}

fn share_of(i: u32, planes: Planes) -> Share {
    let row = i / planes.lanes;
    let lane = i - row * planes.lanes;
    let block = row / planes.groups;
    let group = row - block * planes.groups;
    let first = block * planes.images_each;
    let end = min(first + planes.images_each, planes.images);
    return Share(group, lane, first, end, (group * planes.blocks + block) * planes.lanes + lane);
}

// Texels of the share that gave part `part` of a channel group.
fn part_texels(part: u32, planes: Planes) -> f32 {
    let block = part / planes.lanes;
    let lane = part - block * planes.lanes;
    let images = min(planes.images_each, planes.images - block * planes.images_each);
    return f32(images * ((planes.pixels - lane + planes.lanes - 1u) / planes.lanes));
}
