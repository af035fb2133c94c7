//! Augmentation recipes: which operators, how often, how strong; and the numbers a kernel needs of them.

use crate::kernels::augment::{
    AREA_BITS, CROP_TRIES, DrawConstants, FACTOR_BITS, MOST_BLUR_TAPS, RATIO_BITS, ViewSettings,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// A random augmentation. Probabilities are in [0, 1]; an operator that never happens has probability 0.
///
/// Order: crop, flips, gray (if `gray_first`), jitter, gray, blur, normalisation. A flip before or after the
/// colour operators and the blur gives the same view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Side of the square result.
    pub size: usize,
    /// None: the whole image is resized, its aspect ratio not kept.
    pub crop: Option<RandomCrop>,
    pub horizontal_flip: f64,
    pub vertical_flip: f64,
    /// Probability of the colour jitter as a whole.
    pub jitter: f64,
    /// Brightness, contrast and saturation are multiplied by U(max(0, 1−v), 1+v), v ≤ 2.
    pub brightness: f64,
    pub contrast: f64,
    pub saturation: f64,
    /// The hue turns by U(−v, v), v ≤ 0.5.
    pub hue: f64,
    pub gray: f64,
    /// Gray comes before the jitter (MoCo v1 on ImageNet) instead of after it.
    pub gray_first: bool,
    pub blur: f64,
    /// Odd.
    pub blur_taps: usize,
    /// Range of the blur's standard deviation in pixels of the result, up to 8.
    pub blur_sigma: (f64, f64),
    /// Round to k/255 after each operator, as code that works on 8-bit PIL images does.
    pub pil8: bool,
    /// Channel statistics of the final (x − mean)/std.
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

/// Ranges of a random resized crop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    /// The crop's share of the image's area, within (0, 1].
    pub scale: (f64, f64),
    /// Width / height, log-uniform, within [1/2, 2].
    pub ratio: (f64, f64),
}

/// Channel means and standard deviations.
pub const CIFAR10: ([f64; 3], [f64; 3]) = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]);
pub const STL10: ([f64; 3], [f64; 3]) =
    ([0.44087798, 0.42790666, 0.38678814], [0.25507198, 0.24801506, 0.25641308]);
pub const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
pub const CLIP: ([f64; 3], [f64; 3]) =
    ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]);
/// Leaves values as they are.
pub const NO_NORMALISATION: ([f64; 3], [f64; 3]) = ([0.0; 3], [1.0; 3]);

impl Recipe {
    /// Names that [`Recipe::named`] knows.
    pub const NAMES: [&str; 11] = [
        "moco-cifar",
        "moco-cifar-notebook",
        "simclr-cifar",
        "simclr-96",
        "simclr-96-clean",
        "moco-v1-imagenet",
        "moco-v2-imagenet",
        "clip-query",
        "eval-32",
        "eval-96",
        "eval-224",
    ];

    /// A recipe of the literature by its name, with its own size and its data set's normalisation.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name: the nearest known one, and all of them.
    pub fn named(name: &str) -> Result<Recipe> {
        let (crop, jitter) = (Recipe::random_crop, Recipe::with_jitter);
        Ok(match name {
            "moco-cifar" => jitter(crop(32, 0.2), 0.8, [0.4, 0.4, 0.4, 0.1]).normalised(CIFAR10),
            "moco-cifar-notebook" | "simclr-cifar" => {
                jitter(crop(32, 0.08), 0.8, [0.4, 0.4, 0.4, 0.1]).normalised(CIFAR10)
            }
            "simclr-96" => {
                let simclr = jitter(crop(96, 0.08), 0.8, [0.8, 0.8, 0.8, 0.2]);
                Recipe { vertical_flip: 0.5, blur: 1.0, blur_taps: 9, pil8: true, ..simclr }
            }
            "simclr-96-clean" => {
                let simclr = jitter(crop(96, 0.08), 0.8, [0.8, 0.8, 0.8, 0.2]).normalised(STL10);
                Recipe { blur: 1.0, blur_taps: 9, ..simclr }
            }
            "moco-v1-imagenet" => {
                let moco = jitter(crop(224, 0.2), 1.0, [0.4, 0.4, 0.4, 0.4]).normalised(IMAGENET);
                Recipe { gray_first: true, ..moco }
            }
            "moco-v2-imagenet" => {
                let moco = jitter(crop(224, 0.2), 0.8, [0.4, 0.4, 0.4, 0.1]).normalised(IMAGENET);
                // PIL's blur has no fixed width: four standard deviations of the widest one.
                Recipe { blur: 0.5, blur_taps: 17, ..moco }
            }
            "clip-query" => jitter(crop(224, 0.2), 0.8, [0.4, 0.4, 0.4, 0.1]).normalised(CLIP),
            "eval-32" => Recipe::plain(32).normalised(CIFAR10),
            "eval-96" => Recipe::plain(96),
            "eval-224" => Recipe::plain(224).normalised(IMAGENET),
            _ => return Err(unknown(name)),
        })
    }

    /// No randomness: bytes to floats in 0..1, resized to `size`×`size` where the image has another size.
    pub fn plain(size: usize) -> Recipe {
        Recipe {
            size,
            crop: None,
            horizontal_flip: 0.0,
            vertical_flip: 0.0,
            jitter: 0.0,
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
            gray: 0.0,
            gray_first: false,
            blur: 0.0,
            blur_taps: 9,
            blur_sigma: (0.1, 2.0),
            pil8: false,
            mean: NO_NORMALISATION.0,
            std: NO_NORMALISATION.1,
        }
    }

    /// What all training recipes share: a crop of at least `low` of the area, and horizontal flips.
    fn random_crop(size: usize, low: f64) -> Recipe {
        let crop = RandomCrop { scale: (low, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) };
        Recipe { crop: Some(crop), horizontal_flip: 0.5, ..Recipe::plain(size) }
    }

    fn with_jitter(self, jitter: f64, [brightness, contrast, saturation, hue]: [f64; 4]) -> Recipe {
        Recipe { jitter, brightness, contrast, saturation, hue, gray: 0.2, ..self }
    }

    /// The same for another side of the result.
    #[must_use]
    pub fn sized(self, size: usize) -> Recipe {
        Recipe { size, ..self }
    }

    /// The same with another mean and standard deviation.
    #[must_use]
    pub fn normalised(self, (mean, std): ([f64; 3], [f64; 3])) -> Recipe {
        Recipe { mean, std, ..self }
    }

    /// What the kernel does to every view alike.
    pub fn view_settings(&self) -> ViewSettings {
        ViewSettings {
            antialias: true,
            gray_first: self.gray_first,
            pil8: self.pil8,
            blur_taps: if self.blur > 0.0 { self.blur_taps } else { 0 },
            mean: self.mean.map(|v| v as f32),
            std: self.std.map(|v| v as f32),
        }
    }

    /// The numbers that a draw for images of one size needs.
    ///
    /// # Errors
    /// [`Error::Usage`] names the setting that is out of range.
    pub fn draw_constants(&self, height: usize, width: usize) -> Result<DrawConstants> {
        self.check(height, width)?;
        let whole = RandomCrop { scale: (1.0, 1.0), ratio: (1.0, 1.0) };
        let RandomCrop { scale, ratio } = self.crop.unwrap_or(whole);
        let area_shift = ((1_u64 << 30) / (4 * height * width) as u64).ilog2();
        let area_one = f64::from(1_u32 << AREA_BITS);
        let factor_one = f64::from(1_u32 << FACTOR_BITS);
        let ratio_one = f64::from(1_u32 << RATIO_BITS);
        let fixed = |x: f64, one: f64| (x * one).round() as u32;
        let range = |low: f64, high: f64, one: f64| {
            (fixed(low, one), fixed(high, one).saturating_sub(fixed(low, one)))
        };
        let factors = |v: f64| range((1.0 - v).max(0.0), 1.0 + v, factor_one);
        let probability = |p: f64| fixed(p, f64::from(1 << 24));
        let (scale_low, scale_span) = range(scale.0, scale.1, area_one);
        let (brightness_low, brightness_span) = factors(self.brightness);
        let (contrast_low, contrast_span) = factors(self.contrast);
        let (saturation_low, saturation_span) = factors(self.saturation);
        let (sigma_low, sigma_span) = range(self.blur_sigma.0, self.blur_sigma.1, factor_one);
        let fallback = match self.crop {
            Some(_) => fallback_crop(height, width, ratio),
            None => [0, 0, height, width],
        };
        let [fallback_top, fallback_left, fallback_height, fallback_width] = fallback.map(|v| v as u32);
        Ok(DrawConstants {
            height: height as u32,
            width: width as u32,
            area: ((4 * height * width) as u32) << area_shift,
            area_shift,
            scale_low,
            scale_span,
            ratio_low: fixed(ratio.0, ratio_one),
            inverse_ratio_low: fixed(1.0 / ratio.1, ratio_one),
            log_ratio_span: fixed((ratio.1 / ratio.0).ln(), ratio_one),
            fallback_top,
            fallback_left,
            fallback_height,
            fallback_width,
            horizontal_flip: probability(self.horizontal_flip),
            vertical_flip: probability(self.vertical_flip),
            jitter: probability(self.jitter),
            gray: probability(self.gray),
            blur: probability(self.blur),
            brightness_low,
            brightness_span,
            contrast_low,
            contrast_span,
            saturation_low,
            saturation_span,
            hue_bound: fixed(self.hue, factor_one),
            sigma_low,
            sigma_span,
            tries: if self.crop.is_some() { u32::from(CROP_TRIES) } else { 0 },
        })
    }

    fn check(&self, height: usize, width: usize) -> Result<()> {
        let within =
            |low: f64, range: (f64, f64), high: f64| low <= range.0 && range.0 <= range.1 && range.1 <= high;
        let both = |x: f64| (x, x);
        let side = |s: usize| (1..=16384).contains(&s);
        let probabilities = [self.horizontal_flip, self.vertical_flip, self.jitter, self.gray, self.blur];
        let strengths = [self.brightness, self.contrast, self.saturation];
        let blur_fits =
            self.blur_taps % 2 == 1 && self.blur_taps <= MOST_BLUR_TAPS && self.blur_taps / 2 < self.size;
        let checks = [
            ("each side of the images within 1..=16384", side(height) && side(width)),
            ("size within 1..=16384", side(self.size)),
            (
                "crop.scale a range within (0, 1]",
                self.crop.is_none_or(|c| within(f64::MIN_POSITIVE, c.scale, 1.0)),
            ),
            ("crop.ratio a range within [0.5, 2]", self.crop.is_none_or(|c| within(0.5, c.ratio, 2.0))),
            (
                "horizontal_flip, vertical_flip, jitter, gray and blur within [0, 1]",
                probabilities.iter().all(|&p| within(0.0, both(p), 1.0)),
            ),
            (
                "brightness, contrast and saturation within [0, 2]",
                strengths.iter().all(|&v| within(0.0, both(v), 2.0)),
            ),
            ("hue within [0, 0.5]", within(0.0, both(self.hue), 0.5)),
            ("blur_taps odd, at most 63, and its half smaller than size", self.blur == 0.0 || blur_fits),
            ("blur_sigma a range within [0.001, 8]", self.blur == 0.0 || within(1e-3, self.blur_sigma, 8.0)),
            ("every std positive and finite", self.std.iter().all(|&s| s > 0.0 && s.is_finite())),
            ("every mean finite", self.mean.iter().all(|m| m.is_finite())),
        ];
        match checks.iter().find(|(_, fine)| !fine) {
            None => Ok(()),
            Some((what, _)) => Err(Error::usage(format!(
                "augmentation of {height}x{width} images: the recipe needs {what}; it says {self:?}"
            ))),
        }
    }
}

fn unknown(name: &str) -> Error {
    let known = Recipe::NAMES;
    let nearest = known.iter().max_by(|a, b| {
        let closeness = |k: &str| strsim::jaro_winkler(name, k);
        closeness(a).total_cmp(&closeness(b))
    });
    let hint = nearest.map_or(String::new(), |n| format!("; did you mean {n}?"));
    Error::usage(format!("augmentation {name:?} does not exist{hint} (known: {})", known.join(", ")))
}

/// torchvision's fallback: the largest centred crop whose ratio lies in the range, as top, left, height, width.
fn fallback_crop(height: usize, width: usize, (low, high): (f64, f64)) -> [usize; 4] {
    let ratio = width as f64 / height as f64;
    let (crop_height, crop_width) = if ratio < low {
        ((width as f64 / low).round_ties_even() as usize, width)
    } else if ratio > high {
        (height, (height as f64 * high).round_ties_even() as usize)
    } else {
        (height, width)
    };
    let (crop_height, crop_width) = (crop_height.clamp(1, height), crop_width.clamp(1, width));
    [(height - crop_height) / 2, (width - crop_width) / 2, crop_height, crop_width]
}

/// Channel means and standard deviations.
pub type Constants = ([f64; 3], [f64; 3]);

/// Constants by name, or written out as `m,m,m/s,s,s`.
///
/// # Errors
/// [`Error::Usage`] for an unknown name, or numbers that are not three finite means and three positive deviations.
pub fn normalization_named(text: &str) -> Result<Constants> {
    let three = |part: &str| -> Option<[f64; 3]> {
        let numbers: Option<Vec<f64>> = part.split(',').map(|n| n.trim().parse().ok()).collect();
        numbers?.try_into().ok()
    };
    match (text, text.split_once('/')) {
        ("cifar10", _) => Ok(CIFAR10),
        ("stl10", _) => Ok(STL10),
        ("imagenet", _) => Ok(IMAGENET),
        ("clip", _) => Ok(CLIP),
        ("none", _) => Ok(NO_NORMALISATION),
        (_, Some((mean, std))) => match (three(mean), three(std)) {
            (Some(mean), Some(std))
                if mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| *s > 0.0 && s.is_finite()) =>
            {
                Ok((mean, std))
            }
            _ => Err(Error::usage(format!(
                "normalization `{text}`: expected three means, a slash and three positive deviations, e.g. .5,.5,.5/.25,.25,.25"
            ))),
        },
        _ => Err(Error::unknown("normalization", text, &["cifar10", "stl10", "imagenet", "clip", "none"])),
    }
}
