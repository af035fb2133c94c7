//! `contraleak pretrain --method moco` from outside: presets, a run and its resume, what is said of mistakes.

use contraleak::train::{PretrainConfig, Training};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

const FACES: &str = "synthetic-faces:count=16,size=16";

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

fn moco<'a>(out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let out = out.to_str().unwrap();
    [&["pretrain", "--method", "moco", "--data", FACES, "--out", out], more].concat()
}

#[test]
fn a_preset_of_another_size_trains_and_its_file_is_encoded() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let more = [
        "--preset", "ci-tiny", "--width", "8", "--batch", "8", "--splits", "2", "--queue", "16", "--epochs",
        "2", "--json",
    ];
    let report: Value = serde_json::from_str(&ends_with(0, &moco(&run, &more)).0).unwrap();
    assert_eq!(report["steps"], 4);
    let Training::Moco(config) = PretrainConfig::read(&run).unwrap().training else {
        panic!("expected a MoCo run")
    };
    assert_eq!((config.queue, config.splits, config.batch, config.encoder.width), (16, 2, 8, 8));
    assert_eq!((config.temperature, config.momentum, config.learning_rate), (0.1, 0.99, 0.06));
    assert!(config.shuffle && !config.symmetric);

    let (path, file) = (run.join("encoder.safetensors"), folder.path().join("features.safetensors"));
    let encode = ["encode", "--encoder", path.to_str().unwrap(), "--data", FACES, "--out"];
    let encode = [&encode[..], &[file.to_str().unwrap(), "--json"]].concat();
    let encoded: Value = serde_json::from_str(&ends_with(0, &encode).0).unwrap();
    assert_eq!((&encoded["images"], &encoded["dimension"]), (&16.into(), &64.into()));

    let resume = ["pretrain", "--resume", run.to_str().unwrap(), "--json"];
    let resumed: Value = serde_json::from_str(&ends_with(0, &resume).0).unwrap();
    assert_eq!(resumed["encoder_sha256"], report["encoder_sha256"]);
}

#[test]
fn mistakes_are_named() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--batch", "8", "--queue", "20"], &["queue", "multiple of the 8 keys", "found 20"]),
        (&["--batch", "8", "--splits", "3"], &["splits", "batch of 8", "found 3"]),
        (&["--batch", "8", "--queue", "24", "--symmetric"], &["multiple of the 16 keys", "found 24"]),
        (&["--batch", "8", "--momentum", "2"], &["momentum", "found 2"]),
        (&["--preset", "emi-mocco"], &["emi-mocco", "emi-moco"]),
        (&["--talos", "1"], &["--talos", "moco"]),
        (&["--batch-norm", "joint"], &["--batch-norm", "moco"]),
    ];
    for (more, parts) in cases {
        let message = ends_with(2, &moco(&run, more)).1;
        parts.iter().for_each(|part| assert!(message.contains(part), "{part}: {message}"));
    }
    let out = run.to_str().unwrap();
    for (more, part) in [(&["--queue", "8"][..], "--queue"), (&["--preset", "moco-v2"], "moco-v2")] {
        let simclr = [&["pretrain", "--data", FACES, "--out", out], more].concat();
        let message = ends_with(2, &simclr).1;
        assert!(message.contains(part) && message.contains("simclr"), "{message}");
    }
    assert!(!run.exists(), "a run that cannot start leaves a folder");
}
