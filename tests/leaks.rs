//! He & Zhang's experiment in the small: everything runs, goes on where it was, and tells the same the second time.

mod common;
use common::gpu::gpu;
use contraleak::Error;
use contraleak::experiment::Tell;
use contraleak::experiment::leaks::{
    self, LeaksConfig, LeaksResults, Method, PRESETS, Scale, Summary, preset,
};
use std::path::Path;
use tempfile::tempdir;

/// Counts stages and stops before one of them.
struct Listener {
    stages: Vec<String>,
    stop_at: Option<usize>,
}

impl Tell for Listener {
    fn stage(&mut self, what: &str) {
        self.stages.push(what.to_string());
    }
    fn progress(&mut self, _: u64, _: u64, _: &str) {}
    fn stop(&mut self) -> bool {
        self.stop_at.is_some_and(|at| self.stages.len() > at)
    }
}

fn listener(stop_at: Option<usize>) -> Listener {
    Listener { stages: Vec::new(), stop_at }
}

fn tiny() -> LeaksConfig {
    let mut config = preset("leaks-faces", None, None, Scale::Smoke).unwrap();
    config.data = "synthetic-faces:count=90,seed=5,size=16".into();
    if let Some(stage) = &mut config.stage_zero {
        stage.data = "synthetic-faces:count=20,seed=6,size=16".into();
    }
    config.part = Some(18);
    config.batch = 9;
    config.epochs = 1;
    config.seeds = vec![0];
    config.sweep = Vec::new();
    config.boundary_samples = 2;
    config.views = 2;
    config
}

fn file(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn the_experiment_runs_stops_and_goes_on() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("faces");
    let config = tiny();
    // Stopped while the second encoder trains.
    let mut first = listener(Some(2));
    match leaks::run(gpu(), &config, &out, &mut first) {
        Err(Error::Interrupted(message)) => assert!(message.contains("goes on"), "{message}"),
        other => panic!("expected an interruption, found {:?}", other.map(|r| r.subjects.len())),
    }
    assert!(!out.join("results.json").exists(), "results of half an experiment");

    let mut second = listener(None);
    let results = leaks::run(gpu(), &config, &out, &mut second).unwrap();
    let trained = second.stages.iter().filter(|s| s.starts_with("training")).count();
    assert!(trained < 7, "stage 0 and six encoders were all trained again: {:?}", second.stages);
    let methods: Vec<Method> = results.subjects.iter().map(|s| s.method).collect();
    assert_eq!(methods, [Method::Contrastive, Method::Supervised, Method::Talos { lambda: 10.0 }]);
    for subject in &results.subjects {
        let ids: Vec<&str> = subject.membership.iter().map(|a| a.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "neural",
                "metric-correctness",
                "metric-confidence",
                "metric-entropy",
                "metric-modified-entropy",
                "hop-skip-jump",
                "translations"
            ]
        );
        for attack in &subject.membership {
            let samples = if attack.id == "hop-skip-jump" { 2 } else { 18 };
            assert_eq!(
                (attack.metrics.members, attack.metrics.non_members),
                (samples, samples),
                "{}",
                attack.id
            );
        }
        assert!(subject.shuffled.is_some());
        let auxiliaries: Vec<&str> = subject.attribute.iter().map(|f| f.auxiliary.as_str()).collect();
        assert_eq!(auxiliaries, ["target-train", "shadow-train"]);
        let has = |id: &str| subject.attribute[1].attackers.iter().any(|a| a.id.contains(id));
        assert!(
            has("views"),
            "{:?}",
            subject.attribute[1].attackers.iter().map(|a| &a.id).collect::<Vec<_>>()
        );
        assert_eq!(has("projection"), subject.method != Method::Supervised);
        assert_eq!(
            subject.attribute[1].decensoring.is_some(),
            matches!(subject.method, Method::Talos { .. })
        );
    }
    for id in [
        "olympus",
        "attriguard",
        "attriguard-two-phase",
        "memguard",
        "adversarial-regularization",
        "dp-sgd",
        "early-stopping",
    ] {
        assert!(results.defences.iter().any(|d| d.id == id), "{id}");
    }
    let private: Vec<f64> =
        results.defences.iter().filter_map(|d| d.dp.as_ref().map(|dp| dp.epsilon)).collect();
    assert!(private.iter().any(|e| *e <= 1.0) && private.len() == 8, "{private:?}");
    let letters: Vec<&str> = results.baselines[0].attacks.iter().map(|a| a.id.as_str()).collect();
    for letter in [
        "baseline-a",
        "baseline-b",
        "baseline-c",
        "baseline-d",
        "baseline-e",
        "baseline-f",
        "baseline-g",
        "control-untrained",
    ] {
        assert!(letters.iter().any(|id| id.starts_with(letter)), "{letter}: {letters:?}");
    }
    assert_eq!(results.blind.len(), 1);
    assert_eq!(Summary::of(&results).rows.len(), 3);
    for name in ["report.html", "membership.csv", "config.toml"] {
        assert!(!file(&out, name).is_empty(), "{name}");
    }
    assert_eq!(file(&out, "membership.csv").lines().count(), 1 + 3 * 7);

    // Once more: nothing is left to do, and the numbers are the same.
    let mut third = listener(None);
    let again = leaks::run(gpu(), &config, &out, &mut third).unwrap();
    assert_eq!(third.stages, Vec::<String>::new());
    // As they stand in files: the answers image by image are not kept.
    let kept = |r: &LeaksResults| serde_json::to_string(&(&r.subjects, &r.defences, &r.baselines)).unwrap();
    assert!(kept(&again) == kept(&results), "the second time tells other numbers");
    assert!(leaks::is_here(&out));
    assert!(kept(&leaks::rerender(&out).unwrap()) == kept(&results), "rendering again changed numbers");

    // Another experiment does not mix with it.
    let other = LeaksConfig { epochs: 2, ..config };
    match leaks::run(gpu(), &other, &out, &mut listener(None)) {
        Err(Error::Usage(message)) => assert!(message.contains("other settings"), "{message}"),
        other => panic!("expected a refusal, found {:?}", other.map(|r| r.subjects.len())),
    }
}

#[test]
fn presets_have_the_published_sizes() {
    for known in PRESETS {
        let folder = (known.name != "leaks-faces").then_some("/data");
        let config =
            preset(known.name, folder, None, Scale::Paper).unwrap_or_else(|e| panic!("{}: {e}", known.name));
        config.check().unwrap_or_else(|e| panic!("{}: {e}", known.name));
        if known.name != "leaks-faces" {
            assert_eq!(
                (config.batch, config.epochs, config.encoder.size, config.encoder.width),
                (512, 100, 96, 64)
            );
            let part = known.name.starts_with("leaks-celeba").then_some(7_500);
            assert_eq!(config.part, part, "{}", known.name);
            config.data.parse::<contraleak::data::Spec>().unwrap_or_else(|e| panic!("{}: {e}", known.name));
        }
    }
    let stl = preset("leaks-stl10", Some("/data"), None, Scale::Paper).unwrap();
    assert_eq!(
        stl.stage_zero.map(|stage| (stage.data, stage.epochs)),
        Some(("stl10:/data#part=unlabeled".into(), 100))
    );
    let message = |result: Result<LeaksConfig, Error>| result.unwrap_err().to_string();
    assert!(message(preset("leaks-utkface", None, None, Scale::Paper)).contains("--data DIR"));
    assert!(message(preset("leaks-utkfaces", None, None, Scale::Paper)).contains("leaks-utkface"));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let message = |config: LeaksConfig| config.check().unwrap_err().to_string();
    assert!(message(LeaksConfig { seeds: vec![], ..tiny() }).contains("seeds"));
    assert!(message(LeaksConfig { seeds: vec![1, 1], ..tiny() }).contains("different"));
    assert!(message(LeaksConfig { sweep_seeds: vec![7], ..tiny() }).contains("sweep_seeds"));
    assert!(message(LeaksConfig { lambda: f32::NAN, ..tiny() }).contains("lambda"));
    assert!(message(LeaksConfig { views: 1, ..tiny() }).contains("views"));
    let large = LeaksConfig { part: Some(30), ..tiny() };
    let error =
        leaks::run(gpu(), &large, &tempdir().unwrap().path().join("x"), &mut listener(None)).unwrap_err();
    assert!(error.to_string().contains("at most 22"), "{error}");
}
