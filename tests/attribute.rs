//! The attribute attack: its network against an f64 twin, and embeddings whose leakage is known.

mod common;
use common::gpu::{Draw, gpu};
use contraleak::Error;
use contraleak::attack::attribute::{
    AdaptiveSettings, AttributeAttack, AttributeFinding, AttributeSettings, Embeddings, Features, Labelled,
    PublishedSettings, published_network,
};
use contraleak::attack::classifier::{Architecture, Classifier};
use contraleak::graph::ParameterSet;
use contraleak::metrics::attribute::AttributeResult;
use contraleak::nn::{Mlp, Names};
use contraleak::rng::{Key, Stream, permutation};
use std::collections::BTreeMap;

/// A fully connected ReLU network in plain f64 loops.
struct Twin {
    /// Weights `[O][I]` and biases of each layer.
    layers: Vec<(Vec<Vec<f64>>, Vec<f64>)>,
    final_relu: bool,
}

impl Twin {
    /// With the initial values of a classifier of this seed.
    fn new(architecture: &Architecture, seed: u64) -> Twin {
        let Architecture::Mlp { widths, activation, init, last } = architecture else { panic!("not an MLP") };
        let mut parameters = ParameterSet::new();
        Mlp::new(&mut Names::new(&mut parameters), widths, *activation, *init, *last);
        let values = parameters.initial_values(seed);
        let wide = |name: String| -> Vec<f64> { values[&name].iter().map(|&v| f64::from(v)).collect() };
        let layer = |i: usize| {
            let weight = wide(format!("layers.{i}.weight"));
            (weight.chunks(widths[i]).map(<[f64]>::to_vec).collect(), wide(format!("layers.{i}.bias")))
        };
        Twin { layers: (0..widths.len() - 1).map(layer).collect(), final_relu: last.is_some() }
    }

    /// Outputs of every layer, the input first.
    fn forward(&self, x: &[f64]) -> Vec<Vec<f64>> {
        let mut all = vec![x.to_vec()];
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            let x = &all[i];
            let relu = i + 1 < self.layers.len() || self.final_relu;
            let out = weight.iter().zip(bias).map(|(w, b)| {
                let y = w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b;
                if relu { y.max(0.0) } else { y }
            });
            let out = out.collect();
            all.push(out);
        }
        all
    }

    /// One step of gradient descent on the mean cross-entropy of a batch.
    fn step(&mut self, batch: &[(Vec<f64>, u32)], rate: f64) {
        let mut slopes: Vec<(Vec<Vec<f64>>, Vec<f64>)> = self
            .layers
            .iter()
            .map(|(w, b)| (vec![vec![0.0; w[0].len()]; w.len()], vec![0.0; b.len()]))
            .collect();
        for (x, label) in batch {
            let all = self.forward(x);
            let logits = &all[self.layers.len()];
            let sum: f64 = logits.iter().map(|l| l.exp()).sum();
            let mut d: Vec<f64> = logits.iter().map(|l| l.exp() / sum / batch.len() as f64).collect();
            d[*label as usize] -= 1.0 / batch.len() as f64;
            for i in (0..self.layers.len()).rev() {
                if i + 1 < self.layers.len() || self.final_relu {
                    d.iter_mut().zip(&all[i + 1]).for_each(|(d, y)| *d = if *y > 0.0 { *d } else { 0.0 });
                }
                let (weight, _) = &self.layers[i];
                let mut below = vec![0.0; weight[0].len()];
                for (o, row) in weight.iter().enumerate() {
                    for (j, w) in row.iter().enumerate() {
                        slopes[i].0[o][j] += d[o] * all[i][j];
                        below[j] += d[o] * w;
                    }
                    slopes[i].1[o] += d[o];
                }
                d = below;
            }
        }
        for ((weight, bias), (dw, db)) in self.layers.iter_mut().zip(&slopes) {
            weight.iter_mut().flatten().zip(dw.iter().flatten()).for_each(|(w, d)| *w -= rate * d);
            bias.iter_mut().zip(db).for_each(|(b, d)| *b -= rate * d);
        }
    }

    fn values(&self) -> Vec<f64> {
        self.layers.iter().flat_map(|(w, b)| w.iter().flatten().chain(b).copied()).collect()
    }
}

fn values_of(classifier: &Classifier, layers: usize) -> Vec<f64> {
    let values: BTreeMap<String, Vec<f32>> = classifier.values(gpu()).unwrap();
    let of = |i| values[&format!("layers.{i}.weight")].iter().chain(&values[&format!("layers.{i}.bias")]);
    (0..layers).flat_map(of).map(|&v| f64::from(v)).collect()
}

#[test]
fn training_follows_a_float64_twin_epoch_by_epoch() {
    let (n, width, classes, batch, seed) = (23, 7, 3, 8, 11);
    let mut draw = Draw(1);
    let rows: Vec<f32> = (0..n * width).map(|_| (2.0 * draw.unit()) as f32).collect();
    let labels: Vec<u32> = (0..n).map(|_| draw.range(0, classes - 1) as u32).collect();
    for final_relu in [false, true] {
        let settings =
            PublishedSettings { hidden: vec![9, 12, 6], learning_rate: 0.3, batch, epochs: 8, final_relu };
        let (architecture, training) = published_network(&settings, width, classes, seed);
        let mut twin = Twin::new(&architecture, seed);
        let start = twin.values();
        let mut checked = 0;
        let mut observer = |epoch: u64, classifier: &Classifier| {
            let key = Key::from_seed(seed).stream(Stream::BatchOrder, epoch as u32 - 1);
            for chosen in permutation(key, n).chunks(batch) {
                let row = |i: usize| rows[i * width..(i + 1) * width].iter().map(|&v| f64::from(v)).collect();
                let batch: Vec<(Vec<f64>, u32)> = chosen.iter().map(|&i| (row(i), labels[i])).collect();
                twin.step(&batch, settings.learning_rate);
            }
            let got = values_of(classifier, 4);
            common::assert_close(
                &format!("epoch {epoch}, final ReLU {final_relu}"),
                &got,
                &twin.values(),
                2e-5,
            );
            checked += 1;
            Ok(())
        };
        let classifier =
            Classifier::train_observed(gpu(), &architecture, &training, &rows, &labels, None, &mut observer)
                .unwrap();
        assert_eq!(checked, 8);
        let moved = twin.values().iter().zip(&start).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(moved > 0.05, "training moved nothing: {moved}");
        let logits = classifier.logits(gpu(), &rows).unwrap();
        let wide: Vec<f64> = rows.iter().map(|&v| f64::from(v)).collect();
        let expected: Vec<f64> = wide.chunks(width).flat_map(|x| twin.forward(x)[4].clone()).collect();
        common::assert_close(
            "logits",
            &logits.iter().map(|&l| f64::from(l)).collect::<Vec<_>>(),
            &expected,
            2e-5,
        );
        assert_eq!(logits.iter().all(|l| *l >= 0.0), final_relu);
    }
}

#[test]
fn published_constants() {
    let settings = AttributeSettings::default();
    let (architecture, training) = published_network(&settings.published, 512, 5, 0);
    let Architecture::Mlp { widths, last, .. } = &architecture else { panic!("not an MLP") };
    assert_eq!((&widths[..], *last), (&[512, 128, 128, 128, 5][..], None));
    assert_eq!((training.batch, training.epochs, training.learning_rate), (512, 100, 0.01));
    assert!(AttributeSettings::compat().published.final_relu && !settings.published.final_relu);
    let twin = Twin::new(&architecture, 3);
    for (weight, bias) in &twin.layers {
        let (count, fan_in) = ((weight.len() * weight[0].len()) as f64, weight[0].len() as f64);
        let squares: f64 = weight.iter().flatten().map(|w| w * w).sum();
        // The variance of n squares of normal numbers is 2/n; five standard deviations.
        assert!((squares / count * fan_in - 1.0).abs() < 5.0 * (2.0 / count).sqrt(), "{squares}");
        assert!(bias.iter().all(|b| *b == 0.0));
    }
    let json = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<AttributeSettings>(&json).unwrap(), settings);
    assert_eq!(serde_json::from_str::<AttributeSettings>("{}").unwrap(), settings);
}

#[test]
fn a_dead_network_answers_class_0_and_is_noticed() {
    let settings = PublishedSettings { hidden: vec![4], epochs: 3, final_relu: true, ..Default::default() };
    let (architecture, training) = published_network(&settings, 3, 3, 0);
    let rows: Vec<f32> = (0..60).map(|i| i as f32 * 0.1).collect();
    let labels: Vec<u32> = (0..20).map(|i| i % 3).collect();
    let classifier = Classifier::train(gpu(), &architecture, &training, &rows, &labels, None).unwrap();
    let mut values = classifier.values(gpu()).unwrap();
    values.get_mut("layers.1.weight").unwrap().fill(0.0);
    values.get_mut("layers.1.bias").unwrap().fill(-1.0);
    let dead = Classifier::with_values(gpu(), &architecture, &values).unwrap();
    assert_eq!(dead.values(gpu()).unwrap(), values);
    let logits: Vec<f64> = dead.logits(gpu(), &rows).unwrap().into_iter().map(f64::from).collect();
    assert!(logits.iter().all(|l| *l == 0.0));
    let result = AttributeResult::from_scores(&labels, &logits, 3).unwrap();
    assert!(result.predictions().iter().all(|p| *p == 0));
    values.remove("layers.1.bias");
    assert!(Classifier::with_values(gpu(), &architecture, &values).is_err());
}

/// Embeddings of three attribute classes with shares .5, .3, .2 and two task classes.
struct World {
    attribute: Vec<u32>,
    task: Vec<u32>,
    embedding: Vec<f32>,
}

const WIDTH: usize = 10;

/// `signal` is the distance of class centres; `tied` makes the task follow the attribute.
fn world(seed: u64, n: usize, signal: f64, tied: bool) -> World {
    let (mut draw, mut centres) = (Draw(seed), Draw(5));
    let centre: Vec<f64> = (0..3 * WIDTH).map(|_| centres.unit() * signal).collect();
    let attribute: Vec<u32> = (0..n).map(|_| [0, 0, 0, 0, 0, 1, 1, 1, 2, 2][draw.range(0, 9)]).collect();
    let task =
        attribute.iter().map(|&a| if tied { u32::from(a > 0) } else { draw.range(0, 1) as u32 }).collect();
    let of = |&a: &u32| -> Vec<f32> {
        (0..WIDTH).map(|j| (centre[a as usize * WIDTH + j] + draw.unit()) as f32).collect()
    };
    let embedding = attribute.iter().flat_map(of).collect();
    World { attribute, task, embedding }
}

impl World {
    fn labels(&self) -> Labelled<'_> {
        Labelled { attribute: &self.attribute, task: Some(&self.task) }
    }
}

/// Small enough for a test, strong enough to learn.
fn quick() -> AttributeAttack {
    let published = PublishedSettings { learning_rate: 0.1, batch: 64, epochs: 30, ..Default::default() };
    let adaptive = AdaptiveSettings { widths: vec![16], batch: 64, epochs: 15, ..Default::default() };
    let settings =
        AttributeSettings { published, adaptive, shuffles: 3, replicates: 200, ..Default::default() };
    AttributeAttack { settings, seed: 4 }
}

fn run(attack: &AttributeAttack, given: &Embeddings) -> AttributeFinding {
    attack.run(gpu(), "shadow-train", given, &mut |_| false).unwrap()
}

fn given<'a>(aux: &'a World, test: &'a World) -> Embeddings<'a> {
    let features = Features::plain(WIDTH, &aux.embedding, &test.embedding);
    Embeddings::new(3, 2, aux.labels(), test.labels(), features)
}

#[test]
fn embeddings_that_separate_the_classes_give_them_away() {
    let (aux, test) = (world(1, 400, 1.5, false), world(2, 300, 1.5, false));
    let found = run(&quick(), &given(&aux, &test));
    assert_eq!(
        (found.auxiliary.as_str(), found.auxiliary_samples, found.test_samples),
        ("shadow-train", 400, 300)
    );
    let ids: Vec<&str> = found.attackers.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(ids, ["mlp-128", "logistic", "knn-200", "adam-mlp-16"]);
    let adaptive: Vec<bool> = found.attackers.iter().map(|a| a.adaptive).collect();
    assert_eq!(adaptive, [false, true, true, true]);
    for attacker in &found.attackers {
        let m = &attacker.metrics;
        assert!(m.accuracy.value > 0.93, "{}: {}", attacker.id, m.accuracy.value);
        assert!(m.auc.unwrap().value > 0.98 && !m.one_class, "{}", attacker.id);
        assert!(attacker.advantage.interval.lower > 0.3, "{}: {:?}", attacker.id, attacker.advantage);
        assert_eq!(attacker.by_task.len(), 2);
        assert_eq!(attacker.result.as_ref().unwrap().count(), 300);
    }
    let baselines: Vec<&str> = found.baselines.iter().map(|b| b.id.as_str()).collect();
    assert_eq!(baselines, ["chance", "majority", "imputation"]);
    assert_eq!(found.baseline("chance").unwrap().accuracy.value, 1.0 / 3.0);
    assert_eq!(found.advantage_over, "imputation");
    // Neither task nor majority know more than the largest class.
    let share = test.attribute.iter().filter(|a| **a == 0).count() as f64 / 300.0;
    assert_eq!(found.baseline("majority").unwrap().accuracy.value, share);
    assert!((found.baseline("imputation").unwrap().accuracy.value - share).abs() < 0.02);
    assert_eq!((found.shuffled_labels.runs.len(), found.shuffled_labels.at_chance), (3, Some(true)));
    for shuffled in &found.shuffled_labels.runs {
        assert!((shuffled.balanced_accuracy.unwrap() - 1.0 / 3.0).abs() < 0.2, "{shuffled:?}");
    }
    assert!(
        found.strongest().unwrap().metrics.accuracy.value
            >= found.published().unwrap().metrics.accuracy.value
    );
    // Equal seeds, equal results; answers are not part of the JSON.
    assert_eq!(run(&quick(), &given(&aux, &test)), found);
    let mut read: AttributeFinding = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert!(read.attackers.iter().all(|a| a.result.is_none()));
    read.attackers.iter_mut().zip(&found.attackers).for_each(|(to, from)| to.result = from.result.clone());
    assert_eq!(read, found);
}

#[test]
fn embeddings_without_the_attribute_give_the_majority() {
    let (aux, test) = (world(3, 500, 0.0, false), world(4, 400, 0.0, false));
    let found = run(&quick(), &given(&aux, &test));
    let majority = found.baseline("majority").unwrap().accuracy.value;
    for attacker in &found.attackers {
        let m = &attacker.metrics;
        assert!(m.accuracy.value < majority + 0.05, "{}: {}", attacker.id, m.accuracy.value);
        assert!((m.auc.unwrap().value - 0.5).abs() < 0.08, "{}: {:?}", attacker.id, m.auc);
        assert!(attacker.advantage.interval.lower < 0.02, "{}: {:?}", attacker.id, attacker.advantage);
    }
    // Regularised away, logistic regression says what is most frequent.
    assert!((found.attacker("logistic").unwrap().metrics.accuracy.value - majority).abs() < 0.04);
    assert_eq!(found.shuffled_labels.at_chance, Some(true));
}

#[test]
fn what_the_task_tells_is_no_advantage() {
    let (aux, test) = (world(5, 400, 1.5, true), world(6, 300, 1.5, true));
    let found = run(&quick(), &given(&aux, &test));
    // The task says 0 or {1, 2}; of those 1 is the more frequent: right for .5 + .3.
    let imputed = found.baseline("imputation").unwrap();
    let expected = test.attribute.iter().filter(|a| **a < 2).count() as f64 / 300.0;
    assert_eq!(imputed.accuracy.value, expected);
    let published = found.published().unwrap();
    let gain = published.metrics.accuracy.value - expected;
    assert!((published.advantage.value - gain).abs() < 1e-12 && gain < 0.25, "{published:?}");
    let majority = found.baseline("majority").unwrap().accuracy.value;
    assert!(gain < published.metrics.accuracy.value - majority - 0.2);
}

#[test]
fn other_feature_spaces() {
    let (aux, test) = (world(7, 400, 0.35, false), world(8, 300, 0.35, false));
    // Eight noisy views of what separates a little; a projection that separates well; a space reached by a linear map.
    let spread = |w: &World, seed: u64| -> Vec<f32> {
        let mut draw = Draw(seed);
        let mut centres = Draw(5);
        let centre: Vec<f64> = (0..3 * WIDTH).map(|_| centres.unit() * 0.35).collect();
        let view = |a: u32, draw: &mut Draw| -> Vec<f32> {
            (0..WIDTH).map(|j| (centre[a as usize * WIDTH + j] + draw.unit()) as f32).collect()
        };
        w.attribute
            .iter()
            .flat_map(|&a| (0..8).flat_map(|_| view(a, &mut draw)).collect::<Vec<_>>())
            .collect()
    };
    let views = [spread(&aux, 31), spread(&test, 32)];
    let sharp = |w: &World, seed: u64| -> Vec<f32> {
        let mut draw = Draw(seed);
        w.attribute.iter().flat_map(|&a| [a as f32 + 0.3 * draw.unit() as f32, draw.unit() as f32]).collect()
    };
    let projection = [sharp(&aux, 41), sharp(&test, 42)];
    let uncensored: Vec<f32> =
        aux.embedding.chunks(WIDTH).flat_map(|r| [r[0] - r[1], r[2] + r[3], 2.0 * r[4]]).collect();
    let pixels = [sharp(&aux, 51), sharp(&test, 52)];
    let full = Embeddings {
        views: Some(Features { width: WIDTH, views: 8, aux: &views[0], test: &views[1] }),
        projection: Some(Features::plain(2, &projection[0], &projection[1])),
        pixels: Some(Features::plain(2, &pixels[0], &pixels[1])),
        uncensored: Some((3, &uncensored)),
        ..given(&aux, &test)
    };
    let mut told = Vec::new();
    let mut attack = quick();
    attack.settings.adaptive.widths.clear();
    let found = attack
        .run(gpu(), "aux", &full, &mut |what| {
            told.push(what.to_string());
            false
        })
        .unwrap();
    let ids: Vec<&str> = found.attackers.iter().map(|a| a.id.as_str()).collect();
    let expected = ["mlp-128", "logistic", "knn-200", "views-mlp-128", "views-logistic"];
    assert_eq!(ids[..5], expected);
    assert_eq!(
        ids[5..],
        ["projection-mlp-128", "projection-logistic", "decensored-mlp-128", "decensored-logistic"]
    );
    let accuracy = |id: &str| found.attacker(id).unwrap().metrics.accuracy.value;
    assert!(accuracy("views-logistic") > accuracy("logistic") + 0.1, "views do not help");
    assert!(accuracy("views-mlp-128") > accuracy("mlp-128") + 0.1, "views do not help");
    assert!(accuracy("projection-mlp-128") > 0.9);
    assert!(accuracy("decensored-logistic") > 0.3 && found.decensoring.unwrap().explained > 0.99);
    for id in ["pixels-logistic", "pixels-mlp"] {
        assert!(found.baseline(id).unwrap().accuracy.value > 0.85, "{id}");
    }
    assert!(told.iter().any(|what| what.contains("shuffled labels, run 3 of 3")), "{told:?}");
}

#[test]
fn the_ratio_takes_a_part_of_the_auxiliary_set() {
    let (aux, test) = (world(9, 101, 0.4, false), world(10, 50, 0.4, false));
    let mut attack = quick();
    attack.settings.adaptive.widths.clear();
    attack.settings.shuffles = 0;
    attack.settings.ratio = 0.29;
    let found = run(&attack, &given(&aux, &test));
    assert_eq!(found.auxiliary_samples, 29);
    assert_eq!(found.shuffled_labels.at_chance, None);
    let whole = run(
        &AttributeAttack { settings: AttributeSettings { ratio: 1.0, ..attack.settings.clone() }, ..attack },
        &given(&aux, &test),
    );
    assert_eq!(whole.auxiliary_samples, 101);
    assert_ne!(whole.attackers[1].metrics, found.attackers[1].metrics);
    for ratio in [0.0, -0.1, 1.01, f64::NAN] {
        let settings = AttributeSettings { ratio, ..AttributeSettings::default() };
        assert!(matches!(settings.used(10), Err(Error::Usage(_))), "{ratio}");
    }
    assert_eq!(AttributeSettings { ratio: 1e-6, ..Default::default() }.used(10).unwrap(), 1);
    assert_eq!(AttributeSettings { ratio: 0.29, ..Default::default() }.used(100).unwrap(), 29);
}

#[test]
fn warnings_and_missing_tasks() {
    let (mut aux, test) = (world(11, 120, 1.5, false), world(12, 60, 1.5, false));
    aux.attribute.iter_mut().for_each(|a| *a = (*a).min(1));
    let mut attack = quick();
    attack.settings.adaptive.widths.clear();
    attack.settings.shuffles = 0;
    // A rate at which nothing is learned.
    attack.settings.published.learning_rate = 1e-30;
    let without = Embeddings { aux: Labelled { task: None, ..aux.labels() }, ..given(&aux, &test) };
    let found = run(&attack, &without);
    assert_eq!(found.advantage_over, "majority");
    assert!(found.baseline("imputation").is_none());
    let all = found.warnings.join("\n");
    assert!(all.contains("attribute class 2") && all.contains("majority class"), "{all}");
    let stopped = attack.run(gpu(), "aux", &without, &mut |what| what.contains("nearest"));
    assert!(matches!(stopped, Err(Error::Interrupted(_))));
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let (aux, test) = (world(13, 20, 1.0, false), world(14, 10, 1.0, false));
    let refused = |given: Embeddings| {
        let error = quick().run(gpu(), "aux", &given, &mut |_| false).unwrap_err();
        assert!(!matches!(error, Error::Interrupted(_)), "{error}");
        error.to_string()
    };
    let good = given(&aux, &test);
    refused(Embeddings { classes: 2, ..good });
    refused(Embeddings { task_classes: 1, ..good });
    let message = refused(Embeddings { embedding: Features { width: WIDTH - 1, ..good.embedding }, ..good });
    assert!(message.contains("embeddings"), "{message}");
    let message = refused(Embeddings { views: Some(Features { views: 2, ..good.embedding }), ..good });
    assert!(message.contains("views"), "{message}");
    refused(Embeddings { uncensored: Some((3, &aux.embedding[..7])), ..good });
    let mut broken = test.embedding.clone();
    broken[WIDTH * 4] = f32::INFINITY;
    let message = refused(Embeddings { embedding: Features::plain(WIDTH, &aux.embedding, &broken), ..good });
    assert!(message.contains("image 4"), "{message}");
}
