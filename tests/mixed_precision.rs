//! Training with operands rounded to f16, and dynamic loss scaling, with the kernels of a GPU forced onto whatever adapter there is.

mod common;
use common::gpu::gpu;
use common::training::{Before, faces, options, simclr};
use contraleak::Error;
use contraleak::gpu::{Facts, Gpu, GpuOptions, KernelClass, Products};
use contraleak::kernels::loss_scale::LossScaleState;
use contraleak::kernels::self_test::check_rounded_products;
use contraleak::nn::Stem;
use contraleak::optim::Optimizer;
use contraleak::train::{
    BatchNormScope, LossScaling, Outcome, Precision, RunOptions, SimclrConfig, Trainer, pretrain,
};
use half::f16;
use std::path::Path;
use std::sync::OnceLock;
use tempfile::tempdir;

/// A GPU's kernels in f32, and with rounded operands.
fn forced(products: Products) -> &'static Gpu {
    static GPUS: [OnceLock<Gpu>; 2] = [const { OnceLock::new() }; 2];
    GPUS[usize::from(products == Products::Rounded)].get_or_init(|| {
        let options = GpuOptions { checked: true, ..GpuOptions::default() };
        let gpu = Gpu::open(&options).unwrap_or_else(|e| panic!("{e}"));
        let facts = Facts { class: KernelClass::Discrete, products, ..gpu.facts().clone() };
        gpu.with_facts(facts)
    })
}

fn scaling(mixed: bool, initial: f32, growth_interval: u32) -> Precision {
    Precision { mixed, loss_scaling: Some(LossScaling { initial, growth_interval }) }
}

type Bits = Vec<u32>;

/// Parameters and running statistics by name, and moments.
fn bits(trainer: &Trainer) -> (Vec<(String, Bits)>, Vec<Bits>) {
    let words = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Bits>();
    let (values, moments) = trainer.download().unwrap();
    let values = values.iter().map(|(name, values)| (name.clone(), words(values))).collect();
    (values, moments.iter().map(|m| words(m)).collect())
}

fn losses(gpu: &Gpu, trainer: &Trainer, steps: usize) -> Vec<f32> {
    let mut ring: Vec<f32> = trainer.losses_later().unwrap().wait(gpu).unwrap();
    ring.truncate(steps);
    ring
}

#[test]
fn scaling_by_powers_of_two_changes_no_bit() {
    // Every operation of a backward pass is linear in the gradient, and a product with a power of two only moves exponents.
    let set = faces(10, 1);
    // Bias corrections that end after five steps.
    let short = Optimizer::Adam { beta1: 0.01, beta2: 0.03, eps: 1e-8, weight_decay: 0.0 };
    for (gpu, optimizers) in [
        (gpu(), vec![Optimizer::adam(1e-6), short, Optimizer::sgd(1e-4), Optimizer::lars(1e-6)]),
        (forced(Products::Single), vec![Optimizer::adamw(1e-2)]),
    ] {
        for optimizer in optimizers {
            let train = |precision| {
                let config = SimclrConfig { precision, optimizer, ..simclr(10) };
                let mut trainer = Trainer::new(gpu, config, &set).unwrap();
                for _ in 0..8 {
                    trainer.step().unwrap();
                }
                (losses(gpu, &trainer, 8), bits(&trainer), trainer.loss_scale().unwrap())
            };
            let (losses, plain, none) = train(Precision::F32);
            let (scaled_losses, scaled, state) = train(scaling(false, 1024.0, 3));
            assert_eq!(none, None);
            assert_eq!(state, Some(LossScaleState { scale: 4096.0, good_steps: 2, skipped: [0; 2] }));
            assert_eq!(losses, scaled_losses, "{optimizer:?}");
            assert!(plain == scaled, "{optimizer:?}: scaling changes what is trained");
        }
    }
}

#[test]
fn a_step_that_overflows_is_skipped_and_halves_the_scale() {
    let (gpu, set) = (forced(Products::Rounded), faces(10, 1));
    let start = 2f32.powi(24);
    let config =
        SimclrConfig { precision: scaling(true, start, 2), optimizer: Optimizer::adam(0.0), ..simclr(20) };
    let rate = config.learning_rate as f32;
    let mut trainer = Trainer::new(gpu, config, &set).unwrap();
    let trained = |trainer: &Trainer| {
        let (values, moments) = bits(trainer);
        let of_forward = |name: &str| name.contains("running_");
        let (statistics, trained): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|(name, _)| of_forward(name));
        (trained, moments, statistics)
    };
    let before = trained(&trainer);
    let mut skipped = 0;
    loop {
        let statistics = trained(&trainer).2;
        trainer.step().unwrap();
        let now = trained(&trainer);
        let state = trainer.loss_scale().unwrap().unwrap();
        assert_ne!(statistics, now.2, "running statistics move in every step, as in PyTorch");
        if state.skipped[0] == skipped {
            assert_eq!(
                state,
                LossScaleState {
                    scale: start / 2f32.powi(skipped as i32),
                    good_steps: 1,
                    skipped: [skipped, 0]
                }
            );
            assert!(now.0 != before.0 && now.1 != before.1, "a good step trains");
            break;
        }
        skipped += 1;
        let scale = start / 2f32.powi(skipped as i32);
        assert_eq!(state, LossScaleState { scale, good_steps: 0, skipped: [skipped, 0] });
        assert!((&now.0, &now.1) == (&before.0, &before.1), "step {skipped} was skipped and moves something");
        assert!(skipped < 20, "gradients overflow at a scale of {scale}");
    }
    assert!(skipped > 3, "2^24 overflows f16");
    // Skipped steps are none of Adam's: its first one moves every parameter by the rate, whatever the gradient.
    let after = trained(&trainer).0;
    let largest = before.0.iter().zip(&after).flat_map(|((_, a), (_, b))| {
        a.iter().zip(b).map(|(a, b)| (f32::from_bits(*a) - f32::from_bits(*b)).abs()).collect::<Vec<f32>>()
    });
    let largest = largest.fold(0.0, f32::max);
    assert!((largest - rate).abs() < 1e-3 * rate, "the first good step moves by {largest}, not {rate}");
    // Two good steps in a row: the scale doubles, whatever comes of it.
    trainer.step().unwrap();
    let state = trainer.loss_scale().unwrap().unwrap();
    if state.skipped[0] == skipped {
        assert_eq!(state.scale, 2.0 * start / 2f32.powi(skipped as i32));
        assert_eq!(state.good_steps, 0);
    }
}

fn run(options: &RunOptions) -> Outcome {
    let set = faces(10, 1);
    pretrain(forced(Products::Rounded), &set, options, &mut ()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_resumed_run_ends_in_the_same_bits() {
    let (set, folder) = (faces(10, 1), tempdir().unwrap());
    // Some steps are skipped at the start, and the scale moves up and down on the way.
    let config = SimclrConfig { precision: scaling(true, 2f32.powi(24), 2), ..simclr(10) };
    let at = |name: &str| options(&folder.path().join(name), &set, config.clone());
    let whole = run(&at("whole"));
    assert!(
        whole.skipped_steps.is_some_and(|skipped| skipped > 3 && skipped < 20),
        "{:?}",
        whole.skipped_steps
    );
    for stop in [2, 11] {
        let stopped = at(&format!("stopped at {stop}"));
        let result = pretrain(forced(Products::Rounded), &set, &stopped, &mut Before(|step| step == stop, 0));
        assert!(matches!(result, Err(Error::Interrupted(_))), "{result:?}");
        let resumed = run(&RunOptions { resume: true, ..stopped });
        assert_eq!(whole.losses, resumed.losses);
        assert_eq!(whole.skipped_steps, resumed.skipped_steps);
        assert_eq!(whole.encoder_sha256, resumed.encoder_sha256);
    }
    // The finished run is no run in f32.
    let other = RunOptions { resume: true, ..options(&folder.path().join("whole"), &set, simclr(10)) };
    match pretrain(forced(Products::Single), &set, &other, &mut ()) {
        Err(Error::Usage(message)) => assert!(message.contains("precision"), "{message}"),
        other => panic!("expected a usage error, found {other:?}"),
    }
}

#[test]
fn the_state_of_the_scale_is_in_checkpoints_and_in_config_toml() {
    let (set, folder) = (faces(10, 1), tempdir().unwrap());
    let options = options(folder.path(), &set, SimclrConfig { precision: Precision::MIXED, ..simclr(1) });
    run(&options);
    let config = std::fs::read_to_string(folder.path().join("config.toml")).unwrap();
    assert!(config.contains("mixed = true") && config.contains("initial = 65536.0"), "{config}");
    let newest =
        folder.path().join("checkpoint").join(common::training::checkpoints(folder.path()).pop().unwrap());
    let bytes = std::fs::read(&newest).unwrap();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1 << 16)]).into_owned();
    assert!(text.contains("contraleak.loss_scale"), "the header of a checkpoint");
    // A checkpoint that lost it is refused, by name.
    std::fs::write(&newest, replaced(&bytes, b"contraleak.loss_scale", b"contraleak.lost_scale")).unwrap();
    match pretrain(forced(Products::Rounded), &set, &RunOptions { resume: true, ..options }, &mut ()) {
        Err(error) => assert!(error.to_string().contains("loss scaling"), "{error}"),
        Ok(outcome) => panic!("resumed without a scale: {outcome:?}"),
    }
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

/// Sixteen images with two views each on a ResNet-18 of width 8 that keeps 2x2 pixels to its end.
fn narrow(precision: Precision, epochs: u64) -> SimclrConfig {
    let mut config = SimclrConfig {
        batch: 16,
        batch_norm: BatchNormScope::Joint,
        optimizer: Optimizer::adam(0.0),
        precision,
        ..simclr(epochs)
    };
    config.encoder.stem = Stem::Cifar;
    config
}

/// The gradients of the first step: a tenth of them is what Adam's first moment is then. `round` rounds the initial
/// parameters to f16.
fn gradients(gpu: &Gpu, precision: Precision, round: bool) -> Vec<f64> {
    let set = faces(16, 2);
    let mut trainer = Trainer::new(gpu, narrow(precision, 1), &set).unwrap();
    if round {
        let (mut values, _) = trainer.download().unwrap();
        values.values_mut().flatten().for_each(|v| *v = f16::from_f32(*v).to_f32());
        trainer.start_from(&values).unwrap();
    }
    trainer.step().unwrap();
    let (_, moments) = trainer.download().unwrap();
    moments[0].iter().map(|m| 10.0 * f64::from(*m)).collect()
}

#[test]
fn gradients_are_near_those_of_f32() {
    let single = gradients(forced(Products::Single), Precision::F32, false);
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let distance = |other: &[f64]| {
        norm(&mut single.iter().zip(other).map(|(a, b)| a - b)) / norm(&mut single.iter().copied())
    };
    let mixed = distance(&gradients(forced(Products::Rounded), Precision::MIXED, false));
    // What the network makes of one rounding, in f32 throughout: batch norm over few values and ReLUs that turn amplify it.
    let weights = distance(&gradients(forced(Products::Single), Precision::F32, true));
    println!("relative distance of all gradients: {mixed:.2e}; of rounded weights alone {weights:.2e}");
    assert!(mixed > 1e-4, "nothing was rounded: {mixed:.2e}");
    // Activations and gradients are rounded too, in each of three products.
    assert!(
        mixed < 4.0 * weights,
        "gradients are {mixed:.2e} from those of f32, {weights:.2e} by rounded weights"
    );
}

#[test]
fn the_loss_falls_as_in_f32() {
    let set = faces(16, 3);
    let curve = |gpu: &Gpu, precision| {
        let mut config = SimclrConfig { batch: 8, temperature: 0.2, ..narrow(precision, 20) };
        (config.recipe.jitter, config.recipe.gray) = (0.0, 0.0);
        let mut trainer = Trainer::new(gpu, config, &set).unwrap();
        for _ in 0..40 {
            trainer.step().unwrap();
        }
        losses(gpu, &trainer, 40)
    };
    let single = curve(forced(Products::Single), Precision::F32);
    let mixed = curve(forced(Products::Rounded), Precision::MIXED);
    println!("{single:?}\n{mixed:?}");
    let mean = |part: &[f32]| part.iter().sum::<f32>() / part.len() as f32;
    let [early, late] = [&mixed[..10], &mixed[30..]].map(mean);
    assert!(late < early - 0.3, "mean loss {early} of the first ten steps, {late} of the last ten");
    let distance = single.iter().zip(&mixed).map(|(a, b)| (a - b).abs()).sum::<f32>() / 40.0;
    assert!((mixed[0] - single[0]).abs() < 1e-2, "the first loss: {} and {}", mixed[0], single[0]);
    assert!(distance < 0.25, "curves are {distance} apart");
}

#[test]
fn the_self_test_passes_rounded_operands_and_catches_others() {
    check_rounded_products(forced(Products::Rounded)).unwrap_or_else(|e| panic!("{e}"));
    match check_rounded_products(forced(Products::Single)) {
        Err(Error::Gpu(message)) => {
            assert!(message.contains("2049 instead of 2048") && message.contains("--precision"), "{message}");
        }
        other => panic!("kernels that do not round passed: {other:?}"),
    }
}

#[test]
fn settings_and_gpus_that_do_not_fit_are_refused() {
    let set = faces(10, 1);
    let message = |gpu: &Gpu, precision| {
        let config = SimclrConfig { precision, ..simclr(1) };
        match Trainer::new(gpu, config, &set) {
            Err(Error::Usage(message)) => message,
            Err(other) => panic!("expected a usage error, found {other}"),
            Ok(_) => panic!("{precision:?} was accepted"),
        }
    };
    assert!(message(gpu(), Precision::MIXED).contains("opened for f32"));
    assert!(message(forced(Products::Rounded), Precision::F32).contains("opened for mixed"));
    for initial in [0.0, -2.0, 3.0, f32::NAN, f32::INFINITY, 1e-45, 2f32.powi(127)] {
        let text = message(gpu(), scaling(false, initial, 5));
        assert!(text.contains("initial") && text.contains("power of two"), "{text}");
    }
    assert!(message(gpu(), scaling(false, 1.0, 0)).contains("growth_interval"));
    assert!(Precision::named("f16").is_err_and(|e| e.to_string().contains("mixed")));
    // This machine's own adapter, where it is no GPU.
    if gpu().description().class == KernelClass::Software {
        match Gpu::open(&GpuOptions { mixed_precision: true, ..GpuOptions::default() }) {
            Err(Error::Usage(message)) => {
                assert!(message.contains("CPU") && message.contains("leave --precision out"), "{message}");
            }
            Err(other) => panic!("expected a usage error, found {other}"),
            Ok(_) => panic!("mixed precision on a CPU"),
        }
    }
}

#[test]
fn f32_is_left_out_of_configurations() {
    let folder = tempdir().unwrap();
    let written = |precision, folder: &Path| {
        let set = faces(10, 1);
        let config = options(folder, &set, SimclrConfig { precision, ..simclr(1) }).config;
        config.write(folder).unwrap();
        assert_eq!(contraleak::train::PretrainConfig::read(folder).unwrap(), config);
        std::fs::read_to_string(folder.join("config.toml")).unwrap()
    };
    assert!(!written(Precision::F32, folder.path()).contains("precision"));
    assert!(written(Precision::MIXED, folder.path()).contains("precision"));
}
