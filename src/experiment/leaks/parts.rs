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
    /// Images of no part, if there are enough: what defenders know of non-members and what the heads of baselines learn
    /// from, so that nothing is fitted on an image that is evaluated.
    pub rest: Option<ImageSet>,
    /// Images that were left out because an earlier one has their pixels.
    pub duplicates: u64,
    specs: [String; 2],
}

impl Parts {
    /// Reads the pool without exact duplicates, in the order of trial `seed`, and cuts it. In compat mode duplicates stay,
    /// and the cut is that of the released code.
    ///
    /// # Errors
    /// A pool that cannot be read or is too small, or without target.
    pub fn open(config: &LeaksConfig, seed: u64) -> Result<Parts> {
        let size = config.encoder.size;
        let spec = |options: &str| {
            let (kind, rest) = config.data.split_once(':').unwrap_or((config.data.as_str(), ""));
            // Generated sets have their options behind the colon, those on disk behind a hash.
            let separator = match (kind, rest.is_empty(), config.data.contains('#')) {
                ("synthetic-faces", true, _) => "",
                ("synthetic-faces", false, _) | (_, _, true) => ",",
                _ => "#",
            };
            let resize = if config.data.contains("size=") { String::new() } else { format!(",size={size}") };
            format!("{}{separator}{options}{resize}", config.data)
        };
        if config.compat {
            let quarter = |number: usize| spec(&format!("quarter={number},quarters=torch"));
            let open = |number: usize| -> Result<ImageSet> {
                Ok(data::resized(data::open(&quarter(number))?, size))
            };
            return Parts {
                target_train: open(1)?,
                target_test: open(2)?,
                shadow_train: open(3)?,
                shadow_test: open(4)?,
                rest: None,
                duplicates: 0,
                specs: [quarter(1), quarter(3)],
            }
            .with_target(config);
        }
        let order = format!("unique=true,shuffle={seed}");
        let pool = data::resized(data::open(&spec(&order))?, size);
        let duplicates = duplicates(&pool);
        let part = config.part_of(pool.len())?;
        let cut = |from: usize, count: usize| -> Result<ImageSet> {
            pool.subset(&(from..from + count).collect::<Vec<usize>>())
        };
        let left = (pool.len() - 4 * part).min(part);
        let take = |from: usize| spec(&format!("{order},take={from}..{}", from + part));
        Parts {
            target_train: cut(0, part)?,
            target_test: cut(part, part)?,
            shadow_train: cut(2 * part, part)?,
            shadow_test: cut(3 * part, part)?,
            rest: if left >= LEAST_REST { Some(cut(4 * part, left)?) } else { None },
            duplicates,
            specs: [take(0), take(2 * part)],
        }
        .with_target(config)
    }

    fn with_target(self, config: &LeaksConfig) -> Result<Parts> {
        if self.target_train.target.is_none() {
            return Err(Error::usage(format!(
                "{}: has no target label, which this experiment needs; name one in the SPEC (target=…)",
                config.data
            )));
        }
        Ok(self)
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

/// Fewer images than this make no reference set.
const LEAST_REST: usize = 16;

/// How many images the reader left out, as its notes say.
fn duplicates(set: &ImageSet) -> u64 {
    let told = |note: &String| {
        note.split_once(" images have the pixels of an earlier").and_then(|(n, _)| n.parse().ok())
    };
    set.notes.iter().find_map(told).unwrap_or(0)
}
