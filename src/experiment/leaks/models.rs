//! The two models of a trial, ready to be queried: encoders with task classifiers, and their answers.

use super::config::LeaksConfig;
use super::encoders::{Method, folder};
use super::parts::{Parts, Side};
use crate::attack::membership::{Four, Posteriors};
use crate::attack::probe::{Checkpoint, LinearHead, LinearSettings, Rows, linear_checkpoints};
use crate::augment::Recipe;
use crate::data::ImageSet;
use crate::experiment::Tell;
use crate::experiment::features::{Label, embeddings, flipped, plain};
use crate::experiment::load::{Answer, Hints, Loaded, load};
use crate::gpu::Gpu;
use crate::metrics::{LEVEL, Proportion, clopper_pearson};
use crate::nn::{EncoderFile, StateTensor};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const ENCODER: &str = "encoder.safetensors";
/// Encoder and task classifier in one file.
const CLASSIFIER: &str = "classifier.safetensors";

/// A model of one side.
pub struct SideModel {
    /// Seed of random flips while features are extracted, as the released code has them (artefact 5); none by default.
    flips: Option<u64>,
    /// Answers with features.
    pub encoder: Loaded,
    /// Answers with logits.
    pub classifier: Loaded,
    pub head: LinearHead,
    /// The classifier as it was at earlier epochs; empty for supervised models.
    pub checkpoints: Vec<Checkpoint>,
}

impl SideModel {
    /// Loads the encoder of `side` and gives it a task classifier: its own if it was trained with labels, else a linear
    /// probe on the features of its training images (He & Zhang's stage 2).
    pub fn open(
        gpu: &Gpu,
        config: &LeaksConfig,
        root: &Path,
        parts: &Parts,
        (seed, method, side): (u64, Method, Side),
        tell: &mut dyn Tell,
    ) -> Result<SideModel> {
        let folder = folder(root, seed, method).join(side.name());
        let path = folder.join(ENCODER);
        let size = config.encoder.size;
        let open = |path: &Path, answer| load(gpu, path, side.name(), size, &Hints::default(), answer);
        let encoder = open(&path, Answer::Features)?;
        let flips = config.compat.then_some(2 * seed + u64::from(side == Side::Shadow));
        let (set, _) = parts.training(side);
        let labels = Label::Target.of(set)?;
        let (file, head, checkpoints) = if method == Method::Supervised {
            let head = head_of(&path)?;
            (path, head, Vec::new())
        } else {
            let features = features(gpu, &encoder, set, flips, tell)?;
            let rows = Rows::new(&features, &labels.values, encoder.encoder.feature_dim(), labels.classes())?;
            let settings = LinearSettings::default();
            let checkpoints =
                linear_checkpoints(gpu, &settings, &rows, 2 * seed + u64::from(side == Side::Shadow))?;
            let last = checkpoints.last().ok_or_else(|| Error::shape("linear probe: no epoch was kept"))?;
            let head = last.head.clone();
            (with_head(&path, &folder, &head)?, head, checkpoints)
        };
        let classifier = open(&file, Answer::Logits)?;
        Ok(SideModel { flips, encoder, classifier, head, checkpoints })
    }

    /// Posteriors with the task's labels.
    pub fn posteriors(&self, gpu: &Gpu, set: &ImageSet, tell: &mut dyn Tell) -> Result<Posteriors> {
        let logits = features(gpu, &self.classifier, set, self.flips, tell)?;
        Posteriors::from_logits(
            self.classifier.encoder.feature_dim(),
            &logits,
            Label::Target.of(set)?.values.clone(),
        )
    }

    /// Posteriors of an earlier classifier from features of the set.
    pub fn posteriors_of(&self, head: &LinearHead, features: &[f32], set: &ImageSet) -> Result<Posteriors> {
        Posteriors::from_logits(head.classes, &head.logits(features)?, Label::Target.of(set)?.values.clone())
    }

    pub fn features(&self, gpu: &Gpu, set: &ImageSet, tell: &mut dyn Tell) -> Result<Vec<f32>> {
        features(gpu, &self.encoder, set, self.flips, tell)
    }

    /// Features `[images, views, d]` of random views.
    pub fn view_features(
        &self,
        gpu: &Gpu,
        set: &ImageSet,
        (count, seed): (usize, u64),
        tell: &mut dyn Tell,
    ) -> Result<Vec<f32>> {
        let recipe = Recipe::named("moco-cifar")?;
        embeddings(gpu, &self.encoder, set, recipe, (count, seed), &mut |what| tell.note(what))
    }
}

/// What a model answers about images as they are.
pub fn features(
    gpu: &Gpu,
    loaded: &Loaded,
    set: &ImageSet,
    flips: Option<u64>,
    tell: &mut dyn Tell,
) -> Result<Vec<f32>> {
    let mut note = |what: &str| tell.note(what);
    match flips {
        None => plain(gpu, loaded, set, &mut note),
        Some(seed) => flipped(gpu, loaded, set, seed, &mut note),
    }
}

/// Both models of a method.
pub struct Models {
    pub target: SideModel,
    pub shadow: SideModel,
}

impl Models {
    pub fn open(
        gpu: &Gpu,
        config: &LeaksConfig,
        root: &Path,
        parts: &Parts,
        (seed, method): (u64, Method),
        tell: &mut dyn Tell,
    ) -> Result<Models> {
        let mut open = |side| SideModel::open(gpu, config, root, parts, (seed, method, side), tell);
        Ok(Models { target: open(Side::Target)?, shadow: open(Side::Shadow)? })
    }

    /// The posteriors that a membership attack sees.
    pub fn posteriors(&self, gpu: &Gpu, parts: &Parts, tell: &mut dyn Tell) -> Result<Four<Posteriors>> {
        let four = parts.four();
        Ok(Four {
            target_members: self.target.posteriors(gpu, four.target_members, tell)?,
            target_non_members: self.target.posteriors(gpu, four.target_non_members, tell)?,
            shadow_members: self.shadow.posteriors(gpu, four.shadow_members, tell)?,
            shadow_non_members: self.shadow.posteriors(gpu, four.shadow_non_members, tell)?,
        })
    }

    /// Features of the four sets, each by the model that the attack asks about it.
    pub fn features(&self, gpu: &Gpu, parts: &Parts, tell: &mut dyn Tell) -> Result<Four<Vec<f32>>> {
        let four = parts.four();
        Ok(Four {
            target_members: self.target.features(gpu, four.target_members, tell)?,
            target_non_members: self.target.features(gpu, four.target_non_members, tell)?,
            shadow_members: self.shadow.features(gpu, four.shadow_members, tell)?,
            shadow_non_members: self.shadow.features(gpu, four.shadow_non_members, tell)?,
        })
    }
}

/// The classifier in an encoder file.
fn head_of(path: &Path) -> Result<LinearHead> {
    let file = EncoderFile::read(path)?;
    let tensor = |name: &str| {
        file.state.tensors.get(name).ok_or_else(|| {
            Error::data(path.display(), format!("expected the task classifier's {name}, found none"))
        })
    };
    let (weight, bias) = (tensor("head.weight")?, tensor("head.bias")?);
    let width = weight.values.len() / bias.values.len().max(1);
    LinearHead::new(weight.values.clone(), bias.values.clone(), width)
}

/// Writes the encoder with a classifier beside it; gives the file.
fn with_head(encoder: &Path, folder: &Path, head: &LinearHead) -> Result<PathBuf> {
    let file = EncoderFile::read(encoder)?;
    let metadata = file.metadata.clone().ok_or_else(|| {
        Error::data(encoder.display(), "expected the metadata of a contraleak encoder, found none")
    })?;
    let mut state = file.state;
    let tensor = |dimensions: Vec<usize>, values: &[f32]| StateTensor { dimensions, values: values.to_vec() };
    state.tensors.insert("head.weight".into(), tensor(vec![head.classes, head.width], &head.weight));
    state.tensors.insert("head.bias".into(), tensor(vec![head.classes], &head.bias));
    let path = folder.join(CLASSIFIER);
    EncoderFile::write(&path, state, &metadata)?;
    Ok(path)
}

/// Share of right answers.
pub fn accuracy(posteriors: &Posteriors) -> Proportion {
    let right = posteriors.correct().into_iter().filter(|&c| c).count() as u64;
    let trials = posteriors.len().max(1) as u64;
    Proportion {
        value: right as f64 / trials as f64,
        interval: clopper_pearson(right, trials, LEVEL),
        successes: right,
        trials,
    }
}
