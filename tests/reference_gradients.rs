//! The backward half of every reference function against central differences of its forward half, on
//! seeded random shapes.

mod common;

use common::{assert_close, random, random_sizes};
use contraleak::reference::conv::{ConvShape, conv2d, conv2d_grad_input, conv2d_grad_weight};
use contraleak::reference::elementwise::{self, Activation, Dropout};
use contraleak::reference::loss::{self, InfoNceQueue};
use contraleak::reference::matmul::{
    MatmulShape, Transpose, matmul_batched, matmul_nn, matmul_nt, matmul_tn,
};
use contraleak::reference::norm::{self, BatchNormLayer, BatchNormShape};
use contraleak::reference::pool::{self, PoolShape};
use contraleak::reference::reduce::{self, SetShape};
use contraleak::reference::{optim, similarity};
use contraleak::rng::{Key, Stream};

/// Random shapes tried for each function.
const TRIES: u64 = 12;
/// Distance of the points of a difference; its fourth power is the error of the difference.
const STEP: f64 = 5e-5;
const TOLERANCE: f64 = 1e-8;

/// Compares `grad` with the differences of Σ gout·forward(x) in each coordinate of x.
#[track_caller]
fn check(label: &str, x: &[f64], gout: &[f64], grad: &[f64], forward: impl Fn(&[f64]) -> Vec<f64>) {
    let value = |x: &[f64]| -> f64 {
        let out = forward(x);
        assert_eq!(out.len(), gout.len(), "{label}: length of the result");
        out.iter().zip(gout).map(|(o, g)| o * g).sum()
    };
    let mut x = x.to_vec();
    let differences: Vec<f64> = (0..x.len())
        .map(|i| {
            let centre = x[i];
            let mut at = |offset: f64| {
                x[i] = centre + offset * STEP;
                value(&x)
            };
            let difference = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * STEP);
            x[i] = centre;
            difference
        })
        .collect();
    assert_close(label, grad, &differences, TOLERANCE);
}

/// Distinct values at least 1e-3 apart and away from 0, for functions with corners.
fn distinct(seed: u64, count: usize) -> Vec<f64> {
    let order = contraleak::rng::permutation(Key::from_seed(seed), count);
    order.iter().map(|&i| (i as f64 + 0.5) / count as f64 * 2.0 - 1.0 + 1e-4).collect()
}

#[test]
fn matmul() {
    for seed in 0..TRIES {
        let sizes = random_sizes(seed, 4, 1, 7);
        let shape = MatmulShape { m: sizes[0], n: sizes[1], k: sizes[2] };
        let MatmulShape { m, n, k } = shape;
        let (a, b, gout) = (random(seed + 100, m * k), random(seed + 200, k * n), random(seed + 300, m * n));
        let grad_a = matmul_nt(&gout, &b, MatmulShape { m, n: k, k: n });
        check("nn by a", &a, &gout, &grad_a, |a| matmul_nn(a, &b, shape));
        let grad_b = matmul_tn(&a, &gout, MatmulShape { m: k, n, k: m });
        check("nn by b", &b, &gout, &grad_b, |b| matmul_nn(&a, b, shape));
        let grad_a = matmul_nn(&gout, &b, MatmulShape { m, n: k, k: n });
        check("nt by a", &a, &gout, &grad_a, |a| matmul_nt(a, &b, shape));
        let grad_b = matmul_tn(&gout, &a, MatmulShape { m: n, n: k, k: m });
        check("nt by b", &b, &gout, &grad_b, |b| matmul_nt(&a, b, shape));

        let batch = sizes[3];
        let (a, b) = (random(seed + 400, batch * m * k), random(seed + 500, batch * k * n));
        type Single = fn(&[f64], &[f64], MatmulShape) -> Vec<f64>;
        let kinds: [(Transpose, Single); 3] =
            [(Transpose::Nn, matmul_nn), (Transpose::Nt, matmul_nt), (Transpose::Tn, matmul_tn)];
        for (transpose, single) in kinds {
            let each = a.chunks(m * k).zip(b.chunks(k * n)).flat_map(|(a, b)| single(a, b, shape));
            assert_eq!(matmul_batched(transpose, &a, &b, batch, shape), each.collect::<Vec<_>>());
        }
    }
}

#[test]
fn convolution() {
    for seed in 0..TRIES {
        let sizes = random_sizes(seed, 8, 1, 3);
        let groups = sizes[0];
        let kernel = sizes[1];
        let shape = ConvShape {
            batch: sizes[2],
            in_channels: groups * sizes[3],
            height: kernel + sizes[4],
            width: kernel + sizes[5],
            out_channels: groups * sizes[6],
            kernel,
            stride: sizes[7],
            padding: (seed as usize + kernel) % (kernel + 1),
            groups,
        };
        let (x, w) = (random(seed + 100, shape.input_len()), random(seed + 200, shape.weight_len()));
        let gout = random(seed + 300, shape.output_len());
        let label = format!("{shape:?}");
        check(&label, &x, &gout, &conv2d_grad_input(&gout, &w, shape), |x| conv2d(x, &w, shape));
        check(&label, &w, &gout, &conv2d_grad_weight(&gout, &x, shape), |w| conv2d(&x, w, shape));
    }
}

#[test]
fn batch_norm() {
    for seed in 0..TRIES {
        let sizes = random_sizes(seed, 4, 1, 4);
        let splits = 1 + seed as usize % 3;
        let shape = BatchNormShape {
            batch: splits * (1 + sizes[0]),
            channels: sizes[1],
            spatial: 1 + sizes[2],
            splits,
        };
        let count = shape.batch * shape.channels * shape.spatial;
        let (x, gout, residual) = (random(seed + 1, count), random(seed + 2, count), random(seed + 3, count));
        let (weight, bias) = (random(seed + 4, shape.channels), random(seed + 5, shape.channels));
        let (mean, variance) = (random(seed + 6, shape.channels), vec![0.7; shape.channels]);
        for activation in [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::Tanh] {
            let layer = BatchNormLayer { weight: &weight, bias: &bias, eps: 1e-5, activation };
            let label = format!("{shape:?} {activation:?}");
            let forward = |x: &[f64], residual: &[f64], layer: BatchNormLayer| {
                norm::batch_norm_train(x, Some(residual), layer, shape).expect("at least two values").0
            };
            let (out, statistics) =
                norm::batch_norm_train(&x, Some(&residual), layer, shape).expect("at least two values");
            let grads = norm::batch_norm_train_backward(&x, &out, &gout, layer, &statistics, shape);
            check(&label, &x, &gout, &grads.x, |x| forward(x, &residual, layer));
            check(&label, &residual, &gout, &grads.residual, |r| forward(&x, r, layer));
            check(&label, &weight, &gout, &grads.weight, |weight| {
                forward(&x, &residual, BatchNormLayer { weight, ..layer })
            });
            check(&label, &bias, &gout, &grads.bias, |bias| {
                forward(&x, &residual, BatchNormLayer { bias, ..layer })
            });

            let forward = |x: &[f64]| norm::batch_norm_eval(x, None, layer, &mean, &variance, shape);
            let out = forward(&x);
            let grads = norm::batch_norm_eval_backward(&x, &out, &gout, layer, &mean, &variance, shape);
            check(&format!("eval {label}"), &x, &gout, &grads.x, forward);
        }
    }
}

#[test]
fn split_batch_norm_is_batch_norm_of_every_sth_sample() {
    let (splits, channels, spatial) = (3, 4, 5);
    let whole = BatchNormShape { batch: 6, channels, spatial, splits };
    let part = BatchNormShape { batch: 2, splits: 1, ..whole };
    let x = random(1, 6 * channels * spatial);
    let (weight, bias) = (random(2, channels), random(3, channels));
    let layer = BatchNormLayer { weight: &weight, bias: &bias, eps: 1e-5, activation: Activation::Relu };
    let (out, statistics) = norm::batch_norm_train(&x, None, layer, whole).expect("at least two values");
    let (mut mean, mut variance) = (vec![0.0; channels], vec![1.0; channels]);
    norm::batch_norm_update_running(&mut mean, &mut variance, &statistics, 0.1, whole);

    let row = channels * spatial;
    let (mut mean_of_parts, mut variance_of_parts) = (vec![0.0; channels], vec![0.0; channels]);
    for split in 0..splits {
        let gather = |all: &[f64]| -> Vec<f64> {
            all.chunks(row).skip(split).step_by(splits).flatten().copied().collect()
        };
        let (part_out, statistics) =
            norm::batch_norm_train(&gather(&x), None, layer, part).expect("at least two values");
        assert_close("split", &gather(&out), &part_out, 1e-14);
        let (mut m, mut v) = (vec![0.0; channels], vec![1.0; channels]);
        norm::batch_norm_update_running(&mut m, &mut v, &statistics, 0.1, part);
        for c in 0..channels {
            mean_of_parts[c] += m[c] / splits as f64;
            variance_of_parts[c] += v[c] / splits as f64;
        }
    }
    assert_close("running mean", &mean, &mean_of_parts, 1e-14);
    assert_close("running variance", &variance, &variance_of_parts, 1e-14);

    let message = |shape| norm::batch_norm_statistics(&x, shape).map_err(|e| e.to_string());
    let uneven = message(BatchNormShape { splits: 4, ..whole });
    assert!(uneven.is_err_and(|m| m.contains("a batch of 6 cannot be split into 4")));
    let single = BatchNormShape { batch: 1, channels: 120, spatial: 1, splits: 1 };
    assert!(message(single).is_err_and(|m| m.contains("1 value per channel")));
}

#[test]
fn activations_and_dropout() {
    for seed in 0..TRIES {
        let count = 40 + seed as usize;
        // Wide enough to pass both corners of relu6.
        let x: Vec<f64> = distinct(seed, count).iter().map(|x| 9.0 * x).collect();
        let gout = random(seed + 1, count);
        let back = elementwise::relu_backward(&elementwise::relu(&x), &gout);
        check("relu", &x, &gout, &back, elementwise::relu);
        let back = elementwise::relu6_backward(&elementwise::relu6(&x), &gout);
        check("relu6", &x, &gout, &back, elementwise::relu6);
        let back = elementwise::tanh_backward(&elementwise::tanh(&x), &gout);
        check("tanh", &x, &gout, &back, elementwise::tanh);

        let b = random(seed + 2, 5);
        let (x, gout) = (&x[..40], &gout[..40]);
        check("bias", &b, gout, &reduce::channel_sums(gout, 5, 2), |b| elementwise::bias(x, b, 2));
        check("add", x, gout, gout, |x| elementwise::add(x, gout));
        check("scale", x, gout, &elementwise::scale(gout, -0.3), |x| elementwise::scale(x, -0.3));

        let key = Key::from_seed(seed).stream(Stream::Dropout, 0);
        let dropout = Dropout { key, layer: 2, probability: 0.5 };
        let samples = [7, 1, 30, 2];
        let back = elementwise::dropout(gout, &samples, dropout);
        check("dropout", x, gout, &back, |x| elementwise::dropout(x, &samples, dropout));
    }
}

#[test]
fn dropout_keeps_its_share_and_follows_the_sample() {
    let key = Key::from_seed(8).stream(Stream::Dropout, 3);
    let dropout = Dropout { key, layer: 0, probability: 0.3 };
    let samples: Vec<u32> = (0..50).collect();
    let ones = vec![1.0; 50 * 400];
    let out = elementwise::dropout(&ones, &samples, dropout);
    assert!(out.iter().all(|&x| x == 0.0 || x == 1.0 / (1.0 - f64::from(0.3_f32))));
    assert!((reduce::mean(&out) - 1.0).abs() < 0.02, "mean {}", reduce::mean(&out));
    let other_order = elementwise::dropout(&ones[..800], &[49, 3], dropout);
    assert_eq!(other_order[..400], out[49 * 400..]);
    assert_eq!(other_order[400..], out[3 * 400..4 * 400]);
}

#[test]
fn pooling() {
    for seed in 0..TRIES {
        let sizes = random_sizes(seed, 6, 1, 3);
        let shape = PoolShape {
            batch: sizes[0],
            channels: sizes[1],
            height: 2 + sizes[2],
            width: 2 + sizes[3],
            kernel: sizes[4],
            stride: sizes[5],
            padding: sizes[4] / 2,
        };
        let x = distinct(seed, shape.input_len());
        let gout = random(seed + 1, shape.output_len());
        let label = format!("{shape:?}");
        let back = pool::max_pool2d_backward(&x, &gout, shape);
        check(&label, &x, &gout, &back, |x| pool::max_pool2d(x, shape));
        let back = pool::avg_pool2d_backward(&gout, shape);
        check(&label, &x, &gout, &back, |x| pool::avg_pool2d(x, shape));
        let gout = random(seed + 2, shape.batch * shape.channels);
        let spatial = shape.height * shape.width;
        let back = pool::global_avg_pool2d_backward(&gout, spatial);
        check(&label, &x, &gout, &back, |x| pool::global_avg_pool2d(x, spatial));
    }
}

#[test]
fn ties_go_to_the_first_maximum() {
    let shape = PoolShape { batch: 1, channels: 1, height: 3, width: 3, kernel: 3, stride: 2, padding: 1 };
    let grad = pool::max_pool2d_backward(&[-1.0; 9], &[1.0, 2.0, 4.0, 8.0], shape);
    assert_eq!(grad, [1.0, 2.0, 0.0, 4.0, 8.0, 0.0, 0.0, 0.0, 0.0]);
    let sets = SetShape { sets: 1, elements: 3, channels: 1 };
    assert_eq!(reduce::set_max_backward(&[2.0, 5.0, 5.0], &[1.0], sets), [0.0, 1.0, 0.0]);
}

#[test]
fn set_pooling() {
    for seed in 0..TRIES {
        let sizes = random_sizes(seed, 3, 1, 5);
        let shape = SetShape { sets: sizes[0], elements: sizes[1], channels: sizes[2] };
        let x = distinct(seed, shape.sets * shape.elements * shape.channels);
        let gout = random(seed + 1, 2 * shape.sets * shape.channels);
        let back = reduce::set_max_mean_backward(&x, &gout, shape);
        check("max and mean", &x, &gout, &back, |x| reduce::set_max_mean(x, shape));
        let gout = &gout[..shape.sets * shape.channels];
        let back = reduce::set_max_backward(&x, gout, shape);
        check("max", &x, gout, &back, |x| reduce::set_max(x, shape));
    }
}

#[test]
fn losses() {
    for seed in 0..TRIES {
        let sizes = random_sizes(seed, 3, 2, 5);
        let (rows, dim, length) = (sizes[0], sizes[1], sizes[2]);
        let gout = 0.5 + seed as f64 / 10.0;
        let x = random(seed + 1, rows * dim);
        let y = random(seed + 2, rows * dim);

        let targets: Vec<usize> = random_sizes(seed + 3, rows, 0, dim - 1);
        for smoothing in [0.0, 0.1] {
            let back = loss::softmax_cross_entropy_backward(&x, &targets, smoothing, gout);
            check("cross-entropy", &x, &[gout], &back, |x| {
                vec![loss::softmax_cross_entropy(x, &targets, smoothing)]
            });
        }
        let (grad_a, grad_b) = loss::kl_div_backward(&x, &y, dim, gout);
        check("KL by a", &x, &[gout], &grad_a, |x| vec![loss::kl_div(x, &y, dim)]);
        check("KL by b", &y, &[gout], &grad_b, |y| vec![loss::kl_div(&x, y, dim)]);

        let z = [x.clone(), y.clone()].concat();
        let back = loss::nt_xent_backward(&z, dim, 0.5, gout);
        check("NT-Xent", &z, &[gout], &back, |z| vec![loss::nt_xent(z, dim, 0.5)]);

        let queue = random(seed + 4, length * dim);
        let operands = InfoNceQueue { q: &x, k: &y, queue: &queue, dim, temperature: 0.2 };
        let back = loss::info_nce_queue_backward(operands, gout);
        check("InfoNCE", &x, &[gout], &back, |q| vec![loss::info_nce_queue(InfoNceQueue { q, ..operands })]);
    }
    // The temperature of He and Zhang on identical rows: exp(1/0.07) alone would be 1.6e6, squared sums
    // overflow f32; the shifted form gives ln of the number of candidates.
    let same = loss::nt_xent(&[3.0; 8], 2, 0.07);
    assert!((same - 3.0_f64.ln()).abs() < 1e-12, "{same}");
    assert!(loss::softmax_cross_entropy(&[1e4, -1e4], &[1], 0.0) == 2e4);
}

#[test]
fn similarities() {
    for seed in 0..TRIES {
        let sizes = random_sizes(seed, 3, 2, 5);
        let (m, n, dim) = (sizes[0], sizes[1], sizes[2]);
        let (a, b) = (random(seed + 1, m * dim), random(seed + 2, n * dim));
        let gout = random(seed + 3, m * dim);
        let back = similarity::l2_normalize_backward(&a, &gout, dim);
        check("normalise", &a, &gout, &back, |a| similarity::l2_normalize(a, dim));
        let gout = random(seed + 4, m * n);
        let (grad_a, grad_b) = similarity::cosine_similarity_matrix_backward(&a, &b, &gout, dim);
        check("cosines by a", &a, &gout, &grad_a, |a| similarity::cosine_similarity_matrix(a, &b, dim));
        check("cosines by b", &b, &gout, &grad_b, |b| similarity::cosine_similarity_matrix(&a, b, dim));
    }
    assert_eq!(similarity::l2_normalize(&[0.0, 0.0], 2), [0.0, 0.0]);
}

#[test]
fn pairwise_features_of_known_vectors() {
    use similarity::{Similarity, pairwise_features};
    // Three views in the plane at 0, 90 and 45 degrees, of lengths 1, 2 and √2.
    let f = [1.0, 0.0, 0.0, 2.0, 1.0, 1.0];
    let half = 0.5_f64.sqrt();
    let cases = [
        (Similarity::Cosine, false, [0.0, half, half]),
        (Similarity::Euclidean, false, [-(5.0_f64.sqrt()), -1.0, -(2.0_f64.sqrt())]),
        (Similarity::Euclidean, true, [-(5.0_f64.sqrt()), -(2.0_f64.sqrt()), -1.0]),
        // Centred, the views are (½,−½), (−1,1) and (0,0).
        (Similarity::Pearson, false, [-1.0, 0.0, 0.0]),
    ];
    for (similarity, ascending, expected) in cases {
        let features = pairwise_features(&f, 3, 2, similarity, ascending);
        assert_close(&format!("{similarity:?} {ascending}"), &features, &expected, 1e-15);
    }
}

#[test]
fn averages_and_clipping() {
    let mut target = vec![1.0, -2.0];
    optim::ema(&mut target, &[3.0, 2.0], 0.75);
    assert_eq!(target, [1.5, -1.0]);

    let mut gradients = vec![vec![3.0, 0.0], vec![-4.0]];
    assert_eq!(optim::clip_global_norm(&mut gradients, 10.0), 5.0);
    assert_eq!(gradients, [vec![3.0, 0.0], vec![-4.0]], "within the bound nothing changes");
    optim::clip_global_norm(&mut gradients, 1.0);
    assert_close("clipped", &gradients.concat(), &[0.6, 0.0, -0.8], 1e-6);

    let (mut p, mut v) = (vec![0.0, 0.0], vec![0.0, 0.0]);
    let settings = optim::LarsSettings { lr: 0.5, momentum: 0.9, weight_decay: 0.0, trust: 1e-3 };
    optim::lars(&mut p, &[1.0, 2.0], &mut v, settings);
    assert_eq!(p, [-0.5, -1.0], "a tensor of zeros takes a plain step");
}
