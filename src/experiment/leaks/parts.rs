//! The four disjoint parts of a trial, and what is left of the pool.

use super::config::LeaksConfig;
use crate::attack::membership::Four;
use crate::data::{self, ImageSet};
use crate::{Error, Result};

/// Images of one trial (He & Zhang, section 3.2): target-train are members of the target, target-test are not;
/// shadow-train and shadow-test likewise for the shadow.
pub struct Parts {
    pub target_train: ImageSet,
    pub target_test: ImageSet,
    pub shadow_train: ImageSet,
    pub shadow_test: ImageSet,
    /// Images of no part: heads of baselines are trained here, so that only the encoder can leak. May be empty.
    pub rest: Option<ImageSet>,
    specs: [String; 2],
}

impl Parts {
    /// Reads the pool in the order of trial `seed` and cuts it.
    ///
    /// # Errors
    /// A pool that cannot be read or is too small, or without target or attribute.
    pub fn open(config: &LeaksConfig, seed: u64) -> Result<Parts> {
        let spec = |options: &str| {
            let (kind, rest) = config.data.split_once(':').unwrap_or((config.data.as_str(), ""));
            // Generated sets have their options behind the colon, those on disk behind a hash.
            let separator = match (kind, rest.is_empty(), config.data.contains('#')) {
                ("synthetic-faces", true, _) => "",
                ("synthetic-faces", false, _) | (_, _, true) => ",",
                _ => "#",
            };
            format!("{}{separator}{options}", config.data)
        };
        let pool = data::open(&spec(&format!("shuffle={seed}")))?;
        let part = config.part_of(pool.len())?;
        if pool.target.is_none() {
            return Err(Error::usage(format!(
                "{}: has no target label, which this experiment needs; name one in the SPEC (target=…)",
                config.data
            )));
        }
        let size = config.encoder.size;
        let cut = |from: usize, count: usize| -> Result<ImageSet> {
            let indices: Vec<usize> = (from..from + count).collect();
            Ok(data::resized(pool.subset(&indices)?, size))
        };
        let left = (pool.len() - 4 * part).min(part);
        let take = |from: usize| spec(&format!("shuffle={seed},take={from}..{}", from + part));
        Ok(Parts {
            target_train: cut(0, part)?,
            target_test: cut(part, part)?,
            shadow_train: cut(2 * part, part)?,
            shadow_test: cut(3 * part, part)?,
            rest: if left > 0 { Some(cut(4 * part, left)?) } else { None },
            specs: [take(0), take(2 * part)],
        })
    }

    /// Whether the images have a sensitive attribute; without one there is nothing to infer or to censor.
    pub fn has_attribute(&self) -> bool {
        self.target_train.attribute.is_some()
    }

    /// What an encoder of this side is trained on, with its SPEC.
    pub fn training(&self, side: Side) -> (&ImageSet, &str) {
        match side {
            Side::Target => (&self.target_train, &self.specs[0]),
            Side::Shadow => (&self.shadow_train, &self.specs[1]),
        }
    }

    /// The sets of a membership attack.
    pub fn four(&self) -> Four<&ImageSet> {
        Four {
            target_members: &self.target_train,
            target_non_members: &self.target_test,
            shadow_members: &self.shadow_train,
            shadow_non_members: &self.shadow_test,
        }
    }
}

/// Whose encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Target,
    Shadow,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::Target, Side::Shadow];

    pub fn name(self) -> &'static str {
        match self {
            Side::Target => "target",
            Side::Shadow => "shadow",
        }
    }
}
