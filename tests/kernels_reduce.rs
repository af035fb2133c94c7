//! Reductions against their f64 twins.

mod common;
use common::gpu::{Case, Draw, every_class, gpu, random_shapes};
use contraleak::kernels::{Shape, reduce};
use contraleak::reference::reduce as twin;

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

fn shapes(seed: u64) -> Vec<(u64, Shape)> {
    let mut all = random_shapes(seed, 8);
    all.extend([
        (1, Shape::matrix(1031, 13)),
        (2, Shape::new(3, 5, 130, 127)),
        (3, Shape::new(150, 9, 4, 4)),
        (4, Shape::matrix(1, 1)),
    ]);
    all
}

#[test]
fn channel_sums_are_column_sums_for_matrices() {
    let classes = every_class(gpu());
    for (seed, shape, facts) in
        shapes(41).into_iter().flat_map(|(seed, shape)| classes.iter().map(move |f| (seed, shape, f)))
    {
        let mut case = Case::with_facts(gpu(), facts);
        let (x, values) = case.random("x", shape, seed, 1.0);
        let y = case.output("y", Shape::matrix(1, shape.c));
        reduce::channel_sums(&mut case.recording, x, y);
        let expected = twin::channel_sums(&values, shape.c, shape.pixels());
        let magnitude: Vec<f64> = values.iter().map(|v| v.abs()).collect();
        let magnitude = twin::channel_sums(&magnitude, shape.c, shape.pixels());
        let additions = (shape.n * shape.pixels()).min(400) as f64 + 2.0;
        case.run().assert_close(y, &expected, |c| additions * U * magnitude[c]);
    }
}

#[test]
fn sums_and_means_of_whole_tensors() {
    for (seed, shape) in shapes(42) {
        let mut case = Case::new(gpu());
        let (x, values) = case.random("x", shape, seed, 1.0);
        let one = Shape::matrix(1, 1);
        let (sum, mean) = (case.output("sum", one), case.output("mean", one));
        reduce::sum(&mut case.recording, x, sum);
        reduce::mean(&mut case.recording, x, mean);
        let done = case.run();
        let magnitude: f64 = values.iter().map(|v| v.abs()).sum();
        let error = (shape.elements().min(500) as f64 + 4.0) * U * magnitude;
        done.assert_close(sum, &[twin::sum(&values)], |_| error);
        done.assert_close(mean, &[twin::mean(&values)], |_| error / values.len() as f64);
    }
}

#[test]
fn non_finite_values_are_counted_exactly() {
    let mut draw = Draw(9);
    for shape in [Shape::matrix(1, 1), Shape::new(3, 7, 11, 5), Shape::new(2, 4, 200, 190)] {
        for chance in [0, 1, 40] {
            let mut expected = 0;
            let values: Vec<f64> = (0..shape.elements())
                .map(|_| {
                    let (spoil, kind, value) = (draw.range(0, 99) < chance, draw.range(0, 2), draw.unit());
                    expected += usize::from(spoil);
                    match (spoil, kind) {
                        (false, 0) => f64::from(f32::MAX),
                        (false, _) => value * 1e-42,
                        (true, 0) => f64::NAN,
                        (true, 1) => f64::INFINITY,
                        (true, _) => f64::NEG_INFINITY,
                    }
                })
                .collect();
            let mut case = Case::new(gpu());
            let x = case.input("x", shape, &values);
            let count = case.output("count", Shape::matrix(1, 1));
            reduce::count_non_finite(&mut case.recording, x.slice, count.slice);
            let words: Vec<u32> = case.run().packed(count).iter().map(|w| w.to_bits()).collect();
            assert_eq!(words, [expected as u32, 0, 0, 0], "{shape}, {chance} percent");
        }
    }
}

#[test]
fn set_pooling_matches_its_twins() {
    for (seed, sets, elements, channels) in
        [(1, 1, 1, 1), (2, 5, 7, 13), (3, 64, 45, 256), (4, 3, 129, 5), (5, 17, 2, 33)]
    {
        let (all, each) = (Shape::matrix(sets * elements, channels), Shape::matrix(sets, channels));
        let sizes = twin::SetShape { sets, elements, channels };
        let mut case = Case::new(gpu());
        let mut draw = Draw(seed);
        // Few distinct values, so that many sets have ties.
        let values: Vec<f64> = (0..all.elements()).map(|_| draw.range(0, 30) as f64 * 0.25 - 5.0).collect();
        let x = case.input("x", all, &values);
        let (dy, upstream) = case.random("dy", each, seed, 1.0);
        let (b, rows) = case.random("b", each, seed, 1.0);
        let (max, max_grad) = (case.output("max", each), case.output("max grad", all));
        let (mean, mean_grad) = (case.output("mean", each), case.output("mean grad", all));
        let (sum, sum_grad) = (case.output("sum", each), case.output("sum grad", all));
        let shifted = case.output("shifted", all);
        let places = case.recording.transient("places", reduce::set_places_bytes(each));
        reduce::set_max(&mut case.recording, x, max, places);
        reduce::set_max_grad(&mut case.recording, dy, places, max_grad);
        reduce::set_mean(&mut case.recording, x, mean);
        reduce::set_mean_grad(&mut case.recording, dy, mean_grad);
        reduce::set_sum(&mut case.recording, x, -0.5, sum);
        reduce::set_broadcast(&mut case.recording, dy, -0.5, sum_grad);
        reduce::set_broadcast_add(&mut case.recording, x, b, -0.5, shifted);
        let done = case.run();
        done.assert_close(max, &twin::set_max(&values, sizes), |_| 0.0);
        done.assert_close(max_grad, &twin::set_max_backward(&values, &upstream, sizes), |_| 0.0);
        // The twin of both: maxima, then means, in a row.
        let both = twin::set_max_mean(&values, sizes);
        let means: Vec<f64> = both.chunks(2 * channels).flat_map(|row| row[channels..].to_vec()).collect();
        let error = 5.0 * U * (elements as f64 + 4.0);
        done.assert_close(mean, &means, |_| error);
        let gout: Vec<f64> =
            upstream.chunks(channels).flat_map(|row| [vec![0.0; channels], row.to_vec()].concat()).collect();
        let expected = twin::set_max_mean_backward(&values, &gout, sizes);
        done.assert_close(mean_grad, &expected, |i| 4.0 * U * expected[i].abs());
        let halves: Vec<f64> = means.iter().map(|m| m * -0.5 * elements as f64).collect();
        done.assert_close(sum, &halves, |_| error * elements as f64);
        let row = |i: usize| i / channels / elements * channels + i % channels;
        let spread: Vec<f64> = (0..all.elements()).map(|i| -0.5 * upstream[row(i)]).collect();
        done.assert_close(sum_grad, &spread, |_| 0.0);
        let expected: Vec<f64> = (0..all.elements()).map(|i| values[i] - 0.5 * rows[row(i)]).collect();
        done.assert_close(shifted, &expected, |i| U * expected[i].abs());
    }
}
