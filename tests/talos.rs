//! Talos and supervised training: gradients against f64 twins, who learns in which epoch, exact resume.

mod common;
use common::assert_close_l2;
use common::gpu::{Case, Draw, gpu};
use common::training::{Before, encoder_config, faces, options, recipe, simclr};
use contraleak::Error;
use contraleak::augment::Recipe;
use contraleak::data::ImageSet;
use contraleak::graph::ops::{GradientReversal, NtXent, SoftmaxCrossEntropy, TakeRows};
use contraleak::graph::{Form, Graph, Memory, ParameterId, ParameterSet, Role, Value};
use contraleak::kernels::elementwise::Unary;
use contraleak::kernels::{Shape, Tensor};
use contraleak::nn::{Linear, LinearInit, Mlp, Mode, Names, Tracer};
use contraleak::reference::loss as twin;
use contraleak::train::talos::{CensoredImage, CensoredLocation};
use contraleak::train::{
    BatchNormScope, Outcome, RunOptions, SimclrConfig, SupervisedConfig, TalosConfig, Trainer, Training,
    Values, pretrain,
};
use tempfile::tempdir;

/// An encoder of one layer, a projector of one layer, and an adversary of three.
struct Censored {
    parameters: ParameterSet,
    encoder: Linear,
    projector: Linear,
    adversary: Mlp,
}

const ROWS: usize = 6;
const IN: usize = 7;
const FEATURES: usize = 5;
const CLASSES: usize = 3;
const LAMBDA: f64 = 2.5;
const TEMPERATURE: f64 = 0.4;
const LABELS: [u32; ROWS] = [0, 2, 1, 0, 2, 1];

impl Censored {
    fn new() -> Censored {
        let mut parameters = ParameterSet::new();
        let mut names = Names::new(&mut parameters);
        let mut linear =
            |name, i, o| Linear::new(&mut names.inside(name), i, o, true, None, LinearInit::Default);
        let (encoder, projector) = (linear("encoder", IN, FEATURES), linear("projector", FEATURES, 4));
        let widths = [FEATURES, 8, 8, CLASSES];
        let adversary =
            Mlp::new(&mut names.inside("adversary"), &widths, Unary::Tanh, LinearInit::Default, None);
        Censored { parameters, encoder, projector, adversary }
    }
}

/// x Wᵀ + b, row by row.
fn linear(values: &Values, name: &str, x: &[f64], inputs: usize) -> Vec<f64> {
    let (w, b) = (&values[&format!("{name}.weight")], &values[&format!("{name}.bias")]);
    x.chunks(inputs)
        .flat_map(|x| {
            w.chunks(inputs).zip(b).map(move |(w, b)| {
                w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*b)
            })
        })
        .collect()
}

/// (NT-Xent, cross-entropy of the adversary) in f64.
fn losses(values: &Values, x: &[f64]) -> (f64, f64) {
    let h = linear(values, "encoder", x, IN);
    let z = linear(values, "projector", &h, FEATURES);
    let mut y = h;
    let widths = [FEATURES, 8, 8];
    for (i, width) in widths.iter().enumerate() {
        y = linear(values, &format!("adversary.layers.{i}"), &y, *width);
        if i < 2 {
            y.iter_mut().for_each(|v| *v = v.tanh());
        }
    }
    let logits: Vec<f64> = y;
    let targets: Vec<usize> = LABELS.iter().map(|&l| l as usize).collect();
    (twin::nt_xent(&z, 4, TEMPERATURE), twin::softmax_cross_entropy(&logits, &targets, 0.0))
}

/// Runs `graph` and returns the gradients that it found, by parameter name.
fn gradients(
    mut case: Case,
    graph: &Graph,
    parameters: &ParameterSet,
    values: &Values,
    inputs: &[(&str, Tensor)],
    found: &[(ParameterId, Value)],
) -> Values {
    let arena = gpu().buffer_with("arena", &parameters.pack_arena(Role::Trained, values).unwrap()).unwrap();
    let gradients = parameters.arena(gpu(), "gradients", Role::Trained).unwrap();
    let mut memory = Memory::default();
    for (name, tensor) in inputs {
        memory = memory.with_input(name, tensor.slice);
    }
    for (id, value) in graph.parameters() {
        memory.values.insert(value, parameters.slice(id, &mut case.recording, &arena));
    }
    for &(id, gradient) in found {
        memory.values.insert(gradient, parameters.slice(id, &mut case.recording, &gradients));
    }
    graph.record(&mut case.recording, &memory).unwrap();
    case.run();
    let words = parameters.arena_bytes(Role::Trained) as usize / 4;
    let packed: Vec<f32> = gpu().read(&gradients, 0, words).unwrap();
    let mut actual = Values::new();
    parameters.unpack_arena(Role::Trained, &packed, &mut actual);
    actual
}

#[test]
fn gradient_reversal_gives_the_encoder_minus_lambda_and_the_adversary_plus_one() {
    let model = Censored::new();
    let values = model.parameters.initial_values(3);
    let mut draw = Draw(11);
    let x: Vec<f64> = (0..ROWS * IN).map(|_| draw.unit()).collect();

    let mut graph = Graph::new();
    let input = graph.input("x", Form::Tensor(Shape::matrix(ROWS, IN)));
    let labels = graph.input("labels", Form::Bytes(ROWS as u64 * 4));
    let parameters = &model.parameters;
    let mut tracer = Tracer::new(&mut graph, parameters, Mode::Train);
    let h = model.encoder.forward(&mut tracer, input).unwrap();
    let z = model.projector.forward(&mut tracer, h).unwrap();
    let reversed = tracer.graph.apply1(GradientReversal { lambda: LAMBDA as f32 }, &[h]).unwrap();
    let logits = model.adversary.forward(&mut tracer, reversed).unwrap();
    let contrastive = graph.apply1(NtXent { temperature: TEMPERATURE as f32 }, &[z]).unwrap();
    let censored = graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[logits, labels]).unwrap();
    let found = graph.backward_weighted(&[(contrastive, 1.0), (censored, 1.0)]).unwrap();

    let mut case = Case::new(gpu());
    let x_tensor = case.input("x", Shape::matrix(ROWS, IN), &x);
    let label_words = case.words(
        "labels",
        Shape::matrix(2, 4),
        &[LABELS[0], LABELS[1], LABELS[2], LABELS[3], LABELS[4], LABELS[5], 0, 0],
    );
    let inputs = [("x", x_tensor), ("labels", label_words)];
    let actual = gradients(case, &graph, parameters, &values, &inputs, &found);

    for (name, tensor) in &values {
        let expected: Vec<f64> = (0..tensor.len())
            .map(|i| {
                let step = 1e-3_f32;
                let at = |delta: f32| {
                    let mut moved = values.clone();
                    moved.get_mut(name).unwrap()[i] += delta;
                    (losses(&moved, &x), f64::from(moved[name][i]))
                };
                let ((above, a), (below, b)) = (at(step), at(-step));
                let slope = |f: fn((f64, f64)) -> f64| (f(above) - f(below)) / (a - b);
                if name.starts_with("adversary") {
                    slope(|l| l.1)
                } else {
                    slope(|l| l.0) - LAMBDA * slope(|l| l.1)
                }
            })
            .collect();
        let actual: Vec<f64> = actual[name].iter().map(|&v| f64::from(v)).collect();
        assert_close_l2(name, &actual, &expected, 2e-4);
    }
}

#[test]
fn taking_rows_gives_the_others_no_gradient() {
    let mut parameters = ParameterSet::new();
    let layer = Linear::new(&mut Names::new(&mut parameters), 3, 2, true, None, LinearInit::Default);
    let mut graph = Graph::new();
    let x = graph.input("x", Form::Tensor(Shape::matrix(5, 3)));
    let labels = graph.input("labels", Form::Bytes(8));
    let mut tracer = Tracer::new(&mut graph, &parameters, Mode::Train);
    let y = layer.forward(&mut tracer, x).unwrap();
    let part: Value = graph.apply1(TakeRows { first: 2, count: 2 }, &[y]).unwrap();
    let loss = graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[part, labels]).unwrap();
    let found = graph.backward(loss).unwrap();
    let values = parameters.initial_values(1);
    let rows: Vec<f64> = (0..15).map(|i| f64::from(i * i % 7) / 4.0 - 0.5).collect();
    let mut case = Case::new(gpu());
    let input = case.input("x", Shape::matrix(5, 3), &rows);
    let words = case.words("labels", Shape::matrix(1, 4), &[1_u32, 0, 0, 0]);
    let inputs = [("x", input), ("labels", words)];
    let actual = gradients(case, &graph, &parameters, &values, &inputs, &found);
    let logits: Vec<f64> = rows[6..12]
        .chunks(3)
        .flat_map(|x| {
            values["weight"].chunks(3).zip(&values["bias"]).map(move |(w, b)| {
                w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*b)
            })
        })
        .collect();
    let dy = twin::softmax_cross_entropy_backward(&logits, &[1, 0], 0.0, 1.0);
    let bias: Vec<f64> = (0..2).map(|c| dy[c] + dy[2 + c]).collect();
    let weight: Vec<f64> = (0..2)
        .flat_map(|c| (0..3).map(move |i| (c, i)))
        .map(|(c, i)| dy[c] * rows[6 + i] + dy[2 + c] * rows[9 + i])
        .collect();
    let wide = |name: &str| actual[name].iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    assert_close_l2("bias", &wide("bias"), &bias, 1e-6);
    assert_close_l2("weight", &wide("weight"), &weight, 1e-6);
}

fn set() -> ImageSet {
    faces(10, 1)
}

/// Ten faces, two steps an epoch.
fn talos(lambda: f32, epochs: u64) -> SimclrConfig {
    SimclrConfig { talos: Some(TalosConfig::new(lambda, 4)), ..simclr(epochs) }
}

fn values_after(config: SimclrConfig, set: &ImageSet, steps: u64) -> Values {
    let mut trainer = Trainer::new(gpu(), config, set).unwrap();
    for _ in 0..steps {
        trainer.step().unwrap();
    }
    trainer.download().unwrap().0
}

/// Names whose values differ.
fn changed(a: &Values, b: &Values) -> Vec<String> {
    a.iter().filter(|(name, v)| b.get(*name).is_some_and(|w| w != *v)).map(|(name, _)| name.clone()).collect()
}

#[test]
fn talos_without_weight_is_simclr_bit_for_bit() {
    let set = set();
    for batch_norm in [BatchNormScope::Joint, BatchNormScope::PerView] {
        let plain = SimclrConfig { batch_norm, ..simclr(3) };
        let censored = SimclrConfig { batch_norm, ..talos(0.0, 3) };
        let (a, b) = (values_after(plain, &set, 6), values_after(censored, &set, 12));
        assert!(a.len() > 60 && b.len() == a.len() + 6, "{} and {} tensors", a.len(), b.len());
        assert_eq!(changed(&a, &b), Vec::<String>::new(), "{batch_norm:?}");
        let strong = values_after(SimclrConfig { batch_norm, ..talos(10.0, 3) }, &set, 12);
        assert!(!changed(&a, &strong).is_empty(), "lambda changes nothing");
    }
}

#[test]
fn encoder_and_adversary_learn_in_turns() {
    let set = set();
    let at = |steps| values_after(talos(5.0, 2), &set, steps);
    let (start, encoder, adversary) = (at(0), at(2), at(4));
    let first = changed(&start, &encoder);
    assert!(first.iter().any(|n| n == "conv1.weight") && first.iter().any(|n| n == "bn1.running_mean"));
    assert!(first.iter().any(|n| n.starts_with("projector.")));
    assert!(!first.iter().any(|n| n.starts_with("adversary.")), "{first:?}");
    let second = changed(&encoder, &adversary);
    assert_eq!(second.len(), 6, "{second:?}");
    assert!(second.iter().all(|n| n.starts_with("adversary.")), "{second:?}");
}

#[test]
fn every_placement_of_talos_trains_differently() {
    let set = set();
    let mut results: Vec<Values> = Vec::new();
    for (image, location, compat) in [
        (CensoredImage::Augmented, CensoredLocation::Embedding, false),
        (CensoredImage::Original, CensoredLocation::Embedding, false),
        (CensoredImage::Augmented, CensoredLocation::Projection, false),
        (CensoredImage::Original, CensoredLocation::Projection, false),
        (CensoredImage::Augmented, CensoredLocation::Embedding, true),
    ] {
        let talos = TalosConfig { image, location, compat, ..TalosConfig::new(3.0, 4) };
        let config = SimclrConfig { talos: Some(talos), batch_norm: BatchNormScope::Joint, ..simclr(1) };
        let values = values_after(config, &set, 4);
        assert!(values.values().flatten().all(|v| v.is_finite()), "{image:?} {location:?}");
        let same = |other: &Values| changed(other, &values).is_empty();
        assert!(!results.iter().any(same), "{image:?} {location:?} {compat}");
        results.push(values);
    }
}

fn supervised(epochs: u64) -> SupervisedConfig {
    let recipe = Recipe { horizontal_flip: 0.5, ..Recipe::plain(recipe().size) };
    SupervisedConfig {
        learning_rate: 0.02,
        ..SupervisedConfig::cl_supervised(encoder_config(), recipe, 2, 5, epochs, 7, false)
    }
}

#[test]
fn every_method_resumes_in_the_same_bits() {
    let set = set();
    for training in [Training::from(talos(4.0, 3)), Training::from(supervised(6))] {
        let folder = tempdir().unwrap();
        let run = |options: &RunOptions, at: Option<u64>| -> Result<Outcome, Error> {
            pretrain(gpu(), &set, options, &mut Before(|step| Some(step) == at, 0))
        };
        let whole = options(&folder.path().join("whole"), &set, training.clone());
        let part = options(&folder.path().join("part"), &set, training.clone());
        let whole = run(&whole, None).unwrap();
        for at in [3, 4] {
            assert!(matches!(
                run(&RunOptions { resume: at > 3, ..part.clone() }, Some(at)),
                Err(Error::Interrupted(_))
            ));
        }
        let ended = run(&RunOptions { resume: true, ..part.clone() }, None).unwrap();
        assert_eq!(whole.encoder_sha256, ended.encoder_sha256, "{}", training.method());
        assert_eq!((whole.steps, &whole.losses), (12, &ended.losses));
        assert_eq!(whole.final_loss, ended.final_loss);
        let metrics =
            |name: &str| std::fs::read_to_string(folder.path().join(name).join("metrics.jsonl")).unwrap();
        assert_eq!(metrics("whole"), metrics("part"));
        assert_eq!(metrics("whole").contains("\"phase\":\"adversary\""), training.phases() == 2);
    }
}

#[test]
fn supervised_training_learns_its_labels() {
    let set = faces(40, 2);
    let mut config = supervised(30);
    config.batch = 20;
    let folder = tempdir().unwrap();
    let outcome = pretrain(gpu(), &set, &options(folder.path(), &set, config), &mut ()).unwrap();
    let mean = |losses: &[(u64, f32)]| losses.iter().map(|l| l.1).sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&outcome.losses[..6]), mean(&outcome.losses[54..]));
    assert!(first > 0.5 && last < 0.5 * first, "loss {first} became {last}");
}

#[test]
fn training_that_needs_labels_says_so() {
    let full = set();
    let message = |training: Training, set: &ImageSet| match Trainer::new(gpu(), training, set) {
        Err(Error::Usage(message)) => message,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted"),
    };
    let without = ImageSet { target: None, attribute: None, ..full.clone() };
    assert!(message(supervised(1).into(), &without).contains("no target label"));
    assert!(message(talos(1.0, 1).into(), &without).contains("no attribute label"));
    let other = SupervisedConfig { classes: 3, ..supervised(1) };
    assert!(message(other.into(), &full).contains("classes: expected the 2 of target"));
    let negative = SimclrConfig { talos: Some(TalosConfig::new(-1.0, 4)), ..simclr(1) };
    assert!(message(negative.into(), &full).contains("talos.lambda"));
}

#[test]
fn a_run_starts_from_an_encoder_file_or_not_at_all() {
    let (set, folder) = (set(), tempdir().unwrap());
    let first =
        pretrain(gpu(), &set, &options(&folder.path().join("stage-0"), &set, simclr(1)), &mut ()).unwrap();
    let mut next = options(&folder.path().join("stage-1"), &set, SimclrConfig { seed: 99, ..simclr(1) });
    let start =
        contraleak::train::Start { file: first.encoder.clone(), sha256: first.encoder_sha256.clone() };
    next.config.start = Some(start);
    let started = pretrain(gpu(), &set, &next, &mut ()).unwrap();
    let fresh = options(&folder.path().join("fresh"), &set, SimclrConfig { seed: 99, ..simclr(1) });
    let fresh = pretrain(gpu(), &set, &fresh, &mut ()).unwrap();
    assert_ne!(started.encoder_sha256, fresh.encoder_sha256);
    // Before its first step, a run is where its start was.
    let mut trainer = Trainer::new(gpu(), SimclrConfig { seed: 99, ..simclr(1) }, &set).unwrap();
    let file = contraleak::nn::EncoderFile::read(&first.encoder).unwrap();
    let values: Values = file.state.tensors.iter().map(|(k, v)| (k.clone(), v.values.clone())).collect();
    let taken = trainer.start_from(&values).unwrap();
    let now = trainer.download().unwrap().0;
    assert_eq!(taken.len(), now.len());
    assert_eq!(changed(&values, &now), Vec::<String>::new());
    std::fs::write(&first.encoder, b"gone").unwrap();
    next.folder = folder.path().join("again");
    assert!(pretrain(gpu(), &set, &next, &mut ()).is_err(), "a broken start was passed over");
    assert!(!next.folder.exists());
}
