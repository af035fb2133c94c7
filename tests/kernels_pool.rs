//! Pooling kernels against their f64 twins.

mod common;
use common::gpu::{Case, Draw, gpu, random_shapes};
use contraleak::kernels::Shape;
use contraleak::kernels::pool::{self, Pool2d};
use contraleak::reference::pool as twin;

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

/// Random shapes with kernel, stride and padding that fit; the usual ones first.
fn poolings() -> Vec<(u64, Pool2d)> {
    let mut all: Vec<(u64, Pool2d)> = [
        (64, 3, 2, 1),
        (16, 2, 2, 0),
        (7, 7, 1, 3),
        (9, 3, 1, 1),
        (5, 1, 1, 0),
        (8, 2, 3, 1),
        (40, 33, 2, 16),
    ]
    .into_iter()
    .map(|(side, k, s, p)| (side as u64, Pool2d::new(Shape::new(2, 5, side, side), k, s, p).unwrap()))
    .collect();
    let mut draw = Draw(3);
    for (seed, shape) in random_shapes(31, 14) {
        let kernel = draw.range(1, shape.h.min(shape.w).min(6));
        let (stride, padding) = (draw.range(1, 4), draw.range(0, kernel / 2));
        all.push((seed, Pool2d::new(shape, kernel, stride, padding).unwrap()));
    }
    all
}

fn twin_shape(pool: &Pool2d) -> twin::PoolShape {
    twin::PoolShape {
        batch: pool.input.n,
        channels: pool.input.c,
        height: pool.input.h,
        width: pool.input.w,
        kernel: pool.kernel,
        stride: pool.stride,
        padding: pool.padding,
    }
}

/// How many windows hold one pixel, at most.
fn overlap(pool: &Pool2d) -> f64 {
    (pool.kernel.div_ceil(pool.stride) as f64).powi(2)
}

#[test]
fn max_pooling_sends_gradients_to_the_first_maximum() {
    for (seed, pool) in poolings() {
        let mut case = Case::new(gpu());
        let mut draw = Draw(seed);
        // Few distinct values, so that most windows hold ties; all negative, so that padding must not win.
        let values: Vec<f64> =
            (0..pool.input.elements()).map(|_| -1.0 - draw.range(0, 3) as f64 * 0.5).collect();
        let x = case.input("x", pool.input, &values);
        let (dy, upstream) = case.random("dy", pool.output, seed, 1.0);
        let (y, dx) = (case.output("y", pool.output), case.output("dx", pool.input));
        let places = case.recording.transient("places", pool.places_bytes());
        pool::max_pool2d(&mut case.recording, &pool, x, y, places);
        pool::max_pool2d_grad(&mut case.recording, &pool, places, dy, dx);
        let done = case.run();
        done.assert_close(y, &twin::max_pool2d(&values, twin_shape(&pool)), |_| 0.0);
        let expected = twin::max_pool2d_backward(&values, &upstream, twin_shape(&pool));
        done.assert_close(dx, &expected, |_| overlap(&pool).powi(2) * U);
    }
}

#[test]
fn average_pooling_counts_its_padding() {
    for (seed, pool) in poolings() {
        let mut case = Case::new(gpu());
        let (x, values) = case.random("x", pool.input, seed, 2.0);
        let (dy, upstream) = case.random("dy", pool.output, seed, 1.0);
        let (y, dx) = (case.output("y", pool.output), case.output("dx", pool.input));
        pool::avg_pool2d(&mut case.recording, &pool, x, y);
        pool::avg_pool2d_grad(&mut case.recording, &pool, dy, dx);
        let done = case.run();
        let area = (pool.kernel * pool.kernel) as f64;
        done.assert_close(y, &twin::avg_pool2d(&values, twin_shape(&pool)), |_| 2.0 * U * (area + 2.0));
        let expected = twin::avg_pool2d_backward(&upstream, twin_shape(&pool));
        done.assert_close(dx, &expected, |_| (overlap(&pool) + 2.0) * U * overlap(&pool) / area);
    }
}

#[test]
fn global_pooling_matches_its_twin() {
    for (seed, shape) in random_shapes(33, 10) {
        let mut case = Case::new(gpu());
        let pooled = Shape::matrix(shape.n, shape.c);
        let (x, values) = case.random("x", shape, seed, 2.0);
        let (dy, upstream) = case.random("dy", pooled, seed, 1.0);
        let (y, dx) = (case.output("y", pooled), case.output("dx", shape));
        pool::global_avg_pool2d(&mut case.recording, x, y);
        pool::global_avg_pool2d_grad(&mut case.recording, dy, dx);
        let done = case.run();
        let pixels = shape.pixels();
        done.assert_close(y, &twin::global_avg_pool2d(&values, pixels), |_| 2.0 * U * (pixels as f64 + 2.0));
        let expected = twin::global_avg_pool2d_backward(&upstream, pixels);
        done.assert_close(dx, &expected, |i| 4.0 * U * expected[i].abs());
    }
}

#[test]
fn windows_that_do_not_fit_are_errors_that_say_why() {
    let shape = Shape::new(1, 3, 8, 6);
    for (kernel, stride, padding) in [(0, 1, 0), (2, 0, 0), (7, 1, 0), (3, 1, 2), (256, 1, 128)] {
        let message = Pool2d::new(shape, kernel, stride, padding).unwrap_err().to_string();
        assert!(message.contains("8 x 6") && message.contains("padding ≤ kernel/2"), "{message}");
    }
}
