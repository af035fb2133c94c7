//! Networks of attacks against plain f64 loops: logits, and whole trainings with gradients by central differences.

mod common;
use common::assert_close;
use common::gpu::{Draw, gpu};
use contraleak::Error;
use contraleak::attack::classifier::{Architecture, Classifier, Training};
use contraleak::graph::ParameterSet;
use contraleak::kernels::elementwise::Unary;
use contraleak::nn::{DeepSets, LinearInit, Mlp, Names, PointSets};
use contraleak::optim::Optimizer;
use std::collections::BTreeMap;

type Values = BTreeMap<String, Vec<f64>>;

/// W x + b; without b where the layer has none.
fn linear(values: &Values, name: &str, x: &[f64]) -> Vec<f64> {
    let weight = &values[&format!("{name}.weight")];
    let bias = values.get(&format!("{name}.bias"));
    weight
        .chunks(x.len())
        .enumerate()
        .map(|(o, w)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias.map_or(0.0, |b| b[o]))
        .collect()
}

fn tanh(mut x: Vec<f64>) -> Vec<f64> {
    x.iter_mut().for_each(|v| *v = v.tanh());
    x
}

fn maximum(set: &[Vec<f64>]) -> Vec<f64> {
    (0..set[0].len()).map(|c| set.iter().map(|x| x[c]).fold(f64::NEG_INFINITY, f64::max)).collect()
}

fn mlp(values: &Values, row: &[f64]) -> Vec<f64> {
    let layers = values.len() / 2;
    (0..layers).fold(row.to_vec(), |x, i| {
        let y = linear(values, &format!("layers.{i}"), &x);
        if i + 1 < layers { tanh(y) } else { y }
    })
}

fn relu_mlp(values: &Values, row: &[f64]) -> Vec<f64> {
    let layers = values.len() / 2;
    (0..layers).fold(row.to_vec(), |x, i| {
        let y = linear(values, &format!("layers.{i}"), &x);
        if i + 1 < layers { y.into_iter().map(|v| v.max(0.0)).collect() } else { y }
    })
}

fn deep_sets(values: &Values, row: &[f64]) -> Vec<f64> {
    let mut set: Vec<Vec<f64>> = row.iter().map(|&v| vec![v]).collect();
    for n in 0..3 {
        let shift = linear(values, &format!("phi.{n}.lambda"), &maximum(&set));
        for x in &mut set {
            let y = linear(values, &format!("phi.{n}.gamma"), x);
            *x = tanh(y.iter().zip(&shift).map(|(y, s)| y - s).collect());
        }
    }
    let mean: Vec<f64> =
        (0..set[0].len()).map(|c| set.iter().map(|x| x[c]).sum::<f64>() / set.len() as f64).collect();
    let (a, b) = (linear(values, "rho.0.max", &maximum(&set)), linear(values, "rho.0.mean", &mean));
    linear(values, "rho.1", &tanh(a.iter().zip(&b).map(|(a, b)| a + b).collect()))
}

fn point_sets(values: &Values, row: &[f64]) -> Vec<f64> {
    let mut set: Vec<Vec<f64>> = row.chunks(3).map(<[f64]>::to_vec).collect();
    for n in 0..3 {
        let most = maximum(&set);
        for x in &mut set {
            let centred: Vec<f64> = x.iter().zip(&most).map(|(x, m)| x - m).collect();
            *x = tanh(linear(values, &format!("phi.{n}"), &centred));
        }
    }
    linear(values, "rho.1", &tanh(linear(values, "rho.0", &maximum(&set))))
}

type Network = fn(&Values, &[f64]) -> Vec<f64>;

fn loss(values: &Values, network: Network, rows: &[f64], labels: &[u32]) -> f64 {
    let of_row = |(row, &label): (&[f64], &u32)| {
        let y = network(values, row);
        y.iter().map(|v| v.exp()).sum::<f64>().ln() - y[label as usize]
    };
    rows.chunks(rows.len() / labels.len()).zip(labels).map(of_row).sum::<f64>() / labels.len() as f64
}

fn gradient(values: &Values, loss: impl Fn(&Values) -> f64) -> Values {
    let mut moved = values.clone();
    let mut gradient = values.clone();
    for (name, slots) in &mut gradient {
        for (i, slot) in slots.iter_mut().enumerate() {
            let mut at = |step: f64| {
                moved.get_mut(name).unwrap()[i] = values[name][i] + step;
                loss(&moved)
            };
            *slot = (at(1e-5) - at(-1e-5)) / 2e-5;
            at(0.0);
        }
    }
    gradient
}

/// The values that a classifier of this seed starts with.
fn initial(architecture: &Architecture, seed: u64) -> Values {
    let mut parameters = ParameterSet::new();
    let mut names = Names::new(&mut parameters);
    match architecture {
        Architecture::Mlp { widths, activation, init, last } => {
            Mlp::new(&mut names, widths, *activation, *init, *last);
        }
        Architecture::DropoutMlp { widths, .. } => {
            Mlp::new(&mut names, widths, Unary::Relu, LinearInit::Default, None);
        }
        Architecture::DeepSets { width, dropout, .. } => {
            DeepSets::new(&mut names, *width, 2, *dropout);
        }
        Architecture::PointSets { width, dropout, .. } => {
            PointSets::new(&mut names, *width, 2, *dropout);
        }
    }
    let values = parameters.initial_values(seed).into_iter();
    values.map(|(name, v)| (name, v.into_iter().map(f64::from).collect())).collect()
}

fn rows(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut draw = Draw(seed);
    (0..count * width).map(|_| draw.unit() as f32).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

fn mlp_of(widths: &[usize]) -> Architecture {
    Architecture::Mlp {
        widths: widths.to_vec(),
        activation: Unary::Tanh,
        init: LinearInit::Glorot,
        last: None,
    }
}

/// Plain gradient descent on the whole set.
fn descent(learning_rate: f64, epochs: u64) -> Training {
    Training {
        batch: 1000,
        epochs,
        learning_rate,
        decay_every: None,
        optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 },
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed: 5,
    }
}

#[test]
fn logits_match_float64_loops() {
    let cases: [(Architecture, Network); 7] = [
        (Architecture::DropoutMlp { widths: vec![7, 12, 9, 3], dropout: 0.5 }, relu_mlp),
        (mlp_of(&[7, 5, 9, 3]), mlp),
        (mlp_of(&[45, 32, 32, 2]), mlp),
        (Architecture::DeepSets { elements: 5, width: 6, dropout: 0.5 }, deep_sets),
        (Architecture::DeepSets { elements: 45, width: 17, dropout: 0.0 }, deep_sets),
        (Architecture::PointSets { elements: 5, width: 6, dropout: 0.5 }, point_sets),
        (Architecture::PointSets { elements: 45, width: 17, dropout: 0.5 }, point_sets),
    ];
    for (architecture, network) in cases {
        // A rate this small leaves the initial weights, to the bit; 300 rows are more than one batch of inference.
        let x = rows(300, architecture.row(), 1);
        let labels: Vec<u32> = (0..300).map(|i| i % 2).collect();
        let classifier =
            Classifier::train(gpu(), &architecture, &descent(1e-30, 1), &x, &labels, None).unwrap();
        let logits = wide(&classifier.logits(gpu(), &x).unwrap());
        let values = initial(&architecture, 5);
        let expected: Vec<f64> =
            wide(&x).chunks(architecture.row()).flat_map(|r| network(&values, r)).collect();
        assert_close(&format!("{architecture:?}"), &logits, &expected, 1e-5);
        let few = wide(&classifier.logits(gpu(), &x[..2 * architecture.row()]).unwrap());
        assert_close(&format!("{architecture:?}, 2 rows"), &few, &expected[..few.len()], 1e-5);
    }
}

#[test]
fn training_follows_gradients_by_central_differences() {
    let cases: [(Architecture, Network); 3] = [
        (mlp_of(&[5, 6, 3, 2]), mlp),
        (Architecture::DeepSets { elements: 5, width: 5, dropout: 0.0 }, deep_sets),
        (Architecture::PointSets { elements: 4, width: 5, dropout: 0.0 }, point_sets),
    ];
    for (architecture, network) in cases {
        let x = rows(9, architecture.row(), 2);
        let labels: Vec<u32> = (0..9).map(|i| u32::from(i % 3 == 0)).collect();
        for (penalty, clip) in [(0.0, None), (0.05, None), (0.05, Some(0.1))] {
            let training =
                Training { weight_penalty: penalty, clip, decay_every: Some(2), ..descent(0.5, 3) };
            let classifier = Classifier::train(gpu(), &architecture, &training, &x, &labels, None).unwrap();
            let mut values = initial(&architecture, 5);
            for step in 0..3 {
                let mut slope = gradient(&values, |v| loss(v, network, &wide(&x), &labels));
                if matches!(architecture, Architecture::Mlp { .. }) {
                    for (name, slots) in slope.iter_mut().filter(|(name, _)| name.ends_with("weight")) {
                        slots.iter_mut().zip(&values[name]).for_each(|(s, w)| *s += 2.0 * penalty * w);
                    }
                }
                let norm = slope.values().flatten().map(|s| s * s).sum::<f64>().sqrt();
                let factor = clip.map_or(1.0, |limit: f64| (limit / norm).min(1.0));
                assert!(clip.is_none() || factor < 1.0, "nothing is clipped");
                let rate = if step < 2 { 0.5 } else { 0.05 };
                for (name, slots) in &mut values {
                    slots.iter_mut().zip(&slope[name]).for_each(|(w, s)| *w -= rate * factor * s);
                }
            }
            let logits = wide(&classifier.logits(gpu(), &x).unwrap());
            let trained: Vec<f64> =
                wide(&x).chunks(architecture.row()).flat_map(|r| network(&values, r)).collect();
            let untrained: Vec<f64> = {
                let values = initial(&architecture, 5);
                wide(&x).chunks(architecture.row()).flat_map(|r| network(&values, r)).collect()
            };
            let moved = trained.iter().zip(&untrained).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(moved > 0.01, "training moved nothing");
            assert_close(&format!("{architecture:?} {penalty} {clip:?}"), &logits, &trained, 2e-5);
        }
    }
}

#[test]
fn classifiers_are_deterministic() {
    for architecture in [
        mlp_of(&[9, 16, 2]),
        Architecture::DeepSets { elements: 9, width: 8, dropout: 0.5 },
        Architecture::PointSets { elements: 3, width: 8, dropout: 0.5 },
    ] {
        let x = rows(23, 9, 3);
        let labels: Vec<u32> = (0..23).map(|i| i % 2).collect();
        let train = |keep_partial, seed| {
            let optimizer = Optimizer::adam(0.0);
            let training =
                Training { batch: 8, optimizer, clip: Some(5.0), keep_partial, seed, ..descent(1e-2, 4) };
            let classifier = Classifier::train(gpu(), &architecture, &training, &x, &labels, None).unwrap();
            classifier.logits(gpu(), &x).unwrap()
        };
        let first = train(true, 1);
        assert_eq!(first, train(true, 1), "{architecture:?}");
        assert_ne!(first, train(true, 2), "{architecture:?}: the seed changes nothing");
        assert_ne!(first, train(false, 1), "{architecture:?}: the last batch changes nothing");
    }
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let architecture = mlp_of(&[4, 3, 2]);
    let train = |training: &Training, x: &[f32], labels: &[u32]| {
        Classifier::train(gpu(), &architecture, training, x, labels, None).err()
    };
    let (plain, x) = (descent(0.1, 2), rows(6, 4, 1));
    assert!(train(&plain, &x, &[0, 1, 0, 1, 0, 1]).is_none());
    assert!(matches!(train(&plain, &x, &[0, 1]), Some(Error::Shape(_))));
    assert!(matches!(train(&plain, &[], &[]), Some(Error::Shape(_))));
    assert!(train(&plain, &x, &[0, 1, 0, 1, 0, 2]).is_some(), "class 2 of 2");
    assert!(matches!(train(&Training { batch: 0, ..plain.clone() }, &x, &[0; 6]), Some(Error::Shape(_))));
    assert!(matches!(train(&Training { epochs: 0, ..plain.clone() }, &x, &[0; 6]), Some(Error::Usage(_))));
    let mut broken = x.clone();
    broken[3] = f32::NAN;
    let Some(Error::Shape(message)) = train(&plain, &broken, &[0, 1, 0, 1, 0, 1]) else {
        panic!("NaN in a row goes unnoticed")
    };
    assert!(message.contains("row 0 holds NaN at place 3"), "{message}");
    let Some(Error::Diverged(message)) = train(&descent(1e39, 3), &x, &[0, 1, 0, 1, 0, 1]) else {
        panic!("an infinite learning rate goes unnoticed")
    };
    assert!(message.contains("classifier"), "{message}");
    let classifier = Classifier::train(gpu(), &architecture, &plain, &x, &[0, 1, 0, 1, 0, 1], None).unwrap();
    assert!(matches!(classifier.logits(gpu(), &x[..7]), Err(Error::Shape(_))));
}
