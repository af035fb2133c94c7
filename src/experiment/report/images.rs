//! Sample images: which ones to show, and how they get into a single file.

use image::ImageEncoder;

use crate::metrics::MembershipResult;
use crate::{Error, Result};

/// Positions of the `count` highest scores (highest first) and of the `count` lowest (lowest first); equal
/// scores in order of position.
pub fn extremes(result: &MembershipResult, count: usize) -> (Vec<usize>, Vec<usize>) {
    let scores = result.scores();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[j].total_cmp(&scores[i]));
    let highest = order.iter().take(count).copied().collect();
    order.sort_by(|&i, &j| scores[i].total_cmp(&scores[j]));
    (highest, order.into_iter().take(count).collect())
}

/// PNG of an RGB image (`[height, width, 3]` bytes) as a `data:` URI.
///
/// # Errors
/// A buffer that does not hold width·height·3 bytes.
pub fn png_data_uri(rgb: &[u8], width: u32, height: u32) -> Result<String> {
    let expected = u64::from(width) * u64::from(height) * 3;
    if rgb.len() as u64 != expected || expected == 0 {
        return Err(Error::shape(format!(
            "sample image: {width}x{height} RGB needs {expected} bytes (at least one pixel), found {}",
            rgb.len()
        )));
    }
    let mut png = Vec::new();
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(rgb, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|e| Error::shape(format!("sample image {width}x{height}: {e}")))?;
    Ok(format!("data:image/png;base64,{}", base64(&png)))
}

/// Standard Base64 with padding (RFC 4648, §4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |sum, &b| (sum << 8) | u32::from(b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                out.push(char::from(ALPHABET[(group >> (18 - 6 * place)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// Whether a string is a Base64 image that may stand in `src`: nothing else is ever loaded by the page.
pub(super) fn is_inline_image(uri: &str) -> bool {
    uri.strip_prefix("data:image/png;base64,").is_some_and(|body| {
        !body.is_empty() && body.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
    })
}
