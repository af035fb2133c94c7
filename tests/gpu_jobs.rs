//! Launches that do the work of several layers: the bits that each would have alone, in the order that anybody else could tell.

mod common;

use common::dense::devices;
use common::gpu::{Draw, every_class, gpu};
use contraleak::gpu::{Buffer, Facts, Gpu, Program, Recording, Slice};
use contraleak::graph::{Form, Graph, Memory, ops};
use contraleak::kernels::conv::{self, Conv2d, Weights};
use contraleak::kernels::{Shape, Tensor, elementwise, reduce};

fn values(seed: u64, count: usize) -> Vec<f32> {
    let mut draw = Draw(seed);
    (0..count).map(|_| draw.unit() as f32 - 0.5).collect()
}

/// The bits of `result` after a run.
fn run(gpu: &Gpu, recording: &Recording, result: &Buffer, count: usize) -> Vec<u32> {
    let program = Program::build(gpu, recording).unwrap_or_else(|e| panic!("{e}"));
    program.run(gpu).unwrap_or_else(|e| panic!("{e}"));
    let values: Vec<f32> = gpu.read(result, 0, count).unwrap_or_else(|e| panic!("{e}"));
    values.into_iter().map(f32::to_bits).collect()
}

fn launches(recording: &Recording, shader: &str) -> usize {
    recording.dispatches().filter(|d| d.shader == shader).count()
}

/// Every kind of layer that makes something of its weights or sums parts: Winograd's of three sizes, strides, a pointwise one, a narrow one.
fn layers() -> Vec<Conv2d> {
    let conv = |n, c, side, o, kernel, stride| {
        Conv2d::new(Shape::new(n, c, side, side), o, kernel, stride, kernel / 2).expect("fits")
    };
    vec![
        conv(3, 24, 9, 40, 3, 1),
        conv(64, 20, 16, 24, 3, 2),
        conv(3, 32, 8, 32, 3, 1),
        conv(64, 20, 16, 36, 1, 2),
        conv(2, 17, 5, 66, 3, 1),
        conv(64, 7, 16, 13, 3, 1),
    ]
}

/// Outputs, gradients to inputs and gradients to weights of all layers, one after the other, and the recording.
fn all_results(gpu: &Gpu, facts: &Facts, gathered: bool) -> (Vec<u32>, Recording) {
    let layers = layers();
    let upload = |label: &str, seed, count| gpu.buffer_with(label, &values(seed, count)).expect("fits");
    let texels = |shape: Shape| (shape.bytes() / 16) as usize;
    let weights: usize = layers.iter().map(|conv| conv.weight().texels().next_multiple_of(16)).sum();
    let arena = upload("weights", 1, weights * 4);
    let results = layers.iter().map(|c| texels(c.output) + texels(c.input) + c.weight().texels());
    let count: usize = results.map(|texels| 4 * (texels + 3 * 16)).sum();
    let result = gpu.buffer_with("results", &vec![0f32; count]).expect("fits");
    let mut recording = Recording::new(facts);
    let (arena, place) = (recording.persistent(&arena), recording.persistent(&result));
    let mut offset = 0;
    let mut next = |bytes: u64| {
        offset += bytes.next_multiple_of(256);
        place.part(offset - bytes.next_multiple_of(256), bytes)
    };
    let mut first_weight = 0;
    let mut operands = Vec::new();
    for (i, conv) in layers.iter().enumerate() {
        let x = upload("x", 10 + i as u64, texels(conv.input) * 4);
        let dy = upload("dy", 20 + i as u64, texels(conv.output) * 4);
        let bytes = conv.weight().bytes();
        let w = Weights::new(conv.weight(), arena.part(first_weight, bytes));
        first_weight += bytes.next_multiple_of(256);
        let x = Tensor::new(conv.input, recording.persistent(&x));
        let dy = Tensor::new(conv.output, recording.persistent(&dy));
        let y = Tensor::new(conv.output, next(conv.output.bytes()));
        let dx = Tensor::new(conv.input, next(conv.input.bytes()));
        let dw = Weights::new(conv.weight(), next(bytes));
        operands.push((*conv, x, w, dy, y, dx, dw));
    }
    let record = |recording: &mut Recording| {
        for &(conv, x, w, dy, y, dx, dw) in &operands {
            conv::conv2d(recording, &conv, x, w, y);
            conv::conv2d_grads(recording, &conv, (x, w), dy, (dx, dw));
        }
    };
    if gathered {
        recording.gather(|recording| {
            for (conv, _, w, ..) in &operands {
                conv::prepare(recording, conv, *w);
                conv::prepare_grad_input(recording, conv, *w);
            }
        });
        recording.gather(record);
    } else {
        record(&mut recording);
    }
    (run(gpu, &recording, &result, count), recording)
}

#[test]
fn layers_share_launches_and_keep_their_bits() {
    for gpu in devices() {
        for class in every_class(gpu) {
            for shared_memory in [class.shared_memory, false] {
                let facts = Facts { shared_memory, ..class.clone() };
                let ((apart, many), (together, few)) =
                    (all_results(gpu, &facts, false), all_results(gpu, &facts, true));
                assert!(apart == together, "{facts:?}");
                assert!(apart.iter().filter(|&&bits| bits != 0).count() > apart.len() / 2);
                for shader in ["winograd/weights", "winograd/grad_weights", "conv/transpose_weights"] {
                    let most = usize::from(facts.texture_kernels());
                    assert_eq!(launches(&few, shader), most, "{shader}");
                    assert_eq!(launches(&many, shader), 3 * most, "{shader}");
                }
                assert_eq!(launches(&few, "reduce/sum_parts"), 1);
                assert!(launches(&many, "reduce/sum_parts") > 1);
            }
        }
    }
}

/// Sums of parts, and steps that read or overwrite what belongs to them, in random order: with and without waiting the same bits.
#[test]
fn what_waits_is_done_before_anybody_could_tell() {
    let gpu = gpu();
    const ROW: usize = 4 * 100;
    const ROWS: usize = 12;
    for seed in 0..12 {
        let results = |gathered: bool| {
            let memory = gpu.buffer_with("memory", &values(seed, ROWS * 512)).expect("fits");
            let mut recording = Recording::new(gpu.facts());
            let all = recording.persistent(&memory);
            let row = |i: usize| all.part(i as u64 * 2048, ROW as u64 * 4);
            let tensor = |slice: Slice| Tensor::new(Shape::matrix(1, ROW), slice);
            // A kernel may not read and write one buffer.
            let copy = |recording: &mut Recording, from: Slice| {
                let copy = recording.transient("copy", from.bytes);
                recording.copy(from, copy);
                tensor(copy)
            };
            let record = |recording: &mut Recording| {
                let mut draw = Draw(seed + 100);
                for _ in 0..40 {
                    let (from, to) = (draw.range(0, ROWS - 1), draw.range(0, ROWS - 1));
                    if draw.range(0, 4) == 0 {
                        let from = copy(recording, row(from));
                        elementwise::scale(recording, from, -1.0, tensor(row(to)));
                        continue;
                    }
                    let parts = recording.scratch("parts", 2 * ROW as u64 * 4);
                    let halves = [0, parts.bytes / 2].map(|at| parts.part(at, parts.bytes / 2));
                    recording.copy(row(from), halves[0]);
                    recording.copy(row((from + 1) % ROWS), halves[1]);
                    reduce::sum_parts(recording, parts, 2, row(to));
                    if draw.range(0, 3) == 0 {
                        // The memory that a job reads, used again.
                        let from = copy(recording, halves[0]);
                        elementwise::scale(recording, from, 0.5, tensor(halves[1]));
                        recording.copy(halves[1], row((to + 2) % ROWS));
                    }
                }
            };
            if gathered {
                recording.gather(record)
            } else {
                record(&mut recording)
            }
            (run(gpu, &recording, &memory, ROWS * 512), launches(&recording, "reduce/sum_parts"))
        };
        let ((apart, many), (together, few)) = (results(false), results(true));
        assert!(apart == together, "seed {seed}");
        assert!(few < many, "seed {seed}: {few} launches instead of {many}");
    }
}

/// A tensor that a job reads may be read beside what another job reads and its writer writes: it becomes no part of their buffer. Nor does one that
/// has become a part of another launch's already.
#[test]
fn tensors_stay_what_others_take_them_for() {
    const FLOATS: usize = 64;
    let bytes = FLOATS as u64 * 4;
    let gpu = gpu();
    for facts in every_class(gpu) {
        let results = |gathered: bool| {
            let memory = gpu.buffer_with("memory", &values(3, FLOATS * 8)).expect("fits");
            let other = gpu.buffer_with("other", &values(4, FLOATS * 8)).expect("fits");
            let mut recording = Recording::new(&facts);
            let [all, elsewhere] = [&memory, &other].map(|buffer| recording.persistent(buffer));
            let tensor = |slice: Slice| Tensor::new(Shape::matrix(1, slice.bytes as usize / 4), slice);
            let record = |recording: &mut Recording| {
                let dy = recording.transient("dy", 2 * bytes);
                recording.copy(all.part(0, 2 * bytes), dy);
                reduce::sum_parts(recording, dy, 2, all.part(2 * bytes, bytes));
                let [own, first, second] =
                    ["own", "first", "second"].map(|label| recording.scratch(label, 2 * bytes));
                elementwise::scale(recording, tensor(dy), -3.0, tensor(own));
                reduce::sum_parts(recording, own, 2, all.part(3 * bytes, bytes));
                recording.copy(all.part(4 * bytes, 2 * bytes), first);
                recording.copy(elsewhere.part(0, 2 * bytes), second);
                reduce::sum_parts(recording, first, 2, all.part(6 * bytes, bytes));
                reduce::sum_parts(recording, second, 2, elsewhere.part(2 * bytes, bytes));
                reduce::sum_parts(recording, first, 2, elsewhere.part(3 * bytes, bytes));
            };
            if gathered {
                recording.gather(record);
            } else {
                record(&mut recording);
            }
            let count = launches(&recording, "reduce/sum_parts");
            let bits = run(gpu, &recording, &memory, FLOATS * 8);
            let rest: Vec<f32> = gpu.read(&other, 0, FLOATS * 8).expect("fits");
            (bits, rest, count)
        };
        let ((bits, rest, many), (together, others, few)) = (results(false), results(true));
        assert!(bits == together && rest == others, "{:?}", facts.class);
        assert!(few < many, "{few} launches instead of {many}");
    }
}

/// One slice under two shapes with as many bytes is two kinds of weights.
#[test]
fn what_is_made_of_weights_is_of_their_shape() {
    let gpu = gpu();
    let convs = [(8, 16, 1), (16, 8, 1), (20, 36, 3), (36, 20, 3)]
        .map(|(i, o, kernel)| Conv2d::new(Shape::new(2, i, 4, 4), o, kernel, 1, kernel / 2).expect("fits"));
    let upload = |label: &str, seed, count| gpu.buffer_with(label, &values(seed, count)).expect("fits");
    let weights = upload("weights", 1, 36 * 36 * 9);
    let dys = convs.map(|conv| upload("dy", 2, conv.output.bytes() as usize / 4));
    let results = |choose: &[usize]| -> Vec<Vec<u32>> {
        let mut recording = Recording::new(gpu.facts());
        let w = recording.persistent(&weights);
        let mut buffers = Vec::new();
        for &i in choose {
            let conv = &convs[i];
            let dx = gpu.buffer("dx", conv.input.bytes()).expect("fits");
            let [dy, to] = [&dys[i], &dx].map(|buffer| recording.persistent(buffer));
            let (dy, to) = (Tensor::new(conv.output, dy), Tensor::new(conv.input, to));
            conv::conv2d_grad_input(&mut recording, conv, dy, Weights::new(conv.weight(), w), to);
            buffers.push((dx, conv.input.bytes() as usize / 4));
        }
        let program = Program::build(gpu, &recording).unwrap_or_else(|e| panic!("{e}"));
        program.run(gpu).unwrap_or_else(|e| panic!("{e}"));
        let read = |(dx, count): &(Buffer, usize)| -> Vec<u32> {
            let values: Vec<f32> = gpu.read(dx, 0, *count).unwrap_or_else(|e| panic!("{e}"));
            values.into_iter().map(f32::to_bits).collect()
        };
        buffers.iter().map(read).collect()
    };
    let together = results(&[0, 1, 2, 3]);
    for (i, bits) in together.iter().enumerate() {
        assert!(results(&[i])[0] == *bits, "{:?}", convs[i]);
    }
}

/// A recording that is not finished has no plan.
#[test]
fn jobs_that_wait_are_in_no_program() {
    let gpu = gpu();
    let mut recording = Recording::new(gpu.facts());
    let parts = recording.scratch("parts", 128);
    let sum = recording.scratch("sum", 64);
    recording.clear(parts);
    let message = recording.gather(|recording| {
        reduce::sum_parts(recording, parts, 2, sum);
        Program::build(gpu, recording).err().map(|e| e.to_string())
    });
    let message = message.expect("refused");
    assert!(message.contains("reduce/sum_parts") && message.contains("gather"), "{message}");
    assert!(Program::build(gpu, &recording).is_ok());
}

/// Sums of `count` texels each: how many launches `jobs` of them take.
fn launches_of(facts: &Facts, jobs: usize, texels: u64) -> usize {
    let mut recording = Recording::new(facts);
    recording.gather(|recording| {
        for _ in 0..jobs {
            let parts = recording.scratch("parts", 2 * texels * 16);
            let sum = recording.scratch("sum", texels * 16);
            reduce::sum_parts(recording, parts, 2, sum);
        }
    });
    launches(&recording, "reduce/sum_parts")
}

#[test]
fn large_jobs_wait_for_nobody_and_few_bytes_wait_at_a_time() {
    let facts = gpu().facts();
    // Of 3 · 16 bytes a texel 4 MiB may wait alone, and 16 MiB together.
    assert_eq!(launches_of(facts, 4, 87_000), 1);
    assert_eq!(launches_of(facts, 5, 88_000), 5);
    assert_eq!(launches_of(facts, 10, 80_000), 3);
    let narrow = Facts { max_binding_bytes: 8 << 20, ..facts.clone() };
    assert_eq!(launches_of(&narrow, 5, 100), 5, "a binding could not hold all that may wait");
}

/// A table for a grid that is folded over two dimensions and not filled.
#[test]
fn jobs_fill_folded_grids() {
    let gpu = gpu();
    let facts = Facts { max_groups: 7, ..gpu.facts().clone() };
    let counts = [1, 64, 65, 400, 130];
    let all: usize = counts.iter().map(|texels| texels * 4 + 64).sum();
    let mut recording = Recording::new(&facts);
    let result = gpu.buffer_with("result", &vec![f32::NAN; all]).expect("fits");
    let place = recording.persistent(&result);
    let mut expected = vec![f32::NAN.to_bits(); all];
    recording.gather(|recording| {
        let mut first = 0;
        for (i, &texels) in counts.iter().enumerate() {
            let floats = texels * 4;
            let parts = values(i as u64, floats * 3);
            let buffer = gpu.buffer_with("parts", &parts).expect("fits");
            let from = Tensor::new(Shape::matrix(1, floats * 3), recording.persistent(&buffer));
            let moved = Tensor::new(from.shape, recording.scratch("moved", from.shape.bytes()));
            elementwise::scale(recording, from, 1.0, moved);
            reduce::sum_parts(recording, moved.slice, 3, place.part(first as u64 * 4, floats as u64 * 4));
            for k in 0..floats {
                expected[first + k] = (parts[k] + parts[floats + k] + parts[2 * floats + k]).to_bits();
            }
            first += floats + 64;
        }
    });
    let grids: Vec<_> =
        recording.dispatches().filter(|d| d.shader == "reduce/sum_parts").map(|d| d.grid).collect();
    assert_eq!(grids, [[7, 2, 1]]);
    assert!(run(gpu, &recording, &result, all) == expected);
}

/// A graph makes what it needs of its weights ahead of all layers, but of weights that it computes itself behind them.
#[test]
fn graphs_prepare_weights_that_are_given() {
    let gpu = devices()[0];
    let facts = gpu.facts();
    assert!(facts.texture_kernels(), "this test needs a software adapter with subgroups of 8 or 4");
    let shape = Shape::new(2, 24, 8, 8);
    let first = Conv2d::new(shape, 24, 3, 1, 1).expect("fits");
    let upload = |seed, bytes: u64| gpu.buffer_with("w", &values(seed, bytes as usize / 4)).expect("fits");
    let bytes = first.weight().bytes();
    let (x, arena) = (upload(1, shape.bytes()), upload(2, 2 * bytes));
    let results = |made: bool| {
        let result = gpu.buffer_with("result", &vec![0f32; shape.bytes() as usize / 4]).expect("fits");
        let mut recording = Recording::new(facts);
        let mut graph = Graph::new();
        let input = graph.input("x", Form::Tensor(shape));
        let given = graph.input("w", Form::Weight(first.weight()));
        let conv = ops::Conv2d { stride: 1, padding: 1 };
        let second = graph.input("v", Form::Weight(first.weight()));
        let (x, arena) = (recording.persistent(&x), recording.persistent(&arena));
        let memory = Memory::default()
            .with_input("x", x)
            .with_input("w", arena.part(0, bytes))
            .with_input("v", arena.part(bytes, bytes));
        let second = if made { graph.apply1(Doubled, &[second]).expect("traced") } else { second };
        let hidden = graph.apply1(conv, &[input, given]).expect("traced");
        let output = graph.apply1(conv, &[hidden, second]).expect("traced");
        let memory = memory.with_value(output, recording.persistent(&result));
        graph.record(&mut recording, &memory).expect("recorded");
        let bits = run(gpu, &recording, &result, shape.bytes() as usize / 4);
        (bits, launches(&recording, "winograd/weights"))
    };
    let ((plain, together), (doubled, apart)) = (results(false), results(true));
    assert_eq!((together, apart), (1, 2));
    let twice = |(a, b): (&u32, &u32)| f32::from_bits(*a) * 2.0 == f32::from_bits(*b);
    assert!(plain.iter().zip(&doubled).all(twice), "a power of two passes through a convolution exactly");
}

/// Weights times two, which only a test computes.
struct Doubled;

impl contraleak::graph::Operation for Doubled {
    fn name(&self) -> &'static str {
        "doubled"
    }
    fn forms(&self, inputs: &[Form]) -> contraleak::Result<Vec<Form>> {
        Ok(inputs.to_vec())
    }
    fn record(
        &self,
        recording: &mut Recording,
        inputs: &[contraleak::graph::Operand],
        outputs: &[contraleak::graph::Operand],
    ) -> contraleak::Result<()> {
        let row = |slice: Slice| Tensor::new(Shape::matrix(1, slice.bytes as usize / 4), slice);
        elementwise::scale(recording, row(inputs[0].slice), 2.0, row(outputs[0].slice));
        Ok(())
    }
}
