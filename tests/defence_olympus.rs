//! The learner of players, and Olympus: objectives and gradients against f64, and what it does to an attacker.

mod common;
use common::defence::{Wide, accuracy, chain, check_gradient, cross_entropy, linear, separable, to64, wide};
use common::gpu::gpu;
use contraleak::attack::classifier::{Architecture, Classifier, Training};
use contraleak::attack::probe::LinearHead;
use contraleak::defence::Rows;
use contraleak::defence::olympus::{Olympus, OlympusData, OlympusSession, OlympusSettings};
use contraleak::graph::ParameterSet;
use contraleak::graph::ops::SoftmaxCrossEntropy;
use contraleak::kernels::elementwise::Unary;
use contraleak::nn::{LinearInit, Mlp, Names};
use contraleak::optim::Optimizer;
use contraleak::train::learner::{Batches, Feed, Input, Learner};

const WIDTH: usize = 7;

fn head(width: usize) -> LinearHead {
    let mut weight = vec![0.0; 2 * width];
    weight[0] = -2.0;
    weight[width] = 2.0;
    LinearHead::new(weight, vec![0.1, -0.1], width).unwrap()
}

fn small() -> OlympusSettings {
    OlympusSettings {
        obfuscator: vec![9, 5, 8],
        adversary: vec![6, 5],
        alpha: 0.7,
        ..OlympusSettings::default()
    }
}

fn obfuscated(values: &Wide, row: &[f64]) -> Vec<f64> {
    chain(values, "obfuscator", 4, 2, row)
}

fn adversary_loss(values: &Wide, rows: &[f64], attributes: &[u32]) -> f64 {
    let of_row = |(row, &s): (&[f64], &u32)| {
        let guess = chain(values, "adversary.layers", 3, 2, &obfuscated(values, row));
        cross_entropy(&guess, |c| f64::from(u8::from(c == s as usize)))
    };
    rows.chunks(WIDTH).zip(attributes).map(of_row).sum::<f64>() / attributes.len() as f64
}

fn obfuscator_loss(values: &Wide, rows: &[f64], labels: &[u32], alpha: f64) -> f64 {
    let of_row = |(row, &y): (&[f64], &u32)| {
        let hidden = obfuscated(values, row);
        let task = cross_entropy(&linear(values, "head", &hidden), |c| f64::from(u8::from(c == y as usize)));
        let guess = chain(values, "adversary.layers", 3, 2, &hidden);
        task + alpha * cross_entropy(&guess, |_| 1.0 / guess.len() as f64)
    };
    rows.chunks(WIDTH).zip(labels).map(of_row).sum::<f64>() / labels.len() as f64
}

#[test]
fn olympus_gradients_match_central_differences() {
    let set = separable(3, 23, WIDTH);
    let attributes: Vec<u32> = (0..23).map(|i| i * 7 % 3).collect();
    let data = OlympusData {
        features: Rows::new("test", &set.rows, WIDTH).unwrap(),
        labels: &set.task,
        attributes: &attributes,
        attribute_classes: 3,
    };
    // A rate of 0 leaves the weights where they are.
    let settings = OlympusSettings { learning_rate: 0.0, batch: 64, ..small() };
    let mut session = OlympusSession::new(gpu(), &settings, &data, &head(WIDTH)).unwrap();
    let before = session.learner().values(gpu()).unwrap();
    let (values, rows) = (wide(&before), to64(&set.rows));
    assert_eq!(before["head.weight"], head(WIDTH).weight);
    session.adversary_epoch(gpu(), 0).unwrap();
    for name in ["adversary.layers.0.weight", "adversary.layers.1.bias", "adversary.layers.2.weight"] {
        let found = session.learner().gradient(gpu(), name).unwrap();
        let largest = check_gradient(name, &values, &found, |v| adversary_loss(v, &rows, &attributes));
        assert!(largest > 1e-3, "{name}: nothing to compare");
    }
    session.obfuscator_epoch(gpu(), 0).unwrap();
    for i in 0..4 {
        for part in ["weight", "bias"] {
            let name = format!("obfuscator.{i}.{part}");
            let found = session.learner().gradient(gpu(), &name).unwrap();
            let loss = |v: &Wide| obfuscator_loss(v, &rows, &set.task, 0.7);
            assert!(check_gradient(&name, &values, &found, loss) > 1e-4, "{name}: nothing to compare");
        }
    }
    assert_eq!(session.learner().values(gpu()).unwrap(), before);
}

#[test]
fn players_move_alone() {
    let set = separable(4, 20, WIDTH);
    let data = OlympusData {
        features: Rows::new("test", &set.rows, WIDTH).unwrap(),
        labels: &set.task,
        attributes: &set.attribute,
        attribute_classes: 2,
    };
    let settings = OlympusSettings { batch: 8, ..small() };
    let mut session = OlympusSession::new(gpu(), &settings, &data, &head(WIDTH)).unwrap();
    let start = session.learner().values(gpu()).unwrap();
    session.adversary_epoch(gpu(), 0).unwrap();
    let middle = session.learner().values(gpu()).unwrap();
    session.obfuscator_epoch(gpu(), 0).unwrap();
    let end = session.learner().values(gpu()).unwrap();
    for name in start.keys() {
        assert_eq!(
            start[name] != middle[name],
            name.starts_with("adversary."),
            "{name} in the adversary's turn"
        );
        assert_eq!(
            middle[name] != end[name],
            name.starts_with("obfuscator."),
            "{name} in the obfuscator's turn"
        );
    }
    let mut again = OlympusSession::new(gpu(), &settings, &data, &head(WIDTH)).unwrap();
    again.adversary_epoch(gpu(), 0).unwrap();
    again.obfuscator_epoch(gpu(), 0).unwrap();
    assert_eq!(again.learner().values(gpu()).unwrap(), end, "twice the same");
}

#[test]
fn a_learner_refuses_what_does_not_fit() {
    let mut parameters = ParameterSet::new();
    let mut names = Names::new(&mut parameters);
    let a = Mlp::new(&mut names.inside("a"), &[3, 4, 2], Unary::Relu, LinearInit::Default, None);
    Mlp::new(&mut names.inside("b"), &[3, 2], Unary::Relu, LinearInit::Default, None);
    Mlp::new(&mut names.inside("a2"), &[3, 2], Unary::Relu, LinearInit::Default, None);
    let values = parameters.initial_values(1);
    let mut learner = Learner::new(gpu(), parameters, &values, 1).unwrap();
    let sgd = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    let message = |result: contraleak::Result<()>| result.unwrap_err().to_string();
    assert!(message(learner.player(gpu(), "c.", sgd).map(drop)).contains("`c.`"));
    assert!(message(learner.player(gpu(), "a", sgd).map(drop)).contains("b.layers.0.weight lies between"));
    let mut player = learner.player(gpu(), "a.", sgd).unwrap();
    let other = learner.player(gpu(), "b.", sgd).unwrap();
    let record = |player, rows| {
        let inputs = [Input::rows("rows", rows, 3), Input::words("labels", rows)];
        learner.training(gpu(), player, &inputs, |tracer, inputs| {
            let y = a.forward(tracer, inputs[0])?;
            let loss = tracer.graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[y, inputs[1]])?;
            Ok(vec![(loss, 2.0)])
        })
    };
    assert!(message(record(&other, 5).map(drop)).contains("no loss depends on a parameter of `b.`"));
    let batches = Batches::new(13, 5, |rows| record(&player, rows)).unwrap();
    assert!(batches.of(5).is_ok() && batches.of(3).is_ok() && batches.of(4).is_err());
    let rows = [0.5; 15];
    let before = wide(&learner.values(gpu()).unwrap());
    let feeds = [Feed::Rows(&rows), Feed::Words(&[0, 1, 0, 1, 1])];
    learner.step(gpu(), &mut player, batches.full(), &feeds, 0.1).unwrap();
    assert_eq!(player.steps(), 1);
    // The weight of a loss scales its gradient, not its value.
    let loss = |v: &Wide| {
        let y = chain(v, "a.layers", 2, 1, &[0.5; 3]);
        (2.0 * cross_entropy(&y, |c| f64::from(u8::from(c == 0)))
            + 3.0 * cross_entropy(&y, |c| f64::from(u8::from(c == 1))))
            / 5.0
    };
    let value = f64::from(learner.losses(gpu(), batches.full()).unwrap()[0]);
    assert!((value - loss(&before)).abs() < 1e-6, "{value}");
    let found = learner.gradient(gpu(), "a.layers.0.weight").unwrap();
    check_gradient("a.layers.0.weight", &before, &found, |v| 2.0 * loss(v));
    for bad in
        [&[Feed::Rows(&rows[..14]), Feed::Words(&[0; 5])][..], &[Feed::Words(&[0; 5])], &[feeds[1], feeds[0]]]
    {
        assert!(learner.step(gpu(), &mut player, batches.full(), bad, 0.1).is_err());
    }
}

/// Accuracy of a linear attacker on the second half, trained on the first.
fn attack(rows: &[f32], labels: &[u32], width: usize) -> f64 {
    let half = labels.len() / 2;
    let architecture = Architecture::Mlp {
        widths: vec![width, 2],
        activation: Unary::Relu,
        init: LinearInit::Default,
        last: None,
    };
    let training = Training {
        batch: 64,
        epochs: 40,
        learning_rate: 0.02,
        decay_every: None,
        optimizer: Optimizer::adam(0.0),
        weight_penalty: 0.0,
        clip: None,
        keep_partial: true,
        seed: 1,
    };
    let classifier =
        Classifier::train(gpu(), &architecture, &training, &rows[..half * width], &labels[..half], None)
            .unwrap();
    accuracy(&classifier.logits(gpu(), &rows[half * width..]).unwrap(), &labels[half..])
}

#[test]
fn olympus_hides_the_attribute_and_keeps_the_task() {
    const D: usize = 12;
    let (train, test) = (separable(5, 512, D), separable(6, 400, D));
    let data = OlympusData {
        features: Rows::new("test", &train.rows, D).unwrap(),
        labels: &train.task,
        attributes: &train.attribute,
        attribute_classes: 2,
    };
    let settings = OlympusSettings { batch: 32, ..OlympusSettings::default() };
    let mut olympus = Olympus::train(gpu(), &settings, &data, &head(D)).unwrap();
    let hidden = olympus.obfuscate(gpu(), &Rows::new("test", &test.rows, D).unwrap()).unwrap();
    let task = |rows: &[f32]| {
        let logits = head(D).logits(rows).unwrap();
        accuracy(&logits, &test.task)
    };
    let before = attack(&test.rows, &test.attribute, D);
    let after = attack(&hidden, &test.attribute, D);
    println!("attribute {before} -> {after}, task {} -> {}", task(&test.rows), task(&hidden));
    assert!(before > 0.98, "{before}");
    assert!(after < 0.7, "{after}");
    assert!(task(&hidden) > 0.97, "{}", task(&hidden));
    assert!(olympus.obfuscate(gpu(), &Rows::new("test", &test.rows, 4).unwrap()).is_err());
}

#[test]
fn data_that_do_not_fit_are_refused() {
    let set = separable(7, 10, WIDTH);
    let data = OlympusData {
        features: Rows::new("test", &set.rows, WIDTH).unwrap(),
        labels: &set.task,
        attributes: &set.attribute,
        attribute_classes: 2,
    };
    let train = |settings: &OlympusSettings, data: &OlympusData, head: &LinearHead| {
        Olympus::train(gpu(), settings, data, head).err().map(|e| e.to_string())
    };
    let settings = OlympusSettings { epochs: 1, ..small() };
    assert_eq!(train(&settings, &data, &head(WIDTH)), None);
    assert!(train(&settings, &data, &head(4)).unwrap().contains("head"));
    assert!(
        train(&settings, &OlympusData { labels: &set.task[..4], ..data }, &head(WIDTH))
            .unwrap()
            .contains("4 labels")
    );
    assert!(
        train(&settings, &OlympusData { attributes: &[2; 10], ..data }, &head(WIDTH))
            .unwrap()
            .contains("label 2")
    );
    assert!(train(&OlympusSettings { epochs: 0, ..settings.clone() }, &data, &head(WIDTH)).is_some());
    assert!(train(&OlympusSettings { alpha: f64::NAN, ..settings }, &data, &head(WIDTH)).is_some());
    assert!(Rows::new("test", &[1.0, f32::NAN], 1).unwrap_err().to_string().contains("row 1 holds NaN"));
    let text = serde_json::to_string(&OlympusSettings::default()).unwrap();
    assert_eq!(serde_json::from_str::<OlympusSettings>(&text).unwrap(), OlympusSettings::default());
    assert!(serde_json::from_str::<OlympusSettings>(r#"{"alfa": 1}"#).is_err());
}
