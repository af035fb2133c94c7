//! Both forms of AttriGuard: objective and gradient against f64, the optimality of Phase II, and what they do to an attacker.

mod common;
use common::defence::{Wide, accuracy, chain, check_gradient, cross_entropy, noisy, separable, to64, wide};
use common::gpu::{Draw, gpu};
use contraleak::attack::classifier::{Architecture, Classifier, Training};
use contraleak::defence::attriguard::embedding::EmbeddingSession;
use contraleak::defence::attriguard::two_phase::smallest_changes;
use contraleak::defence::attriguard::{
    AttriGuardSettings, Cost, Defender, TwoPhaseSettings, class_distribution, guard_embeddings,
    guard_two_phase,
};
use contraleak::defence::network::NetworkTraining;
use contraleak::defence::{Rows, argmax};
use contraleak::kernels::elementwise::Unary;
use contraleak::nn::LinearInit;
use contraleak::optim::Optimizer;

const D: usize = 9;
const NOISE: f64 = 1.2;

fn defender(classes: usize, hidden: &[usize]) -> Defender {
    let set = separable(1, 256, D);
    let attributes: Vec<u32> = set
        .attribute
        .iter()
        .enumerate()
        .map(|(i, &a)| if classes > 2 && i % 5 == 0 { 2 } else { a })
        .collect();
    let training = NetworkTraining {
        hidden: hidden.to_vec(),
        epochs: 30,
        learning_rate: 1e-2,
        ..Defender::default_training()
    };
    Defender::train(gpu(), &training, &Rows::new("own", &set.rows, D).unwrap(), &attributes, classes).unwrap()
}

#[test]
fn the_embedding_objective_matches_central_differences() {
    let defender = defender(3, &[11, 6]);
    let set = separable(2, 13, D);
    let rows = Rows::new("queries", &set.rows, D).unwrap();
    let settings = AttriGuardSettings { alpha: 0.8, learning_rate: 0.05, ..AttriGuardSettings::default() };
    let mut session = EmbeddingSession::new(gpu(), &settings, &defender, &rows).unwrap();
    session.begin(gpu(), &set.rows).unwrap();
    let (network, origin) = (wide(&defender.values), to64(&set.rows));
    for step in 0..3 {
        let at = session.rows(gpu()).unwrap();
        session.step(gpu()).unwrap();
        let mut values = network.clone();
        values.insert("query".into(), to64(&at));
        let terms = |v: &Wide| -> [f64; 2] {
            let mut terms = [0.0; 2];
            for (row, origin) in v["query"].chunks(D).zip(origin.chunks(D)) {
                terms[0] += row.iter().zip(origin).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                let logits = chain(&network, "layers", 3, 2, row);
                terms[1] += cross_entropy(&logits, |_| 1.0 / 3.0) - 3f64.ln();
            }
            terms
        };
        let found = session.terms(gpu()).unwrap();
        let expected = terms(&values).map(|term| term / 13.0);
        for (found, expected) in found.into_iter().zip(expected) {
            assert!(
                (found - expected).abs() < 2e-6 + 1e-5 * expected,
                "step {step}: {found} instead of {expected}"
            );
        }
        if step > 0 {
            // At the start the distance has a corner, whose gradient counts as 0.
            let gradient = session.gradient(gpu()).unwrap();
            let objective = |v: &Wide| {
                let [distance, divergence] = terms(v);
                0.5 * distance + 0.8 * divergence
            };
            assert!(check_gradient("query", &values, &gradient, objective) > 1e-2);
        }
    }
}

#[test]
fn guarded_embeddings_confuse_the_defender_and_do_not_depend_on_their_batch() {
    // Classes that overlap: where they do not, any boundary in the gap serves the defender, and an attacker's is another.
    let own = noisy(1, 1024, D, NOISE);
    let own_rows = Rows::new("own", &own.rows, D).unwrap();
    let training = NetworkTraining { epochs: 10, learning_rate: 5e-3, ..Defender::default_training() };
    let defender = Defender::train(gpu(), &training, &own_rows, &own.attribute, 2).unwrap();
    let set = noisy(3, 200, D, NOISE);
    let rows = Rows::new("queries", &set.rows, D).unwrap();
    let settings =
        AttriGuardSettings { alpha: 10.0, learning_rate: 2e-2, batch: 32, ..AttriGuardSettings::default() };
    let guarded = guard_embeddings(gpu(), &settings, &defender, &rows).unwrap();
    let alone =
        guard_embeddings(gpu(), &AttriGuardSettings { batch: 200, ..settings.clone() }, &defender, &rows)
            .unwrap();
    for (a, b) in guarded.features.iter().zip(&alone.features) {
        assert!((a - b).abs() < 1e-3, "{a} in one batch, {b} in another");
    }
    let doubt = |features: &[f32]| {
        let rows = features.chunks(D);
        let top = rows.map(|row| {
            let y = chain(&wide(&defender.values), "layers", 3, 2, &to64(row));
            let sum: f64 = y.iter().map(|x| x.exp()).sum();
            y.iter().map(|x| x.exp() / sum).fold(0.0, f64::max)
        });
        top.sum::<f64>() / 200.0
    };
    let (before, after) = (doubt(&set.rows), doubt(&guarded.features));
    println!("confidence {before} -> {after}, distance {}", guarded.distance.iter().sum::<f64>() / 200.0);
    assert!(before > 0.9 && after < 0.6, "{before} -> {after}");
    // Adam moves a coordinate by about its rate in a step: 100 steps of 0.02 in D coordinates.
    let farthest = 2.0 * (D as f64).sqrt();
    assert!(guarded.distance.iter().all(|d| *d < farthest), "{:?}", guarded.distance);
    assert!(guarded.changed.iter().all(|&n| n <= D as u32));
    // A linear attacker who learned on plain embeddings of others is left with little confidence. Its accuracy falls less: with a
    // uniform target a row stops on its own side of the defender's boundary, just beside it.
    let others = noisy(6, 600, D, NOISE);
    let attack = |rows: &[f32]| linear(&others.rows, &others.attribute, rows);
    let loss = |rows: &[f32]| {
        let logits = to64(&attack(rows));
        let own = logits.chunks(2).zip(&set.attribute);
        own.map(|(row, &s)| cross_entropy(row, |c| f64::from(u8::from(c == s as usize)))).sum::<f64>() / 200.0
    };
    let right = |rows: &[f32]| accuracy(&attack(rows), &set.attribute);
    let (plain, hidden) = (loss(&set.rows), loss(&guarded.features));
    println!(
        "attacker's loss {plain} -> {hidden}, right {} -> {}",
        right(&set.rows),
        right(&guarded.features)
    );
    assert!(hidden > 1.5 * plain, "{plain} -> {hidden}");
    assert!(right(&guarded.features) < right(&set.rows));
    let task = |rows: &[f32]| accuracy(&linear(&others.rows, &others.task, rows), &set.task);
    assert!(
        task(&guarded.features) > task(&set.rows) - 0.1,
        "{} -> {}",
        task(&set.rows),
        task(&guarded.features)
    );
}

/// Logits of a linear classifier for `rows`.
fn linear(own: &[f32], labels: &[u32], rows: &[f32]) -> Vec<f32> {
    let architecture = Architecture::Mlp {
        widths: vec![D, 2],
        activation: Unary::Relu,
        init: LinearInit::Default,
        last: None,
    };
    let training = Training {
        batch: 50,
        epochs: 40,
        learning_rate: 0.02,
        decay_every: None,
        optimizer: Optimizer::adam(0.0),
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed: 3,
    };
    let classifier = Classifier::train(gpu(), &architecture, &training, own, labels, None).unwrap();
    classifier.logits(gpu(), rows).unwrap()
}

fn divergence(prior: &[f64], q: &[f64]) -> f64 {
    prior.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).ln()).sum()
}

#[test]
fn the_distribution_is_optimal() {
    let mut draw = Draw(4);
    for case in 0..200 {
        let classes = draw.range(2, 6);
        let mut prior: Vec<f64> = (0..classes).map(|_| draw.unit().abs() + 0.01).collect();
        let total: f64 = prior.iter().sum();
        prior.iter_mut().for_each(|p| *p /= total);
        let mut costs: Vec<f64> = (0..classes).map(|_| 5.0 * draw.unit().abs()).collect();
        costs[draw.range(0, classes - 1)] = 0.0;
        let epsilon = 2.0 * draw.unit().abs() + 1e-3;
        let q = class_distribution(&prior, &costs, epsilon).unwrap();
        let spent: f64 = q.iter().zip(&costs).map(|(q, c)| q * c).sum();
        assert!((q.iter().sum::<f64>() - 1.0).abs() < 1e-12 && spent <= epsilon + 1e-9, "case {case}: {q:?}");
        assert!(q.iter().all(|q| *q > 0.0), "{q:?}");
        let free: f64 = prior.iter().zip(&costs).map(|(p, c)| p * c).sum();
        if free <= epsilon {
            q.iter().zip(&prior).for_each(|(q, p)| assert!((q - p).abs() < 1e-12));
            continue;
        }
        // Karush–Kuhn–Tucker: the budget is spent, and p_j/q_j = μ + ν·cost_j for one μ and one ν ≥ 0.
        assert!((spent - epsilon).abs() < 1e-9, "case {case}: {spent} of {epsilon}");
        let ratio = |j: usize| prior[j] / q[j];
        let (a, b) = (0, (1..classes).find(|&j| (costs[j] - costs[0]).abs() > 1e-3).unwrap());
        let nu = (ratio(b) - ratio(a)) / (costs[b] - costs[a]);
        let mu = ratio(a) - nu * costs[a];
        assert!(nu > 0.0);
        for (j, cost) in costs.iter().enumerate() {
            assert!((ratio(j) - mu - nu * cost).abs() < 1e-6 * ratio(j), "case {case}, class {j}");
        }
        // No feasible point that was drawn at random is better.
        let best = divergence(&prior, &q);
        for _ in 0..300 {
            let mut other: Vec<f64> = q.iter().map(|q| q * (1.0 + 0.5 * draw.unit())).collect();
            let sum: f64 = other.iter().sum();
            other.iter_mut().for_each(|o| *o /= sum);
            if other.iter().zip(&costs).map(|(q, c)| q * c).sum::<f64>() <= epsilon {
                assert!(divergence(&prior, &other) >= best - 1e-9, "case {case}: {other:?} beats {q:?}");
            }
        }
    }
}

#[test]
fn two_classes_by_hand_and_at_the_edges() {
    // Cost 0 and 4, budget 1: q₁ = ¼ whatever the prior above it.
    let q = class_distribution(&[0.3, 0.7], &[0.0, 4.0], 1.0).unwrap();
    assert!((q[1] - 0.25).abs() < 1e-12 && (q[0] - 0.75).abs() < 1e-12, "{q:?}");
    assert_eq!(class_distribution(&[0.25, 0.75], &[0.0, 4.0], 0.0).unwrap(), [1.0, 0.0]);
    assert_eq!(class_distribution(&[0.25, 0.75], &[0.0, f64::INFINITY], 3.0).unwrap(), [1.0, 0.0]);
    assert!(class_distribution(&[0.5, 0.5], &[1.0, 2.0], 0.5).is_err());
    assert!(class_distribution(&[0.5], &[1.0, 2.0], 0.5).is_err());
    assert!(class_distribution(&[0.5, f64::NAN], &[1.0, 2.0], 5.0).is_err());
}

#[test]
fn two_phases_spend_their_budget_and_release_once() {
    let defender = defender(2, &[16, 8]);
    let set = separable(5, 300, D);
    let rows = Rows::new("queries", &set.rows, D).unwrap();
    let settings = TwoPhaseSettings { cost: Cost::L2, epsilon: 0.5, ..TwoPhaseSettings::default() };
    let mut reached = 0;
    for row in rows.iter().take(20) {
        let says = |row: &[f32]| argmax(&defender.network().forward(&to64(row)));
        for (class, change) in smallest_changes(&defender, row, &settings).iter().enumerate() {
            let Some(change) = change else { continue };
            reached += 1;
            assert_eq!(says(&change.features), class);
            assert_eq!(change.cost == 0.0, says(row) == class);
            assert!(
                change
                    .features
                    .iter()
                    .zip(row)
                    .zip(&defender.range)
                    .all(|((&n, &o), range)| n == o || range.contains(&n))
            );
        }
    }
    assert!(reached > 35, "{reached} of 40 classes reached");
    let guarded = guard_two_phase(&settings, &defender, &rows).unwrap();
    assert_eq!(guarded, guard_two_phase(&settings, &defender, &rows).unwrap());
    let spent = guarded.distance.iter().sum::<f64>() / 300.0;
    assert!(spent > 0.3 && spent < 0.65, "{spent} of 0.5");
    let all =
        guard_two_phase(&TwoPhaseSettings { epsilon: 50.0, ..settings.clone() }, &defender, &rows).unwrap();
    let guesses = all.features.chunks(D).map(|row| argmax(&defender.network().forward(&to64(row))) as u32);
    let right = guesses.zip(&set.attribute).filter(|(a, b)| a == *b).count() as f64 / 300.0;
    // With a free budget the guess is drawn from the prior: it says nothing.
    assert!((right - 0.5).abs() < 0.1, "{right}");
    // So does that of a linear attacker who learned on plain embeddings of others; the task stays.
    let others = separable(6, 400, D);
    let attack = |rows: &[f32]| accuracy(&linear(&others.rows, &others.attribute, rows), &set.attribute);
    let task = |rows: &[f32]| accuracy(&linear(&others.rows, &others.task, rows), &set.task);
    let (before, after) = (attack(&set.rows), attack(&all.features));
    println!("attacker right {before} -> {after}, task {} -> {}", task(&set.rows), task(&all.features));
    assert!(before > 0.98 && after < 0.7, "{before} -> {after}");
    assert!(task(&all.features) > 0.95);
    let none = guard_two_phase(&TwoPhaseSettings { epsilon: 0.0, ..settings }, &defender, &rows).unwrap();
    assert_eq!(none.features, set.rows);
}
