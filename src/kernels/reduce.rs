//! Sums in a fixed order, counts of non-finite values, and the pooling over sets of DeepSets
//! (Zaheer et al., 2017). Every sum has two stages; the number of parts comes from the kernel class and the shape.

use super::planes::{Planes, WORKGROUP};
use super::{Shape, Tensor};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Job, Recording, Slice};

/// Invocations that add the partial results of a row: two subgroups of eight lanes, as most software adapters have.
const FOLD_WORKGROUP: u32 = 16;

/// `y` [1, C] = the sums of `x` [N, C, H, W] over N, H and W; for a matrix, its column sums: the gradient of
/// a bias.
pub fn channel_sums(recording: &mut Recording, x: Tensor, y: Tensor) {
    let planes = Planes::reduce(recording.facts().class, x.shape);
    let bytes = planes.shares() as u64 * 16;
    let partials = recording.transient("partial channel sums", bytes);
    recording.dispatch(Dispatch {
        shader: "reduce/channel_sums",
        defines: planes.defines(recording, WORKGROUP),
        bindings: vec![Binding::Read(x.slice), Binding::Write(partials)],
        immediates: planes.words().to_vec(),
        grid: planes.grid(recording),
        flops: x.shape.elements() as u64,
        bytes: x.shape.bytes() + bytes,
    });
    fold(recording, partials, planes.parts(), x.shape.c4(), 1.0, y.slice, Defines::new());
}

/// `y` [1, 1] = the sum of all of `x`.
pub fn sum(recording: &mut Recording, x: Tensor, y: Tensor) {
    total(recording, x, 1.0, y);
}

/// `y` [1, 1] = the mean of all of `x`, which is not empty.
pub fn mean(recording: &mut Recording, x: Tensor, y: Tensor) {
    total(recording, x, (1.0 / x.shape.elements() as f64) as f32, y);
}

fn total(recording: &mut Recording, x: Tensor, factor: f32, y: Tensor) {
    let (partials, parts) = partial_totals(recording, x.slice, Defines::new());
    fold(recording, partials, parts, 1, factor, y.slice, Defines::new().with("TOTAL", 1));
}

/// Writes how many 32-bit words of `x` are NaN or infinite as f32, as a u32, to the first word of `count`
/// (16 bytes; the other words become 0). `x` may be any range, an arena for example.
pub fn count_non_finite(recording: &mut Recording, x: Slice, count: Slice) {
    let (partials, parts) = partial_totals(recording, x, Defines::new().with("NON_FINITE", 1));
    let defines = Defines::new().with("TOTAL", 1).with("INTEGER", 1);
    fold(recording, partials, parts, 1, 1.0, count, defines);
}

fn partial_totals(recording: &mut Recording, x: Slice, defines: Defines) -> (Slice, usize) {
    let texels = (x.bytes / 16) as usize;
    let parts = (texels / 16).clamp(1, 4096);
    let bytes = parts as u64 * 16;
    let partials = recording.transient("partial totals", bytes);
    recording.dispatch(Dispatch {
        shader: "reduce/sum",
        defines: defines.with("WORKGROUP", WORKGROUP),
        bindings: vec![Binding::Read(x), Binding::Write(partials)],
        immediates: vec![texels as u32, parts as u32],
        grid: recording.grid((parts as u64).div_ceil(u64::from(WORKGROUP))),
        flops: 4 * texels as u64,
        bytes: x.bytes + bytes,
    });
    (partials, parts)
}

/// `y[row] = factor · Σ partials[row]` in a fixed order; `partials` is [rows][parts] texels.
pub(super) fn fold(
    recording: &mut Recording,
    partials: Slice,
    parts: usize,
    rows: usize,
    factor: f32,
    y: Slice,
    defines: Defines,
) {
    recording.dispatch(Dispatch {
        shader: "reduce/fold",
        defines: defines.with("WORKGROUP", FOLD_WORKGROUP),
        bindings: vec![Binding::Read(partials), Binding::Write(y)],
        immediates: vec![parts as u32, factor.to_bits()],
        grid: [rows as u32, 1, 1],
        flops: 4 * (parts * rows) as u64,
        bytes: ((parts + 1) * rows) as u64 * 16,
    });
}

/// `y = part 0 + part 1 + …`, element by element in this order. `parts` holds `count` ranges as long as `y`.
pub fn sum_parts(recording: &mut Recording, parts: Slice, count: usize, y: Slice) {
    let texels = y.bytes / 16;
    recording.job(Job {
        shader: "reduce/sum_parts",
        defines: Defines::new(),
        workgroup: WORKGROUP,
        from: parts,
        to: y,
        shown: None,
        numbers: [texels as u32, count as u32, 0, 0, 0],
        invocations: texels,
        flops: (count as u64 - 1) * texels * 4,
        bytes: (count as u64 + 1) * y.bytes,
    });
}

/// Bytes of the places of maxima that [`set_max`] writes for a result of shape `y`.
pub fn set_places_bytes(y: Shape) -> u64 {
    y.bytes()
}

/// `y` [sets, C] = the maxima over the elements of each set of `x` [sets · elements, C]. `places`
/// ([`set_places_bytes`]) tells [`set_max_grad`] which element came first to each.
pub fn set_max(recording: &mut Recording, x: Tensor, y: Tensor, places: Slice) {
    let bindings = vec![Binding::Read(x.slice), Binding::Write(y.slice), Binding::Write(places)];
    sets(recording, "reduce/set_max", Defines::new(), bindings, [x.shape, y.shape], y.shape, None);
}

/// Gradient of [`set_max`]: each dy goes to the first maximum of its set.
pub fn set_max_grad(recording: &mut Recording, dy: Tensor, places: Slice, dx: Tensor) {
    let bindings = vec![Binding::Read(dy.slice), Binding::Read(places), Binding::Write(dx.slice)];
    sets(recording, "reduce/set_max_grad", Defines::new(), bindings, [dx.shape, dy.shape], dx.shape, None);
}

/// `y` [sets, C] = `factor` · the sums over the elements of each set of `x` [sets · elements, C]. The
/// gradient is [`set_broadcast`] with the same factor; that of `set_broadcast` is this.
pub fn set_sum(recording: &mut Recording, x: Tensor, factor: f32, y: Tensor) {
    let bindings = vec![Binding::Read(x.slice), Binding::Write(y.slice)];
    let defines = Defines::new();
    sets(recording, "reduce/set_sum", defines, bindings, [x.shape, y.shape], y.shape, Some(factor));
}

/// `y` [sets, C] = the means over the elements of each set of `x` [sets · elements, C].
pub fn set_mean(recording: &mut Recording, x: Tensor, y: Tensor) {
    set_sum(recording, x, mean_factor(x.shape, y.shape), y);
}

/// Gradient of [`set_mean`]: `dx` [sets · elements, C] from `dy` [sets, C].
pub fn set_mean_grad(recording: &mut Recording, dy: Tensor, dx: Tensor) {
    set_broadcast(recording, dy, mean_factor(dx.shape, dy.shape), dx);
}

/// `y` [sets · elements, C]: every element of a set = `factor` · the set's row of `b` [sets, C].
pub fn set_broadcast(recording: &mut Recording, b: Tensor, factor: f32, y: Tensor) {
    let bindings = vec![Binding::Read(b.slice), Binding::Write(y.slice)];
    let defines = Defines::new();
    sets(recording, "reduce/set_broadcast", defines, bindings, [y.shape, b.shape], y.shape, Some(factor));
}

/// `y = x + factor · b`, the set's row of `b` [sets, C] added to every element of `x` [sets · elements, C].
/// Gradients: dy for x, `set_sum(dy, factor)` for b.
pub fn set_broadcast_add(recording: &mut Recording, x: Tensor, b: Tensor, factor: f32, y: Tensor) {
    let bindings = vec![Binding::Read(b.slice), Binding::Write(y.slice), Binding::Read(x.slice)];
    let defines = Defines::new().with("ADD", 1);
    sets(recording, "reduce/set_broadcast", defines, bindings, [y.shape, b.shape], y.shape, Some(factor));
}

fn mean_factor(elements: Shape, sets: Shape) -> f32 {
    1.0 / (elements.n / sets.n.max(1)).max(1) as f32
}

/// Records a kernel of `[sets · elements, C]` and `[sets, C]` with one invocation for each texel of `over`.
fn sets(
    recording: &mut Recording,
    shader: &'static str,
    defines: Defines,
    bindings: Vec<Binding>,
    [all, each]: [Shape; 2],
    over: Shape,
    factor: Option<f32>,
) {
    debug_assert!(each.n > 0 && all.n.is_multiple_of(each.n) && all.c == each.c, "{all} in sets of {each}");
    let mut immediates = vec![each.n as u32, (all.n / each.n.max(1)) as u32, each.c4() as u32];
    immediates.extend(factor.map(f32::to_bits));
    recording.dispatch(Dispatch {
        shader,
        defines: defines.with("WORKGROUP", WORKGROUP),
        bindings,
        immediates,
        grid: recording.grid((over.texels() as u64).div_ceil(u64::from(WORKGROUP))),
        flops: all.elements() as u64,
        bytes: all.bytes() + each.bytes(),
    });
}
