//! Depthwise convolution in three directions against the f64 twins, with and without bounds checks.

mod common;
use common::dense::{Direction, EVERY_DIRECTION, Kind, Operands, devices, random_convs};
use common::gpu::every_class;
use contraleak::kernels::Shape;
use contraleak::kernels::conv::Conv2d;
use contraleak::kernels::conv::depthwise::DepthwiseShape;

#[test]
fn three_directions_match_their_twins_and_are_adjoint_on_random_shapes() {
    let mut convs = random_convs(7, 80, Kind::Depthwise);
    // Each kernel, stride and phase is a program of its own, long where the kernel is large: of those only two.
    convs.retain(|conv| conv.kernel <= 3);
    // The two layer forms of MobileNetV2, and a grid that spans several workgroups in every direction.
    for (input, kernel, stride, padding) in [
        (Shape::new(2, 10, 9, 11), 5, 1, 2),
        (Shape::new(2, 10, 9, 11), 7, 2, 3),
        (Shape::new(4, 96, 16, 16), 3, 1, 1),
        (Shape::new(4, 96, 15, 16), 3, 2, 1),
        (Shape::new(3, 7, 65, 67), 3, 2, 1),
    ] {
        convs.extend(Conv2d::new(input, input.c, kernel, stride, padding));
    }
    for (i, conv) in convs.into_iter().enumerate() {
        let operands = Operands::random(conv, Kind::Depthwise, i as u64);
        let check = operands.checker(&EVERY_DIRECTION);
        for gpu in devices() {
            for facts in every_class(gpu) {
                let results = operands.run(gpu, &facts, &EVERY_DIRECTION, |_| ());
                check(&results, &format!("{:?}", facts.class));
                operands.assert_adjoint(&results);
            }
        }
    }
}

#[test]
fn weight_gradient_is_cut_into_parts_by_the_shape_alone() {
    let gpu = devices()[0];
    for (pixels, launches) in [(4, 1), (16, 2)] {
        let input = Shape::new(1, 5, pixels, pixels);
        let conv = Conv2d::new(input, 5, 3, 1, 1).unwrap_or_else(|e| panic!("{e}"));
        let operands = Operands::random(conv, Kind::Depthwise, 3);
        let mut count = 0;
        let results = operands.run(gpu, gpu.facts(), &[Direction::GradWeight], |_| count += 1);
        assert_eq!(count, launches, "dispatches for {input}");
        operands.checker(&[Direction::GradWeight])(&results, "parts");
    }
}

#[test]
fn packing_puts_four_channels_of_a_tap_into_a_texel() {
    let shape = DepthwiseShape { channels: 6, kernel: 3 };
    let values: Vec<f32> = (0..shape.elements()).map(|i| i as f32 + 1.0).collect();
    let packed = shape.pack(&values);
    assert_eq!((packed.len() as u64 * 4, shape.texels()), (shape.bytes(), 18));
    // Channel 5, tap 7: texel 7 · 2 + 1, lane 1.
    assert_eq!(packed[(7 * 2 + 1) * 4 + 1], values[5 * 9 + 7]);
    assert_eq!(packed.iter().filter(|&&v| v == 0.0).count(), 9 * 2);
    assert_eq!(shape.unpack(&packed), values);
}
