//! Element-wise kernels against their f64 twins.

mod common;
use common::gpu::{Case, Draw, every_class, gpu, random_shapes};
use contraleak::kernels::elementwise::{self, Dropout, Gelu, Unary};
use contraleak::kernels::{Shape, StepState};
use contraleak::reference::elementwise as twin;
use contraleak::rng::{Key, Stream};

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

const ACTIVATIONS: [(Unary, twin::Activation); 3] = [
    (Unary::Relu, twin::Activation::Relu),
    (Unary::Relu6, twin::Activation::Relu6),
    (Unary::Tanh, twin::Activation::Tanh),
];

/// Error of one activation: none, but tanh is a polynomial of a few roundings in every driver.
fn bound(f: Unary) -> f64 {
    if f == Unary::Tanh { 4e-6 } else { 0.0 }
}

#[test]
fn unary_matches_its_twin_on_random_shapes() {
    for (seed, shape) in random_shapes(1, 12) {
        for (f, twin) in ACTIVATIONS {
            let mut case = Case::new(gpu());
            let (x, values) = case.random("x", shape, seed, 8.0);
            let y = case.output("y", shape);
            elementwise::unary(&mut case.recording, f, x, y);
            let expected: Vec<f64> = values.iter().map(|&v| twin.apply(v)).collect();
            case.run().assert_close(y, &expected, |_| bound(f));
        }
    }
}

#[test]
fn unary_gradients_match_their_twins() {
    for (seed, shape) in random_shapes(2, 8) {
        for (f, twin) in ACTIVATIONS {
            let mut case = Case::new(gpu());
            let mut draw = Draw(seed);
            // Results as the forward kernels give them, corners (0 and 6) included.
            let results: Vec<f64> = (0..shape.elements())
                .map(|_| match (f, draw.unit() * 9.0) {
                    (Unary::Tanh, v) => f64::from(v.tanh() as f32),
                    (_, v) => f64::from(twin.apply(v) as f32),
                })
                .collect();
            let y = case.input("y", shape, &results);
            let (dy, upstream) = case.random("dy", shape, seed, 2.0);
            let dx = case.output("dx", shape);
            elementwise::unary_grad(&mut case.recording, f, y, dy, dx);
            let expected: Vec<f64> =
                results.iter().zip(&upstream).map(|(&y, g)| g * twin.derivative(y)).collect();
            let scale = if f == Unary::Tanh { 4.0 * U } else { 0.0 };
            case.run().assert_close(dx, &expected, |i| scale * upstream[i].abs());
        }
    }
}

#[test]
fn gelu_and_its_gradient_match_their_twins_out_to_the_tails() {
    for (f, twin) in [(Gelu::Exact, twin::Gelu::Exact), (Gelu::Quick, twin::Gelu::Quick)] {
        let mut shapes = random_shapes(8, 6);
        shapes.push((9, Shape::new(1, 7, 64, 61)));
        for (seed, shape) in shapes {
            let mut case = Case::new(gpu());
            let (_, mut values) = case.random("x", shape, seed, 8.0);
            let special = [0.0, -0.0, 1e-30, 20.0, -20.0, 1e4, -1e4, 3e19, -3e19];
            values.iter_mut().zip(special).for_each(|(v, x)| *v = f64::from(x as f32));
            let x = case.input("x", shape, &values);
            let (dy, upstream) = case.random("dy", shape, seed, 2.0);
            let (y, dx) = (case.output("y", shape), case.output("dx", shape));
            elementwise::gelu(&mut case.recording, f, x, y);
            elementwise::gelu_grad(&mut case.recording, f, x, dy, dx);
            let done = case.run();
            // F is missed by 1.8e-8 (`shaders/common/gelu.wgsl`) and some roundings; a driver's exp by 2e-7 of itself
            // and a rounding of its argument, at most 0.5 of which reaches F.
            let off = 1.8e-8 + 12.0 * U;
            let expected: Vec<f64> = values.iter().map(|&v| twin.apply(v)).collect();
            done.assert_close(y, &expected, |i| off * values[i].abs());
            let expected: Vec<f64> =
                values.iter().zip(&upstream).map(|(&v, g)| g * twin.derivative(v)).collect();
            done.assert_close(dx, &expected, |i| 4.0 * off * upstream[i].abs());
        }
    }
}

#[test]
fn sums_products_and_scaling_round_once() {
    for (seed, shape) in random_shapes(3, 8) {
        let mut case = Case::new(gpu());
        let (a, a_values) = case.random("a", shape, seed, 2.0);
        let (b, b_values) = case.random("b", shape, seed, 2.0);
        let (sum, product) = (case.output("sum", shape), case.output("product", shape));
        let (scaled, total) = (case.output("scaled", shape), case.in_out("total", shape, &b_values));
        let more = case.in_out("more", shape, &b_values);
        elementwise::add(&mut case.recording, a, b, sum);
        elementwise::mul(&mut case.recording, a, b, product);
        elementwise::scale(&mut case.recording, a, -0.3, scaled);
        elementwise::accumulate(&mut case.recording, a, total);
        elementwise::accumulate_scaled(&mut case.recording, a, 0.7, more);
        let done = case.run();
        let pairs = || a_values.iter().zip(&b_values);
        let sums = twin::add(&a_values, &b_values);
        done.assert_close(sum, &sums, |i| U * sums[i].abs());
        done.assert_close(total, &sums, |i| U * sums[i].abs());
        let products: Vec<f64> = pairs().map(|(a, b)| a * b).collect();
        done.assert_close(product, &products, |i| U * products[i].abs());
        let expected = twin::scale(&a_values, f64::from(-0.3_f32));
        done.assert_close(scaled, &expected, |i| U * expected[i].abs());
        let expected: Vec<f64> = pairs().map(|(a, b)| f64::from(0.7_f32) * a + b).collect();
        // Software adapters split a fused multiply-add.
        done.assert_close(more, &expected, |i| U * (expected[i].abs() + a_values[i].abs()));
    }
}

#[test]
fn bias_and_activation_match_their_twins_on_maps_and_matrices() {
    let mut shapes = random_shapes(4, 6);
    shapes.extend([(5, Shape::matrix(129, 61)), (6, Shape::new(2, 3, 70, 67)), (7, Shape::new(90, 5, 3, 3))]);
    for (seed, shape) in shapes {
        let vector = Shape::matrix(1, shape.c);
        let functions = [None, Some(Unary::Relu), Some(Unary::Relu6), Some(Unary::Tanh)];
        for (f, facts) in
            functions.into_iter().flat_map(|f| every_class(gpu()).into_iter().map(move |facts| (f, facts)))
        {
            let mut case = Case::with_facts(gpu(), &facts);
            let (x, values) = case.random("x", shape, seed, 6.0);
            let (b, bias) = case.random("b", vector, seed, 3.0);
            let y = case.output("y", shape);
            match f {
                None => elementwise::bias_add(&mut case.recording, x, b, y),
                f => elementwise::bias_activation(&mut case.recording, x, b, f, y),
            }
            let twin_of = ACTIVATIONS.iter().find(|(kernel, _)| Some(*kernel) == f);
            let apply = |v: f64| twin_of.map_or(v, |(_, twin)| twin.apply(v));
            let expected: Vec<f64> =
                twin::bias(&values, &bias, shape.pixels()).into_iter().map(apply).collect();
            case.run().assert_close(y, &expected, |_| 9.0 * U + f.map_or(0.0, bound));
        }
    }
}

#[test]
fn dropout_draws_what_its_twin_draws() {
    let key = Key::from_seed(5).stream(Stream::Dropout, 3);
    let state = StepState { dropout_key: key.0, ..StepState::default() };
    for (seed, shape, probability, facts) in [
        (1, Shape::matrix(7, 61), 0.5),
        (2, Shape::matrix(3, 512), 0.1),
        (3, Shape::new(5, 6, 3, 7), 0.5),
        (4, Shape::matrix(1, 1), 0.9),
        (5, Shape::new(2, 9, 17, 13), 0.0),
    ]
    .into_iter()
    .flat_map(|(seed, shape, probability)| {
        every_class(gpu()).into_iter().map(move |facts| (seed, shape, probability, facts))
    }) {
        let mut case = Case::with_facts(gpu(), &facts);
        let (x, values) = case.random("x", shape, seed, 3.0);
        let samples: Vec<u32> = (0..shape.n as u32).map(|row| row * 977 + 12).collect();
        let y = case.output("y", shape);
        let dropout = Dropout {
            step: case.words("step", Shape::matrix(1, 1), &[state]).slice,
            samples: case.words("samples", Shape::matrix(1, shape.n), &samples).slice,
            layer: 4,
            probability,
        };
        dropout.check(shape).unwrap();
        elementwise::dropout(&mut case.recording, &dropout, x, y);
        let expected = twin::dropout(&values, &samples, twin::Dropout { key, layer: 4, probability });
        case.run().assert_close(y, &expected, |i| 2.0 * U * expected[i].abs());
    }
}

#[test]
fn dropout_that_cannot_be_drawn_is_an_error() {
    let mut case = Case::new(gpu());
    let slice = case.words("any", Shape::matrix(1, 1), &[0_u32; 4]).slice;
    let dropout = |probability| Dropout { step: slice, samples: slice, layer: 1, probability };
    for probability in [1.0, -0.1, f32::NAN] {
        let message = dropout(probability).check(Shape::matrix(1, 4)).unwrap_err().to_string();
        assert!(message.contains("outside [0, 1)"), "{message}");
    }
    let message = dropout(0.5).check(Shape::new(1, 17, 64, 64)).unwrap_err().to_string();
    assert!(message.contains("69632 elements"), "{message}");
}

#[test]
fn channels_are_concatenated_and_taken_apart_again() {
    for (seed, n, h, w, a, b) in [(1, 3, 5, 2, 8, 3), (2, 7, 1, 1, 256, 256), (3, 1, 1, 1, 4, 1)] {
        let shape = |c| Shape::new(n, c, h, w);
        elementwise::check_concatenation(&[shape(a), shape(b)]).unwrap();
        let mut case = Case::new(gpu());
        let (x, x_values) = case.random("x", shape(a), seed, 1.0);
        let (z, z_values) = case.random("z", shape(b), seed, 1.0);
        let whole = case.output("whole", shape(a + b));
        let (first, second) = (case.output("first", shape(a)), case.output("second", shape(b)));
        elementwise::copy_channels(&mut case.recording, x, 0, a, whole, 0);
        elementwise::copy_channels(&mut case.recording, z, 0, b, whole, a);
        elementwise::copy_channels(&mut case.recording, whole, 0, a, first, 0);
        elementwise::copy_channels(&mut case.recording, whole, a, b, second, 0);
        let done = case.run();
        let expected: Vec<f64> = x_values
            .chunks(a * h * w)
            .zip(z_values.chunks(b * h * w))
            .flat_map(|(x, z)| [x, z].concat())
            .collect();
        done.assert_close(whole, &expected, |_| 0.0);
        done.assert_close(first, &x_values, |_| 0.0);
        done.assert_close(second, &z_values, |_| 0.0);
    }
    let message = elementwise::check_concatenation(&[Shape::matrix(2, 6), Shape::matrix(2, 4)]);
    assert!(message.unwrap_err().to_string().contains("[2, 6]"));
}

#[test]
fn gathered_rows_are_copies() {
    for (seed, shape) in random_shapes(9, 12) {
        let mut draw = Draw(seed);
        let count = draw.awkward(70);
        let rows: Vec<usize> = (0..count).map(|_| draw.range(0, shape.n - 1)).collect();
        let words: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let mut case = Case::new(gpu());
        let (x, values) = case.random("x", shape, seed, 8.0);
        let index = case.words("rows", Shape::matrix(1, count), &words);
        let y = case.output("y", Shape { n: count, ..shape });
        elementwise::gather_rows(&mut case.recording, x, index.slice, y);
        let expected = twin::gather_rows(&values, shape.c * shape.pixels(), &rows);
        case.run().assert_close(y, &expected, |_| 0.0);
    }
}
