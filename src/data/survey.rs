//! One pass over all images of a set: what tells duplicates, and what the caller wants to know of each image.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::duplicates::difference_hash;
use super::image_set::{ContentHash, hex};
use super::images::{FileFacts, Images};
use crate::{Error, Result};

/// Images in memory at a time, at most.
const CHUNK: usize = 256;
/// Their bytes, at most.
const CHUNK_BYTES: usize = 128 << 20;

/// What [`survey`] found of each image.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// SHA-256 of each image's pixels.
    pub pixel_hashes: Vec<[u8; 32]>,
    /// [`difference_hash`] of each image; [`near_duplicates_of`](super::duplicates::near_duplicates_of) compares two
    /// sets by them.
    pub difference_hashes: Vec<u64>,
    /// What the caller's function gave, `[images, numbers]`.
    pub described: Vec<f32>,
    /// What [`ImageSet::content_hash`](super::ImageSet::content_hash) gives for the same images and labels.
    pub content_hash: String,
}

/// Describes an image, u8 `[height, width, 3]`, by numbers: pixels, width, height, what it is as a file.
pub type Describe<'a> = dyn Fn(&[u8], usize, usize, Option<&FileFacts>) -> Vec<f32> + Sync + 'a;

/// Reads every image once, in chunks that are decoded and looked at on all cores. `progress` hears how many images
/// are done and says whether to stop.
///
/// # Errors
/// What [`Images::read`] refuses; [`Error::Interrupted`] when `progress` says so.
pub fn survey(
    images: &dyn Images,
    describe: Option<&Describe>,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Survey> {
    let (width, height) = (images.width(), images.height());
    let mut found = Survey {
        pixel_hashes: Vec::with_capacity(images.len()),
        difference_hashes: Vec::with_capacity(images.len()),
        described: Vec::new(),
        content_hash: String::new(),
    };
    let mut content = ContentHash::new(images.len(), height, width);
    let mut done = 0;
    let all: Vec<usize> = (0..images.len()).collect();
    for chunk in all.chunks((CHUNK_BYTES / images.image_bytes().max(1)).clamp(1, CHUNK)) {
        if progress(done) {
            return Err(Error::Interrupted(format!(
                "stopped after looking at {done} of {} images",
                images.len()
            )));
        }
        let pixels = images.read(chunk)?;
        let look = |(image, &index): (&[u8], &usize)| {
            let described = match describe {
                Some(describe) => describe(image, width, height, images.file_facts(index)?.as_ref()),
                None => Vec::new(),
            };
            Ok((<[u8; 32]>::from(Sha256::digest(image)), difference_hash(image, (width, height)), described))
        };
        // The hash over everything is one after the other, so it runs beside the rest.
        let looks = || {
            let images = pixels.par_chunks_exact(images.image_bytes()).zip(chunk);
            images.map(look).collect::<Result<Vec<_>>>()
        };
        let ((), looked) = rayon::join(|| content.pixels(&pixels), looks);
        for (pixel_hash, difference, described) in looked? {
            found.pixel_hashes.push(pixel_hash);
            found.difference_hashes.push(difference);
            found.described.extend(described);
        }
        done += chunk.len();
    }
    progress(done);
    found.content_hash = hex(&content.finish([images.target(), images.attribute()]));
    Ok(found)
}
