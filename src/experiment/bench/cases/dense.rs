//! Convolutions in three directions, linear layers, depthwise convolutions, matrix products.

use super::{Case, Scale};
use crate::Result;
use crate::experiment::bench::Workspace;
use crate::kernels::conv::depthwise::{
    DepthwiseShape, DepthwiseWeights, depthwise_conv2d, depthwise_conv2d_grad_input,
    depthwise_conv2d_grad_weight,
};
use crate::kernels::conv::{
    Conv2d, ConvNorm, Weights, conv2d, conv2d_grad_input, conv2d_grad_weight, conv2d_grads, conv2d_norm,
};
use crate::kernels::elementwise::Unary;
use crate::kernels::matmul::{Layout, matmul};
use crate::kernels::{Shape, Tensor};

/// One convolution; padding is kernel / 2.
#[derive(Clone, Copy)]
struct Layer {
    from: usize,
    to: usize,
    side: usize,
    kernel: usize,
    stride: usize,
}

const fn layer(from: usize, to: usize, side: usize, kernel: usize, stride: usize) -> Layer {
    Layer { from, to, side, kernel, stride }
}

/// The distinct layers of ResNet-18 with the CIFAR stem on 32x32; the ImageNet stem on 96x96; what ResNet-50's
/// bottlenecks add; the projection head; the first stage at width 16.
const DENSE: [Layer; 18] = [
    layer(3, 64, 32, 3, 1),
    layer(64, 64, 32, 3, 1),
    layer(64, 128, 32, 3, 2),
    layer(64, 128, 32, 1, 2),
    layer(128, 128, 16, 3, 1),
    layer(128, 256, 16, 3, 2),
    layer(128, 256, 16, 1, 2),
    layer(256, 256, 8, 3, 1),
    layer(256, 512, 8, 3, 2),
    layer(256, 512, 8, 1, 2),
    layer(512, 512, 4, 3, 1),
    layer(3, 64, 96, 7, 2),
    layer(64, 256, 32, 1, 1),
    layer(256, 64, 32, 1, 1),
    layer(1024, 256, 8, 1, 1),
    layer(512, 512, 1, 1, 1),
    layer(512, 128, 1, 1, 1),
    layer(16, 16, 32, 3, 1),
];

/// Depthwise layers of MobileNetV2: sides of images of 32x32, then of 96x96.
const DEPTHWISE: [Layer; 9] = [
    layer(32, 32, 32, 3, 1),
    layer(96, 96, 32, 3, 2),
    layer(144, 144, 16, 3, 1),
    layer(384, 384, 8, 3, 1),
    layer(960, 960, 4, 3, 1),
    layer(32, 32, 48, 3, 1),
    layer(96, 96, 48, 3, 2),
    layer(192, 192, 12, 3, 2),
    layer(960, 960, 3, 3, 1),
];

impl Layer {
    fn conv(self, batch: usize) -> Result<Conv2d> {
        let input = Shape::new(batch, self.from, self.side, self.side);
        Conv2d::new(input, self.to, self.kernel, self.stride, self.kernel / 2)
    }
    fn text(self, batch: usize) -> String {
        let Layer { from, to, side, kernel, stride } = self;
        format!("{batch}x {from}->{to} {kernel}x{kernel} s{stride} @{side}")
    }
}

/// Input, weights and output of a convolution, all with content: which of them is written depends on the direction.
fn operands(space: &mut Workspace, conv: &Conv2d) -> Result<(Tensor, Weights, Tensor)> {
    let (x, y) = (space.tensor("x", conv.input)?, space.tensor("y", conv.output)?);
    let w = space.floats("w", conv.weight().bytes())?;
    Ok((x, Weights::new(conv.weight(), w), y))
}

fn forward(layer: Layer, batch: usize) -> Case {
    Case::new("conv2d", layer.text(batch), move |space| {
        let conv = layer.conv(batch)?;
        let (x, w, y) = operands(space, &conv)?;
        conv2d(&mut space.recording, &conv, x, w, y);
        Ok(())
    })
}

/// As encoders in evaluation mode have it: weights and statistics frozen.
fn forward_norm(layer: Layer, batch: usize) -> Case {
    Case::new("conv2d_norm", layer.text(batch) + ", frozen", move |space| {
        let conv = layer.conv(batch)?;
        let (x, w, y) = operands(space, &conv)?;
        let vector = Shape::matrix(1, conv.output.c);
        let norm = ConvNorm {
            gamma: space.tensor("gamma", vector)?,
            beta: space.tensor("beta", vector)?,
            running_mean: space.tensor("mean", vector)?,
            running_variance: space.tensor("variance", vector)?,
            residual: Some(space.tensor("residual", conv.output)?),
            activation: Some(Unary::Relu),
        };
        space.freeze(&["w", "gamma", "beta", "mean", "variance"]);
        conv2d_norm(&mut space.recording, &conv, x, w, &norm, y);
        Ok(())
    })
}

fn grad_input(layer: Layer, batch: usize) -> Case {
    Case::new("conv2d_grad_input", layer.text(batch), move |space| {
        let conv = layer.conv(batch)?;
        let (x, w, y) = operands(space, &conv)?;
        conv2d_grad_input(&mut space.recording, &conv, y, w, x);
        Ok(())
    })
}

fn grad_weight(layer: Layer, batch: usize) -> Case {
    Case::new("conv2d_grad_weight", layer.text(batch), move |space| {
        let conv = layer.conv(batch)?;
        let (x, w, y) = operands(space, &conv)?;
        conv2d_grad_weight(&mut space.recording, &conv, x, y, w);
        Ok(())
    })
}

fn grads(layer: Layer, batch: usize) -> Case {
    Case::new("conv2d_grads", layer.text(batch), move |space| {
        let conv = layer.conv(batch)?;
        let (x, w, y) = operands(space, &conv)?;
        let (dx, dw) = (space.output(conv.input), space.output_bytes(conv.weight().bytes()));
        let dw = Weights::new(conv.weight(), dw);
        conv2d_grads(&mut space.recording, &conv, (x, w), y, (dx, dw));
        Ok(())
    })
}

fn depthwise(layer: Layer, batch: usize) -> [Case; 3] {
    let operands = move |space: &mut Workspace| -> Result<(Conv2d, Tensor, DepthwiseWeights, Tensor)> {
        let conv = layer.conv(batch)?;
        let shape = DepthwiseShape { channels: layer.from, kernel: layer.kernel };
        let (x, y) = (space.tensor("x", conv.input)?, space.tensor("y", conv.output)?);
        Ok((conv, x, DepthwiseWeights::new(shape, space.floats("w", shape.bytes())?), y))
    };
    let text = layer.text(batch);
    [
        Case::new("depthwise_conv2d", &text, move |space| {
            let (conv, x, w, y) = operands(space)?;
            depthwise_conv2d(&mut space.recording, &conv, x, w, y);
            Ok(())
        }),
        Case::new("depthwise_conv2d_grad_input", &text, move |space| {
            let (conv, x, w, y) = operands(space)?;
            depthwise_conv2d_grad_input(&mut space.recording, &conv, y, w, x);
            Ok(())
        }),
        Case::new("depthwise_conv2d_grad_weight", &text, move |space| {
            let (conv, x, w, y) = operands(space)?;
            depthwise_conv2d_grad_weight(&mut space.recording, &conv, x, y, w);
            Ok(())
        }),
    ]
}

fn product(layout: Layout, batch: usize, side: usize) -> Case {
    let text = match batch {
        1 => format!("{layout:?} {side}^3"),
        _ => format!("{layout:?} {batch}x {side}^3"),
    };
    Case::new("matmul", text, move |space| {
        let shape = Shape::matrix(batch * side, side);
        let (a, b, c) = (space.tensor("a", shape)?, space.tensor("b", shape)?, space.output(shape));
        matmul(&mut space.recording, layout, batch, a, b, c);
        Ok(())
    })
}

/// A candidate for the most arithmetic a second.
pub fn square_product(side: usize) -> Case {
    product(Layout::Nn, 1, side)
}

/// Candidates for the most arithmetic a second.
pub fn convolutions_for_roofline(scale: &Scale) -> Vec<Case> {
    [DENSE[4], DENSE[7]].map(|layer| forward(layer, scale.batch)).into()
}

pub(super) fn cases(scale: &Scale) -> Vec<Case> {
    let batch = scale.batch;
    let mut cases: Vec<Case> = DENSE.iter().map(|&layer| forward(layer, batch)).collect();
    cases.extend(DENSE.iter().map(|&layer| forward_norm(layer, batch)));
    cases.extend(DENSE.iter().map(|&layer| grad_input(layer, batch)));
    cases.extend(DENSE.iter().map(|&layer| grad_weight(layer, batch)));
    cases.extend(DENSE.iter().map(|&layer| grads(layer, batch)));
    cases.extend(DEPTHWISE.iter().flat_map(|&layer| depthwise(layer, batch)));
    cases.extend([Layout::Nn, Layout::Nt, Layout::Tn].map(|layout| product(layout, 1, scale.matrix)));
    cases.push(product(Layout::Nn, 64, scale.matrix.div_ceil(16)));
    cases
}
