//! `synthetic-faces`: drawn faces with a target label, a sensitive attribute and much that varies besides.
//!
//! The target is the expression (not smiling, smiling), the attribute the skin tone (light, medium, brown,
//! dark). Pose, light, background, hair, clothing, glasses, beards and sensor noise vary independently of
//! both, so that every image is one of a kind. `correlation` c ties the two labels: with probability c an
//! image smiles exactly when its tone is brown or dark, else by an even coin. Both labels stay balanced, and
//! the correlation coefficient between smiling and (brown or dark) is c.
//!
//! Image i is a function of (seed, correlation, size, i) alone, whatever the count, the number of threads or
//! the machine: drawing uses additions, multiplications, divisions and square roots only.

mod draw;
mod look;
mod shapes;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::image_set::{ImageSet, Labels, hex};
use crate::rng::{Key, Stream, uniform};
use crate::{Error, Result};
use look::Look;

/// Names of the target's classes.
pub const EXPRESSIONS: [&str; 2] = ["not-smiling", "smiling"];
/// Names of the attribute's classes.
pub const SKIN_TONES: [&str; 4] = ["light", "medium", "brown", "dark"];
/// The largest set that is drawn at once, in bytes of pixels.
const MOST_BYTES: usize = 16 << 30;

/// What to draw.
#[derive(Debug, Clone, PartialEq)]
pub struct FacesOptions {
    /// Number of images.
    pub count: usize,
    /// Width and height in pixels, 8 to 1024.
    pub size: usize,
    pub seed: u64,
    /// How strongly expression and skin tone go together, 0 (not at all) to 1 (one tells the other).
    pub correlation: f64,
}

impl Default for FacesOptions {
    fn default() -> FacesOptions {
        FacesOptions { count: 2000, size: 32, seed: 0, correlation: 0.0 }
    }
}

/// Draws the faces.
///
/// # Errors
/// [`Error::Usage`] for a count, size or correlation out of range, naming the range.
pub fn generate(options: &FacesOptions) -> Result<ImageSet> {
    let &FacesOptions { count, size, seed, correlation } = options;
    if !(8..=1024).contains(&size) {
        return Err(Error::usage(format!("synthetic-faces: expected size=8 to 1024, found size={size}")));
    }
    if !(0.0..=1.0).contains(&correlation) {
        return Err(Error::usage(format!(
            "synthetic-faces: expected correlation=0 to 1, found correlation={correlation}"
        )));
    }
    let image_bytes = size * size * 3;
    let most = (MOST_BYTES / image_bytes).min(u32::MAX as usize);
    if !(1..=most).contains(&count) {
        return Err(Error::usage(format!(
            "synthetic-faces: expected count=1 to {most} at size={size}, found count={count}"
        )));
    }
    let key = Key::from_seed(seed).stream(Stream::Faces, 0);
    let labels: Vec<(u32, u32)> = (0..count).map(|index| labels(key, index as u32, correlation)).collect();
    let mut pixels = vec![0u8; count * image_bytes];
    pixels.par_chunks_exact_mut(image_bytes).enumerate().for_each(|(index, image)| {
        let (expression, tone) = labels[index];
        let look = Look::draw(key, index as u32, expression == 1, tone as usize);
        draw::draw(image, size, &look, key, index as u32);
    });
    let named = |values: Vec<u32>, names: &[&str]| Labels {
        values,
        names: names.iter().map(|&n| n.into()).collect(),
    };
    let settings = format!("synthetic-faces count={count} size={size} seed={seed} correlation={correlation}");
    ImageSet {
        name: "synthetic-faces".into(),
        width: size,
        height: size,
        pixels,
        ids: (0..count).map(|index| format!("face/{index}")).collect(),
        target: Some(named(labels.iter().map(|label| label.0).collect(), &EXPRESSIONS)),
        attribute: Some(named(labels.iter().map(|label| label.1).collect(), &SKIN_TONES)),
        source_hash: hex(&Sha256::digest(settings.as_bytes())),
        published_normalization: None,
        notes: Vec::new(),
    }
    .checked()
}

/// (expression, skin tone) of image `index`.
fn labels(key: Key, index: u32, correlation: f64) -> (u32, u32) {
    let [tone, coin] = key.draw(index, look::LABEL_VIEW, 0);
    let [tied, _] = key.draw(index, look::LABEL_VIEW, 1);
    let tone = tone >> 30;
    let expression = if f64::from(uniform(tied)) < correlation { tone >> 1 } else { coin >> 31 };
    (expression, tone)
}
