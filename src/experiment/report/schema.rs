//! The results of a run: what `results.json` holds. Numbers are kept in full precision; only the page rounds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attack::attribute::AttributeFinding;

use super::verdict::{Verdict, judge};
use crate::metrics::accountant::DpStatement;
use crate::metrics::epsilon::EpsilonBound;
use crate::metrics::{Control, HistogramPair, MembershipMetrics, MembershipResult, Roc, RocPoint, Trials};

/// Version of the layout of [`Results`].
pub const SCHEMA: u32 = 1;

/// ROC curves in the results keep at most this many points.
const ROC_POINTS: usize = 2_000;

/// Everything that a report shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Always [`SCHEMA`] when written by this version.
    pub schema: u32,
    pub tool: String,
    pub version: String,
    /// Title of the page.
    pub title: String,
    /// Answer to the question of the run; filled by [`Results::conclude`].
    pub verdict: Verdict,
    /// Date of the run, in words or ISO 8601.
    #[serde(default)]
    pub date: Option<String>,
    /// Exact configuration after defaults.
    pub config: Value,
    /// Active compatibility switches.
    #[serde(default)]
    pub compat: Vec<String>,
    #[serde(default)]
    pub citation: Vec<Citation>,
    #[serde(default)]
    pub assumptions: Vec<Assumption>,
    #[serde(default)]
    pub seeds: BTreeMap<String, u64>,
    #[serde(default)]
    pub trial: Option<u64>,
    /// Commands that repeat the run.
    #[serde(default)]
    pub commands: Vec<String>,
    pub data: DataSummary,
    /// The audited encoder.
    pub encoder: EncoderSummary,
    /// Shadow and control encoders.
    #[serde(default)]
    pub other_encoders: Vec<EncoderSummary>,
    #[serde(default)]
    pub utility: Vec<Utility>,
    pub attacks: Vec<Attack>,
    /// Controls about the sets as a whole (majority, blind); an attack's own controls are with the attack.
    #[serde(default)]
    pub controls: Vec<Control>,
    #[serde(default)]
    pub privacy: Vec<EpsilonBound>,
    #[serde(default)]
    pub dp_training: Option<DpStatement>,
    #[serde(default)]
    pub cost: Vec<Cost>,
    pub adapter: AdapterSummary,
    pub wall_time_s: f64,
    /// Where the wall time went.
    #[serde(default)]
    pub stages: Vec<Stage>,
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Sentences that the verdict needs beside it.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Attribute inference on the same encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribute: Option<AttributeFinding>,
    #[serde(default)]
    pub histograms: Vec<HistogramFigure>,
    #[serde(default)]
    pub samples: Vec<SampleImage>,
}

impl Results {
    /// Empty results of this version of the tool.
    pub fn new(title: impl Into<String>) -> Results {
        Results {
            schema: SCHEMA,
            tool: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            title: title.into(),
            verdict: judge(&[], &[]),
            date: None,
            config: Value::Null,
            compat: Vec::new(),
            citation: Vec::new(),
            assumptions: Vec::new(),
            seeds: BTreeMap::new(),
            trial: None,
            commands: Vec::new(),
            data: DataSummary::default(),
            encoder: EncoderSummary::default(),
            other_encoders: Vec::new(),
            utility: Vec::new(),
            attacks: Vec::new(),
            controls: Vec::new(),
            privacy: Vec::new(),
            dp_training: None,
            cost: Vec::new(),
            adapter: AdapterSummary::default(),
            wall_time_s: 0.0,
            stages: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
            attribute: None,
            histograms: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Adds what follows from the numbers: the majority control, warnings, the verdict. Calling it again changes
    /// nothing.
    pub fn conclude(&mut self) {
        if let Some(first) = self.attacks.first()
            && !self.controls.iter().any(|c| c.id == "majority")
        {
            self.controls.insert(0, Control::majority(first.metrics.members, first.metrics.non_members));
        }
        for warning in self.derived_warnings() {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        self.verdict = judge(&self.attacks, &self.controls);
        self.verdict.details.extend(self.notes.iter().cloned());
    }

    fn derived_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.controls.iter().any(|c| c.id == "blind" && c.at_chance == Some(false)) {
            warnings.push("Member and non-member sets are distinguishable without the model.".to_string());
        }
        if let Some(m) = self.attacks.iter().map(|a| &a.metrics).find(|m| !m.balanced) {
            warnings.push(format!(
                "The sets are unbalanced: {} members and {} non-members. Always giving the same answer is already \
                 right for {:.1} % of the images.",
                m.members,
                m.non_members,
                100.0 * m.majority_share
            ));
        }
        for attack in &self.attacks {
            let c = attack.metrics.confusion;
            let answer = match (c.true_positives + c.false_positives, c.true_negatives + c.false_negatives) {
                (0, _) => "non-member",
                (_, 0) => "member",
                _ => continue,
            };
            warnings.push(format!(
                "{} gives the same answer ({answer}) for every image: its threshold does not fit this encoder. Its \
                 scores can still separate the sets; see AUC.",
                attack.title
            ));
        }
        if let Some(warning) = self.dp_training.as_ref().and_then(|s| s.warning.clone()) {
            warnings.push(warning);
        }
        warnings
    }
}

/// A source: of an attack, a defence, a metric or a data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Citation {
    /// What it is cited for, e.g. "EncoderMI".
    pub what: String,
    pub authors: String,
    pub title: String,
    /// Venue and year.
    pub venue: String,
    /// e.g. "arXiv 2108.11023" or "doi 10.1145/…".
    #[serde(default)]
    pub identifier: Option<String>,
}

/// A value in force that a paper does not state for certain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Assumption {
    pub what: String,
    pub value: String,
    /// "assumed" or "reported".
    pub certainty: String,
}

/// The data of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataSummary {
    pub name: String,
    /// Height and width in pixels.
    #[serde(default)]
    pub image_size: Option<[u64; 2]>,
    /// Hash of the whole data set.
    #[serde(default)]
    pub content_hash: Option<String>,
    /// Index lists: members, non-members, shadow members, ….
    #[serde(default)]
    pub parts: Vec<DataPart>,
    #[serde(default)]
    pub duplicates_removed: u64,
    #[serde(default)]
    pub near_duplicates: Option<u64>,
    #[serde(default)]
    pub files_skipped: u64,
}

/// One index list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataPart {
    pub role: String,
    pub count: u64,
    /// SHA-256 of the index list, hexadecimal.
    pub sha256: String,
}

/// An encoder: the audited one, a shadow, a control.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EncoderSummary {
    /// "target", "shadow", "untrained", ….
    pub role: String,
    pub architecture: String,
    /// Training method and preset, e.g. "SimCLR (emi-simclr)".
    #[serde(default)]
    pub training: Option<String>,
    #[serde(default)]
    pub parameters: Option<u64>,
    #[serde(default)]
    pub epochs: Option<u64>,
    #[serde(default)]
    pub final_loss: Option<f64>,
    #[serde(default)]
    pub checkpoint_hash: Option<String>,
    /// (epoch, mean training loss).
    #[serde(default)]
    pub loss_curve: Vec<[f64; 2]>,
}

/// How useful the encoder is, e.g. accuracy of a linear probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Utility {
    pub id: String,
    pub title: String,
    /// A share between 0 and 1.
    pub value: f64,
    /// Share reached by guessing.
    #[serde(default)]
    pub chance: Option<f64>,
}

/// One attack with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// e.g. "encodermi-v".
    pub id: String,
    pub title: String,
    /// What it does, in a sentence for the report.
    pub explanation: String,
    #[serde(default)]
    pub parameters: Value,
    #[serde(default)]
    pub threshold: Option<f64>,
    /// Accuracy on the shadow set that it was trained on.
    #[serde(default)]
    pub training_accuracy: Option<f64>,
    pub metrics: MembershipMetrics,
    /// Same attack, several trials: metric name and summary.
    #[serde(default)]
    pub across_trials: BTreeMap<String, Trials>,
    #[serde(default)]
    pub controls: Vec<Control>,
    /// At most 2,000 points; the low-FPR end is exact.
    pub roc: Vec<RocPoint>,
    /// Per-sample scores, if they are to be kept in the JSON too.
    #[serde(default)]
    pub scores: Option<MembershipResult>,
}

impl Attack {
    /// Computes metrics (bootstrap from `seed`) and the thinned ROC curve of a result.
    pub fn new(id: &str, title: &str, explanation: &str, result: &MembershipResult, seed: u64) -> Attack {
        Attack {
            id: id.into(),
            title: title.into(),
            explanation: explanation.into(),
            parameters: Value::Null,
            threshold: None,
            training_accuracy: None,
            metrics: MembershipMetrics::compute(result, seed),
            across_trials: BTreeMap::new(),
            controls: Vec::new(),
            roc: Roc::new(result).thinned(ROC_POINTS).points,
            scores: None,
        }
    }
}

/// One line of the cost table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub what: String,
    pub value: f64,
    pub unit: String,
}

/// The adapter that computed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AdapterSummary {
    pub name: String,
    pub backend: String,
    pub driver: String,
    /// Kernel class: software, integrated, discrete.
    pub class: String,
}

/// A stage of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    pub seconds: f64,
}

/// Histogram of a membership feature for members and non-members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistogramFigure {
    /// "target", "untrained", ….
    pub encoder: String,
    pub title: String,
    /// Label of the horizontal axis, e.g. "mean pairwise cosine of 10 views".
    pub feature: String,
    pub histogram: HistogramPair,
    /// Decision threshold to draw.
    #[serde(default)]
    pub threshold: Option<f64>,
}

/// A small picture of an audited sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SampleImage {
    pub id: String,
    /// `data:image/png;base64,…`, see [`super::png_data_uri`].
    pub image: String,
    pub caption: String,
    /// Score of the attack named in `attack`.
    pub score: f64,
    pub attack: String,
    pub member: bool,
    pub decision: bool,
}
