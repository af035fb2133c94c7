//! Winograd's F(4 x 4, 3 x 3), and F(4, 3) along lines alone, in float64: the same matrices as `shaders/winograd`, as matrices.
//!
//! [`Matrices::absolute`] has every entry's magnitude: on the magnitudes of the operands, its results are what the
//! rounding errors of a Winograd convolution are relative to (Higham, section 3.5, for each of the products).

use super::conv::ConvShape;

/// Outputs, taps and inputs of a tile, on a side.
const OUTPUTS: usize = 4;
const TAPS: usize = 3;
const INPUTS: usize = 6;

/// The three matrices of the one-dimensional algorithm: y = Aᵀ (G g ⊙ Bᵀ d).
#[derive(Clone, Debug, PartialEq)]
pub struct Matrices {
    /// Aᵀ [4][6].
    outputs: Vec<Vec<f64>>,
    /// G [6][3].
    taps: Vec<Vec<f64>>,
    /// Bᵀ [6][6].
    inputs: Vec<Vec<f64>>,
}

impl Matrices {
    /// Toom and Cook's construction for the points 0, ±5/8, ±3/2 and infinity.
    pub fn new() -> Matrices {
        let points: [f64; 5] = [0.0, 0.625, -0.625, 1.5, -1.5];
        let others = |p: usize| points.iter().enumerate().filter(move |&(q, _)| q != p).map(|(_, &x)| x);
        // Coefficients of Π (x − root).
        let polynomial = |roots: Vec<f64>| {
            roots.into_iter().fold(vec![1.0], |coefficients: Vec<f64>, root| {
                let mut next = vec![0.0; coefficients.len() + 1];
                for (power, c) in coefficients.iter().enumerate() {
                    next[power + 1] += c;
                    next[power] -= root * c;
                }
                next
            })
        };
        let filled = |mut row: Vec<f64>| {
            row.resize(INPUTS, 0.0);
            row
        };
        let mut matrices = Matrices {
            outputs: (0..OUTPUTS)
                .map(|power| points.iter().map(|p| p.powi(power as i32)).collect())
                .collect(),
            taps: Vec::new(),
            inputs: (0..points.len()).map(|p| filled(polynomial(others(p).collect()))).collect(),
        };
        for (p, point) in points.iter().enumerate() {
            let product: f64 = others(p).map(|q| point - q).product();
            matrices.taps.push((0..TAPS).map(|power| point.powi(power as i32) / product).collect());
        }
        // Infinity: the highest coefficient alone.
        for (power, row) in matrices.outputs.iter_mut().enumerate() {
            row.push(f64::from(u8::from(power == OUTPUTS - 1)));
        }
        matrices.taps.push(vec![0.0, 0.0, 1.0]);
        matrices.inputs.push(polynomial(points.to_vec()));
        matrices
    }

    /// The same with every entry's magnitude.
    #[must_use]
    pub fn absolute(&self) -> Matrices {
        let magnitudes =
            |matrix: &[Vec<f64>]| matrix.iter().map(|row| row.iter().map(|v| v.abs()).collect()).collect();
        Matrices {
            outputs: magnitudes(&self.outputs),
            taps: magnitudes(&self.taps),
            inputs: magnitudes(&self.inputs),
        }
    }
}

impl Default for Matrices {
    fn default() -> Matrices {
        Matrices::new()
    }
}

/// M x Mᵀ of a square x, row-major.
fn both_sides(matrix: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    let (rows, side) = (matrix.len(), matrix[0].len());
    let mut result = vec![0.0; rows * rows];
    for (a, row_a) in matrix.iter().enumerate() {
        for (b, row_b) in matrix.iter().enumerate() {
            for i in 0..side {
                for j in 0..side {
                    result[a * rows + b] += row_a[i] * x[i * side + j] * row_b[j];
                }
            }
        }
    }
    result
}

fn transposed(matrix: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..matrix[0].len()).map(|j| matrix.iter().map(|row| row[j]).collect()).collect()
}

/// Calls `visit(n, first output row, first output column)` for every tile.
fn for_each_tile(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    for n in 0..shape.batch {
        for y in (0..shape.out_height()).step_by(OUTPUTS) {
            (0..shape.out_width()).step_by(OUTPUTS).for_each(|x| visit(n, y, x));
        }
    }
}

/// The `side` x `side` values of a plane from (y, x) on, zeros outside.
fn window(plane: &[f64], (height, width): (usize, usize), (y, x): (isize, isize), side: usize) -> Vec<f64> {
    let at = |i: usize, j: usize| {
        let (y, x) = (y + i as isize, x + j as isize);
        let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
        if inside { plane[y as usize * width + x as usize] } else { 0.0 }
    };
    (0..side * side).map(|k| at(k / side, k % side)).collect()
}

/// Bᵀ d B of the tile whose first output is (y, x), for input channel `i` of image `n`.
fn input_tile(m: &Matrices, input: &[f64], s: &ConvShape, [n, i, y, x]: [usize; 4]) -> Vec<f64> {
    let plane = (n * s.in_channels + i) * s.height * s.width;
    let at = (y as isize - s.padding as isize, x as isize - s.padding as isize);
    both_sides(&m.inputs, &window(&input[plane..], (s.height, s.width), at, INPUTS))
}

/// x [N, C, H, W], w [O, C, 3, 3] → [N, O, H', W'], stride 1.
pub fn conv2d(m: &Matrices, x: &[f64], w: &[f64], shape: ConvShape) -> Vec<f64> {
    let (height, width) = (shape.out_height(), shape.out_width());
    let weights: Vec<Vec<f64>> = w.chunks_exact(TAPS * TAPS).map(|g| both_sides(&m.taps, g)).collect();
    let mut out = vec![0.0; shape.output_len()];
    for_each_tile(&shape, |n, y, x0| {
        let tiles: Vec<Vec<f64>> =
            (0..shape.in_channels).map(|i| input_tile(m, x, &shape, [n, i, y, x0])).collect();
        for o in 0..shape.out_channels {
            let mut products = vec![0.0; INPUTS * INPUTS];
            for (i, tile) in tiles.iter().enumerate() {
                let weights = &weights[o * shape.in_channels + i];
                products.iter_mut().zip(tile).zip(weights).for_each(|((p, v), u)| *p += v * u);
            }
            let tile = both_sides(&m.outputs, &products);
            for (k, value) in tile.into_iter().enumerate() {
                let (row, column) = (y + k / OUTPUTS, x0 + k % OUTPUTS);
                if row < height && column < width {
                    out[((n * shape.out_channels + o) * height + row) * width + column] = value;
                }
            }
        }
    });
    out
}

/// Gradient of x: B (Σ over output channels of U ⊙ A dY Aᵀ) Bᵀ, summed where tiles overlap.
pub fn conv2d_grad_input(m: &Matrices, gout: &[f64], w: &[f64], shape: ConvShape) -> Vec<f64> {
    let (height, width) = (shape.out_height(), shape.out_width());
    let (to_products, to_inputs) = (transposed(&m.outputs), transposed(&m.inputs));
    let weights: Vec<Vec<f64>> = w.chunks_exact(TAPS * TAPS).map(|g| both_sides(&m.taps, g)).collect();
    let mut out = vec![0.0; shape.input_len()];
    for_each_tile(&shape, |n, y, x0| {
        let upstream: Vec<Vec<f64>> = (0..shape.out_channels)
            .map(|o| {
                let plane = &gout[(n * shape.out_channels + o) * height * width..];
                both_sides(&to_products, &window(plane, (height, width), (y as isize, x0 as isize), OUTPUTS))
            })
            .collect();
        for i in 0..shape.in_channels {
            let mut products = vec![0.0; INPUTS * INPUTS];
            for (o, upstream) in upstream.iter().enumerate() {
                let weights = &weights[o * shape.in_channels + i];
                products.iter_mut().zip(upstream).zip(weights).for_each(|((p, d), u)| *p += d * u);
            }
            for (k, value) in both_sides(&to_inputs, &products).into_iter().enumerate() {
                // Rows and columns in the padding get nothing.
                let row = (y + k / INPUTS).wrapping_sub(shape.padding);
                let column = (x0 + k % INPUTS).wrapping_sub(shape.padding);
                if row < shape.height && column < shape.width {
                    out[((n * shape.in_channels + i) * shape.height + row) * shape.width + column] += value;
                }
            }
        }
    });
    out
}

/// Gradient of w: Gᵀ (Σ over tiles of V ⊙ A dY Aᵀ) G.
pub fn conv2d_grad_weight(m: &Matrices, gout: &[f64], x: &[f64], shape: ConvShape) -> Vec<f64> {
    let (height, width) = (shape.out_height(), shape.out_width());
    let (to_products, to_taps) = (transposed(&m.outputs), transposed(&m.taps));
    let mut sums = vec![vec![0.0; INPUTS * INPUTS]; shape.out_channels * shape.in_channels];
    for_each_tile(&shape, |n, y, x0| {
        let tiles: Vec<Vec<f64>> =
            (0..shape.in_channels).map(|i| input_tile(m, x, &shape, [n, i, y, x0])).collect();
        for o in 0..shape.out_channels {
            let plane = &gout[(n * shape.out_channels + o) * height * width..];
            let at = (y as isize, x0 as isize);
            let upstream = both_sides(&to_products, &window(plane, (height, width), at, OUTPUTS));
            for (i, tile) in tiles.iter().enumerate() {
                let sum = &mut sums[o * shape.in_channels + i];
                sum.iter_mut().zip(tile).zip(&upstream).for_each(|((s, v), d)| *s += v * d);
            }
        }
    });
    sums.iter().flat_map(|sum| both_sides(&to_taps, sum)).collect()
}

/// M x.
fn one_side(matrix: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

/// Bᵀ d of six inputs of a line: those for taps of line `y` − output line, and for outputs from column `x0` on.
fn input_line(m: &Matrices, input: &[f64], s: &ConvShape, [n, i, y, x0]: [usize; 4]) -> Vec<f64> {
    let row = y.wrapping_sub(s.padding);
    let line = (n * s.in_channels + i) * s.height;
    let at = |j: usize| {
        let column = (x0 + j).wrapping_sub(s.padding);
        let inside = row < s.height && column < s.width;
        if inside { input[(line + row) * s.width + column] } else { 0.0 }
    };
    one_side(&m.inputs, &(0..INPUTS).map(at).collect::<Vec<f64>>())
}

/// [`conv2d`] by F(4, 3) along lines, which `winograd/narrow` does: the lines of taps are summed directly.
pub fn conv2d_narrow(m: &Matrices, x: &[f64], w: &[f64], shape: ConvShape) -> Vec<f64> {
    let (height, width) = (shape.out_height(), shape.out_width());
    let weights: Vec<Vec<f64>> = w.chunks_exact(TAPS).map(|g| one_side(&m.taps, g)).collect();
    let mut out = vec![0.0; shape.output_len()];
    for (n, y) in (0..shape.batch).flat_map(|n| (0..height).map(move |y| (n, y))) {
        for x0 in (0..width).step_by(OUTPUTS) {
            let mut products = vec![[0.0; INPUTS]; shape.out_channels];
            for (i, kh) in (0..shape.in_channels).flat_map(|i| (0..TAPS).map(move |kh| (i, kh))) {
                let tile = input_line(m, x, &shape, [n, i, y + kh, x0]);
                for (o, products) in products.iter_mut().enumerate() {
                    let weights = &weights[(o * shape.in_channels + i) * TAPS + kh];
                    products.iter_mut().zip(&tile).zip(weights).for_each(|((p, v), u)| *p += v * u);
                }
            }
            for (o, products) in products.iter().enumerate() {
                let line = ((n * shape.out_channels + o) * height + y) * width;
                let tile = one_side(&m.outputs, products);
                out[line + x0..line + width].iter_mut().zip(tile).for_each(|(out, value)| *out = value);
            }
        }
    }
    out
}

/// Gradient of x likewise: the same of dy, with the weights transposed, their taps in reverse and the rest of the padding (at most 2).
pub fn conv2d_narrow_grad_input(m: &Matrices, gout: &[f64], w: &[f64], shape: ConvShape) -> Vec<f64> {
    let taps = TAPS * TAPS;
    let turned: Vec<f64> = (0..shape.in_channels)
        .flat_map(|i| (0..shape.out_channels).map(move |o| (o * shape.in_channels + i) * taps))
        .flat_map(|first| (0..taps).rev().map(move |tap| w[first + tap]))
        .collect();
    let shape = ConvShape {
        in_channels: shape.out_channels,
        out_channels: shape.in_channels,
        height: shape.out_height(),
        width: shape.out_width(),
        padding: TAPS - 1 - shape.padding,
        ..shape
    };
    conv2d_narrow(m, gout, &turned, shape)
}

/// Gradient of w by F(4, 3) along lines, which `winograd/narrow_grad_weight` does: for each line of taps, Gᵀ (Σ over tiles of V ⊙ A dY).
pub fn conv2d_narrow_grad_weight(m: &Matrices, gout: &[f64], x: &[f64], shape: ConvShape) -> Vec<f64> {
    let (height, width) = (shape.out_height(), shape.out_width());
    let (to_products, to_taps) = (transposed(&m.outputs), transposed(&m.taps));
    let mut sums = vec![vec![0.0; INPUTS]; shape.out_channels * shape.in_channels * TAPS];
    for (n, y) in (0..shape.batch).flat_map(|n| (0..height).map(move |y| (n, y))) {
        for x0 in (0..width).step_by(OUTPUTS) {
            let tiles: Vec<Vec<f64>> = (0..shape.in_channels * TAPS)
                .map(|k| input_line(m, x, &shape, [n, k / TAPS, y + k % TAPS, x0]))
                .collect();
            for o in 0..shape.out_channels {
                let line = &gout[((n * shape.out_channels + o) * height + y) * width..][..width];
                let four: Vec<f64> =
                    (x0..x0 + OUTPUTS).map(|at| line.get(at).copied().unwrap_or(0.0)).collect();
                let upstream = one_side(&to_products, &four);
                for (sum, tile) in sums[o * tiles.len()..].iter_mut().zip(&tiles) {
                    sum.iter_mut().zip(tile).zip(&upstream).for_each(|((s, v), d)| *s += v * d);
                }
            }
        }
    }
    sums.iter().flat_map(|sum| one_side(&to_taps, sum)).collect()
}
