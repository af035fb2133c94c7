//! Invented results of the contrastive-leaks experiment: three trials, a curve, defences, baselines.

use contraleak::attack::attribute::{
    Attacker, AttributeFinding, AttributeSettings, Baseline, Decensoring, ShuffledLabels, ShuffledRun,
};
use contraleak::attack::probe::EpochAccuracy;
use contraleak::experiment::leaks::{
    Baselines, Classes, Defence, LeaksConfig, LeaksResults, MembershipAttack, Method, SCHEMA, Scale, Subject,
    Utility,
};
use contraleak::experiment::membership::Family;
use contraleak::experiment::report::{AdapterSummary, DataPart, DataSummary, Stage};
use contraleak::metrics::accountant::Accountant;
use contraleak::metrics::attribute::{AttributeMetrics, AttributeResult, accuracy_difference};
use contraleak::metrics::{Control, MembershipMetrics, MembershipResult, Proportion, special};
use contraleak::rng::{Key, Stream};

pub const EVIL: &str = "<b>light</b>";
const TEST: usize = 250;

fn uniform(seed: u64, i: usize) -> f64 {
    let key = Key::from_seed(seed).stream(Stream::Shuffle, 9);
    (f64::from(key.draw(i as u32, 0, 0)[0]) + 0.5) / 4_294_967_296.0
}

/// Numbers that are near `value`, but different in every trial.
fn near(value: f64, seed: u64) -> f64 {
    value + 0.03 * (uniform(seed, 77) - 0.5)
}

/// `each` members and as many non-members, with normal scores `shift` apart.
fn invented(each: usize, shift: f64, seed: u64) -> MembershipMetrics {
    let score = |i: usize| {
        special::normal_quantile(uniform(seed, i)) + if i < each { 0.5 * shift } else { -0.5 * shift }
    };
    let scores = (0..2 * each).map(score).collect();
    let members = (0..2 * each).map(|i| i < each).collect();
    let ids = (0..2 * each).map(|i| i.to_string()).collect();
    let result = MembershipResult::with_threshold(scores, members, 0.0, ids).unwrap();
    MembershipMetrics::compute_with(&result, 100, seed)
}

fn attack(id: &str, title: &str, family: Family, shift: f64, seed: u64) -> MembershipAttack {
    let each = if id == "hop-skip-jump" { 50 } else { TEST };
    MembershipAttack {
        id: id.into(),
        title: title.into(),
        family,
        metrics: invented(each, shift, seed),
        threshold: (family != Family::Neural).then_some(0.125),
        queries: (id == "hop-skip-jump").then_some(1534.5),
        warnings: Vec::new(),
    }
}

const ON_POSTERIORS: [(&str, &str, Family); 5] = [
    ("neural", "Neural network on the 2 largest posteriors", Family::Neural),
    ("metric-correctness", "Prediction correctness", Family::Metric),
    ("metric-confidence", "Prediction confidence", Family::Metric),
    ("metric-entropy", "Prediction entropy", Family::Metric),
    ("metric-modified-entropy", "Modified entropy", Family::Metric),
];
const LABEL_ONLY: [(&str, &str, Family); 2] = [
    ("hop-skip-jump", "Distance to the boundary (HopSkipJump)", Family::LabelOnly),
    ("translations", "Labels of translated images", Family::LabelOnly),
];

fn attacks(shift: f64, seed: u64, label_only: bool) -> Vec<MembershipAttack> {
    let rest = if label_only { &LABEL_ONLY[..] } else { &[] };
    ON_POSTERIORS
        .iter()
        .chain(rest)
        .enumerate()
        .map(|(k, (id, title, family))| attack(id, title, *family, shift, 100 * seed + k as u64))
        .collect()
}

fn share(value: f64, seed: u64) -> Proportion {
    let right = ((near(value, seed) * TEST as f64).round() as u64).min(TEST as u64);
    Proportion::new(right, TEST as u64).unwrap()
}

/// An attacker who is right about so many of the test images.
fn answers(accuracy: f64, seed: u64) -> AttributeResult {
    let labels: Vec<u32> = (0..TEST).map(|i| (uniform(1, i) * 3.0) as u32).collect();
    let scores: Vec<f64> = (0..TEST)
        .flat_map(|i| {
            let says = if uniform(seed, i) < accuracy { labels[i] } else { (labels[i] + 1) % 3 };
            (0..3).map(move |c| if c == says { 0.6 } else { 0.2 })
        })
        .collect();
    AttributeResult::from_scores(&labels, &scores, 3).unwrap()
}

fn finding(auxiliary: &str, method: Method, accuracy: f64, seed: u64) -> AttributeFinding {
    let reference = answers(0.36, 5);
    let attacker = |id: &str, title: &str, more: f64| {
        let result = answers(accuracy + more, seed * 31 + id.len() as u64);
        Attacker {
            id: id.into(),
            title: title.into(),
            adaptive: id != "mlp-128",
            training_accuracy: 0.9,
            metrics: AttributeMetrics::compute(&result, 50, seed),
            by_task: Vec::new(),
            advantage: accuracy_difference(&result, &reference, 50, seed).unwrap(),
            result: None,
        }
    };
    let mut attackers = vec![
        attacker("mlp-128", "MLP 128-128-128, published", 0.0),
        attacker("logistic", "logistic regression", 0.04),
        attacker("knn-20", "20 nearest neighbours", -0.02),
        attacker("adam-mlp-64", "MLP 64-64-64, Adam", 0.01),
        attacker("adam-mlp-256", "MLP 256-256-256, Adam", 0.03),
        attacker("adam-mlp-1024", "MLP 1024-1024-1024, Adam", 0.02),
        attacker("views-mlp-128", "MLP 128-128-128, published on the mean of views", 0.0),
        attacker("views-logistic", "logistic regression on the mean of views", 0.05),
    ];
    if method != Method::Supervised {
        attackers.push(attacker("projection-mlp-128", "MLP 128-128-128, published on the projection", -0.05));
        attackers.push(attacker("projection-logistic", "logistic regression on the projection", -0.03));
    }
    let talos = matches!(method, Method::Talos { .. });
    if talos {
        attackers.push(attacker(
            "decensored-mlp-128",
            "MLP 128-128-128, published on de-censored embeddings",
            0.02,
        ));
        attackers.push(attacker(
            "decensored-logistic",
            "logistic regression on de-censored embeddings",
            0.06,
        ));
    }
    let baseline = |id: &str, accuracy: f64| {
        let metrics = AttributeMetrics::compute(&answers(accuracy, 5), 50, seed);
        Baseline {
            id: id.into(),
            title: id.into(),
            explanation: String::new(),
            accuracy: metrics.accuracy.into(),
            metrics: Some(metrics),
        }
    };
    let mut chance = baseline("chance", 0.33);
    (chance.metrics, chance.accuracy) =
        (None, contraleak::metrics::Measured { value: 1.0 / 3.0, interval: None });
    let accuracy = share(0.34, seed);
    let run = ShuffledRun { accuracy, balanced_accuracy: Some(0.33), expected: 0.34 };
    AttributeFinding {
        auxiliary: auxiliary.into(),
        auxiliary_samples: TEST as u64,
        test_samples: TEST as u64,
        classes: 3,
        advantage_over: "imputation".into(),
        attackers,
        baselines: vec![chance, baseline("majority", 0.35), baseline("imputation", 0.36)],
        shuffled_labels: ShuffledLabels { runs: vec![run; 5], excess: None, at_chance: Some(true) },
        decensoring: talos.then_some(Decensoring { l2: 1.0, explained: 0.81 }),
        warnings: if seed == 1 && talos {
            vec!["One class receives more than 99 % of the predictions.".into()]
        } else {
            Vec::new()
        },
        settings: AttributeSettings::default(),
        seed,
    }
}

fn shuffled(seed: u64) -> Control {
    let runs: Vec<MembershipMetrics> =
        (0..5).map(|run| invented(TEST, 0.0, 1_000 + 10 * seed + run)).collect();
    Control::repeated("shuffled-labels", "Shuffled labels", "", &runs).unwrap()
}

/// (membership shift, task accuracy, gap, attribute accuracy) of a method.
fn character(method: Method) -> (f64, f64, f64, f64) {
    match method {
        Method::Contrastive => (0.1, 0.74, 0.05, 0.71),
        Method::Supervised => (1.2, 0.78, 0.21, 0.48),
        Method::Talos { lambda } => {
            (0.1, 0.74 - 0.001 * f64::from(lambda), 0.05, 0.4 + 0.31 / (1.0 + 0.4 * f64::from(lambda)))
        }
    }
}

fn subject(method: Method, seed: u64) -> Subject {
    let (shift, task, gap, attribute) = character(method);
    let name = method.to_string();
    let id = seed + name.bytes().map(u64::from).sum::<u64>();
    let (train, test) = (share(task + gap, id), share(task, id + 1));
    let by_epoch = (1..=10)
        .map(|k| EpochAccuracy {
            epoch: 10 * k,
            train: near(task + gap - 0.3 / k as f64, id),
            test: near(task - 0.25 / k as f64, id),
        })
        .collect();
    Subject {
        seed,
        method,
        encoders: [format!("{id:064x}"), format!("{:064x}", id + 1)],
        utility: Utility {
            target_train: train,
            target_test: test,
            shadow_train: train,
            shadow_test: test,
            overfitting_gap: train.value - test.value,
            logistic: share(task, id + 2),
            neighbours: share(task - 0.02, id + 3),
            by_epoch: if method == Method::Supervised { Vec::new() } else { by_epoch },
        },
        membership: attacks(shift, id, true),
        shuffled: Some(shuffled(id)),
        attribute: vec![
            finding("target-train", method, attribute + 0.02, seed),
            finding("shadow-train", method, attribute, seed),
        ],
        seconds: 61.0,
    }
}

fn defences(method: Method) -> Vec<Defence> {
    let (shift, task, _, attribute) = character(method);
    let defence = |id: &str, title: &str, setting: &str| Defence {
        seed: 0,
        method,
        id: id.into(),
        title: title.into(),
        setting: setting.into(),
        task_accuracy: share(task - 0.02, 3),
        membership: Vec::new(),
        attribute: Vec::new(),
        dp: None,
        notes: Vec::new(),
    };
    let hidden =
        || vec![("mlp-128".into(), share(attribute - 0.1, 4)), ("logistic".into(), share(attribute, 4))];
    let mut found = Vec::new();
    for alpha in ["alpha 1", "alpha 10"] {
        found.push(Defence { attribute: hidden(), ..defence("olympus", "Olympus", alpha) });
    }
    found.push(Defence {
        attribute: hidden(),
        notes: vec!["embeddings move by 0.512 on average (L2)".into()],
        ..defence("attriguard", "AttriGuard", "embedding form, alpha 1")
    });
    for budget in ["budget 0.3", "budget 1"] {
        found.push(Defence {
            membership: attacks(0.5 * shift, 50, false),
            ..defence("memguard", "MemGuard", budget)
        });
    }
    let statement = Accountant::new(0.1, 1.1, 500).unwrap().statement(1e-5, true).unwrap();
    found.push(Defence {
        membership: attacks(0.1, 60, false),
        dp: Some(statement),
        ..defence("dp-sgd", "DP-SGD on the probe", "epsilon 8")
    });
    found.push(Defence {
        membership: attacks(0.1, 61, false),
        ..defence("early-stopping", "Early stopping", "probe stopped after 30 epochs")
    });
    found
}

pub fn results() -> LeaksResults {
    let mut config = LeaksConfig::new("synthetic-faces:count=1250,size=32", None, Scale::Small);
    config.part = Some(TEST);
    let mut subjects = Vec::new();
    for &seed in &config.seeds {
        for method in [Method::Contrastive, Method::Supervised, Method::Talos { lambda: 10.0 }] {
            subjects.push(subject(method, seed));
        }
        if seed == 0 {
            for lambda in [0.0, 1.0, 2.0, 5.0, 20.0] {
                subjects.push(subject(Method::Talos { lambda }, seed));
            }
        }
    }
    let baselines = [
        ("baseline-a", "Confidence vector"),
        ("baseline-b-sorted", "Encoder as a classifier, sorted"),
        ("baseline-c-network", "Label only, network"),
        ("baseline-d-entropy", "Entropy of the head"),
        ("baseline-e-mean", "Mean of views"),
        ("baseline-f-a", "Confidence vector, head on the members"),
        ("baseline-g", "Blind differential comparison"),
    ];
    let classes = |names: &[&str], counts: &[u64]| Classes {
        names: names.iter().map(|n| n.to_string()).collect(),
        counts: counts.to_vec(),
    };
    LeaksResults {
        schema: SCHEMA,
        experiment: "contrastive-leaks".into(),
        tool: "contraleak".into(),
        version: "0.1.0".into(),
        title: "What contrastive models leak: synthetic faces".into(),
        data: DataSummary {
            name: "synthetic faces".into(),
            image_size: Some([32, 32]),
            parts: ["target-train", "target-test", "shadow-train", "shadow-test"]
                .map(|role| DataPart { role: role.into(), count: TEST as u64, sha256: "ab".repeat(32) })
                .to_vec(),
            near_duplicates: Some(2),
            ..DataSummary::default()
        },
        task: classes(&["neutral", "smile"], &[480, 520]),
        attribute: classes(&[EVIL, "medium", "dark"], &[340, 330, 330]),
        subjects,
        defences: [Method::Contrastive, Method::Supervised].into_iter().flat_map(defences).collect(),
        baselines: vec![Baselines {
            seed: 0,
            head_images: 250,
            attacks: baselines
                .iter()
                .enumerate()
                .map(|(k, (id, title))| {
                    let shift = if id.starts_with("baseline-f") { 0.8 } else { 0.0 };
                    attack(id, title, Family::Neural, shift, 300 + k as u64)
                })
                .collect(),
        }],
        blind: config.seeds.iter().map(|&seed| (seed, blind(seed))).collect(),
        adapter: AdapterSummary {
            name: "llvmpipe".into(),
            backend: "vulkan".into(),
            driver: "llvmpipe Mesa 22.3".into(),
            class: "software".into(),
        },
        wall_time_s: 5_400.0,
        stages: vec![Stage { name: "trial 0".into(), seconds: 2_700.0 }],
        warnings: vec!["Trial 2: members and non-members are distinguishable without the model.".into()],
        config,
    }
}

fn blind(seed: u64) -> Control {
    Control::single("blind", "Blind", "", &invented(TEST, if seed == 2 { 0.9 } else { 0.0 }, 700 + seed))
}
