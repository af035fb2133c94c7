//! The kernels of dynamic loss scaling: exact products with powers of two, and the rules of the scale, step by step.

mod common;
use common::gpu::{Case, Draw, every_class, gpu};
use contraleak::gpu::{Buffer, Facts, Program, Recording};
use contraleak::kernels::loss_scale::{self, LossScaleState, Update};
use contraleak::kernels::optim::GradientNorm;
use contraleak::kernels::{Shape, StepState};

fn state(scale: f32, good_steps: u32, skipped: [u32; 2]) -> LossScaleState {
    LossScaleState { scale, good_steps, skipped }
}

/// A state as the four words that kernels read.
fn words(state: LossScaleState) -> [u32; 4] {
    [state.scale.to_bits(), state.good_steps, state.skipped[0], state.skipped[1]]
}

#[test]
fn scaling_and_unscaling_are_exact() {
    let shape = Shape::new(3, 10, 5, 7);
    let small_bindings = Facts { max_binding_bytes: 70_000, ..gpu().facts().clone() };
    for facts in every_class(gpu()) {
        for exponent in [-100, -20, 0, 16, 100, 126] {
            let scale = 2f32.powi(exponent);
            let mut case = Case::with_facts(gpu(), &facts);
            let words = words(state(scale, 1, [2, 3]));
            let scaling = case.words("loss scale", Shape::matrix(1, 4), &words).slice;
            // Far from the ends of f32's range on both sides.
            let (x, values) = case.random("x", shape, 3, 1.0);
            let y = case.output("y", shape);
            loss_scale::scale_gradient(&mut case.recording, scaling, x, y);
            let expected: Vec<f64> = values.iter().map(|v| v * f64::from(scale)).collect();
            case.run().assert_close(y, &expected, |_| 0.0);
        }
    }
    for facts in [gpu().facts(), &small_bindings] {
        let mut draw = Draw(4);
        let mut values: Vec<f64> = (0..40_028).map(|_| f64::from(draw.unit() as f32)).collect();
        (values[3], values[40_027]) = (f64::INFINITY, f64::NEG_INFINITY);
        for exponent in [-126, -20, 0, 16, 100, 126] {
            let scale = 2f32.powi(exponent);
            let mut case = Case::with_facts(gpu(), facts);
            let scaling =
                case.words("loss scale", Shape::matrix(1, 4), &words(state(scale, 0, [0, 0]))).slice;
            let scaled: Vec<f64> = values.iter().map(|v| v * f64::from(scale)).collect();
            let g = case.in_out("g", Shape::matrix(1, values.len()), &scaled);
            loss_scale::unscale(&mut case.recording, scaling, g.slice).unwrap_or_else(|e| panic!("{e}"));
            let got = case.run().values(g);
            // What the smallest scale pushed below the normal numbers is lost; nothing else changes by a bit.
            let lost = |scaled: f64| scaled != 0.0 && scaled.abs() < f64::from(f32::MIN_POSITIVE);
            for ((got, value), scaled) in got.iter().zip(&values).zip(&scaled) {
                assert!(got == value || lost(*scaled), "{value:e} at {scale:e} became {got:e}");
            }
        }
    }
}

/// One update on the GPU, and what it leaves.
struct Updates {
    program: Program,
    norm: Buffer,
    state: Buffer,
    step: Buffer,
}

const CORRECTIONS: [[f32; 2]; 3] = [[0.1, 0.2], [0.3, 0.4], [1.0, 1.0]];

impl Updates {
    fn new(phase: u32, growth_interval: u32) -> Updates {
        let buffer = |label: &str, bytes| gpu().buffer(label, bytes).expect("memory");
        let (norm, state, step) = (buffer("norm", 16), buffer("state", 16), buffer("step", 64));
        let table = gpu().buffer_with("corrections", &CORRECTIONS).expect("memory");
        let mut recording = Recording::new(gpu().facts());
        let settings = Update {
            norm: recording.persistent(&norm),
            // The buffer is longer than its three entries.
            corrections: recording.persistent(&table).part(0, 24),
            phase,
            growth_interval,
        };
        let (of_state, of_step) = (recording.persistent(&state), recording.persistent(&step));
        loss_scale::update(&mut recording, &settings, of_state, of_step);
        let program = Program::build(gpu(), &recording).unwrap_or_else(|e| panic!("{e}"));
        Updates { program, norm, state, step }
    }

    /// The state and the step's `skip` and corrections after `optimizer_step` steps were done before.
    fn run(
        &self,
        before: LossScaleState,
        non_finite: u32,
        optimizer_step: u32,
    ) -> (LossScaleState, u32, [f32; 2]) {
        let norm = GradientNorm { norm: 1.0, non_finite, ..GradientNorm::default() };
        let step = StepState { optimizer_step, learning_rate: 0.5, ..StepState::default() };
        gpu().write(&self.norm, 0, &[norm]).expect("fits");
        gpu().write(&self.state, 0, &[before]).expect("fits");
        gpu().write(&self.step, 0, &[step]).expect("fits");
        self.program.run(gpu()).unwrap_or_else(|e| panic!("{e}"));
        let after: Vec<LossScaleState> = gpu().read(&self.state, 0, 1).expect("reads");
        let step: Vec<StepState> = gpu().read(&self.step, 0, 1).expect("reads");
        assert_eq!((step[0].optimizer_step, step[0].learning_rate), (optimizer_step, 0.5));
        (after[0], step[0].skip, [step[0].adam_bias1, step[0].adam_bias2_sqrt])
    }
}

#[test]
fn the_scale_follows_the_rules_of_gradient_scaling() {
    let [first, second] = [0, 1].map(|phase| Updates::new(phase, 3));
    let [at_1, at_2, at_end] = CORRECTIONS;
    // A good step counts, the third doubles the scale.
    assert_eq!(first.run(state(8.0, 0, [0, 0]), 0, 0), (state(8.0, 1, [0, 0]), 0, at_1));
    assert_eq!(first.run(state(8.0, 2, [0, 5]), 0, 1), (state(16.0, 0, [0, 5]), 0, at_2));
    // Any number of values that are not finite skips the step and halves it; the optimizer's count stays.
    for non_finite in [1, 7, u32::MAX] {
        assert_eq!(first.run(state(8.0, 2, [1, 5]), non_finite, 9).0, state(4.0, 0, [2, 5]));
        assert_eq!(first.run(state(8.0, 2, [1, 5]), non_finite, 9).1, 1);
    }
    // Corrections are those of the steps that this phase's optimizer took, the last for all later ones.
    assert_eq!(first.run(state(8.0, 0, [4, 0]), 0, 5).2, at_2);
    assert_eq!(second.run(state(8.0, 0, [4, 5]), 0, 5).2, at_1);
    for step in [2, 3, 4, 1_000_000] {
        assert_eq!(first.run(state(8.0, 0, [0, 0]), 0, step).2, at_end, "step {step}");
    }
    assert_eq!(second.run(state(8.0, 1, [4, 5]), 3, 5).0, state(4.0, 0, [4, 6]));
    // Both ends of the range have exact inverses, and are not left.
    let (low, high) = (2f32.powi(-126), 2f32.powi(126));
    assert_eq!(first.run(state(low, 0, [0, 0]), 1, 0).0, state(low, 0, [1, 0]));
    assert_eq!(first.run(state(high, 2, [0, 0]), 0, 0).0, state(high, 0, [0, 0]));
}
