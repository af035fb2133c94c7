//! `contraleak bench` at small sizes: every part runs, and says what scripts read.

mod common;

use common::gpu::gpu;
use contraleak::experiment::bench::{KernelsOptions, Scale, Workspace, cases, kernels};
use contraleak::gpu::shader::entry_shaders;
use contraleak::gpu::{Facts, KernelClass};
use serde_json::Value;
use std::collections::BTreeSet;

fn bench(arguments: &[&str]) -> Value {
    let mut command: assert_cmd::Command = assert_cmd::cargo::cargo_bin_cmd!("contraleak");
    let output = command.arg("bench").args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}"))
}

#[track_caller]
fn positive(report: &Value, keys: &[&str]) {
    for key in keys {
        assert!(report[key].as_f64().is_some_and(|v| v > 0.0), "{key} in {report}");
    }
    assert!(report["adapter"].as_str().is_some_and(|name| !name.is_empty()), "{report}");
}

const SMALL: [&str; 6] = ["--width", "8", "--size", "16", "--batch", "4"];

#[test]
fn step_says_views_per_second_and_where_the_time_goes() {
    let steps = ["--steps", "2", "--warm-up", "1", "--profile", "--json"];
    let report = bench(&[&["step", "--arch", "resnet18", "--stem", "cifar"], &SMALL[..], &steps].concat());
    positive(&report, &["views_per_s", "step_ms", "step_ms_min", "step_ms_max", "launches", "gflops_per_s"]);
    assert_eq!((&report["views"], &report["steps"]), (&8.into(), &2.into()));
    let (median, views) = (report["step_ms"].as_f64().unwrap(), report["views_per_s"].as_f64().unwrap());
    assert!((views * median / 8000.0 - 1.0).abs() < 1e-6, "{views} views/s at {median} ms");
    assert!(report["memory"]["transient_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    let kernels = report["profile"]["kernels"].as_array().unwrap();
    let launches: u64 = kernels.iter().map(|kernel| kernel["launches"].as_u64().unwrap()).sum();
    assert_eq!(Some(launches), report["launches"].as_u64());
    let times: Vec<f64> = kernels.iter().map(|kernel| kernel["ms"].as_f64().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
}

#[test]
fn encode_loss_and_dispatch_report() {
    let report = bench(&[&["encode"], &SMALL[..], &["--runs", "2", "--json"]].concat());
    positive(&report, &["images_per_s", "batch_ms", "launches"]);
    let report = bench(&["loss", "--rows", "256", "--dim", "32", "--runs", "2", "--json"]);
    positive(&report, &["gflops_per_s", "scratch_bytes", "input_bytes"]);
    assert!(report["forward"]["median"].as_f64().unwrap() > 0.0);
    assert!(report["both"]["median"].as_f64().unwrap() > 0.0);
    let attack = ["--images", "24", "--alone", "1", "--rows", "512", "--json"];
    let report = bench(&[&["hop-skip-jump"], &attack[..]].concat());
    positive(&report, &["together_s", "alone_s", "times_faster", "queries_an_image"]);
    assert_eq!(report["same_bits"], true, "{report}");
    let report = bench(&["dispatch", "--json"]);
    positive(&report, &["dispatch_us", "submit_us", "submit_wait_us", "read_back_us"]);
}

#[test]
fn every_case_runs() {
    let options = KernelsOptions { filter: None, runs: 1, scale: Scale::small() };
    let report = kernels(gpu(), &options, |_| ()).unwrap();
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    assert_eq!(report.kernels.len(), cases(&Scale::small()).len());
    for kernel in &report.kernels {
        assert!(kernel.ms > 0.0 && kernel.launches > 0, "{kernel:?}");
        assert!(kernel.percent_of_roofline.is_finite(), "{kernel:?}");
        let folds = kernel.shaders.contains(&"conv/fold_batch_norm");
        assert!(!(kernel.name == "conv2d_norm" && folds), "what is frozen is folded once: {kernel:?}");
    }
}

#[test]
fn an_unknown_kernel_is_named_with_its_neighbours() {
    let options = KernelsOptions { filter: Some("conv2q".into()), runs: 1, scale: Scale::small() };
    let error = kernels(gpu(), &options, |_| ()).unwrap_err().to_string();
    assert!(error.contains("conv2q") && error.contains("did you mean conv2d?"), "{error}");
}

#[test]
fn wrong_settings_are_named() {
    let fails = |arguments: &[&str], status: i32, parts: [&str; 2]| {
        let mut command: assert_cmd::Command = assert_cmd::cargo::cargo_bin_cmd!("contraleak");
        let output = command.arg("bench").args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    };
    fails(&["step", "--arch", "resnet19"], 2, ["resnet19", "did you mean resnet18?"]);
    fails(&["step", "--precision", "mixd"], 2, ["mixd", "did you mean mixed?"]);
    fails(&["step", "--batch", "1", "--size", "8", "--width", "8"], 2, ["batch", "at least 2"]);
    fails(&["step", "--batch", "65537"], 2, ["batch", "at most 65536"]);
    // One image more than a binding holds views of 256 KiB, which is what the first layer makes of them.
    let views = gpu().facts().max_binding_bytes / (1 << 18);
    for (command, batch) in [("step", views / 2 + 1), ("encode", views + 1)] {
        let fits = format!("; the largest batch that fits is {}", batch - 1);
        let batch = batch.to_string();
        fails(&[command, "--batch", &batch], 1, [&format!("batch {batch}: conv1, "), &fits]);
    }
    fails(&["encode", "--batch", "0"], 2, ["--batch", "0"]);
    fails(&["loss", "--rows", "7", "--dim", "8"], 1, ["7 projections", "even number"]);
    fails(&["loss", "--rows", "8", "--dim", "8", "--temperature", "0"], 1, ["temperature 0", "0.001"]);
}

/// A kernel that nobody times is a kernel whose speed nobody knows.
#[test]
fn every_shader_is_in_some_case() {
    let here = gpu().facts().clone();
    let software = Facts { class: KernelClass::Software, subgroup: Some(8), int64: true, ..here.clone() };
    let exact = Facts { exact_conv: true, ..software.clone() };
    let tiled = Facts { class: KernelClass::Discrete, subgroup: None, int64: false, ..here.clone() };
    let mut timed = BTreeSet::new();
    for facts in [here, software, exact, tiled] {
        for scale in [Scale::small(), Scale::published()] {
            for case in cases(&scale) {
                let mut space = Workspace::unfilled(gpu(), &facts);
                (case.record)(&mut space).unwrap_or_else(|e| panic!("{} {}: {e}", case.name, case.shape));
                timed.extend(space.recording.dispatches().map(|dispatch| dispatch.shader.to_string()));
            }
        }
    }
    let missing: Vec<String> = entry_shaders().into_iter().filter(|name| !timed.contains(name)).collect();
    assert!(missing.is_empty(), "no case of the benchmark records {missing:?}");
}
