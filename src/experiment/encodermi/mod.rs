//! An EncoderMI audit from encoders and image sets to [`Results`]: queries, features, inferrers, controls, figures.

mod about;
mod sets;

pub use about::{adapter, summary};
pub use sets::Sets;

use super::report::{
    self, Attack, Cost, HistogramFigure, Results, SampleImage, Stage, extremes, png_data_uri,
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
use about::{FOREIGN, SHUFFLED, UNTRAINED, assumptions, citations, describe};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

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
    pub scores: Vec<(String, MembershipResult)>,
}

impl Finding {
    /// Writes `report.html`, `results.json`, `scores.csv` and `config.toml` into `folder`, each whole or not at all.
    pub fn write(&mut self, folder: &Path) -> Result<()> {
        let scores: Vec<(&str, &MembershipResult)> =
            self.scores.iter().map(|(id, result)| (id.as_str(), result)).collect();
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
            scores.push((variant.id().to_string(), result));
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
    fn samples(&self, scores: &[(String, MembershipResult)]) -> Result<Vec<SampleImage>> {
        let Some((attack, result)) = scores.iter().find(|(id, _)| id == Variant::T.id()).or(scores.first())
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
                    attack: attack.clone(),
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
