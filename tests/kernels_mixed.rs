//! Products whose operands are rounded to f16 and whose sums are in f32, against the f64 twins: on plain arithmetic on whatever
//! adapter there is, on cooperative matrices where an adapter has them.

mod common;
use common::dense::{EVERY_DIRECTION, Kind, Operands, assert_within, devices, random_convs, tiled_classes};
use common::gpu::{Case, Draw};
use contraleak::Error;
use contraleak::gpu::{Facts, Gpu, GpuOptions, Products};
use contraleak::kernels::Shape;
use contraleak::kernels::conv::Conv2d;
use contraleak::kernels::matmul::{Layout, matmul};
use contraleak::reference::matmul::{MatmulShape, Transpose, matmul_batched};
use half::f16;
use std::io::Write;
use std::sync::OnceLock;

const LAYOUTS: [(Layout, Transpose); 3] =
    [(Layout::Nn, Transpose::Nn), (Layout::Nt, Transpose::Nt), (Layout::Tn, Transpose::Tn)];

/// A device with the facts that make its kernels round operands, and how far a sum of some terms may be off relative to the
/// sum of their magnitudes.
struct Rounding {
    gpu: &'static Gpu,
    facts: Facts,
    sum_bound: fn(usize) -> f64,
}

/// Every way here to multiply rounded operands. Says on stderr which one this machine cannot run.
fn roundings() -> Vec<Rounding> {
    let mut all = Vec::new();
    for gpu in devices() {
        for facts in tiled_classes(gpu) {
            let facts = Facts { products: Products::Rounded, ..facts };
            all.push(Rounding { gpu, facts, sum_bound: common::dense::sum_bound });
        }
    }
    if let Some(gpu) = cooperative() {
        // Matrix units align and cut the terms of a sum before they add them: two bits more than an ordered sum in f32.
        let sum_bound = |terms| 4.0 * common::dense::sum_bound(terms);
        all.push(Rounding { gpu, facts: gpu.facts().clone(), sum_bound });
    }
    all
}

/// The adapter with its cooperative matrices in use, if it has them.
fn cooperative() -> Option<&'static Gpu> {
    static GPU: OnceLock<Option<Gpu>> = OnceLock::new();
    let options = GpuOptions { checked: true, mixed_precision: true, ..GpuOptions::default() };
    let open = || match Gpu::open(&options) {
        Ok(gpu) => Some(gpu),
        Err(Error::Usage(reason)) => {
            // Past the capture of output, which would hide it where the rest passes.
            let _ = writeln!(std::io::stderr(), "NOT RUN on cooperative matrices: {reason}");
            None
        }
        Err(error) => panic!("{error}"),
    };
    GPU.get_or_init(open).as_ref()
}

fn rounded(values: &[f64]) -> Vec<f64> {
    values.iter().map(|&v| f16::from_f32(v as f32).to_f64()).collect()
}

fn magnitudes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| v.abs()).collect()
}

/// What rounding the operands of Σ a·b changes at most, relative to Σ |a|·|b|: (1 + u)² − 1 with u = 2⁻¹¹, and for operands below 2⁻¹⁴, which
/// f16 has in steps of 2⁻²⁴, half a step a term and operand of at most 1.
fn rounding_bound(magnitudes: f64, terms: usize) -> f64 {
    let u = 2f64.powi(-11);
    (2.0 * u + u * u) * magnitudes + terms as f64 * 2.0 * 2f64.powi(-25)
}

#[test]
fn operands_are_rounded_to_the_nearest_number_of_f16() {
    let mut values: Vec<f32> =
        vec![0.0, -0.0, 1.0, 65_504.0, 65_519.996, 65_520.0, -65_520.0, 1e30, f32::INFINITY];
    // Ties and their neighbours at every exponent of f16, subnormal ones included.
    for exponent in -27..16 {
        for significand in [1.0, 1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11), 1.5, 2.0 - 2f32.powi(-11)]
        {
            let value = significand * 2f32.powi(exponent);
            values.extend([
                value,
                -value,
                f32::from_bits(value.to_bits() + 1),
                f32::from_bits(value.to_bits() - 1),
            ]);
        }
    }
    let mut draw = Draw(5);
    values.extend((0..2000).map(|_| (draw.unit() * 2f64.powf(draw.unit() * 30.0)) as f32));
    let expected: Vec<f32> = values.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
    for Rounding { gpu, facts, .. } in roundings() {
        // A column times one, as the left and as the right operand.
        for left in [true, false] {
            let mut case = Case::with_facts(gpu, &facts);
            let wide: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            let x = case.input("x", Shape::matrix(values.len(), 1), &wide);
            let one = case.input("one", Shape::matrix(1, 1), &[1.0]);
            let (a, b, shape) = match left {
                true => (x, one, Shape::matrix(values.len(), 1)),
                false => (one, x, Shape::matrix(1, values.len())),
            };
            let c = case.output("c", shape);
            matmul(&mut case.recording, Layout::Nt, 1, a, b, c);
            let got = case.run().values(c);
            for ((value, got), expected) in values.iter().zip(got).zip(&expected) {
                assert!(
                    got == f64::from(*expected),
                    "{value:e} became {got:e} instead of {expected:e}, {:?}",
                    facts.products
                );
            }
        }
    }
}

#[test]
fn an_operand_that_is_no_number_stays_none() {
    for Rounding { gpu, facts, .. } in roundings() {
        let mut case = Case::with_facts(gpu, &facts);
        let x = case.words("x", Shape::matrix(1, 1), &[f32::NAN, 0.0, 0.0, 0.0]);
        let one = case.input("one", Shape::matrix(1, 1), &[1.0]);
        let c = case.output("c", Shape::matrix(1, 1));
        matmul(&mut case.recording, Layout::Nt, 1, x, one, c);
        assert!(!case.run().values(c)[0].is_finite(), "{:?}", facts.products);
    }
}

#[test]
fn products_match_the_twin_of_rounded_operands_and_stay_near_the_exact_ones() {
    let mut draw = Draw(8);
    let mut shapes: Vec<(MatmulShape, usize)> = (0..12)
        .map(|_| {
            let shape = MatmulShape { m: draw.awkward(129), n: draw.awkward(129), k: draw.awkward(129) };
            (shape, draw.range(1, 4))
        })
        .collect();
    // Every tile of a large adapter.
    for (m, n, k, batch) in [(509, 511, 5, 8), (2045, 61, 19, 8), (1021, 62, 7, 8), (31, 33, 65, 3)] {
        shapes.push((MatmulShape { m, n, k }, batch));
    }
    for (seed, (shape, batch)) in shapes.into_iter().enumerate() {
        for (layout, transpose) in LAYOUTS {
            let MatmulShape { m, n, k } = shape;
            let [of_a, of_b] = match layout {
                Layout::Nn => [(m, k), (k, n)],
                Layout::Nt => [(m, k), (n, k)],
                Layout::Tn => [(k, m), (k, n)],
            }
            .map(|(rows, columns)| Shape::matrix(batch * rows, columns));
            for Rounding { gpu, facts, sum_bound } in roundings() {
                let mut case = Case::with_facts(gpu, &facts);
                let (a, a_values) = case.random("a", of_a, seed as u64, 1.0);
                let (b, b_values) = case.random("b", of_b, seed as u64, 1.0);
                let c = case.output("c", Shape::matrix(batch * m, n));
                matmul(&mut case.recording, layout, batch, a, b, c);
                let done = case.run();
                let twin = |a: &[f64], b: &[f64]| matmul_batched(transpose, a, b, batch, shape);
                let sizes = twin(&magnitudes(&a_values), &magnitudes(&b_values));
                let near = twin(&rounded(&a_values), &rounded(&b_values));
                // Rounding moves Σ |a|·|b| by less than a thousandth.
                done.assert_close(c, &near, |i| 1.001 * sum_bound(k) * sizes[i]);
                let label = format!("{layout:?} {shape:?} {:?}", facts.products);
                let exact = twin(&a_values, &b_values);
                assert_within(&label, &done.values(c), &exact, |i| {
                    1.001 * sum_bound(k) * sizes[i] + rounding_bound(sizes[i], k)
                });
            }
        }
    }
}

#[test]
fn convolutions_match_the_twins_of_rounded_operands() {
    let conv = |input, channels, kernel, stride, padding| {
        Conv2d::new(input, channels, kernel, stride, padding).unwrap_or_else(|e| panic!("{e}"))
    };
    let mut convs = random_convs(23, 14, Kind::Dense);
    // A linear layer, a stem, tiles of all sizes, strides that skip pixels.
    convs.extend([
        conv(Shape::matrix(37, 130), 65, 1, 1, 0),
        conv(Shape::new(2, 3, 17, 16), 33, 7, 2, 3),
        conv(Shape::new(4, 3, 63, 65), 127, 1, 1, 0),
        conv(Shape::new(4, 61, 63, 66), 2, 3, 2, 1),
        conv(Shape::new(2, 5, 9, 11), 6, 1, 3, 0),
    ]);
    for (seed, conv) in convs.into_iter().enumerate() {
        let operands = Operands::random(conv, Kind::Dense, seed as u64);
        let [x, w, dy] = [&operands.x, &operands.w, &operands.dy].map(|values| rounded(values));
        let near = Operands { conv, kind: Kind::Dense, x, w, dy }.checker_within(&EVERY_DIRECTION);
        for Rounding { gpu, facts, sum_bound } in roundings() {
            let results = operands.run(gpu, &facts, &EVERY_DIRECTION, |d| {
                let on = |name: &str| common::dense::define(d, name).is_some();
                let products = d.shader.starts_with("conv/");
                assert_eq!(products, on("ROUNDED") || on("COOPERATIVE"), "{}", d.shader);
            });
            near(&results, &format!("{:?}", facts.products), sum_bound);
        }
    }
}
