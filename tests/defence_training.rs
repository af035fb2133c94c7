//! Defences that change a head's training: adversarial regularisation, DP-SGD, early stopping.

mod common;
use common::defence::{
    Wide, accuracy, chain, check_gradient, cross_entropy, linear, relu, separable, to64, wide,
};
use common::gpu::{Draw, gpu};
use contraleak::attack::probe::LinearHead;
use contraleak::defence::Rows;
use contraleak::defence::adversarial_regularization::{
    self as adv_reg, AdvRegSession, AdvRegSettings, Labelled,
};
use contraleak::defence::dp_sgd::{self, Affine, DpSgdSettings, poisson_sample};
use contraleak::defence::early_stopping::{Checkpoint, EarlyStoppingSettings, earliest};
use contraleak::metrics::accountant::Accountant;
use contraleak::rng::Key;

const C: usize = 3;

/// Rows without any structure: whatever is learned is memory.
fn noise(seed: u64, count: usize, width: usize) -> (Vec<f32>, Vec<u32>) {
    let mut draw = Draw(seed);
    let rows = (0..count * width).map(|_| draw.unit() as f32).collect();
    (rows, (0..count).map(|_| draw.range(0, C - 1) as u32).collect())
}

fn labelled<'a>(set: &'a (Vec<f32>, Vec<u32>), width: usize) -> Labelled<'a> {
    Labelled { features: Rows::new("test", &set.0, width).unwrap(), labels: &set.1 }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    logits.iter().map(|x| x.exp() / sum).collect()
}

/// The model's logits, and the attacker's logit for them.
fn attacked(values: &Wide, row: &[f64], label: u32) -> (Vec<f64>, f64) {
    let logits = linear(values, "model.layers.0", row);
    let one_hot: Vec<f64> = (0..C).map(|c| f64::from(u8::from(c == label as usize))).collect();
    let a = chain(values, "attacker.posteriors", 3, 3, &softmax(&logits));
    let b = chain(values, "attacker.labels", 2, 2, &one_hot);
    let halves =
        [linear(values, "attacker.joint.posteriors", &a), linear(values, "attacker.joint.labels", &b)];
    let joined = relu(halves[0].iter().zip(&halves[1]).map(|(a, b)| a + b).collect());
    (logits, chain(values, "attacker.rest", 3, 2, &joined)[0])
}

#[test]
fn adversarial_regularisation_has_the_right_gradients() {
    const D: usize = 6;
    let (members, reference) = (noise(1, 9, D), noise(2, 9, D));
    let settings =
        AdvRegSettings { model_rate: 0.0, attacker_rate: 0.0, alpha: 3.0, ..AdvRegSettings::default() };
    let mut session =
        AdvRegSession::new(gpu(), &settings, &labelled(&members, D), &labelled(&reference, D), C).unwrap();
    let values = wide(&session.learner().values(gpu()).unwrap());
    let rows = |set: &(Vec<f32>, Vec<u32>)| -> Vec<(Vec<f64>, u32)> {
        set.0.chunks(D).map(to64).zip(set.1.iter().copied()).collect()
    };
    let (inside, outside) = (rows(&members), rows(&reference));
    session.attacker_epoch(gpu(), 0).unwrap();
    let attack = |v: &Wide| {
        let member = inside.iter().map(|(x, y)| (-attacked(v, x, *y).1).exp().ln_1p());
        let other = outside.iter().map(|(x, y)| attacked(v, x, *y).1.exp().ln_1p());
        member.chain(other).sum::<f64>() / 18.0
    };
    for name in
        ["posteriors.0.weight", "labels.1.weight", "joint.labels.weight", "rest.2.bias", "posteriors.2.bias"]
    {
        let name = format!("attacker.{name}");
        let found = session.learner().gradient(gpu(), &name).unwrap();
        check_gradient(&name, &values, &found, attack);
    }
    session.model_epoch(gpu(), 0, true).unwrap();
    let objective = |v: &Wide| {
        let of_row = |(x, y): &(Vec<f64>, u32)| {
            let (logits, member) = attacked(v, x, *y);
            let task = cross_entropy(&logits, |c| f64::from(u8::from(c == *y as usize)));
            task + 3.0 * (1.0 / (1.0 + (-member).exp()) - 0.5)
        };
        inside.iter().map(of_row).sum::<f64>() / 9.0
    };
    let plain = |v: &Wide| {
        let of_row = |(x, y): &(Vec<f64>, u32)| {
            cross_entropy(&attacked(v, x, *y).0, |c| f64::from(u8::from(c == *y as usize)))
        };
        inside.iter().map(of_row).sum::<f64>() / 9.0
    };
    for name in ["model.layers.0.weight", "model.layers.0.bias"] {
        let found = session.learner().gradient(gpu(), name).unwrap();
        assert!(check_gradient(name, &values, &found, objective) > 1e-2);
    }
    session.model_epoch(gpu(), 0, false).unwrap();
    let found = session.learner().gradient(gpu(), "model.layers.0.weight").unwrap();
    check_gradient("model.layers.0.weight", &values, &found, plain);
    assert_eq!(wide(&session.learner().values(gpu()).unwrap()), values);
}

#[test]
fn adversarial_regularisation_narrows_the_gap() {
    const D: usize = 48;
    let [members, reference, others] = [11, 12, 13].map(|seed| noise(seed, 64, D));
    let gap = |alpha: f64| {
        let settings =
            AdvRegSettings { alpha, epochs: 40, batch: 32, model_rate: 1e-2, ..AdvRegSettings::default() };
        let (members, reference) = (labelled(&members, D), labelled(&reference, D));
        let mut model = adv_reg::train(gpu(), &settings, &members, &reference, C).unwrap();
        let mut confidence = |set: &Labelled| {
            let logits = to64(&model.logits(gpu(), &set.features).unwrap());
            let own = logits.chunks(C).zip(set.labels).map(|(row, &y)| softmax(row)[y as usize]);
            own.sum::<f64>() / set.labels.len() as f64
        };
        confidence(&members) - confidence(&labelled(&others, D))
    };
    let (plain, regularised) = (gap(0.0), gap(10.0));
    println!("confidence gap {plain} -> {regularised}");
    assert!(plain > 0.3, "{plain}");
    assert!(regularised < 0.7 * plain, "{plain} -> {regularised}");
}

#[test]
fn clipped_sums_match_a_loop_over_examples() {
    const D: usize = 5;
    let (rows, labels) = noise(3, 40, D);
    let features = Rows::new("test", &rows, D).unwrap();
    let mut draw = Draw(4);
    let affine = Affine { rows: (0..C * (D + 1)).map(|_| 2.0 * draw.unit()).collect(), width: D };
    let chosen: Vec<usize> = (0..40).filter(|i| i % 3 != 1).collect();
    for clip in [0.1, 0.6, 100.0] {
        let mut expected = vec![0.0; C * (D + 1)];
        let (mut clipped, mut kept) = (0, 0);
        for &i in &chosen {
            let x: Vec<f64> = rows[i * D..(i + 1) * D].iter().map(|&v| f64::from(v)).chain([1.0]).collect();
            // The gradient of one example by central differences of its own loss.
            let loss = |w: &[f64]| {
                let logits: Vec<f64> =
                    w.chunks(D + 1).map(|row| row.iter().zip(&x).map(|(w, x)| w * x).sum()).collect();
                cross_entropy(&logits, |c| f64::from(u8::from(c == labels[i] as usize)))
            };
            let gradient: Vec<f64> = (0..expected.len())
                .map(|k| {
                    let at = |step: f64| {
                        let mut w = affine.rows.clone();
                        w[k] += step;
                        loss(&w)
                    };
                    (at(1e-6) - at(-1e-6)) / 2e-6
                })
                .collect();
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            if norm > clip {
                clipped += 1
            } else {
                kept += 1
            }
            let factor = (clip / norm).min(1.0);
            expected.iter_mut().zip(&gradient).for_each(|(e, g)| *e += factor * g);
        }
        assert!((clip > 1.0 || clipped > 0) && (clip < 0.2 || kept > 0), "clip {clip}: {clipped} and {kept}");
        let found = affine.clipped_sum(&features, &labels, &chosen, clip);
        for (f, e) in found.iter().zip(&expected) {
            assert!((f - e).abs() < 1e-7, "clip {clip}: {f} instead of {e}");
        }
    }
}

#[test]
fn samples_are_poisson() {
    let key = Key::from_seed(5);
    let sizes: Vec<f64> = (0..400)
        .map(|step| {
            poisson_sample(key.stream(contraleak::rng::Stream::Defence, step), 0.1, 1000).len() as f64
        })
        .collect();
    let mean = sizes.iter().sum::<f64>() / 400.0;
    let variance = sizes.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 399.0;
    // A binomial of 1000 at 0.1: mean 100 ± 0.47, variance 90 ± 6.4.
    assert!((mean - 100.0).abs() < 2.0 && (variance - 90.0).abs() < 26.0, "{mean} {variance}");
    assert_eq!(poisson_sample(key, 1.0, 50).len(), 50);
}

#[test]
fn private_probes_state_what_they_promise() {
    const D: usize = 8;
    let (train, test) = (separable(8, 2000, D), separable(9, 500, D));
    let features = Rows::new("test", &train.rows, D).unwrap();
    let right = |head: &LinearHead| accuracy(&head.logits(&test.rows).unwrap(), &test.task);
    let mut last = f64::INFINITY;
    for epsilon in [1.0, 4.0, 8.0, 16.0] {
        let settings = DpSgdSettings { epsilon, epochs: 10, ..DpSgdSettings::default() };
        let probe = dp_sgd::train(&settings, &features, &train.task, 2).unwrap();
        let statement = &probe.statement;
        assert!(statement.epsilon <= epsilon && statement.epsilon > 0.999 * epsilon, "{statement:?}");
        assert!(statement.poisson_sampling && statement.warning.is_none());
        assert_eq!(statement.adjacency, "one example added or removed");
        assert_eq!((statement.accountant.sampling_rate, statement.accountant.steps), (0.128, 79));
        assert!(statement.accountant.noise_multiplier < last, "more ε, less noise");
        last = statement.accountant.noise_multiplier;
        let accuracy = right(&probe.head);
        assert!(accuracy > 0.9, "epsilon {epsilon}: {accuracy}");
        assert_eq!(probe, dp_sgd::train(&settings, &features, &train.task, 2).unwrap());
        assert_ne!(
            probe.head,
            dp_sgd::train(&DpSgdSettings { seed: 1, ..settings }, &features, &train.task, 2).unwrap().head
        );
    }
    for broken in [
        DpSgdSettings { epsilon: 0.0, ..DpSgdSettings::default() },
        DpSgdSettings { clip: f64::NAN, ..DpSgdSettings::default() },
        DpSgdSettings { batch: 0, ..DpSgdSettings::default() },
        DpSgdSettings { delta: 1.0, ..DpSgdSettings::default() },
    ] {
        assert!(dp_sgd::train(&broken, &features, &train.task, 2).is_err(), "{broken:?}");
    }
    assert!(dp_sgd::train(&DpSgdSettings::default(), &features, &train.task[1..], 2).is_err());
}

/// Published by `tensorflow/privacy`, `compute_dp_sgd_privacy_test.py` (examples, batch, σ, epochs, δ, ε, order): the present values,
/// converted as here, and those of its earlier releases, ε = RDP + ln(1/δ)/(a − 1).
#[test]
fn the_accountant_reproduces_published_values() {
    let published = [
        (60_000.0, 150.0, 1.3, 15.0, 1e-5, 0.7242234026109595, 0.941870567, 19),
        (100_000.0, 100.0, 1.0, 30.0, 1e-7, 1.4154988495444845, 1.70928734, 13),
    ];
    let classic = |accountant: &Accountant, delta: f64| {
        (2..=256u32)
            .map(|a| accountant.steps as f64 * accountant.renyi(a) - f64::ln(delta) / f64::from(a - 1))
            .fold(f64::INFINITY, f64::min)
    };
    for (examples, batch, sigma, epochs, delta, present, earlier, order) in published {
        let steps = (epochs * examples / batch) as u64;
        let accountant = Accountant::new(batch / examples, sigma, steps).unwrap();
        let (epsilon, at) = accountant.epsilon(delta).unwrap();
        assert!((epsilon - present).abs() < 1e-7, "{epsilon} instead of {present}");
        assert_eq!(at, order);
        let found = classic(&accountant, delta);
        assert!((found - earlier).abs() < 1e-7, "{found} instead of {earlier}");
    }
    // The documentation of that library's command line: N 60,000, batch 256, σ 1.12, 60 epochs, δ 1e-5 gives 2.92.
    let mnist = Accountant::new(256.0 / 60_000.0, 1.12, 14_063).unwrap();
    assert!((classic(&mnist, 1e-5) - 2.92).abs() < 5e-3, "{}", classic(&mnist, 1e-5));
    // Abadi et al. (CCS 2016), section 3.2: q 0.01, σ 4, T 10,000, δ 1e-5 gives 1.26.
    let abadi = Accountant::new(0.01, 4.0, 10_000).unwrap();
    assert!((classic(&abadi, 1e-5) - 1.26).abs() < 5e-3, "{}", classic(&abadi, 1e-5));
    // One Gaussian mechanism, by hand: min over a of a/2 + ln((a−1)/a) − (ln δ + ln a)/(a−1), at a = 5.
    let (epsilon, order) = Accountant::new(1.0, 1.0, 1).unwrap().epsilon(1e-5).unwrap();
    assert!((epsilon - 4.7527).abs() < 5e-5 && order == 5, "{epsilon} at {order}");
}

#[test]
fn the_earliest_good_checkpoint_is_kept() {
    let sweep: Vec<Checkpoint> = [(10, 0.7), (20, 0.8), (30, 0.84), (40, 0.845), (50, 0.83)]
        .map(|(epoch, accuracy)| Checkpoint { epoch, accuracy })
        .to_vec();
    let kept = |tolerance| earliest(&EarlyStoppingSettings { tolerance }, &sweep).unwrap().epoch;
    assert_eq!([kept(0.0), kept(0.01), kept(0.05), kept(1.0)], [40, 30, 20, 10]);
    assert!(earliest(&EarlyStoppingSettings::default(), &[]).is_err());
    let broken = Checkpoint { epoch: 1, accuracy: f64::NAN };
    assert!(earliest(&EarlyStoppingSettings::default(), &[broken]).is_err());
}
