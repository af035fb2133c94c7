//! Convolutions that apply a folded batch norm to their results before they store them: against the f64 batch norm of
//! what the same convolution stores alone; and where lowering a graph may put one in the place of two operations.

mod common;
use common::dense::{Kind, devices, random_convs};
use common::gpu::{Case, Draw, every_class};
use contraleak::gpu::{Facts, Gpu, Recording};
use contraleak::graph::{Form, Graph, Memory, Value, ops};
use contraleak::kernels::Shape;
use contraleak::kernels::conv::{self, Conv2d, ConvNorm, Weights};
use contraleak::kernels::elementwise::Unary;
use contraleak::kernels::norm::EPSILON;
use contraleak::reference::elementwise::Activation;
use contraleak::reference::norm as twin;

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

const FUSIONS: [(Option<Unary>, Activation, bool); 4] = [
    (None, Activation::Identity, false),
    (Some(Unary::Relu), Activation::Relu, true),
    (Some(Unary::Relu6), Activation::Relu6, false),
    (None, Activation::Identity, true),
];

/// Random ones, and one for each kernel that stores results: Winograd's with several chunks and with padding channels,
/// few channels, a strided one, a linear layer.
fn convs() -> Vec<Conv2d> {
    let mut list = random_convs(31, 12, Kind::Dense);
    for (input, channels, kernel, stride) in [
        (Shape::new(13, 64, 32, 32), 64, 3, 1),
        (Shape::new(2, 18, 7, 9), 30, 3, 1),
        (Shape::new(2, 5, 9, 10), 13, 3, 1),
        (Shape::new(3, 64, 7, 7), 70, 3, 2),
        (Shape::matrix(37, 130), 65, 1, 1),
    ] {
        list.extend(Conv2d::new(input, channels, kernel, stride, kernel / 2));
    }
    list
}

fn check(gpu: &Gpu, facts: &Facts, conv: &Conv2d, seed: u64) -> Vec<&'static str> {
    let (f, twin_f, with_residual) = FUSIONS[seed as usize % FUSIONS.len()];
    let mut case = Case::with_facts(gpu, facts);
    let mut draw = Draw(seed);
    let mut values = |count: usize, centre: f64, scale: f64| -> Vec<f64> {
        (0..count).map(|_| f64::from((centre + draw.unit() * scale) as f32)).collect()
    };
    let channels = conv.output.c;
    let (gamma, beta) = (values(channels, 0.5, 3.0), values(channels, 0.0, 2.0));
    let (mean, variance) = (values(channels, 0.2, 1.0), values(channels, 1.5, 1.0));
    let residual = with_residual.then(|| values(conv.output.elements(), 0.0, 3.0));
    let w: Vec<f32> = values(conv.weight().elements(), 0.0, 1.0).iter().map(|&v| v as f32).collect();
    let (x, _) = case.random("x", conv.input, seed, 1.0);
    let rows = Shape::matrix(conv.weight().texels(), 4);
    let w = Weights::new(conv.weight(), case.words("w", rows, &conv.weight().pack(&w)).slice);
    let vector = Shape::matrix(1, channels);
    let norm = ConvNorm {
        gamma: case.input("gamma", vector, &gamma),
        beta: case.input("beta", vector, &beta),
        running_mean: case.input("mean", vector, &mean),
        running_variance: case.input("variance", vector, &variance),
        residual: residual.as_ref().map(|r| case.input("residual", conv.output, r)),
        activation: f,
    };
    let (alone, y) = (case.output("alone", conv.output), case.output("y", conv.output));
    conv::conv2d(&mut case.recording, conv, x, w, alone);
    conv::conv2d_norm(&mut case.recording, conv, x, w, &norm, y);
    let shaders: Vec<&str> = case.recording.dispatches().map(|d| d.shader).collect();
    let done = case.run();
    let convolved = done.values(alone);
    let layer =
        twin::BatchNormLayer { weight: &gamma, bias: &beta, eps: f64::from(EPSILON), activation: twin_f };
    let pixels = conv.output.pixels();
    let sizes = twin::BatchNormShape { batch: conv.output.n, channels, spatial: pixels, splits: 1 };
    let expected = twin::batch_norm_eval(&convolved, residual.as_deref(), layer, &mean, &variance, sizes);
    println!("{conv:?} {f:?} {with_residual} {:?}", facts.class);
    // The scale has a sum, a root, a quotient (2.5 units in the last place) and a product; the shift a product and a
    // difference on top, a result two more and the residual's sum.
    done.assert_close(y, &expected, |i| {
        let c = i / pixels % channels;
        let scale = (gamma[c] / (variance[c] + f64::from(EPSILON)).sqrt()).abs();
        let residual = residual.as_ref().map_or(0.0, |r| r[i].abs());
        14.0 * U * (scale * (convolved[i].abs() + mean[c].abs()) + beta[c].abs() + residual)
    });
    shaders
}

#[test]
fn a_folded_batch_norm_is_the_batch_norm_of_what_is_stored_alone() {
    for (i, conv) in convs().iter().enumerate() {
        for gpu in devices() {
            for facts in every_class(gpu) {
                let exact = Facts { exact_conv: true, ..facts.clone() };
                for facts in [facts, exact] {
                    let shaders = check(gpu, &facts, conv, i as u64);
                    assert!(!shaders.contains(&"norm/batch_norm_apply"), "{shaders:?}");
                }
            }
        }
    }
}

/// The operations that a graph of convolution, batch norm and sum is lowered to: the sum reads y and, if `twice`, what the
/// convolution made; if `kept`, that has a place of its own.
fn lowered(gpu: &Gpu, training: bool, twice: bool, kept: bool) -> Vec<&'static str> {
    let conv = Conv2d::new(Shape::new(2, 8, 6, 6), 8, 3, 1, 1).expect("fits");
    let mut graph = Graph::new();
    let x = graph.input("x", Form::Tensor(conv.input));
    let w = graph.input("w", Form::Weight(conv.weight()));
    let vectors: Vec<Value> = ["gamma", "beta", "mean", "variance"]
        .map(|name| graph.input(name, Form::Tensor(Shape::matrix(1, 8))))
        .to_vec();
    let between = graph.apply1(ops::Conv2d { stride: 1, padding: 1 }, &[x, w]).expect("fits");
    let inputs = [&[between][..], &vectors].concat();
    let activation = Some(Unary::Relu);
    let y = match training {
        true => graph.apply1(ops::BatchNormTrain { activation, splits: 1 }, &inputs),
        false => graph.apply1(ops::BatchNormEval { activation }, &inputs),
    };
    let y = y.expect("fits");
    let sum = graph.apply1(ops::Add, &[y, if twice { between } else { y }]).expect("fits");
    let mut recording = Recording::new(gpu.facts());
    let mut memory = Memory::default();
    for name in ["x", "w", "gamma", "beta", "mean", "variance"] {
        memory = memory.with_input(name, recording.transient(name, 1 << 16));
    }
    let place = recording.transient("sum", conv.output.bytes());
    memory = memory.with_value(sum, place);
    if kept {
        let place = recording.transient("kept", conv.output.bytes());
        memory = memory.with_value(between, place);
    }
    graph.record(&mut recording, &memory).expect("has memory");
    recording.dispatches().map(|d| d.shader).collect()
}

#[test]
fn lowering_folds_only_what_nobody_else_needs() {
    let gpu = devices()[0];
    let folded = |shaders: Vec<&str>| {
        let (fold, apply) =
            (shaders.contains(&"conv/fold_batch_norm"), shaders.contains(&"norm/batch_norm_apply"));
        assert_ne!(fold, apply, "{shaders:?}");
        fold
    };
    assert!(folded(lowered(gpu, false, false, false)));
    assert!(!folded(lowered(gpu, false, true, false)), "the sum reads it too");
    assert!(!folded(lowered(gpu, false, false, true)), "it was asked for");
    assert!(!folded(lowered(gpu, true, false, false)), "training needs its statistics first");
}
