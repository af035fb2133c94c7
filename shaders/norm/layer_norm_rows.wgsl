// How the layer-norm kernels share work: a row is one pixel of one image, whose channel groups lie `pixels` texels
// apart. A workgroup takes eight consecutive rows; of each, eight invocations take every eighth channel group.
struct Rows { rows: u32, pixels: u32, channels: u32 }

struct Row {
    // The row, or the last one where the grid has more than there are; `real` is false there.
    row: u32,
    real: bool,
    // First texel.
    start: u32,
    // First channel group of this invocation, and place of its row among the eight.
    slot: u32,
    lane: u32,
}

fn row_of(i: u32, rows: Rows) -> Row {
    let local = i % 64u;
    let lane = local % 8u;
    let wanted = i / 64u * 8u + lane;
    let row = min(wanted, rows.rows - 1u);
    let n = row / rows.pixels;
    let groups = (rows.channels + 3u) / 4u;
    return Row(row, wanted < rows.rows, n * groups * rows.pixels + (row - n * rows.pixels), local / 8u, lane);
}

// Which lanes of a channel group hold channels.
fn is_channel(group: u32, channels: u32) -> vec4<bool> {
    return vec4<u32>(0u, 1u, 2u, 3u) + 4u * group < vec4<u32>(channels);
}
