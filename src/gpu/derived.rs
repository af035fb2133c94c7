//! What kernels make of a slice beside their results, for those that need it again: transformed weights and inputs, partial
//! statistics. It is found as long as nothing has written to the slice since.

use super::recording::{Recording, Slice, TextureId};

/// What was made of a slice, and how many ops there were then.
#[derive(Clone)]
pub(super) struct Derived {
    what: &'static str,
    from: Slice,
    /// What else decides what it is.
    how: [usize; 4],
    texture: TextureId,
    ops: usize,
}

impl Recording {
    /// Remembers `texture` as the `what` that was made of `from`. `how`: what else decides what it is, sizes say.
    pub fn keep_derived(&mut self, what: &'static str, from: Slice, how: [usize; 4], texture: TextureId) {
        self.derived.push(Derived { what, from, how, texture, ops: self.ops.len() });
    }

    /// The `what` that was kept for `from` and `how`, if nothing has written there since.
    pub fn derived(&self, what: &str, from: Slice, how: [usize; 4]) -> Option<TextureId> {
        self.find_derived(what, from, |kept| *kept == how).map(|(_, texture)| texture)
    }

    /// The `what` that was last kept for `from`, and how it was made.
    pub fn derived_somehow(&self, what: &str, from: Slice) -> Option<([usize; 4], TextureId)> {
        self.find_derived(what, from, |_| true)
    }

    fn find_derived(
        &self,
        what: &str,
        from: Slice,
        suits: impl Fn(&[usize; 4]) -> bool,
    ) -> Option<([usize; 4], TextureId)> {
        let from = self.place(from);
        let same = |kept: &&Derived| kept.what == what && self.place(kept.from) == from && suits(&kept.how);
        let kept = self.derived.iter().rev().find(same)?;
        let changed = self.ops[kept.ops..].iter().any(|op| op.writes().iter().any(|to| to.meets(from)))
            || self.jobs.iter().any(|job| self.place(job.to).meets(from));
        (!changed).then_some((kept.how, kept.texture))
    }

    /// Says that something recorded later can use the `what` of what `from` will hold, which its writer may keep in passing.
    pub fn ask_for_derived(&mut self, what: &'static str, from: Slice) {
        self.asked_for.push((what, from));
    }

    /// Whether something asked for the `what` of `from`.
    pub fn is_asked_for(&self, what: &str, from: Slice) -> bool {
        self.asked_for.iter().any(|(asked, slice)| *asked == what && *slice == from)
    }

    /// Forgets what was kept and asked for, so that what follows is recorded as if it were the first.
    pub fn forget_derived(&mut self) {
        self.derived.clear();
        self.asked_for.clear();
    }
}
