//! Inference classifiers, trained as the audit's knowledge allows, applied to several encoders' features.

use super::Features;
use crate::Result;
use crate::attack::encodermi::{Inference, Inferrer, Settings, Variant};
use crate::gpu::Gpu;
use crate::rng::{Key, Stream, permutation};

/// Where classifiers come from.
pub(super) struct Judge<'a> {
    pub gpu: &'a Gpu,
    pub settings: &'a Settings,
    /// What they are trained on: none of it is judged.
    pub taught: &'a Features,
    pub seed: u64,
}

/// What one variant says of the members and non-members of one encoder.
pub(super) struct Judged {
    pub members: Inference,
    pub non_members: Inference,
    /// T's threshold.
    pub threshold: Option<f64>,
    pub training_accuracy: f64,
}

impl Judge<'_> {
    /// Judges the images of each of `encoders` by one classifier.
    pub fn judge(&self, variant: Variant, encoders: &[&Features]) -> Result<Vec<Judged>> {
        let Features { members, non_members } = self.taught;
        let inferrer = Inferrer::train(self.gpu, variant, self.settings, members, non_members, self.seed)?;
        encoders.iter().map(|features| self.infer(&inferrer, features)).collect()
    }

    /// V trained on permuted membership labels, the permutation of number `run`.
    pub fn shuffled(&self, run: u32, features: &Features) -> Result<Judged> {
        let Features { members, non_members } = self.taught;
        let rows: Vec<f32> = members.sorted.iter().chain(&non_members.sorted).copied().collect();
        let (p, all) = (members.images(), members.images() + non_members.images());
        let order = permutation(Key::from_seed(self.seed).stream(Stream::Attack, run), all);
        let labels: Vec<u32> = order.iter().map(|&i| u32::from(i < p)).collect();
        let seed = self.seed.wrapping_add(1 + u64::from(run));
        let inferrer = Inferrer::train_on(self.gpu, Variant::V, self.settings, &rows, &labels, seed)?;
        self.infer(&inferrer, features)
    }

    fn infer(&self, inferrer: &Inferrer, features: &Features) -> Result<Judged> {
        Ok(Judged {
            members: inferrer.infer(self.gpu, &features.members)?,
            non_members: inferrer.infer(self.gpu, &features.non_members)?,
            threshold: inferrer.threshold(),
            training_accuracy: inferrer.training_accuracy,
        })
    }
}
