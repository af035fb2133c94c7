//! EncoderMI without a shadow encoder, and `contraleak audit` from outside.

mod common;
use common::gpu::gpu;
use contraleak::attack::encodermi::{CrossFit, MembershipFeatures, Settings, Variant};
use contraleak::data::{Chosen, Images, open_images};
use contraleak::nn::{StateDict, StateTensor, safetensors_file};
use contraleak::rng::{Key, Stream, uniform};
use contraleak::train::{Attachments, EncoderConfig, Model};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Features of `images` images with 3 views: similarities drawn around `mean`.
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

fn settings() -> Settings {
    let mut settings = Settings { views: 3, ..Settings::default() };
    settings.vector.epochs = 60;
    settings.vector.learning_rate = 1e-2;
    settings.set.epochs = 5;
    settings
}

fn accuracy(members: &[bool], others: &[bool]) -> f64 {
    let right = members.iter().filter(|d| **d).count() + others.iter().filter(|d| !**d).count();
    right as f64 / (members.len() + others.len()) as f64
}

#[test]
fn cross_fitting_finds_a_difference_and_only_where_there_is_one() {
    let how = CrossFit { folds: 5, training_images: 1000 };
    let (high, low, same) = (features(120, 0.8, 0), features(120, 0.6, 1), features(120, 0.8, 2));
    for variant in [Variant::V, Variant::T] {
        let judge = |others, shuffled| {
            how.judge(gpu(), variant, &settings(), [&high, others], 3, shuffled, &mut |_| false).unwrap()
        };
        let found = judge(&low, None);
        let right = accuracy(&found.members.decisions, &found.non_members.decisions);
        assert!(right > 0.95, "{variant}: {right}");
        assert!(found.training_accuracy > 0.95, "{variant}: {}", found.training_accuracy);
        assert_eq!(found.thresholds.len(), if variant == Variant::T { 5 } else { 0 });
        // Equal distributions: what a threshold learned on its own images (well above one half, with 240 images and
        // every threshold tried) must not carry over to images that it did not see.
        let chance = judge(&same, None);
        let right = accuracy(&chance.members.decisions, &chance.non_members.decisions);
        assert!((0.38..0.62).contains(&right), "{variant}: {right}");
        assert!(chance.training_accuracy > 0.5, "{variant}: {}", chance.training_accuracy);
        // Permuted labels: nothing true to learn, although the sets differ.
        let shuffled: Vec<f64> = (0..4)
            .map(|run| judge(&low, Some(run)))
            .map(|found| accuracy(&found.members.decisions, &found.non_members.decisions))
            .collect();
        let mean = shuffled.iter().sum::<f64>() / 4.0;
        assert!((0.2..0.8).contains(&mean), "{variant}: {shuffled:?}");
        assert_eq!(judge(&low, None), found, "{variant}: the same seed, the same bits");
    }
}

#[test]
fn a_fold_learns_from_few_images_where_that_is_asked() {
    let how = CrossFit { folds: 2, training_images: 3 };
    let (high, low) = (features(50, 0.8, 0), features(40, 0.6, 1));
    let found = how.judge(gpu(), Variant::T, &settings(), [&high, &low], 3, None, &mut |_| false).unwrap();
    assert_eq!((found.members.scores.len(), found.non_members.scores.len()), (50, 40));
    // Three members and three non-members of each fold, told apart without error.
    assert_eq!(found.training_accuracy, 1.0);
    for (folds, images) in [(1, 50), (60, 50), (2, 0)] {
        let how = CrossFit { folds, training_images: images };
        let problem =
            how.judge(gpu(), Variant::T, &settings(), [&high, &low], 3, None, &mut |_| false).unwrap_err();
        assert!(problem.to_string().contains("cross-fitting"), "{problem}");
    }
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
    assert_eq!(results["attacks"][0]["metrics"]["members"], 60);
    assert_eq!(results["cost"][1]["value"], 440.0);
    assert_eq!(results["data"]["parts"][1]["count"], 50);
    assert!(results["attribute"]["attackers"].as_array().unwrap().len() > 3);
    let details = results["verdict"]["details"].to_string();
    assert!(details.contains("No shadow encoder was given"), "{details}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    for part in ["Can a sensitive attribute be read", "Images alone, without the model", "cross-fitting"] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(std::fs::read_to_string(out.join("scores.csv")).unwrap().lines().count(), 1 + 110);

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
