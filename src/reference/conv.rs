//! Two-dimensional convolution (cross-correlation, as everywhere in deep learning) with zero padding
//! and groups; `groups == in_channels` is the depthwise case. Square kernels, no dilation, no bias
//! (`elementwise::bias` adds one).

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    pub batch: usize,
    pub in_channels: usize,
    pub height: usize,
    pub width: usize,
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
    /// Divides both channel counts.
    pub groups: usize,
}

impl ConvShape {
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }
    /// Elements of x [batch, in_channels, height, width].
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.height * self.width
    }
    /// Elements of w [out_channels, in_channels / groups, kernel, kernel].
    pub fn weight_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel * self.kernel
    }
    /// Elements of the result [batch, out_channels, out_height, out_width].
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.out_height() * self.out_width()
    }

    /// Calls `visit(index in x, index in w, index in the result)` for every product of the sum that
    /// defines the convolution, leaving out those with the padding. All three directions are this loop.
    fn for_each_product(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (in_group, out_group) = (self.in_channels / self.groups, self.out_channels / self.groups);
        let (out_height, out_width) = (self.out_height(), self.out_width());
        for n in 0..self.batch {
            for o in 0..self.out_channels {
                for y in 0..out_height {
                    for x in 0..out_width {
                        let out = ((n * self.out_channels + o) * out_height + y) * out_width + x;
                        for i in 0..in_group {
                            let channel = o / out_group * in_group + i;
                            for ky in 0..self.kernel {
                                for kx in 0..self.kernel {
                                    let padded_y = y * self.stride + ky;
                                    let padded_x = x * self.stride + kx;
                                    let inside = (self.padding..self.padding + self.height)
                                        .contains(&padded_y)
                                        && (self.padding..self.padding + self.width).contains(&padded_x);
                                    if inside {
                                        let row = (n * self.in_channels + channel) * self.height + padded_y
                                            - self.padding;
                                        visit(
                                            row * self.width + padded_x - self.padding,
                                            ((o * in_group + i) * self.kernel + ky) * self.kernel + kx,
                                            out,
                                        );
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// x [N, C, H, W], w [O, C/groups, k, k] → [N, O, H', W'].
pub fn conv2d(x: &[f64], w: &[f64], shape: ConvShape) -> Vec<f64> {
    assert_eq!(
        (x.len(), w.len()),
        (shape.input_len(), shape.weight_len()),
        "lengths of x and w for {shape:?}"
    );
    let mut out = vec![0.0; shape.output_len()];
    shape.for_each_product(|at_x, at_w, at_out| out[at_out] += x[at_x] * w[at_w]);
    out
}

/// Gradient of x from `gout` [N, O, H', W'] and w.
pub fn conv2d_grad_input(gout: &[f64], w: &[f64], shape: ConvShape) -> Vec<f64> {
    assert_eq!((gout.len(), w.len()), (shape.output_len(), shape.weight_len()), "lengths of gout and w");
    let mut grad = vec![0.0; shape.input_len()];
    shape.for_each_product(|at_x, at_w, at_out| grad[at_x] += gout[at_out] * w[at_w]);
    grad
}

/// Gradient of w from `gout` [N, O, H', W'] and x.
pub fn conv2d_grad_weight(gout: &[f64], x: &[f64], shape: ConvShape) -> Vec<f64> {
    assert_eq!((gout.len(), x.len()), (shape.output_len(), shape.input_len()), "lengths of gout and x");
    let mut grad = vec![0.0; shape.weight_len()];
    shape.for_each_product(|at_x, at_w, at_out| grad[at_w] += gout[at_out] * x[at_x]);
    grad
}
