//! Kernels of one number a row against their f64 twins, and the twins' gradients by central differences.

mod common;
use common::gpu::{Case, Draw, gpu};
use contraleak::kernels::{Shape, loss};
use contraleak::reference::{loss as softmax_twin, rows as twin};

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;
const SIZES: [usize; 6] = [1, 2, 7, 64, 129, 1000];

#[test]
fn sigmoid_means_match_their_twin() {
    for (seed, rows) in SIZES.into_iter().enumerate() {
        for (scale, with_targets) in [(3.0, true), (3.0, false), (60.0, true), (60.0, false)] {
            let shape = Shape::matrix(rows, 1);
            let mut case = Case::new(gpu());
            let mut draw = Draw(seed as u64 + 9);
            let (logits, x) = case.random("logits", shape, seed as u64, scale);
            let targets: Vec<f64> = (0..rows).map(|_| draw.range(0, 4) as f64 / 4.0).collect();
            let target = with_targets.then(|| case.input("targets", shape, &targets));
            let wide = with_targets.then_some(&targets[..]);
            let (value, slope) = (case.output("loss", Shape::matrix(1, 1)), case.output("dlogits", shape));
            loss::sigmoid_mean(&mut case.recording, logits, target, value);
            loss::sigmoid_mean_grad(&mut case.recording, logits, target, slope);
            let done = case.run();
            // exp and log within 3 + 2|x| units of what they give, the rest a few roundings and one ordered sum.
            let expected = twin::sigmoid_mean(&x, wide);
            done.assert_close(value, &[expected], |_| {
                U * (16.0 + 4.0 * scale + rows.min(300) as f64) * (1.0 + expected)
            });
            let expected = twin::sigmoid_mean_backward(&x, wide, 1.0);
            done.assert_close(slope, &expected, |i| {
                let size = expected[i].abs() + if with_targets { 1.0 / rows as f64 } else { 0.0 };
                U * (16.0 + 4.0 * scale) * size + 1e-38
            });
        }
    }
}

#[test]
fn softmax_gradients_match_their_twin() {
    for (seed, rows) in SIZES.into_iter().enumerate() {
        for classes in [1, 2, 5, 64, 101] {
            let shape = Shape::matrix(rows, classes);
            let mut case = Case::new(gpu());
            let mut draw = Draw(seed as u64);
            let logits: Vec<f64> = (0..shape.elements()).map(|_| 4.0 * draw.unit()).collect();
            let y: Vec<f64> =
                softmax_twin::softmax(&logits, classes).iter().map(|&v| f64::from(v as f32)).collect();
            let posteriors = case.input("y", shape, &y);
            let (dy, upstream) = case.random("dy", shape, seed as u64, 2.0);
            let dx = case.output("dx", shape);
            loss::softmax_grad(&mut case.recording, posteriors, dy, dx);
            let expected = twin::softmax_backward(&y, &upstream, classes);
            // |dy| ≤ 2 and y sums to 1: the inner sum is wrong by (C + 2)·2^-24·2 at most.
            case.run().assert_close(dx, &expected, |i| U * (classes as f64 + 8.0) * 4.0 * y[i]);
        }
    }
}

#[test]
fn row_distances_match_their_twin() {
    for (seed, rows) in SIZES.into_iter().enumerate() {
        for dim in [1, 3, 4, 37, 512] {
            let shape = Shape::matrix(rows, dim);
            let mut case = Case::new(gpu());
            let (x, mut wide) = case.random("x", shape, seed as u64, 1.0);
            let (_, mut moved) = case.random("origin", shape, seed as u64, 1.0);
            // The last row stays where it was.
            moved[(rows - 1) * dim..].copy_from_slice(&wide[(rows - 1) * dim..]);
            let origin = case.input("origin", shape, &moved);
            let distances = case.output("distances", Shape::matrix(rows, 1));
            let (value, dx) = (case.output("loss", Shape::matrix(1, 1)), case.output("dx", shape));
            loss::row_distance(&mut case.recording, x, origin, distances, value);
            loss::row_distance_grad(&mut case.recording, x, origin, distances.slice, dx);
            let done = case.run();
            let expected = twin::row_distances(&wide, &moved, dim);
            done.assert_close(distances, &expected, |i| U * (dim as f64 + 8.0) * expected[i]);
            let mean = expected.iter().sum::<f64>() / rows as f64;
            done.assert_close(value, &[mean], |_| U * (dim as f64 + 16.0 + rows.min(300) as f64) * mean);
            let slope = twin::row_distance_backward(&wide, &moved, dim, 1.0);
            assert!(slope[(rows - 1) * dim..].iter().all(|&s| s == 0.0));
            done.assert_close(dx, &slope, |i| U * (dim as f64 + 16.0) * slope[i].abs());
            let index = (seed * 7) % wide.len();
            if rows > 1 && index < (rows - 1) * dim {
                let mut at = |step: f64| {
                    let before = wide[index];
                    wide[index] = before + step;
                    let value = twin::row_distances(&wide, &moved, dim).iter().sum::<f64>() / rows as f64;
                    wide[index] = before;
                    value
                };
                let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((difference - slope[index]).abs() < 1e-6 + 1e-4 * slope[index].abs(), "{rows} {dim}");
            }
        }
    }
}

#[test]
fn twins_follow_central_differences() {
    let mut draw = Draw(5);
    let x: Vec<f64> = (0..11).map(|_| 3.0 * draw.unit()).collect();
    let targets: Vec<f64> = (0..11).map(|_| draw.range(0, 1) as f64).collect();
    let weights: Vec<f64> = (0..11).map(|_| draw.unit()).collect();
    let softmax =
        |x: &[f64]| -> f64 { softmax_twin::softmax(x, 11).iter().zip(&weights).map(|(y, w)| y * w).sum() };
    let posteriors = softmax_twin::softmax(&x, 11);
    type Loss<'a> = Box<dyn Fn(&[f64]) -> f64 + 'a>;
    let cases: [(Loss, Vec<f64>); 3] = [
        (
            Box::new(|x| twin::sigmoid_mean(x, Some(&targets))),
            twin::sigmoid_mean_backward(&x, Some(&targets), 1.0),
        ),
        (Box::new(|x| twin::sigmoid_mean(x, None)), twin::sigmoid_mean_backward(&x, None, 1.0)),
        (Box::new(softmax), twin::softmax_backward(&posteriors, &weights, 11)),
    ];
    for (loss, slope) in cases {
        for i in 0..11 {
            let at = |step: f64| {
                let mut moved = x.clone();
                moved[i] += step;
                loss(&moved)
            };
            assert!(((at(1e-6) - at(-1e-6)) / 2e-6 - slope[i]).abs() < 1e-8);
        }
    }
}
