//! Membership inference from posteriors against naive float64 versions, on leaking and on silent models.

mod common;
use common::assert_close;
use common::gpu::{Draw, gpu};
use contraleak::Error;
use contraleak::attack::membership::metric::{self, Measure, MetricSettings, Thresholds, best_threshold};
use contraleak::attack::membership::network::{Network, NetworkSettings};
use contraleak::attack::membership::neural::{self, NeuralSettings, PERMUTATIONS};
use contraleak::attack::membership::{Four, Inference, Outcome, Posteriors, Rows, one_answer_warning};
use contraleak::graph::ParameterSet;
use contraleak::kernels::elementwise::Unary;
use contraleak::metrics::MembershipMetrics;
use contraleak::nn::{LinearInit, Mlp, Names};
use contraleak::reference::elementwise::relu;
use contraleak::reference::loss::{softmax_cross_entropy, softmax_cross_entropy_backward};
use contraleak::reference::matmul::{MatmulShape, matmul_nn, matmul_nt, matmul_tn};
use contraleak::reference::optim::{AdamSettings, adam};

/// Posteriors of a model that is `sure` (a factor on its logits) of the label, with noise.
fn answers(count: usize, classes: usize, sure: f64, seed: u64) -> Posteriors {
    let mut draw = Draw(seed);
    let mut logits = Vec::new();
    let labels: Vec<u32> = (0..count).map(|_| draw.range(0, classes - 1) as u32).collect();
    for &label in &labels {
        logits.extend((0..classes).map(|c| {
            let noise: f64 = (0..4).map(|_| draw.unit()).sum();
            (noise + if c == label as usize { sure } else { 0.0 }) as f32
        }));
    }
    Posteriors::from_logits(classes, &logits, labels).unwrap()
}

/// Target and shadow with as many members as non-members, surer of members by `gap`.
fn models(count: usize, classes: usize, gap: f64, seed: u64) -> Four<Posteriors> {
    Four {
        target_members: answers(count, classes, 1.0 + gap, seed),
        target_non_members: answers(count, classes, 1.0, seed + 1),
        shadow_members: answers(count, classes, 1.0 + gap, seed + 2),
        shadow_non_members: answers(count, classes, 1.0, seed + 3),
    }
}

fn metrics(outcome: &Outcome) -> MembershipMetrics {
    MembershipMetrics::compute_with(&outcome.result, 500, 3)
}

fn message<T>(result: contraleak::Result<T>) -> String {
    result.err().unwrap_or_else(|| panic!("accepted")).to_string()
}

#[test]
fn posteriors_are_checked() {
    let good = Posteriors::new(3, vec![0.5, 0.25, 0.25, 0.0, 1.0, 0.0], vec![2, 1]).unwrap();
    assert_eq!(good.correct(), [false, true]);
    assert_eq!((good.len(), good.classes(), good.labels()), (2, 3, &[2, 1][..]));
    assert!(message(Posteriors::new(3, vec![1.0; 5], vec![0, 1])).contains("2 rows of 3 classes"));
    assert!(message(Posteriors::new(1, vec![1.0], vec![0])).contains("at least 2"));
    assert!(message(Posteriors::new(2, vec![0.5, 0.5], vec![2])).contains("label 2 of row 0"));
    assert!(message(Posteriors::new(2, vec![0.5, 0.5, 3.0, -2.0], vec![0, 0])).contains("row 1"));
    assert!(message(Posteriors::new(2, vec![0.5, f32::NAN], vec![0])).contains("NaN"));
    assert!(message(Posteriors::new(2, vec![0.5, 0.25], vec![0])).contains("sum of 1, found 0.75"));
    assert!(message(Posteriors::from_logits(2, &[0.0, f32::INFINITY], vec![0])).contains("class 1 is inf"));
    // ln 3 : 0 is 3 : 1, and large logits overflow nothing.
    let soft = Posteriors::from_logits(2, &[3f32.ln(), 0.0, 1000.0, 1000.0], vec![0, 1]).unwrap();
    let rows: Vec<f64> = soft.iter().flat_map(|(row, _)| row).map(|&p| f64::from(p)).collect();
    assert_close("softmax", &rows, &[0.75, 0.25, 0.5, 0.5], 1e-7);
    // The first of equals is the prediction.
    assert_eq!(soft.correct(), [true, false]);
    assert!(message(Rows::new(0, vec![])).contains("rows of 0"));
    assert!(message(Rows::new(2, vec![1.0, 2.0, 3.0])).contains("rows of 2"));
    assert!(message(Rows::new(2, vec![1.0, 2.0, 3.0, f32::NAN])).contains("row 1 holds NaN at place 1"));
}

#[test]
fn features_are_sorted_posteriors_and_a_bit() {
    let posteriors =
        Posteriors::new(4, vec![0.125, 0.5, 0.25, 0.125, 0.0625, 0.125, 0.3125, 0.5], vec![2, 3]).unwrap();
    let of = |top| NeuralSettings { top, ..NeuralSettings::default() }.features(&posteriors);
    assert_eq!(of(2).unwrap().values(), [0.5, 0.25, 0.0, 0.5, 0.3125, 1.0]);
    assert_eq!(of(4).unwrap().width(), 5);
    for (top, expected) in [(0, "found 0"), (5, "the 4 classes, found 5"), (11, "1 to 10 posteriors")] {
        assert!(message(of(top)).contains(expected), "{top}");
    }
    // What is not seen is spread evenly: (1 − 0.5)/3, and (1 − 0.8125)/2.
    let only: Vec<f32> = posteriors.only_top(1).unwrap().iter().flat_map(|(row, _)| row.to_vec()).collect();
    let third = (0.5f64 / 3.0) as f32;
    assert_eq!(only, [third, 0.5, third, third, third, third, third, 0.5]);
    let two: Vec<f32> = posteriors.only_top(2).unwrap().iter().flat_map(|(row, _)| row.to_vec()).collect();
    assert_eq!(two, [0.125, 0.5, 0.25, 0.125, 0.09375, 0.09375, 0.3125, 0.5]);
    assert_eq!(posteriors.only_top(4).unwrap(), posteriors);
    assert!(message(posteriors.only_top(5)).contains("found 5"));
}

#[test]
fn measures_match_their_formulas() {
    let row = [0.5f32, 0.25, 0.125, 0.125];
    let ln2 = std::f64::consts::LN_2;
    let entropy = -(0.5 * ln2 + 0.25 * 2.0 * ln2 + 0.25 * 3.0 * ln2);
    for (label, expected) in [
        (0, [1.0, 0.5, entropy, -0.5 * ln2 + 0.25 * 0.75f64.ln() + 2.0 * 0.125 * 0.875f64.ln()]),
        (2, {
            let own = 0.875 * -3.0 * ln2;
            [0.0, 0.125, entropy, own - 0.5 * ln2 + 0.25 * 0.75f64.ln() + 0.125 * 0.875f64.ln()]
        }),
    ] {
        let found = Measure::ALL.map(|m| m.value(&row, label));
        assert_close(&format!("label {label}"), &found, &expected, 1e-15);
    }
    // Logarithms stop at 1e-30: a certain right answer costs nothing, a certain wrong one 2·ln 1e-30.
    let lowest = 1e-30f64.ln();
    assert_eq!(Measure::ModifiedEntropy.value(&[1.0, 0.0], 0), 0.0);
    assert_eq!(Measure::ModifiedEntropy.value(&[1.0, 0.0], 1), 2.0 * lowest);
    assert_eq!(Measure::Entropy.value(&[1.0, 0.0], 1), 0.0);
    // Ties: the first of equals is the prediction, as in Posteriors::correct.
    assert_eq!([0, 1].map(|y| Measure::Correctness.value(&[0.5, 0.5], y)), [1.0, 0.0]);
    for measure in Measure::ALL {
        assert_eq!(measure.to_string().parse::<Measure>().unwrap(), measure);
    }
    assert!(message("entropi".parse::<Measure>()).contains("did you mean entropy"));
}

#[test]
fn thresholds_match_brute_force() {
    let mut draw = Draw(11);
    for case in 0..300 {
        // Few distinct values, so that there are ties.
        let most = draw.range(1, 12);
        let mut group =
            |size: usize| -> Vec<f64> { (0..size).map(|_| draw.range(0, most) as f64 / 8.0).collect() };
        let (p, n) = (1 + case % 7, 1 + case % 5);
        let (members, others) = (group(p), group(n));
        let mut best = (-1.0, f64::NAN);
        for &t in members.iter().chain(&others) {
            let tpr = members.iter().filter(|&&v| v >= t).count() as f64 / p as f64;
            let tnr = others.iter().filter(|&&v| v < t).count() as f64 / n as f64;
            // Equal up to rounding is equal.
            if (tpr + tnr) / 2.0 > best.0 + 1e-12 {
                best = ((tpr + tnr) / 2.0, t);
            }
        }
        assert_eq!(best_threshold(&members, &others), Some(best.1), "{members:?} {others:?}");
    }
    assert_eq!(best_threshold(&[], &[1.0]), None);
    assert_eq!(best_threshold(&[1.0], &[]), None);
    // The first maximum in the order members, non-members, not the smallest value.
    assert_eq!(best_threshold(&[3.0, 1.0], &[2.0, 0.0]), Some(3.0));
    assert_eq!(best_threshold(&[1.0, 3.0], &[2.0, 0.0]), Some(1.0));
}

#[test]
fn thresholds_of_classes_and_of_all() {
    let confident = |rows: &[(f32, u32)]| {
        let spread = |&(own, label): &(f32, u32)| {
            (0..3).map(move |c| if c == label { own } else { (1.0 - own) / 2.0 }).collect::<Vec<f32>>()
        };
        let labels = rows.iter().map(|r| r.1).collect();
        Posteriors::new(3, rows.iter().flat_map(spread).collect(), labels).unwrap()
    };
    // Class 2 has no shadow non-members.
    let four = Four {
        shadow_members: confident(&[(0.75, 0), (0.875, 0), (0.5, 1), (0.625, 1), (1.0, 2)]),
        shadow_non_members: confident(&[(0.5, 0), (0.625, 0), (0.25, 1), (0.375, 1)]),
        target_members: confident(&[(0.75, 0), (0.5, 1), (0.5, 2)]),
        target_non_members: confident(&[(0.625, 0), (0.375, 1), (0.75, 2)]),
    };
    let (outcome, thresholds) =
        metric::attack(&four, Measure::Confidence, &MetricSettings::default()).unwrap();
    // Pooled: at 0.75 three of five members pass and no non-member.  0.5: five of five, two of four do not.
    let pooled = [0.75, 0.5].map(|t| {
        let right =
            |set: &Posteriors| set.iter().filter(|(r, y)| f64::from(r[*y as usize]) >= t).count() as f64;
        right(&four.shadow_members) / 5.0 + 1.0 - right(&four.shadow_non_members) / 4.0
    });
    assert!(pooled[0] > pooled[1]);
    assert_eq!(thresholds.by_class, [0.75, 0.5, 0.75]);
    assert_eq!(thresholds.pooled, [2]);
    assert_eq!(outcome.result.decisions(), [true, true, false, false, false, true]);
    assert_eq!(outcome.result.scores(), [0.0, 0.0, -0.25, -0.125, -0.125, 0.0]);
    assert_eq!(outcome.training_accuracy, Some(1.0));
    assert!(outcome.warnings.iter().any(|w| w.contains("1 of 3 classes")), "{:?}", outcome.warnings);
    assert_eq!(outcome.result.members(), [true, true, true, false, false, false]);
    assert_eq!(outcome.result.ids()[3], "non-member/0");

    // compat: scores are decisions, so that AUC is balanced accuracy.
    let (compat, _) = metric::attack(&four, Measure::Confidence, &MetricSettings::compat()).unwrap();
    assert_eq!(compat.result.scores(), [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(compat.result.decisions(), outcome.result.decisions());
    let numbers = metrics(&compat);
    assert!((numbers.auc.value - numbers.balanced_accuracy).abs() < 1e-12);
    assert!(
        (metrics(&outcome).auc.value - numbers.auc.value).abs() > 1e-3,
        "scores say no more than decisions"
    );

    let (correctness, fixed) =
        metric::attack(&four, Measure::Correctness, &MetricSettings::default()).unwrap();
    assert_eq!(fixed.by_class, [1.0; 3]);
    let all: Vec<bool> =
        [&four.target_members, &four.target_non_members].iter().flat_map(|set| set.correct()).collect();
    assert_eq!(correctness.result.decisions(), all);

    let two = Posteriors::new(2, vec![0.5, 0.5], vec![0]).unwrap();
    assert!(message(Thresholds::fit(Measure::Entropy, &four.shadow_members, &two)).contains("3 classes"));
    let odd = Four { target_members: two, ..four.clone() };
    let text = message(metric::attack(&odd, Measure::Entropy, &MetricSettings::default()));
    assert!(text.contains("target members") && text.contains("found 2"), "{text}");
    let none = Four { shadow_non_members: Posteriors::new(3, vec![], vec![]).unwrap(), ..four };
    assert!(
        message(metric::attack(&none, Measure::Entropy, &MetricSettings::default())).contains("is empty")
    );
}

#[test]
fn overfitted_models_are_found_and_silent_ones_are_not() {
    let (leaking, silent) = (models(600, 5, 2.0, 100), models(600, 5, 0.0, 200));
    for measure in Measure::ALL {
        for top in [None, Some(1), Some(3)] {
            let settings = MetricSettings { top, ..MetricSettings::default() };
            let found = metrics(&metric::attack(&leaking, measure, &settings).unwrap().0);
            assert!(found.auc_99.lower > 0.6, "{measure} {top:?}: {:?}", found.auc);
            let nothing = metrics(&metric::attack(&silent, measure, &settings).unwrap().0);
            assert!(nothing.auc_99.contains(0.5), "{measure} {top:?}: {:?}", nothing.auc_99);
        }
    }
    let settings = NeuralSettings {
        network: NetworkSettings { epochs: 40, ..NetworkSettings::default() },
        ..NeuralSettings::default()
    };
    let found = neural::attack(gpu(), &leaking, &settings, 1).unwrap();
    assert!(metrics(&found).auc_99.lower > 0.7, "{:?}", metrics(&found).auc);
    assert!(found.training_accuracy.is_some_and(|a| a > 0.7) && found.warnings.is_empty());
    assert_eq!(found, neural::attack(gpu(), &leaking, &settings, 1).unwrap(), "not deterministic");
    // One interval in a hundred misses by chance, so several silent models are attacked.
    let trials: Vec<MembershipMetrics> = (0..8)
        .map(|trial| models(600, 5, 0.0, 1000 + 10 * trial))
        .map(|silent| metrics(&neural::attack(gpu(), &silent, &settings, 1).unwrap()))
        .collect();
    let at_chance = trials.iter().filter(|m| m.auc_99.contains(0.5)).count();
    let mean = trials.iter().map(|m| m.auc.value).sum::<f64>() / trials.len() as f64;
    // AUC of 600 + 600 samples of one distribution: standard error √(1201/(12·600²)) = 0.0167, of the mean 0.0059.
    assert!(at_chance >= 7 && (mean - 0.5).abs() < 2.6 * 0.0059, "{at_chance} of 8, mean {mean}");
    // Even where the model leaks, an attack that learned from shuffled labels guesses.
    let control = neural::shuffled_labels(gpu(), &leaking, &settings, PERMUTATIONS, 1).unwrap().unwrap();
    assert_eq!((control.id.as_str(), control.runs, control.at_chance), ("shuffled-labels", 5, Some(true)));
    assert!(neural::shuffled_labels(gpu(), &leaking, &settings, 0, 1).unwrap().is_none());
}

/// Forward pass, backward pass and Adam of a network with ReLU, in f64.
struct Twin {
    widths: Vec<usize>,
    /// Weight `[O, I]` and bias of each layer, alternating; with both moments.
    values: Vec<[Vec<f64>; 3]>,
    last: bool,
}

impl Twin {
    fn new(widths: &[usize], seed: u64, last: bool) -> Twin {
        let mut parameters = ParameterSet::new();
        let last_relu = last.then_some(Unary::Relu);
        Mlp::new(&mut Names::new(&mut parameters), widths, Unary::Relu, LinearInit::FanIn, last_relu);
        let initial = parameters.initial_values(seed);
        let mut values = Vec::new();
        for layer in 0..widths.len() - 1 {
            for part in ["weight", "bias"] {
                let of = &initial[&format!("layers.{layer}.{part}")];
                let wide: Vec<f64> = of.iter().map(|&v| f64::from(v)).collect();
                let zeros = vec![0.0; wide.len()];
                values.push([wide, zeros.clone(), zeros]);
            }
        }
        Twin { widths: widths.to_vec(), values, last }
    }

    /// Input and all layers' results.
    fn forward(&self, rows: &[f64]) -> Vec<Vec<f64>> {
        let count = rows.len() / self.widths[0];
        let mut all = vec![rows.to_vec()];
        for (l, pair) in self.widths.windows(2).enumerate() {
            let shape = MatmulShape { m: count, n: pair[1], k: pair[0] };
            let mut y = matmul_nt(&all[l], &self.values[2 * l][0], shape);
            y.iter_mut().enumerate().for_each(|(i, y)| *y += self.values[2 * l + 1][0][i % pair[1]]);
            let end = l + 2 == self.widths.len();
            all.push(if end && !self.last { y } else { relu(&y) });
        }
        all
    }

    fn step(&mut self, rows: &[f64], labels: &[usize], t: u32, lr: f64) {
        let all = self.forward(rows);
        let count = labels.len();
        let logits = &all[all.len() - 1];
        assert!(softmax_cross_entropy(logits, labels, 0.0).is_finite());
        let mut slope = softmax_cross_entropy_backward(logits, labels, 0.0, 1.0);
        for l in (0..self.widths.len() - 1).rev() {
            let (i, o) = (self.widths[l], self.widths[l + 1]);
            if l + 2 < self.widths.len() || self.last {
                slope.iter_mut().zip(&all[l + 1]).for_each(|(s, y)| *s *= f64::from(u8::from(*y > 0.0)));
            }
            let bias: Vec<f64> = (0..o).map(|c| slope.iter().skip(c).step_by(o).sum()).collect();
            let weight = matmul_tn(&slope, &all[l], MatmulShape { m: o, n: i, k: count });
            slope = matmul_nn(&slope, &self.values[2 * l][0], MatmulShape { m: count, n: i, k: o });
            for (place, gradient) in [(2 * l, weight), (2 * l + 1, bias)] {
                let [p, m, v] = &mut self.values[place];
                adam(p, &gradient, m, v, t, AdamSettings { lr, ..AdamSettings::default() });
            }
        }
    }
}

#[test]
fn initial_weights_have_the_published_spread() {
    let twin = Twin::new(&[100, 400, 2], 3, false);
    let [weight, bias] = [0, 1].map(|i| &twin.values[i][0]);
    let mean = weight.iter().sum::<f64>() / weight.len() as f64;
    let variance = weight.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / weight.len() as f64;
    // 40,000 draws of variance 1/100: standard errors 5e-4 and 7e-5.
    assert!(mean.abs() < 2e-3 && (variance - 0.01).abs() < 3e-4, "{mean} {variance}");
    assert!(bias.iter().all(|&b| b == 0.0));
}

#[test]
fn training_follows_a_float64_twin_step_by_step() {
    let four = models(40, 4, 1.5, 7);
    let settings = NeuralSettings::default();
    let rows = settings.features(&four.shadow_members).unwrap();
    let others = settings.features(&four.shadow_non_members).unwrap();
    let rows = Rows::new(3, [rows.values(), others.values()].concat()).unwrap();
    let labels: Vec<u32> = (0..80).map(|i| u32::from(i < 40)).collect();
    let wide: Vec<f64> = rows.values().iter().map(|&v| f64::from(v)).collect();
    let classes: Vec<usize> = labels.iter().map(|&l| l as usize).collect();
    for last in [false, true] {
        let mut twin = Twin::new(&[3, 32, 32, 2], 9, last);
        let before = twin.forward(&wide).pop().unwrap();
        let mut moved = 0.0;
        // A batch of 256 holds all rows, so an epoch is a step.
        for step in 1..=12u32 {
            twin.step(&wide, &classes, step, 1e-3);
            let network =
                NetworkSettings { epochs: u64::from(step), final_relu: last, ..settings.network.clone() };
            let trained = Network::train(gpu(), &network, &rows, &labels, 9).unwrap();
            let scores = trained.infer(gpu(), &rows).unwrap().scores;
            let logits = twin.forward(&wide).pop().unwrap();
            let expected: Vec<f64> = logits.chunks(2).map(|l| l[1] - l[0]).collect();
            assert_close(&format!("ReLU on logits {last}, step {step}"), &scores, &expected, 5e-5);
            moved = logits.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        }
        assert!(moved > 0.01, "training moved nothing: {moved}");
    }
}

#[test]
fn a_dead_network_is_reported() {
    // Rows so far out that one step at this rate drives both logits below zero for good.
    let far = |sign: f32| Rows::new(1, vec![sign; 60]).unwrap();
    let four = Four {
        target_members: far(1.0),
        target_non_members: far(1.0),
        shadow_members: far(1.0),
        shadow_non_members: far(1.0),
    };
    let dead = (0..64).find_map(|seed| {
        let settings =
            NetworkSettings { hidden: vec![], epochs: 1, final_relu: true, ..NetworkSettings::default() };
        let outcome = contraleak::attack::membership::network::attack(gpu(), &four, &settings, seed).unwrap();
        outcome.result.scores().iter().all(|&s| s == 0.0).then_some(outcome)
    });
    let outcome = dead.expect("no seed of 64 starts with two negative logits");
    assert!(outcome.result.decisions().iter().all(|d| !d), "a tie must say non-member");
    assert_eq!(outcome.training_accuracy, Some(0.5));
    assert!(
        outcome.warnings[0].contains("100.0 % of the decisions are \"non-member\""),
        "{:?}",
        outcome.warnings
    );
    let numbers = metrics(&outcome);
    assert_eq!(numbers.auc.value, 0.5);
    assert!(numbers.auc_99.contains(0.5) && numbers.precision.is_none());
}

#[test]
fn warnings_begin_above_ninety_nine_percent() {
    let with = |members: usize| -> Vec<bool> { (0..1000).map(|i| i < members).collect() };
    assert!(one_answer_warning(&with(991)).is_some_and(|w| w.contains("99.1 %") && w.contains("\"member\"")));
    assert!(one_answer_warning(&with(9)).is_some_and(|w| w.contains("\"non-member\"")));
    assert_eq!([990, 10, 500].map(|m| one_answer_warning(&with(m))), [None, None, None]);
    let one = |scores: Vec<f64>| Inference { decisions: vec![true; scores.len()], scores };
    assert!(Outcome::new(one(vec![1.0]), one(vec![]), None, None).is_err());
    assert!(message(Outcome::new(one(vec![1.0]), one(vec![f64::NAN]), None, None)).contains("non-member/0"));
}

#[test]
fn settings_read_back_and_refuse_nonsense() {
    let compat = NeuralSettings::compat();
    assert!(compat.network.final_relu && !NeuralSettings::default().network.final_relu);
    let text = serde_json::to_string(&compat).unwrap();
    assert_eq!(serde_json::from_str::<NeuralSettings>(&text).unwrap(), compat);
    assert_eq!(serde_json::from_str::<NeuralSettings>("{}").unwrap(), NeuralSettings::default());
    assert!(serde_json::from_str::<NeuralSettings>(r#"{"tip": 2}"#).is_err());
    let rows = Rows::new(2, vec![0.0, 1.0, 1.0, 0.0]).unwrap();
    for (settings, expected) in [
        (NetworkSettings { hidden: vec![4, 0], ..NetworkSettings::default() }, "hidden widths"),
        (NetworkSettings { learning_rate: 0.0, ..NetworkSettings::default() }, "learning rate above 0"),
        (NetworkSettings { learning_rate: f64::NAN, ..NetworkSettings::default() }, "found NaN"),
        (NetworkSettings { epochs: 0, ..NetworkSettings::default() }, "at least 1, found 0"),
    ] {
        let found = Network::train(gpu(), &settings, &rows, &[0, 1], 1);
        let Some(Error::Usage(text)) = found.err() else { panic!("{settings:?} accepted") };
        assert!(text.contains(expected), "{text}");
    }
}
