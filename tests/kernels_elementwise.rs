//! Element-wise kernels against their f64 twins.

mod common;
use common::gpu::{Case, gpu, random_shapes};
use contraleak::kernels::elementwise::{self, Unary};

#[test]
fn unary_matches_its_twin_on_random_shapes() {
    for (seed, shape) in random_shapes(1, 12) {
        for (f, twin) in [
            (Unary::Relu, (|v: f64| v.max(0.0)) as fn(f64) -> f64),
            (Unary::Relu6, |v| v.clamp(0.0, 6.0)),
            (Unary::Tanh, f64::tanh),
        ] {
            let mut case = Case::new(gpu());
            let (x, values) = case.random("x", shape, seed, 8.0);
            let y = case.output("y", shape);
            elementwise::unary(&mut case.recording, f, x, y);
            let expected: Vec<f64> = values.iter().map(|&v| twin(v)).collect();
            // One rounding of each result; tanh is a polynomial of a few roundings in every driver.
            let bound = if f == Unary::Tanh { 4e-6 } else { 0.0 };
            case.run().assert_close(y, &expected, |_| bound);
        }
    }
}
