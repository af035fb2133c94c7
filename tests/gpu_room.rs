//! The room that holds wgpu: memory plans, limits, grids, transfers, replays, profiles, and what it says when
//! something is missing.

mod common;

use assert_cmd::cargo::cargo_bin_cmd;
use common::gpu::{Draw, gpu};
use contraleak::gpu::shader::Defines;
use contraleak::gpu::{Allocator, Binding, Buffer, Dispatch, Facts, Program, Recording, Slice};
use contraleak::kernels::similarity::{Similarity, pairwise_features};
use contraleak::kernels::{Shape, Tensor, elementwise};

fn build(recording: &Recording) -> Program {
    Program::build(gpu(), recording).unwrap_or_else(|e| panic!("{e}"))
}

fn run(recording: &Recording) -> Program {
    let program = build(recording);
    program.run(gpu()).unwrap_or_else(|e| panic!("{e}"));
    program
}

fn refused(recording: &Recording) -> String {
    match Program::build(gpu(), recording) {
        Ok(_) => panic!("it was built"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

fn upload(label: &str, values: &[f32]) -> Buffer {
    gpu().buffer_with(label, values).unwrap_or_else(|e| panic!("{e}"))
}

fn read(buffer: &Buffer, count: usize) -> Vec<f32> {
    gpu().read(buffer, 0, count).unwrap_or_else(|e| panic!("{e}"))
}

fn row(slice: Slice, values: usize) -> Tensor {
    Tensor::new(Shape::matrix(1, values), slice)
}

const LENGTH: usize = 4 * 137;

#[test]
fn a_chain_needs_two_slots() {
    let x: Vec<f32> = (0..LENGTH).map(|i| i as f32).collect();
    let (source, target) = (upload("x", &x), upload("y", &[f32::NAN; LENGTH]));
    let mut recording = Recording::new(gpu().facts());
    let mut last = row(recording.persistent(&source), LENGTH);
    for i in 0..10 {
        let next = Tensor::transient(&mut recording, &format!("link {i}"), last.shape);
        elementwise::scale(&mut recording, last, 2.0, next);
        last = next;
    }
    let y = row(recording.persistent(&target), LENGTH);
    elementwise::scale(&mut recording, last, 1.0 / 1024.0, y);
    let program = run(&recording);
    assert_eq!(read(&target, LENGTH), x);
    let (plan, bytes) = (program.memory(), LENGTH as u64 * 4);
    assert_eq!((plan.buffer_slots, plan.texture_slots), (2, 0));
    assert_eq!((plan.transient_bytes, plan.unshared_bytes), (2 * bytes, 10 * bytes));
    assert_eq!(plan.persistent_bytes, 2 * bytes);
    assert_eq!((program.launches(), program.flops()), (11, 11 * LENGTH as u64));
}

/// Each result is a random pair's sum times a factor of its own, and some of the pair are old: whoever shares memory
/// with a living result shows.
#[test]
fn living_results_share_no_memory() {
    for seed in 0..8 {
        let mut draw = Draw(seed);
        let x: Vec<f32> = (0..LENGTH).map(|i| (i as f32).sin() + seed as f32).collect();
        let (source, target) = (upload("x", &x), upload("y", &[f32::NAN; LENGTH]));
        let mut recording = Recording::new(gpu().facts());
        let mut nodes = vec![(row(recording.persistent(&source), LENGTH), x)];
        for i in 0..60 {
            // Sizes differ, so that slots are shared by results of different size.
            let recent = nodes.len().saturating_sub(4);
            let (a, b) = (draw.range(recent, nodes.len() - 1), draw.range(0, nodes.len() - 1));
            let ((a, a_values), (b, b_values)) = (&nodes[a], &nodes[b]);
            let shortest = a_values.len().min(b_values.len());
            let length = (shortest - 4 * draw.range(0, 1)).max(4);
            let part = |t: &Tensor| row(t.slice, length);
            let sum = Tensor::transient(&mut recording, &format!("sum {i}"), Shape::matrix(1, length));
            let product = Tensor::transient(&mut recording, &format!("product {i}"), sum.shape);
            elementwise::add(&mut recording, part(a), part(b), sum);
            let factor = 0.375 + (i % 11) as f32 / 32.0;
            elementwise::scale(&mut recording, sum, factor, product);
            let values = a_values.iter().zip(b_values).take(length).map(|(a, b)| (a + b) * factor).collect();
            nodes.push((product, values));
        }
        let (last, expected) = nodes.pop().expect("not empty");
        let y = row(recording.persistent(&target), expected.len());
        elementwise::scale(&mut recording, last, 1.0, y);
        let program = run(&recording);
        assert_eq!(read(&target, expected.len()), expected, "seed {seed}");
        let plan = program.memory();
        assert!(plan.transient_bytes < plan.unshared_bytes / 2, "seed {seed}: {plan:?}");
        assert!((2..60).contains(&plan.buffer_slots), "seed {seed}: {plan:?}");
    }
}

/// A dispatch of a shader that does not exist: whoever compiles or allocates before checking shows.
fn impossible(bindings: Vec<Binding>, grid: [u32; 3]) -> Dispatch {
    let defines = Defines::new();
    Dispatch { shader: "none/such", defines, bindings, immediates: Vec::new(), grid, flops: 0, bytes: 0 }
}

#[test]
fn what_is_too_large_is_refused_by_name_before_anything_is_made() {
    let small = Facts { max_binding_bytes: 4096, max_buffer_bytes: 1 << 20, ..gpu().facts().clone() };
    let mut recording = Recording::new(&small);
    let big = recording.transient("activations of layer 3", 5000);
    recording.dispatch(impossible(vec![Binding::Write(big)], [1, 1, 1]));
    assert_says(
        &refused(&recording),
        &["activations of layer 3", "none/such", "5008 bytes", "4096 bytes", "smaller"],
    );

    let mut recording = Recording::new(&small);
    recording.transient("all activations", (1 << 20) + 1);
    assert_says(&refused(&recording), &["all activations", "1048592 bytes", "at most 1048576 bytes"]);

    // On the adapter itself: more than it has, and more than 64 bits can count.
    for bytes in [1 << 50, u64::MAX] {
        let mut recording = Recording::new(gpu().facts());
        let huge = recording.transient("a huge tensor", bytes);
        recording.dispatch(impossible(vec![Binding::Read(huge)], [1, 1, 1]));
        let limit = format!("at most {} bytes", gpu().facts().max_buffer_bytes);
        assert_says(&refused(&recording), &["a huge tensor", &limit]);
        let Err(error) = gpu().buffer("a huge buffer", bytes) else { panic!("it was made") };
        assert_says(&error.to_string(), &["a huge buffer", &limit, &gpu().description().name]);
    }

    let mut recording = Recording::new(&Facts { max_texture_side: 8192, ..small.clone() });
    recording.texture("an operand", 8192 * 8192 + 1);
    assert_says(&refused(&recording), &["an operand", "texture", "1073741840 bytes"]);

    let mut recording = Recording::new(&Facts { max_groups: 10, ..small });
    let grid = recording.grid(101);
    assert_eq!(grid, [10, 11, 1]);
    recording.dispatch(impossible(Vec::new(), grid));
    assert_says(&refused(&recording), &["none/such", "[10, 11, 1]", "10 in each dimension"]);
    assert_eq!(recording.grid(u64::MAX), [10, u32::MAX, 1]);
}

/// What is only planned has sizes and no memory: the plan is the same, and nothing runs.
#[test]
fn a_plan_needs_no_device_and_a_planned_buffer_never_runs() {
    let facts = gpu().facts();
    let record = |allocator: Allocator| {
        let buffers = ["x", "y"].map(|label| allocator.buffer_with(label, &[1.0_f32; LENGTH]).expect("fits"));
        let mut recording = Recording::new(facts);
        let [x, y] = [&buffers[0], &buffers[1]].map(|buffer| row(recording.persistent(buffer), LENGTH));
        assert_eq!(recording.persistent(&buffers[0].clone()), x.slice, "a clone is the same buffer");
        let between = Tensor::transient(&mut recording, "between", x.shape);
        elementwise::scale(&mut recording, x, 2.0, between);
        elementwise::scale(&mut recording, between, 2.0, y);
        (recording, buffers)
    };
    let (planned, buffers) = record(Allocator::Plan(facts));
    let (real, _) = record(gpu().into());
    let (plan, expected) = (planned.plan().expect("fits"), real.plan().expect("fits"));
    assert_eq!((plan.transient_bytes, plan.persistent_bytes), (LENGTH as u64 * 4, LENGTH as u64 * 8));
    assert_eq!(format!("{plan:?}"), format!("{expected:?}"));
    assert_says(&refused(&planned), &["x: ", "no memory"]);
    let error = gpu().write(&buffers[1], 0, &[1.0_f32]).expect_err("nowhere to write");
    assert_says(&error.to_string(), &["y: ", "no memory"]);
    assert!(gpu().read::<f32>(&buffers[1], 0, 1).is_err());
    gpu().check().expect("nothing of this reached the device");
}

#[test]
fn a_slice_outside_of_its_buffer_is_refused() {
    let buffer = upload("twelve values", &[0.0; 12]);
    for (offset, bytes) in [(0, 64), (48, 16), (u64::MAX - 15, 16)] {
        let mut recording = Recording::new(gpu().facts());
        let whole = recording.persistent(&buffer);
        recording.clear(Slice { offset, bytes, ..whole });
        assert_says(&refused(&recording), &["twelve values", &format!("{bytes} bytes"), "it has 48"]);
    }
}

#[test]
fn grids_fold_where_a_dimension_is_too_short() {
    // Few groups in a row, so that they fold into many rows, the last one cut.
    let facts = Facts { max_groups: 7, ..gpu().facts().clone() };
    let count = 4 * 64 * 45 - 4;
    let x: Vec<f32> = (0..count).map(|i| i as f32).collect();
    let (source, target) = (upload("x", &x), upload("y", &vec![f32::NAN; count]));
    let mut recording = Recording::new(&facts);
    let (from, to) = (row(recording.persistent(&source), count), row(recording.persistent(&target), count));
    elementwise::scale(&mut recording, from, 3.0, to);
    let grids: Vec<_> = recording.dispatches().map(|d| d.grid).collect();
    assert_eq!(grids, [[7, 7, 1]]);
    run(&recording);
    assert!(read(&target, count).iter().zip(&x).all(|(y, x)| *y == 3.0 * x));
}

#[test]
fn more_workgroups_than_a_dimension_has() {
    // A workgroup for each image; cosines of (1, 0) with (1, i mod 3).
    let images = 65_535 + 1_000;
    let facts = Facts { max_groups: gpu().facts().max_groups.min(65_535), ..gpu().facts().clone() };
    let views: Vec<f32> =
        (0..images).flat_map(|i| [[1.0, 0.0, 0.0, 0.0], [1.0, (i % 3) as f32, 0.0, 0.0]]).flatten().collect();
    let (source, target) = (upload("views", &views), upload("features", &vec![f32::NAN; images * 4]));
    let means = upload("means", &vec![f32::NAN; images * 4]);
    let mut recording = Recording::new(&facts);
    let x = Tensor::new(Shape::matrix(2 * images, 4), recording.persistent(&source));
    let [y, m] = [&target, &means].map(|b| Tensor::new(Shape::matrix(images, 1), recording.persistent(b)));
    pairwise_features(&mut recording, x, 2, Similarity::Cosine, false, y, m).expect("fits");
    assert_eq!(recording.dispatches().map(|d| d.grid).collect::<Vec<_>>(), [[65_535, 2, 1]]);
    run(&recording);
    for (i, texel) in read(&target, images * 4).chunks(4).enumerate() {
        let expected = 1.0 / (1.0 + ((i % 3) * (i % 3)) as f32).sqrt();
        assert!((texel[0] - expected).abs() < 1e-6 && texel[1..] == [0.0; 3], "image {i}: {texel:?}");
    }
}

#[test]
fn transfers_of_any_length_come_back() {
    for length in [1usize, 2, 3, 4, 5, 7, 15, 16, 17, 63, 64, 65, 1021, 4099, 100_003] {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
        let buffer = gpu().buffer_with("bytes", &bytes).expect("fits");
        assert_eq!(buffer.bytes(), length.next_multiple_of(16) as u64);
        assert_eq!(gpu().read::<u8>(&buffer, 0, length).expect("read"), bytes, "{length} bytes");
        // What follows is the zeros that a buffer starts with.
        let rest = buffer.bytes() as usize - length;
        assert_eq!(gpu().read::<u8>(&buffer, 0, length + rest).expect("read")[length..], vec![0; rest]);
    }
    let buffer = gpu().buffer_with("words", &[1u32, 2, 3, 4, 5, 6, 7, 8]).expect("fits");
    gpu().write(&buffer, 8, &[70u16, 80, 90]).expect("fits");
    assert_eq!(gpu().read::<u16>(&buffer, 4, 7).expect("read"), [2, 0, 70, 80, 90, 0, 5]);
    let pending = gpu().read_later(&buffer, 28, 4).expect("fits");
    // It was asked for before this write.
    gpu().write(&buffer, 28, &[9u32]).expect("fits");
    assert_eq!(pending.wait::<u32>(gpu()).expect("read"), [8]);
    assert_eq!(gpu().read::<u32>(&buffer, 28, 1).expect("read"), [9]);
    assert_eq!(gpu().read::<u32>(&buffer, 0, 0).expect("nothing"), Vec::<u32>::new());
    gpu().write::<u32>(&buffer, 32, &[]).expect("nothing");
}

#[test]
fn transfers_outside_of_a_buffer_are_refused() {
    let buffer = gpu().buffer("parameters", 32).expect("fits");
    let says = |result: Result<(), contraleak::Error>, parts: &[&str]| match result {
        Ok(()) => panic!("done, but expected {parts:?}"),
        Err(error) => assert_says(&error.to_string(), parts),
    };
    let write = |offset| gpu().write(&buffer, offset, &[1u32, 2]);
    says(write(28), &["parameters", "write 8 bytes at offset 28", "it has 32"]);
    says(write(u64::MAX - 3), &["parameters", "it has 32"]);
    says(write(6), &["parameters", "offset 6", "multiple of 4"]);
    let read = |offset, count| gpu().read::<u32>(&buffer, offset, count).map(drop);
    says(read(0, 9), &["parameters", "read 36 bytes at offset 0", "it has 32"]);
    says(read(2, 1), &["parameters", "offset 2", "multiple of 4"]);
    says(read(0, usize::MAX), &["parameters", "it has 32"]);
    says(gpu().read_later(&buffer, 0, 0).map(drop), &["parameters", "0 bytes"]);
    let pending = gpu().read_later(&buffer, 0, 6).expect("fits");
    says(pending.wait::<u32>(gpu()).map(drop), &["6 bytes", "whole values of 4 bytes"]);
    gpu().check().expect("nothing of this reached the device");
}

#[test]
fn replays_give_equal_bits() {
    let facts = gpu().facts();
    let x: Vec<f32> = (0..LENGTH).map(|i| (i as f32 * 0.37).sin()).collect();
    let (source, target) = (upload("x", &x), upload("y", &[f32::NAN; LENGTH]));
    let mut recording = Recording::new(facts);
    let (from, to) = (row(recording.persistent(&source), LENGTH), row(recording.persistent(&target), LENGTH));
    let y = Tensor::transient(&mut recording, "tanh", from.shape);
    elementwise::unary(&mut recording, elementwise::Unary::Tanh, from, y);
    elementwise::mul(&mut recording, y, from, to);
    let program = run(&recording);
    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let first = bits(read(&target, LENGTH));
    assert!(x.iter().zip(read(&target, LENGTH)).all(|(x, y)| (y - x.tanh() * x).abs() < 1e-5));
    gpu().write(&target, 0, &[f32::NAN; LENGTH]).expect("fits");
    program.run(gpu()).expect("runs");
    assert_eq!(bits(read(&target, LENGTH)), first);
    // Replayed without waiting in between, and built anew.
    let submissions: Vec<_> = (0..5).map(|_| program.submit(gpu())).collect();
    gpu().wait(&submissions[4]).expect("runs");
    assert_eq!(bits(read(&target, LENGTH)), first);
    gpu().write(&target, 0, &[f32::NAN; LENGTH]).expect("fits");
    run(&recording);
    assert_eq!(bits(read(&target, LENGTH)), first);
    gpu().wait_all().expect("done");
}

/// y = x + tanh(w) + 2w through a chain of transients, tanh(w) and 2w made in the middle of it.
fn with_derived(w: &Buffer, x: &Buffer, y: &Buffer, frozen: bool, shared_memory: bool) -> Recording {
    let mut recording = Recording::new(&Facts { shared_memory, ..gpu().facts().clone() });
    if frozen {
        recording.freeze(w);
    }
    let [w, x, y] = [w, x, y].map(|buffer| row(recording.persistent(buffer), LENGTH));
    let mut last = x;
    let mut made = Vec::new();
    for i in 0..6 {
        // Whoever gives the memory of what was made to a link of the chain shows in the second submit.
        let next = Tensor::transient(&mut recording, &format!("link {i}"), x.shape);
        elementwise::scale(&mut recording, last, if i % 2 == 0 { 2.0 } else { 0.5 }, next);
        last = next;
        if i == 1 || i == 3 {
            let of_w = recording.once_for(&[w.slice], |recording| {
                let half = Tensor::transient(recording, "w / 2", w.shape);
                let of_w = Tensor::transient(recording, "of w", w.shape);
                elementwise::scale(recording, w, 0.5, half);
                match i {
                    1 => elementwise::unary(recording, elementwise::Unary::Tanh, w, of_w),
                    _ => elementwise::scale(recording, half, 4.0, of_w),
                }
                of_w
            });
            made.push(of_w);
        }
    }
    for (i, of_w) in made.into_iter().enumerate() {
        let next = if i == 1 { y } else { Tensor::transient(&mut recording, "sum", x.shape) };
        elementwise::add(&mut recording, last, of_w, next);
        last = next;
    }
    recording
}

#[test]
fn what_is_made_of_frozen_buffers_is_made_once() {
    let values = |phase: f32| (0..LENGTH).map(|i| (i as f32 * 0.37 + phase).sin()).collect::<Vec<_>>();
    let expected =
        |w: &[f32], x: &[f32]| -> Vec<f32> { w.iter().zip(x).map(|(w, x)| x + w.tanh() + 2.0 * w).collect() };
    let close = |y: &[f32], expected: &[f32]| y.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
    for (frozen, shared_memory) in [(true, false), (true, gpu().facts().shared_memory), (false, false)] {
        let (w, x) = (upload("w", &values(0.0)), upload("x", &values(1.0)));
        let y = upload("y", &[f32::NAN; LENGTH]);
        let program = build(&with_derived(&w, &x, &y, frozen, shared_memory));
        // Four launches are the first submit's alone.
        assert_eq!(program.launches(), if frozen { 8 } else { 12 });
        for submit in 0..3 {
            let new_x = values(submit as f32);
            gpu().write(&x, 0, &new_x).expect("fits");
            program.run(gpu()).expect("runs");
            assert!(
                close(&read(&y, LENGTH), &expected(&values(0.0), &new_x)),
                "submit {submit}, frozen {frozen}"
            );
        }
        // What nobody may do shows that it is so: only a program that was promised nothing sees another w.
        gpu().write(&w, 0, &values(2.0)).expect("fits");
        program.run(gpu()).expect("runs");
        let seen = if frozen { values(0.0) } else { values(2.0) };
        assert!(close(&read(&y, LENGTH), &expected(&seen, &values(2.0))), "frozen {frozen}");
    }
}

#[test]
fn what_would_spoil_the_first_submit_is_refused() {
    let [w, x] = ["w", "x"].map(|label| upload(label, &[1.0; LENGTH]));
    let frozen = || {
        let mut recording = Recording::new(gpu().facts());
        recording.freeze(&w);
        let [w, x] = [&w, &x].map(|buffer| row(recording.persistent(buffer), LENGTH));
        (recording, w, x)
    };
    let made = |recording: &mut Recording, of: Tensor| {
        let to = Tensor::transient(recording, "made", of.shape);
        elementwise::scale(recording, of, 2.0, to);
        to
    };
    let (mut recording, w_row, x_row) = frozen();
    recording.once_for(&[w_row.slice], |recording| made(recording, x_row));
    assert_says(&refused(&recording), &["x: is read by what only the first submit does", "neither frozen"]);

    let (mut recording, w_row, x_row) = frozen();
    elementwise::scale(&mut recording, x_row, 2.0, w_row);
    assert_says(&refused(&recording), &["w: is written, but is frozen"]);

    let (mut recording, w_row, x_row) = frozen();
    let of_w = recording.once_for(&[w_row.slice], |recording| made(recording, w_row));
    elementwise::scale(&mut recording, x_row, 2.0, of_w);
    assert_says(&refused(&recording), &["made: is written", "left by the first submit"]);
}

#[test]
fn copies_and_clears_are_done_in_order() {
    let x: Vec<f32> = (0..LENGTH).map(|i| i as f32 + 1.0).collect();
    let (source, target) = (upload("x", &x), upload("y", &[f32::NAN; LENGTH]));
    let mut recording = Recording::new(gpu().facts());
    let (from, to) = (recording.persistent(&source), recording.persistent(&target));
    let between = recording.transient("between", from.bytes);
    recording.copy(from, between);
    recording.clear(between.part(64, 32));
    elementwise::scale(&mut recording, row(between, LENGTH), 2.0, row(to, LENGTH));
    recording.clear(between);
    recording.copy(from.part(0, 16), to.part(16, 16));
    run(&recording);
    let expected: Vec<f32> = (0..LENGTH)
        .map(|i| match i {
            4..8 => x[i - 4],
            16..24 => 0.0,
            _ => 2.0 * x[i],
        })
        .collect();
    assert_eq!(read(&target, LENGTH), expected);
}

#[test]
fn nothing_to_do_is_done() {
    let program = run(&Recording::new(gpu().facts()));
    assert_eq!((program.launches(), program.flops(), program.memory().transient_bytes), (0, 0, 0));
}

#[test]
fn a_shader_that_does_not_compile_is_named() {
    let compile = |shader, defines| {
        let mut recording = Recording::new(gpu().facts());
        let (x, y) = (recording.transient("x", 16), recording.transient("y", 16));
        recording.dispatch(Dispatch {
            shader,
            defines,
            bindings: vec![Binding::Read(x), Binding::Write(y)],
            immediates: vec![1],
            grid: [1, 1, 1],
            flops: 0,
            bytes: 0,
        });
        Program::build(gpu(), &recording).map(drop)
    };
    let message = |shader, defines| match compile(shader, defines) {
        Ok(()) => panic!("{shader} compiled"),
        Err(error) => error.to_string(),
    };
    let relu = Defines::new().with("OP_RELU", 1);
    assert_says(&message("elementwise/unary", relu.clone()), &["shaders/common/grid.wgsl:", "WORKGROUP"]);
    assert_says(&message("none/such", relu.clone()), &["none/such"]);
    let bad = relu.clone().with("WORKGROUP", "sixty-four");
    assert_says(&message("elementwise/unary", bad), &["shader elementwise/unary", "sixty"]);
    // Two bindings where the shader has three.
    let sum = Defines::new().with("OP_ADD", 1).with("WORKGROUP", 64);
    assert_says(&message("elementwise/binary", sum), &["shader elementwise/binary"]);
    gpu().check().expect("the errors were told already");
    compile("elementwise/unary", relu.with("WORKGROUP", 64)).expect("the device still works");
}

#[test]
fn profiles_add_up() {
    let mut recording = Recording::new(gpu().facts());
    // More dispatches than one set of queries holds.
    let (count, launches) = (4096, 2_100);
    let [a, b] = ["a", "b"].map(|label| recording.transient(label, 4 * count as u64));
    for i in 0..launches {
        let (from, to) = if i % 2 == 0 { (a, b) } else { (b, a) };
        if i == 1000 {
            recording.clear(a);
        }
        if i % 3 == 0 {
            elementwise::unary(&mut recording, elementwise::Unary::Relu, row(from, count), row(to, count));
        } else {
            elementwise::scale(&mut recording, row(from, count), 1.0, row(to, count));
        }
    }
    let program = build(&recording);
    let profile = match program.profile(gpu()) {
        Ok(profile) => profile,
        Err(error) => {
            let offered = gpu().description().features.iter().any(|f| f == "TIMESTAMP_QUERY_INSIDE_ENCODERS");
            assert!(!offered, "{error}");
            return assert_says(&error.to_string(), &[&gpu().description().name, "no timestamps"]);
        }
    };
    assert_eq!(profile.dispatches.len(), launches);
    for (i, (kernel, seconds)) in profile.dispatches.iter().enumerate() {
        let expected = if i % 3 == 0 { "elementwise/unary" } else { "elementwise/scale" };
        assert_eq!(kernel, expected, "dispatch {i}");
        assert!((0.0..10.0).contains(seconds), "dispatch {i}: {seconds} s");
    }
    let by_dispatch: f64 = profile.dispatches.iter().map(|(_, seconds)| seconds).sum();
    let by_kernel: f64 = profile.kernels.iter().map(|k| k.seconds).sum();
    assert!(by_dispatch > 0.0 && (by_dispatch - by_kernel).abs() <= 1e-9 * by_dispatch);
    assert!(
        (0.5 * by_dispatch..60.0).contains(&profile.total_seconds),
        "{} s of {by_dispatch} s",
        profile.total_seconds
    );
    assert_eq!(profile.kernels.iter().map(|k| k.launches).sum::<usize>(), launches);
    assert_eq!(profile.kernels.len(), 2);
    assert!(profile.kernels[0].seconds >= profile.kernels[1].seconds);
    for kernel in &profile.kernels {
        assert!(kernel.gflops_per_s > 0.0 && kernel.gflops_per_s.is_finite(), "{kernel:?}");
        assert!(kernel.gbytes_per_s > 0.0 && kernel.gbytes_per_s < 1e5, "{kernel:?}");
    }
    let nothing = build(&Recording::new(gpu().facts())).profile(gpu()).expect("there are timestamps");
    assert_eq!((nothing.dispatches.len(), nothing.total_seconds), (0, 0.0));
}

#[test]
fn facts_are_those_of_the_description() {
    let (facts, description) = (gpu().facts(), gpu().description());
    assert_eq!(facts.class, description.class);
    assert_eq!(facts.max_binding_bytes, description.max_storage_buffer_binding_size);
    assert_eq!(facts.max_buffer_bytes, description.max_buffer_size);
    assert!(description.used);
    let listed: Vec<_> = contraleak::gpu::list_adapters().into_iter().filter(|a| a.used).collect();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, description.name);
}

/// `contraleak device` with some environment: it must end with status 1. Its messages.
fn no_device(environment: &[(&str, &str)]) -> String {
    let mut command = cargo_bin_cmd!("contraleak");
    for name in ["RUST_LOG", "WGPU_ADAPTER_NAME", "WGPU_BACKEND"] {
        command.env_remove(name);
    }
    let output = command.arg("device").envs(environment.iter().copied()).output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{environment:?}: {stderr}");
    stderr
}

#[test]
fn an_adapter_that_does_not_exist_is_answered_by_those_that_do() {
    let message = no_device(&[("WGPU_ADAPTER_NAME", "no-such-adapter")]);
    assert_says(
        &message,
        &["WGPU_ADAPTER_NAME=no-such-adapter", "adapters here: ", &gpu().description().name],
    );
}

#[test]
fn a_backend_without_adapters_is_named() {
    let message = no_device(&[("WGPU_BACKEND", "no-such-backend")]);
    assert_says(
        &message,
        &["no GPU adapter found", "WGPU_BACKEND=no-such-backend", "vulkan, metal and dx12"],
    );
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_driver_the_message_says_what_to_install() {
    let nowhere = [("VK_DRIVER_FILES", "/nonexistent"), ("VK_ICD_FILENAMES", "/nonexistent")];
    let hint =
        ["no GPU adapter found", "install a Vulkan driver", "apt-get install libvulkan1 mesa-vulkan-drivers"];
    assert_says(&no_device(&nowhere), &hint);
    let named = [&nowhere[..], &[("WGPU_ADAPTER_NAME", "llvmpipe")]].concat();
    assert_says(&no_device(&named), &hint);
}
