//! L2 normalisation, cosine matrices and the pairwise features of EncoderMI.

use super::matmul::{MatmulShape, matmul_nn, matmul_nt, matmul_tn};

/// The smallest norm that a vector is divided by.
pub const NORM_EPS: f64 = 1e-12;

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Each row of x [rows, dim] divided by max(‖row‖₂, 1e-12).
pub fn l2_normalize(x: &[f64], dim: usize) -> Vec<f64> {
    x.chunks(dim)
        .flat_map(|row| {
            let length = norm(row).max(NORM_EPS);
            row.iter().map(move |x| x / length)
        })
        .collect()
}

/// Gradient of x: (g − x̂(x̂·g))/‖x‖ per row; g/1e-12 where the norm was below 1e-12.
pub fn l2_normalize_backward(x: &[f64], gout: &[f64], dim: usize) -> Vec<f64> {
    let mut grad = Vec::with_capacity(x.len());
    for (row, gout) in x.chunks(dim).zip(gout.chunks(dim)) {
        let length = norm(row);
        if length < NORM_EPS {
            grad.extend(gout.iter().map(|g| g / NORM_EPS));
        } else {
            let along = dot(row, gout) / (length * length);
            grad.extend(row.iter().zip(gout).map(|(x, g)| (g - x * along) / length));
        }
    }
    grad
}

/// Cosines of all rows of a [m, dim] with all rows of b [n, dim] → [m, n].
pub fn cosine_similarity_matrix(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    let shape = MatmulShape { m: a.len() / dim, n: b.len() / dim, k: dim };
    matmul_nt(&l2_normalize(a, dim), &l2_normalize(b, dim), shape)
}

/// Gradients of a and b from `gout` [m, n].
pub fn cosine_similarity_matrix_backward(
    a: &[f64],
    b: &[f64],
    gout: &[f64],
    dim: usize,
) -> (Vec<f64>, Vec<f64>) {
    let (m, n) = (a.len() / dim, b.len() / dim);
    let grad_a = matmul_nn(gout, &l2_normalize(b, dim), MatmulShape { m, n: dim, k: n });
    let grad_b = matmul_tn(gout, &l2_normalize(a, dim), MatmulShape { m: n, n: dim, k: m });
    (l2_normalize_backward(a, &grad_a, dim), l2_normalize_backward(b, &grad_b, dim))
}

/// How two embeddings are compared; larger is more similar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// û·v̂.
    Cosine,
    /// −‖u − v‖₂ of the un-normalised vectors.
    Euclidean,
    /// Cosine after subtracting from each vector the mean of its coordinates.
    Pearson,
}

impl Similarity {
    /// Similarity of two vectors of equal length.
    pub fn of(self, u: &[f64], v: &[f64]) -> f64 {
        let centred = |x: &[f64]| -> Vec<f64> {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            x.iter().map(|x| x - mean).collect()
        };
        match self {
            Similarity::Cosine => dot(u, v) / (norm(u).max(NORM_EPS) * norm(v).max(NORM_EPS)),
            Similarity::Euclidean => -u.iter().zip(v).map(|(u, v)| (u - v).powi(2)).sum::<f64>().sqrt(),
            Similarity::Pearson => Similarity::Cosine.of(&centred(u), &centred(v)),
        }
    }
}

/// EncoderMI's membership features: embeddings `f` [inputs, views, dim] → similarities of all pairs of
/// views of an input [inputs, views·(views−1)/2], in the order (0,1), (0,2), …, (views−2, views−1), or
/// ascending.
pub fn pairwise_features(
    f: &[f64],
    views: usize,
    dim: usize,
    similarity: Similarity,
    ascending: bool,
) -> Vec<f64> {
    let mut features = Vec::new();
    for input in f.chunks(views * dim) {
        let view = |i: usize| &input[i * dim..(i + 1) * dim];
        let mut row = Vec::with_capacity(views * (views - 1) / 2);
        for i in 0..views {
            for j in i + 1..views {
                row.push(similarity.of(view(i), view(j)));
            }
        }
        if ascending {
            row.sort_by(f64::total_cmp);
        }
        features.extend(row);
    }
    features
}
