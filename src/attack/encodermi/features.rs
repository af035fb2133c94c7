//! Membership features: similarities of all pairs of an image's views.

use crate::gpu::{Gpu, Program, Recording};
use crate::kernels::similarity::{Similarity, pairwise_features};
use crate::kernels::{Shape, Tensor};
use crate::{Error, Result};

/// M(x) of each image.
#[derive(Clone, Debug, PartialEq)]
pub struct MembershipFeatures {
    /// `[images, pairs]`, each row ascending.
    pub sorted: Vec<f32>,
    /// Mean similarity of each image.
    pub means: Vec<f64>,
    pub pairs: usize,
}

impl MembershipFeatures {
    /// Of rows `[images, pairs]`, each ascending; `pairs` is at least 1.
    pub fn of_sorted(sorted: Vec<f32>, pairs: usize) -> MembershipFeatures {
        // The mean is taken in f64 from the same numbers that V and S see (metrics are f64 throughout).
        let mean = |row: &[f32]| row.iter().map(|&v| f64::from(v)).sum::<f64>() / pairs as f64;
        let means = sorted.chunks(pairs).map(mean).collect();
        MembershipFeatures { sorted, means, pairs }
    }

    pub fn images(&self) -> usize {
        self.means.len()
    }
}

/// Embeddings in one submit, in bytes.
const CHUNK_BYTES: usize = 32 << 20;

/// Features of `embeddings` `[images, views, dim]`.
///
/// # Errors
/// Fewer than 2 views; numbers that do not make whole images.
pub fn membership_features(
    gpu: &Gpu,
    embeddings: &[f32],
    views: usize,
    dim: usize,
    similarity: Similarity,
) -> Result<MembershipFeatures> {
    let image = views * dim;
    if views < 2 || dim == 0 || !embeddings.len().is_multiple_of(image) {
        return Err(Error::shape(format!(
            "membership features: {} numbers are not images of {views} views (at least 2) of {dim} numbers",
            embeddings.len()
        )));
    }
    let pairs = views * (views - 1) / 2;
    let images = embeddings.len() / image;
    let chunk = (CHUNK_BYTES / (image * 4)).clamp(1, images.max(1));
    let shapes = [Shape::matrix(chunk * views, dim), Shape::matrix(chunk, pairs), Shape::matrix(chunk, 1)];
    let buffers = [
        gpu.buffer("embeddings", shapes[0].bytes())?,
        gpu.buffer("membership features", shapes[1].bytes())?,
        gpu.buffer("mean similarities", shapes[2].bytes())?,
    ];
    let mut recording = Recording::new(gpu.facts());
    let [x, features, means] = [0, 1, 2].map(|i| Tensor::new(shapes[i], recording.persistent(&buffers[i])));
    pairwise_features(&mut recording, x, views, similarity, true, features, means)?;
    let program = Program::build(gpu, &recording)?;
    let mut sorted = Vec::with_capacity(images * pairs);
    for part in embeddings.chunks(chunk * image) {
        let mut padded = part.to_vec();
        padded.resize(chunk * image, 1.0);
        gpu.write(&buffers[0], 0, &shapes[0].pack(&padded))?;
        program.submit(gpu);
        let count = part.len() / image;
        let packed: Vec<f32> = gpu.read(&buffers[1], 0, shapes[1].texels() * 4)?;
        let rows = shapes[1].unpack(&packed);
        sorted.extend_from_slice(&rows[..count * pairs]);
    }
    Ok(MembershipFeatures::of_sorted(sorted, pairs))
}
