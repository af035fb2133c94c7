//! Winograd convolutions in three directions against the f64 twins, with and without bounds checks.

mod common;
use common::dense::{
    Direction, EVERY_DIRECTION, Kind, Operands, Results, assert_within, devices, random_convs,
};
use common::gpu::{Case, Draw};
use contraleak::gpu::{Facts, Gpu, Program, Recording, Slice};
use contraleak::kernels::conv::{
    Conv2d, Weights, conv2d, conv2d_grad_input, conv2d_grad_weight, conv2d_grads,
};
use contraleak::kernels::{Shape, Tensor, elementwise};
use contraleak::reference::{conv as direct, winograd};

/// 3x3 convolutions with stride 1 and awkward channels, sides and paddings, large enough to be worth it.
fn shapes() -> Vec<Conv2d> {
    let mut draw = Draw(21);
    let mut list = Vec::new();
    while list.len() < 24 {
        let channels = 17 + draw.awkward(60);
        let input = Shape::new(draw.range(1, 4), channels, draw.range(1, 15), draw.range(1, 15));
        list.extend(Conv2d::new(input, 17 + draw.awkward(60), 3, 1, draw.range(0, 2)));
    }
    // Several chunks, the last one larger; one whole block; a tile an image; weights in several slices.
    for (input, channels) in [
        (Shape::new(13, 64, 32, 32), 64),
        (Shape::new(8, 32, 8, 8), 32),
        (Shape::new(33, 17, 4, 4), 20),
        (Shape::new(2, 150, 5, 4), 290),
    ] {
        list.extend(Conv2d::new(input, channels, 3, 1, 1));
    }
    list
}

fn facts(gpu: &Gpu) -> Facts {
    let facts = gpu.facts().clone();
    assert!(
        facts.texture_kernels() && !facts.exact_conv,
        "these tests need a software adapter with subgroups of 8 or 4"
    );
    facts
}

/// What the twins say, and what rounding is relative to.
fn twins(of: &Operands, m: &winograd::Matrices) -> [Vec<f64>; 3] {
    let shape = of.twin_shape();
    [
        winograd::conv2d(m, &of.x, &of.w, shape),
        winograd::conv2d_grad_input(m, &of.dy, &of.w, shape),
        winograd::conv2d_grad_weight(m, &of.dy, &of.x, shape),
    ]
}

fn magnitudes(of: &Operands) -> Operands {
    let absolute = |values: &[f64]| values.iter().map(|v| v.abs()).collect();
    Operands { x: absolute(&of.x), w: absolute(&of.w), dy: absolute(&of.dy), ..*of }
}

/// Roundings on the way of one product: at most six in each pass of a transform (its constants' included), of which
/// there are `passes` for each of the three operands; the product; as many additions as the sum has terms.
fn roundings(passes: usize, terms: usize) -> f64 {
    (terms + 3 * passes * 6 + 2) as f64 * 2f64.powi(-24)
}

fn check(of: &Operands, results: &Results) {
    let conv = of.conv;
    let sizes = twins(&magnitudes(of), &winograd::Matrices::new().absolute());
    let shape = of.twin_shape();
    let expected = [
        direct::conv2d(&of.x, &of.w, shape),
        direct::conv2d_grad_input(&of.dy, &of.w, shape),
        direct::conv2d_grad_weight(&of.dy, &of.x, shape),
    ];
    let tiles = conv.output.n * conv.output.h.div_ceil(4) * conv.output.w.div_ceil(4);
    let terms = [conv.input.c, conv.output.c, tiles];
    for (((got, expected), sizes), terms) in
        [&results.y, &results.dx, &results.dw].into_iter().zip(&expected).zip(&sizes).zip(terms)
    {
        assert_within(&format!("{conv:?}"), got, expected, |i| roundings(2, terms) * sizes[i]);
    }
}

#[test]
fn three_directions_match_their_twins_on_random_shapes() {
    for (i, conv) in shapes().into_iter().enumerate() {
        let operands = Operands::random(conv, Kind::Dense, i as u64);
        for gpu in devices() {
            let mut shaders = Vec::new();
            let results = operands.run(gpu, &facts(gpu), &EVERY_DIRECTION, |d| shaders.push(d.shader));
            assert!(
                shaders.iter().any(|s| s.starts_with("winograd/product"))
                    && shaders.contains(&"winograd/grad_product")
            );
            check(&operands, &results);
        }
    }
}

/// Along lines alone: one pass of a transform for each operand, sums over channels and lines of taps.
#[test]
fn few_channels_match_their_twins_along_lines() {
    let conv = |input, channels, padding| Conv2d::new(input, channels, 3, 1, padding);
    // Whether a convolution runs this way forwards, in its gradient to the input, and in that to the weights.
    let (all, outward) = ([true, true, true], [true, false, true]);
    let (no_weights, gradient) = ([true, true, false], [false, true, false]);
    let mut cases: Vec<(Conv2d, Option<[bool; 3]>)> = [
        // Whole tiles; lanes that cross images; a last workgroup of one tile; one to four texels of channels.
        (Shape::new(2, 16, 32, 32), 16, 1, all),
        (Shape::new(3, 5, 6, 4), 7, 1, no_weights),
        (Shape::new(1, 3, 18, 4), 1, 1, no_weights),
        (Shape::new(2, 12, 11, 7), 10, 1, all),
        // One texel of input channels, lines of which each lane has its own; two.
        (Shape::new(3, 3, 9, 15), 6, 1, all),
        (Shape::new(2, 8, 7, 16), 16, 1, all),
        // Every padding, sides that are no multiples of a tile, lines that are shorter than one.
        (Shape::new(2, 5, 14, 21), 13, 2, all),
        (Shape::new(3, 9, 8, 8), 4, 0, all),
        (Shape::new(2, 6, 5, 3), 5, 1, no_weights),
        // Several parts, the last of fewer images.
        (Shape::new(19, 16, 32, 32), 16, 1, all),
        (Shape::new(21, 7, 31, 47), 12, 1, all),
        // More channels on one side, which may be Winograd's in two dimensions there, or direct.
        (Shape::new(2, 50, 10, 8), 13, 1, outward),
        (Shape::new(2, 37, 18, 18), 9, 0, outward),
        (Shape::new(2, 9, 10, 8), 40, 1, gradient),
    ]
    .into_iter()
    .filter_map(|(input, channels, padding, runs)| Some((conv(input, channels, padding).ok()?, Some(runs))))
    .collect();
    assert_eq!(cases.len(), 14, "all of them fit");
    let mut draw = Draw(33);
    while cases.len() < 34 {
        let input = Shape::new(draw.range(1, 5), draw.awkward(16), draw.range(1, 19), draw.range(1, 35));
        let random = conv(input, draw.awkward(16), draw.range(0, 2));
        cases.extend(random.into_iter().map(|conv| (conv, None)));
    }
    let matrices = winograd::Matrices::new();
    let mut random_runs = [0; 3];
    for (i, (conv, expected_runs)) in cases.into_iter().enumerate() {
        let operands = Operands::random(conv, Kind::Dense, i as u64);
        let (sizes, shape) = (magnitudes(&operands), operands.twin_shape());
        let lines = conv.output.n * conv.output.h * conv.output.w.div_ceil(4);
        for gpu in devices() {
            let mut runs = [false; 3];
            let mut parts = 0;
            for (runs, direction) in runs.iter_mut().zip(EVERY_DIRECTION) {
                let results = operands.run(gpu, &facts(gpu), &[direction], |d| {
                    *runs |= d.shader.starts_with("winograd/narrow");
                    if d.shader == "winograd/narrow_grad_weight" {
                        parts = d.grid[2];
                    }
                });
                if !*runs {
                    continue;
                }
                let twin = |of: &Operands, m: &winograd::Matrices| match direction {
                    Direction::Forward => winograd::conv2d_narrow(m, &of.x, &of.w, shape),
                    Direction::GradInput => winograd::conv2d_narrow_grad_input(m, &of.dy, &of.w, shape),
                    Direction::GradWeight => winograd::conv2d_narrow_grad_weight(m, &of.dy, &of.x, shape),
                };
                let (got, terms) = match direction {
                    Direction::Forward => (results.y, 3 * conv.input.c),
                    Direction::GradInput => (results.dx, 3 * conv.output.c),
                    Direction::GradWeight => (results.dw, lines),
                };
                let sizes = twin(&sizes, &matrices.absolute());
                let expected = twin(&operands, &matrices);
                assert_within(&format!("{conv:?} {direction:?}"), &got, &expected, |i| {
                    roundings(1, terms) * sizes[i]
                });
            }
            assert!(conv.input.n < 19 || parts > 1, "{conv:?}: {parts} parts");
            match expected_runs {
                Some(expected) => assert_eq!(runs, expected, "{conv:?}: forward and gradients along lines"),
                None => random_runs.iter_mut().zip(runs).for_each(|(sum, runs)| *sum += usize::from(runs)),
            }
        }
    }
    assert!(
        random_runs.iter().all(|&runs| runs >= 10),
        "{random_runs:?} of 40 random convolutions ran along lines"
    );
}

/// Together, gradients have the bits that they have alone, also where nothing can be shared.
#[test]
fn both_gradients_together_are_those_alone() {
    let strided = Conv2d::new(Shape::new(3, 20, 9, 9), 24, 3, 2, 1).expect("fits");
    for (i, conv) in shapes().into_iter().step_by(3).chain([strided]).enumerate() {
        let of = Operands::random(conv, Kind::Dense, i as u64);
        for gpu in devices() {
            let alone = of.run(gpu, &facts(gpu), &[Direction::GradInput, Direction::GradWeight], |_| ());
            let mut case = Case::with_facts(gpu, &facts(gpu));
            let packed = conv.weight().pack(&of.w.iter().map(|&v| v as f32).collect::<Vec<f32>>());
            let words = Shape::matrix(packed.len() / 4, 4);
            let [x, dy] =
                [(conv.input, &of.x), (conv.output, &of.dy)].map(|(s, v)| case.input("operand", s, v));
            let weights = |t: Tensor| Weights::new(conv.weight(), t.slice);
            let w = weights(case.words("w", words, &packed));
            let (dx, dw) = (case.output("dx", conv.input), case.output("dw", words));
            conv2d_grads(&mut case.recording, &conv, (x, w), dy, (dx, weights(dw)));
            let done = case.run();
            assert_eq!(done.values(dx), alone.dx, "{conv:?}");
            let unpacked = conv.weight().unpack(&done.packed(dw));
            assert_eq!(unpacked.into_iter().map(f64::from).collect::<Vec<f64>>(), alone.dw, "{conv:?}");
        }
    }
}

#[test]
fn the_twin_is_the_direct_convolution() {
    for conv in shapes().into_iter().take(6) {
        let operands = Operands::random(conv, Kind::Dense, 5);
        let expected = operands.expected(&EVERY_DIRECTION);
        let twins = twins(&operands, &winograd::Matrices::new());
        for (twin, expected) in twins.iter().zip([&expected.y, &expected.dx, &expected.dw]) {
            assert_within(&format!("{conv:?}"), twin, expected, |_| 1e-11);
        }
        let (m, shape) = (winograd::Matrices::new(), operands.twin_shape());
        let y = winograd::conv2d_narrow(&m, &operands.x, &operands.w, shape);
        assert_within(&format!("{conv:?} along lines"), &y, &expected.y, |_| 1e-11);
        let dx = winograd::conv2d_narrow_grad_input(&m, &operands.dy, &operands.w, shape);
        assert_within(&format!("{conv:?} along lines"), &dx, &expected.dx, |_| 1e-11);
        let dw = winograd::conv2d_narrow_grad_weight(&m, &operands.dy, &operands.x, shape);
        assert_within(&format!("{conv:?} along lines"), &dw, &expected.dw, |_| 1e-11);
    }
}

#[test]
fn rounding_is_no_more_than_three_times_that_of_direct_convolutions() {
    // In two dimensions, and along lines.
    for channels in [64, 16] {
        let conv = Conv2d::new(Shape::new(4, channels, 16, 16), channels, 3, 1, 1).unwrap();
        let operands = Operands::random(conv, Kind::Dense, 9);
        let gpu = devices()[1];
        let exact = Facts { exact_conv: true, ..facts(gpu) };
        let expected = operands.expected(&EVERY_DIRECTION);
        let error = |facts: &Facts, direction: Direction| {
            let got = operands.run(gpu, facts, &[direction], |_| ());
            let (got, expected) = match direction {
                Direction::Forward => (got.y, &expected.y),
                Direction::GradInput => (got.dx, &expected.dx),
                Direction::GradWeight => (got.dw, &expected.dw),
            };
            common::relative_l2(&got, expected)
        };
        for direction in EVERY_DIRECTION {
            let (direct, fast) = (error(&exact, direction), error(&facts(gpu), direction));
            println!("{channels} channels, {direction:?}: direct {direct:.2e}, Winograd {fast:.2e}");
            assert!(
                fast < 3.0 * direct,
                "{channels} channels, {direction:?}: direct {direct:.2e}, Winograd {fast:.2e}"
            );
        }
    }
}

#[test]
fn exact_convolutions_and_shapes_that_do_not_fit_run_directly() {
    let gpu = devices()[0];
    let convs = random_convs(3, 12, Kind::Dense);
    let exact = [32, 8].map(|c| (Conv2d::new(Shape::new(1, c, 8, 8), c, 3, 1, 1).unwrap(), true));
    for (conv, exact) in
        convs.into_iter().filter(|c| (c.kernel, c.stride) != (3, 1)).map(|c| (c, false)).chain(exact)
    {
        let operands = Operands::random(conv, Kind::Dense, 1);
        let facts = Facts { exact_conv: exact, ..facts(gpu) };
        operands
            .run(gpu, &facts, &EVERY_DIRECTION, |d| assert!(!d.shader.starts_with("winograd/"), "{conv:?}"));
    }
}

#[test]
fn results_have_the_same_bits_every_time() {
    // In two dimensions, and along lines.
    for (from, to) in [(32, 48), (13, 16)] {
        let conv = Conv2d::new(Shape::new(13, from, 16, 16), to, 3, 1, 1).unwrap();
        let operands = Operands::random(conv, Kind::Dense, 2);
        let gpu = devices()[1];
        let run = || operands.run(gpu, &facts(gpu), &EVERY_DIRECTION, |_| ());
        assert_eq!(run(), run(), "{conv:?}");
    }
}

/// What would not fit a binding when transformed runs directly; what fits in parts is cut so that it does.
#[test]
fn transformed_operands_stay_within_a_binding() {
    let facts = facts(devices()[0]);
    for (channels, images, side, winograd) in [
        (1024, 2, 8, false),
        (768, 64, 8, true),
        (96, 300, 32, true),
        (128, 1000, 16, true),
        (64, 1, 700, false),
    ] {
        let conv = Conv2d::new(Shape::new(images, channels, side, side), channels, 3, 1, 1).expect("fits");
        let mut recording = Recording::new(&facts);
        let mut tensor =
            |label: &str, shape: Shape| Tensor::new(shape, recording.transient(label, shape.bytes()));
        let [x, dx] = ["x", "dx"].map(|label| tensor(label, conv.input));
        let [y, dy] = ["y", "dy"].map(|label| tensor(label, conv.output));
        let words = Shape::matrix(conv.weight().texels(), 4);
        let [w, dw] = ["w", "dw"].map(|label| Weights::new(conv.weight(), tensor(label, words).slice));
        conv2d(&mut recording, &conv, x, w, y);
        conv2d_grads(&mut recording, &conv, (x, w), dy, (dx, dw));
        let used = recording.dispatches().any(|d| d.shader.starts_with("winograd/"));
        assert_eq!(used, winograd, "{conv:?}");
        let plan = recording.plan();
        assert!(plan.is_ok(), "{conv:?}: {}", plan.err().map_or(String::new(), |e| e.to_string()));
    }
}

/// Weights are transformed once for the forward pass and the gradient, and again where something wrote to them.
#[test]
fn weights_are_transformed_again_only_if_they_changed() {
    let facts = facts(devices()[0]);
    let conv = Conv2d::new(Shape::new(2, 32, 8, 8), 32, 3, 1, 1).expect("fits");
    let transforms = |change: fn(&mut Recording, Slice)| {
        let mut recording = Recording::new(&facts);
        let arena = recording.transient("arena", 3 * conv.weight().bytes());
        let w = Weights::new(conv.weight(), arena.part(conv.weight().bytes(), conv.weight().bytes()));
        let [x, dx] = ["x", "dx"].map(|label| Tensor::transient(&mut recording, label, conv.input));
        let [y, dy] = ["y", "dy"].map(|label| Tensor::transient(&mut recording, label, conv.output));
        conv2d(&mut recording, &conv, x, w, y);
        change(&mut recording, arena);
        conv2d_grad_input(&mut recording, &conv, dy, w, dx);
        recording.dispatches().filter(|d| d.shader == "winograd/weights").count()
    };
    assert_eq!(transforms(|_, _| ()), 1);
    assert_eq!(transforms(|r, arena| r.clear(arena.part(0, arena.bytes / 3))), 1, "its neighbour changed");
    assert_eq!(transforms(|r, arena| r.clear(arena)), 2);
    assert_eq!(transforms(|r, arena| r.copy(arena.part(0, 16), arena.part(2 * arena.bytes / 3 - 16, 16))), 2);
    assert_eq!(
        transforms(|r, arena| {
            let shape = Shape::matrix(1, 4);
            let [from, to] = [0, arena.bytes / 3].map(|at| Tensor::new(shape, arena.part(at, 16)));
            elementwise::scale(r, from, 2.0, to);
        }),
        2
    );
}

/// Inputs are transformed once for the forward pass and the gradient to the weights, again where something wrote to them, where the padding is another, or
/// where they are more than is kept.
#[test]
fn inputs_are_transformed_again_only_if_they_changed() {
    let facts = facts(devices()[0]);
    let transforms = |images: usize, paddings: [usize; 2], change: fn(&mut Recording, Slice)| {
        let input = Shape::new(images, 32, 16, 16);
        let [first, second] = paddings.map(|padding| Conv2d::new(input, 32, 3, 1, padding).expect("fits"));
        let mut recording = Recording::new(&facts);
        let x = Tensor::transient(&mut recording, "x", input);
        let y = Tensor::transient(&mut recording, "y", first.output);
        let dy = Tensor::transient(&mut recording, "dy", second.output);
        let [w, dw] = ["w", "dw"]
            .map(|label| Weights::new(first.weight(), recording.transient(label, first.weight().bytes())));
        conv2d(&mut recording, &first, x, w, y);
        change(&mut recording, x.slice);
        conv2d_grad_weight(&mut recording, &second, x, dy, dw);
        recording.dispatches().filter(|d| d.shader == "winograd/input").count()
    };
    assert_eq!(transforms(64, [1, 1], |_, _| ()), 1);
    assert_eq!(transforms(64, [1, 1], |r, x| r.clear(x.part(x.bytes - 256, 256))), 2);
    assert_eq!(transforms(64, [1, 0], |_, _| ()), 2, "another padding");
    // 72 KiB an image: ten chunks of 49 MiB together, fifteen of 72.
    assert_eq!(transforms(700, [1, 1], |_, _| ()), 10);
    assert_eq!(transforms(700, [1, 1], |r, x| r.clear(x.part(0, 256))), 11, "the first changed");
    assert_eq!(transforms(1024, [1, 1], |_, _| ()), 30, "more than is kept");
}

/// What the forward pass leaves to the gradient has the bits of what the gradient makes itself, in chunks of unequal size and in one.
#[test]
fn kept_inputs_change_no_bits() {
    for (images, channels, side) in [(13, 64, 32), (5, 40, 9)] {
        let input = Shape::new(images, channels, side, side);
        let conv = Conv2d::new(input, channels, 3, 1, 1).expect("fits");
        let of = Operands::random(conv, Kind::Dense, 3);
        for shared_memory in [true, false] {
            let gpu = devices()[1];
            let shared_memory = shared_memory && gpu.facts().shared_memory;
            let facts = Facts { shared_memory, ..facts(gpu) };
            let transforms = |directions: &[Direction]| {
                let mut count = 0;
                let results =
                    of.run(gpu, &facts, directions, |d| count += usize::from(d.shader == "winograd/input"));
                (results.dw, count)
            };
            let (alone, count) = transforms(&[Direction::GradWeight]);
            assert!(count > usize::from(images == 13), "{conv:?}: {count} chunks");
            assert_eq!(transforms(&EVERY_DIRECTION), (alone, count), "{conv:?}: dw, and chunks");
        }
    }
}

/// An image of other sides in the same memory has other tiles.
#[test]
fn kept_inputs_are_of_one_shape() {
    let facts = facts(devices()[0]);
    let mut recording = Recording::new(&facts);
    let memory = recording.transient("x", Shape::new(2, 32, 16, 16).bytes());
    for (h, w) in [(16, 16), (8, 32)] {
        let conv = Conv2d::new(Shape::new(2, 32, h, w), 32, 3, 1, 1).expect("fits");
        let y = Tensor::transient(&mut recording, "y", conv.output);
        let weights = Weights::new(conv.weight(), recording.transient("w", conv.weight().bytes()));
        conv2d(&mut recording, &conv, Tensor::new(conv.input, memory), weights, y);
    }
    assert_eq!(recording.dispatches().filter(|d| d.shader == "winograd/input").count(), 2);
}

/// Frozen weights are transformed (or copied into a texture) by the first submit, and every submit has the bits of weights that are not frozen.
#[test]
fn frozen_weights_change_no_bits() {
    let gpu = devices()[0];
    // Winograd's, a direct one, and one along lines: two in a row share the memory of what lies between.
    for (channels, stride) in [(32, 1), (24, 2), (8, 1)] {
        let conv = Conv2d::new(Shape::new(3, channels, 9, 8), channels, 3, stride, 1).expect("fits");
        let second = Conv2d::new(conv.output, channels, 3, stride, 1).expect("fits");
        let values = |seed: u64, bytes: u64| -> Vec<f32> {
            let mut draw = Draw(seed);
            (0..bytes / 4).map(|_| draw.unit() as f32 - 0.5).collect()
        };
        let upload = |label, seed, bytes| gpu.buffer_with(label, &values(seed, bytes)).expect("fits");
        let arena = upload("arena", 1, conv.weight().bytes());
        let x = upload("x", 2, conv.input.bytes());
        let y = upload("y", 3, second.output.bytes());
        let results = |frozen: bool, shared_memory: bool| -> Vec<Vec<u32>> {
            let mut recording = Recording::new(&Facts { shared_memory, ..facts(gpu) });
            if frozen {
                recording.freeze(&arena);
            }
            let w = Weights::new(conv.weight(), recording.persistent(&arena));
            let between = Tensor::transient(&mut recording, "between", conv.output);
            let from = Tensor::new(conv.input, recording.persistent(&x));
            let to = Tensor::new(second.output, recording.persistent(&y));
            conv2d(&mut recording, &conv, from, w, between);
            conv2d(&mut recording, &second, between, w, to);
            let program = Program::build(gpu, &recording).expect("builds");
            let transforms = program.dispatches().iter().filter(|d| d.shader == "winograd/weights").count();
            assert_eq!(transforms, usize::from(!frozen && (channels, stride) == (32, 1)));
            let submit = |seed| {
                gpu.write(&x, 0, &values(seed, conv.input.bytes())).expect("fits");
                program.run(gpu).expect("runs");
                let y: Vec<f32> = gpu.read(&y, 0, second.output.bytes() as usize / 4).expect("fits");
                y.into_iter().map(f32::to_bits).collect()
            };
            (4..7).map(submit).collect()
        };
        let shared = gpu.facts().shared_memory;
        let expected = results(false, shared);
        assert_ne!(expected[0], expected[1]);
        for (frozen, shared) in [(true, shared), (true, false), (false, false)] {
            assert_eq!(
                results(frozen, shared),
                expected,
                "{conv:?}, frozen {frozen}, shared memory {shared}"
            );
        }
    }
}

#[test]
fn subgroups_of_four_match_their_twins() {
    common::gpu::pass_with_subgroups_of_four(&[
        "three_directions_match_their_twins_on_random_shapes",
        "few_channels_match_their_twins_along_lines",
        "both_gradients_together_are_those_alone",
        "results_have_the_same_bits_every_time",
    ]);
}
