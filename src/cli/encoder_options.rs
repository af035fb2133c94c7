//! Options that say of an encoder file what it does not say itself.

use crate::augment::normalization_named;
use crate::experiment::load::Hints;
use crate::nn::{Architecture, Stem};
use crate::{Error, Result};

/// What an encoder file of another program leaves open.
#[derive(clap::Args, Debug)]
pub struct EncoderOptions {
    /// How images are normalised for encoder files that do not say it [default: as is usual for such files]: cifar10, stl10, imagenet, clip, none, or m,m,m/s,s,s
    #[arg(long, value_name = "NAME")]
    normalization: Option<String>,
    /// Side of the images in pixels [default: what the encoder was trained with, or that of the images]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Architecture of encoder files that do not say it [default: recognised from names and shapes]
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Stem of encoder files that do not say it
    #[arg(long, value_name = "NAME")]
    stem: Option<String>,
}

impl EncoderOptions {
    /// As the loader takes them.
    ///
    /// # Errors
    /// Unknown names.
    pub fn hints(&self) -> Result<Hints> {
        if let Some(size) = self.size.filter(|size| !(8..=4096).contains(size)) {
            return Err(Error::usage(format!("size: expected 8 to 4096 pixels, found {size}")));
        }
        Ok(Hints {
            arch: self.arch.as_deref().map(str::parse::<Architecture>).transpose()?,
            stem: self.stem.as_deref().map(str::parse::<Stem>).transpose()?,
            normalization: self.normalization.as_deref().map(normalization_named).transpose()?,
            size: self.size,
        })
    }
}
