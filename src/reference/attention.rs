//! Scaled dot-product attention of several heads, and the token operations around it. Tokens are [N, D, T].

use super::loss::softmax;
use super::rows::softmax_backward;

/// Sizes: q is [images, heads · head_dim, queries], k and v [images, heads · head_dim, keys].
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    pub images: usize,
    pub heads: usize,
    pub head_dim: usize,
    pub queries: usize,
    pub keys: usize,
}

impl AttentionShape {
    pub fn query_len(&self) -> usize {
        self.images * self.heads * self.head_dim * self.queries
    }
    pub fn key_len(&self) -> usize {
        self.images * self.heads * self.head_dim * self.keys
    }
    fn planes(&self) -> usize {
        self.images * self.heads
    }
    fn scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }
    /// Place of channel `d` of query `i` in head `plane`.
    fn query(&self, plane: usize, d: usize, i: usize) -> usize {
        (plane * self.head_dim + d) * self.queries + i
    }
    fn key(&self, plane: usize, d: usize, j: usize) -> usize {
        (plane * self.head_dim + d) * self.keys + j
    }
    fn pair(&self, plane: usize, i: usize, j: usize) -> usize {
        (plane * self.queries + i) * self.keys + j
    }
}

/// Gradients of the three inputs.
#[derive(Clone, Debug)]
pub struct AttentionGradients {
    pub q: Vec<f64>,
    pub k: Vec<f64>,
    pub v: Vec<f64>,
}

/// softmax(qᵀk/√d) of every image and head: [images, heads, queries, keys].
pub fn attention_probabilities(q: &[f64], k: &[f64], shape: AttentionShape) -> Vec<f64> {
    let mut scores = vec![0.0; shape.planes() * shape.queries * shape.keys];
    for plane in 0..shape.planes() {
        for i in 0..shape.queries {
            for j in 0..shape.keys {
                for d in 0..shape.head_dim {
                    scores[shape.pair(plane, i, j)] +=
                        shape.scale() * q[shape.query(plane, d, i)] * k[shape.key(plane, d, j)];
                }
            }
        }
    }
    softmax(&scores, shape.keys)
}

/// Σ_j probability(i, j)·v(j), in the layout of q.
pub fn attention(q: &[f64], k: &[f64], v: &[f64], shape: AttentionShape) -> Vec<f64> {
    let probabilities = attention_probabilities(q, k, shape);
    let mut y = vec![0.0; shape.query_len()];
    for plane in 0..shape.planes() {
        for i in 0..shape.queries {
            for j in 0..shape.keys {
                for d in 0..shape.head_dim {
                    y[shape.query(plane, d, i)] +=
                        probabilities[shape.pair(plane, i, j)] * v[shape.key(plane, d, j)];
                }
            }
        }
    }
    y
}

/// Gradients of [`attention`].
pub fn attention_backward(
    q: &[f64],
    k: &[f64],
    v: &[f64],
    gout: &[f64],
    shape: AttentionShape,
) -> AttentionGradients {
    let probabilities = attention_probabilities(q, k, shape);
    let mut upstream = vec![0.0; probabilities.len()];
    let mut gradients = AttentionGradients {
        q: vec![0.0; shape.query_len()],
        k: vec![0.0; shape.key_len()],
        v: vec![0.0; shape.key_len()],
    };
    for plane in 0..shape.planes() {
        for i in 0..shape.queries {
            for j in 0..shape.keys {
                let pair = shape.pair(plane, i, j);
                for d in 0..shape.head_dim {
                    let g = gout[shape.query(plane, d, i)];
                    upstream[pair] += g * v[shape.key(plane, d, j)];
                    gradients.v[shape.key(plane, d, j)] += g * probabilities[pair];
                }
            }
        }
    }
    let scores = softmax_backward(&probabilities, &upstream, shape.keys);
    for plane in 0..shape.planes() {
        for i in 0..shape.queries {
            for j in 0..shape.keys {
                let g = shape.scale() * scores[shape.pair(plane, i, j)];
                for d in 0..shape.head_dim {
                    gradients.q[shape.query(plane, d, i)] += g * k[shape.key(plane, d, j)];
                    gradients.k[shape.key(plane, d, j)] += g * q[shape.query(plane, d, i)];
                }
            }
        }
    }
    gradients
}

/// x [planes, tokens] with `token` [planes, or a divisor of them that repeats] in front: [planes, tokens + 1].
pub fn prepend_token(x: &[f64], token: &[f64], tokens: usize) -> Vec<f64> {
    x.chunks(tokens)
        .enumerate()
        .flat_map(|(plane, x)| std::iter::once(token[plane % token.len()]).chain(x.iter().copied()))
        .collect()
}

/// Tokens `first .. first + count` of x [planes, tokens].
pub fn take_tokens(x: &[f64], tokens: usize, first: usize, count: usize) -> Vec<f64> {
    x.chunks(tokens).flat_map(|x| x[first..first + count].iter().copied()).collect()
}

/// Gradient of x; `gout` is [planes, count].
pub fn take_tokens_backward(gout: &[f64], tokens: usize, first: usize, count: usize) -> Vec<f64> {
    let mut gradient = vec![0.0; gout.len() / count * tokens];
    for (x, g) in gradient.chunks_mut(tokens).zip(gout.chunks(count)) {
        x[first..first + count].copy_from_slice(g);
    }
    gradient
}

/// x [images, D, T] plus `position` [D, T] on every image.
pub fn add_position(x: &[f64], position: &[f64]) -> Vec<f64> {
    x.iter().enumerate().map(|(i, x)| x + position[i % position.len()]).collect()
}

/// Gradient of the position: the sum over images. That of x is `gout`.
pub fn add_position_backward(gout: &[f64], position_len: usize) -> Vec<f64> {
    (0..position_len).map(|i| gout.iter().skip(i).step_by(position_len).sum()).collect()
}
