//! Softmax cross-entropy kernels against their f64 twins.

mod common;
use common::gpu::{Case, Draw, gpu};
use contraleak::kernels::Shape;
use contraleak::kernels::loss::{self, CrossEntropy};
use contraleak::reference::loss as twin;

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

fn check(seed: u64, rows: usize, classes: usize, scale: f64, smoothing: f32, upstream: f32) {
    let shape = Shape::matrix(rows, classes);
    let mut case = Case::new(gpu());
    let mut draw = Draw(seed);
    let labels: Vec<u32> = (0..rows).map(|_| draw.range(0, classes - 1) as u32).collect();
    let (logits, values) = case.random("logits", shape, seed, scale);
    let entropy = CrossEntropy {
        logits,
        labels: case.words("labels", Shape::matrix(1, rows), &labels).slice,
        smoothing,
        normalizers: case.output("normalizers", Shape::matrix(rows, 1)),
    };
    let loss = case.output("loss", Shape::matrix(1, 1));
    let (dlogits, posteriors) = (case.output("dlogits", shape), case.output("posteriors", shape));
    loss::check_labels(&labels, classes).unwrap();
    loss::softmax_cross_entropy(&mut case.recording, &entropy, loss);
    loss::softmax_cross_entropy_grad(&mut case.recording, &entropy, upstream, dlogits);
    loss::softmax(&mut case.recording, logits, posteriors);
    let done = case.run();

    let targets: Vec<usize> = labels.iter().map(|&l| l as usize).collect();
    let smoothing = f64::from(smoothing);
    let expected: Vec<f64> = values.chunks(classes).map(twin::log_sum_exp).collect();
    // exp and log may be wrong by 3 + 2|x| units (WGSL); a sum of `classes` exponentials and its logarithm.
    let log_error = U * (classes as f64 + 8.0 + 8.0 * scale);
    done.assert_close(entropy.normalizers, &expected, |i| log_error + 2.0 * U * expected[i].abs());
    let value = twin::softmax_cross_entropy(&values, &targets, smoothing);
    let error = 2.0 * log_error + U * (2.0 * scale + rows.min(300) as f64 * value.abs());
    done.assert_close(loss, &[value], |_| error);
    let softmax = twin::softmax(&values, classes);
    let relative = log_error + U * (3.0 * scale + 16.0 + 8.0 * scale);
    done.assert_close(posteriors, &softmax, |i| relative * softmax[i] + 1e-38);
    let gout = f64::from(upstream);
    let expected = twin::softmax_cross_entropy_backward(&values, &targets, smoothing, gout);
    done.assert_close(dlogits, &expected, |i| {
        gout.abs() / rows as f64 * (relative * softmax[i] + 4.0 * U) + 4.0 * U * expected[i].abs()
    });
}

#[test]
fn cross_entropy_matches_its_twin() {
    for (seed, rows, classes) in
        [(1, 1, 1), (2, 1, 2), (3, 7, 5), (4, 64, 10), (5, 129, 4), (6, 33, 1000), (7, 700, 3)]
    {
        for (scale, smoothing, upstream) in [(4.0, 0.0, 1.0), (1.0, 0.1, 0.5), (30.0, 0.8, -2.0)] {
            check(seed, rows, classes, scale, smoothing, upstream);
        }
    }
}

#[test]
fn large_logits_overflow_nothing() {
    check(8, 9, 11, 3000.0, 0.0, 1.0);
}

#[test]
fn a_label_that_is_no_class_is_named() {
    let message = loss::check_labels(&[0, 9, 10], 10).unwrap_err().to_string();
    assert!(message.contains("label 10 of row 2") && message.contains("10 classes"), "{message}");
}
