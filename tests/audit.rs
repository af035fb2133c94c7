//! EncoderMI without a shadow encoder, and `contraleak audit` from outside.

mod common;
use common::gpu::gpu;
use contraleak::attack::encodermi::{Inferrer, MembershipFeatures, Settings, Variant};
use contraleak::attack::membership::Outcome;
use contraleak::data::{Chosen, Images, open_images};
use contraleak::metrics::MembershipMetrics;
use contraleak::nn::{StateDict, StateTensor, safetensors_file};
use contraleak::rng::{Key, Stream, uniform};
use contraleak::train::{Attachments, EncoderConfig, Model};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Sorted similarities of `images` images with 3 views, drawn around `mean`.
fn features(images: usize, mean: f32, stream: u32) -> MembershipFeatures {
    let key = Key::from_seed(7).stream(Stream::Attack, stream);
    let rows = (0..images).flat_map(|i| {
        let mut row: Vec<f32> =
            (0..3).map(|j| mean + 0.2 * (uniform(key.draw(i as u32, 0, j)[0]) - 0.5)).collect();
        row.sort_by(f32::total_cmp);
        row
    });
    MembershipFeatures::of_sorted(rows.collect(), 3)
}

#[test]
fn rules_learned_from_one_half_of_the_images_hold_their_level_on_the_other() {
    let settings = Settings { views: 3, ..Settings::default() };
    // p-values of the accuracy on images that were held out, and the accuracy on the others.
    let judge = |set: u32, mean: f32| {
        let of = |part: u32, mean| features(30, mean, 4 * set + part);
        let rule = Inferrer::train(gpu(), Variant::T, &settings, &of(0, 0.8), &of(1, mean), 0).unwrap();
        let [members, others] = [of(2, 0.8), of(3, mean)].map(|of| rule.infer(gpu(), &of).unwrap());
        let outcome = Outcome::new(members, others, None, None).unwrap();
        let metrics = MembershipMetrics::compute_with(&outcome.result, 10, 0);
        (metrics.accuracy_p_value, metrics.accuracy.value, rule.training_accuracy)
    };
    let found: Vec<_> = (0..300).map(|set| judge(set, 0.8)).collect();
    let mean = |of: fn(&(f64, f64, f64)) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
    // 18,000 decisions: three deviations of their mean are 0.011. A rule is right more often where it was learned.
    assert!((mean(|f| f.1) - 0.5).abs() < 0.011, "{}", mean(|f| f.1));
    assert!(mean(|f| f.2) > 0.55, "{}", mean(|f| f.2));
    // At most 5 % of 300, and three deviations of that count.
    let rejected = found.iter().filter(|f| f.0 < 0.05).count();
    assert!(rejected <= 15 + 11, "{rejected}");
    assert!(judge(0, 0.7).0 < 1e-3);
}

#[test]
fn chosen_images_are_those_of_the_source() {
    let all = open_images("synthetic-faces:count=9,size=16").unwrap();
    let some = Chosen::new(&*all, vec![7, 2]).unwrap();
    assert_eq!((some.len(), some.id(0), some.id(1)), (2, all.id(7), all.id(2)));
    assert_eq!(some.read(&[1, 0]).unwrap(), all.read(&[2, 7]).unwrap());
    assert_eq!(some.target().unwrap().values[0], all.target().unwrap().values[7]);
    assert_ne!(some.fingerprint(), all.fingerprint());
    let even = Chosen::evenly(&*all, 3).unwrap();
    assert_eq!([even.id(0), even.id(1), even.id(2)], [all.id(0), all.id(3), all.id(6)]);
    assert_eq!(Chosen::evenly(&*all, 100).unwrap().len(), 9);
    assert!(Chosen::new(&*all, vec![9]).is_err());
    assert!(Chosen::new(&*all, vec![]).is_err());
}

/// Runs the binary; exit status, stdout, stderr.
fn contraleak(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_contraleak")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// An untrained encoder as another program writes it: torchvision's names behind a prefix, no metadata.
fn foreign_encoder(path: &Path) {
    let (arch, stem) = ("resnet18".parse().unwrap(), "imagenet".parse().unwrap());
    let model = Model::new(EncoderConfig { arch, stem, width: 8, size: 32 }, Attachments::NONE).unwrap();
    let values = model.parameters.initial_values(5);
    let tensors = model.parameters.iter().map(|(_, p)| {
        let tensor = StateTensor { dimensions: p.dimensions.clone(), values: values[&p.name].clone() };
        (format!("module.{}", p.name), tensor)
    });
    let state = StateDict { tensors: tensors.collect(), ..StateDict::default() };
    safetensors_file::write(&state, path).unwrap();
}

const MEMBERS: &str = "synthetic-faces:count=60,size=32,seed=1";
const OTHERS: &str = "synthetic-faces:count=50,size=32,seed=2";
const QUICK: [&str; 8] = ["--views", "4", "--variants", "V,T", "--shuffles", "3", "--control-images", "40"];

#[test]
fn an_untrained_encoder_gives_nothing_away_and_the_audit_goes_on_from_what_it_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (encoder, out) = (folder.path().join("theirs.bin"), folder.path().join("audit"));
    foreign_encoder(&encoder);
    let mut arguments = vec!["audit", "--encoder", encoder.to_str().unwrap(), "--members", MEMBERS];
    arguments.extend(["--non-members", OTHERS, "--attribute", "--out", out.to_str().unwrap(), "--json"]);
    arguments.extend(QUICK);
    let (status, stdout, stderr) = contraleak(&arguments);
    assert_eq!(status, 0, "{stderr}");
    for said in ["resnet18, imagenet stem, width 8", "behind module.", "constants imagenet (assumed"] {
        assert!(stderr.contains(said), "expected {said:?} in: {stderr}");
    }
    let results: Value = serde_json::from_str(&stdout).unwrap();
    assert_ne!(results["verdict"]["kind"], "leaks", "{}", results["verdict"]["sentence"]);
    let attacks: Vec<&str> =
        results["attacks"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap()).collect();
    assert_eq!(attacks, ["encodermi-v", "encodermi-t"]);
    let controls = |of: &Value| -> Vec<String> {
        let controls = of["controls"].as_array().unwrap().iter();
        controls.map(|control| control["id"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(controls(&results["attacks"][0]), ["untrained-encoder", "shuffled-labels"]);
    assert_eq!(controls(&results), ["majority", "blind"]);
    // Half of the 50 others, and as many members, teach; the rest is judged, nothing both.
    let parts = results["data"]["parts"].as_array().unwrap();
    let counts: Vec<u64> = parts.iter().map(|part| part["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [35, 25, 25, 25]);
    let metrics = &results["attacks"][0]["metrics"];
    assert_eq!((&metrics["members"], &metrics["non_members"]), (&json!(35), &json!(25)));
    assert_eq!(results["cost"][1]["value"], 440.0);
    assert!(results["attribute"]["attackers"].as_array().unwrap().len() > 3);
    let details = results["verdict"]["details"].to_string();
    assert!(details.contains("No shadow encoder was given"), "{details}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in [
        "Can a sensitive attribute be read",
        "Images alone, without the model",
        "drawn at random; the others are judged",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(std::fs::read_to_string(out.join("scores.csv")).unwrap().lines().count(), 1 + 60);

    // The same again reads what was measured, and ends in the same numbers.
    let kept = out.join("measured").join("target-members-00000.safetensors");
    let written = std::fs::metadata(&kept).unwrap().modified().unwrap();
    let (_, again, _) = contraleak(&arguments);
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&again["attacks"], &again["controls"]), (&results["attacks"], &results["controls"]));
    assert_eq!(std::fs::metadata(&kept).unwrap().modified().unwrap(), written);
}

#[test]
fn a_shadow_encoder_is_trained_where_its_images_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let (encoder, out) = (folder.path().join("theirs.safetensors"), folder.path().join("audit"));
    foreign_encoder(&encoder);
    let mut arguments = vec!["audit", "--encoder", encoder.to_str().unwrap(), "--members", MEMBERS];
    arguments.extend(["--non-members", OTHERS, "--out", out.to_str().unwrap(), "--json"]);
    arguments.extend(["--shadow-data", "synthetic-faces:count=40,size=32,seed=3", "--shadow-epochs", "2"]);
    arguments.extend(QUICK);
    let (status, stdout, stderr) = contraleak(&arguments);
    assert_eq!(status, 0, "{stderr}");
    let results: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(results["other_encoders"][0]["role"], "shadow");
    let controls = results["attacks"][0]["controls"].as_array().unwrap().iter();
    let controls: Vec<&str> = controls.map(|control| control["id"].as_str().unwrap()).collect();
    assert_eq!(controls, ["untrained-encoder", "foreign-encoder", "shuffled-labels"]);
    let parts: Vec<u64> =
        results["data"]["parts"].as_array().unwrap().iter().map(|p| p["count"].as_u64().unwrap()).collect();
    assert_eq!(parts, [60, 50, 20, 20]);
    assert!(out.join("shadow").join("encoder.safetensors").exists());
    assert!(!results["verdict"]["details"].to_string().contains("No shadow encoder"));
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let encoder = folder.path().join("theirs.safetensors");
    foreign_encoder(&encoder);
    let (encoder, out) = (encoder.to_str().unwrap(), folder.path().join("audit"));
    let refused = |status: i32, more: &[&str], parts: &[&str]| {
        let mut arguments = vec!["audit", "--out", out.to_str().unwrap()];
        arguments.extend(more);
        let (found, _, stderr) = contraleak(&arguments);
        assert_eq!(found, status, "{more:?}: {stderr}");
        parts.iter().for_each(|part| assert!(stderr.contains(part), "expected {part:?} in: {stderr}"));
    };
    let with = |members, others| vec!["--encoder", encoder, "--members", members, "--non-members", others];
    refused(2, &with(MEMBERS, MEMBERS), &["members and non-members overlap"]);
    refused(2, &[with(MEMBERS, OTHERS), vec!["--views", "1"]].concat(), &["views: expected 2 to"]);
    refused(2, &[with(MEMBERS, OTHERS), vec!["--augment", "eval-32"]].concat(), &["all alike"]);
    refused(2, &[with(MEMBERS, OTHERS), vec!["--shadow-encoder", encoder]].concat(), &["--shadow-members"]);
    refused(2, &with(MEMBERS, "synthetic-faces:count=50,size=16,seed=2"), &["32x32", "16x16"]);
    refused(
        2,
        &with("synthetic-faces:count=3,size=32,seed=1", OTHERS),
        &["at least 5 of each", "found 3 and 50"],
    );
    let text = folder.path().join("text.pt");
    std::fs::write(&text, "this is no encoder").unwrap();
    let other = ["--encoder", text.to_str().unwrap(), "--members", MEMBERS, "--non-members", OTHERS];
    refused(1, &other, &["text.pt"]);
}
