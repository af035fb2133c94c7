//! L2 normalisation, cosine matrices, and the pairwise membership features of EncoderMI.

use super::matmul::Sizes;
use super::matmul::software::{self, Operand, operand};
use super::{Shape, Tensor};
use crate::gpu::shader::Defines;
use crate::gpu::{Binding, Dispatch, Recording, Slice};
use crate::{Error, Result};

/// Invocations of a workgroup where each invocation works alone.
pub(super) const WORKGROUP: u32 = 64;
/// Most views of an image in [`pairwise_features`]: all their pairs lie in one workgroup's memory.
pub const MOST_VIEWS: usize = 64;

/// How two embeddings are compared; larger is more similar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// û·v̂.
    Cosine,
    /// −‖u − v‖₂ of the un-normalised embeddings.
    Euclidean,
    /// Cosine after subtracting from each embedding the mean of its coordinates.
    Pearson,
}

/// `y = x / max(‖x‖₂, 1e-12)` for each row of a matrix [N, D]; `norms` receives the N clamped norms (f32), which
/// [`l2_normalize_grad`] needs. Norms outside about 1e-19..1e19 are not representable as sums of squares in f32:
/// smaller ones count as zero.
pub fn l2_normalize(recording: &mut Recording, x: Tensor, y: Tensor, norms: Slice) {
    let (rows, depth) = (x.shape.n, x.shape.c4());
    recording.dispatch(Dispatch {
        shader: "similarity/l2_normalize",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![Binding::Read(x.slice), Binding::Write(y.slice), Binding::Write(norms)],
        immediates: vec![rows as u32, depth as u32],
        grid: per_row(recording, rows),
        flops: 3 * x.shape.elements() as u64,
        bytes: 2 * x.shape.bytes(),
    });
}

/// Gradient of [`l2_normalize`]: `dx = (dy − y (y·dy)) / ‖x‖`, from its results `y` and `norms`; `dy / 1e-12` where the
/// norm was clamped.
pub fn l2_normalize_grad(recording: &mut Recording, y: Tensor, norms: Slice, dy: Tensor, dx: Tensor) {
    let (rows, depth) = (y.shape.n, y.shape.c4());
    recording.dispatch(Dispatch {
        shader: "similarity/l2_normalize_grad",
        defines: Defines::new().with("WORKGROUP", WORKGROUP),
        bindings: vec![
            Binding::Read(y.slice),
            Binding::Read(norms),
            Binding::Read(dy.slice),
            Binding::Write(dx.slice),
        ],
        immediates: vec![rows as u32, depth as u32],
        grid: per_row(recording, rows),
        flops: 5 * y.shape.elements() as u64,
        bytes: 3 * y.shape.bytes(),
    });
}

/// Rows divided by their norms, and the norms, in transient memory.
pub(super) fn normalized(recording: &mut Recording, label: &str, x: Tensor) -> (Tensor, Slice) {
    let y = Tensor::transient(recording, &format!("{label} normalised"), x.shape);
    let norms = recording.transient(format!("{label} norms"), x.shape.n as u64 * 4);
    l2_normalize(recording, x, y, norms);
    (y, norms)
}

/// Cosines of all rows of `a` [N, D] with all rows of `b` [M, D]: `y` [N, M], not normalised before.
///
/// # Errors
/// When the shapes do not fit together.
pub fn cosine_similarity_matrix(recording: &mut Recording, a: Tensor, b: Tensor, y: Tensor) -> Result<()> {
    check_matrix("cosine_similarity_matrix: a", a.shape)?;
    check_matrix("cosine_similarity_matrix: b", b.shape)?;
    if a.shape.c != b.shape.c || y.shape != Shape::matrix(a.shape.n, b.shape.n) {
        return Err(Error::shape(format!(
            "cosine_similarity_matrix: of {} and {} into {}; the two need equal columns, and the result is [{}, {}]",
            a.shape, b.shape, y.shape, a.shape.n, b.shape.n
        )));
    }
    let (rows, columns, depth) = (a.shape.n, b.shape.n, a.shape.c4());
    let (a_unit, _) = normalized(recording, "a", a);
    let (b_unit, _) = normalized(recording, "b", b);
    if recording.facts().texture_kernels() {
        let blocks = operand(recording, "a", a_unit, Operand::Blocks);
        let panels = operand(recording, "b", b_unit, Operand::Panels);
        let sizes = Sizes { m: rows, n: columns, k: a.shape.c, batch: 1 };
        software::product(recording, sizes, blocks, panels, y.slice);
        return Ok(());
    }
    let immediates = [depth, rows, columns, columns.div_ceil(4), columns.div_ceil(64)];
    recording.dispatch(Dispatch {
        shader: "similarity/cosine_matrix_tiled",
        defines: Defines::new().with("ROWS_EACH", 4),
        bindings: vec![Binding::Read(a_unit.slice), Binding::Read(b_unit.slice), Binding::Write(y.slice)],
        immediates: immediates.map(|v| v as u32).to_vec(),
        grid: recording.grid((rows.div_ceil(64) * columns.div_ceil(64)) as u64),
        flops: 2 * (rows * columns * a.shape.c) as u64,
        bytes: a.shape.bytes() + b.shape.bytes() + y.shape.bytes(),
    });
    Ok(())
}

/// EncoderMI's membership features (Liu et al., CCS 2021, section 4): `embeddings` [images·views, D], the views of an
/// image in consecutive rows, become similarities of all pairs of views, `features` [images, views·(views−1)/2] in
/// the order (0,1), (0,2), …, (views−2, views−1) or `ascending`, and their mean, `means` [images, 1].
///
/// # Errors
/// When the shapes do not fit together, or `views` is not 2..=64.
pub fn pairwise_features(
    recording: &mut Recording,
    embeddings: Tensor,
    views: usize,
    similarity: Similarity,
    ascending: bool,
    features: Tensor,
    means: Tensor,
) -> Result<()> {
    check_matrix("pairwise_features: embeddings", embeddings.shape)?;
    if !(2..=MOST_VIEWS).contains(&views) {
        return Err(Error::shape(format!(
            "pairwise_features: {views} views of an image; 2 to {MOST_VIEWS} can be compared"
        )));
    }
    let (images, pairs) = (embeddings.shape.n / views, views * (views - 1) / 2);
    if !embeddings.shape.n.is_multiple_of(views)
        || features.shape != Shape::matrix(images, pairs)
        || means.shape != Shape::matrix(images, 1)
    {
        return Err(Error::shape(format!(
            "pairwise_features: {views} views in {} into features {} and means {}; expected rows in multiples of {views}, features [{images}, {pairs}] and means [{images}, 1]",
            embeddings.shape, features.shape, means.shape
        )));
    }
    let defines = Defines::new().with("WORKGROUP", WORKGROUP).with("ASCENDING", ascending);
    let (defines, flops_each) = match similarity {
        Similarity::Cosine => (defines, 2),
        Similarity::Euclidean => (defines.with("EUCLIDEAN", 1), 3),
        Similarity::Pearson => (defines.with("PEARSON", 1), 4),
    };
    let immediates =
        [images, views, embeddings.shape.c4(), embeddings.shape.c, pairs, features.shape.c4() * 4];
    recording.dispatch(Dispatch {
        shader: "similarity/pairwise_features",
        defines,
        bindings: vec![
            Binding::Read(embeddings.slice),
            Binding::Write(features.slice),
            Binding::Write(means.slice),
        ],
        immediates: immediates.map(|v| v as u32).to_vec(),
        grid: recording.grid(images as u64),
        flops: (images * pairs * embeddings.shape.c * flops_each) as u64,
        bytes: embeddings.shape.bytes() + features.shape.bytes() + means.shape.bytes(),
    });
    Ok(())
}

/// Workgroups for one invocation a row.
pub(super) fn per_row(recording: &Recording, rows: usize) -> [u32; 3] {
    recording.grid((rows as u64).div_ceil(u64::from(WORKGROUP)))
}

/// A matrix with rows and columns whose elements can be counted in 32 bits.
///
/// # Errors
/// Names `what` and its shape.
pub(super) fn check_matrix(what: &str, shape: Shape) -> Result<()> {
    let small = u32::try_from(shape.texels() * 4).is_ok();
    if shape.elements() == 0 || shape.pixels() != 1 || !small {
        return Err(Error::shape(format!(
            "{what} has shape {shape}; expected a matrix of at least one row and column and fewer than 2^32 elements"
        )));
    }
    Ok(())
}
