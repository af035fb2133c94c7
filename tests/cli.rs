//! The command line from outside: exit statuses, help, JSON, messages, what is left on disk.

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

fn contraleak(arguments: &[&str]) -> Output {
    let mut command: Command = cargo_bin_cmd!("contraleak");
    command.args(arguments).env_remove("RUST_LOG").output().unwrap()
}

/// Runs a command that must end with `status`; gives stdout and stderr.
#[track_caller]
fn ends_with(status: i32, arguments: &[&str]) -> (String, String) {
    let output = contraleak(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(status), "{arguments:?}\nstdout: {stdout}\nstderr: {stderr}");
    (stdout, stderr)
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

/// Paths of all commands without commands of their own.
fn leaves(command: &clap::Command, path: &[String]) -> Vec<Vec<String>> {
    let subcommands: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
    if subcommands.is_empty() {
        return vec![path.to_vec()];
    }
    let below = |c: &&clap::Command| leaves(c, &[path, &[c.get_name().to_string()]].concat());
    subcommands.iter().flat_map(below).collect()
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let leaves = leaves(&contraleak::cli::command(), &[]);
    assert!(leaves.len() >= 3, "{leaves:?}");
    for path in &leaves {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let (stdout, _) = ends_with(0, &arguments);
        assert_says(&stdout, &["Example", &format!("contraleak {}", path.join(" ")), "--json"]);
        let description = stdout.lines().next().unwrap_or_default();
        assert!(
            !description.is_empty() && !description.starts_with("Usage"),
            "{path:?} says not what it does"
        );
    }
    let (stdout, _) = ends_with(0, &["--help"]);
    assert_says(&stdout, &["Examples", "device", "data"]);
    assert_says(&ends_with(0, &["--version"]).0, &["contraleak", env!("CARGO_PKG_VERSION")]);
}

#[test]
fn the_tree_of_commands_is_consistent() {
    contraleak::cli::command().debug_assert();
}

#[test]
fn wrong_usage_ends_with_2_and_names_the_nearest() {
    let (stdout, stderr) = ends_with(2, &["devise"]);
    assert_says(&stderr, &["devise", "'device'"]);
    assert!(stdout.is_empty());
    assert_says(&ends_with(2, &["data", "inof", "x:y"]).1, &["inof", "'info'"]);
    assert_says(&ends_with(2, &["device", "--jsn"]).1, &["--jsn", "--json"]);
    assert_says(&ends_with(2, &["data", "export", "synthetic-faces:count=8"]).1, &["--out"]);
    assert_says(&ends_with(2, &[]).1, &["Usage"]);
}

#[test]
fn a_wrong_spec_ends_with_2_and_names_the_nearest_kind() {
    let (stdout, stderr) = ends_with(2, &["data", "info", "cifar11:somewhere"]);
    assert_says(&stderr, &["error:", "cifar11", "\"cifar10\""]);
    assert!(stdout.is_empty());
    assert_says(&ends_with(2, &["data", "info", "synthetic-face:count=8"]).1, &["synthetic-faces"]);
    assert_says(&ends_with(2, &["data", "info", "synthetic-faces:cont=8"]).1, &["cont", "\"count\""]);
}

#[test]
fn missing_data_ends_with_1_and_names_the_file() {
    let (stdout, stderr) = ends_with(1, &["data", "info", "tensor:nowhere/images.safetensors", "--json"]);
    assert_says(&stderr, &["error: nowhere/images.safetensors"]);
    assert!(stdout.is_empty(), "a failed command prints no result: {stdout}");
}

#[test]
fn data_info_counts() {
    let (stdout, _) = ends_with(0, &["data", "info", "synthetic-faces:count=8,size=32"]);
    assert_says(
        &stdout,
        &["synthetic-faces", "8 images of 32x32", "smiling", "content hash", "target by attribute"],
    );
    let (stdout, stderr) = ends_with(0, &["data", "info", "synthetic-faces:count=8,size=32", "--json"]);
    let info: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&info["images"], &info["width"], &info["height"]), (&8.into(), &32.into(), &32.into()));
    let of_class = |class: &Value| class["images"].as_u64().unwrap();
    assert_eq!(info["target"].as_array().unwrap().iter().map(of_class).sum::<u64>(), 8);
    assert!(stderr.is_empty(), "nothing is drawn where stderr is no terminal: {stderr:?}");

    let hash = |spec: &str| {
        let (stdout, _) = ends_with(0, &["data", "info", spec, "--json"]);
        serde_json::from_str::<Value>(&stdout).unwrap()["content_hash"].clone()
    };
    assert_eq!(hash("synthetic-faces:count=8,size=32"), info["content_hash"]);
    assert_ne!(hash("synthetic-faces:count=8,size=32,seed=1"), info["content_hash"]);
}

#[test]
fn data_export_writes_a_sheet() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("made/on the way");
    let spec = "synthetic-faces:count=40,size=16";
    let arguments = ["data", "export", spec, "--columns", "3", "--json", "--out", out.to_str().unwrap()];
    let (stdout, _) = ends_with(0, &arguments);
    let result: Value = serde_json::from_str(&stdout).unwrap();
    let sheet = image::open(result["file"].as_str().unwrap()).unwrap();
    assert_eq!((u64::from(sheet.width()), u64::from(sheet.height())), {
        (result["width"].as_u64().unwrap(), result["height"].as_u64().unwrap())
    });
    assert!(
        result["rows"].as_array().unwrap().iter().all(|row| row["images"].as_array().unwrap().len() <= 3)
    );
    assert_eq!(names_in(&out), ["sheet.png"]);
}

#[test]
fn an_export_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    for out in [file.clone(), file.join("below")] {
        let arguments = ["data", "export", "synthetic-faces:count=8", "--out", out.to_str().unwrap()];
        let (stdout, stderr) = ends_with(1, &arguments);
        assert_says(&stderr, &["error:", out.to_str().unwrap(), "a part of the path is a file"]);
        assert!(stdout.is_empty());
    }
    assert_eq!(names_in(folder.path()), ["file"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "not a folder");

    // A folder where the sheet should be: the write fails after everything was drawn.
    let out = folder.path().join("out");
    std::fs::create_dir_all(out.join("sheet.png")).unwrap();
    let arguments = ["data", "export", "synthetic-faces:count=8", "--out", out.to_str().unwrap()];
    assert_says(&ends_with(1, &arguments).1, &["sheet.png"]);
    assert_eq!(names_in(&out), ["sheet.png"]);
}

#[test]
fn an_export_of_missing_data_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let spec = format!("folder:{}", folder.path().join("images").display());
    let (_, stderr) = ends_with(1, &["data", "export", &spec, "--out", out.to_str().unwrap()]);
    assert_says(&stderr, &["error:", "images"]);
    assert!(!out.exists());
}

#[test]
fn the_device_is_named_with_its_reason_and_its_kernels() {
    let (stdout, _) = ends_with(0, &["device", "--json"]);
    let device: Value = serde_json::from_str(&stdout).unwrap();
    let used: Vec<&Value> =
        device["adapters"].as_array().unwrap().iter().filter(|a| a["used"] == Value::Bool(true)).collect();
    assert_eq!(used.len(), 1);
    assert_eq!(used[0]["name"], device["used"]["name"]);
    assert!(device["used"]["facts"]["max_binding_bytes"].as_u64().unwrap() >= 128 << 20);
    assert!(device["used"]["variants"].as_array().unwrap().iter().any(|v| v["family"] == "conv2d"));
    let software = device["used"]["facts"]["class"] == "software";
    let fixed = |device: &Value| {
        let rates = &device["used"]["facts"]["tile_rates"];
        rates["source"] == "fixed" && rates["tiles"] == serde_json::json!([])
    };
    assert_eq!(fixed(&device), software, "{device:#}");
    let (stdout, _) = ends_with(0, &["device", "--deterministic", "--json"]);
    assert!(fixed(&serde_json::from_str(&stdout).unwrap()), "{stdout}");
    // On a CPU or without cooperative matrices something stands against it, and is named.
    let against = &used[0]["no_mixed_precision"];
    let matrices = used[0]["cooperative_matrices"].as_array().unwrap();
    assert!(against.as_str().is_some_and(|why| !why.is_empty()) || !matrices.is_empty(), "{}", used[0]);
    let (stdout, _) = ends_with(0, &["device"]);
    assert_says(&stdout, &["mixed precision", against.as_str().unwrap_or("yes")]);
    let name = device["used"]["name"].as_str().unwrap();
    assert_says(&stdout, &[name, "used", "kernels conv2d", "features", used[0]["reason"].as_str().unwrap()]);
}

/// What lavapipe would run on: kernels are chosen by it (never their bits).
#[test]
fn the_device_counts_the_threads_that_lavapipe_is_asked_for() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(32);
    let cases = [
        (None, (2 * cores).min(32)),
        (Some("1"), 1),
        (Some("0"), 1),
        (Some("64"), 32),
        (Some("many"), cores),
    ];
    for (asked, threads) in cases {
        let mut command: Command = cargo_bin_cmd!("contraleak");
        command.args(["device", "--json"]).env_remove("RUST_LOG").env_remove("LP_NUM_THREADS");
        if let Some(asked) = asked {
            command.env("LP_NUM_THREADS", asked);
        }
        let output = command.output().unwrap();
        let device: Value = serde_json::from_slice(&output.stdout).unwrap();
        let facts = &device["used"]["facts"];
        let expected = if facts["class"] == "software" { threads } else { 1 };
        assert_eq!(facts["threads"], expected, "LP_NUM_THREADS {asked:?}");
    }
}

#[test]
fn a_device_that_does_not_exist_ends_with_1_and_lists_those_that_do() {
    let mut command: Command = cargo_bin_cmd!("contraleak");
    let output = command.arg("device").env("WGPU_ADAPTER_NAME", "no such adapter").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_says(&String::from_utf8_lossy(&output.stderr), &["no such adapter", "adapters here"]);
}

#[test]
fn a_report_is_made_again_from_its_results() {
    use contraleak::experiment::report::{self, Results};
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let mut results = Results::new("A run without attacks");
    report::write(folder.path(), &mut results, &[]).unwrap();
    let page = std::fs::read(folder.path().join("report.html")).unwrap();
    std::fs::remove_file(folder.path().join("report.html")).unwrap();

    let (stdout, _) = ends_with(0, &["report", place]);
    assert_says(&stdout, &["A run without attacks", &results.verdict.sentence, "report.html"]);
    assert_eq!(std::fs::read(folder.path().join("report.html")).unwrap(), page);
    let (stdout, _) = ends_with(0, &["report", place, "--json"]);
    let rendered: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(rendered["verdict"]["sentence"], results.verdict.sentence.as_str());

    std::fs::write(folder.path().join("results.json"), "{\"schema\": 99}").unwrap();
    assert_says(&ends_with(1, &["report", place]).1, &["results.json", "schema 99"]);
    std::fs::remove_file(folder.path().join("results.json")).unwrap();
    assert_says(&ends_with(1, &["report", place]).1, &[place, "expected results.json"]);
}

/// Names in a folder, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    use std::process::Stdio;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_contraleak"))
        .args(["data", "info", "synthetic-faces:count=8", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[cfg(unix)]
#[test]
fn the_first_ctrl_c_asks_to_stop() {
    use contraleak::cli::interrupt;
    use std::time::{Duration, Instant};
    interrupt::install().unwrap();
    interrupt::install().unwrap();
    assert!(!interrupt::requested());
    let own = std::process::id().to_string();
    let status = std::process::Command::new("kill").args(["-INT", &own]).status().unwrap();
    assert!(status.success());
    let begun = Instant::now();
    while !interrupt::requested() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the signal was not noticed");
        std::thread::sleep(Duration::from_millis(5));
    }
}
