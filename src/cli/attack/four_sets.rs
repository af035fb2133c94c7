//! What every attack with a shadow model is given: two models and four sets of images.

use std::path::PathBuf;

use crate::experiment::encodermi::Sets;
use crate::experiment::load::{Answer, Hints, Loaded, load};
use crate::experiment::report::Results;
use crate::gpu::Gpu;
use crate::{Error, Result, data};

/// Target and shadow with their members and non-members.
#[derive(clap::Args, Debug)]
pub struct FourSets {
    /// The audited model, safetensors
    #[arg(long, value_name = "FILE")]
    target: PathBuf,
    /// The shadow model, safetensors
    #[arg(long, value_name = "FILE")]
    shadow: PathBuf,
    /// Images that the target was trained on
    #[arg(long, value_name = "SPEC")]
    members: String,
    /// Images that it was not trained on, of the same kind
    #[arg(long, value_name = "SPEC")]
    non_members: String,
    /// Images that the shadow model was trained on
    #[arg(long, value_name = "SPEC")]
    shadow_members: String,
    /// Images that it was not trained on
    #[arg(long, value_name = "SPEC")]
    shadow_non_members: String,
}

/// Both models and all images, read and checked.
pub struct Opened {
    pub sets: Sets,
    pub target: Loaded,
    pub shadow: Loaded,
    pub title: String,
    notes: Vec<String>,
    hashes: [String; 2],
    inputs: serde_json::Value,
}

impl FourSets {
    /// Reads the images and loads both models for `answer`.
    ///
    /// # Errors
    /// Images or files that cannot be read; sets that overlap; one file as target and shadow.
    pub fn open(&self, gpu: &Gpu, hints: &Hints, answer: Answer) -> Result<Opened> {
        let specs = [&self.members, &self.non_members, &self.shadow_members, &self.shadow_non_members];
        let [a, b, c, d] = specs.map(|spec| data::open(spec));
        let sets = [a?, b?, c?, d?];
        let hashes = [sets[0].content_hash(), sets[2].content_hash()];
        let notes: Vec<String> = sets.iter().flat_map(|set| set.notes.clone()).collect();
        let sets = Sets::new(sets)?;
        let side = sets.members.width.max(sets.members.height);
        let target = load(gpu, &self.target, "target", side, hints, answer)?;
        let shadow = load(gpu, &self.shadow, "shadow", side, hints, answer)?;
        if target.summary.checkpoint_hash == shadow.summary.checkpoint_hash {
            return Err(Error::usage(format!(
                "--target {} and --shadow {} are the same model; the shadow is one of your own, trained on the shadow members",
                self.target.display(),
                self.shadow.display()
            )));
        }
        let inputs = serde_json::json!({
            "target": self.target, "shadow": self.shadow, "members": self.members,
            "non_members": self.non_members, "shadow_members": self.shadow_members,
            "shadow_non_members": self.shadow_non_members,
        });
        let title = self.target.display().to_string();
        Ok(Opened { sets, target, shadow, title, notes, hashes, inputs })
    }
}

impl Opened {
    /// Adds to `results` what was given, and warns of models that say they saw other images.
    pub fn describe(&self, results: &mut Results) {
        results.encoder = self.target.summary.clone();
        results.other_encoders = vec![self.shadow.summary.clone()];
        results.commands = vec![super::command_line()];
        results.warnings.extend(self.notes.iter().cloned());
        let said = [
            ("target", "--members", &self.target.data_hash, &self.hashes[0]),
            ("shadow", "--shadow-members", &self.shadow.data_hash, &self.hashes[1]),
        ];
        for (role, flag, said, given) in said {
            if said.as_ref().is_some_and(|said| said != given) {
                results.warnings.push(format!(
                    "The {role} model's file says that it was trained on other images than {flag} names: membership labels may be wrong."
                ));
            }
        }
        if let Some(config) = results.config.as_object_mut() {
            config.insert("inputs".into(), self.inputs.clone());
        }
    }
}
