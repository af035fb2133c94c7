//! Dense convolution in three directions against the f64 twins, on the variants of the adapter's own class.
//! (`kernels_conv_tiled.rs` forces the others.)

mod common;
use common::gpu::{Case, Draw, gpu};
use contraleak::gpu::{Facts, KernelClass, Recording};
use contraleak::kernels::conv::{self, Conv2d, Weights};
use contraleak::kernels::{Shape, Tensor};
use contraleak::reference::conv as twin;

/// Shapes that visit every kernel size, stride and padding with awkward channels and sides.
fn shapes(seed: u64, count: usize) -> Vec<Conv2d> {
    let mut draw = Draw(seed);
    let mut list = Vec::new();
    while list.len() < count {
        let kernel = [1, 2, 3, 5, 7][draw.range(0, 4)];
        let input = Shape::new(draw.range(1, 4), draw.awkward(70), draw.range(1, 14), draw.range(1, 14));
        let (stride, padding) = (draw.range(1, 3), draw.range(0, kernel / 2));
        list.extend(Conv2d::new(input, draw.awkward(70), kernel, stride, padding));
    }
    // Linear layers, the stem, and a map whose lines are not a multiple of four.
    for (input, channels, kernel, stride, padding) in [
        (Shape::matrix(37, 130), 65, 1, 1, 0),
        // What a stride does to single pixels: nothing.
        (Shape::matrix(37, 20), 24, 1, 2, 0),
        (Shape::matrix(37, 20), 12, 1, 2, 0),
        // Lines of whole turns, several parts of which the last is short, with few channels and more; wider results than inputs.
        (Shape::new(17, 7, 31, 47), 33, 3, 3, 1),
        (Shape::new(21, 7, 31, 47), 12, 3, 3, 1),
        (Shape::new(2, 5, 6, 5), 20, 2, 1, 2),
        (Shape::new(2, 3, 32, 32), 64, 3, 1, 1),
        (Shape::new(3, 64, 7, 7), 128, 3, 2, 1),
        (Shape::new(2, 64, 8, 8), 128, 1, 2, 0),
        (Shape::new(2, 3, 33, 31), 16, 7, 2, 3),
        // Strides beyond the kernel and beyond the image: pixels that no tap sees, classes without a pixel, with few channels and more.
        (Shape::new(3, 21, 10, 7), 33, 2, 4, 0),
        (Shape::new(3, 9, 7, 10), 34, 1, 3, 0),
        (Shape::new(5, 36, 1, 3), 20, 3, 4, 1),
        (Shape::new(5, 12, 2, 1), 20, 3, 3, 1),
        (Shape::new(3, 7, 11, 9), 33, 5, 4, 2),
        // More padding than a kernel needs, so that outputs see the source from beyond its first pixel.
        (Shape::new(2, 18, 7, 6), 20, 3, 2, 4),
        (Shape::new(2, 6, 7, 6), 20, 2, 3, 5),
        (Shape::new(2, 20, 5, 4), 20, 1, 2, 3),
        // So many weights that tiles go through the columns last.
        (Shape::new(2, 128, 9, 7), 160, 3, 2, 1),
        // So few channels that a lane has all of them: one to four texels, several parts, sums of several tiles.
        (Shape::new(3, 16, 9, 11), 16, 3, 1, 1),
        (Shape::new(70, 7, 6, 5), 3, 3, 1, 1),
        (Shape::new(5, 40, 8, 8), 8, 5, 2, 2),
        (Shape::new(2, 130, 7, 7), 12, 3, 1, 0),
        // The same where a lane is a column: every padding, sides that are no multiples of a tile, either direction alone.
        (Shape::new(2, 5, 14, 21), 13, 3, 1, 2),
        (Shape::new(2, 37, 18, 18), 9, 3, 1, 0),
        (Shape::new(3, 9, 8, 8), 4, 3, 1, 0),
        (Shape::new(2, 3, 15, 31), 16, 3, 1, 1),
        (Shape::new(2, 16, 16, 8), 40, 3, 1, 1),
    ] {
        list.extend(Conv2d::new(input, channels, kernel, stride, padding));
    }
    list
}

fn twin_shape(conv: &Conv2d) -> twin::ConvShape {
    twin::ConvShape {
        batch: conv.input.n,
        in_channels: conv.input.c,
        height: conv.input.h,
        width: conv.input.w,
        out_channels: conv.output.c,
        kernel: conv.kernel,
        stride: conv.stride,
        padding: conv.padding,
        groups: 1,
    }
}

fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| v.abs()).collect()
}

/// A sum of `terms` products in f32 in any order: each product and each addition rounds once.
fn sum_bound(terms: usize) -> f64 {
    (terms as f64 + 2.0) * 2f64.powi(-24)
}

#[test]
fn three_directions_match_their_twins_on_random_shapes() {
    // Winograd's round otherwise (`kernels_conv_winograd.rs`).
    match_their_twins(&Facts { exact_conv: true, ..gpu().facts().clone() }, shapes(3, 40));
}

/// Grids that are too long for a dimension fold, and have more workgroups than there are tiles.
#[test]
fn folded_grids_match_their_twins() {
    let few_groups = Facts { exact_conv: true, max_groups: 11, ..gpu().facts().clone() };
    let wide = Conv2d::new(Shape::new(3, 20, 9, 9), 128, 3, 2, 1).expect("fits");
    let narrow = Conv2d::new(Shape::new(2, 3, 33, 31), 16, 7, 2, 3).expect("fits");
    match_their_twins(&few_groups, vec![wide, narrow]);
}

fn match_their_twins(facts: &Facts, shapes: Vec<Conv2d>) {
    for (i, conv) in shapes.into_iter().enumerate() {
        let shape = twin_shape(&conv);
        let mut case = Case::with_facts(gpu(), facts);
        let seed = i as u64;
        let (x, x_values) = case.random("x", conv.input, seed, 1.0);
        let (dy, dy_values) = case.random("dy", conv.output, seed, 1.0);
        let mut draw = Draw(seed + 1000);
        let w_values: Vec<f64> = (0..conv.weight().elements()).map(|_| draw.unit()).collect();
        let w_single: Vec<f32> = w_values.iter().map(|&v| v as f32).collect();
        // Weights travel as words: their packed form is not that of an activation.
        let rows = Shape::matrix(conv.weight().texels(), 4);
        let w = Weights::new(conv.weight(), case.words("w", rows, &conv.weight().pack(&w_single)).slice);
        let (y, dx) = (case.output("y", conv.output), case.output("dx", conv.input));
        let dw = case.output("dw", rows);
        conv::conv2d(&mut case.recording, &conv, x, w, y);
        conv::conv2d_grad_input(&mut case.recording, &conv, dy, w, dx);
        conv::conv2d_grad_weight(&mut case.recording, &conv, x, dy, Weights::new(conv.weight(), dw.slice));
        let done = case.run();
        println!("{conv:?}");
        let (ax, aw, ady) = (absolute(&x_values), absolute(&w_values), absolute(&dy_values));
        let size = twin::conv2d(&ax, &aw, shape);
        done.assert_close(y, &twin::conv2d(&x_values, &w_values, shape), |j| {
            sum_bound(conv.taps() * conv.input.c) * size[j]
        });
        let size = twin::conv2d_grad_input(&ady, &aw, shape);
        done.assert_close(dx, &twin::conv2d_grad_input(&dy_values, &w_values, shape), |j| {
            sum_bound(conv.taps() * conv.output.c) * size[j]
        });
        let expected = twin::conv2d_grad_weight(&dy_values, &x_values, shape);
        let size = twin::conv2d_grad_weight(&ady, &ax, shape);
        let packed = done.packed(dw);
        let got = conv.weight().unpack(&packed);
        for (j, (g, e)) in got.iter().zip(&expected).enumerate() {
            let bound = sum_bound(conv.output.n * conv.output.pixels()) * size[j];
            assert!((f64::from(*g) - e).abs() <= bound, "dw[{j}]: got {g}, expected {e}, bound {bound:.2e}");
        }
        assert_eq!(conv.weight().pack(&got), packed, "a padding lane of dw is not zero");
    }
}

#[test]
fn few_output_channels_have_kernels_of_their_own() {
    // The kernels of both directions between 40 channels and `channels`.
    let shaders_of =
        |exact_conv: bool, lanes: u32, channels: usize, side: usize, kernel: usize, stride: usize| {
            let class = KernelClass::Software;
            let facts =
                Facts { class, subgroup: Some(lanes), int64: true, exact_conv, ..gpu().facts().clone() };
            let conv =
                |from, to| Conv2d::new(Shape::new(2, from, side, side), to, kernel, stride, 1).expect("fits");
            let mut recording = Recording::new(&facts);
            let mut record = |conv: &Conv2d, forward: bool| {
                let x = Tensor::transient(&mut recording, "x", conv.input);
                let y = Tensor::transient(&mut recording, "y", conv.output);
                let w = Weights::new(conv.weight(), recording.transient("w", conv.weight().bytes()));
                match forward {
                    true => conv::conv2d(&mut recording, conv, x, w, y),
                    false => conv::conv2d_grad_input(&mut recording, conv, y, w, x),
                }
                // The classes of a stride share a launch, behind that which transposes weights.
                assert!(recording.dispatches().count() <= 3, "one forwards and two backwards");
                recording.dispatches().last().expect("one").shader
            };
            [record(&conv(40, channels), true), record(&conv(channels, 40), false)]
        };
    let (lines, direct) = ("winograd/narrow", "conv/direct_narrow");
    let (rows, wide) = ("conv/implicit_gemm_narrow", "conv/implicit_gemm");
    for (exact, narrow) in [(false, lines), (true, direct)] {
        let shaders = |channels, side, kernel, stride| shaders_of(exact, 8, channels, side, kernel, stride);
        assert_eq!(shaders(16, 8, 3, 1), [narrow, narrow]);
        assert_eq!(shaders(16, 32, 3, 2), [rows, rows]);
        assert_eq!(shaders(16, 12, 5, 1), [rows, rows]);
        assert_eq!(shaders(17, 8, 3, 2), [wide, wide]);
        assert_eq!(shaders(16, 3, 3, 1), [rows, rows], "nearly half of any tile would be idle");
    }
    let lines_of = |side| shaders_of(false, 8, 16, side, 3, 1);
    assert_eq!(lines_of(9), [lines, lines], "a third of the tiles of two by four is idle");
    assert_eq!(lines_of(5), [rows, rows], "half would be idle");
    let direct_of = |lanes, side| shaders_of(true, lanes, 16, side, 3, 1);
    assert_eq!(direct_of(8, 14), [rows, rows], "a quarter of the tiles of four by eight would be idle");
    assert_eq!(direct_of(8, 12), [rows, rows]);
    assert_eq!(direct_of(4, 12), [direct, direct], "columns of four lanes fit");
}

#[test]
fn gradients_to_few_channels_weights_have_kernels_of_their_own() {
    let shader_of = |exact_conv: bool, (from, to): (usize, usize), (h, w): (usize, usize), stride: usize| {
        let class = KernelClass::Software;
        let facts = Facts { class, subgroup: Some(8), int64: true, exact_conv, ..gpu().facts().clone() };
        let conv = Conv2d::new(Shape::new(2, from, h, w), to, 3, stride, 1).expect("fits");
        let mut recording = Recording::new(&facts);
        let x = Tensor::transient(&mut recording, "x", conv.input);
        let dy = Tensor::transient(&mut recording, "dy", conv.output);
        let dw = Weights::new(conv.weight(), recording.transient("dw", conv.weight().bytes()));
        conv::conv2d_grad_weight(&mut recording, &conv, x, dy, dw);
        recording.dispatches().next().expect("one").shader
    };
    let (lines, direct) = ("winograd/narrow_grad_weight", "conv/grad_weight_narrow");
    let side = |side| (side, side);
    assert_eq!(shader_of(false, (16, 16), side(32), 1), lines);
    assert_eq!(shader_of(true, (16, 16), side(32), 1), direct, "exact");
    assert_eq!(shader_of(false, (16, 16), side(32), 2), direct, "a stride");
    assert_eq!(shader_of(false, (16, 17), side(32), 1), "conv/grad_weight", "more channels");
    assert_eq!(shader_of(false, (3, 16), side(32), 1), lines, "each lane has lines of its own");
    assert_eq!(shader_of(false, (3, 16), (7, 32), 1), direct, "seven lines for eight lanes");
    assert_eq!(shader_of(false, (8, 16), (4, 32), 1), lines, "four pairs of lanes");
    assert_eq!(shader_of(false, (16, 16), side(6), 1), lines, "a quarter of the columns is idle");
    assert_eq!(shader_of(false, (16, 16), side(5), 1), direct, "more than a quarter");
    assert_eq!(shader_of(false, (24, 16), side(8), 1), lines, "a quarter of the lanes is idle");
    assert_eq!(shader_of(false, (20, 16), side(8), 1), direct, "three lanes of eight");
}

/// Their number decides the order of a sum, so it may not depend on the adapter.
#[test]
fn parts_of_a_weight_gradient_follow_from_the_shape() {
    // Parts that would have more bytes than the operands; parts of two images; few channels; no more than 64.
    for (input, channels, kernel, stride, parts) in [
        (Shape::new(64, 256, 8, 8), 512, 3, 2, 1),
        (Shape::new(64, 64, 32, 32), 128, 3, 2, 32),
        (Shape::new(64, 16, 32, 32), 16, 3, 1, 8),
        (Shape::new(256, 3, 64, 64), 64, 3, 1, 64),
    ] {
        let conv = Conv2d::new(input, channels, kernel, stride, kernel / 2).expect("fits");
        let own = gpu().facts();
        let larger = Facts { max_binding_bytes: 1 << 40, max_invocations: 4096, ..own.clone() };
        for facts in [own.clone(), larger] {
            assert!(facts.texture_kernels(), "these tests need a software adapter with subgroups of 8 or 4");
            let mut recording = Recording::new(&facts);
            let x = Tensor::transient(&mut recording, "x", conv.input);
            let dy = Tensor::transient(&mut recording, "dy", conv.output);
            let dw = Weights::new(conv.weight(), recording.transient("dw", conv.weight().bytes()));
            conv::conv2d_grad_weight(&mut recording, &conv, x, dy, dw);
            let grids: Vec<[u32; 3]> = recording.dispatches().map(|d| d.grid).collect();
            assert_eq!(grids[0][2], parts, "{conv:?}: {grids:?}");
            assert_eq!(grids.len(), 1 + usize::from(parts > 1), "{conv:?}: a sum of the parts");
        }
    }
}

#[test]
fn subgroups_of_four_match_their_twins() {
    common::gpu::pass_with_subgroups_of_four(&["three_directions_match_their_twins_on_random_shapes"]);
}
