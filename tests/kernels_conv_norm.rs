//! Convolutions that apply a folded batch norm to their results before they store them: against the f64 batch norm of
//! what the same convolution stores alone; and where lowering a graph may put one in the place of two operations.

mod common;
use common::dense::{Kind, devices, random_convs};
use common::gpu::{Case, Draw, every_class};
use contraleak::gpu::{Facts, Gpu, KernelClass, Program, Recording, TileRates};
use contraleak::graph::{Form, Graph, Memory, Value, ops};
use contraleak::kernels::conv::{self, Conv2d, ConvNorm, Weights};
use contraleak::kernels::elementwise::Unary;
use contraleak::kernels::norm::EPSILON;
use contraleak::kernels::{Shape, Tensor, tune};
use contraleak::reference::elementwise::Activation;
use contraleak::reference::norm as twin;
use std::collections::BTreeSet;

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

type Fusion = (Option<Unary>, Activation, bool);

const FUSIONS: [Fusion; 5] = [
    (None, Activation::Identity, false),
    (Some(Unary::Relu), Activation::Relu, true),
    (Some(Unary::Relu6), Activation::Relu6, false),
    (Some(Unary::Relu6), Activation::Relu6, true),
    (None, Activation::Identity, true),
];

/// One for each kernel that stores results: Winograd's with several chunks and with padding channels, few channels in images that fill tiles of four
/// by eight, of two by four alone, and neither, a strided one, a linear layer.
fn every_kernel() -> Vec<Conv2d> {
    let mut list = Vec::new();
    for (input, channels, kernel, stride) in [
        (Shape::new(13, 64, 32, 32), 64, 3, 1),
        (Shape::new(2, 18, 7, 9), 30, 3, 1),
        (Shape::new(2, 5, 15, 31), 13, 3, 1),
        (Shape::new(2, 5, 9, 10), 13, 3, 1),
        (Shape::new(3, 9, 3, 3), 14, 3, 1),
        (Shape::new(3, 64, 7, 7), 70, 3, 2),
        (Shape::matrix(37, 130), 65, 1, 1),
    ] {
        list.extend(Conv2d::new(input, channels, kernel, stride, kernel / 2));
    }
    list
}

fn check(gpu: &Gpu, facts: &Facts, conv: &Conv2d, fusion: Fusion, seed: u64) -> Vec<&'static str> {
    let (f, twin_f, with_residual) = fusion;
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
    let random = random_convs(31, 12, Kind::Dense).into_iter().zip(FUSIONS.into_iter().cycle());
    let every = every_kernel().into_iter().flat_map(|conv| FUSIONS.map(|fusion| (conv, fusion)));
    let mut seen = BTreeSet::new();
    for (i, (conv, fusion)) in random.chain(every).enumerate() {
        for gpu in devices() {
            for facts in every_class(gpu) {
                let exact = Facts { exact_conv: true, ..facts.clone() };
                for facts in [facts, exact] {
                    let shaders = check(gpu, &facts, &conv, fusion, i as u64);
                    assert!(!shaders.contains(&"norm/batch_norm_apply"), "{shaders:?}");
                    seen.extend(shaders);
                }
            }
        }
    }
    for shader in [
        "winograd/output",
        "winograd/narrow",
        "conv/direct_narrow",
        "conv/implicit_gemm_narrow",
        "conv/implicit_gemm",
    ] {
        assert!(seen.contains(shader), "{shader} is not among {seen:?}");
    }
}

/// Parameters and running statistics lie in two buffers; the first submit alone folds what both promise to keep, into the same bits.
#[test]
fn frozen_batch_norms_are_folded_once() {
    let gpu = devices()[0];
    let conv = Conv2d::new(Shape::new(2, 8, 6, 8), 8, 3, 1, 1).expect("fits");
    let vector = Shape::matrix(1, conv.output.c);
    let values = |seed: u64, bytes: u64| -> Vec<f32> {
        let mut draw = Draw(seed);
        // Variances are among them.
        (0..bytes / 4).map(|_| draw.unit() as f32 + 1.5).collect()
    };
    let upload = |label, seed, bytes| gpu.buffer_with(label, &values(seed, bytes)).expect("fits");
    let (trained, state, w) =
        (upload("trained", 1, 512), upload("state", 2, 512), upload("w", 3, conv.weight().bytes()));
    let (x, y) = (upload("x", 4, conv.input.bytes()), upload("y", 5, conv.output.bytes()));
    let results = |frozen: [bool; 2]| -> (usize, Vec<Vec<u32>>) {
        let mut recording = Recording::new(gpu.facts());
        for (buffer, _) in [&trained, &state].into_iter().zip(frozen).filter(|(_, frozen)| *frozen) {
            recording.freeze(buffer);
        }
        let [gamma, beta, running_mean, running_variance] =
            [(&trained, 0), (&trained, 256), (&state, 0), (&state, 256)].map(|(buffer, at)| {
                Tensor::new(vector, recording.persistent(buffer).part(at, vector.bytes()))
            });
        let norm = ConvNorm { gamma, beta, running_mean, running_variance, residual: None, activation: None };
        let weights = Weights::new(conv.weight(), recording.persistent(&w));
        let from = Tensor::new(conv.input, recording.persistent(&x));
        let to = Tensor::new(conv.output, recording.persistent(&y));
        conv::conv2d_norm(&mut recording, &conv, from, weights, &norm, to);
        let program = Program::build(gpu, &recording).expect("builds");
        let folds = program.dispatches().iter().filter(|d| d.shader == "conv/fold_batch_norm").count();
        let submit = |seed| {
            gpu.write(&x, 0, &values(seed, conv.input.bytes())).expect("fits");
            program.run(gpu).expect("runs");
            let y: Vec<f32> = gpu.read(&y, 0, conv.output.bytes() as usize / 4).expect("fits");
            y.into_iter().map(f32::to_bits).collect()
        };
        (folds, (6..9).map(submit).collect())
    };
    let (folds, expected) = results([false, false]);
    assert_eq!(folds, 1);
    assert_ne!(expected[0], expected[1]);
    assert_eq!(results([true, false]), (1, expected.clone()), "statistics may change");
    assert_eq!(results([false, true]), (1, expected.clone()), "parameters may change");
    assert_eq!(results([true, true]), (0, expected));
}

/// Tiles that only measured rates choose.
#[test]
fn every_tile_folds() {
    let conv = Conv2d::new(Shape::new(2, 20, 13, 11), 70, 3, 1, 1).expect("fits");
    for (rows, columns) in tune::tile_sizes() {
        for gpu in devices() {
            let class = KernelClass::Discrete;
            let facts = Facts { class, tile_rates: TileRates::only(rows, columns), ..gpu.facts().clone() };
            check(gpu, &facts, &conv, FUSIONS[1], 5);
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

/// What a graph of convolution, batch norm with a residual and activation gives, with what lies between kept or not.
fn result(gpu: &Gpu, kept: bool) -> Vec<f32> {
    let conv = Conv2d::new(Shape::new(2, 8, 6, 6), 12, 3, 2, 1).expect("fits");
    let mut graph = Graph::new();
    let mut draw = Draw(8);
    let mut recording = Recording::new(gpu.facts());
    let mut memory = Memory::default();
    let mut input = |name: &str, form: Form, offset: f64| {
        let words: Vec<f32> = match form {
            Form::Weight(w) => w.pack(&(0..w.elements()).map(|_| draw.unit() as f32).collect::<Vec<f32>>()),
            form => {
                let shape = form.shape(name).expect("a tensor");
                shape
                    .pack(&(0..shape.elements()).map(|_| (offset + draw.unit()) as f32).collect::<Vec<f32>>())
            }
        };
        let buffer = gpu.buffer_with(name, &words).expect("fits");
        memory.inputs.insert(name.into(), recording.persistent(&buffer));
        graph.input(name, form)
    };
    let vector = Form::Tensor(Shape::matrix(1, 12));
    let (x, w) = (input("x", Form::Tensor(conv.input), 0.0), input("w", Form::Weight(conv.weight()), 0.0));
    let vectors = [("gamma", 0.5), ("beta", 0.0), ("mean", 0.2), ("variance", 1.5)]
        .map(|(name, offset)| input(name, vector, offset));
    let residual = input("residual", Form::Tensor(conv.output), 0.0);
    let between = graph.apply1(ops::Conv2d { stride: 2, padding: 1 }, &[x, w]).expect("fits");
    let inputs = [&[between][..], &vectors, &[residual]].concat();
    let y = graph.apply1(ops::BatchNormEval { activation: Some(Unary::Relu) }, &inputs).expect("fits");
    let buffer = |bytes| gpu.buffer("result", bytes).expect("fits");
    let (y_buffer, between_buffer) = (buffer(conv.output.bytes()), buffer(conv.output.bytes()));
    memory.values.insert(y, recording.persistent(&y_buffer));
    if kept {
        memory.values.insert(between, recording.persistent(&between_buffer));
    }
    graph.record(&mut recording, &memory).expect("has memory");
    assert_eq!(recording.dispatches().any(|d| d.shader == "norm/batch_norm_apply"), kept);
    Program::build(gpu, &recording).and_then(|program| program.run(gpu)).expect("runs");
    gpu.read(&y_buffer, 0, conv.output.texels() * 4).expect("is there")
}

#[test]
fn folded_or_not_a_graph_gives_the_same() {
    for gpu in devices() {
        let (folded, apart) = (result(gpu, false), result(gpu, true));
        assert!(
            apart.iter().any(|&v| v > 1.0) && apart.contains(&0.0),
            "values on both sides of the activation"
        );
        for (a, b) in folded.iter().zip(&apart) {
            // Sums of 72 products of at most 1, scaled by at most 1.5/√0.5, and 3: some roundings of either side.
            assert!((a - b).abs() <= 14.0 * U as f32 * 160.0, "{a} {b}");
        }
    }
}

#[test]
fn subgroups_of_four_match_their_twins() {
    common::gpu::pass_with_subgroups_of_four(&[
        "a_folded_batch_norm_is_the_batch_norm_of_what_is_stored_alone",
    ]);
}
