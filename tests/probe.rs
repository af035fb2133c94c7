//! Probes against plain f64 loops and problems whose answers are known.

mod common;
use common::gpu::{Draw, gpu};
use contraleak::Error;
use contraleak::attack::probe::{
    KnnSettings, LinearHead, LinearSettings, LogisticRegression, LogisticSettings, MlpSettings, Neighbours,
    ProbeKind, ProbeSettings, RidgeMap, RidgeSettings, Rows, Standardisation, linear_checkpoints,
    linear_probe, mlp_probe, probe, softmax,
};

/// Rows around one centre a class, at distance `apart`; features of very different scales.
struct Blobs {
    features: Vec<f32>,
    labels: Vec<u32>,
    width: usize,
    classes: usize,
}

impl Blobs {
    fn new(seed: u64, n: usize, width: usize, classes: usize, apart: f64) -> Blobs {
        let (mut draw, mut centres) = (Draw(seed), Draw(99));
        let centre: Vec<f64> = (0..classes * width).map(|_| centres.unit() * apart).collect();
        let labels: Vec<u32> = (0..n).map(|_| draw.range(0, classes - 1) as u32).collect();
        let mut features = Vec::new();
        for &label in &labels {
            for j in 0..width {
                let scale = [0.1, 1.0, 20.0][j % 3];
                let value = centre[label as usize * width + j] + draw.unit() + draw.unit();
                features.push((scale * (value + 3.0)) as f32);
            }
        }
        Blobs { features, labels, width, classes }
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(&self.features, &self.labels, self.width, self.classes).unwrap()
    }
}

fn accuracy(posteriors: &[f64], labels: &[u32]) -> f64 {
    let classes = posteriors.len() / labels.len();
    let right = posteriors
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| row.iter().all(|p| *p <= row[**label as usize]));
    right.count() as f64 / labels.len() as f64
}

/// Gradient of the objective at a head, in standardised features, plain f64 loops.
fn slope(head: &LinearHead, data: &Blobs, l2: f64) -> Vec<f64> {
    let (d, classes, n) = (data.width, data.classes, data.labels.len() as f64);
    let scale = Standardisation::of(&data.features, d);
    let weight: Vec<f64> =
        head.weight.iter().enumerate().map(|(i, &w)| f64::from(w) * scale.deviation[i % d]).collect();
    let mut gradient: Vec<f64> = weight.iter().map(|w| l2 * w).collect();
    gradient.resize(classes * (d + 1), 0.0);
    for (x, &label) in data.features.chunks(d).zip(&data.labels) {
        let z: Vec<f64> =
            x.iter().enumerate().map(|(j, &v)| (f64::from(v) - scale.mean[j]) / scale.deviation[j]).collect();
        let raw = |c: usize| -> f64 {
            let w = &head.weight[c * d..(c + 1) * d];
            f64::from(head.bias[c]) + x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>()
        };
        let exponentials: Vec<f64> = (0..classes).map(|c| raw(c).exp()).collect();
        let sum: f64 = exponentials.iter().sum();
        for c in 0..classes {
            let r = (exponentials[c] / sum - f64::from(u8::from(c == label as usize))) / n;
            (0..d).for_each(|j| gradient[c * d + j] += r * z[j]);
            gradient[classes * d + c] += r;
        }
    }
    gradient
}

#[test]
fn logistic_regression_ends_where_its_gradient_vanishes() {
    for (n, d, classes) in [(97, 5, 2), (260, 19, 4)] {
        let data = Blobs::new(1, n, d, classes, 0.4);
        for l2 in [1e-3, 0.3] {
            let settings = LogisticSettings { l2: vec![l2], ..LogisticSettings::default() };
            let fitted = LogisticRegression::new(settings).fit(&data.rows(), 0).unwrap();
            assert!(fitted.converged && fitted.validated.is_empty());
            let largest = slope(&fitted.head, &data, l2).iter().fold(0.0f64, |m, g| m.max(g.abs()));
            assert!(largest < 5e-5, "{n}x{d}, {classes} classes, l2 {l2}: gradient {largest}");
        }
    }
}

#[test]
fn cross_validation_chooses_by_what_was_left_out() {
    // Noise alone: the less the weights, the better.
    let mut noise = Blobs::new(2, 120, 30, 3, 0.0);
    let settings = LogisticSettings::default();
    assert_eq!((settings.l2.len(), settings.folds), (10, 5));
    let fitted = LogisticRegression::new(settings.clone()).fit(&noise.rows(), 1).unwrap();
    assert!(fitted.l2 >= 2.0, "{fitted:?}");
    assert_eq!(fitted.validated.len(), 10);
    let least = fitted.validated.iter().map(|v| v.log_loss).fold(f64::INFINITY, f64::min);
    let chosen = fitted.validated.iter().find(|v| v.l2 == fitted.l2).unwrap();
    assert!(chosen.log_loss == least && (least - 3f64.ln()).abs() < 0.05, "{fitted:?}");
    assert!(fitted.validated[9].log_loss > least + 0.1, "weak penalties must overfit: {fitted:?}");
    // A feature that decides: weights may be large.
    for (row, label) in noise.features.chunks_mut(30).zip(&noise.labels) {
        row[4] = *label as f32;
    }
    let fitted = LogisticRegression::new(settings).fit(&noise.rows(), 1).unwrap();
    assert!(fitted.l2 < 1e-2, "{fitted:?}");
    assert_eq!(accuracy(&fitted.head.posteriors(&noise.features).unwrap(), &noise.labels), 1.0);
}

#[test]
fn logistic_regression_does_not_depend_on_threads() {
    let data = Blobs::new(3, 700, 24, 3, 0.3);
    let fit = || LogisticRegression::new(LogisticSettings::default()).fit(&data.rows(), 7).unwrap();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(fit);
    let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap().install(fit);
    assert_eq!(one, three);
}

#[test]
fn a_problem_of_common_size() {
    // Features of an encoder depend on each other: twelve strong factors are common to all of them.
    let correlated = |seed: u64, n: usize| {
        let (mut data, mut draw, mut loadings) =
            (Blobs::new(seed, n, 512, 6, 0.3), Draw(seed + 100), Draw(77));
        let loading: Vec<f64> = (0..12 * 512).map(|_| 3.0 * loadings.unit()).collect();
        for row in data.features.chunks_mut(512) {
            for factor in loading.chunks(512) {
                let size = draw.unit();
                let scaled = row.iter_mut().zip(factor).enumerate();
                scaled.for_each(|(j, (x, f))| *x += ([0.1, 1.0, 20.0][j % 3] * size * f) as f32);
            }
        }
        data
    };
    let (train, test) = (correlated(4, 3000), correlated(5, 1000));
    let start = std::time::Instant::now();
    let fitted = LogisticRegression::new(LogisticSettings::default()).fit(&train.rows(), 0).unwrap();
    println!("3000 rows of 512, 6 classes: {:.1} s, l2 {}", start.elapsed().as_secs_f64(), fitted.l2);
    let accuracy = accuracy(&fitted.head.posteriors(&test.features).unwrap(), &test.labels);
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn constant_features_do_no_harm() {
    let mut data = Blobs::new(6, 80, 6, 2, 1.5);
    data.features.chunks_mut(6).for_each(|row| row[2] = 7.25);
    let fitted = LogisticRegression::new(LogisticSettings::default()).fit(&data.rows(), 0).unwrap();
    assert!(fitted.head.weight.iter().chain(&fitted.head.bias).all(|w| w.is_finite()));
    assert_eq!([fitted.head.weight[2], fitted.head.weight[8]], [0.0; 2]);
}

#[test]
fn neighbours_vote_as_in_plain_loops() {
    let (train, test) = (Blobs::new(7, 90, 11, 3, 0.5), Blobs::new(8, 40, 11, 3, 0.5));
    for k in [1, 7, 200] {
        let settings = KnnSettings { neighbours: k, ..KnnSettings::default() };
        let neighbours = Neighbours::new(settings, &train.rows()).unwrap();
        let plain = |x: &[f32], skip: Option<usize>| -> Vec<f64> {
            let norm = |x: &[f32]| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let mut near: Vec<(f64, u32)> = (0..90)
                .filter(|i| Some(*i) != skip)
                .map(|i| {
                    let y = &train.features[i * 11..(i + 1) * 11];
                    let dot: f64 = x.iter().zip(y).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    (dot / (norm(x) * norm(y)), train.labels[i])
                })
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0));
            let mut votes = [0.0; 3];
            near.iter().take(k).for_each(|(s, label)| votes[*label as usize] += (s / 0.1).exp());
            let sum: f64 = votes.iter().sum();
            votes.iter().map(|v| v / sum).collect()
        };
        let expected: Vec<f64> = test.features.chunks(11).flat_map(|x| plain(x, None)).collect();
        common::assert_close("votes", &neighbours.posteriors(&test.features).unwrap(), &expected, 1e-4);
        let expected: Vec<f64> =
            train.features.chunks(11).enumerate().flat_map(|(i, x)| plain(x, Some(i))).collect();
        common::assert_close("votes without oneself", &neighbours.leave_one_out(), &expected, 1e-4);
    }
    let broken = KnnSettings { neighbours: 0, ..KnnSettings::default() };
    assert!(matches!(Neighbours::new(broken, &train.rows()), Err(Error::Usage(_))));
    let broken = KnnSettings { temperature: f64::NAN, ..KnnSettings::default() };
    assert!(matches!(Neighbours::new(broken, &train.rows()), Err(Error::Usage(_))));
}

#[test]
fn the_published_linear_probe_keeps_every_tenth_epoch() {
    let published = LinearSettings::default();
    let constants = (published.learning_rate, published.weight_decay, published.epochs, published.batch);
    assert_eq!((constants, published.keep_every), ((1e-2, 1e-4, 100, 512), 10));
    let data = Blobs::new(9, 70, 8, 3, 0.8);
    let settings = LinearSettings { epochs: 25, batch: 32, ..published };
    let kept = linear_checkpoints(gpu(), &settings, &data.rows(), 3).unwrap();
    assert_eq!(kept.iter().map(|c| c.epoch).collect::<Vec<_>>(), [10, 20, 25]);
    assert_ne!(kept[0].head, kept[1].head);
    // Stopping early is training for fewer epochs, bit for bit.
    let shorter = LinearSettings { epochs: 20, ..settings };
    assert_eq!(kept[1].head, linear_probe(gpu(), &shorter, &data.rows(), 3).unwrap());
}

#[test]
fn adam_of_the_linear_probe_follows_float64() {
    let data = Blobs::new(10, 40, 6, 3, 0.5);
    let settings = LinearSettings { epochs: 12, keep_every: 1, ..LinearSettings::default() };
    let kept = linear_checkpoints(gpu(), &settings, &data.rows(), 5).unwrap();
    // Whole-set steps from the first kept head on would need Adam's state, so the twin starts from the initial values.
    let mut parameters = contraleak::graph::ParameterSet::new();
    let mut names = contraleak::nn::Names::new(&mut parameters);
    let (relu, init) = (contraleak::kernels::elementwise::Unary::Relu, contraleak::nn::LinearInit::Default);
    contraleak::nn::Mlp::new(&mut names, &[6, 3], relu, init, None);
    let initial = parameters.initial_values(5);
    let mut p: Vec<f64> =
        initial["layers.0.weight"].iter().chain(&initial["layers.0.bias"]).map(|&v| f64::from(v)).collect();
    let (mut m, mut v) = (vec![0.0; p.len()], vec![0.0; p.len()]);
    for checkpoint in &kept {
        let t = checkpoint.epoch as i32;
        let mut g: Vec<f64> = p.iter().map(|p| 1e-4 * p).collect();
        for (x, &label) in data.features.chunks(6).zip(&data.labels) {
            let logit =
                |c: usize| -> f64 { p[18 + c] + (0..6).map(|j| p[c * 6 + j] * f64::from(x[j])).sum::<f64>() };
            let most = (0..3).map(logit).fold(f64::MIN, f64::max);
            let e: Vec<f64> = (0..3).map(|c| (logit(c) - most).exp()).collect();
            let sum: f64 = e.iter().sum();
            for c in 0..3 {
                let r = (e[c] / sum - f64::from(u8::from(c == label as usize))) / 40.0;
                (0..6).for_each(|j| g[c * 6 + j] += r * f64::from(x[j]));
                g[18 + c] += r;
            }
        }
        for i in 0..p.len() {
            m[i] = 0.9 * m[i] + 0.1 * g[i];
            v[i] = 0.999 * v[i] + 0.001 * g[i] * g[i];
            let step = m[i] / ((v[i] / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
            p[i] -= 1e-2 / (1.0 - 0.9f64.powi(t)) * step;
        }
        let got: Vec<f64> =
            checkpoint.head.weight.iter().chain(&checkpoint.head.bias).map(|&v| f64::from(v)).collect();
        common::assert_close(&format!("epoch {t}"), &got, &p, 1e-4);
    }
}

#[test]
fn every_kind_finds_what_is_there_and_nothing_else() {
    let settings = ProbeSettings {
        mlp: MlpSettings { epochs: 60, learning_rate: 1e-3, batch: 64, ..MlpSettings::default() },
        ..ProbeSettings::default()
    };
    for name in ProbeKind::NAMES {
        let kind: ProbeKind = name.parse().unwrap();
        assert_eq!(kind.to_string(), name);
        for (apart, at_least, at_most) in [(2.0, 0.9, 1.0), (0.0, 0.15, 0.52)] {
            let (train, test) = (Blobs::new(11, 300, 12, 3, apart), Blobs::new(12, 200, 12, 3, apart));
            let found = probe(gpu(), kind, &settings, &train.rows(), &test.rows(), 2).unwrap();
            let value = found.test_accuracy.value;
            assert!((at_least..=at_most).contains(&value), "{kind} at distance {apart}: {value}");
            assert_eq!(found.overfitting_gap, found.train_accuracy - value);
            assert_eq!(found.metrics.accuracy, found.test_accuracy);
            let posteriors = found.posteriors.as_ref().unwrap();
            assert_eq!((posteriors.train.len(), posteriors.test.len()), (900, 600));
            assert!(posteriors.test.chunks(3).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-9));
            assert_eq!(accuracy(&posteriors.test, &test.labels), value, "{kind}");
            match (&found.head, kind) {
                (Some(head), ProbeKind::Linear | ProbeKind::Logistic) => {
                    assert_eq!(head.posteriors(&test.features).unwrap(), posteriors.test);
                }
                (None, ProbeKind::Knn | ProbeKind::Mlp) => {}
                _ => panic!("{kind}: a head where there is none, or none"),
            }
            let epochs: Vec<u64> = found.by_epoch.iter().map(|e| e.epoch).collect();
            let expected: Vec<u64> = (1..=10).map(|e| e * 10).filter(|_| kind == ProbeKind::Linear).collect();
            assert_eq!(epochs, expected, "{kind}");
            let json = serde_json::to_string(&found).unwrap();
            assert!(json.contains(&format!("\"kind\":\"{name}\"")) && !json.contains("posteriors"), "{json}");
        }
    }
}

#[test]
fn dropout_of_the_mlp_head() {
    let data = Blobs::new(13, 60, 7, 2, 1.0);
    let train = |dropout, seed| {
        let settings = MlpSettings { dropout, epochs: 5, ..MlpSettings::default() };
        let classifier = mlp_probe(gpu(), &settings, &data.rows(), seed).unwrap();
        let widths: Vec<usize> = classifier.values(gpu()).unwrap().values().map(Vec::len).collect();
        assert_eq!(widths, [512, 7 * 512, 256, 512 * 256, 2, 512]);
        classifier.logits(gpu(), &data.features).unwrap()
    };
    let with = train(0.5, 1);
    assert_eq!(with, train(0.5, 1), "not deterministic");
    assert_ne!(with, train(0.0, 1), "dropout changes nothing");
    assert!(softmax(&with, 2).chunks(2).all(|row| (row[0] + row[1] - 1.0).abs() < 1e-12));
}

#[test]
fn ridge_regression_finds_a_linear_map() {
    let (n, d, outputs) = (200, 13, 5);
    let mut draw = Draw(21);
    let x: Vec<f32> = (0..n * d).map(|i| (draw.unit() * [0.5, 4.0][i % 2] + 1.0) as f32).collect();
    let weight: Vec<f64> = (0..outputs * d).map(|_| draw.unit()).collect();
    let image = |x: &[f32], noise: f64, draw: &mut Draw| -> Vec<f32> {
        x.chunks(d)
            .flat_map(|row| {
                let of = |o: usize| {
                    row.iter().enumerate().map(|(j, v)| f64::from(*v) * weight[o * d + j]).sum::<f64>()
                };
                (0..outputs).map(of).map(|v| v + 0.7).collect::<Vec<_>>()
            })
            .map(|v| (v + noise * draw.unit()) as f32)
            .collect()
    };
    let y = image(&x, 0.0, &mut draw);
    let settings = RidgeSettings { l2: vec![1e-9, 1e-2] };
    let map = RidgeMap::fit(&settings, &x, d, &y, outputs, 0).unwrap();
    assert!(map.l2 == 1e-9 && map.explained > 0.999_999, "{} {}", map.l2, map.explained);
    let other: Vec<f32> = (0..20 * d).map(|_| draw.unit() as f32).collect();
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let expected = image(&other, 0.0, &mut draw);
    common::assert_close("mapped rows", &wide(&map.apply(&other).unwrap()), &wide(&expected), 1e-4);
    // Pure noise explains nothing, and the strongest penalty is the best.
    let noise: Vec<f32> = (0..n * outputs).map(|_| draw.unit() as f32).collect();
    let map = RidgeMap::fit(&RidgeSettings { l2: vec![1e-4, 1e3] }, &x, d, &noise, outputs, 0).unwrap();
    assert!(map.l2 == 1e3 && map.explained < 0.05, "{} {}", map.l2, map.explained);
    // Two equal columns: singular without the penalty.
    let twice: Vec<f32> =
        x.chunks(d).flat_map(|row| row.iter().chain(&row[..1]).copied().collect::<Vec<_>>()).collect();
    assert!(
        RidgeMap::fit(&RidgeSettings::default(), &twice, d + 1, &y, outputs, 0).unwrap().explained > 0.99
    );
    assert!(RidgeMap::fit(&settings, &x[1..], d, &y, outputs, 0).is_err());
    assert!(RidgeMap::fit(&RidgeSettings { l2: vec![0.0] }, &x, d, &y, outputs, 0).is_err());
    assert!(map.apply(&x[1..]).is_err());
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let refused = |features: &[f32], labels: &[u32], width, classes| {
        assert!(matches!(Rows::new(features, labels, width, classes), Err(Error::Shape(_))));
    };
    refused(&[], &[], 2, 2);
    refused(&[1.0; 5], &[0, 1], 2, 2);
    refused(&[1.0; 4], &[0, 1], 2, 1);
    refused(&[1.0, f32::NAN], &[0, 1], 1, 2);
    assert!(Rows::new(&[1.0; 4], &[0, 2], 2, 2).is_err());
    let (a, b) = (Blobs::new(1, 10, 3, 2, 1.0), Blobs::new(1, 10, 4, 2, 1.0));
    let settings = ProbeSettings::default();
    assert!(matches!(probe(gpu(), ProbeKind::Knn, &settings, &a.rows(), &b.rows(), 0), Err(Error::Shape(_))));
    assert!(LinearHead::new(vec![0.0; 5], vec![0.0; 2], 3).is_err());
    let head = LinearHead::new(vec![0.0; 6], vec![0.0; 2], 3).unwrap();
    assert!(head.logits(&[0.0; 4]).is_err());
    let Err(Error::Usage(message)) = "lineer".parse::<ProbeKind>() else { panic!("no such probe") };
    assert!(message.contains("did you mean linear"), "{message}");
    for l2 in [vec![], vec![-1.0], vec![f64::NAN]] {
        let settings = LogisticSettings { l2, ..LogisticSettings::default() };
        assert!(matches!(LogisticRegression::new(settings).fit(&a.rows(), 0), Err(Error::Usage(_))));
    }
}
