//! PNG, JPEG, BMP and WebP files to RGB u8: gray replicated, palettes expanded, 16 bits scaled to 8,
//! transparency composited over white. Many files are decoded in parallel, in the order given.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use image::codecs::{bmp::BmpDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::images::{FileFacts, FileFormat};
use super::problems::{Problem, Problems, at};
use super::resize::Fit;
use crate::Result;

/// Images smaller than this on a side are refused.
pub const SMALLEST_SIDE: usize = 8;
/// Images larger than this on a side are refused before their pixels are allocated.
pub const LARGEST_SIDE: u32 = 32_768;

/// How much of a file is read to learn its size: what usually stands before the frame of a JPEG fits.
const HEADER_BYTES: u64 = 64 << 10;

/// What becomes of an alpha channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alpha {
    /// Composite over white.
    #[default]
    White,
    /// Keep the colours that stand under the transparency, as PIL's `convert("RGB")` does.
    Drop,
}

/// One decoded image, u8 `[height, width, 3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

/// A file to decode, and the place that names it (`labels.csv:7`) when that is another file.
#[derive(Debug, Clone)]
pub struct ImageFile {
    pub path: PathBuf,
    pub named_at: Option<String>,
}

/// What [`decode_all`] found.
pub struct DecodedFiles {
    pub width: usize,
    pub height: usize,
    /// u8 `[kept, H, W, 3]`.
    pub pixels: Vec<u8>,
    /// Positions in the list of files that were decoded; all of them unless bad files are skipped.
    pub kept: Vec<usize>,
    /// The files skipped, with the reason.
    pub skipped: Vec<Problem>,
    /// SHA-256 over the SHA-256 of each kept file, in order.
    pub hash: [u8; 32],
}

/// Decodes every file and brings it to size as `fit` says, in the order of the list whatever the number of
/// threads.
///
/// # Errors
/// Lists the first 20 files that cannot be used (missing, undecodable, truncated, animated, CMYK, under
/// 8 pixels, of another size than the first) and counts the others. With `skip_bad` such files, except
/// those of another size, are left out and named in the result.
pub fn decode_all(files: &[ImageFile], alpha: Alpha, fit: Fit, skip_bad: bool) -> Result<DecodedFiles> {
    let decoded: Vec<Result<(Decoded, [u8; 32]), Problem>> = files
        .par_iter()
        .map(|file| {
            let bytes = bytes_of(file)?;
            Ok((decode_fitted(&bytes, file, alpha, fit)?, Sha256::digest(&bytes).into()))
        })
        .collect();

    let mut problems = Problems::default();
    let mut skipped = Vec::new();
    let mut good = Vec::with_capacity(files.len());
    for (position, result) in decoded.into_iter().enumerate() {
        match result {
            Ok(image) => good.push((position, image)),
            Err(problem) if skip_bad => skipped.push(problem),
            Err(problem) => problems.push(problem),
        }
    }
    let (width, height) = good.first().map_or((0, 0), |(_, (image, _))| (image.width, image.height));
    let mut pixels = Vec::with_capacity(good.len() * width * height * 3);
    let mut kept: Vec<usize> = Vec::with_capacity(good.len());
    let mut hash = Sha256::new();
    for (position, (image, digest)) in good {
        if (image.width, image.height) != (width, height) {
            let like = &files[kept[0]].path;
            problems.push(other_size(
                &files[position].path,
                (width, height),
                like,
                (image.width, image.height),
            ));
            continue;
        }
        pixels.extend_from_slice(&image.pixels);
        kept.push(position);
        hash.update(digest);
    }
    problems.into_result()?;
    Ok(DecodedFiles { width, height, pixels, kept, skipped, hash: hash.finalize().into() })
}

/// What is wrong with an image of another size than the first one, `like`.
pub(super) fn other_size(
    path: &Path,
    expected: (usize, usize),
    like: &Path,
    found: (usize, usize),
) -> Problem {
    Problem::new(
        path.display(),
        format!(
            "expected {}x{} pixels like {}, found {}x{}; add size=S after # to resize all images to S x S, or crop=S",
            expected.0,
            expected.1,
            like.display(),
            found.0,
            found.1
        ),
    )
}

impl ImageFile {
    /// The problem of this file, with the place that names it.
    pub(super) fn named(&self, problem: Problem) -> Problem {
        match &self.named_at {
            Some(place) => Problem::new(problem.place, format!("{} (named at {place})", problem.problem)),
            None => problem,
        }
    }

    /// The problem of a file that the system does not hand over.
    pub(super) fn unreadable(&self, error: io::Error) -> Problem {
        let problem = format!("expected an image, found none that can be read: {error}");
        self.named(Problem::new(self.path.display(), problem))
    }
}

fn bytes_of(file: &ImageFile) -> Result<Vec<u8>, Problem> {
    std::fs::read(&file.path).map_err(|error| file.unreadable(error))
}

fn decode_fitted(bytes: &[u8], file: &ImageFile, alpha: Alpha, fit: Fit) -> Result<Decoded, Problem> {
    let image = decode_image(bytes, &file.path, alpha).map_err(|problem| file.named(problem))?;
    let from = (image.width, image.height);
    let (width, height) = fit.extents(from);
    Ok(Decoded { width, height, pixels: fit.apply(image.pixels, from).into_owned() })
}

/// Decodes one file and brings it to size.
pub(super) fn decode_file(file: &ImageFile, alpha: Alpha, fit: Fit) -> Result<Decoded, Problem> {
    decode_fitted(&bytes_of(file)?, file, alpha, fit)
}

/// Width and height of an image as its header states them; where that does not tell, the image is decoded. What
/// is wrong behind the header stays unseen.
pub(super) fn extents_of(file: &ImageFile, alpha: Alpha) -> Result<(usize, usize), Problem> {
    extents(file, alpha, &beginning(file)?)
}

fn extents(file: &ImageFile, alpha: Alpha, start: &[u8]) -> Result<(usize, usize), Problem> {
    match header_extents(start) {
        Some(extents) => Ok(extents),
        None => decode_file(file, alpha, Fit::AsIs).map(|image| (image.width, image.height)),
    }
}

fn beginning(file: &ImageFile) -> Result<Vec<u8>, Problem> {
    let mut start = Vec::new();
    let read = File::open(&file.path).and_then(|open| open.take(HEADER_BYTES).read_to_end(&mut start));
    read.map(|_| start).map_err(|error| file.unreadable(error))
}

/// What the file says of its image.
pub(super) fn facts_of(file: &ImageFile, alpha: Alpha) -> Result<FileFacts, Problem> {
    let bytes = std::fs::metadata(&file.path).map_err(|error| file.unreadable(error))?.len();
    let start = beginning(file)?;
    let (width, height) = extents(file, alpha, &start)?;
    let format = match image::guess_format(&start) {
        Ok(ImageFormat::Jpeg) => FileFormat::Jpeg,
        Ok(ImageFormat::Bmp) => FileFormat::Bmp,
        Ok(ImageFormat::WebP) => FileFormat::WebP,
        // No other is decoded.
        _ => FileFormat::Png,
    };
    Ok(FileFacts { width, height, bytes, format })
}

/// Width and height of an image that can be used, from the beginning of its file.
fn header_extents(start: &[u8]) -> Option<(usize, usize)> {
    let cursor = Cursor::new(start);
    let (width, height) = match image::guess_format(start).ok()? {
        ImageFormat::Png => {
            let decoder = PngDecoder::new(cursor).ok()?;
            if decoder.is_apng().ok()? {
                return None;
            }
            decoder.dimensions()
        }
        ImageFormat::Jpeg => jpeg_extents(start)?,
        ImageFormat::Bmp => BmpDecoder::new(cursor).ok()?.dimensions(),
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(cursor).ok()?;
            if decoder.has_animation() {
                return None;
            }
            decoder.dimensions()
        }
        _ => return None,
    };
    let usable = |extent: u32| extent as usize >= SMALLEST_SIDE && extent <= LARGEST_SIDE;
    (usable(width) && usable(height)).then_some((width as usize, height as usize))
}

/// Extents in the frame header of a JPEG that is not CMYK (ITU-T T.81, B.2.2).
fn jpeg_extents(bytes: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?])));
    let mut position = 2;
    loop {
        let marker = *bytes.get(position + 1).filter(|_| bytes[position] == 0xff)?;
        match marker {
            0xff => position += 1,
            0x01 | 0xd0..=0xd8 => position += 2,
            0xc4 | 0xc8 | 0xcc | 0x02..=0xbf | 0xda..=0xfe => {
                position += 2 + word(position + 2)?.max(2) as usize;
            }
            _ => {
                let (height, width) = (word(position + 5)?, word(position + 7)?);
                return (*bytes.get(position + 9)? != 4).then_some((width, height));
            }
        }
    }
}

/// Decodes one image; the format is told by the content, not by the file's name.
///
/// # Errors
/// The problem at `path@offset`, where the decoder stood, with the format's name.
pub fn decode_image(bytes: &[u8], path: &Path, alpha: Alpha) -> Result<Decoded, Problem> {
    const WANTED: &str = "PNG, JPEG, BMP or WebP";
    let format = image::guess_format(bytes).map_err(|_| {
        let start: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Problem::new(
            at(path, 0),
            format!("expected {WANTED}, found {} bytes starting [{}]", bytes.len(), start.join(" ")),
        )
    })?;
    let mut cursor = Cursor::new(bytes);
    let image = match format {
        ImageFormat::Png => PngDecoder::new(&mut cursor).and_then(|decoder| {
            refuse(decoder.is_apng()?, "one still image", "an animation (APNG)")?;
            decode_with(decoder)
        }),
        ImageFormat::Jpeg => {
            let components = jpeg_components(bytes).map_err(|(offset, problem)| {
                Problem::new(at(path, offset as u64), format!("Jpeg: {problem}"))
            })?;
            refuse(components == 4, "a gray or colour JPEG", "CMYK (4 components); convert it to RGB")
                .and_then(|()| JpegDecoder::new(&mut cursor))
                .and_then(decode_with)
        }
        ImageFormat::Bmp => BmpDecoder::new(&mut cursor).and_then(decode_with),
        ImageFormat::WebP => WebPDecoder::new(&mut cursor).and_then(|decoder| {
            refuse(decoder.has_animation(), "one still image", "an animation (WebP)")?;
            decode_with(decoder)
        }),
        other => {
            return Err(Problem::new(at(path, 0), format!("expected {WANTED}, found {other:?}")));
        }
    };
    let image = image.map_err(|error| {
        Problem::new(at(path, cursor.position()), format!("{format:?}: {}", decoder_message(error)))
    })?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width < SMALLEST_SIDE || height < SMALLEST_SIDE {
        return Err(Problem::new(
            path.display(),
            format!("expected at least {SMALLEST_SIDE} pixels on a side, found {width}x{height}"),
        ));
    }
    Ok(Decoded { width, height, pixels: to_rgb(image, alpha) })
}

fn refuse(condition: bool, expected: &str, found: &str) -> image::ImageResult<()> {
    if condition {
        let message = format!("expected {expected}, found {found}");
        return Err(image::ImageError::IoError(io::Error::new(io::ErrorKind::Unsupported, message)));
    }
    Ok(())
}

fn decode_with(mut decoder: impl ImageDecoder) -> image::ImageResult<DynamicImage> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}

fn decoder_message(error: image::ImageError) -> String {
    match error {
        image::ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "expected more data, found the end of the file (truncated)".into()
        }
        other => other.to_string(),
    }
}

fn to_rgb(image: DynamicImage, alpha: Alpha) -> Vec<u8> {
    if !image.color().has_alpha() || alpha == Alpha::Drop {
        return image.into_rgb8().into_raw();
    }
    let over_white = |colour: u8, opacity: u8| {
        let (colour, opacity) = (u32::from(colour), u32::from(opacity));
        ((colour * opacity + 255 * (255 - opacity) + 127) / 255) as u8
    };
    let rgba = image.into_rgba8();
    rgba.pixels().flat_map(|p| [0, 1, 2].map(|channel| over_white(p.0[channel], p.0[3]))).collect()
}

/// Walks a JPEG's markers from start to end (ITU-T T.81, annex B): the number of components of its frame,
/// or where the file stops short. The decoder itself fills what is missing with gray and says nothing.
fn jpeg_components(bytes: &[u8]) -> Result<u8, (usize, String)> {
    let truncated = || (bytes.len(), "expected more data, found the end of the file (truncated)".to_string());
    let mut components = None;
    let mut position = 2;
    loop {
        // In entropy-coded data FF 00 is a byte, FF D0 to FF D7 a restart, FF FF padding.
        while !matches!(bytes.get(position..position + 2), Some([0xff, 0x01..=0xcf | 0xd8..=0xfe])) {
            position += 1;
            if position + 2 > bytes.len() {
                return Err(truncated());
            }
        }
        let marker = bytes[position + 1];
        if marker == 0xd9 {
            return components
                .ok_or((position, "expected a frame header before the end of image".to_string()));
        }
        if matches!(marker, 0x01 | 0xd8) {
            position += 2;
            continue;
        }
        let header = bytes.get(position + 2..position + 4).ok_or_else(truncated)?;
        let length = usize::from(u16::from_be_bytes([header[0], header[1]]));
        if length < 2 {
            return Err((position, format!("expected a segment of at least 2 bytes, found {length}")));
        }
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            components = Some(*bytes.get(position + 9).ok_or_else(truncated)?);
        }
        position += 2 + length;
        if position >= bytes.len() {
            return Err(truncated());
        }
    }
}
