//! An EncoderMI audit from encoders and image sets to [`Results`]: queries, features, inferrers, controls, figures.

mod about;
mod judge;
mod sets;

pub use about::{adapter, summary};
pub use sets::{ROLES, Sets, disjoint};

use super::kept_features::{Keep, Measured, similarities};
use super::report::{
    self, Attack, Cost, HistogramFigure, Results, SampleImage, Stage, extremes, png_data_uri,
};
use crate::attack::encodermi::{MembershipFeatures, Settings, Variant, similarity_name};
use crate::augment::Recipe;
use crate::data::{Chosen, Images};
use crate::files::write_bytes_atomic;
use crate::gpu::Gpu;
use crate::metrics::{Control, HistogramPair, MembershipMetrics, MembershipResult};
use crate::rng::threefry2x32_20;
use crate::train::{CONFIG_FILE, Encoder, Views};
use crate::{Error, Result};
use about::{FOREIGN, SHUFFLED, UNTRAINED, assumptions, citations, describe};
use judge::{Judge, Judged};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

/// An encoder, how views are made for it, and images that it was and was not trained on.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub encoder: &'a Encoder,
    /// What its measurements are kept under: the SHA-256 of its file.
    pub sha256: &'a str,
    pub recipe: &'a Recipe,
    pub members: &'a dyn Images,
    pub non_members: &'a dyn Images,
}

/// What inference classifiers are trained on.
#[derive(Clone, Copy)]
pub enum Knowledge<'a> {
    /// Members and non-members of another encoder, as the paper's attacker does.
    Shadow(Side<'a>),
    /// Members and non-members of the audited encoder itself, other ones than are judged, as its owner can.
    Own { members: &'a dyn Images, non_members: &'a dyn Images },
}

/// What is attacked, and how.
pub struct Audit<'a> {
    pub target: Side<'a>,
    pub knowledge: Knowledge<'a>,
    pub variants: Vec<Variant>,
    pub settings: Settings,
    /// Runs of the shuffled-labels control.
    pub shuffles: u32,
    /// Members, and as many non-members, that control encoders are asked about, at most.
    pub control_images: usize,
    /// Folder for what was measured, so that the same audit goes on after an interruption.
    pub keep: Option<&'a Path>,
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
    /// Runs the attack and its controls. `tell` hears what happens, and is asked whether to stop. The caller adds what
    /// only it knows: the data's names, the encoders' summaries.
    ///
    /// # Errors
    /// Errors of encoding and of training; [`Error::Interrupted`] when `tell` says so.
    pub fn run(&self, gpu: &Gpu, title: &str, tell: &mut dyn FnMut(&str) -> bool) -> Result<Finding> {
        let start = Instant::now();
        let mut results = Results::new(title);
        let mut stage = Stages(Instant::now(), Vec::new());
        let target = self.features(gpu, &self.target, "target", 0, tell)?;
        let (teacher, role) = match self.knowledge {
            Knowledge::Shadow(side) => (side, "shadow"),
            Knowledge::Own { members, non_members } => (Side { members, non_members, ..self.target }, "own"),
        };
        let taught = self.features(gpu, &teacher, role, 2, tell)?;
        stage.end("views and features");
        let few = [
            Chosen::evenly(self.target.members, self.control_images)?,
            Chosen::evenly(self.target.non_members, self.control_images)?,
        ];
        let asked = Side { members: &few[0], non_members: &few[1], ..self.target };
        let seed = self.seed ^ 0x5eed;
        let (untrained, name) =
            (Encoder::untrained(gpu, self.target.encoder.config(), seed)?, format!("untrained {seed}"));
        let side = Side { encoder: &untrained, sha256: &name, ..asked };
        let untrained = self.features(gpu, &side, "untrained", 4, tell)?;
        let foreign = match &self.knowledge {
            Knowledge::Shadow(Side { encoder, sha256, recipe, .. }) => {
                let side = Side { encoder, sha256, recipe, ..asked };
                Some(self.features(gpu, &side, "foreign", 6, tell)?)
            }
            Knowledge::Own { .. } => None,
        };
        stage.end("controls: views and features");
        let judge = Judge { gpu, settings: &self.settings, taught: &taught, seed: self.seed };
        let mut scores = Vec::new();
        for &variant in &self.variants {
            if tell(&format!("training EncoderMI-{variant}")) {
                return Err(stopped());
            }
            let mut others = vec![("untrained-encoder", "Encoder that never trained", UNTRAINED, &untrained)];
            others.extend(
                foreign.iter().map(|f| ("foreign-encoder", "Encoder trained on other images", FOREIGN, f)),
            );
            let mut asked_of = vec![&target];
            asked_of.extend(others.iter().map(|(.., features)| *features));
            let mut judged = judge.judge(variant, &asked_of)?.into_iter();
            let Some(first) = judged.next() else { return Err(Error::shape("audit: nothing was judged")) };
            let result = result(&first, [self.target.members, self.target.non_members])?;
            let (title, explanation) = describe(variant);
            let mut attack = Attack::new(variant.id(), title, explanation, &result, self.seed);
            attack.threshold = first.threshold.filter(|t| t.is_finite());
            attack.training_accuracy = Some(first.training_accuracy);
            attack.parameters = self.parameters(variant);
            for ((id, title, explanation, _), judged) in others.into_iter().zip(judged) {
                let metrics = MembershipMetrics::compute(
                    &self::result(&judged, [asked.members, asked.non_members])?,
                    self.seed,
                );
                attack.controls.push(Control::single(id, title, explanation, &metrics));
            }
            // T's score does not depend on labels, and S costs minutes to train: V stands for trained networks.
            if variant == Variant::V && self.shuffles > 0 {
                let mut runs = Vec::new();
                for run in 0..self.shuffles {
                    if tell(&format!("control: shuffled labels, run {} of {}", run + 1, self.shuffles)) {
                        return Err(stopped());
                    }
                    let judged = judge.shuffled(run, &target)?;
                    let result = self::result(&judged, [self.target.members, self.target.non_members])?;
                    let seed = self.seed.wrapping_add(1 + u64::from(run));
                    runs.push(MembershipMetrics::compute_with(&result, 200, seed));
                }
                let control = Control::repeated("shuffled-labels", "Shuffled labels", SHUFFLED, &runs);
                attack.controls.extend(control);
            }
            results.attacks.push(attack);
            scores.push((variant.id().to_string(), result));
            stage.end(&format!("EncoderMI-{variant} and its controls"));
        }
        results.histograms = self.histograms(&target, &untrained, &taught, &results)?;
        results.samples = self.samples(&scores)?;
        let how = match &self.knowledge {
            Knowledge::Shadow(_) => "shadow encoder",
            Knowledge::Own { .. } => "other images of the audited encoder",
        };
        results.config = json!({ "attack": "encodermi", "knowledge": how, "seed": self.seed, "shuffles": self.shuffles, "settings": self.settings, "recipe": self.target.recipe, "variants": self.variants.iter().map(|v| v.to_string()).collect::<Vec<_>>() });
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

    /// Features of both sets of `side`, which results call `role`.
    fn features(
        &self,
        gpu: &Gpu,
        side: &Side,
        role: &str,
        stream: u32,
        tell: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Features> {
        let mut one = |images: &dyn Images, kind: &str, stream: u32| {
            // A seed for each (encoder, set): views are never shared between images.
            let [low, high] = threefry2x32_20([self.seed as u32, (self.seed >> 32) as u32], [0x71, stream]);
            let seed = u64::from(high) << 32 | u64::from(low);
            let views = Views { recipe: side.recipe.clone(), count: self.settings.views, seed };
            let name = format!("{role}-{kind}");
            let keep = self.keep.map(|folder| Keep { folder, name: &name, encoder: side.sha256 });
            let work = Measured { gpu, encoder: side.encoder, images, views: &views, keep };
            similarities(&work, self.settings.similarity, &mut |pace| {
                tell(&format!("{role} encoder, {} views of {kind}: {pace}", views.count))
            })
        };
        Ok(Features {
            members: one(side.members, "members", stream)?,
            non_members: one(side.non_members, "non-members", stream + 1)?,
        })
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
        taught: &Features,
        results: &Results,
    ) -> Result<Vec<HistogramFigure>> {
        let threshold = results.attacks.iter().find(|a| a.id == Variant::T.id()).and_then(|a| a.threshold);
        let mut figures = vec![("target", "The audited encoder", target, threshold)];
        figures.push(match self.knowledge {
            Knowledge::Shadow(_) => {
                ("shadow", "The shadow encoder, on its own members and non-members", taught, threshold)
            }
            Knowledge::Own { .. } => {
                ("own", "The audited encoder, on the images that rules were learned from", taught, threshold)
            }
        });
        figures.push(("untrained", "Control: an encoder that never trained", untrained, None));
        let figure = |(encoder, title, features, threshold): (&str, &str, &Features, Option<f64>)| {
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
        };
        figures.into_iter().map(figure).collect()
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
                let p = self.target.members.len();
                let (set, index) =
                    if i < p { (self.target.members, i) } else { (self.target.non_members, i - p) };
                let pixels = set.read(&[index])?;
                Ok(SampleImage {
                    id: result.ids()[i].clone(),
                    image: png_data_uri(&pixels, set.width() as u32, set.height() as u32)?,
                    caption: set.id(index).to_string(),
                    score: result.scores()[i],
                    attack: attack.clone(),
                    member: i < p,
                    decision: result.decisions()[i],
                })
            })
            .collect()
    }

    fn cost(&self) -> Vec<Cost> {
        let own = match self.knowledge {
            Knowledge::Own { members, non_members } => members.len() + non_members.len(),
            Knowledge::Shadow(_) => 0,
        };
        let images = (self.target.members.len() + self.target.non_members.len() + own) as f64;
        let cost = |what: &str, value: f64, unit: &str| Cost { what: what.into(), value, unit: unit.into() };
        vec![
            cost("Queries to the audited encoder for one decision", self.settings.views as f64, "queries"),
            cost("Queries to the audited encoder in all", images * self.settings.views as f64, "queries"),
        ]
    }
}

/// Scores of members, then of non-members.
fn result(judged: &Judged, sets: [&dyn Images; 2]) -> Result<MembershipResult> {
    let (mut scores, mut decisions) = (judged.members.scores.clone(), judged.members.decisions.clone());
    let mut members = vec![true; scores.len()];
    scores.extend(&judged.non_members.scores);
    decisions.extend(&judged.non_members.decisions);
    members.resize(scores.len(), false);
    let ids = ["member", "non-member"]
        .iter()
        .zip(sets)
        .flat_map(|(role, set)| (0..set.len()).map(move |i| format!("{role}/{i}/{}", set.id(i))))
        .collect();
    MembershipResult::new(scores, members, decisions, ids)
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
