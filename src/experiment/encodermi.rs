//! An EncoderMI audit from encoders and image sets to [`Results`]: queries, features, inferrers, controls, figures.

use super::report::{
    self, AdapterSummary, Assumption, Attack, Citation, Cost, DataPart, DataSummary, EncoderSummary,
    HistogramFigure, Results, SampleImage, Stage, extremes, png_data_uri,
};
use crate::attack::encodermi::{
    Inference, Inferrer, MembershipFeatures, Settings, Variant, membership_features, similarity_name,
};
use crate::augment::Recipe;
use crate::data::ImageSet;
use crate::files::write_bytes_atomic;
use crate::gpu::Gpu;
use crate::metrics::{Control, HistogramPair, MembershipMetrics, MembershipResult};
use crate::rng::{Key, Stream, permutation, threefry2x32_20};
use crate::train::{CONFIG_FILE, Encoder, Views};
use crate::{Error, Result};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Instant;

/// The four sets of the pipeline (EncoderMI, section 4), disjoint by pixels.
pub struct Sets {
    pub members: ImageSet,
    pub non_members: ImageSet,
    pub shadow_members: ImageSet,
    pub shadow_non_members: ImageSet,
    /// Images removed because their pixels are those of an image of an earlier set.
    pub duplicates_removed: u64,
}

/// Names of the sets, in the order in which duplicates are looked for.
const ROLES: [&str; 4] = ["members", "non-members", "shadow members", "shadow non-members"];

impl Sets {
    /// Makes the sets disjoint: an image whose pixels an earlier set has is removed and counted.
    ///
    /// # Errors
    /// An image that stands in two sets under one name: the sets overlap, which is a mistake and not a duplicate.
    /// Sets that are empty, or of different image sizes.
    pub fn new(sets: [ImageSet; 4]) -> Result<Sets> {
        let size = (sets[0].width, sets[0].height);
        let mut seen: BTreeMap<[u8; 32], (usize, Vec<String>)> = BTreeMap::new();
        let (mut kept, mut removed) = (Vec::new(), 0);
        for (role, set) in sets.into_iter().enumerate() {
            if (set.width, set.height) != size {
                return Err(Error::usage(format!(
                    "{}: expected images of {}x{} like the members, found {}x{}; add #size=S to make them equal",
                    ROLES[role], size.0, size.1, set.width, set.height
                )));
            }
            let hashes = set.pixel_hashes();
            let mut here = Vec::new();
            for (index, hash) in hashes.into_iter().enumerate() {
                let id = &set.ids[index];
                match seen.get_mut(&hash) {
                    Some((other, ids)) if *other != role && ids.contains(id) => {
                        return Err(Error::usage(format!(
                            "{} and {} overlap: both hold {id}; use disjoint parts, e.g. #shuffle=1,take=0..500 and #shuffle=1,take=500..1000",
                            ROLES[*other], ROLES[role]
                        )));
                    }
                    Some((other, _)) if *other != role => removed += 1,
                    Some((_, ids)) => {
                        ids.push(id.clone());
                        here.push(index);
                    }
                    None => {
                        seen.insert(hash, (role, vec![id.clone()]));
                        here.push(index);
                    }
                }
            }
            if here.is_empty() {
                return Err(Error::usage(format!(
                    "{}: no image is left after removing duplicates",
                    ROLES[role]
                )));
            }
            kept.push(set.subset(&here)?);
        }
        let [members, non_members, shadow_members, shadow_non_members] =
            <[ImageSet; 4]>::try_from(kept).map_err(|_| Error::shape("sets: expected four"))?;
        Ok(Sets { members, non_members, shadow_members, shadow_non_members, duplicates_removed: removed })
    }

    fn all(&self) -> [(&'static str, &ImageSet); 4] {
        [
            (ROLES[0], &self.members),
            (ROLES[1], &self.non_members),
            (ROLES[2], &self.shadow_members),
            (ROLES[3], &self.shadow_non_members),
        ]
    }

    /// What the report says of the data.
    pub fn summary(&self) -> DataSummary {
        DataSummary {
            name: self.members.name.clone(),
            image_size: Some([self.members.height as u64, self.members.width as u64]),
            content_hash: None,
            parts: self
                .all()
                .map(|(role, set)| DataPart {
                    role: role.into(),
                    count: set.len() as u64,
                    sha256: set.content_hash(),
                })
                .to_vec(),
            duplicates_removed: self.duplicates_removed,
            near_duplicates: None,
            files_skipped: 0,
        }
    }
}

/// What is attacked, and how.
pub struct Audit<'a> {
    pub target: &'a Encoder,
    pub shadow: &'a Encoder,
    pub sets: &'a Sets,
    /// How views for queries are made at the target and at the shadow encoder; they differ in normalisation at most.
    pub target_recipe: Recipe,
    pub shadow_recipe: Recipe,
    pub variants: Vec<Variant>,
    pub settings: Settings,
    /// Runs of the shuffled-labels control.
    pub shuffles: u32,
    pub seed: u64,
}

/// Results with the scores of each attack, for `report::write`.
pub struct Finding {
    pub results: Results,
    pub scores: Vec<(&'static str, MembershipResult)>,
}

impl Finding {
    /// Writes `report.html`, `results.json`, `scores.csv` and `config.toml` into `folder`, each whole or not at all.
    pub fn write(&mut self, folder: &Path) -> Result<()> {
        let scores: Vec<(&str, &MembershipResult)> =
            self.scores.iter().map(|(id, result)| (*id, result)).collect();
        let config = toml::to_string_pretty(&self.results.config)
            .map_err(|e| Error::shape(format!("configuration: {e}")))?;
        report::write(folder, &mut self.results, &scores)?;
        write_bytes_atomic(folder.join(CONFIG_FILE), config.as_bytes())
    }
}

/// The features of one encoder on members and non-members.
struct Features {
    members: MembershipFeatures,
    non_members: MembershipFeatures,
}

impl Audit<'_> {
    /// Runs the attack and its controls. `tell` hears what happens, and is asked whether to stop.
    pub fn run(&self, gpu: &Gpu, title: &str, tell: &mut dyn FnMut(&str) -> bool) -> Result<Finding> {
        let start = Instant::now();
        let mut results = Results::new(title);
        let mut stage = Stages(Instant::now(), Vec::new());
        let sets = self.sets;
        let target = self.features(
            gpu,
            self.target,
            &self.target_recipe,
            [&sets.members, &sets.non_members],
            0,
            tell,
        )?;
        let shadow_sets = [&sets.shadow_members, &sets.shadow_non_members];
        let shadow = self.features(gpu, self.shadow, &self.shadow_recipe, shadow_sets, 2, tell)?;
        stage.end("views and features");
        let untrained = Encoder::untrained(gpu, self.target.config(), self.seed ^ 0x5eed)?;
        let untrained =
            self.features(gpu, &untrained, &self.target_recipe, [&sets.members, &sets.non_members], 4, tell)?;
        let foreign = self.features(
            gpu,
            self.shadow,
            &self.shadow_recipe,
            [&sets.members, &sets.non_members],
            6,
            tell,
        )?;
        stage.end("controls: views and features");
        let mut scores = Vec::new();
        for &variant in &self.variants {
            if tell(&format!("training EncoderMI-{variant} on the shadow encoder's features")) {
                return Err(stopped());
            }
            let inferrer = Inferrer::train(
                gpu,
                variant,
                &self.settings,
                &shadow.members,
                &shadow.non_members,
                self.seed,
            )?;
            let result = self.result(&inferrer, gpu, &target)?;
            let (title, explanation) = describe(variant);
            let mut attack = Attack::new(variant.id(), title, explanation, &result, self.seed);
            attack.threshold = inferrer.threshold().filter(|t| t.is_finite());
            attack.training_accuracy = Some(inferrer.training_accuracy);
            attack.parameters = self.parameters(variant);
            for (id, title, explanation, features) in [
                ("untrained-encoder", "Encoder that never trained", UNTRAINED, &untrained),
                ("foreign-encoder", "Encoder trained on other images", FOREIGN, &foreign),
            ] {
                let metrics = MembershipMetrics::compute(&self.result(&inferrer, gpu, features)?, self.seed);
                attack.controls.push(Control::single(id, title, explanation, &metrics));
            }
            // T's score does not depend on labels, and S costs minutes to train: V stands for trained networks.
            if variant == Variant::V && self.shuffles > 0 {
                attack.controls.extend(self.shuffled(gpu, &shadow, &target, tell)?);
            }
            results.attacks.push(attack);
            scores.push((variant.id(), result));
            stage.end(&format!("EncoderMI-{variant} and its controls"));
        }
        results.histograms = self.histograms(&target, &untrained, &shadow, &results)?;
        results.samples = self.samples(&scores)?;
        results.data = sets.summary();
        results.config = json!({ "attack": "encodermi", "seed": self.seed, "shuffles": self.shuffles, "settings": self.settings, "recipe": self.target_recipe, "variants": self.variants.iter().map(|v| v.to_string()).collect::<Vec<_>>() });
        results.compat =
            [(self.settings.compat_deepsets, "deepsets"), (self.settings.compat_grid501, "grid501")]
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, name)| name.to_string())
                .collect();
        results.seeds = [("attack".to_string(), self.seed)].into();
        results.citation = citations();
        results.assumptions = assumptions(&self.settings);
        results.cost = self.cost();
        results.adapter = adapter(gpu);
        results.stages = stage.1;
        results.wall_time_s = start.elapsed().as_secs_f64();
        Ok(Finding { results, scores })
    }

    fn features(
        &self,
        gpu: &Gpu,
        encoder: &Encoder,
        recipe: &Recipe,
        sets: [&ImageSet; 2],
        stream: u32,
        tell: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Features> {
        let mut one = |set: &ImageSet, stream: u32| {
            // A seed for each (encoder, set): views are never shared between images.
            let [low, high] = threefry2x32_20([self.seed as u32, (self.seed >> 32) as u32], [0x71, stream]);
            let seed = u64::from(high) << 32 | u64::from(low);
            let views = Views { recipe: recipe.clone(), count: self.settings.views, seed };
            let all: Vec<usize> = (0..set.len()).collect();
            let mut done = 0;
            let embeddings = encoder.features(gpu, set, &all, &views, |images| {
                done += images;
                tell(&format!("encoding {} views of {done}/{} images", views.count, set.len()))
            })?;
            membership_features(
                gpu,
                &embeddings,
                views.count,
                encoder.feature_dim(),
                self.settings.similarity,
            )
        };
        Ok(Features { members: one(sets[0], stream)?, non_members: one(sets[1], stream + 1)? })
    }

    /// Scores of members, then of non-members.
    fn result(&self, inferrer: &Inferrer, gpu: &Gpu, features: &Features) -> Result<MembershipResult> {
        let Inference { mut scores, mut decisions } = inferrer.infer(gpu, &features.members)?;
        let others = inferrer.infer(gpu, &features.non_members)?;
        let mut members = vec![true; scores.len()];
        scores.extend(others.scores);
        decisions.extend(others.decisions);
        members.resize(scores.len(), false);
        let ids = [("member", &self.sets.members), ("non-member", &self.sets.non_members)]
            .iter()
            .flat_map(|(role, set)| set.ids.iter().enumerate().map(move |(i, id)| format!("{role}/{i}/{id}")))
            .collect();
        MembershipResult::new(scores, members, decisions, ids)
    }

    /// EncoderMI-V trained on permuted membership labels, several times.
    fn shuffled(
        &self,
        gpu: &Gpu,
        shadow: &Features,
        target: &Features,
        tell: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Option<Control>> {
        let rows: Vec<f32> =
            shadow.members.sorted.iter().chain(&shadow.non_members.sorted).copied().collect();
        let (p, all) = (shadow.members.images(), shadow.members.images() + shadow.non_members.images());
        let mut runs = Vec::new();
        for run in 0..self.shuffles {
            if tell(&format!("control: shuffled labels, run {} of {}", run + 1, self.shuffles)) {
                return Err(stopped());
            }
            let order = permutation(Key::from_seed(self.seed).stream(Stream::Attack, run), all);
            let labels: Vec<u32> = order.iter().map(|&i| u32::from(i < p)).collect();
            let seed = self.seed.wrapping_add(1 + u64::from(run));
            let inferrer = Inferrer::train_on(gpu, Variant::V, &self.settings, &rows, &labels, seed)?;
            runs.push(MembershipMetrics::compute_with(&self.result(&inferrer, gpu, target)?, 200, seed));
        }
        Ok(Control::repeated("shuffled-labels", "Shuffled labels", SHUFFLED, &runs))
    }

    fn parameters(&self, variant: Variant) -> serde_json::Value {
        let Settings { views, similarity, vector, set, .. } = self.settings;
        let similarity = similarity_name(similarity);
        match variant {
            Variant::V => json!({ "views": views, "similarity": similarity, "network": vector }),
            Variant::S => json!({ "views": views, "similarity": similarity, "network": set }),
            Variant::T => json!({ "views": views, "similarity": similarity }),
        }
    }

    fn histograms(
        &self,
        target: &Features,
        untrained: &Features,
        shadow: &Features,
        results: &Results,
    ) -> Result<Vec<HistogramFigure>> {
        let threshold = results.attacks.iter().find(|a| a.id == Variant::T.id()).and_then(|a| a.threshold);
        [
            ("target", "The audited encoder", target, threshold),
            ("shadow", "The shadow encoder, on its own members and non-members", shadow, threshold),
            ("untrained", "Control: an encoder that never trained", untrained, None),
        ]
        .into_iter()
        .map(|(encoder, title, features, threshold)| {
            Ok(HistogramFigure {
                encoder: encoder.into(),
                title: title.into(),
                feature: format!(
                    "mean pairwise {} similarity of {} views",
                    similarity_name(self.settings.similarity),
                    self.settings.views
                ),
                histogram: HistogramPair::new(&features.members.means, &features.non_members.means, 30)?,
                threshold,
            })
        })
        .collect()
    }

    /// The most and the least member-like images.
    fn samples(&self, scores: &[(&'static str, MembershipResult)]) -> Result<Vec<SampleImage>> {
        let Some((attack, result)) = scores.iter().find(|(id, _)| *id == Variant::T.id()).or(scores.first())
        else {
            return Ok(Vec::new());
        };
        let (high, low) = extremes(result, 6);
        let mut shown = HashSet::new();
        high.into_iter()
            .chain(low.into_iter().rev())
            .filter(|&i| shown.insert(i))
            .map(|i| {
                let p = self.sets.members.len();
                let (set, index) =
                    if i < p { (&self.sets.members, i) } else { (&self.sets.non_members, i - p) };
                Ok(SampleImage {
                    id: result.ids()[i].clone(),
                    image: png_data_uri(set.image(index), set.width as u32, set.height as u32)?,
                    caption: set.ids[index].clone(),
                    score: result.scores()[i],
                    attack: (*attack).into(),
                    member: i < p,
                    decision: result.decisions()[i],
                })
            })
            .collect()
    }

    fn cost(&self) -> Vec<Cost> {
        let images = (self.sets.members.len() + self.sets.non_members.len()) as f64;
        let cost = |what: &str, value: f64, unit: &str| Cost { what: what.into(), value, unit: unit.into() };
        vec![
            cost("Queries to the audited encoder for one decision", self.settings.views as f64, "queries"),
            cost("Queries to the audited encoder in all", images * self.settings.views as f64, "queries"),
        ]
    }
}

const UNTRAINED: &str = "The same attack on an encoder of the same architecture with its initial random weights. It has seen no image, so nothing may be found.";
const FOREIGN: &str = "The same attack on the shadow encoder, asked about the audited images. It was trained on other images, so nothing may be found.";
const SHUFFLED: &str = "EncoderMI-V trained on shadow images whose membership labels were permuted. It learnt nothing true, so on average nothing may be found.";

fn stopped() -> Error {
    Error::Interrupted("stopped; no results were written".into())
}

/// Seconds of each stage.
struct Stages(Instant, Vec<Stage>);

impl Stages {
    fn end(&mut self, name: &str) {
        self.1.push(Stage { name: name.into(), seconds: self.0.elapsed().as_secs_f64() });
        self.0 = Instant::now();
    }
}

fn describe(variant: Variant) -> (&'static str, &'static str) {
    match variant {
        Variant::V => (
            "EncoderMI-V",
            "A small neural network reads how similar all pairs of altered versions of an image look to the encoder, sorted.",
        ),
        Variant::S => {
            ("EncoderMI-S", "A small neural network reads the same similarities as a set, without order.")
        }
        Variant::T => (
            "EncoderMI-T",
            "Says member when the altered versions of an image look alike enough to the encoder on average.",
        ),
    }
}

/// The adapter as results name it.
pub fn adapter(gpu: &Gpu) -> AdapterSummary {
    let d = gpu.description();
    AdapterSummary {
        name: d.name.clone(),
        backend: d.backend.clone(),
        driver: format!("{} {}", d.driver, d.driver_info).trim().to_string(),
        class: format!("{:?}", d.class).to_lowercase(),
    }
}

fn citations() -> Vec<Citation> {
    let cite = |what: &str, authors: &str, title: &str, venue: &str, identifier: &str| Citation {
        what: what.into(),
        authors: authors.into(),
        title: title.into(),
        venue: venue.into(),
        identifier: Some(identifier.into()),
    };
    vec![
        cite(
            "EncoderMI-V, -S, -T",
            "H. Liu, J. Jia, W. Qu, N. Z. Gong",
            "EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive Learning",
            "ACM CCS 2021",
            "doi 10.1145/3460120.3484749",
        ),
        cite(
            "SimCLR",
            "T. Chen, S. Kornblith, M. Norouzi, G. Hinton",
            "A Simple Framework for Contrastive Learning of Visual Representations",
            "ICML 2020",
            "arXiv 2002.05709",
        ),
        cite(
            "EncoderMI-S network",
            "M. Zaheer, S. Kottur, S. Ravanbakhsh, B. Póczos, R. Salakhutdinov, A. Smola",
            "Deep Sets",
            "NeurIPS 2017",
            "arXiv 1703.06114",
        ),
        cite(
            "TPR at low FPR",
            "N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis, F. Tramèr",
            "Membership Inference Attacks From First Principles",
            "IEEE S&P 2022",
            "arXiv 2112.03570",
        ),
    ]
}

fn assumptions(settings: &Settings) -> Vec<Assumption> {
    let note = |what: &str, value: String, certainty: &str| Assumption {
        what: what.into(),
        value,
        certainty: certainty.into(),
    };
    vec![
        note("Views of each image", settings.views.to_string(), "certain in the paper: 10"),
        note(
            "V: epochs, batch, learning rate",
            format!(
                "{}, {}, {}",
                settings.vector.epochs, settings.vector.batch, settings.vector.learning_rate
            ),
            "reported: 300, 100, 1e-4",
        ),
        note("V: initial weights", "Glorot uniform, zero biases".into(), "assumed"),
        note(
            "S: layers, epochs, batch",
            format!(
                "3 equivariant layers of {}, {} epochs, {}",
                settings.set.width, settings.set.epochs, settings.set.batch
            ),
            if settings.compat_deepsets {
                "compat: the published point-cloud pipeline; its last whole batch and its fixed recall denominator are not imitated"
            } else {
                "assumed: layers; reported: 300 epochs for 20,000 shadow images"
            },
        ),
        note(
            "T: threshold",
            if settings.compat_grid501 { "501 edges".into() } else { "exact search".into() },
            "assumed among equally good thresholds: the middle of the widest interval",
        ),
    ]
}

/// What the report says of an encoder that was trained here.
pub fn summary(
    role: &str,
    config: &crate::train::SimclrConfig,
    outcome: &crate::train::Outcome,
    images: usize,
    parameters: u64,
) -> EncoderSummary {
    let per_epoch = config.steps_per_epoch(images).max(1) as usize;
    let loss_curve = outcome
        .losses
        .chunks(per_epoch)
        .enumerate()
        .map(|(epoch, part)| {
            [epoch as f64 + 1.0, part.iter().map(|l| f64::from(l.1)).sum::<f64>() / part.len() as f64]
        })
        .collect();
    EncoderSummary {
        role: role.into(),
        architecture: format!(
            "{} with {} stem, width {}, {}x{} pixels",
            config.encoder.arch,
            config.encoder.stem,
            config.encoder.width,
            config.encoder.size,
            config.encoder.size
        ),
        training: Some(format!(
            "SimCLR, {} images, batch {}, temperature {}",
            images, config.batch, config.temperature
        )),
        parameters: Some(parameters),
        epochs: Some(config.epochs),
        final_loss: Some(f64::from(outcome.final_loss)),
        checkpoint_hash: Some(outcome.encoder_sha256.clone()),
        loss_curve,
    }
}
