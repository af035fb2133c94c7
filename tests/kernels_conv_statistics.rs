//! Statistics that a convolution keeps for the batch norm in training behind it: against the f64 statistics of what it
//! stores, in every kernel that keeps them; and where nobody may find them.

mod common;
use common::gpu::{Case, gpu};
use contraleak::gpu::{Facts, KernelClass, Recording};
use contraleak::graph::{Form, Graph, Memory, ops};
use contraleak::kernels::conv::{self, Conv2d, Weights};
use contraleak::kernels::elementwise::Unary;
use contraleak::kernels::norm::{self, BatchNormTrain};
use contraleak::kernels::{Shape, Tensor};
use std::collections::BTreeSet;

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

/// What a convolution and the batch norm behind it wrote: x, y, mean, 1/√(σ² + ε), running mean and variance, packed.
struct Written {
    shaders: Vec<&'static str>,
    convolved: Vec<f64>,
    mean: Vec<f64>,
    inverse: Vec<f64>,
    bits: Vec<Vec<u32>>,
}

struct Setting {
    asked: bool,
    splits: usize,
    /// Whether something writes to what the convolution stored before the batch norm reads it.
    changed: bool,
    /// The mean of the convolution's inputs.
    offset: f64,
}

const ASKED: Setting = Setting { asked: true, splits: 1, changed: false, offset: 0.0 };

fn run(conv: &Conv2d, facts: &Facts, setting: &Setting) -> Written {
    let mut case = Case::with_facts(gpu(), facts);
    let (_, values) = case.random("drawn", conv.input, 3, 1.0);
    let x = case.input("x", conv.input, &values.iter().map(|v| v + setting.offset).collect::<Vec<_>>());
    let (_, weights) = case.random("drawn w", Shape::matrix(conv.weight().elements(), 1), 4, 0.5);
    let weights: Vec<f32> = weights.iter().map(|&v| v as f32).collect();
    let rows = Shape::matrix(conv.weight().texels(), 4);
    let w = Weights::new(conv.weight(), case.words("w", rows, &conv.weight().pack(&weights)).slice);
    let vector = Shape::matrix(1, conv.output.c);
    let statistics = Shape::matrix(setting.splits, conv.output.c);
    let between = case.output("between", conv.output);
    let forward = BatchNormTrain {
        x: between,
        gamma: case.random("gamma", vector, 5, 2.0).0,
        beta: case.random("beta", vector, 6, 2.0).0,
        running_mean: case.in_out("running mean", vector, &vec![0.5; conv.output.c]),
        running_variance: case.in_out("running variance", vector, &vec![2.0; conv.output.c]),
        residual: Some(case.random("residual", conv.output, 7, 1.0).0),
        activation: Some(Unary::Relu),
        y: case.output("y", conv.output),
        mean: case.output("mean", statistics),
        inv_std: case.output("inv_std", statistics),
    };
    if setting.asked {
        norm::ask_for_statistics(&mut case.recording, between, setting.splits);
    }
    conv::conv2d(&mut case.recording, conv, x, w, between);
    if setting.changed {
        let (other, _) = case.random("other", conv.output, 8, 3.0);
        case.recording.copy(other.slice, between.slice);
    }
    norm::batch_norm_train(&mut case.recording, &forward);
    let shaders = case.recording.dispatches().map(|d| d.shader).collect();
    let BatchNormTrain { y, mean, inv_std, running_mean, running_variance, .. } = forward;
    let done = case.run();
    let bits = |tensor: Tensor| done.packed(tensor).iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
    Written {
        shaders,
        convolved: done.values(between),
        mean: done.values(mean),
        inverse: done.values(inv_std),
        bits: [between, y, mean, inv_std, running_mean, running_variance].map(bits).to_vec(),
    }
}

/// Every kernel that keeps statistics, with few and many parts, padding channels, and a launch that is folded.
fn keepers() -> Vec<(&'static str, Conv2d)> {
    [
        ("winograd/narrow", Shape::new(4, 8, 8, 8), 13, 3, 1),
        ("winograd/narrow", Shape::new(5, 3, 32, 16), 16, 3, 1),
        ("winograd/narrow", Shape::new(4, 7, 4, 4), 3, 3, 1),
        // Thirteen images of 64 tiles in several chunks.
        ("winograd/output", Shape::new(13, 64, 32, 32), 64, 3, 1),
        ("winograd/output", Shape::new(2, 18, 8, 16), 30, 3, 1),
        ("winograd/output", Shape::new(8, 33, 4, 4), 17, 3, 1),
        ("conv/implicit_gemm", Shape::new(4, 20, 16, 16), 30, 3, 2),
        ("conv/implicit_gemm", Shape::new(2, 9, 16, 16), 70, 1, 2),
        ("conv/implicit_gemm", Shape::matrix(64, 130), 65, 1, 1),
        ("conv/implicit_gemm", Shape::matrix(32, 16), 129, 1, 1),
    ]
    .into_iter()
    .map(|(shader, input, channels, kernel, stride)| {
        (shader, Conv2d::new(input, channels, kernel, stride, kernel / 2).expect("fits"))
    })
    .collect()
}

/// Mean and variance of each channel of [N, C, H, W] values, and their largest distance from the mean.
fn statistics_of(values: &[f64], shape: Shape) -> Vec<(f64, f64, f64)> {
    let of_channel = |c: usize| {
        let own = |&(i, _): &(usize, &f64)| i / shape.pixels() % shape.c == c;
        let own: Vec<f64> = values.iter().enumerate().filter(own).map(|(_, &v)| v).collect();
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        let variance = own.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / own.len() as f64;
        (mean, variance, own.iter().map(|v| (v - mean).abs()).fold(0.0, f64::max))
    };
    (0..shape.c).map(of_channel).collect()
}

#[test]
fn statistics_of_tiles_are_those_of_the_results() {
    let facts = gpu().facts();
    assert!(
        facts.texture_kernels() && facts.lanes() == 8,
        "this test needs a software adapter with subgroups of 8"
    );
    let mut seen = BTreeSet::new();
    for (shader, conv) in keepers() {
        // Without a mean, and with one that is many times the deviation.
        for offset in [0.0, 300.0] {
            println!("{conv:?} {offset}");
            let [one, many] = [1, usize::MAX]
                .map(|threads| run(&conv, &Facts { threads, ..facts.clone() }, &Setting { offset, ..ASKED }));
            assert_eq!(one.bits, many.bits, "threads decide launches, not bits");
            assert!(one.shaders.contains(&shader), "{:?}", one.shaders);
            assert!(!one.shaders.contains(&"norm/batch_norm_partials"), "{:?}", one.shaders);
            assert!(!many.shaders.contains(&"norm/batch_norm_partials"), "{:?}", many.shaders);
            seen.extend(one.shaders);
            seen.extend(many.shaders);
            // Terms of a sum meet at most those of a lane and three merges, an eighth of the parts, and eight lanes.
            let count = conv.output.n * conv.output.pixels();
            let additions = (32 + 3 + count / 32 / 8 + 8) as f64;
            for (c, (mean, variance, distance)) in
                statistics_of(&one.convolved, conv.output).into_iter().enumerate()
            {
                // Distances to a pivot are at most twice those to the mean; a pivot is as exact as a value.
                let mean_error = 2.0 * U * (2.0 * distance * additions + mean.abs() + distance);
                assert!(
                    (one.mean[c] - mean).abs() <= mean_error,
                    "channel {c}: mean {} instead of {mean}, more than {mean_error:e} away",
                    one.mean[c]
                );
                // Squares of such distances, and of differences of means that are rounded.
                let squares = U * (2.0 * additions + 8.0) * (variance + 4.0 * distance * distance)
                    + 8.0 * U * distance * (mean.abs() + distance);
                let expected = 1.0 / (variance + f64::from(norm::EPSILON)).sqrt();
                let relative = squares / (variance + f64::from(norm::EPSILON)) + 4.0 * U;
                assert!(
                    (one.inverse[c] - expected).abs() <= relative * expected,
                    "channel {c}: 1/σ {} instead of {expected}, more than {relative:e} of it away",
                    one.inverse[c]
                );
            }
        }
    }
    for shader in ["norm/batch_norm_finalize", "norm/batch_norm_train"] {
        assert!(seen.contains(shader) || !facts.shared_memory, "{shader} is not among {seen:?}");
    }
}

/// Results that tiles do not fill, splits, changed memory, and those that nobody asked about.
#[test]
fn batch_norm_reads_its_input_where_nobody_could_keep_statistics() {
    let facts = Facts { threads: usize::MAX, ..gpu().facts().clone() };
    let partials = "norm/batch_norm_partials";
    let three = |input: Shape, channels, stride| Conv2d::new(input, channels, 3, stride, 1).expect("fits");
    for conv in [
        three(Shape::new(4, 8, 8, 9), 13, 1),
        three(Shape::new(1, 8, 4, 8), 13, 1),
        three(Shape::new(2, 18, 8, 14), 30, 1),
        three(Shape::new(3, 18, 4, 4), 30, 1),
        three(Shape::new(3, 20, 6, 6), 30, 2),
    ] {
        let [asked, unasked] = [true, false].map(|asked| run(&conv, &facts, &Setting { asked, ..ASKED }));
        assert!(asked.shaders.contains(&partials), "{conv:?} {:?}", asked.shaders);
        assert_eq!(asked.bits, unasked.bits, "{conv:?}");
    }
    let conv = three(Shape::new(4, 8, 8, 8), 13, 1);
    for setting in [
        Setting { asked: false, ..ASKED },
        Setting { splits: 2, ..ASKED },
        Setting { changed: true, ..ASKED },
    ] {
        let written = run(&conv, &facts, &setting);
        assert!(written.shaders.contains(&partials), "{:?}", written.shaders);
    }
    let changed = run(&conv, &facts, &Setting { changed: true, ..ASKED });
    for (c, (mean, ..)) in statistics_of(&changed.convolved, conv.output).into_iter().enumerate() {
        assert!((changed.mean[c] - mean).abs() < 1e-5, "channel {c}: the mean of what lies there now");
    }
    let exact = run(&conv, &Facts { exact_conv: true, ..facts.clone() }, &ASKED);
    assert!(exact.shaders.contains(&partials), "{:?}", exact.shaders);
}

/// A graph asks by itself, on the software class alone.
#[test]
fn batch_norm_in_a_graph_asks_the_convolution_before_it() {
    let conv = Conv2d::new(Shape::new(4, 8, 8, 8), 13, 3, 1, 1).expect("fits");
    let partials_of = |facts: &Facts| {
        let mut graph = Graph::new();
        let vector = Form::Tensor(Shape::matrix(1, conv.output.c));
        let x = graph.input("x", Form::Tensor(conv.input));
        let w = graph.input("w", Form::Weight(conv.weight()));
        let vectors = ["gamma", "beta", "mean", "variance"].map(|name| graph.input(name, vector));
        let between = graph.apply1(ops::Conv2d { stride: 1, padding: 1 }, &[x, w]).expect("fits");
        let norm = ops::BatchNormTrain { activation: None, splits: 1 };
        let y = graph.apply(norm, &[&[between][..], &vectors].concat()).expect("fits")[0];
        let mut recording = Recording::new(facts);
        let mut memory = Memory::default();
        for name in ["x", "w", "gamma", "beta", "mean", "variance"] {
            memory = memory.with_input(name, recording.transient(name, 1 << 16));
        }
        let place = recording.transient("y", conv.output.bytes());
        graph.record(&mut recording, &memory.with_value(y, place)).expect("has memory");
        recording.dispatches().filter(|d| d.shader == "norm/batch_norm_partials").count()
    };
    let facts = Facts { threads: usize::MAX, ..gpu().facts().clone() };
    assert_eq!(partials_of(&facts), 0);
    assert_eq!(partials_of(&Facts { class: KernelClass::Discrete, ..facts }), 1);
}
