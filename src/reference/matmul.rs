//! Matrix products. The letters say which operand is stored transposed: the result is always [m, n] and
//! the sum always runs over k.

/// Sizes of a product: result [m, n], inner dimension k.
#[derive(Clone, Copy, Debug)]
pub struct MatmulShape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// Which operand is stored transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    /// a [m, k], b [k, n].
    Nn,
    /// a [m, k], b [n, k].
    Nt,
    /// a [k, m], b [k, n].
    Tn,
}

/// a [m, k] · b [k, n].
pub fn matmul_nn(a: &[f64], b: &[f64], shape: MatmulShape) -> Vec<f64> {
    matmul(Transpose::Nn, a, b, shape)
}

/// a [m, k] · bᵀ with b [n, k]: a fully connected layer with weights [out, in].
pub fn matmul_nt(a: &[f64], b: &[f64], shape: MatmulShape) -> Vec<f64> {
    matmul(Transpose::Nt, a, b, shape)
}

/// aᵀ · b with a [k, m], b [k, n]: the gradient of a layer's weights.
pub fn matmul_tn(a: &[f64], b: &[f64], shape: MatmulShape) -> Vec<f64> {
    matmul(Transpose::Tn, a, b, shape)
}

/// `batch` products of the same shape, operands and results one after the other.
pub fn matmul_batched(
    transpose: Transpose,
    a: &[f64],
    b: &[f64],
    batch: usize,
    shape: MatmulShape,
) -> Vec<f64> {
    let MatmulShape { m, n, k } = shape;
    (0..batch)
        .flat_map(|i| {
            matmul(transpose, &a[i * m * k..(i + 1) * m * k], &b[i * k * n..(i + 1) * k * n], shape)
        })
        .collect()
}

fn matmul(transpose: Transpose, a: &[f64], b: &[f64], shape: MatmulShape) -> Vec<f64> {
    let MatmulShape { m, n, k } = shape;
    assert_eq!((a.len(), b.len()), (m * k, k * n), "lengths of a and b for {shape:?}");
    let mut out = vec![0.0; m * n];
    for row in 0..m {
        for column in 0..n {
            for inner in 0..k {
                let (left, right) = match transpose {
                    Transpose::Nn => (a[row * k + inner], b[inner * n + column]),
                    Transpose::Nt => (a[row * k + inner], b[column * k + inner]),
                    Transpose::Tn => (a[inner * m + row], b[inner * n + column]),
                };
                out[row * n + column] += left * right;
            }
        }
    }
    out
}
