//! NT-Xent and InfoNCE against their f64 twins, in every kernel class. (`golden_ops_similarity.rs` compares them
//! with the stored reference values.)

mod common;
use common::gpu::{Case, Draw, every_class, gpu};
use contraleak::gpu::Facts;
use contraleak::kernels::{Shape, StepState, loss};
use contraleak::reference::loss as twin;
use contraleak::reference::loss::InfoNceQueue;
use contraleak::reference::matmul::{MatmulShape, matmul_nt};
use contraleak::reference::similarity::l2_normalize;

/// Half an ulp of one.
const U: f64 = 1.0 / (1 << 24) as f64;
const TEMPERATURES: [f64; 6] = [0.01, 0.05, 0.07, 0.1, 0.5, 1.0];

/// Error of one logit, and with it relative error of one exponential before its own rounding: the cosine (two
/// norms of `dim` squares, a sum of `dim` products) over the temperature, and the roundings of scale and shift.
fn logit_error(dim: usize, temperature: f64) -> f64 {
    let norm = (dim as f64 / 2.0 + 4.0) * U;
    (2.0 * norm + (dim as f64 + 14.0) * U) / temperature
}

/// Relative error of a softmax entry: its logit and the log-sum-exp of the row, whose `terms` exponentials are
/// within (3 + 2|x|) ulp (Vulkan's bound) for exponents |x| ≤ 2 log₂e/τ, and their sum.
fn weight_error(terms: usize, dim: usize, temperature: f64) -> f64 {
    let exponential = (3.0 + 4.0 * std::f64::consts::LOG2_E / temperature) * 2.0 * U;
    2.0 * (logit_error(dim, temperature) + exponential) + (terms as f64 + 16.0) * U
}

fn row_norms(values: &[f64], dim: usize) -> Vec<f64> {
    values.chunks(dim).map(|row| row.iter().map(|v| v * v).sum::<f64>().sqrt()).collect()
}

/// Bound of every element of a gradient row: `weights` is Σ_j |W_ij| + |positive's factor|, so that ĝ has at
/// most that length times `scale`; the projection and the division by the norm add a few roundings of sums.
fn gradient_bound(weights: f64, norm: f64, scale: f64, relative: f64, dim: usize, terms: usize) -> f64 {
    let roundings = (terms as f64 + 4.0 * dim as f64 + 40.0) * U;
    2.0 * (relative + roundings) * weights * scale / norm
}

/// 2N normally distributed-looking rows whose pairs are correlated, so that losses differ from chance.
fn projections(seed: u64, rows: usize, dim: usize) -> Vec<f64> {
    let mut draw = Draw(seed);
    let base: Vec<f64> = (0..rows / 2 * dim).map(|_| draw.unit()).collect();
    (0..rows * dim).map(|i| f64::from((base[i % base.len()] + 0.5 * draw.unit()) as f32) * 2.0).collect()
}

/// Loss and gradient of the device, their packed bits, under `facts`.
fn run_nt_xent(facts: &Facts, z: &[f64], dim: usize, temperature: f64) -> (f64, Vec<f64>, Vec<f32>) {
    let shape = Shape::matrix(z.len() / dim, dim);
    let mut case = Case::with_facts(gpu(), facts);
    let input = case.input("z", shape, z);
    let (mean, dz) = (case.output("loss", Shape::matrix(1, 1)), case.output("dz", shape));
    let saved =
        loss::nt_xent(&mut case.recording, input, temperature as f32, mean).unwrap_or_else(|e| panic!("{e}"));
    loss::nt_xent_grad(&mut case.recording, &saved, 0.75, dz).unwrap_or_else(|e| panic!("{e}"));
    let done = case.run();
    done.assert_close(mean, &done.values(mean), |_| 0.0);
    done.assert_close(dz, &done.values(dz), |_| 0.0);
    let bits = [done.packed(mean), done.packed(dz)].concat();
    (done.values(mean)[0], done.values(dz), bits)
}

/// Σ_j (P_ij + P_ji) for every row: the weights that its gradient adds.
fn nt_xent_weights(z: &[f64], dim: usize, temperature: f64) -> Vec<f64> {
    let rows = z.len() / dim;
    let unit = l2_normalize(z, dim);
    let mut logits = matmul_nt(&unit, &unit, MatmulShape { m: rows, n: rows, k: dim });
    for (i, s) in logits.iter_mut().enumerate() {
        *s = if i / rows == i % rows { f64::NEG_INFINITY } else { *s / temperature };
    }
    let p = twin::softmax(&logits, rows);
    (0..rows).map(|i| 1.0 + (0..rows).map(|j| p[j * rows + i]).sum::<f64>()).collect()
}

fn check_nt_xent(facts: &Facts, z: &[f64], dim: usize, temperature: f64) {
    // The twin gets the temperature that the kernels get.
    let temperature = f64::from(temperature as f32);
    let rows = z.len() / dim;
    let (mean, dz, _) = run_nt_xent(facts, z, dim, temperature);
    let label = format!("{:?}: 2N = {rows}, D = {dim}, τ = {temperature}", facts.class);
    let expected = twin::nt_xent(z, dim, temperature);
    let relative = weight_error(rows, dim, temperature);
    let bound = relative + (rows as f64 + 8.0) * U * expected.abs();
    assert!((mean - expected).abs() <= bound, "{label}: loss {mean}, expected {expected}, bound {bound:e}");
    let expected = twin::nt_xent_backward(z, dim, temperature, 0.75);
    let (weights, norms) = (nt_xent_weights(z, dim, temperature), row_norms(z, dim));
    let scale = 0.75 / (rows as f64 * temperature);
    for (i, (got, expected)) in dz.iter().zip(&expected).enumerate() {
        let row = i / dim;
        let bound = gradient_bound(weights[row] + 2.0, norms[row], scale, relative, dim, rows);
        let error = (got - expected).abs();
        assert!(error <= bound, "{label}: dz[{i}] {got}, expected {expected}, error {error:e} > {bound:e}");
    }
}

#[test]
fn nt_xent_matches_its_twin_in_every_class() {
    let mut draw = Draw(21);
    let mut sizes = vec![(2, 1), (2, 3), (4, 128), (62, 33), (64, 32), (66, 31), (200, 130)];
    sizes.extend((0..5).map(|_| (2 * draw.range(1, 100), draw.awkward(130))));
    for (rows, dim) in sizes {
        let z = projections(draw.bits(), rows, dim);
        for temperature in TEMPERATURES {
            for facts in every_class(gpu()) {
                check_nt_xent(&facts, &z, dim, temperature);
            }
        }
    }
}

#[test]
fn nt_xent_of_opposite_and_of_equal_rows_is_finite() {
    for temperature in TEMPERATURES {
        for facts in every_class(gpu()) {
            for sign in [1.0, -1.0] {
                // All cosines are 1, or partners are opposite: the ends of the logits' range.
                let z: Vec<f64> = (0..70 * 4).map(|i| if i < 35 * 4 { 1.0 } else { sign }).collect();
                check_nt_xent(&facts, &z, 4, temperature);
            }
            check_nt_xent(&facts, &[1.0, 2.0, -1.0, -2.0], 2, temperature);
        }
    }
}

/// More row blocks than column-sum slots: 2N = 4,128 makes groups of two, the last one incomplete.
#[test]
fn nt_xent_at_4128_rows_agrees_with_f64_sums() {
    let (rows, dim) = (4128, 128);
    let z = projections(5, rows, dim);
    let unit = l2_normalize(&z, dim);
    let cosine = |i: usize, j: usize| -> f64 {
        let (a, b) = (&unit[i * dim..(i + 1) * dim], &unit[j * dim..(j + 1) * dim]);
        let mut lanes = [0.0; 8];
        for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
            for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
                *lane += a * b;
            }
        }
        lanes.iter().sum()
    };
    for temperature in [0.5, 0.02] {
        let temperature = f64::from(temperature as f32);
        // Relative to the largest possible logit, f64 has range enough.
        let mut sums = vec![0.0; rows];
        for i in 0..rows {
            for j in i + 1..rows {
                let e = ((cosine(i, j) - 1.0) / temperature).exp();
                sums[i] += e;
                sums[j] += e;
            }
        }
        let partner = |i: usize| (i + rows / 2) % rows;
        let terms = (0..rows).map(|i| sums[i].ln() - (cosine(i, partner(i)) - 1.0) / temperature);
        let expected = terms.sum::<f64>() / rows as f64;
        let (mean, dz, _) = run_nt_xent(gpu().facts(), &z, dim, temperature);
        let relative = weight_error(rows, dim, temperature);
        let bound = relative + (rows as f64 + 8.0) * U * expected;
        assert!((mean - expected).abs() <= bound, "τ {temperature}: loss {mean}, expected {expected}");
        let scale = 0.75 / (rows as f64 * temperature);
        for row in [0, 31, 32, 63, 64, 2063, 2064, 4095, 4096, 4127] {
            let own = &unit[row * dim..(row + 1) * dim];
            let mut gradient: Vec<f64> = unit[partner(row) * dim..][..dim].iter().map(|v| -2.0 * v).collect();
            let mut weights = 2.0;
            for j in (0..rows).filter(|&j| j != row) {
                let weight = ((cosine(row, j) - 1.0) / temperature).exp() * (1.0 / sums[row] + 1.0 / sums[j]);
                weights += weight;
                gradient.iter_mut().zip(&unit[j * dim..]).for_each(|(g, v)| *g += weight * v);
            }
            let along: f64 = gradient.iter().zip(own).map(|(g, v)| g * v).sum();
            let norm = row_norms(&z[row * dim..(row + 1) * dim], dim)[0];
            let bound = gradient_bound(weights, norm, scale, relative, dim, rows);
            for d in 0..dim {
                let expected = scale * (gradient[d] - own[d] * along) / norm;
                let got = dz[row * dim + d];
                assert!(
                    (got - expected).abs() <= bound,
                    "τ {temperature}: dz[{row}, {d}] {got}, expected {expected}, bound {bound:e}"
                );
            }
        }
    }
}

#[test]
fn two_runs_give_equal_bits() {
    let z = projections(6, 518, 65);
    for temperature in [0.02, 0.5] {
        for facts in every_class(gpu()) {
            let bits = |(_, _, packed): (f64, Vec<f64>, Vec<f32>)| -> Vec<u32> {
                packed.into_iter().map(f32::to_bits).collect()
            };
            let first = bits(run_nt_xent(&facts, &z, 65, temperature));
            assert_eq!(first, bits(run_nt_xent(&facts, &z, 65, temperature)), "{:?}", facts.class);
        }
    }
}

/// Σ_j p_ij + (1 − p_i0) for every query is at most 2; see `gradient_bound`.
const INFO_NCE_WEIGHTS: f64 = 2.0;

fn check_info_nce(facts: &Facts, seed: u64, [rows, length, dim]: [usize; 3], temperature: f64) {
    let temperature = f64::from(temperature as f32);
    let mut case = Case::with_facts(gpu(), facts);
    let shape = Shape::matrix(rows, dim);
    let (q, q_values) = case.random("q", shape, seed, 2.0);
    let (k, k_values) = case.random("k", shape, seed, 0.5);
    let mut draw = Draw(seed);
    let raw: Vec<f64> = (0..length * dim).map(|_| draw.unit()).collect();
    let queue_values: Vec<f64> = l2_normalize(&raw, dim).iter().map(|&v| f64::from(v as f32)).collect();
    let queue = case.input("queue", Shape::matrix(length, dim), &queue_values);
    let (mean, dq) = (case.output("loss", Shape::matrix(1, 1)), case.output("dq", shape));
    let saved = loss::info_nce(&mut case.recording, q, k, queue, temperature as f32, mean)
        .unwrap_or_else(|e| panic!("{e}"));
    loss::info_nce_grad(&mut case.recording, &saved, 1.5, dq).unwrap_or_else(|e| panic!("{e}"));
    let done = case.run();
    let x = InfoNceQueue { q: &q_values, k: &k_values, queue: &queue_values, dim, temperature };
    let expected = twin::info_nce_queue(x);
    // The twin normalises the queue again, which moves its rows by the rounding of their norms.
    let relative = weight_error(length + 1, dim, temperature) + 4.0 * U / temperature;
    done.assert_close(mean, &[expected], |_| relative + (rows as f64 + 8.0) * U * expected.abs());
    let norms = row_norms(&q_values, dim);
    let scale = 1.5 / (rows as f64 * temperature);
    done.assert_close(dq, &twin::info_nce_queue_backward(x, 1.5), |i| {
        gradient_bound(INFO_NCE_WEIGHTS, norms[i / dim], scale, relative, dim, length)
    });
}

#[test]
fn info_nce_matches_its_twin_in_every_class() {
    let mut draw = Draw(22);
    let mut sizes = vec![[1, 1, 1], [33, 32, 128], [5, 700, 65], [2, 31, 3]];
    sizes.extend((0..5).map(|_| [draw.awkward(65), draw.range(1, 300), draw.awkward(130)]));
    for size in sizes {
        let seed = draw.bits();
        for temperature in TEMPERATURES {
            for facts in every_class(gpu()) {
                check_info_nce(&facts, seed, size, temperature);
            }
        }
    }
}

#[test]
fn queue_update_writes_normalised_keys_at_the_pointer() {
    for (rows, length, dim, pointer) in [(4, 12, 5, 8), (3, 3, 1, 0), (65, 195, 33, 65), (4, 12, 5, 10)] {
        let mut case = Case::new(gpu());
        let (k, k_values) = case.random("k", Shape::matrix(rows, dim), pointer as u64, 3.0);
        let mut expected: Vec<f64> = (0..length * dim).map(|i| i as f64).collect();
        let queue = case.in_out("queue", Shape::matrix(length, dim), &expected);
        let state = StepState { queue_pointer: pointer as u32, ..StepState::default() };
        let state = case.words("state", Shape::matrix(1, 16), &[state]);
        loss::queue_update(&mut case.recording, k, state.slice, queue).unwrap_or_else(|e| panic!("{e}"));
        for (i, row) in l2_normalize(&k_values, dim).chunks(dim).enumerate() {
            let to = (pointer + i) % length * dim;
            expected[to..to + dim].copy_from_slice(row);
        }
        // Rows that are not overwritten keep their bits; those that are, are at most 1 and within a few roundings.
        let written = |i: usize| (i / dim + length - pointer) % length < rows;
        let bound = |i: usize| if written(i) { (dim as f64 / 2.0 + 6.0) * U } else { 0.0 };
        case.run().assert_close(queue, &expected, bound);
    }
}

#[test]
fn wrong_shapes_and_temperatures_are_errors() {
    let mut case = Case::new(gpu());
    let (odd, _) = case.random("odd", Shape::matrix(3, 4), 1, 1.0);
    let (z, _) = case.random("z", Shape::matrix(4, 4), 1, 1.0);
    let mean = case.output("loss", Shape::matrix(1, 1));
    let recording = &mut case.recording;
    let message = |e: contraleak::Error| e.to_string();
    assert!(loss::nt_xent(recording, odd, 0.5, mean).is_err_and(|e| message(e).contains("even")));
    for temperature in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let result = loss::nt_xent(recording, z, temperature, mean);
        assert!(result.is_err_and(|e| message(e).contains("temperature")));
    }
    let result = loss::info_nce(recording, z, odd, z, 0.5, mean);
    assert!(result.is_err_and(|e| message(e).contains("[3, 4]")));
    let saved = loss::nt_xent(recording, z, 0.5, mean).unwrap_or_else(|e| panic!("{e}"));
    assert!(loss::nt_xent_grad(recording, &saved, 1.0, odd).is_err_and(|e| message(e).contains("[3, 4]")));
    let state = case.words("state", Shape::matrix(1, 16), &[StepState::default()]);
    let result = loss::queue_update(&mut case.recording, odd, state.slice, z);
    assert!(result.is_err_and(|e| message(e).contains("multiple")));
}

#[test]
fn subgroups_of_four_match_their_twins() {
    common::gpu::pass_with_subgroups_of_four(&[
        "nt_xent_matches_its_twin_in_every_class",
        "nt_xent_of_opposite_and_of_equal_rows_is_finite",
        "nt_xent_at_4128_rows_agrees_with_f64_sums",
        "two_runs_give_equal_bits",
        "info_nce_matches_its_twin_in_every_class",
    ]);
}
