//! Operand textures: they share memory with one another and, where the adapter can, with the buffers that they show. The same
//! results as with copies and as without textures, and copies where a buffer changes before its texture is read.

mod common;

use common::gpu::{Draw, gpu};
use contraleak::gpu::{Binding, Buffer, Facts, KernelClass, Program, Recording};
use contraleak::kernels::conv::Conv2d;
use contraleak::kernels::conv::depthwise::{DepthwiseShape, DepthwiseWeights, depthwise_conv2d};
use contraleak::kernels::{Shape, Tensor, elementwise};

/// Operand textures with shared memory, if this adapter has it, and with copies.
fn both() -> [Facts; 2] {
    let software =
        Facts { class: KernelClass::Software, subgroup: Some(8), int64: true, ..gpu().facts().clone() };
    [software.clone(), Facts { shared_memory: false, ..software }]
}

fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut draw = Draw(seed);
    (0..count).map(|_| draw.unit() as f32).collect()
}

fn upload(label: &str, values: &[f32]) -> Buffer {
    gpu().buffer_with(label, values).unwrap_or_else(|e| panic!("{e}"))
}

fn run(recording: &Recording) -> Program {
    let program = Program::build(gpu(), recording).unwrap_or_else(|e| panic!("{e}"));
    // Twice: a replay must not see what the run before left.
    for _ in 0..2 {
        program.run(gpu()).unwrap_or_else(|e| panic!("{e}"));
    }
    program
}

#[test]
fn lavapipe_shares_memory() {
    let info = gpu().description();
    if cfg!(target_os = "linux") && info.driver == "llvmpipe" {
        assert!(gpu().facts().shared_memory, "{info:?}");
    } else {
        assert!(!gpu().facts().shared_memory, "{info:?}");
    }
}

/// A chain of depthwise convolutions, which read their inputs as textures of several rows or, on GPUs, where they lie.
#[test]
fn textures_hold_their_operands() {
    let conv = Conv2d::new(Shape::new(3, 6, 53, 61), 6, 3, 1, 1).expect("fits");
    let shape = DepthwiseShape { channels: 6, kernel: 3 };
    let source = upload("x", &conv.input.pack(&random(1, conv.input.elements())));
    let weights: Vec<Buffer> =
        (0..4).map(|i| upload("w", &shape.pack(&random(2 + i, shape.elements())))).collect();
    let [shared, copied] = both();
    let none = Facts { class: KernelClass::Integrated, ..copied.clone() };
    // A buffer that is copied makes room at once, one that is read or shown must stay. Persistent operands are copied.
    let shown = if shared.shared_memory { 2 } else { 1 };
    let results = [(shared, (shown, 2)), (copied, (1, 2)), (none, (2, 0))].map(|(facts, slots)| {
        let target = upload("y", &vec![f32::NAN; conv.output.texels() * 4]);
        let mut recording = Recording::new(&facts);
        let mut last = Tensor::new(conv.input, recording.persistent(&source));
        for (i, w) in weights.iter().enumerate() {
            let w = DepthwiseWeights::new(shape, recording.persistent(w));
            let y = match i {
                3 => Tensor::new(conv.output, recording.persistent(&target)),
                _ => Tensor::transient(&mut recording, "between", conv.output),
            };
            depthwise_conv2d(&mut recording, &conv, last, w, y);
            last = y;
        }
        let program = run(&recording);
        let plan = program.memory();
        assert!(plan.transient_bytes < plan.unshared_bytes, "{plan:?}");
        assert_eq!((plan.buffer_slots, plan.texture_slots), slots, "{plan:?}");
        gpu().read::<f32>(&target, 0, conv.output.texels() * 4).unwrap_or_else(|e| panic!("{e}"))
    });
    assert!(results[0].iter().all(|v| v.is_finite()));
    assert_eq!(results[0], results[1]);
    assert_eq!(results[1], results[2]);
}

/// The texture shows what the buffer held when it was copied, whoever writes to the buffer afterwards.
#[test]
fn a_buffer_that_changes_is_copied() {
    let conv = Conv2d::new(Shape::new(2, 4, 9, 11), 4, 3, 1, 1).expect("fits");
    let shape = DepthwiseShape { channels: 4, kernel: 3 };
    let count = conv.input.texels() * 4;
    let source = upload("x", &conv.input.pack(&random(7, conv.input.elements())));
    let weights = upload("w", &shape.pack(&random(8, shape.elements())));
    type Change = fn(&mut Recording, Tensor, Tensor);
    let kernel: Change = |recording, x, between| elementwise::scale(recording, x, -3.0, between);
    let copy: Change = |recording, x, between| recording.copy(x.slice, between.slice);
    let clear: Change = |recording, _, between| recording.clear(between.slice);
    for change in [kernel, copy, clear] {
        for facts in both() {
            let results = [upload("before", &vec![f32::NAN; count]), upload("after", &vec![f32::NAN; count])];
            let mut recording = Recording::new(&facts);
            let [x, before, after] =
                [&source, &results[0], &results[1]].map(|b| Tensor::new(conv.input, recording.persistent(b)));
            let w = DepthwiseWeights::new(shape, recording.persistent(&weights));
            let between = Tensor::transient(&mut recording, "between", conv.input);
            elementwise::scale(&mut recording, x, 2.0, between);
            depthwise_conv2d(&mut recording, &conv, between, w, before);
            let mut again = recording.dispatches().last().cloned().expect("the convolution");
            change(&mut recording, x, between);
            let written = again.bindings.iter_mut().find(|b| matches!(b, Binding::Write(_)));
            *written.expect("an output") = Binding::Write(after.slice);
            recording.dispatch(again);
            run(&recording);
            let [before, after] =
                results.map(|b| gpu().read::<f32>(&b, 0, count).unwrap_or_else(|e| panic!("{e}")));
            assert!(before.iter().all(|v| v.is_finite()));
            assert_eq!(before, after);
        }
    }
}
