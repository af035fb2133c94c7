// What the kernels of this folder do is said by a table, one entry a row of work; the twin of
// kernels::hop_skip_jump::Row. Tensors hold one image a row, `texels` vec4 each (NC4HW4).
struct Row {
    // The image that is attacked; NOTHING where the table has no more work.
    slot: u32,
    // Which draw, which row of the other operand, or how many queries.
    number: u32,
    // Row of the result.
    output: u32,
    // Position on a segment, length of a step, radius of the queries, or mean of the signs.
    scale: f32,
}
const NOTHING: u32 = 0xffffffffu;
