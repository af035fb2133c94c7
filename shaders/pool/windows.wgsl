// The windows that hold one row (or column) of the padded image, as a half-open range. Import after `params`;
// no entry point.
fn windows_of(row: u32, count: u32) -> vec2<u32> {
    let past = row + params.stride;
    let first = select(0u, (past - params.kernel) / params.stride, past >= params.kernel);
    return vec2<u32>(first, min(row / params.stride + 1u, count));
}
