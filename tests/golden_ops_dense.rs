//! The stored reference values of convolutions, linear layers and matrix products against the kernels, in every class.

mod common;
use common::dense::{EVERY_DIRECTION, Kind, Operands, assert_within, devices, sum_bound};
use common::gpu::{Case, every_class};
use common::{Golden, golden_json};
use contraleak::gpu::Facts;
use contraleak::kernels::Shape;
use contraleak::kernels::conv::Conv2d;
use contraleak::kernels::matmul::{Layout, matmul};
use contraleak::reference::elementwise;

/// The cases of one operation: their number, their settings.
fn cases(op: &str) -> Vec<(String, serde_json::Value)> {
    let listed = golden_json("ops.json");
    let listed = listed.as_array().expect("ops.json is a list");
    let found: Vec<_> = listed
        .iter()
        .filter(|case| case["op"] == op)
        .map(|case| (case["case"].as_str().expect("every case has a number").to_owned(), case.clone()))
        .collect();
    assert!(!found.is_empty(), "ops.json has no case of {op}");
    found
}

fn classes() -> Vec<Facts> {
    every_class(devices()[0])
}

/// Operands were rounded to f32 for the kernels: one more rounding for each factor beside those of the sum.
fn golden_bound(terms: usize) -> f64 {
    sum_bound(terms + 2)
}

/// Compares all three directions of a convolution of stored values in every class.
fn compare(operands: &Operands, [y, dx, dw]: [&[f64]; 3], case: &str) {
    let largest = |values: &[f64]| values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let (x, w, g) = (largest(&operands.x), largest(&operands.w), largest(&operands.dy));
    for facts in classes() {
        let results = operands.run(devices()[0], &facts, &EVERY_DIRECTION, |_| ());
        for ((direction, got, expected), size) in EVERY_DIRECTION
            .into_iter()
            .zip([&results.y, &results.dx, &results.dw])
            .zip([y, dx, dw])
            .map(|((d, got), expected)| (d, got, expected))
            .zip([x * w, g * w, g * x])
        {
            // Each term is at most the product of the largest magnitudes.
            let terms = operands.terms(direction);
            let bound = golden_bound(terms) * terms as f64 * size;
            assert_within(&format!("case {case} {direction:?} {:?}", facts.class), got, expected, |_| bound);
        }
    }
}

#[test]
fn golden_conv2d() {
    let golden = Golden::open("ops");
    for (id, settings) in cases("conv2d") {
        let size = |name: &str| settings[name].as_u64().expect("a whole number") as usize;
        let x = golden.tensor(&format!("{id}.in.x"));
        let w = golden.tensor(&format!("{id}.in.w"));
        let &[n, c, height, width] = &x.shape[..] else { panic!("case {id}: x has shape {:?}", x.shape) };
        let kind = match size("groups") {
            1 => Kind::Dense,
            groups if groups == c => Kind::Depthwise,
            groups => panic!("case {id}: {groups} groups of {c} channels have no kernel"),
        };
        let input = Shape::new(n, c, height, width);
        let conv = Conv2d::new(input, w.shape[0], size("kernel"), size("stride"), size("padding"))
            .unwrap_or_else(|e| panic!("case {id}: {e}"));
        let data = |name: &str| golden.data(&format!("{id}.{name}"));
        let operands = Operands { conv, kind, x: x.data, w: w.data, dy: data("gout") };
        compare(&operands, [&data("out"), &data("grad.x"), &data("grad.w")], &id);
    }
}

#[test]
fn golden_linear() {
    let golden = Golden::open("ops");
    for (id, _) in cases("linear") {
        let x = golden.tensor(&format!("{id}.in.x"));
        let w = golden.tensor(&format!("{id}.in.w"));
        let data = |name: &str| golden.data(&format!("{id}.{name}"));
        // A linear layer is a 1x1 convolution of one-pixel images; its bias is another kernel's.
        let conv = Conv2d::new(Shape::matrix(x.shape[0], x.shape[1]), w.shape[0], 1, 1, 0)
            .unwrap_or_else(|e| panic!("case {id}: {e}"));
        let negative: Vec<f64> = data("in.b").iter().map(|b| -b).collect();
        let y = elementwise::bias(&data("out"), &negative, 1);
        let operands = Operands { conv, kind: Kind::Dense, x: x.data, w: w.data, dy: data("gout") };
        compare(&operands, [&y, &data("grad.x"), &data("grad.w")], &id);
    }
}

#[test]
fn golden_matmul() {
    let golden = Golden::open("ops");
    for (id, _) in cases("matmul") {
        let [a, b, gout] = ["in.a", "in.b", "gout"].map(|name| golden.tensor(&format!("{id}.{name}")));
        for (name, layout, left, right) in [
            ("out", Layout::Nn, &a, &b),
            ("grad.a", Layout::Nt, &gout, &b),
            ("grad.b", Layout::Tn, &a, &gout),
        ] {
            let expected = golden.tensor(&format!("{id}.{name}"));
            let largest = |values: &[f64]| values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            let terms = if layout == Layout::Tn { left.shape[0] } else { left.shape[1] };
            let bound = golden_bound(terms) * terms as f64 * largest(&left.data) * largest(&right.data);
            for facts in classes() {
                let mut case = Case::with_facts(devices()[0], &facts);
                let matrix = |t: &common::Tensor| Shape::matrix(t.shape[0], t.shape[1]);
                let l = case.input("left", matrix(left), &left.data);
                let r = case.input("right", matrix(right), &right.data);
                let c = case.output("c", matrix(&expected));
                matmul(&mut case.recording, layout, 1, l, r, c);
                case.run().assert_close(c, &expected.data, |_| bound);
            }
        }
    }
}
