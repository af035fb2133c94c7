//! Inference classifiers, trained as the audit's knowledge allows, applied to several encoders' features.

use super::Features;
use crate::Result;
use crate::attack::encodermi::{CrossFit, CrossFitted, Inference, Inferrer, Settings, Variant};
use crate::gpu::Gpu;
use crate::rng::{Key, Stream, permutation};

/// Where classifiers come from: `shadow`'s features, or cross-fitting.
pub(super) struct Judge<'a> {
    pub gpu: &'a Gpu,
    pub settings: &'a Settings,
    pub shadow: Option<&'a Features>,
    /// How images are shared out where there is no shadow encoder.
    pub cross_fit: Option<CrossFit>,
    pub seed: u64,
}

/// What one variant says of the members and non-members of one encoder.
pub(super) struct Judged {
    pub members: Inference,
    pub non_members: Inference,
    /// T's threshold; the mean over folds.
    pub threshold: Option<f64>,
    pub training_accuracy: f64,
}

impl Judge<'_> {
    /// Judges the images of each of `encoders`: by one classifier trained on the shadow encoder, or in cross-fitting by
    /// classifiers of the encoder's own.
    pub fn judge(
        &self,
        variant: Variant,
        encoders: &[&Features],
        tell: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Vec<Judged>> {
        match self.shadow {
            Some(shadow) => {
                let Features { members, non_members } = shadow;
                let inferrer =
                    Inferrer::train(self.gpu, variant, self.settings, members, non_members, self.seed)?;
                encoders.iter().map(|features| self.infer(&inferrer, features)).collect()
            }
            None => {
                encoders.iter().map(|features| self.cross_fitted(variant, features, None, tell)).collect()
            }
        }
    }

    /// V trained on permuted membership labels, the permutation of number `run`.
    pub fn shuffled(
        &self,
        run: u32,
        features: &Features,
        tell: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Judged> {
        let Some(shadow) = self.shadow else {
            return self.cross_fitted(Variant::V, features, Some(run), tell);
        };
        let rows: Vec<f32> =
            shadow.members.sorted.iter().chain(&shadow.non_members.sorted).copied().collect();
        let (p, all) = (shadow.members.images(), shadow.members.images() + shadow.non_members.images());
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

    fn cross_fitted(
        &self,
        variant: Variant,
        features: &Features,
        shuffled: Option<u32>,
        tell: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Judged> {
        let both = [&features.members, &features.non_members];
        let how = self.cross_fit.unwrap_or_default();
        let mut stop = |fold: usize| {
            let what = if shuffled.is_some() { ", shuffled labels" } else { "" };
            tell(&format!("training EncoderMI-{variant}{what}: part {} of {}", fold + 1, how.folds))
        };
        let CrossFitted { members, non_members, thresholds, training_accuracy } =
            how.judge(self.gpu, variant, self.settings, both, self.seed, shuffled, &mut stop)?;
        let threshold =
            (!thresholds.is_empty()).then(|| thresholds.iter().sum::<f64>() / thresholds.len() as f64);
        Ok(Judged { members, non_members, threshold, training_accuracy })
    }
}
