//! Probes and attribute inference from outside, on encoders that hardly trained.

use contraleak::nn::EncoderFile;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::tempdir;

const FACES: &str = "synthetic-faces:count=160,size=16#shuffle=1";

/// Runs a command that must end with `status`; gives stdout and stderr.
#[track_caller]
fn ends_with(status: i32, arguments: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_contraleak"));
    let output = command.args(arguments).env_remove("RUST_LOG").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}\nstdout: {stdout}\nstderr: {stderr}");
    (stdout, stderr)
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in: {text}"))
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn part(range: &str) -> String {
    format!("{FACES},take={range}")
}

/// An encoder of two steps, made once for all tests of this file.
fn encoder() -> &'static PathBuf {
    static ENCODER: OnceLock<PathBuf> = OnceLock::new();
    ENCODER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-attribute");
        let _ = std::fs::remove_dir_all(&folder);
        let data = part("0..8");
        let settings = ["--stem", "imagenet", "--width", "8", "--batch", "4", "--epochs", "1"];
        let arguments = ["pretrain", "--method", "simclr", "--data", &data, "--out", path(&folder), "--json"];
        ends_with(0, &[&arguments, &settings[..]].concat());
        folder.join("encoder.safetensors")
    })
}

#[test]
fn probes_measure_and_write_a_classifier() {
    let folder = tempdir().unwrap();
    let (train, test) = (part("0..100"), part("100..160"));
    let of = |kind: &str, more: &[&str]| {
        let arguments =
            ["probe", "--encoder", path(encoder()), "--train", &train, "--test", &test, "--kind", kind];
        ends_with(0, &[&arguments, more].concat()).0
    };
    for (kind, label, epochs) in [("linear", "target", 10), ("logistic", "attribute", 0)] {
        let out = folder.path().join(format!("{kind}.safetensors"));
        let epochs = epochs.to_string();
        let mut more = vec!["--label", label, "--out", path(&out), "--json"];
        if kind == "linear" {
            more.extend(["--epochs", &epochs]);
        }
        let report = json(&of(kind, &more));
        let classes = report["metrics"]["classes"].as_u64().unwrap() as usize;
        assert_eq!((report["kind"].as_str(), report["train_samples"].as_u64()), (Some(kind), Some(100)));
        let accuracy = report["test_accuracy"]["value"].as_f64().unwrap();
        let gap = report["train_accuracy"].as_f64().unwrap() - accuracy;
        assert!((report["overfitting_gap"].as_f64().unwrap() - gap).abs() < 1e-12);
        let (before, after) = (EncoderFile::read(encoder()).unwrap(), EncoderFile::read(&out).unwrap());
        assert_eq!(report["sha256"].as_str(), Some(after.sha256.as_str()));
        assert_eq!(after.state.tensors["head.weight"].dimensions, [classes, 64]);
        assert_eq!(after.state.tensors["head.bias"].dimensions, [classes]);
        for (name, tensor) in &before.state.tensors {
            assert_eq!(&after.state.tensors[name], tensor, "{name}");
        }
        let about = &after.metadata.unwrap().config["head"];
        assert_eq!(
            (about["probe"].as_str(), about["classes"].as_array().map(Vec::len)),
            (Some(kind), Some(classes))
        );
        // The classifier's file is an encoder file: the same probe on it finds the same.
        let again =
            ["probe", "--encoder", path(&out), "--train", &train, "--test", &test, "--kind", kind, "--json"];
        let more: Vec<&str> =
            if kind == "linear" { vec!["--epochs", &epochs] } else { vec!["--label", label] };
        let again = json(&ends_with(0, &[&again[..], &more].concat()).0);
        assert_eq!(again["metrics"], report["metrics"]);
    }
    let knn = of("knn", &[]);
    says(&knn, &["knn, 100 training images", "test accuracy", "majority"]);
    says(&of("mlp", &["--epochs", "3"]), &["mlp", "overfitting gap"]);
}

#[test]
fn attribute_inference_prints_a_table_and_leaves_results() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("results");
    let (aux, test) = (part("0..100"), part("100..160"));
    let arguments = [
        "attack",
        "attribute",
        "--encoder",
        path(encoder()),
        "--aux",
        &aux,
        "--test",
        &test,
        "--epochs",
        "4",
        "--widths",
        "8",
        "--adaptive-epochs",
        "4",
        "--shuffles",
        "3",
        "--pixel-side",
        "8",
    ];
    let more = ["--views", "3", "--decensor", path(encoder()), "--compat", "relu,flips", "--out", path(&out)];
    let table = ends_with(0, &[&arguments[..], &more].concat()).0;
    says(
        &table,
        &[
            "advantage over imputation",
            "chance",
            "majority",
            "imputation",
            "pixels, MLP",
            "published",
            "logistic regression",
            "200 nearest neighbours",
            "on the mean of views",
            "de-censored",
            "control, shuffled labels",
            "100 auxiliary images",
        ],
    );
    let saved = json(&std::fs::read_to_string(out.join("results.json")).unwrap());
    assert_eq!(saved["settings"]["published"]["final_relu"], true);
    assert_eq!(saved["attackers"].as_array().unwrap().len(), 8);
    let csv = std::fs::read_to_string(out.join("table.csv")).unwrap();
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns, vec![12; 1 + 5 + 8]);
    let confusion = std::fs::read_to_string(out.join("confusion.csv")).unwrap();
    let total: u64 =
        confusion.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(total, 8 * 60);
    let printed =
        json(&ends_with(0, &[&arguments[..], &["--json", "--aux-name", "target-train"]].concat()).0);
    assert_eq!(printed["auxiliary"], "target-train");
    assert_eq!(printed["attackers"].as_array().unwrap().len(), 4);
    assert_eq!(printed["settings"]["published"]["final_relu"], false);
}

#[test]
fn mistakes_are_named() {
    let (aux, test) = (part("0..20"), part("20..40"));
    let attack = |more: &[&str], status: i32| {
        let arguments = ["attack", "attribute", "--encoder", path(encoder()), "--aux", &aux];
        ends_with(status, &[&arguments[..], more].concat()).1
    };
    says(&attack(&["--test", &part("10..30")], 2), &["--aux and --test overlap", "take=0..500"]);
    says(&attack(&["--test", &test, "--compat", "rely"], 2), &["did you mean relu"]);
    says(&attack(&["--test", &test, "--ratio", "1.5"], 2), &["ratio"]);
    says(&attack(&["--test", &test, "--widths", "many"], 2), &["widths"]);
    says(&attack(&["--test", &test, "--epochs", "0"], 2), &["epochs"]);
    says(&attack(&["--test", &test, "--shuffles", "2"], 2), &["at least 3 runs"]);
    says(&attack(&["--test", &test, "--views", "0"], 2), &["views"]);
    says(&attack(&["--test", &test, "--views", "2", "--augment", "eval-32"], 2), &["all alike"]);
    let probe = |more: &[&str]| {
        let arguments = ["probe", "--encoder", path(encoder()), "--train", &aux, "--test", &test];
        ends_with(2, &[&arguments[..], more].concat()).1
    };
    says(&probe(&["--kind", "lineer"]), &["did you mean linear"]);
    says(&probe(&["--kind", "knn", "--out", "x.safetensors"]), &["no linear head"]);
    says(&probe(&["--kind", "knn", "--epochs", "3"]), &["no epochs"]);
    says(&probe(&["--epochs", "0"]), &["at least 1"]);
}
