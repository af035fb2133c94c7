//! Layer norm against its f64 twin.

mod common;
use common::gpu::{Case, every_class, gpu, random_shapes};
use contraleak::kernels::norm::{
    self, LayerNorm, LayerNormGrad, layer_norm, layer_norm_grad, layer_norm_statistics_bytes,
};
use contraleak::kernels::{Shape, Tensor};
use contraleak::reference::layer_norm as twin;

const U: f64 = 1.0 / 16_777_216.0;

fn check(seed: u64, shape: Shape, offset: f64) {
    for facts in every_class(gpu()) {
        let mut case = Case::with_facts(gpu(), &facts);
        let vector = Shape::matrix(1, shape.c);
        let (_, noise) = case.random("noise", shape, seed, 2.0);
        let values: Vec<f64> = noise.iter().map(|v| f64::from((v + offset) as f32)).collect();
        let x = case.input("x", shape, &values);
        let (dy, upstream) = case.random("dy", shape, seed, 1.0);
        let (gamma, weight) = case.random("gamma", vector, seed, 1.5);
        let (beta, bias) = case.random("beta", vector, seed, 1.0);
        let statistics = case.recording.transient("statistics", layer_norm_statistics_bytes(shape));
        let [y, dx] = ["y", "dx"].map(|name| case.output(name, shape));
        let [dgamma, dbeta] = ["dgamma", "dbeta"].map(|name| case.output(name, vector));
        layer_norm(&mut case.recording, &LayerNorm { x, gamma, beta, y, statistics });
        let grad = LayerNormGrad { x, dy, gamma, statistics, dx, dgamma, dbeta };
        layer_norm_grad(&mut case.recording, &grad);
        let done = case.run();

        let sizes = twin::LayerNormShape { channels: shape.c, spatial: shape.pixels() };
        let eps = f64::from(norm::EPSILON);
        let (standard, spread) = twin::layer_norm_standard(&values, sizes, eps);
        let c = |i: usize| i / shape.pixels() % shape.c;
        // The mean of C numbers of at most `offset` + 2 is off by (C/32 + 6) roundings of them (eight invocations of four
        // lanes add, then one); that is what x̂ is off by, times the spread, and the same again for the variance.
        let length = shape.c as f64;
        let mean = U * (length / 32.0 + 12.0) * (offset.abs() + 2.0);
        let off =
            |i: usize| (mean * spread[i] + U * (length / 32.0 + 16.0)) * (1.0 + standard[i].powi(2)).sqrt();
        // Where the spread is large the variance itself is small and its error counts relative to it.
        let off = |i: usize| off(i) + standard[i].abs() * (mean * spread[i]).powi(2);
        let expected = twin::layer_norm(&values, &weight, &bias, sizes, eps);
        done.assert_close(y, &expected, |i| {
            weight[c(i)].abs() * off(i) + 4.0 * U * (1.0 + expected[i].abs())
        });

        let expected = twin::layer_norm_backward(&values, &weight, &upstream, sizes, eps);
        let worst = |at: &Tensor| (0..at.shape.elements()).map(off).fold(0.0, f64::max);
        let highest = standard.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
        // dx: three terms of at most 1.5·highest², each off by what x̂ is off by.
        let error = 1.5 * (worst(&x) * 4.0 * highest + U * (length / 8.0 + 16.0) * highest * highest);
        done.assert_close(dx, &expected.x, |i| spread[i] * error);
        let rows = (shape.n * shape.pixels()) as f64;
        let sum = rows * (worst(&x) + U * (rows / 4.0 + 8.0) * highest);
        done.assert_close(dgamma, &expected.weight, |_| sum);
        done.assert_close(dbeta, &expected.bias, |_| rows * U * (rows / 4.0 + 8.0));
    }
}

#[test]
fn layer_norm_and_its_gradient_match_their_twins_on_random_shapes() {
    for (seed, shape) in random_shapes(21, 14) {
        check(seed, shape, 0.0);
    }
    for (seed, shape) in [
        (1, Shape::matrix(1, 1)),
        (2, Shape::matrix(9, 768)),
        (3, Shape::new(3, 61, 1, 50)),
        (4, Shape::new(2, 768, 1, 50)),
        (5, Shape::new(1, 33, 7, 1)),
    ] {
        check(seed, shape, 0.0);
        // A mean far from zero: the variance is not a difference of large squares.
        check(seed, shape, 100.0);
    }
}
