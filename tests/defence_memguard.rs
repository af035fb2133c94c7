//! MemGuard: objective and gradient, what never changes, budgets, and what it does to an attacker.

mod common;
use common::defence::{accuracy, to64};
use common::gpu::{Draw, gpu};
use contraleak::attack::classifier::{Architecture, Classifier, Training};
use contraleak::defence::memguard::{EPSILONS, MemGuard, MemGuardSettings};
use contraleak::defence::network::NetworkTraining;
use contraleak::defence::{Rows, argmax};
use contraleak::kernels::elementwise::Unary;
use contraleak::nn::LinearInit;
use contraleak::optim::Optimizer;

const C: usize = 5;

/// Posteriors of a model that is surer of its members.
fn posteriors(seed: u64, count: usize, member: bool) -> Vec<f32> {
    let mut draw = Draw(seed);
    let mut rows = Vec::new();
    for _ in 0..count {
        let top = draw.range(0, C - 1);
        let margin = if member { 4.0 } else { 1.6 } + draw.unit();
        let logits: Vec<f64> =
            (0..C).map(|c| 0.5 * draw.unit() + if c == top { margin } else { 0.0 }).collect();
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        rows.extend(logits.iter().map(|x| (x.exp() / sum) as f32));
    }
    rows
}

fn memguard() -> MemGuard {
    let network = NetworkTraining {
        hidden: vec![32, 16, 8],
        learning_rate: 0.1,
        epochs: 60,
        ..MemGuardSettings::default().network
    };
    let settings = MemGuardSettings { network, ..MemGuardSettings::default() };
    let (members, others) = (posteriors(1, 300, true), posteriors(2, 300, false));
    let rows = |values| Rows::new("own", values, C).unwrap();
    MemGuard::train(gpu(), &settings, &rows(&members), &rows(&others)).unwrap()
}

#[test]
fn the_gradient_follows_central_differences() {
    let memguard = memguard();
    let mut draw = Draw(3);
    let mut compared = 0;
    for row in posteriors(4, 30, true).chunks(C) {
        let p = to64(row);
        let logits: Vec<f64> = p.iter().map(|p| p.ln() + 0.7 * draw.unit()).collect();
        // Two kinds of points: with the top class kept, and with another above it.
        for top in [argmax(&logits), draw.range(0, C - 1)] {
            let (_, gradient) = memguard.objective(&logits, &p, top, 0.3);
            for i in 0..C {
                let at = |step: f64| {
                    let mut moved = logits.clone();
                    moved[i] += step;
                    memguard.objective(&moved, &p, top, 0.3).0
                };
                let (fine, coarse) = ((at(1e-6) - at(-1e-6)) / 2e-6, (at(2e-6) - at(-2e-6)) / 4e-6);
                // Where the two differ there is a corner in between.
                if (fine - coarse).abs() < 1e-6 {
                    assert!((fine - gradient[i]).abs() < 1e-5 * (1.0 + fine.abs()), "{fine} {}", gradient[i]);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 250, "{compared}");
}

#[test]
fn the_predicted_class_never_changes_and_the_budget_holds() {
    let memguard = memguard();
    let rows = [posteriors(5, 200, true), posteriors(6, 200, false)].concat();
    let rows = Rows::new("queries", &rows, C).unwrap();
    let protected = memguard.protect(&rows).unwrap();
    assert!(protected.iter().filter(|query| query.distortion > 0.0).count() > 300);
    for (query, row) in protected.iter().zip(rows.iter()) {
        assert_eq!(query.original, row);
        assert_eq!(argmax(&query.perturbed), argmax(row));
        assert!(
            (query.perturbed.iter().sum::<f32>() - 1.0).abs() < 1e-5
                && query.perturbed.iter().all(|p| *p >= 0.0)
        );
        let (before, after) = (memguard.logit(&to64(row)), memguard.logit(&to64(&query.perturbed)));
        assert!(query.distortion == 0.0 || after.abs() < before.abs(), "{before} -> {after}");
    }
    for epsilon in EPSILONS {
        let released = memguard.release(&protected, epsilon);
        assert_eq!(released, memguard.release(&protected, epsilon), "a query is answered twice alike");
        let change =
            |(a, b): (&[f32], &[f32])| a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum::<f64>();
        let mean = released.chunks(C).zip(rows.iter()).map(change).sum::<f64>() / 400.0;
        // Expected distortion is at most ε; 400 coins scatter.
        assert!(mean <= epsilon + 0.1, "{mean} of {epsilon}");
        assert!(released.chunks(C).zip(rows.iter()).all(|(a, b)| argmax(a) == argmax(b)));
    }
    assert_eq!(memguard.release(&protected, 0.0), rows.values);
    assert!(memguard.protect(&Rows::new("queries", rows.values, 4).unwrap()).is_err());
}

#[test]
fn an_attacker_falls_towards_chance() {
    let memguard = memguard();
    // The attacker has a network, shadow data and a training of its own.
    let sorted = |rows: &[f32]| -> Vec<f32> {
        rows.chunks(C)
            .flat_map(|row| {
                let mut row = row.to_vec();
                row.sort_by(|a, b| b.total_cmp(a));
                row
            })
            .collect()
    };
    let labels: Vec<u32> = (0..600).map(|i| u32::from(i < 300)).collect();
    let shadow = [posteriors(7, 300, true), posteriors(8, 300, false)].concat();
    let architecture = Architecture::Mlp {
        widths: vec![C, 24, 2],
        activation: Unary::Relu,
        init: LinearInit::Default,
        last: None,
    };
    let training = Training {
        batch: 50,
        epochs: 30,
        learning_rate: 1e-2,
        decay_every: None,
        optimizer: Optimizer::adam(0.0),
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed: 1,
    };
    let attacker =
        Classifier::train(gpu(), &architecture, &training, &sorted(&shadow), &labels, None).unwrap();
    let target = [posteriors(9, 300, true), posteriors(10, 300, false)].concat();
    let protected = memguard.protect(&Rows::new("queries", &target, C).unwrap()).unwrap();
    let against = |rows: &[f32]| accuracy(&attacker.logits(gpu(), &sorted(rows)).unwrap(), &labels);
    let (plain, half, full) = (
        against(&target),
        against(&memguard.release(&protected, 0.1)),
        against(&memguard.release(&protected, 1.0)),
    );
    println!("attack {plain}, at 0.1 {half}, at 1 {full}");
    assert!(plain > 0.9, "{plain}");
    assert!(half < plain, "{plain} -> {half}");
    assert!(full < 0.65, "{full}");
}

#[test]
fn settings_have_the_published_values() {
    let settings = MemGuardSettings::default();
    assert_eq!((settings.c1, settings.c2, settings.c3, settings.c3_last), (1.0, 10.0, 0.1, 1e5));
    assert_eq!((settings.network.hidden.clone(), settings.network.epochs), (vec![256, 128, 64], 400));
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<MemGuardSettings>(&text).unwrap(), settings);
    let values = std::collections::BTreeMap::new();
    assert!(
        MemGuard::from_values(&settings, &values, C).unwrap_err().to_string().contains("layers.0.weight")
    );
}
