//! Operand textures that lie over the buffers they show: the same results as with copies, and copies where the buffer
//! changes before the texture is read.

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

/// A chain of depthwise convolutions, each of which reads its input as a texture of several rows.
#[test]
fn shared_textures_hold_what_copied_ones_hold() {
    let conv = Conv2d::new(Shape::new(3, 6, 53, 61), 6, 3, 1, 1).expect("fits");
    let shape = DepthwiseShape { channels: 6, kernel: 3 };
    let source = upload("x", &conv.input.pack(&random(1, conv.input.elements())));
    let weights: Vec<Buffer> =
        (0..4).map(|i| upload("w", &shape.pack(&random(2 + i, shape.elements())))).collect();
    let results = both().map(|facts| {
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
        // A buffer that is copied makes room at once, one that is shown must stay.
        assert_eq!(plan.buffer_slots, if facts.shared_memory { 2 } else { 1 }, "{plan:?}");
        gpu().read::<f32>(&target, 0, conv.output.texels() * 4).unwrap_or_else(|e| panic!("{e}"))
    });
    let [shared, copied] = results;
    assert!(copied.iter().all(|v| v.is_finite()));
    assert_eq!(shared, copied);
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
