//! Optimizer kernels against the golden traces and their f64 twins.

mod common;

use common::gpu::{Draw, gpu};
use common::{Golden, assert_close};
use contraleak::Error;
use contraleak::gpu::{Buffer, Facts, Program, Recording, Slice};
use contraleak::kernels::StepState;
use contraleak::kernels::optim::{self, GradientNorm, Segment, SegmentTable};
use contraleak::optim::{Arena, Optimizer};
use contraleak::reference::optim::{self as twin, AdamSettings, LarsSettings};

/// An optimiser on the GPU with its arenas: fed with gradients, asked for parameters.
struct Trainer {
    optimizer: Optimizer,
    program: Program,
    step: Buffer,
    parameters: Buffer,
    gradients: Buffer,
    steps: u64,
    count: usize,
}

impl Trainer {
    fn new(optimizer: Optimizer, start: &[f64], segments: &[Segment], facts: &Facts) -> Trainer {
        let gpu = gpu();
        let buffer = |label: &str| gpu.buffer(label, start.len() as u64 * 4).expect("memory");
        let (parameters, gradients) = (buffer("parameters"), buffer("gradients"));
        gpu.write(&parameters, 0, &single(start)).expect("fits");
        let state: Vec<Buffer> = (0..optimizer.state_buffers()).map(|_| buffer("state")).collect();
        let step = gpu.buffer("step", size_of::<StepState>() as u64).expect("memory");
        let table = SegmentTable::new(gpu, segments).expect("memory");
        let mut recording = Recording::new(facts);
        let state: Vec<Slice> = state.iter().map(|s| recording.persistent(s)).collect();
        let arena = Arena {
            parameters: recording.persistent(&parameters),
            gradients: recording.persistent(&gradients),
            state: &state,
            segments: Some(&table),
        };
        let step_slice = recording.persistent(&step);
        optimizer.step(&mut recording, step_slice, &arena).unwrap_or_else(|e| panic!("{e}"));
        let program = Program::build(gpu, &recording).unwrap_or_else(|e| panic!("{e}"));
        Trainer { optimizer, program, step, parameters, gradients, steps: 0, count: start.len() }
    }

    fn step(&mut self, learning_rate: f64, gradient: &[f64]) -> Vec<f64> {
        let (adam_bias1, adam_bias2_sqrt) = self.optimizer.bias_corrections(self.steps);
        let learning_rate = learning_rate as f32;
        let state = StepState { learning_rate, adam_bias1, adam_bias2_sqrt, ..StepState::default() };
        gpu().write(&self.step, 0, &[state]).expect("fits");
        gpu().write(&self.gradients, 0, &single(gradient)).expect("fits");
        self.program.run(gpu()).unwrap_or_else(|e| panic!("{e}"));
        self.steps += 1;
        let parameters: Vec<f32> = gpu().read(&self.parameters, 0, self.count).expect("reads");
        parameters.into_iter().map(f64::from).collect()
    }
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn random(draw: &mut Draw, count: usize) -> Vec<f64> {
    (0..count).map(|_| f64::from(draw.unit() as f32)).collect()
}

/// One segment over everything.
fn one_segment(elements: usize) -> [Segment; 1] {
    [Segment { offset: 0, length: elements / 4 }]
}

/// Every kind, with a name, a learning rate and hyper-parameters; the golden file's.
fn optimizers() -> Vec<(&'static str, Optimizer, f64)> {
    vec![
        ("sgd", Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }, 0.1),
        ("sgd_momentum_wd", Optimizer::sgd(1e-2), 0.1),
        ("nesterov", Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 }, 0.1),
        ("adam", Optimizer::adam(0.0), 1e-2),
        ("adam_l2", Optimizer::adam(1e-2), 1e-2),
        ("adamw", Optimizer::adamw(1e-2), 1e-2),
        ("lars", Optimizer::lars(1e-2), 0.5),
    ]
}

#[test]
fn golden_optimizer_traces() {
    let golden = Golden::open("optimizers");
    let (start, gradients) = (golden.data("p0"), golden.data("grads"));
    let optimizers = optimizers();
    let names: Vec<String> =
        golden.names().into_iter().filter(|n| !["p0", "grads"].contains(&n.as_str())).collect();
    assert_eq!(names.len(), optimizers.len(), "{names:?}");
    for name in names {
        let (_, optimizer, lr) =
            optimizers.iter().find(|(n, ..)| *n == name).unwrap_or_else(|| panic!("no optimizer {name}"));
        let mut trainer = Trainer::new(*optimizer, &start, &one_segment(start.len()), gpu().facts());
        let expected = golden.data(&name);
        for (t, (gradient, expected)) in
            gradients.chunks(start.len()).zip(expected.chunks(start.len())).enumerate()
        {
            let parameters = trainer.step(*lr, gradient);
            assert_close(&format!("{name}, step {}", t + 1), &parameters, expected, 2e-6);
        }
    }
}

#[test]
fn every_optimizer_matches_its_twin_at_awkward_sizes_and_split_over_bindings() {
    let mut draw = Draw(3);
    let small_bindings = Facts { max_binding_bytes: 70_000, ..gpu().facts().clone() };
    for (vectors, facts) in [
        (1, gpu().facts()),
        (3, gpu().facts()),
        (255, gpu().facts()),
        (257, gpu().facts()),
        (4097, gpu().facts()),
        (10_007, gpu().facts()),
        (10_007, &small_bindings),
    ] {
        let count = vectors * 4;
        for (name, optimizer, lr) in optimizers() {
            if name == "lars" {
                continue;
            }
            let mut p = random(&mut draw, count);
            let (mut first, mut second) = (vec![0.0; count], vec![0.0; count]);
            let mut trainer = Trainer::new(optimizer, &p, &one_segment(count), facts);
            for t in 1..=3 {
                let g = random(&mut draw, count);
                match optimizer {
                    Optimizer::Sgd { momentum: 0.0, weight_decay, .. } => {
                        twin::sgd(&mut p, &g, lr, weight_decay);
                    }
                    Optimizer::Sgd { momentum, nesterov: true, weight_decay } => {
                        twin::nesterov(&mut p, &g, &mut first, lr, momentum, weight_decay);
                    }
                    Optimizer::Sgd { momentum, weight_decay, .. } => {
                        twin::momentum(&mut p, &g, &mut first, lr, momentum, weight_decay);
                    }
                    Optimizer::Adam { beta1, beta2, eps, weight_decay } => {
                        let settings = AdamSettings { lr, beta1, beta2, eps, weight_decay };
                        twin::adam_l2(&mut p, &g, &mut first, &mut second, t, settings);
                    }
                    Optimizer::AdamW { beta1, beta2, eps, weight_decay } => {
                        let settings = AdamSettings { lr, beta1, beta2, eps, weight_decay };
                        twin::adamw(&mut p, &g, &mut first, &mut second, t, settings);
                    }
                    Optimizer::Lars { .. } => panic!("LARS has its own test"),
                }
                // Values near one, a handful of roundings in each of three steps.
                let got = trainer.step(lr, &g);
                assert_close(&format!("{name}, {vectors} vec4, step {t}"), &got, &p, 2e-6);
            }
        }
    }
}

#[test]
fn lars_scales_every_segment_by_its_own_ratio() {
    let mut draw = Draw(4);
    let lengths = [1, 4096, 13, 9001, 2, 4097];
    let mut end = 0;
    let segments: Vec<Segment> = lengths
        .iter()
        .map(|&length| {
            let offset = end + 3; // a gap before each
            end = offset + length;
            Segment { offset, length }
        })
        .collect();
    let count = (end + 5) * 4;
    let mut p = random(&mut draw, count);
    let zero = segments[2];
    p[zero.offset * 4..(zero.offset + zero.length) * 4].fill(0.0); // ratio 1
    let settings = LarsSettings { lr: 0.5, momentum: 0.9, weight_decay: 1e-2, trust: 1e-3 };
    let mut trainer = Trainer::new(Optimizer::lars(1e-2), &p, &segments, gpu().facts());
    let mut velocity = vec![0.0; count];
    for t in 0..3 {
        let mut g = random(&mut draw, count);
        let still = segments[4];
        if t == 0 {
            g[still.offset * 4..(still.offset + still.length) * 4].fill(0.0);
        }
        for s in &segments {
            let range = s.offset * 4..(s.offset + s.length) * 4;
            twin::lars(&mut p[range.clone()], &g[range.clone()], &mut velocity[range], settings);
        }
        assert_close(&format!("step {t}"), &trainer.step(0.5, &g), &p, 2e-6);
    }
}

#[test]
fn ema_matches_its_twin() {
    let mut draw = Draw(5);
    for vectors in [1, 63, 1025] {
        let (mut target, source) = (random(&mut draw, vectors * 4), random(&mut draw, vectors * 4));
        let gpu = gpu();
        let target_buffer = gpu.buffer_with("target", &single(&target)).expect("memory");
        let source_buffer = gpu.buffer_with("source", &single(&source)).expect("memory");
        let mut recording = Recording::new(gpu.facts());
        let slices = (recording.persistent(&target_buffer), recording.persistent(&source_buffer));
        optim::ema(&mut recording, 0.99, slices.0, slices.1).expect("equal lengths");
        Program::build(gpu, &recording).expect("builds").run(gpu).expect("runs");
        twin::ema(&mut target, &source, 0.99);
        let got: Vec<f32> = gpu.read(&target_buffer, 0, vectors * 4).expect("reads");
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        assert_close("ema", &got, &target, 3e-7);
    }
}

/// Norm and clipped gradients.
fn clipped(gradients: &[Vec<f64>], limit: f64, facts: &Facts) -> (GradientNorm, Vec<Vec<f32>>) {
    let gpu = gpu();
    let buffers: Vec<Buffer> =
        gradients.iter().map(|g| gpu.buffer_with("gradients", &single(g)).expect("memory")).collect();
    let norm = gpu.buffer("norm", 16).expect("memory");
    let mut recording = Recording::new(facts);
    let slices: Vec<Slice> = buffers.iter().map(|b| recording.persistent(b)).collect();
    let norm_slice = recording.persistent(&norm);
    optim::gradient_norm(&mut recording, &slices, norm_slice);
    optim::clip(&mut recording, norm_slice, limit, &slices).expect("whole vec4");
    Program::build(gpu, &recording).expect("builds").run(gpu).expect("runs");
    let norm = gpu.read(&norm, 0, 1).expect("reads")[0];
    let gradients =
        buffers.iter().zip(gradients).map(|(b, g)| gpu.read(b, 0, g.len()).expect("reads")).collect();
    (norm, gradients)
}

#[test]
fn clipping_by_the_global_norm_matches_its_twin_and_does_not_depend_on_bindings() {
    let mut draw = Draw(6);
    let gradients: Vec<Vec<f64>> =
        [40_028, 4, 65_536, 20].iter().map(|&count| random(&mut draw, count)).collect();
    for limit in [1.0, 1e6] {
        let mut expected = gradients.clone();
        let norm = twin::clip_global_norm(&mut expected, limit);
        let (got, clipped_gradients) = clipped(&gradients, limit, gpu().facts());
        assert!((f64::from(got.norm) / norm - 1.0).abs() < 1e-5, "{got:?} instead of {norm}");
        assert_eq!(got.non_finite, 0);
        for (g, e) in clipped_gradients.iter().zip(&expected) {
            let g: Vec<f64> = g.iter().copied().map(f64::from).collect();
            assert_close("clipped gradients", &g, e, 1e-5);
        }
        let small = Facts { max_binding_bytes: 70_000, ..gpu().facts().clone() };
        assert_eq!(clipped(&gradients, limit, &small), (got, clipped_gradients), "other bindings");
    }
}

#[test]
fn values_that_are_not_finite_are_counted() {
    let mut gradients = vec![vec![1.0; 50_000], vec![2.0; 16]];
    let (fine, _) = clipped(&gradients, 1.0, gpu().facts());
    assert_eq!(fine.non_finite, 0);
    for (at, value) in [(0, f64::NAN), (49_999, f64::INFINITY), (777, f64::NEG_INFINITY)] {
        gradients[0][at] = value;
    }
    gradients[1][3] = f64::NAN;
    let (wrong, _) = clipped(&gradients, 1.0, gpu().facts());
    assert_eq!(wrong.non_finite, 4);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut recording = Recording::new(gpu().facts());
    let (step, long, short) = (
        recording.transient("step", 64),
        recording.transient("parameters", 64),
        recording.transient("gradients", 32),
    );
    let mut refuse = |optimizer: Optimizer, gradients: Slice, state: &[Slice]| {
        let arena = Arena { parameters: long, gradients, state, segments: None };
        match optimizer.step(&mut recording, step, &arena) {
            Ok(()) => panic!("{optimizer:?} was accepted"),
            Err(e) => e,
        }
    };
    let length = refuse(Optimizer::sgd(0.0), short, &[long]);
    assert!(matches!(&length, Error::Shape(m) if m.contains("[32, 64, 64]")), "{length}");
    let state = refuse(Optimizer::adam(0.0), long, &[long]);
    assert!(
        matches!(&state, Error::Usage(m) if m.contains("keeps 2 state buffers, 1 were given")),
        "{state}"
    );
    assert!(refuse(Optimizer::lars(0.0), long, &[long]).to_string().contains("segments"));
    let wrong = Optimizer::Adam { beta1: 1.0, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 };
    assert!(refuse(wrong, long, &[long, long]).to_string().contains("beta1 within [0, 1)"));
}

#[test]
fn optimizers_have_the_published_defaults_in_config_files() {
    let adam: Optimizer = toml::from_str("kind = \"adam\"\nweight_decay = 1e-6").expect("reads");
    assert_eq!(adam, Optimizer::Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-6 });
    let sgd: Optimizer = toml::from_str("kind = \"sgd\"\nweight_decay = 5e-4").expect("reads");
    assert_eq!(sgd, Optimizer::sgd(5e-4));
    let lars: Optimizer = toml::from_str("kind = \"lars\"").expect("reads");
    assert_eq!(lars, Optimizer::Lars { momentum: 0.9, weight_decay: 0.0, trust: 1e-3 });
    for (_, optimizer, _) in optimizers() {
        let text = toml::to_string(&optimizer).expect("serialises");
        assert_eq!(toml::from_str::<Optimizer>(&text).expect("reads"), optimizer);
    }
}
