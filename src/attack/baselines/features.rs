//! Baselines B and E: attacks on feature vectors. The target's and the shadow's must have one dimension.

use super::{Baseline, BaselineSettings, by_threshold};
use crate::attack::membership::{Four, Rows, network};
use crate::gpu::Gpu;
use crate::{Error, Result};

/// Hidden widths of the networks that read feature vectors.
const HIDDEN: [usize; 2] = [256, 256];

/// B: h(x) as if it were a posterior vector, in its own order and sorted in descending order; network d-256-256-2.
/// `features` are of the images themselves, `[n, d]`. First unsorted, then sorted.
///
/// # Errors
/// Empty sets, dimensions that differ, settings that make no sense.
pub fn encoder_as_classifier(
    gpu: &Gpu,
    features: &Four<Rows>,
    settings: &BaselineSettings,
    seed: u64,
) -> Result<[Baseline; 2]> {
    let network = settings.network(&HIDDEN);
    let unsorted = network::attack(gpu, features, &network, seed)?;
    let sorted = features.try_map(|set| {
        let rows = set.iter().flat_map(crate::attack::membership::descending).collect();
        Rows::new(set.width(), rows)
    })?;
    let sorted = network::attack(gpu, &sorted, &network, seed)?;
    let explanation = "A network judges membership by the feature vector of the image, treated as the posteriors of \
                       a classifier";
    Ok([
        Baseline::new("baseline-b-unsorted", "Encoder as a classifier", &format!("{explanation}."), unsorted),
        Baseline::new(
            "baseline-b-sorted",
            "Encoder as a classifier, sorted",
            &format!("{explanation}, sorted by size."),
            sorted,
        ),
    ])
}

/// Feature vectors of each image's augmented views beside that of the image itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewFeatures {
    image: Rows,
    views: Rows,
    count: usize,
}

impl ViewFeatures {
    /// `image` `[n, d]`, `views` `[n, count, d]`.
    ///
    /// # Errors
    /// No views, numbers that are not finite or do not make whole rows, other counts of images in the two.
    pub fn new(d: usize, count: usize, image: Vec<f32>, views: Vec<f32>) -> Result<ViewFeatures> {
        let image = Rows::new(d, image)?;
        let views = Rows::new(d.saturating_mul(count), views)?;
        if image.len() != views.len() {
            return Err(Error::shape(format!(
                "features of views: {} images, but views of {}",
                image.len(),
                views.len()
            )));
        }
        Ok(ViewFeatures { image, views, count })
    }

    /// Mean of each image's views, `[n, d]`.
    fn means(&self) -> Result<Rows> {
        let d = self.image.width();
        let mean = |views: &[f32]| -> Vec<f32> {
            let sum = |i| views.chunks(d).map(|view: &[f32]| f64::from(view[i])).sum::<f64>();
            (0..d).map(|i| (sum(i) / self.count as f64) as f32).collect()
        };
        Rows::new(d, self.views.iter().flat_map(mean).collect())
    }

    /// cos(h(x), mean of the views); 0 where one of them is the zero vector.
    fn cosines(&self) -> Result<Vec<f64>> {
        let means = self.means()?;
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
        };
        let cosine = |(a, b): (&[f32], &[f32])| {
            let norms = (dot(a, a) * dot(b, b)).sqrt();
            if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
        };
        Ok(self.image.iter().zip(means.iter()).map(cosine).collect())
    }
}

/// E: the views' embeddings joined, and their mean, each with a network d-256-256-2; and a threshold on the cosine of
/// h(x) and the mean (after C. Song and A. Raghunathan, ACM CCS 2020). In this order.
///
/// # Errors
/// Empty sets, dimensions or numbers of views that differ, settings that make no sense.
pub fn multi_view(
    gpu: &Gpu,
    features: &Four<ViewFeatures>,
    settings: &BaselineSettings,
    seed: u64,
) -> Result<[Baseline; 3]> {
    // Widths of the joined rows may agree by accident (2 views of 6 numbers, 3 of 4): the images' must too.
    features.try_map(|set| Ok(set.image.clone()))?.width()?;
    let network = settings.network(&HIDDEN);
    let joined = network::attack(gpu, &features.try_map(|set| Ok(set.views.clone()))?, &network, seed)?;
    let mean = network::attack(gpu, &features.try_map(ViewFeatures::means)?, &network, seed)?;
    let cosine = by_threshold(&features.try_map(ViewFeatures::cosines)?)?;
    Ok([
        Baseline::new(
            "baseline-e-concat",
            "Embeddings of several views",
            "A network judges membership by the feature vectors of several views of the image, one after the other.",
            joined,
        ),
        Baseline::new(
            "baseline-e-mean",
            "Mean embedding of several views",
            "A network judges membership by the mean feature vector of several views of the image.",
            mean,
        ),
        Baseline::new(
            "baseline-e-cosine",
            "Image beside its mean view",
            "Calls an image a member when its feature vector points in nearly the direction of the mean of its views; \
             the threshold comes from the shadow encoder.",
            cosine,
        ),
    ])
}
