//! Options that say of an encoder file what it does not say itself.

use crate::Result;
use crate::augment::normalization_named;
use crate::experiment::load::Hints;
use crate::nn::{Architecture, Stem};

/// What an encoder file of another program leaves open.
#[derive(clap::Args, Debug)]
pub struct EncoderOptions {
    /// How images are normalised for encoder files that do not say it: cifar10, stl10, imagenet, clip, none, or m,m,m/s,s,s
    #[arg(long, value_name = "NAME")]
    normalization: Option<String>,
    /// Side of the images in pixels [default: what the encoder was trained with, or that of the images]
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// Architecture of encoder files that do not say it
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
        Ok(Hints {
            arch: self.arch.as_deref().map(str::parse::<Architecture>).transpose()?,
            stem: self.stem.as_deref().map(str::parse::<Stem>).transpose()?,
            normalization: self.normalization.as_deref().map(normalization_named).transpose()?,
            size: self.size,
        })
    }
}
