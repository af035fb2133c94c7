//! Pooling over square windows and over whole maps.

/// Sizes of a pooling: x is [batch, channels, height, width]; at most `kernel / 2` of padding, so that
/// every window holds at least one element of x.
#[derive(Clone, Copy, Debug)]
pub struct PoolShape {
    pub batch: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl PoolShape {
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }
    pub fn input_len(&self) -> usize {
        self.batch * self.channels * self.height * self.width
    }
    pub fn output_len(&self) -> usize {
        self.batch * self.channels * self.out_height() * self.out_width()
    }

    /// Indices in x of the window of result element `out`, row-major, without the padding.
    fn window(&self, out: usize) -> Vec<usize> {
        let (out_height, out_width) = (self.out_height(), self.out_width());
        let (x, y, plane) = (out % out_width, out / out_width % out_height, out / out_width / out_height);
        let mut indices = Vec::new();
        for ky in 0..self.kernel {
            for kx in 0..self.kernel {
                let (row, column) = (y * self.stride + ky, x * self.stride + kx);
                let inside = (self.padding..self.padding + self.height).contains(&row)
                    && (self.padding..self.padding + self.width).contains(&column);
                if inside {
                    let row = plane * self.height + row - self.padding;
                    indices.push(row * self.width + column - self.padding);
                }
            }
        }
        indices
    }

    /// The first index of the window of `out` that holds its maximum.
    fn argmax(&self, x: &[f64], out: usize) -> usize {
        let window = self.window(out);
        window.iter().copied().fold(window[0], |best, i| if x[i] > x[best] { i } else { best })
    }
}

/// Maximum over each window (padding counts as −∞): [N, C, H, W] → [N, C, H', W'].
pub fn max_pool2d(x: &[f64], shape: PoolShape) -> Vec<f64> {
    assert_eq!(x.len(), shape.input_len(), "length of x for {shape:?}");
    (0..shape.output_len()).map(|out| x[shape.argmax(x, out)]).collect()
}

/// Gradient of x: each element of `gout` goes to the first maximum of its window in row-major order.
pub fn max_pool2d_backward(x: &[f64], gout: &[f64], shape: PoolShape) -> Vec<f64> {
    assert_eq!((x.len(), gout.len()), (shape.input_len(), shape.output_len()), "lengths of x and gout");
    let mut grad = vec![0.0; x.len()];
    for (out, gout) in gout.iter().enumerate() {
        grad[shape.argmax(x, out)] += gout;
    }
    grad
}

/// Mean over each window; padding counts as zeros and in the divisor: [N, C, H, W] → [N, C, H', W'].
pub fn avg_pool2d(x: &[f64], shape: PoolShape) -> Vec<f64> {
    assert_eq!(x.len(), shape.input_len(), "length of x for {shape:?}");
    let area = (shape.kernel * shape.kernel) as f64;
    (0..shape.output_len()).map(|out| shape.window(out).iter().map(|&i| x[i]).sum::<f64>() / area).collect()
}

/// Gradient of x from `gout` [N, C, H', W'].
pub fn avg_pool2d_backward(gout: &[f64], shape: PoolShape) -> Vec<f64> {
    assert_eq!(gout.len(), shape.output_len(), "length of gout for {shape:?}");
    let area = (shape.kernel * shape.kernel) as f64;
    let mut grad = vec![0.0; shape.input_len()];
    for (out, gout) in gout.iter().enumerate() {
        for i in shape.window(out) {
            grad[i] += gout / area;
        }
    }
    grad
}

/// Mean over the map: x [N, C, spatial] → [N, C].
pub fn global_avg_pool2d(x: &[f64], spatial: usize) -> Vec<f64> {
    x.chunks(spatial).map(|map| map.iter().sum::<f64>() / spatial as f64).collect()
}

/// Gradient of x [N, C, spatial] from `gout` [N, C].
pub fn global_avg_pool2d_backward(gout: &[f64], spatial: usize) -> Vec<f64> {
    gout.iter().flat_map(|g| std::iter::repeat_n(g / spatial as f64, spatial)).collect()
}
