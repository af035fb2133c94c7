//! What a launch costs that does nothing worth mentioning.

use super::text::{list, short};
use super::workspace::Workspace;
use super::{Machine, Timing};
use crate::Result;
use crate::gpu::{Gpu, Program};
use crate::kernels::{Shape, elementwise};
use serde::Serialize;
use std::fmt;

/// Launches of the program that has many, and submits that are not waited for one by one.
const MANY: usize = 1000;
const SUBMITS: usize = 100;
const RUNS: usize = 9;

/// Microseconds of tiny work; each the median, and what it varied between, in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct DispatchReport {
    #[serde(flatten)]
    pub machine: Machine,
    /// One of many dependent launches in one submit.
    pub dispatch_us: f64,
    /// One of many submits of one launch, waited for at the end.
    pub submit_us: f64,
    /// One submit of one launch, waited for.
    pub submit_wait_us: f64,
    /// Reading 16 bytes back.
    pub read_back_us: f64,
    pub dispatch: Timing,
    pub submit: Timing,
    pub submit_wait: Timing,
    pub read_back: Timing,
}

/// Times launches of a kernel over four numbers.
///
/// # Errors
/// What the adapter reports.
pub fn dispatch(gpu: &Gpu) -> Result<DispatchReport> {
    let machine = Machine::of(gpu);
    let shape = Shape::matrix(1, 4);
    let target = gpu.buffer("target", shape.bytes())?;
    let program = |launches: usize| {
        let mut space = Workspace::new(gpu, gpu.facts());
        let x = space.tensor("x", shape)?;
        let y = space.recording.persistent(&target);
        for _ in 0..launches {
            let y = crate::kernels::Tensor::new(shape, y);
            elementwise::accumulate(&mut space.recording, x, y);
        }
        Program::build(gpu, &space.recording)
    };
    let (many, one) = (program(MANY)?, program(1)?);
    let dispatch = Timing::repeat(2, RUNS, || many.run(gpu))?.each(MANY);
    let submits = || {
        for _ in 0..SUBMITS {
            one.submit(gpu);
        }
        gpu.wait_all()
    };
    let submit = Timing::repeat(2, RUNS, submits)?.each(SUBMITS);
    let submit_wait = Timing::repeat(SUBMITS, SUBMITS, || one.run(gpu))?;
    let read = || gpu.read::<u32>(&target, 0, 4).map(|_words| ());
    let read_back = Timing::repeat(SUBMITS, SUBMITS, read)?;
    let us = |t: Timing| t.median * 1e6;
    Ok(DispatchReport {
        machine,
        dispatch_us: us(dispatch),
        submit_us: us(submit),
        submit_wait_us: us(submit_wait),
        read_back_us: us(read_back),
        dispatch,
        submit,
        submit_wait,
        read_back,
    })
}

impl fmt::Display for DispatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |t: &Timing| {
            let [median, min, max] = [t.median, t.min, t.max].map(|s| short(s * 1e6));
            format!("{median} us ({min} to {max})")
        };
        writeln!(f, "tiny launches")?;
        f.write_str(&list(&[
            ("on", self.machine.to_string()),
            (&format!("a launch among {MANY} in one submit"), us(&self.dispatch)),
            (&format!("a submit among {SUBMITS}"), us(&self.submit)),
            ("a submit that is waited for", us(&self.submit_wait)),
            ("a read-back of 16 bytes", us(&self.read_back)),
        ]))
    }
}
