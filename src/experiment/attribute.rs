//! Attribute inference against an encoder: embeddings of two image sets, then the attack.

use super::features::{Label, Tell, embeddings, flipped, pixels, plain};
use super::load::Loaded;
use crate::Result;
use crate::attack::attribute::{
    AttributeAttack, AttributeFinding, AttributeSettings, Embeddings, Features, Labelled,
};
use crate::augment::Recipe;
use crate::data::ImageSet;
use crate::gpu::Gpu;

/// Rows of a set's images, with a seed for what is random.
type Encode<'a> = dyn Fn(&ImageSet, u64, &mut Tell) -> Result<Vec<f32>> + 'a;

/// What is attacked, and how.
pub struct AttributeJob<'a> {
    pub encoder: &'a Loaded,
    /// What the attacker holds.
    pub aux: &'a ImageSet,
    /// Name of the auxiliary set in results.
    pub auxiliary: &'a str,
    pub test: &'a ImageSet,
    /// Number of random views of each image and their recipe, for the attack on mean embeddings.
    pub views: Option<(usize, Recipe)>,
    /// An encoder of the attacker's own, trained without censoring.
    pub uncensored: Option<&'a Loaded>,
    /// Side of the small images that the pixel baselines see.
    pub pixel_side: Option<usize>,
    /// Compatibility: random mirrors while embedding ([`flipped`]).
    pub flips: bool,
    pub settings: AttributeSettings,
    pub seed: u64,
}

impl AttributeJob<'_> {
    /// Encodes both sets and attacks. The sets need attribute labels; task labels are used where both have them.
    ///
    /// # Errors
    /// Sets without attribute labels or of other classes; errors of encoding and of [`AttributeAttack::run`].
    pub fn run(&self, gpu: &Gpu, tell: &mut Tell) -> Result<AttributeFinding> {
        let (aux, test) = Label::Attribute.of_both(self.aux, self.test)?;
        let task = match (&self.aux.target, &self.test.target) {
            (Some(_), Some(_)) => Some(Label::Target.of_both(self.aux, self.test)?),
            _ => None,
        };
        let mut both = |of: &Encode| -> Result<[Vec<f32>; 2]> {
            Ok([of(self.aux, self.seed, tell)?, of(self.test, self.seed.wrapping_add(1), tell)?])
        };
        let embedded = both(&|set, seed, tell| match self.flips {
            true => flipped(gpu, self.encoder, set, seed, tell),
            false => plain(gpu, self.encoder, set, tell),
        })?;
        let of_views = match &self.views {
            None => None,
            Some((count, recipe)) => Some(both(&|set, seed, tell| {
                embeddings(gpu, self.encoder, set, recipe.clone(), (*count, seed), tell)
            })?),
        };
        let small = self.pixel_side.map(|side| [pixels(self.aux, side), pixels(self.test, side)]);
        let uncensored = self.uncensored.map(|own| plain(gpu, own, self.aux, tell)).transpose()?;

        let width = self.encoder.encoder.feature_dim();
        let given = Embeddings {
            views: of_views.as_ref().zip(self.views.as_ref()).map(|([a, t], (views, _))| Features {
                width,
                views: *views,
                aux: a,
                test: t,
            }),
            pixels: small
                .as_ref()
                .zip(self.pixel_side)
                .map(|([a, t], side)| Features::plain(side * side * 3, a, t)),
            uncensored: uncensored
                .as_ref()
                .zip(self.uncensored)
                .map(|(rows, own)| (own.encoder.feature_dim(), &rows[..])),
            ..Embeddings::new(
                aux.classes(),
                task.map_or(0, |(labels, _)| labels.classes()),
                Labelled { attribute: &aux.values, task: task.map(|(labels, _)| &labels.values[..]) },
                Labelled { attribute: &test.values, task: task.map(|(_, labels)| &labels.values[..]) },
                Features::plain(width, &embedded[0], &embedded[1]),
            )
        };
        let attack = AttributeAttack { settings: self.settings.clone(), seed: self.seed };
        attack.run(gpu, self.auxiliary, &given, tell)
    }
}
