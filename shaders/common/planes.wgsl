// One invocation's share of an NC4HW4 tensor, for kernels that treat each channel group alone; the twin of
// kernels::planes. Eight neighbouring invocations take turns along one run of memory, which is a whole cache line
// at a time on every adapter; a share is the pixels of one lane in one segment of consecutive images.
#import common/divide

struct Planes {
    images: u32,
    groups: u32,
    pixels: u32,
    lanes: u32,
    images_each: u32,
    segments: u32,
    segment_pixels: u32,
    // Parts of a channel group.
    parts: u32,
}

struct Share {
    // Channel group.
    group: u32,
    // Images first..end; first ≥ images where the grid has more invocations than shares.
    first: u32,
    end: u32,
    // Pixels begin, begin + lanes, … below stop.
    begin: u32,
    stop: u32,
    // Place of this share's partial result: those of a channel group are contiguous.
    part: u32,
}

fn share_of(i: u32, planes: Planes) -> Share {
    let row = divide(i, planes.lanes);
    let lane = i - row * planes.lanes;
    let line = divide(row, planes.segments);
    let segment = row - line * planes.segments;
    let block = divide(line, planes.groups);
    return share_at(line - block * planes.groups, block, segment, lane, planes);
}

// That of `lane` in segment `segment` of the images of block `block`.
fn share_at(group: u32, block: u32, segment: u32, lane: u32, planes: Planes) -> Share {
    let first = block * planes.images_each;
    let corner = segment * planes.segment_pixels;
    return Share(
        group,
        first,
        min(first + planes.images_each, planes.images),
        corner + lane,
        min(corner + planes.segment_pixels, planes.pixels),
        group * planes.parts + (block * planes.segments + segment) * planes.lanes + lane,
    );
}

// Texels of the share that gives part `part` of a channel group; 0 for lanes beyond a short last segment.
fn part_texels(part: u32, planes: Planes) -> u32 {
    let row = divide(part, planes.lanes);
    let lane = part - row * planes.lanes;
    let block = divide(row, planes.segments);
    let corner = (row - block * planes.segments) * planes.segment_pixels;
    let stop = min(corner + planes.segment_pixels, planes.pixels);
    let images = min(planes.images_each, planes.images - block * planes.images_each);
    // The sum never underflows: corner < pixels, and lanes is more than lane.
    return images * divide(stop - corner + planes.lanes - 1u - lane, planes.lanes);
}
