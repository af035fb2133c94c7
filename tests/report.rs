//! The report on invented results: structure, escaping, completeness, verdicts, refusal of bad input.

use contraleak::experiment::report::{
    self, AdapterSummary, Assumption, Attack, Citation, Cost, DataPart, DataSummary, EncoderSummary,
    HistogramFigure, Results, SampleImage, Stage, Utility, VerdictKind, decimal, interval_cell, judge,
    percent,
};
use contraleak::metrics::epsilon::{
    EpsilonSetting, Thresholds, clopper_pearson_epsilon, katz_epsilon, one_run_epsilon,
};
use contraleak::metrics::{Control, HistogramPair, MembershipMetrics, MembershipResult, special};
use contraleak::rng::{Key, Stream};
use serde_json::json;

const EVIL: &str = "<script>alert('x')</script>\"&";

/// `each` members and non-members whose scores are normal with unit variance, `shift` apart around `level`.
fn invented(each: usize, shift: f64, level: f64, scale: f64, seed: u64) -> MembershipResult {
    let key = Key::from_seed(seed).stream(Stream::Shuffle, 3);
    let normal = |i: usize| {
        let uniform = (f64::from(key.draw(i as u32, 0, 0)[0]) + 0.5) / 4_294_967_296.0;
        special::normal_quantile(uniform)
    };
    let scores = (0..2 * each)
        .map(|i| level + scale * (normal(i) + if i < each { 0.5 * shift } else { -0.5 * shift }))
        .collect();
    let members = (0..2 * each).map(|i| i < each).collect();
    let ids = (0..2 * each).map(|i| format!("image-{i:05}")).collect();
    MembershipResult::with_threshold(scores, members, level, ids).unwrap()
}

fn controls(seed: u64, untrained_shift: f64) -> Vec<Control> {
    let untrained = MembershipMetrics::compute(&invented(500, untrained_shift, 0.97, 0.01, seed), seed);
    let shuffled: Vec<MembershipMetrics> = (0..5)
        .map(|i| MembershipMetrics::compute_with(&invented(500, 0.0, 0.8, 0.05, 100 * seed + i), 200, i))
        .collect();
    let explain = "The same attack against an encoder of the same architecture with random weights.";
    let shuffle = "The same attack, trained on shadow images whose membership labels were shuffled.";
    vec![
        Control::single("untrained-encoder", "Untrained encoder", explain, &untrained),
        Control::repeated("shuffled-labels", "Shuffled labels", shuffle, &shuffled).unwrap(),
    ]
}

fn picture(seed: u32) -> String {
    let mut rgb = Vec::new();
    for y in 0..16u32 {
        for x in 0..16u32 {
            let inside = (x as i32 - 8).pow(2) + (y as i32 - 8).pow(2) < 40;
            let shade = ((x * 9 + y * 5 + seed * 37) % 200) as u8;
            rgb.extend(if inside { [230, 200 - shade / 2, shade] } else { [shade / 3, 60, 90] });
        }
    }
    report::png_data_uri(&rgb, 16, 16).unwrap()
}

fn example() -> (Results, Vec<(&'static str, MembershipResult)>) {
    let shifts = [
        ("encodermi-v", "EncoderMI-V", 1.1),
        ("encodermi-s", "EncoderMI-S", 0.9),
        ("encodermi-t", "EncoderMI-T", 1.0),
    ];
    let mut results = Results::new("Audit of a SimCLR encoder trained on Fashion-MNIST");
    let mut scores = Vec::new();
    for (k, (id, title, shift)) in shifts.into_iter().enumerate() {
        let result = invented(500, shift, 0.8, 0.05, 11 + k as u64);
        let explanation = "Compares altered versions of an image in the encoder's eyes and decides from how alike they are.";
        let mut attack = Attack::new(id, title, explanation, &result, 5);
        attack.threshold = Some(0.8);
        attack.training_accuracy = Some(0.731 + 0.01 * k as f64);
        attack.parameters = json!({ "views": 10, "similarity": "cosine" });
        attack.controls = controls(20 + k as u64, 0.0);
        results.attacks.push(attack);
        let setting = EpsilonSetting::default();
        if k == 2 {
            results.privacy = vec![
                clopper_pearson_epsilon(&result, &setting, Thresholds::Own).unwrap(),
                clopper_pearson_epsilon(
                    &result,
                    &setting,
                    Thresholds::MedianOfSplits { splits: 100, seed: 1 },
                )
                .unwrap(),
                katz_epsilon(&result, &setting).unwrap(),
                one_run_epsilon(&result, &setting, &[0.05, 0.25], 1).unwrap(),
            ];
        }
        scores.push((id, result));
    }
    let histogram = |encoder: &str, title: &str, result: &MembershipResult, threshold| {
        let (members, non_members) = result.split_scores();
        HistogramFigure {
            encoder: encoder.into(),
            title: title.into(),
            feature: "mean cosine similarity of 10 altered versions".into(),
            histogram: HistogramPair::new(&members, &non_members, 40).unwrap(),
            threshold,
        }
    };
    results.histograms = vec![
        histogram("target", "Audited encoder", &scores[2].1, Some(0.8)),
        histogram("untrained", "Untrained control", &invented(500, 0.0, 0.97, 0.01, 22), None),
    ];
    let curve =
        |offset: f64| (0..60).map(|e| [f64::from(e), 5.0 * (-0.06 * f64::from(e)).exp() + offset]).collect();
    results.encoder = EncoderSummary {
        role: "target".into(),
        architecture: "ResNet-18, width 16".into(),
        training: Some("SimCLR".into()),
        parameters: Some(701_456),
        epochs: Some(60),
        final_loss: Some(1.2345),
        checkpoint_hash: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into()),
        loss_curve: curve(1.1),
    };
    results.other_encoders =
        vec![EncoderSummary { role: "shadow".into(), loss_curve: curve(1.25), ..results.encoder.clone() }];
    results.data = DataSummary {
        name: "Fashion-MNIST".into(),
        image_size: Some([28, 28]),
        content_hash: Some("b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9".into()),
        parts: ["members", "non-members", "shadow members", "shadow non-members"]
            .map(|role| DataPart {
                role: role.into(),
                count: 500,
                sha256: "a591a6d40bf420404a011733cfb7b190".into(),
            })
            .to_vec(),
        duplicates_removed: 3,
        near_duplicates: Some(7),
        files_skipped: 0,
    };
    results.samples = (0..8)
        .map(|i| SampleImage {
            id: format!("image-{i:05}"),
            image: picture(i),
            caption: format!("image-{i:05}, ankle boot"),
            score: 0.9 - 0.03 * f64::from(i),
            attack: "encodermi-t".into(),
            member: i < 4,
            decision: i < 3,
        })
        .collect();
    results.utility = vec![Utility {
        id: "linear-probe".into(),
        title: "Linear probe".into(),
        value: 0.7712,
        chance: Some(0.1),
    }];
    results.config = json!({ "seed": 1, "pretrain": { "method": "simclr", "batch": 128 } });
    results.seeds = [("split".to_string(), 1), ("init".to_string(), 2)].into();
    results.commands = vec!["contraleak demo --seed 1 --out runs/demo".into()];
    results.assumptions = vec![Assumption {
        what: "EncoderMI-V initialisation".into(),
        value: "Glorot uniform".into(),
        certainty: "assumed".into(),
    }];
    results.adapter = AdapterSummary {
        name: "llvmpipe (LLVM 15.0.6, 256 bits)".into(),
        backend: "Vulkan".into(),
        driver: "Mesa 22.3.6".into(),
        class: "software".into(),
    };
    results.wall_time_s = 187.4;
    results.stages = vec![
        Stage { name: "pre-training".into(), seconds: 140.0 },
        Stage { name: "attacks".into(), seconds: 40.5 },
    ];
    results.cost = vec![Cost { what: "Queries per decision".into(), value: 10.0, unit: "views".into() }];
    results.warnings = vec!["The encoder is much smaller than those of the paper.".into()];
    results.citation = vec![Citation {
        what: "EncoderMI".into(),
        authors: "H. Liu, J. Jia, W. Qu, N. Z. Gong".into(),
        title: "EncoderMI: Membership Inference against Pre-trained Encoders in Contrastive Learning".into(),
        venue: "ACM CCS 2021".into(),
        identifier: Some("arXiv 2108.11023".into()),
    }];
    (results, scores)
}

fn borrowed<'a>(scores: &'a [(&'static str, MembershipResult)]) -> Vec<(&'static str, &'a MembershipResult)> {
    scores.iter().map(|(id, result)| (*id, result)).collect()
}

/// Every tag that is opened is closed in order; void elements and self-closing SVG shapes aside.
fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = &page[page.find("</style>").unwrap() + 8..];
    let mut rest = body;
    open.push("head");
    open.insert(0, "html");
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("unclosed tag");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split(|c: char| c.is_whitespace() || c == '/').next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closing </{name}> near {}", &rest[..rest.len().min(80)]);
        } else if !tag.ends_with('/') && !["br", "img", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn the_example_is_written_whole_and_complete() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("report-example");
    let (mut results, scores) = example();
    report::write(&folder, &mut results, &borrowed(&scores)).unwrap();
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert_well_formed(&page);
    assert_eq!(results.verdict.kind, VerdictKind::Leaks);

    // Order of the contents.
    let ids = [
        "<h1>",
        "id=\"tested\"",
        "id=\"attacks\"",
        "id=\"roc\"",
        "id=\"similarity\"",
        "id=\"training\"",
        "id=\"samples\"",
        "id=\"privacy\"",
        "id=\"making\"",
        "id=\"assumptions\"",
        "id=\"warnings\"",
        "id=\"citations\"",
    ];
    let places: Vec<usize> =
        ids.iter().map(|id| page.find(id).unwrap_or_else(|| panic!("{id} is missing"))).collect();
    assert!(places.is_sorted(), "{places:?}");

    // Every number of the table, with its interval.
    let read = report::read(&folder).unwrap();
    for attack in &read.attacks {
        let m = &attack.metrics;
        let precision = m.precision.unwrap();
        let tpr = m.tpr_at(1e-2).unwrap().rate;
        for (value, interval) in [
            (m.accuracy.value, m.accuracy.interval),
            (precision.value, precision.interval),
            (m.recall.value, m.recall.interval),
            (tpr.value, tpr.interval),
        ] {
            let expected = format!(
                "{}<span class=\"interval\">{}</span>",
                percent(value),
                interval_cell(&interval, percent)
            );
            assert!(page.contains(&expected), "{}: {expected}", attack.title);
        }
        let expected = format!(
            "{}<span class=\"interval\">{}</span>",
            decimal(m.auc.value),
            interval_cell(&m.auc.interval, decimal)
        );
        assert!(page.contains(&expected), "{expected}");
        for control in &attack.controls {
            assert!(
                page.contains(&percent(control.accuracy.value))
                    && page.contains(&decimal(control.auc.unwrap().value))
            );
        }
    }
    for text in [
        "Mesa 22.3.6",
        "b94d27b9934d3e08",
        "contraleak demo --seed 1",
        "3 min 7 s",
        "arXiv 2108.11023",
        "Glorot uniform",
        "701\u{202f}456",
        "77.1",
        "<b>Warning.</b>",
    ] {
        assert!(page.replace('\u{a0}', " ").contains(text), "{text} is missing");
    }
    assert!(page.contains(&results.verdict.key.as_ref().map(|k| percent(k.value)).unwrap()));

    // Nothing is loaded from elsewhere and nothing runs.
    for forbidden in ["http://", "https://", "<script", "<link", "@import", "url(", "<iframe"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("<img").count(), 8);
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 8);

    // The page from the JSON is the same page; the CSV has a row per image.
    std::fs::remove_file(folder.join("report.html")).unwrap();
    report::rerender(&folder).unwrap();
    assert_eq!(std::fs::read_to_string(folder.join("report.html")).unwrap(), page);
    let table = std::fs::read_to_string(folder.join("scores.csv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(
        lines.next().unwrap(),
        "id,membership,encodermi-v_score,encodermi-v_decision,encodermi-s_score,encodermi-s_decision,encodermi-t_score,encodermi-t_decision"
    );
    let first: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!((first[0], first[1], first.len()), ("image-00000", "1", 8));
    assert_eq!(first[2].parse::<f64>().unwrap(), scores[0].1.scores()[0]);
    assert_eq!(lines.count(), 999);
    let left: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn hostile_names_stay_text() {
    let (mut results, _) = example();
    results.title = EVIL.into();
    results.date = Some(EVIL.into());
    results.config = json!({ EVIL: EVIL });
    results.compat = vec![EVIL.into()];
    results.commands = vec![EVIL.into()];
    results.seeds.insert(EVIL.into(), 1);
    results.warnings = vec![EVIL.into()];
    results.stages[0].name = EVIL.into();
    results.citation[0].title = EVIL.into();
    results.assumptions[0].what = EVIL.into();
    results.adapter.name = EVIL.into();
    results.data.name = EVIL.into();
    results.data.parts[0].role = EVIL.into();
    results.data.parts[0].sha256 = EVIL.into();
    results.data.content_hash = Some(EVIL.into());
    results.encoder.role = EVIL.into();
    results.encoder.architecture = EVIL.into();
    results.encoder.training = Some(EVIL.into());
    results.encoder.checkpoint_hash = Some(EVIL.into());
    results.utility[0].title = EVIL.into();
    results.cost[0].what = EVIL.into();
    results.cost[0].unit = EVIL.into();
    results.privacy[0].estimator = EVIL.into();
    results.privacy[0].unit = EVIL.into();
    results.histograms[0].title = EVIL.into();
    results.histograms[0].feature = EVIL.into();
    results.samples[0].caption = EVIL.into();
    results.samples[1].image = "x\" onerror=\"alert(1)".into();
    results.samples[2].image = "http:".to_string() + "//example.org/spy.png";
    results.samples[3].attack = EVIL.into();
    for attack in &mut results.attacks {
        attack.title = EVIL.into();
        attack.explanation = EVIL.into();
        attack.parameters = json!({ EVIL: EVIL });
        attack.controls[0].title = EVIL.into();
        attack.controls[0].explanation = EVIL.into();
    }
    results.conclude();
    let page = report::render_html(&results);
    assert_well_formed(&page);
    assert!(!page.contains("<script") && !page.contains("onerror") && !page.contains("example.org"));
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;"));
}

fn attack(shift: f64, seed: u64, untrained_shift: Option<f64>) -> Attack {
    let mut attack = Attack::new("a", "Attack", "", &invented(400, shift, 0.0, 1.0, seed), seed);
    attack.controls = untrained_shift.map_or(Vec::new(), |shift| controls(seed, shift));
    attack
}

#[test]
fn verdicts() {
    let leak = judge(&[attack(1.0, 1, Some(0.0))], &[]);
    assert_eq!(leak.kind, VerdictKind::Leaks);
    assert!(leak.sentence.starts_with("Yes:"), "{}", leak.sentence);
    assert!(leak.key.unwrap().interval.lower > 0.5);
    assert!(leak.tests.iter().all(|t| t.p_holm >= t.p));

    let none = judge(&[attack(0.0, 2, Some(0.0)), attack(0.0, 3, Some(0.0))], &[]);
    assert_eq!(none.kind, VerdictKind::NoEvidence, "{none:?}");
    assert!(none.sentence.starts_with("No evidence"));
    assert!(none.details.iter().any(|d| d.contains("80 % probability")), "{:?}", none.details);

    let failed = judge(&[attack(1.0, 1, Some(1.0))], &[]);
    assert_eq!(failed.kind, VerdictKind::Inconclusive);
    assert!(failed.sentence.contains("Untrained encoder"), "{}", failed.sentence);

    let alone = judge(&[attack(1.0, 1, None)], &[]);
    assert_eq!(alone.kind, VerdictKind::Inconclusive);
    assert!(alone.sentence.contains("no control was run"));

    let reversed = judge(&[attack(-1.0, 1, Some(0.0))], &[]);
    assert_eq!(reversed.kind, VerdictKind::Inconclusive, "{}", reversed.sentence);

    assert_eq!(judge(&[], &[]).kind, VerdictKind::Inconclusive);

    // A threshold that fits badly hides the leak from accuracy, not from AUC.
    let good = invented(400, 1.0, 0.0, 1.0, 1);
    let shifted = MembershipResult::with_threshold(
        good.scores().to_vec(),
        good.members().to_vec(),
        100.0,
        good.ids().to_vec(),
    )
    .unwrap();
    let mut blind_threshold = Attack::new("a", "Attack", "", &shifted, 1);
    blind_threshold.controls = controls(1, 0.0);
    let ranked = judge(std::slice::from_ref(&blind_threshold), &[]);
    assert_eq!((ranked.kind, ranked.key.unwrap().measure.as_str()), (VerdictKind::Leaks, "AUC"));
    let mut results = Results::new("threshold");
    results.attacks = vec![blind_threshold];
    results.conclude();
    assert!(
        results.warnings.iter().any(|w| w.contains("same answer (non-member)")),
        "{:?}",
        results.warnings
    );
    let warnings = results.warnings.clone();
    results.conclude();
    assert_eq!((results.warnings.clone(), results.controls.len()), (warnings, 1));
    assert_well_formed(&report::render_html(&results));
}

#[test]
fn the_blind_control_raises_its_banner() {
    let (mut results, _) = example();
    let seen = MembershipMetrics::compute(&invented(500, 1.0, 0.0, 1.0, 77), 7);
    results.controls.push(Control::single("blind", "Images only, no encoder", "", &seen));
    results.conclude();
    assert_eq!(results.verdict.kind, VerdictKind::Inconclusive);
    let page = report::render_html(&results);
    assert!(page.contains("Member and non-member sets are distinguishable without the model"));
    assert!(page.contains("NOT at chance"));
}

#[test]
fn bad_results_leave_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("run");
    let (mut results, scores) = example();
    let other = invented(400, 1.0, 0.0, 1.0, 3);
    let mixed = [("a", &scores[0].1), ("b", &other)];
    let error = report::write(&target, &mut results, &mixed).unwrap_err().to_string();
    assert!(error.contains("'a' and 'b'"), "{error}");
    results.wall_time_s = f64::NAN;
    let error = report::write(&target, &mut results, &borrowed(&scores)).unwrap_err().to_string();
    assert!(error.contains("finite"), "{error}");
    assert!(!target.exists());

    let error = report::rerender(folder.path()).unwrap_err().to_string();
    assert!(error.contains("results.json"), "{error}");
    for (text, expected) in [
        ("{", "not valid JSON"),
        ("{}", "no schema number"),
        (r#"{"schema":9}"#, "schema 9"),
        (r#"{"schema":1}"#, "not a results file"),
    ] {
        std::fs::write(folder.path().join("results.json"), text).unwrap();
        let error = report::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("results.json"), "{error}");
    }
}

#[test]
fn pictures_and_extremes() {
    // A one-pixel PNG decodes to the same pixel.
    let uri = report::png_data_uri(&[10, 200, 30], 1, 1).unwrap();
    let body = uri.strip_prefix("data:image/png;base64,").unwrap();
    let value = |c: u8| {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|&a| a == c)
    };
    let sextets: Vec<usize> = body.bytes().filter_map(value).collect();
    let mut bytes = Vec::new();
    for chunk in sextets.chunks(4) {
        let bits = chunk.iter().fold(0usize, |sum, s| (sum << 6) | s) << (6 * (4 - chunk.len()));
        bytes.extend((0..chunk.len() - 1).map(|k| (bits >> (16 - 8 * k)) as u8));
    }
    assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8().as_raw(), &[10, 200, 30]);
    assert!(report::png_data_uri(&[0; 5], 1, 2).is_err());
    assert!(report::png_data_uri(&[], 0, 0).is_err());
    let result = MembershipResult::with_threshold(
        vec![0.2, 0.9, 0.5, 0.9],
        vec![true, false, true, false],
        0.5,
        ["a", "b", "c", "d"].map(String::from).to_vec(),
    )
    .unwrap();
    assert_eq!(report::extremes(&result, 2), (vec![1, 3], vec![0, 2]));
    assert_eq!(report::extremes(&result, 9).0.len(), 4);
}

#[test]
fn an_empty_run_still_renders() {
    let mut results = Results::new("Nothing");
    results.conclude();
    let page = report::render_html(&results);
    assert_well_formed(&page);
    assert!(page.contains("no attack was run"));
    assert_eq!(report::from_json(&report::to_json(&results).unwrap(), "x").unwrap(), results);
}
