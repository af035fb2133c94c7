//! The page of the contrastive-leaks experiment on invented results: all families of numbers, honest findings, tidy HTML.

use contraleak::attack::attribute::{
    Attacker, AttributeFinding, AttributeSettings, Baseline, Decensoring, ShuffledLabels, ShuffledRun,
};
use contraleak::attack::probe::EpochAccuracy;
use contraleak::experiment::leaks::{
    Baselines, Classes, Defence, Family, LeaksConfig, LeaksResults, MembershipAttack, Method, SCHEMA, Scale,
    Subject, Summary, Utility, markdown, render,
};
use contraleak::experiment::report::{AdapterSummary, DataPart, DataSummary, Stage};
use contraleak::metrics::accountant::Accountant;
use contraleak::metrics::attribute::{AttributeMetrics, AttributeResult, accuracy_difference};
use contraleak::metrics::{Control, MembershipMetrics, MembershipResult, Proportion, special};
use contraleak::rng::{Key, Stream};

const EVIL: &str = "<b>light</b>";
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
    let run =
        ShuffledRun { accuracy, balanced_accuracy: Some(0.33), expected: 0.34, interval: accuracy.interval };
    AttributeFinding {
        auxiliary: auxiliary.into(),
        auxiliary_samples: TEST as u64,
        test_samples: TEST as u64,
        classes: 3,
        advantage_over: "imputation".into(),
        attackers,
        baselines: vec![chance, baseline("majority", 0.35), baseline("imputation", 0.36)],
        shuffled_labels: ShuffledLabels { runs: vec![run; 5], at_chance: Some(true) },
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

fn results() -> LeaksResults {
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

fn balanced(page: &str) {
    for tag in [
        "section",
        "table",
        "svg",
        "thead",
        "tbody",
        "tr",
        "details",
        "figure",
        "figcaption",
        "div",
        "ul",
        "li",
        "p",
        "span",
        "dl",
        "text",
        "b",
    ] {
        let open = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        let close = page.matches(&format!("</{tag}>")).count();
        assert_eq!(open, close, "<{tag}>: {open} opened, {close} closed");
    }
}

/// Text without tags, entities resolved as far as the page uses them here.
fn visible(page: &str) -> String {
    let body = &page[page.find("<body>").unwrap()..];
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            _ if !inside => text.push(c),
            _ => {}
        }
    }
    text
}

fn check_page(page: &str) {
    balanced(page);
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    assert!(!page.contains("url(") && !page.contains("@import") && !page.contains("src="));
    let text = visible(page);
    assert!(!text.contains("Some("));
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        assert!(!["NaN", "inf"].contains(&word), "the page says {word}");
    }
    for (at, _) in page.match_indices("<path") {
        let end = at + page[at..].find('>').unwrap();
        assert!(!page[at..end].contains("NaN") && !page[at..end].contains("inf"), "{}", &page[at..end]);
    }
}

#[test]
fn every_family_of_numbers_is_there() {
    let results = results();
    let page = render(&results);
    // To look at.
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/leaks-page.html"), &page).unwrap();
    check_page(&page);
    for id in [
        "findings",
        "run",
        "leaks",
        "curve",
        "overfitting",
        "defences",
        "epochs",
        "controls",
        "warnings",
        "making",
        "assumptions",
        "citations",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "section {id}");
    }
    for text in [
        // The models and their attacks.
        "Talos, λ = 10",
        "Neural network on the 2 largest posteriors",
        "Modified entropy",
        "Distance to the boundary (HopSkipJump)",
        "1534", // queries
        "TPR at 1 % FPR",
        "Overfitting gap",
        "Attribute, attacker holds target-train",
        "Attribute, attacker holds shadow-train",
        "Imputation: from the task label alone",
        "Majority: always the same answer",
        "chance: 33.3",
        "only 50 non-members",
        // Every attacker on the curve.
        "logistic regression on de-censored embeddings",
        "MLP 1024-1024-1024, Adam",
        "MLP 128-128-128, published on the projection",
        "20 nearest neighbours",
        "The de-censoring map explains",
        // Defences.
        "Olympus",
        "AttriGuard",
        "MemGuard",
        "ε = ",
        "δ = 1e-5",
        "probe stopped after 30 epochs",
        // Controls.
        "Images without a model (blind)",
        "Baseline F",
        "Expected by chance",
        "Holm",
        // How it was made.
        "contraleak run experiment.toml --out DIR",
        "llvmpipe",
        "sweep_seeds",
        "Are Attribute Inference Attacks Just Imputation?",
        "One class receives more than 99 % of the predictions.",
    ] {
        assert!(page.contains(text), "the page does not say: {text}");
    }
    assert!(page.contains("&lt;b&gt;light&lt;/b&gt;") && !page.contains(EVIL), "names are escaped");

    // The numbers of the main table are those of the summary.
    let summary = Summary::of(&results);
    for row in summary.rows.iter().take(3) {
        for attack in &row.membership {
            let mean = format!("{:.1}\u{202f}%", 100.0 * attack.accuracy.mean);
            assert!(page.contains(&mean), "{} {}: {mean}", row.method, attack.title);
        }
        assert!(page.contains(&format!("{:.1}\u{202f}%", 100.0 * row.task_accuracy.mean)));
    }
    // Three charts over lambda with a tick for each, the scatter, the epochs.
    assert_eq!(page.matches("role=\"img\"").count(), 5);
    // Every model is in the scatter, with a title.
    assert_eq!(page.matches(": gap ").count(), results.subjects.len());
}

#[test]
fn findings_are_told_as_they_are() {
    let mut results = results();
    let page = render(&results);
    assert!(page.contains("Contrastive models leak less about who was trained on"));
    assert!(page.contains("Contrastive models leak more about the sensitive attribute"));
    assert!(page.contains("Talos hides the attribute"));
    assert!(!page.contains("the sign differs from the paper"));

    // Contrastive and supervised models change places: the page says that it is the opposite.
    for subject in &mut results.subjects {
        subject.method = match subject.method {
            Method::Contrastive => Method::Supervised,
            Method::Supervised => Method::Contrastive,
            talos => talos,
        };
    }
    let page = render(&results);
    check_page(&page);
    assert!(page.contains("Contrastive models leak more about who was trained on"));
    assert!(page.contains("This is the opposite of what the paper found"));
    assert!(page.contains("the sign differs from the paper"));
    assert!(page.contains("not seen"));

    // One trial leaves everything open.
    results.subjects.retain(|s| s.seed == 0);
    results.config.seeds = vec![0];
    let summary = Summary::of(&results);
    assert!(!summary.comparisons.is_empty() && summary.comparisons.iter().all(|c| c.agrees.is_none()));
    let page = render(&results);
    check_page(&page);
    assert!(page.contains("stays open") && page.contains("one trial"));
}

#[test]
fn controls_are_counted() {
    let results = results();
    let page = render(&results);
    let section = &page[page.find("<section id=\"controls\">").unwrap()..];
    let section = &section[..section.find("</section>").unwrap()];
    // 3 blind, 14 shuffled, 28 shuffled attribute labels, 6 baselines; F is none.
    let subjects = results.subjects.len();
    let tests = 3 + subjects + 2 * subjects + 6;
    assert!(section.contains(&format!("{tests} controls were run")), "{tests} controls");
    assert!(section.contains("NOT at chance"), "the blind control of trial 2");
    assert!(section.contains("more than chance explains"));
    assert!(section.contains("is no control and is not counted"));
}

#[test]
fn without_attribute_defences_or_anything() {
    let mut results = results();
    results.attribute = Classes::default();
    results.defences.clear();
    results.baselines.clear();
    for subject in &mut results.subjects {
        subject.attribute.clear();
    }
    results.subjects.retain(|s| !matches!(s.method, Method::Talos { .. }));
    let page = render(&results);
    check_page(&page);
    for id in ["curve", "defences"] {
        assert!(!page.contains(&format!("<section id=\"{id}\">")), "section {id}");
    }
    assert!(page.contains("no sensitive attribute"));

    results.subjects.clear();
    results.blind.clear();
    check_page(&render(&results));
}

#[test]
fn markdown_has_the_main_table() {
    let summary = Summary::of(&results());
    let text = markdown(&summary);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows[0].contains("Contrastive | Supervised | Talos, λ = 10"));
    for row in &rows {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
    }
    assert_eq!(
        text.matches("**seen**").count() + text.matches("**open**").count(),
        summary.comparisons.len()
    );
    assert!(text.contains("HopSkipJump") && text.contains("Means of 3 trials"));
}
