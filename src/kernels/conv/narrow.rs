//! 3x3 convolutions with stride 1 and few output channels, for the software class: too few for Winograd's transforms to pay
//! where they pass through memory, and for the 32 columns of a tile. A lane has all channels of its outputs.
//!
//! Winograd's F(4, 3) along the lines of an image takes half the products of a direct convolution (its F(4 x 4, 3 x 3) a quarter), and needs no
//! memory for what is transformed. With exact convolutions the sums are direct.

use super::Conv2d;
use super::epilogue::Epilogue;
use super::software::Parts;
use super::statistics::PartialStatistics;
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Facts, Recording, TextureId};
use crate::kernels::lanes::{NARROW, wide};
use crate::kernels::{Shape, Tensor};

/// How outputs are dealt out.
struct Tiling {
    shader: &'static str,
    /// Outputs of a tile.
    lines: usize,
    columns: usize,
    /// Tiles of a workgroup.
    group: usize,
    /// How many eighths of its tiles' outputs an image must fill: with fewer, tiles of rows, which cross lines, are faster.
    eighths: usize,
}

impl Tiling {
    fn of(facts: &Facts) -> Tiling {
        let lanes = facts.lanes();
        match facts.exact_conv {
            // A tile's columns are lanes. With eight lines, 5.3 ms instead of 4.8 (16 channels, 64 images of 32 x 32).
            true => Tiling { shader: "conv/direct_narrow", lines: 4, columns: lanes, group: 1, eighths: 7 },
            // A lane has a tile; with more lines it is no faster (docs/rejected.md). Images of 13 x 13 and 9 x 9 fill three quarters and
            // two thirds of their tiles, and take 19 instead of 28 ms and 11 instead of 14 (128 images, eight convolutions).
            false => Tiling { shader: "winograd/narrow", lines: 2, columns: 4, group: lanes, eighths: 5 },
        }
    }
}

/// Whether a convolution of this kernel, stride and padding to `output` runs this way. More padding than 2 would leave less than none
/// for the gradient.
pub fn applies(facts: &Facts, conv: &Conv2d, output: Shape) -> bool {
    let Tiling { lines, columns, eighths, .. } = Tiling::of(facts);
    let tiled = output.w.next_multiple_of(columns) * output.h.next_multiple_of(lines);
    (conv.kernel, conv.stride) == (3, 1)
        && conv.padding <= 2
        && output.c4() <= NARROW
        && 8 * output.pixels() >= eighths * tiled
}

/// Forward: see `super::conv2d`.
pub fn conv2d(
    recording: &mut Recording,
    conv: &Conv2d,
    (source, input): (TextureId, Shape),
    weights: TextureId,
    epilogue: &Epilogue,
    y: Tensor,
) {
    let tiling = Tiling::of(recording.facts());
    let tile = tiling.lines * tiling.columns;
    let whole = !recording.facts().exact_conv
        && y.shape.h.is_multiple_of(tiling.lines)
        && y.shape.w.is_multiple_of(tiling.columns)
        && (y.shape.n * y.shape.pixels()).is_multiple_of(tile * tiling.group);
    let statistics = PartialStatistics::asked_for(recording, y, whole, tile * tiling.group);
    let source = (source, input, conv.padding);
    record(recording, conv, source, (weights, 0, 1), (epilogue, statistics.as_ref()), y);
    if let Some(statistics) = statistics {
        statistics.keep(recording, y);
    }
}

/// Gradient to the input, from weights that are transposed: the taps in reverse, over dy with the rest of the padding.
pub fn conv2d_grad_input(
    recording: &mut Recording,
    conv: &Conv2d,
    upstream: TextureId,
    weights: TextureId,
    dx: Tensor,
) {
    let source = (upstream, conv.output, 2 - conv.padding);
    record(recording, conv, source, (weights, 8, -1), (&Epilogue::default(), None), dx);
}

/// How a gradient to the weights is dealt out.
pub struct GradWeightTiling {
    /// Lanes that share lines, each with a texel of input channels.
    team: usize,
    /// Tiles of four outputs in a turn.
    tiles: usize,
}

impl GradWeightTiling {
    /// None where the gradient runs another way: exact convolutions, other kernels, a stride, more channels, fewer lines than teams, or less
    /// than three quarters of a line's tiles or of the lanes with work.
    pub fn of(facts: &Facts, conv: &Conv2d) -> Option<GradWeightTiling> {
        let (c4, output) = (conv.input.c4(), conv.output);
        let team = c4.next_power_of_two().min(4);
        let suits = !facts.exact_conv
            && (conv.kernel, conv.stride) == (3, 1)
            && output.c4() <= NARROW
            && output.h >= facts.lanes() / team
            && 4 * c4 >= 3 * c4.next_multiple_of(team);
        if !suits {
            return None;
        }
        let fills = |tiles: &usize| 4 * output.w >= 3 * output.w.next_multiple_of(4 * tiles);
        let tiles = [4, 2].into_iter().find(fills)?;
        Some(GradWeightTiling { team, tiles })
    }
}

/// Gradient to the weights, in parts.
pub fn conv2d_grad_weight(
    recording: &mut Recording,
    conv: &Conv2d,
    (source, upstream): (TextureId, TextureId),
    parts: &Parts,
    GradWeightTiling { team, tiles }: GradWeightTiling,
) {
    let (i, o) = (conv.input, conv.output);
    let sizes = [i.n, parts.images, o.h, o.w, i.h, i.w, conv.padding, i.c4(), parts.shape.texels()];
    recording.dispatch(Dispatch {
        shader: "winograd/narrow_grad_weight",
        defines: Defines::new()
            .with("LANES", recording.facts().lanes())
            .with("COLUMNS4", o.c4())
            .with("TEAM", team)
            .with("TILES", tiles),
        bindings: vec![Binding::Texture(source), Binding::Texture(upstream), Binding::Write(parts.dw)],
        immediates: sizes.map(|v| v as u32).to_vec(),
        grid: [i.c4().div_ceil(team), 3, parts.count].map(|v| v as u32),
        flops: conv.flops(),
        bytes: i.bytes() + o.bytes() + parts.bytes(),
    });
}

fn record(
    recording: &mut Recording,
    conv: &Conv2d,
    (source, input, padding): (TextureId, Shape, usize),
    (weights, first_tap, tap_step): (TextureId, u32, i32),
    (epilogue, statistics): (&Epilogue, Option<&PartialStatistics>),
    out: Tensor,
) {
    let tiling = Tiling::of(recording.facts());
    let tiles_line = out.shape.w.div_ceil(tiling.columns);
    let tiles_image = out.shape.h.div_ceil(tiling.lines) * tiles_line;
    let tiles = out.shape.n * tiles_image;
    let mut bindings = vec![Binding::Texture(source), Binding::Texture(weights), Binding::Write(out.slice)];
    let defines = Defines::new()
        .with("LANES", recording.facts().lanes())
        .with("LINES", tiling.lines)
        .with("COLUMNS4", out.shape.c4())
        .with("WIDE", wide(tiles + tiling.group));
    let mut defines = epilogue.bind(defines, &mut bindings);
    let mut immediates: Vec<u32> = [tiles, tiles_image, tiles_line].map(|v| v as u32).to_vec();
    immediates.extend([input.c4(), input.h, input.w, padding].map(|v| v as u32));
    immediates.extend([out.shape.h as u32, out.shape.w as u32, first_tap, tap_step as u32]);
    if let Some(statistics) = statistics {
        defines = statistics.bind(defines, &mut bindings, &mut immediates, 0);
    }
    recording.dispatch(Dispatch {
        shader: tiling.shader,
        defines,
        bindings,
        immediates,
        grid: recording.grid(tiles.div_ceil(tiling.group) as u64),
        flops: conv.flops(),
        bytes: input.bytes()
            + conv.weight().bytes()
            + out.shape.bytes()
            + epilogue.bytes()
            + statistics.map_or(0, PartialStatistics::bytes),
    });
}
