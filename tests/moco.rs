//! MoCo step by step: key encoder, batch norm in splits, queue, loss, gradients and optimizer against f64 twins that start
//! from what the step before left; and runs as a whole.

mod common;
mod moco_twin;

use common::assert_close;
use common::gpu::{Draw, exact_gpu as gpu};
use common::training::{Before, checkpoints, faces, options, recipe};
use contraleak::Error;
use contraleak::augment::augment;
use contraleak::data::{self, ImageSet};
use contraleak::gpu::{Program, Recording};
use contraleak::graph::{Form, Graph, Role};
use contraleak::kernels::augment::{Batch, ViewOrder};
use contraleak::kernels::{Shape, StepState, Tensor};
use contraleak::nn::{Architecture, EncoderFile, HeadKind, Mode, Stem, Tracer};
use contraleak::optim::Optimizer;
use contraleak::reference::elementwise::gather_rows;
use contraleak::reference::loss::{InfoNceQueue, info_nce_queue};
use contraleak::reference::optim::{ema, momentum};
use contraleak::reference::similarity::l2_normalize;
use contraleak::rng::{Key, Stream, permutation};
use contraleak::train::moco::{initial_queue, shuffled_order};
use contraleak::train::{
    EncoderConfig, GpuImages, MocoConfig, Outcome, PretrainConfig, RunOptions, Trainer, Training, Values,
    pretrain,
};
use moco_twin::{Network, Wide, wide};
use safetensors::{Dtype, SafeTensors};
use tempfile::tempdir;

const SIDE: usize = common::training::SIDE;
const DEPTH: usize = 128;
/// Of differences in f64: so short that hardly an activation changes its sign on the way.
const STEP: f64 = 1e-7;
/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

/// Batches of eight images, two splits, a queue of three batches, everything else as `emi-moco` has it.
fn moco(epochs: u64) -> MocoConfig {
    let encoder = EncoderConfig { arch: Architecture::Resnet18, stem: Stem::Cifar, width: 8, size: SIDE };
    MocoConfig {
        queue: 24,
        splits: 2,
        momentum: 0.9,
        ..MocoConfig::emi_moco(encoder, recipe(), 8, epochs, 7)
    }
}

fn set() -> ImageSet {
    faces(16, 1)
}

/// View `number` of the images `chosen`, as a step of `epoch` sees it: [N, 3, S, S].
fn views(config: &MocoConfig, set: &ImageSet, chosen: &[usize], epoch: u32, number: usize) -> Vec<f64> {
    let images = GpuImages::new(gpu(), set, chosen.len()).unwrap();
    images.choose(gpu(), set, chosen).unwrap();
    let key = Key::from_seed(config.seed).stream(Stream::Augment, epoch);
    let state = StepState { augment_key: key.0, ..StepState::default() };
    let state = gpu().buffer_with("step", &[state]).unwrap();
    let shape = Shape::new(chosen.len(), 3, SIDE, SIDE);
    let output = gpu().buffer("views", shape.bytes()).unwrap();
    let mut recording = Recording::new(gpu().facts());
    let batch = Batch {
        entries: recording.persistent(images.entries()),
        images: chosen.len(),
        views: 1,
        first_view: number,
        order: ViewOrder::ViewMajor,
    };
    let (step, source) = (recording.persistent(&state), images.images(&mut recording));
    let y = Tensor::new(shape, recording.persistent(&output));
    augment(&mut recording, step, &source, &batch, &config.recipe, y).unwrap();
    Program::build(gpu(), &recording).unwrap().run(gpu()).unwrap();
    let packed: Vec<f32> = gpu().read(&output, 0, shape.texels() * 4).unwrap();
    shape.unpack(&packed).into_iter().map(f64::from).collect()
}

/// What a run holds between two steps.
struct State {
    values: Values,
    /// SGD's velocity by parameter name.
    velocity: Wide,
}

fn state(trainer: &Trainer) -> State {
    let (values, optimizer) = trainer.download().unwrap();
    let mut velocity = Values::new();
    trainer.model().parameters.unpack_arena(Role::Trained, &optimizer[0], &mut velocity);
    State { values, velocity: wide(&velocity, "") }
}

impl State {
    fn query(&self) -> Wide {
        let mut all = wide(&self.values, "");
        all.retain(|name, _| !name.starts_with("encoder_k.") && name != "queue");
        all
    }

    fn key(&self) -> Wide {
        wide(&self.values, "encoder_k.")
    }

    /// [K, D], from [D, K].
    fn queue(&self) -> Vec<f64> {
        let held = &self.values["queue"];
        let length = held.len() / DEPTH;
        (0..held.len()).map(|i| f64::from(held[i % DEPTH * length + i / DEPTH])).collect()
    }
}

fn is_statistic(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}

/// A training pass of the twin; moves the running statistics in `values`.
fn pass(config: &MocoConfig, values: &mut Wide, views: &[f64]) -> Vec<f64> {
    let mut network = Network { values, batch: config.batch, splits: config.splits, head: config.head };
    network.pass(views, SIDE, config.encoder.stem)
}

/// Keys of a view whose rows go through the encoder in `order`, back in the batch's order.
fn keys(config: &MocoConfig, values: &mut Wide, views: &[f64], order: Option<&[usize]>) -> Vec<f64> {
    let row = 3 * SIDE * SIDE;
    let Some(order) = order else { return pass(config, values, views) };
    let shuffled = pass(config, values, &gather_rows(views, row, order));
    let mut back = vec![0.0; shuffled.len()];
    for (place, &image) in order.iter().enumerate() {
        back[image * DEPTH..(image + 1) * DEPTH]
            .copy_from_slice(&shuffled[place * DEPTH..(place + 1) * DEPTH]);
    }
    back
}

/// The loss of queries with weights `values`; `positives[i]` belong to `views[i]`.
fn loss(
    config: &MocoConfig,
    values: &mut Wide,
    views: &[Vec<f64>],
    positives: &[Vec<f64>],
    queue: &[f64],
) -> f64 {
    let temperature = f64::from(config.temperature);
    let of_view = |(views, k): (&Vec<f64>, &Vec<f64>)| {
        let q = pass(config, values, views);
        info_nce_queue(InfoNceQueue { q: &q, k, queue, dim: DEPTH, temperature })
    };
    views.iter().zip(positives).map(of_view).sum()
}

/// Runs `steps` steps and checks everything that each left behind. The gradient is compared in step `differentiate`.
fn check_steps(set: &ImageSet, config: &MocoConfig, steps: u64, differentiate: u64) {
    let mut trainer = Trainer::new(gpu(), config.clone(), set).unwrap();
    let per_epoch = trainer.steps_per_epoch();
    let passes = if config.symmetric { 2 } else { 1 };
    let Optimizer::Sgd { momentum: mu, weight_decay: decay, .. } = config.optimizer else {
        panic!("these checks know SGD")
    };
    let mut before = state(&trainer);
    assert_eq!(before.query(), before.key(), "the key encoder starts as a copy");
    let noise: Vec<f64> =
        initial_queue(config.seed, config.queue, DEPTH).into_iter().map(f64::from).collect();
    assert_eq!(before.queue(), noise);
    for step in 0..steps {
        let label = |what: &str| format!("step {step}, {what}");
        trainer.step().unwrap();
        let after = state(&trainer);
        let ring: Vec<f32> = trainer.losses_later().unwrap().wait(gpu()).unwrap();
        let epoch = (step / per_epoch) as u32;
        let order = permutation(Key::from_seed(config.seed).stream(Stream::BatchOrder, epoch), set.len());
        let first = (step % per_epoch) as usize * config.batch;
        let chosen = &order[first..first + config.batch];
        let [x1, x2] = [0, 1].map(|number| views(config, set, chosen, epoch, number));

        // 1. The key encoder follows, parameters only.
        let (query, mut key) = (before.query(), before.key());
        for (name, held) in after.key() {
            if is_statistic(&name) {
                continue;
            }
            let mut expected = key[&name].clone();
            ema(&mut expected, &query[&name], config.momentum);
            for (i, (&got, want)) in held.iter().zip(&expected).enumerate() {
                let scale = key[&name][i].abs() + query[&name][i].abs();
                assert!(
                    (got - want).abs() <= 3.0 * U * scale,
                    "{} {name}[{i}]: {got}, {want}",
                    label("keys")
                );
            }
            // What follows starts from the weights that the step used, to the bit.
            key.insert(name, held);
        }

        // 2. Keys, through the key encoder in the drawn order, with its own running statistics.
        let orders: Vec<Option<Vec<usize>>> = (0..passes)
            .map(|pass| config.shuffle.then(|| shuffled_order(config.seed, step, pass, config.batch)))
            .collect();
        let mut positives = Vec::new();
        for (view, order) in [&x2, &x1].into_iter().zip(&orders) {
            if let (Some(order), true) = (order, config.splits > 1) {
                let unshuffled = l2_normalize(&pass(config, &mut key.clone(), view), DEPTH);
                let shuffled = l2_normalize(&keys(config, &mut key.clone(), view, Some(order)), DEPTH);
                let apart = common::relative_l2(&unshuffled, &shuffled);
                assert!(apart > 1e-2, "{}: {apart}", label("the shuffle changes nothing"));
            }
            positives.push(keys(config, &mut key, view, order.as_deref()));
        }
        for (name, held) in after.key().iter().filter(|(name, _)| is_statistic(name)) {
            assert_close(&label(&format!("key {name}")), held, &key[name], 2e-5);
        }

        // 3. The queue: first views' keys before second views', at the pointer, all other rows as they were.
        let (old, new) = (before.queue(), after.queue());
        let count = config.batch * passes;
        let pointer = step as usize * count % config.queue;
        assert_eq!(config.queue_pointer(step), pointer as u64);
        let enqueued: Vec<f64> = positives.iter().rev().flatten().copied().collect();
        let written = pointer * DEPTH..(pointer + count) * DEPTH;
        assert_close(&label("queue"), &new[written.clone()], &l2_normalize(&enqueued, DEPTH), 5e-5);
        for i in (0..new.len()).filter(|i| !written.contains(i)) {
            assert_eq!(new[i].to_bits(), old[i].to_bits(), "{}", label("another row of the queue"));
        }

        // 4. Queries, and the loss against the queue as it was.
        let seen: Vec<Vec<f64>> = [&x1, &x2].into_iter().take(passes).cloned().collect();
        let mut moved = query.clone();
        let expected = loss(config, &mut moved, &seen, &positives, &old);
        let got = f64::from(ring[step as usize]);
        assert!((got - expected).abs() <= 2e-5 * expected, "{}: {got}, {expected}", label("loss"));
        let held = after.query();
        for (name, tensor) in held.iter().filter(|(name, _)| is_statistic(name)) {
            assert_close(&label(&format!("query {name}")), tensor, &moved[name], 2e-5);
        }

        // 5. The gradient that the velocity tells of, along a random direction of some tensors.
        let gradient = |name: &str| -> Vec<f64> {
            let (old, new, p) = (&before.velocity[name], &after.velocity[name], &query[name]);
            (0..p.len()).map(|i| new[i] - mu * old[i] - decay * p[i]).collect()
        };
        let names = [
            "conv1.weight",
            "bn1.weight",
            "layer1.0.conv2.weight",
            "layer2.0.downsample.0.weight",
            "layer3.1.bn2.bias",
            "layer4.1.conv2.weight",
            "projector.0.weight",
            "projector.0.bias",
        ];
        for (seed, name) in names.into_iter().enumerate().filter(|_| step == differentiate) {
            let mut draw = Draw(seed as u64);
            let direction: Vec<f64> = query[name].iter().map(|_| draw.unit()).collect();
            let along = |distance: f64| {
                let mut moved = query.clone();
                let tensor = moved.get_mut(name).unwrap();
                tensor.iter_mut().zip(&direction).for_each(|(p, d)| *p += distance * d);
                loss(config, &mut moved, &seen, &positives, &old)
            };
            let expected = (along(STEP) - along(-STEP)) / (2.0 * STEP);
            let gradient = gradient(name);
            let got: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            let scale = common::norm(&gradient) * common::norm(&direction);
            assert!(scale > 0.0, "{}", label("no gradient"));
            let error = (got - expected).abs() / scale;
            assert!(error <= 1e-4, "{} of {name}: {got}, {expected}, error {error:.1e}", label("gradient"));
        }

        // 6. The optimizer's step with that gradient.
        let rate = f64::from(trainer.learning_rate(step) as f32);
        for (name, parameter) in query.iter().filter(|(name, _)| !is_statistic(name)) {
            let (mut p, mut v) = (parameter.clone(), before.velocity[name].clone());
            momentum(&mut p, &gradient(name), &mut v, rate, mu, decay);
            let largest = p.iter().zip(&v).map(|(p, v)| p.abs() + v.abs()).fold(0.0, f64::max);
            for (got, want) in held[name].iter().zip(&p) {
                assert!((got - want).abs() <= 4.0 * U * largest, "{} {name}", label("optimizer"));
            }
            assert_ne!(&held[name], parameter, "{} leaves {name} where it was", label("optimizer"));
        }
        before = after;
    }
}

#[test]
fn every_step_matches_its_twins() {
    // Five steps go round the queue of three batches; the second is the first with a velocity.
    check_steps(&set(), &moco(3), 5, 1);
}

#[test]
fn every_step_on_fashion_mnist_matches_its_twins() {
    let spec = "fashion-mnist:/usr/share/datasets/fashion-mnist#part=train,shuffle=1,take=0..64";
    let set = data::open(spec).unwrap_or_else(|e| panic!("{e}"));
    check_steps(&set, &MocoConfig { splits: 8, batch: 32, queue: 64, ..moco(2) }, 3, 1);
}

#[test]
fn every_symmetric_step_matches_its_twins() {
    let config = MocoConfig { symmetric: true, queue: 48, splits: 4, head: HeadKind::MocoMlp, ..moco(2) };
    check_steps(&set(), &config, 4, 3);
}

#[test]
fn every_step_without_shuffle_and_splits_matches_its_twins() {
    check_steps(&set(), &MocoConfig { shuffle: false, splits: 1, queue: 8, ..moco(2) }, 2, 0);
}

#[test]
fn without_shuffle_and_splits_batch_norm_has_the_bits_of_plain_batch_norm() {
    // With momentum 1 both encoders still have the same weights in the first step.
    let (set, config) = (set(), MocoConfig { shuffle: false, splits: 1, momentum: 1.0, ..moco(1) });
    let mut trainer = Trainer::new(gpu(), config.clone(), &set).unwrap();
    trainer.step().unwrap();
    let after = trainer.download().unwrap().0;
    let order = permutation(Key::from_seed(config.seed).stream(Stream::BatchOrder, 0), set.len());
    let model = trainer.model();
    for (number, prefix) in [(0, ""), (1, "encoder_k.")] {
        let values = views(&config, &set, &order[..config.batch], 0, number);
        let weights = model.upload(gpu(), &model.parameters.initial_values(config.seed)).unwrap();
        let shape = Shape::new(config.batch, 3, SIDE, SIDE);
        let packed = shape.pack(&values.iter().map(|&v| v as f32).collect::<Vec<_>>());
        let (x, output) = (gpu().buffer_with("x", &packed).unwrap(), gpu().buffer("y", 1 << 16).unwrap());
        let (mut recording, mut graph) = (Recording::new(gpu().facts()), Graph::new());
        let input = graph.input("x", Form::Tensor(shape));
        let mut tracer = Tracer::new(&mut graph, &model.parameters, Mode::Train);
        let y = model.encoder.forward(&mut tracer, input).unwrap();
        let (x, output) = (recording.persistent(&x), recording.persistent(&output));
        let memory = weights.memory(&model.parameters, &graph, &mut recording);
        let memory = memory.with_input("x", x).with_value(y, output);
        graph.record(&mut recording, &memory).unwrap();
        Program::build(gpu(), &recording).unwrap().run(gpu()).unwrap();
        let plain = model.download(gpu(), &weights).unwrap();
        for (name, tensor) in plain.iter().filter(|(name, _)| is_statistic(name)) {
            assert_eq!(&after[&format!("{prefix}{name}")], tensor, "{prefix}{name}");
        }
    }
}

#[test]
fn momentum_one_freezes_the_keys_and_zero_copies_the_queries() {
    let set = set();
    for (momentum, frozen) in [(1.0, true), (0.0, false)] {
        let mut trainer = Trainer::new(gpu(), MocoConfig { momentum, ..moco(1) }, &set).unwrap();
        let start = state(&trainer);
        trainer.step().unwrap();
        let middle = state(&trainer);
        trainer.step().unwrap();
        let end = state(&trainer);
        assert_ne!(start.query(), end.query());
        let expected = if frozen { start.key() } else { middle.query() };
        for (name, tensor) in end.key() {
            assert_eq!(tensor == expected[&name], !is_statistic(&name), "momentum {momentum}: {name}");
        }
    }
}

#[test]
fn a_start_is_taken_by_both_encoders() {
    let set = set();
    let mut trainer = Trainer::new(gpu(), moco(1), &set).unwrap();
    let other = trainer.model().parameters.initial_values(99);
    assert_eq!(trainer.start_from(&other).unwrap().len(), other.len());
    let state = state(&trainer);
    assert_eq!(state.query(), wide(&other, ""));
    assert_eq!(state.key(), state.query());
}

#[test]
fn the_queue_starts_with_unit_rows_and_orders_are_permutations() {
    let queue = initial_queue(3, 40, 16);
    for row in queue.chunks(16) {
        let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        assert!((norm - 1.0).abs() < 1e-6, "{norm}");
    }
    assert_eq!(queue[..320], initial_queue(3, 20, 16)[..], "a row depends on its number alone");
    assert_ne!(queue, initial_queue(4, 40, 16));
    let orders = [(0, 0), (0, 1), (1, 0)].map(|(step, pass)| shuffled_order(5, step, pass, 64));
    for order in &orders {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..64).collect::<Vec<_>>());
    }
    assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
}

/// Of runs on `gpu()`, whose convolutions are direct.
fn run_options(folder: &std::path::Path, set: &ImageSet, config: MocoConfig) -> RunOptions {
    let mut options = options(folder, set, config);
    options.config.exact_conv = true;
    options
}

fn run(options: &RunOptions, set: &ImageSet) -> Result<Outcome, Error> {
    pretrain(gpu(), set, options, &mut ())
}

#[test]
fn runs_repeat_and_resume_in_the_same_bits() {
    let (set, folder) = (set(), tempdir().unwrap());
    let config = MocoConfig { symmetric: true, queue: 48, ..moco(4) };
    let whole = run(&run_options(&folder.path().join("whole"), &set, config.clone()), &set).unwrap();
    assert_eq!(whole.steps, 8);
    let again = run(&run_options(&folder.path().join("again"), &set, config.clone()), &set).unwrap();
    assert_eq!((&again.losses, &again.encoder_sha256), (&whole.losses, &whole.encoder_sha256));

    let stopped = run_options(&folder.path().join("stopped"), &set, config.clone());
    for at in [3, 2] {
        let stopped = RunOptions { resume: true, ..stopped.clone() };
        let result = pretrain(gpu(), &set, &stopped, &mut Before(|step| step == at, 0));
        assert!(matches!(result, Err(Error::Interrupted(_))), "{result:?}");
    }
    let name = checkpoints(&stopped.folder).pop().unwrap();
    let bytes = std::fs::read(stopped.folder.join("checkpoint").join(&name)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.tensor("queue").unwrap().shape(), [DEPTH, 48]);
    let pointer = file.tensor("queue_ptr").unwrap();
    assert_eq!((pointer.dtype(), pointer.shape()), (Dtype::I64, &[1][..]));
    // Five steps of sixteen keys.
    assert_eq!(pointer.data(), (5_i64 * 16 % 48).to_le_bytes());
    assert!(file.tensor("encoder_k.layer4.1.conv2.weight").is_ok());
    assert!(file.tensor("encoder_k.bn1.running_mean").is_ok());

    let resumed = run(&RunOptions { resume: true, ..stopped }, &set).unwrap();
    assert_eq!((resumed.steps, resumed.steps_here), (8, 3));
    assert_eq!((&resumed.losses, &resumed.encoder_sha256), (&whole.losses, &whole.encoder_sha256));

    // The encoder's file is the query encoder with its head, as other methods leave it.
    let encoder = EncoderFile::read(&whole.encoder).unwrap();
    assert!(encoder.state.tensors.contains_key("projector.0.weight"));
    let own = |name: &String| !name.starts_with("encoder_k") && !name.starts_with("queue");
    assert!(encoder.state.tensors.keys().chain(encoder.state.counters.keys()).all(own));
    assert_eq!(encoder.state.counters["bn1.num_batches_tracked"], 16);
    assert_eq!(PretrainConfig::read(whole.encoder.parent().unwrap()).unwrap().training, config.into());
}

#[test]
fn settings_that_do_not_fit_are_named_with_what_they_must_fit() {
    let (set, base) = (set(), moco(1));
    let cases: [(MocoConfig, &[&str]); 8] = [
        (MocoConfig { queue: 20, ..base.clone() }, &["queue", "multiple of the 8 keys", "found 20"]),
        (MocoConfig { queue: 0, ..base.clone() }, &["queue", "found 0"]),
        (MocoConfig { symmetric: true, ..base.clone() }, &["queue", "multiple of the 16 keys", "found 24"]),
        (MocoConfig { splits: 3, ..base.clone() }, &["splits", "divisor of the batch of 8", "found 3"]),
        (MocoConfig { splits: 0, ..base.clone() }, &["splits", "found 0"]),
        (MocoConfig { momentum: 1.5, ..base.clone() }, &["momentum", "1.5"]),
        (MocoConfig { momentum: f64::NAN, ..base.clone() }, &["momentum", "NaN"]),
        (MocoConfig { temperature: 0.0, ..base.clone() }, &["temperature", "found 0"]),
    ];
    for (config, parts) in cases {
        match Training::from(config).check(&set) {
            Err(Error::Usage(message)) => {
                parts.iter().for_each(|part| assert!(message.contains(part), "{part}: {message}"));
            }
            other => panic!("expected a usage error with {parts:?}, found {other:?}"),
        }
    }
    assert!(Training::from(base).check(&set).is_ok());
}

#[test]
fn presets_are_those_of_the_papers() {
    let encoder = moco(1).encoder;
    let v1 = MocoConfig::moco_v1(encoder, recipe(), 256, 200, 0);
    assert_eq!((v1.temperature, v1.queue, v1.momentum, v1.learning_rate), (0.07, 65_536, 0.999, 0.03));
    assert_eq!((v1.head, v1.schedule.as_str()), (HeadKind::MocoLinear, "step(120,160)"));
    assert_eq!(v1.optimizer, Optimizer::sgd(1e-4));
    let v2 = MocoConfig::moco_v2(encoder, recipe(), 256, 200, 0);
    assert_eq!((v2.temperature, v2.head, v2.schedule.as_str()), (0.2, HeadKind::MocoMlp, "cosine"));
    assert_eq!((v2.queue, v2.momentum, v2.learning_rate), (65_536, 0.999, 0.03));
    let emi = MocoConfig::emi_moco(encoder, recipe(), 512, 1600, 0);
    assert_eq!((emi.temperature, emi.queue, emi.momentum, emi.splits), (0.1, 4096, 0.99, 8));
    assert_eq!((emi.learning_rate, emi.schedule.as_str()), (0.06, "cosine"));
    assert!(emi.shuffle && !emi.symmetric && emi.optimizer == Optimizer::sgd(5e-4));
    for config in [v1, v2, emi] {
        let text = toml::to_string(&Training::from(config.clone())).unwrap();
        assert_eq!(toml::from_str::<Training>(&text).unwrap(), config.into());
    }
}
