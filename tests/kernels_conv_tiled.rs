//! Dense convolution with workgroup-memory tiles, which GPUs get, forced onto whatever adapter there is. Against the
//! f64 twins, with and without bounds checks.

mod common;
use common::dense::{
    Direction, EVERY_DIRECTION, Kind, Operands, define, devices, random_convs, tiled_classes,
};
use contraleak::kernels::Shape;
use contraleak::kernels::conv::Conv2d;
use std::collections::BTreeSet;

fn conv(input: Shape, channels: usize, kernel: usize, stride: usize, padding: usize) -> Conv2d {
    Conv2d::new(input, channels, kernel, stride, padding).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn three_directions_match_their_twins_and_are_adjoint_on_random_shapes() {
    let mut convs = random_convs(11, 40, Kind::Dense);
    // A linear layer, stems, patches as large as their stride, strides that skip pixels.
    convs.extend([
        conv(Shape::matrix(37, 130), 65, 1, 1, 0),
        conv(Shape::new(2, 3, 17, 16), 33, 7, 2, 3),
        conv(Shape::new(1, 8, 64, 32), 16, 32, 32, 0),
        conv(Shape::new(2, 5, 9, 11), 6, 1, 3, 0),
        conv(Shape::new(1, 1, 1, 1), 1, 5, 2, 3),
    ]);
    for (i, conv) in convs.into_iter().enumerate() {
        let operands = Operands::random(conv, Kind::Dense, i as u64);
        let check = operands.checker(&EVERY_DIRECTION);
        for gpu in devices() {
            for facts in tiled_classes(gpu) {
                let results = operands.run(gpu, &facts, &EVERY_DIRECTION, |_| ());
                check(&results, &format!("{:?}", facts.class));
                operands.assert_adjoint(&results);
            }
        }
    }
}

#[test]
fn every_tile_size_matches_the_twins() {
    use Direction::{Forward, GradInput, GradWeight};
    // Problems of few products that still fill a large adapter: short sums, and tails in every dimension.
    let cases = [
        (Forward, conv(Shape::new(4, 3, 63, 65), 127, 1, 1, 0), (128, 128)),
        (Forward, conv(Shape::new(4, 1, 127, 129), 61, 3, 2, 1), (128, 64)),
        (Forward, conv(Shape::new(2, 5, 63, 65), 61, 1, 1, 0), (64, 64)),
        (Forward, conv(Shape::new(1, 5, 31, 33), 61, 3, 1, 1), (32, 32)),
        (GradInput, conv(Shape::new(4, 127, 63, 65), 3, 1, 1, 0), (128, 128)),
        (GradInput, conv(Shape::new(4, 61, 63, 66), 2, 3, 2, 1), (128, 64)),
        (GradInput, conv(Shape::new(2, 61, 63, 65), 5, 1, 1, 0), (64, 64)),
        (GradInput, conv(Shape::new(1, 61, 31, 33), 5, 3, 2, 1), (32, 32)),
        (GradWeight, conv(Shape::new(1, 127, 7, 9), 381, 7, 2, 3), (128, 128)),
        (GradWeight, conv(Shape::new(1, 127, 7, 9), 190, 7, 2, 3), (128, 64)),
        (GradWeight, conv(Shape::new(1, 31, 7, 9), 318, 7, 1, 2), (64, 64)),
        (GradWeight, conv(Shape::new(3, 5, 31, 33), 13, 3, 1, 1), (32, 32)),
    ];
    let mut seen = BTreeSet::new();
    for (direction, conv, size) in cases {
        let operands = Operands::random(conv, Kind::Dense, 5);
        let check = operands.checker(&[direction]);
        for gpu in devices() {
            let [_, discrete] = tiled_classes(gpu);
            let mut used = None;
            let results = operands.run(gpu, &discrete, &[direction], |d| {
                used = used.or(define(d, "BM").zip(define(d, "BN")));
            });
            assert_eq!(used, Some(size), "tile of {direction:?} of {conv:?}");
            check(&results, &format!("{size:?}"));
        }
        seen.insert((direction as u32, size));
    }
    assert_eq!(seen.len(), 12, "three directions in four tile sizes");
}

#[test]
fn strides_multiply_no_inserted_zeros() {
    // The tiles of the four parity classes together are those of one full-resolution product.
    let conv = conv(Shape::new(8, 16, 32, 32), 16, 3, 2, 1);
    let operands = Operands::random(conv, Kind::Dense, 1);
    let gpu = devices()[0];
    let mut groups = Vec::new();
    let results = operands.run(gpu, &tiled_classes(gpu)[0], &[Direction::GradInput], |d| {
        let rows = define(d, "BM").expect("a tiled product");
        groups.push((d.grid[0] * d.grid[1] * rows) as usize);
    });
    assert_eq!(groups, [conv.input.n * conv.input.pixels()]);
    operands.checker(&[Direction::GradInput])(&results, "stride 2");
}

#[test]
fn weight_gradient_has_the_same_bits_in_every_class() {
    // The parts come from the shape, and within a part every tile size adds in the order of the pixels.
    let operands = Operands::random(conv(Shape::new(3, 9, 17, 16), 33, 3, 1, 1), Kind::Dense, 2);
    let gpu = devices()[0];
    let mut launches = 0;
    let [integrated, discrete] = tiled_classes(gpu)
        .map(|facts| operands.run(gpu, &facts, &[Direction::GradWeight], |_| launches += 1));
    assert_eq!(launches, 4, "a product in parts and their sum, twice");
    assert_eq!(integrated, discrete);
}
