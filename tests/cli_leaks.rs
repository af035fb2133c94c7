//! Membership inference and whole experiments from the command line.

use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use tempfile::tempdir;

const POOL: &str = "synthetic-faces:count=64,size=16,seed=3,shuffle=1,take=";

fn contraleak(arguments: &[&str]) -> Output {
    cargo_bin_cmd!("contraleak").args(arguments).env_remove("RUST_LOG").output().unwrap()
}

#[track_caller]
fn ends_with(status: i32, arguments: &[&str]) -> (String, String) {
    let output = contraleak(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}\nstdout: {stdout}\nstderr: {stderr}");
    (stdout, stderr)
}

fn part(range: &str) -> String {
    format!("{POOL}{range}")
}

/// A supervised model of a few steps.
fn classifier(folder: &Path, name: &str, range: &str) -> String {
    let run = folder.join(name);
    let out = run.to_str().unwrap();
    let data = part(range);
    ends_with(
        0,
        &[
            "pretrain",
            "--method",
            "supervised",
            "--data",
            &data,
            "--width",
            "8",
            "--batch",
            "8",
            "--epochs",
            "2",
            "--out",
            out,
        ],
    );
    run.join("encoder.safetensors").to_str().unwrap().to_string()
}

#[test]
fn membership_of_a_classifier_ends_in_a_report() {
    let folder = tempdir().unwrap();
    let (target, shadow) =
        (classifier(folder.path(), "target", "0..16"), classifier(folder.path(), "shadow", "32..48"));
    let out = folder.path().join("attack");
    let sets = [part("0..16"), part("16..32"), part("32..48"), part("48..64")];
    let arguments = [
        "attack",
        "membership",
        "--target",
        &target,
        "--shadow",
        &shadow,
        "--members",
        &sets[0],
        "--non-members",
        &sets[1],
        "--shadow-members",
        &sets[2],
        "--shadow-non-members",
        &sets[3],
        "--boundary-samples",
        "3",
        "--out",
        out.to_str().unwrap(),
        "--json",
    ];
    let (stdout, _) = ends_with(0, &arguments);
    let results: Value = serde_json::from_str(&stdout).unwrap();
    let ids: Vec<&str> =
        results["attacks"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap()).collect();
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
    let controls = |of: &Value| -> Vec<String> {
        of.as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_string()).collect()
    };
    assert!(controls(&results["attacks"][0]["controls"]).contains(&"shuffled-labels".to_string()));
    assert!(controls(&results["controls"]).contains(&"blind".to_string()));
    // A row for each image; HopSkipJump judged three of each set.
    let table = std::fs::read_to_string(out.join("scores.csv")).unwrap();
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let header: Vec<String> = rows.headers().unwrap().iter().map(str::to_string).collect();
    let jump = header.iter().position(|name| name == "hop-skip-jump_score").unwrap();
    assert_eq!(header.len(), 2 + 2 * ids.len());
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 32);
    assert_eq!(rows.iter().filter(|row| !row[jump].is_empty()).count(), 6);
    assert!(rows.iter().all(|row| !row[2].is_empty() && row[0].split('/').count() >= 3), "{:?}", rows[0]);
    for name in ["report.html", "results.json", "config.toml"] {
        assert!(out.join(name).exists(), "{name}");
    }

    // One file in both roles, and an encoder without a classifier.
    let mut same = arguments;
    same[5] = &target;
    let (_, stderr) = ends_with(2, &same);
    assert!(stderr.contains("same model"), "{stderr}");
}

#[test]
fn a_model_without_classifier_is_sent_to_the_probe() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("encoder");
    let data = part("0..16");
    ends_with(
        0,
        &[
            "pretrain",
            "--data",
            &data,
            "--width",
            "8",
            "--batch",
            "8",
            "--epochs",
            "1",
            "--stem",
            "imagenet",
            "--out",
            run.to_str().unwrap(),
        ],
    );
    let file = run.join("encoder.safetensors");
    let out = folder.path().join("attack");
    let arguments = [
        "attack",
        "membership",
        "--target",
        file.to_str().unwrap(),
        "--shadow",
        file.to_str().unwrap(),
        "--members",
        &part("0..16"),
        "--non-members",
        &part("16..32"),
        "--shadow-members",
        &part("32..48"),
        "--shadow-non-members",
        &part("48..64"),
        "--out",
        out.to_str().unwrap(),
    ];
    let (_, stderr) = ends_with(1, &arguments);
    assert!(stderr.contains("head.weight") && stderr.contains("contraleak probe"), "{stderr}");
    assert!(!out.exists(), "something was left behind");
}

#[test]
fn wrong_experiments_are_named() {
    let says = |arguments: &[&str], parts: &[&str]| {
        let (_, stderr) = ends_with(2, arguments);
        for part in parts {
            assert!(stderr.contains(part), "expected {part:?} in: {stderr}");
        }
    };
    says(&["run", "leaks-face", "--out", "x"], &["leaks-faces"]);
    says(&["run", "leaks", "--out", "x"], &["--data SPEC"]);
    says(&["run", "leaks-faces", "--scale", "smal", "--out", "x"], &["small"]);
    says(&["run", "leaks-utkface", "--data", "/data", "--scale", "paper", "--out", "x"], &["--stage-zero"]);
    says(&["run", "leaks-faces", "--compat", "deepset", "--out", "x"], &["contrastive-leaks"]);
    says(
        &["pretrain", "--method", "supervised", "--talos", "1", "--data", &part("0..16"), "--out", "x"],
        &["--talos"],
    );
    says(
        &[
            "pretrain",
            "--talos",
            "1",
            "--talos-image",
            "plain",
            "--batch",
            "8",
            "--data",
            &part("0..16"),
            "--out",
            "x",
        ],
        &["augmented", "original"],
    );
    assert!(!Path::new("x").exists());
}
