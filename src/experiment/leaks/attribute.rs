//! Attribute inference on one method's target encoder, with the adaptive attackers.

use super::config::LeaksConfig;
use super::encoders::{Method, folder};
use super::models::{SideModel, features};
use super::parts::Parts;
use crate::Result;
use crate::attack::attribute::{
    AttributeAttack, AttributeFinding, AttributeSettings, Embeddings, Features, Labelled,
};
use crate::data::ImageSet;
use crate::experiment::Tell;
use crate::experiment::features::{Label, pixels};
use crate::experiment::load::{Answer, Hints, load};
use crate::gpu::Gpu;
use std::path::Path;

/// Side of the images that pixel imputation sees.
const PIXELS: usize = 8;

/// Attacks the target's embeddings of target-test. The attacker's labelled images are target-train, which is what was
/// published, and then shadow-train, which the encoder has not seen (section 12, artefact 6).
pub fn attack(gpu: &Gpu, attacked: &Attacked, tell: &mut dyn Tell) -> Result<Vec<AttributeFinding>> {
    let parts = attacked.parts;
    let auxiliaries = [("target-train", &parts.target_train), ("shadow-train", &parts.shadow_train)];
    // The published setting alone in compat mode.
    let used = if attacked.config.compat { &auxiliaries[..1] } else { &auxiliaries[..] };
    used.iter().map(|(name, aux)| one(gpu, attacked, (name, aux), tell)).collect()
}

/// What is attacked.
pub struct Attacked<'a> {
    pub config: &'a LeaksConfig,
    pub root: &'a Path,
    pub parts: &'a Parts,
    pub seed: u64,
    pub method: Method,
    pub target: &'a SideModel,
}

fn one(
    gpu: &Gpu,
    attacked: &Attacked,
    (name, aux): (&str, &ImageSet),
    tell: &mut dyn Tell,
) -> Result<AttributeFinding> {
    let Attacked { config, root, parts, seed, method, target } = *attacked;
    let test = &parts.target_test;
    let width = target.encoder.encoder.feature_dim();
    let (h_aux, h_test) = (target.features(gpu, aux, tell)?, target.features(gpu, test, tell)?);
    let count = config.views;
    let views_aux = target.view_features(gpu, aux, (count, 2 * seed), tell)?;
    let views_test = target.view_features(gpu, test, (count, 2 * seed + 1), tell)?;
    let (small_aux, small_test) = (pixels(aux, PIXELS), pixels(test, PIXELS));
    let size = config.encoder.size;
    let path = |method, file: &str| folder(root, seed, method).join("target").join(file);

    // Contrastive encoders carry a projection head.
    let projector = match method {
        Method::Supervised => None,
        _ => {
            let file = path(method, "encoder.safetensors");
            Some(load(gpu, &file, "target", size, &Hints::default(), Answer::Projection)?)
        }
    };
    let projected = match &projector {
        Some(loaded) => Some((
            loaded.encoder.feature_dim(),
            features(gpu, loaded, aux, None, tell)?,
            features(gpu, loaded, test, None, tell)?,
        )),
        None => None,
    };
    // De-censoring: the attacker's own encoder is the shadow of the same trial without Talos.
    let uncensored = match method {
        Method::Talos { .. } => {
            let file = folder(root, seed, Method::Contrastive).join("shadow").join("encoder.safetensors");
            let own = load(gpu, &file, "the attacker's", size, &Hints::default(), Answer::Features)?;
            Some((own.encoder.feature_dim(), features(gpu, &own, aux, None, tell)?))
        }
        _ => None,
    };
    let (aux_labels, test_labels) = (Labels::of(aux)?, Labels::of(test)?);
    let given = Embeddings {
        classes: test_labels.classes,
        task_classes: test_labels.task_classes,
        aux: aux_labels.labelled(),
        test: test_labels.labelled(),
        embedding: Features::plain(width, &h_aux, &h_test),
        views: Some(Features { width, views: count, aux: &views_aux, test: &views_test }),
        projection: projected.as_ref().map(|(width, aux, test)| Features::plain(*width, aux, test)),
        pixels: Some(Features::plain(PIXELS * PIXELS * 3, &small_aux, &small_test)),
        uncensored: uncensored.as_ref().map(|(width, rows)| (*width, rows.as_slice())),
    };
    let settings = if config.compat { AttributeSettings::compat() } else { AttributeSettings::default() };
    AttributeAttack { settings, seed }.run(gpu, name, &given, &mut |what| {
        tell.progress(0, 0, &format!("attribute inference with {name}: {what}"));
        tell.stop()
    })
}

/// The published attack, one wider network and the linear one on rows that a defence has changed: embeddings of
/// shadow-train, which the attacker had answered, and of target-test.
///
/// # Errors
/// As [`AttributeAttack::run`].
pub fn on_rows(
    gpu: &Gpu,
    parts: &Parts,
    width: usize,
    (aux, test): (&[f32], &[f32]),
    seed: u64,
) -> Result<AttributeFinding> {
    let (aux_labels, test_labels) = (Labels::of(&parts.shadow_train)?, Labels::of(&parts.target_test)?);
    let given = Embeddings {
        classes: aux_labels.classes,
        task_classes: aux_labels.task_classes,
        aux: aux_labels.labelled(),
        test: test_labels.labelled(),
        embedding: Features::plain(width, aux, test),
        views: None,
        projection: None,
        pixels: None,
        uncensored: None,
    };
    let mut settings = AttributeSettings::default();
    settings.adaptive.widths = vec![256];
    settings.shuffles = 0;
    AttributeAttack { settings, seed }.run(gpu, "shadow-train", &given, &mut |_| false)
}

/// Both labels of a set.
struct Labels<'a> {
    attribute: &'a [u32],
    task: &'a [u32],
    classes: usize,
    task_classes: usize,
}

impl<'a> Labels<'a> {
    fn of(set: &'a ImageSet) -> Result<Labels<'a>> {
        let (attribute, task) = (Label::Attribute.of(set)?, Label::Target.of(set)?);
        Ok(Labels {
            attribute: &attribute.values,
            task: &task.values,
            classes: attribute.classes(),
            task_classes: task.classes(),
        })
    }

    fn labelled(&self) -> Labelled<'a> {
        Labelled { attribute: self.attribute, task: Some(self.task) }
    }
}
