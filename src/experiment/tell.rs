//! How long work reports itself.

use crate::train::Progress;

/// Hears what an experiment does, and is asked whether to stop.
pub trait Tell {
    /// Something new begins.
    fn stage(&mut self, what: &str);
    /// How far it is; `total` is 0 where nobody knows.
    fn progress(&mut self, done: u64, total: u64, note: &str);
    fn stop(&mut self) -> bool;

    /// Progress of unknown length; whether to stop.
    fn note(&mut self, what: &str) -> bool {
        self.progress(0, 0, what);
        self.stop()
    }
}

/// A training that reports its steps.
pub struct Watch<'a>(pub &'a mut dyn Tell);

impl Progress for Watch<'_> {
    fn step(&mut self, step: u64, total: u64, loss: f32) {
        self.0.progress(step, total, &format!("loss {loss:.3}"));
    }
    fn stop(&mut self) -> bool {
        self.0.stop()
    }
}
