//! Normalisation, cosine matrices and pairwise features against their f64 twins, in every kernel class.

mod common;
use common::gpu::{Case, Draw, every_class, gpu};
use contraleak::kernels::Shape;
use contraleak::kernels::similarity::{self, Similarity};
use contraleak::reference::similarity as twin;

/// Half an ulp of one.
const U: f64 = 1.0 / (1 << 24) as f64;

/// Relative error of the f32 norm of `dim` values: a sum of positive terms, halved by the root, and one more
/// rounding or two of the root itself.
fn norm_error(dim: usize) -> f64 {
    (dim as f64 / 2.0 + 4.0) * U
}

/// Matrices with awkward sizes.
fn matrices(seed: u64, count: usize) -> Vec<(u64, Shape)> {
    let mut draw = Draw(seed);
    (0..count).map(|_| (draw.bits(), Shape::matrix(draw.awkward(129), draw.awkward(130)))).collect()
}

#[test]
fn l2_normalize_and_its_gradient_match_their_twins() {
    for (seed, shape) in matrices(11, 12) {
        let dim = shape.c;
        let mut case = Case::new(gpu());
        let (x, x_values) = case.random("x", shape, seed, 3.0);
        let (dy, dy_values) = case.random("dy", shape, seed, 1.0);
        let (y, dx) = (case.output("y", shape), case.output("dx", shape));
        let norms = case.recording.transient("norms", shape.n as u64 * 4);
        similarity::l2_normalize(&mut case.recording, x, y, norms);
        similarity::l2_normalize_grad(&mut case.recording, y, norms, dy, dx);
        let done = case.run();
        let expected = twin::l2_normalize(&x_values, dim);
        done.assert_close(y, &expected, |i| (norm_error(dim) + 2.0 * U) * expected[i].abs());
        let expected = twin::l2_normalize_backward(&x_values, &dy_values, dim);
        done.assert_close(dx, &expected, |i| {
            let row = i / dim * dim..(i / dim + 1) * dim;
            let norm = x_values[row.clone()].iter().map(|v| v * v).sum::<f64>().sqrt();
            let size = dy_values[row].iter().map(|v| v * v).sum::<f64>().sqrt();
            // Of dy − y (y·dy): each of the three factors' errors, relative to at most |dy|.
            (4.0 * norm_error(dim) + (dim as f64 + 6.0) * U) * size / norm
        });
    }
}

#[test]
fn a_row_of_zeros_has_norm_1e_12() {
    let shape = Shape::matrix(3, 5);
    let mut values = vec![0.0; 15];
    values[10] = 2.0;
    let mut case = Case::new(gpu());
    let x = case.input("x", shape, &values);
    let dy = case.input("dy", shape, &[1.0; 15]);
    let (y, dx) = (case.output("y", shape), case.output("dx", shape));
    let norms = case.recording.transient("norms", 16);
    similarity::l2_normalize(&mut case.recording, x, y, norms);
    similarity::l2_normalize_grad(&mut case.recording, y, norms, dy, dx);
    let done = case.run();
    done.assert_close(y, &twin::l2_normalize(&values, 5), |_| 0.0);
    let expected = twin::l2_normalize_backward(&values, &[1.0; 15], 5);
    done.assert_close(dx, &expected, |i| 2.0 * U * expected[i].abs());
}

#[test]
fn cosine_matrix_matches_its_twin_in_every_class() {
    let mut draw = Draw(12);
    for _ in 0..10 {
        let (n, m, dim) = (draw.awkward(129), draw.awkward(129), draw.awkward(130));
        let seed = draw.bits();
        for facts in every_class(gpu()) {
            let mut case = Case::with_facts(gpu(), &facts);
            let (a, a_values) = case.random("a", Shape::matrix(n, dim), seed, 2.0);
            let (b, b_values) = case.random("b", Shape::matrix(m, dim), seed, 0.5);
            let y = case.output("y", Shape::matrix(n, m));
            similarity::cosine_similarity_matrix(&mut case.recording, a, b, y)
                .unwrap_or_else(|e| panic!("{e}"));
            let expected = twin::cosine_similarity_matrix(&a_values, &b_values, dim);
            // Σ|â b̂| ≤ 1, with the errors of both normalisations and of the sum.
            let bound = 2.0 * norm_error(dim) + (dim as f64 + 6.0) * U;
            case.run().assert_close(y, &expected, |_| bound);
        }
    }
}

#[test]
fn pairwise_features_match_their_twin() {
    let mut draw = Draw(13);
    let mut settings = vec![(2, 2, 1), (3, 64, 9), (5, 10, 512), (1, 3, 3)];
    settings.extend((0..6).map(|_| (draw.range(1, 20), draw.range(2, 20), draw.awkward(130))));
    for (images, views, dim) in settings {
        let pairs = views * (views - 1) / 2;
        let seed = draw.bits();
        for (kind, twin_kind) in [
            (Similarity::Cosine, twin::Similarity::Cosine),
            (Similarity::Euclidean, twin::Similarity::Euclidean),
            (Similarity::Pearson, twin::Similarity::Pearson),
        ] {
            // A vector of one coordinate has nothing left once its mean is gone: 0 divided by 0 but for rounding.
            if dim == 1 && kind == Similarity::Pearson {
                continue;
            }
            for ascending in [false, true] {
                let mut case = Case::new(gpu());
                let (x, values) = case.random("x", Shape::matrix(images * views, dim), seed, 2.0);
                let features = case.output("features", Shape::matrix(images, pairs));
                let means = case.output("means", Shape::matrix(images, 1));
                similarity::pairwise_features(
                    &mut case.recording,
                    x,
                    views,
                    kind,
                    ascending,
                    features,
                    means,
                )
                .unwrap_or_else(|e| panic!("{e}"));
                let expected = twin::pairwise_features(&values, views, dim, twin_kind, ascending);
                let bound = pair_bound(&values, views, dim, kind);
                let done = case.run();
                // Sorting moves no element further than the largest error.
                done.assert_close(features, &expected, |i| bound[i / pairs]);
                let mean: Vec<f64> =
                    expected.chunks(pairs).map(|row| row.iter().sum::<f64>() / pairs as f64).collect();
                let size: Vec<f64> = expected
                    .chunks(pairs)
                    .map(|row| row.iter().map(|v| v.abs()).sum::<f64>() / pairs as f64)
                    .collect();
                done.assert_close(means, &mean, |i| bound[i] + (pairs as f64 + 2.0) * U * size[i]);
            }
        }
    }
}

/// The largest error of one similarity of each image.
fn pair_bound(values: &[f64], views: usize, dim: usize, kind: Similarity) -> Vec<f64> {
    let sum = (dim as f64 + 6.0) * U;
    values
        .chunks(views * dim)
        .map(|image| match kind {
            Similarity::Cosine => 2.0 * norm_error(dim) + sum,
            // ‖u − v‖: differences round once each, then a norm.
            Similarity::Euclidean => {
                let largest = image.chunks(dim).map(|v| v.iter().map(|x| x * x).sum::<f64>().sqrt());
                (norm_error(dim) + U) * 2.0 * largest.fold(0.0, f64::max)
            }
            // The mean is off by (dim + 2) U Σ|x| / dim, at every coordinate; relative to the centred norm.
            Similarity::Pearson => {
                let worst = image.chunks(dim).map(|v| {
                    let mean = v.iter().sum::<f64>() / dim as f64;
                    let centred = v.iter().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt();
                    let absolute = v.iter().map(|x| x.abs()).sum::<f64>() / dim as f64;
                    let largest = v.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
                    (sum * absolute + U * (largest + mean.abs())) * (dim as f64).sqrt() / centred
                });
                2.0 * norm_error(dim) + sum + 4.0 * worst.fold(0.0, f64::max)
            }
        })
        .collect()
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let mut case = Case::new(gpu());
    let (a, _) = case.random("a", Shape::matrix(4, 8), 1, 1.0);
    let (b, _) = case.random("b", Shape::matrix(4, 7), 1, 1.0);
    let y = case.output("y", Shape::matrix(4, 4));
    let means = case.output("means", Shape::matrix(2, 1));
    let error = similarity::cosine_similarity_matrix(&mut case.recording, a, b, y);
    assert!(error.is_err_and(|e| e.to_string().contains("[4, 8] and [4, 7]")));
    for views in [0, 1, 3, 65] {
        let result =
            similarity::pairwise_features(&mut case.recording, a, views, Similarity::Cosine, false, y, means);
        assert!(result.is_err_and(|e| e.to_string().contains("views")), "{views} views");
    }
}

#[test]
fn subgroups_of_four_match_their_twins() {
    common::gpu::pass_with_subgroups_of_four(&["cosine_matrix_matches_its_twin_in_every_class"]);
}
