//! Pre-training runs: the same bits whatever interrupts them, errors that name the setting, encoders at the end.

mod common;
use common::gpu::gpu;
use common::training::{Before, checkpoints, copy_folder, faces, options, simclr};
use contraleak::Error;
use contraleak::augment::RandomCrop;
use contraleak::data::ImageSet;
use contraleak::train::{
    BatchNormScope, GpuImages, Outcome, PretrainConfig, RunOptions, SimclrConfig, Trainer, pretrain,
};
use std::io::Write;
use std::path::Path;
use tempfile::tempdir;

/// Two steps an epoch over ten images.
const EPOCHS: u64 = 10;

fn set() -> ImageSet {
    faces(10, 1)
}

fn run(options: &RunOptions, set: &ImageSet) -> Result<Outcome, Error> {
    pretrain(gpu(), set, options, &mut ())
}

fn metrics(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap()
}

#[track_caller]
fn same_run(label: &str, a: &Outcome, b: &Outcome) {
    assert_eq!(a.losses, b.losses, "{label}");
    assert_eq!(a.encoder_sha256, b.encoder_sha256, "{label}");
    let folder = |outcome: &Outcome| outcome.encoder.parent().unwrap().to_path_buf();
    assert_eq!(metrics(&folder(a)), metrics(&folder(b)), "{label}");
    assert_eq!(std::fs::read(&a.encoder).unwrap(), std::fs::read(&b.encoder).unwrap(), "{label}");
}

#[track_caller]
fn usage_error(result: Result<Outcome, Error>, parts: &[&str]) {
    match result {
        Err(Error::Usage(message)) => {
            for part in parts {
                assert!(message.contains(part), "expected {part:?} in: {message}");
            }
        }
        other => panic!("expected a usage error with {parts:?}, found {other:?}"),
    }
}

#[test]
fn equal_runs_give_equal_bits_however_often_they_save() {
    let (set, folder) = (set(), tempdir().unwrap());
    let mut encoders = Vec::new();
    for scope in [BatchNormScope::PerView, BatchNormScope::Joint] {
        let config = SimclrConfig { batch_norm: scope, ..simclr(EPOCHS) };
        let first = run(&options(&folder.path().join(format!("{scope:?}-a")), &set, config.clone()), &set);
        let every = RunOptions {
            checkpoint_every: Some(3),
            ..options(&folder.path().join(format!("{scope:?}-b")), &set, config)
        };
        let (first, second) = (first.unwrap(), run(&every, &set).unwrap());
        assert_eq!((first.steps, first.steps_here, first.losses.len()), (20, 20, 20));
        assert_eq!(first.losses.last().map(|l| l.1), Some(first.final_loss));
        assert_eq!(
            checkpoints(&every.folder),
            ["step-0000000018.safetensors", "step-0000000020.safetensors"]
        );
        same_run(&format!("{scope:?}"), &first, &second);
        encoders.push(first.encoder_sha256);
    }
    assert_ne!(encoders[0], encoders[1], "the scope of batch norm changes nothing");
}

#[test]
fn a_stopped_run_goes_on_in_the_same_bits() {
    let (set, folder) = (set(), tempdir().unwrap());
    let whole = run(&options(&folder.path().join("whole"), &set, simclr(EPOCHS)), &set).unwrap();
    let stopped = options(&folder.path().join("stopped"), &set, simclr(EPOCHS));
    for (resume, at, total) in [(false, 0, 0), (true, 7, 7), (true, 2, 9)] {
        let stopped = RunOptions { resume, ..stopped.clone() };
        let result = pretrain(gpu(), &set, &stopped, &mut Before(|step| step == at, 0));
        match result {
            Err(Error::Interrupted(message)) => {
                assert!(message.contains(&format!("step {total} of 20")), "{message}");
                assert!(message.contains("--resume"), "{message}");
            }
            other => panic!("expected an interruption, found {other:?}"),
        }
        assert_eq!(metrics(&stopped.folder).lines().count(), total);
        assert!(!stopped.folder.join("encoder.safetensors").exists());
    }
    let resumed = run(&RunOptions { resume: true, ..stopped.clone() }, &set).unwrap();
    assert_eq!((resumed.steps, resumed.steps_here), (20, 11));
    same_run("stopped at 0, 7, 9", &whole, &resumed);

    // A finished run that is resumed has nothing to do and stays as it is.
    let again = run(&RunOptions { resume: true, ..stopped }, &set).unwrap();
    assert_eq!((again.steps, again.steps_here, again.final_loss), (20, 0, whole.final_loss));
    same_run("finished", &whole, &again);
}

#[test]
fn a_killed_run_goes_on_in_the_same_bits_whatever_the_kill_left() {
    let (set, folder) = (set(), tempdir().unwrap());
    let original = RunOptions {
        checkpoint_every: Some(5),
        ..options(&folder.path().join("whole"), &set, simclr(EPOCHS))
    };
    let killed = |at: u64, what: &str| folder.path().join(format!("{at}-{what}"));
    let kinds = ["as it was", "torn line", "lines beyond", "not text", "truncated", "emptied"];
    let mut watch = Before(
        |step| {
            if [3, 13].contains(&step) {
                kinds.iter().for_each(|what| copy_folder(&original.folder, &killed(step, what)));
            }
            false
        },
        0,
    );
    let whole = pretrain(gpu(), &set, &original, &mut watch).unwrap();
    for (at, what, from) in [
        (3, "as it was", 0),
        (13, "as it was", 10),
        (3, "torn line", 0),
        (13, "torn line", 10),
        (13, "lines beyond", 10),
        (13, "not text", 10),
        (13, "truncated", 5),
        (13, "emptied", 5),
    ] {
        let folder = killed(at, what);
        let file = folder.join("metrics.jsonl");
        let append = |bytes: &[u8]| {
            std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(bytes).unwrap()
        };
        let newest = || folder.join("checkpoint").join(checkpoints(&folder).pop().unwrap());
        match what {
            "torn line" => append(b"{\"step\":11,\"epo"),
            "lines beyond" => {
                let lines = metrics(&original.folder);
                append(
                    lines.lines().skip(10).take(3).map(|l| format!("{l}\n")).collect::<String>().as_bytes(),
                );
            }
            "not text" => append(&[0, 0xff, 0xfe, b'\n', 0]),
            "truncated" => {
                let bytes = std::fs::read(newest()).unwrap();
                std::fs::write(newest(), &bytes[..bytes.len() - 4096]).unwrap();
            }
            "emptied" => std::fs::write(newest(), b"").unwrap(),
            _ => std::fs::write(folder.join("checkpoint.partial"), b"x").unwrap(),
        }
        let label = format!("killed before step {at}, {what}");
        let resumed = run(&RunOptions { folder, resume: true, ..original.clone() }, &set)
            .unwrap_or_else(|e| panic!("{label}: {e}"));
        assert_eq!(resumed.steps_here, 20 - from, "{label}");
        same_run(&label, &whole, &resumed);
    }
}

#[test]
fn only_broken_checkpoints_are_an_error_that_names_the_file() {
    let (set, folder) = (set(), tempdir().unwrap());
    let options = options(folder.path(), &set, simclr(EPOCHS));
    let stop = pretrain(gpu(), &set, &options, &mut Before(|step| step == 1, 0));
    assert!(matches!(stop, Err(Error::Interrupted(_))), "{stop:?}");
    let [name] = &checkpoints(folder.path())[..] else { panic!("one checkpoint expected") };
    std::fs::write(folder.path().join("checkpoint").join(name), b"not a checkpoint").unwrap();
    match run(&RunOptions { resume: true, ..options }, &set) {
        Err(Error::Data { place, .. }) => assert!(place.contains(name), "{place}"),
        other => panic!("expected an error at {name}, found {other:?}"),
    }
}

#[test]
fn another_run_in_the_folder_is_refused_and_left_alone() {
    let (set, folder) = (set(), tempdir().unwrap());
    let first = options(folder.path(), &set, simclr(1));
    run(&first, &set).unwrap();
    let before = std::fs::read(folder.path().join("config.toml")).unwrap();
    usage_error(run(&first, &set), &[&folder.path().display().to_string(), "--resume"]);

    let other = RunOptions { resume: true, ..options(folder.path(), &set, simclr(2)) };
    usage_error(run(&other, &set), &["configuration", "epochs", "expected 1", "found 2"]);
    let config = SimclrConfig { learning_rate: 0.25, temperature: 0.125, ..simclr(1) };
    let other = RunOptions { resume: true, ..options(folder.path(), &set, config) };
    usage_error(run(&other, &set), &["learning_rate", "0.25", "temperature", "0.125"]);
    let faces = faces(10, 2);
    let other = RunOptions { resume: true, ..options(folder.path(), &faces, simclr(1)) };
    usage_error(run(&other, &faces), &["data", &set.content_hash(), &faces.content_hash()]);

    assert_eq!(std::fs::read(folder.path().join("config.toml")).unwrap(), before);
}

#[test]
fn config_toml_holds_the_whole_configuration() {
    let (set, folder) = (set(), tempdir().unwrap());
    let mut config = simclr(3);
    config.temperature = 0.07;
    config.recipe = config.recipe.normalised(([0.1, 1.0 / 3.0, 0.7], [0.2, 0.3, 1.0]));
    config.recipe.crop = None;
    config.schedule = "warmup(5)+cosine".into();
    let config = options(folder.path(), &set, config).config;
    config.write(folder.path()).unwrap();
    assert_eq!(PretrainConfig::read(folder.path()).unwrap(), config);
    let path = folder.path().join("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("epochs =", "epoch =")).unwrap();
    let error = PretrainConfig::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.toml") && error.contains("epoch"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let (set, folder) = (set(), tempdir().unwrap());
    let config = SimclrConfig { learning_rate: 1e30, ..simclr(EPOCHS) };
    let options = RunOptions { checkpoint_every: Some(1), ..options(folder.path(), &set, config) };
    match run(&options, &set) {
        Err(Error::Diverged(message)) => assert!(message.contains("at step 2"), "{message}"),
        other => panic!("expected divergence, found {other:?}"),
    }
    assert!(!folder.path().join("encoder.safetensors").exists());
    assert_eq!(metrics(folder.path()).lines().count(), 1, "the loss of the first step is finite");
    assert!(checkpoints(folder.path()).is_empty(), "what step 1 left gives no finite loss");
}

#[test]
fn divergence_keeps_the_last_good_checkpoint() {
    let (set, folder) = (set(), tempdir().unwrap());
    let whole = run(&options(&folder.path().join("whole"), &set, simclr(EPOCHS)), &set).unwrap();
    let options =
        RunOptions { checkpoint_every: Some(2), ..options(&folder.path().join("run"), &set, simclr(EPOCHS)) };
    let stop = pretrain(gpu(), &set, &options, &mut Before(|step| step == 4, 0));
    assert!(matches!(stop, Err(Error::Interrupted(_))), "{stop:?}");
    assert_eq!(checkpoints(&options.folder).len(), 2);
    // The last numbers of the file become NaN, wherever they belong to.
    let newest = options.folder.join("checkpoint").join("step-0000000004.safetensors");
    let mut bytes = std::fs::read(&newest).unwrap();
    let end = bytes.len();
    bytes[end - 4096..].fill(0xff);
    std::fs::write(&newest, bytes).unwrap();
    let resume = RunOptions { resume: true, ..options };
    match run(&resume, &set) {
        Err(Error::Diverged(message)) => {
            assert!(message.contains("at step 5") && message.contains("of step 2 is kept"), "{message}");
        }
        other => panic!("expected divergence, found {other:?}"),
    }
    assert_eq!(checkpoints(&resume.folder), ["step-0000000002.safetensors"]);
    assert!(!resume.folder.join("encoder.safetensors").exists());
    same_run("after divergence", &whole, &run(&resume, &set).unwrap());
}

#[test]
fn settings_out_of_range_are_named() {
    let (set, folder) = (set(), tempdir().unwrap());
    let base = simclr(1);
    let cases: [(SimclrConfig, &[&str]); 9] = [
        (SimclrConfig { batch: 11, ..base.clone() }, &["batch", "11", "10 images"]),
        (SimclrConfig { batch: 1, ..base.clone() }, &["batch", "found 1"]),
        (SimclrConfig { epochs: 0, ..base.clone() }, &["epochs", "found 0"]),
        (SimclrConfig { epochs: u64::MAX, ..base.clone() }, &["epochs", "at most 2147483647"]),
        (SimclrConfig { temperature: 0.0, ..base.clone() }, &["temperature", "found 0"]),
        (SimclrConfig { temperature: f32::NAN, ..base.clone() }, &["temperature", "NaN"]),
        (SimclrConfig { learning_rate: -1.0, ..base.clone() }, &["learning_rate", "-1"]),
        (SimclrConfig { seed: u64::MAX, ..base.clone() }, &["seed", &u64::MAX.to_string()]),
        (SimclrConfig { schedule: "cosin".into(), ..base.clone() }, &["cosin"]),
    ];
    let target = folder.path().join("run");
    for (config, parts) in cases {
        usage_error(run(&options(&target, &set, config), &set), parts);
    }
    let empty = set.subset(&[]).unwrap();
    usage_error(run(&options(&target, &empty, base.clone()), &empty), &["batch", "0 images"]);
    let mut small = base;
    small.encoder.size = 4;
    small.recipe = small.recipe.sized(4);
    usage_error(run(&options(&target, &set, small), &set), &["size", "found 4"]);
    assert!(!target.exists(), "a run that cannot start leaves a folder");
}

#[test]
fn the_loss_falls() {
    let (set, folder) = (faces(16, 3), tempdir().unwrap());
    // Views that hardly differ make the task easy.
    let mut config = SimclrConfig { batch: 8, temperature: 0.2, ..simclr(30) };
    (config.recipe.jitter, config.recipe.gray) = (0.0, 0.0);
    config.recipe.crop = Some(RandomCrop { scale: (0.8, 1.0), ratio: (1.0, 1.0) });
    let outcome = run(&options(folder.path(), &set, config), &set).unwrap();
    let mean = |part: &[(u64, f32)]| part.iter().map(|l| l.1).sum::<f32>() / part.len() as f32;
    let (first, last) = (mean(&outcome.losses[..10]), mean(&outcome.losses[50..]));
    assert!(last < first - 0.3, "mean loss {first} of the first ten steps, {last} of the last ten");
}

#[test]
fn images_that_stream_give_the_bits_of_images_that_stay() {
    let set = set();
    let config = simclr(EPOCHS);
    let train = |images: GpuImages| {
        let mut trainer = Trainer::with_images(gpu(), config.clone(), &set, images).unwrap();
        for _ in 0..7 {
            trainer.step().unwrap();
        }
        let losses: Vec<f32> = trainer.losses_later().unwrap().wait(gpu()).unwrap();
        (losses, trainer.download().unwrap())
    };
    let resident = GpuImages::new(gpu(), &set, config.batch).unwrap();
    let streaming = GpuImages::streaming(gpu(), set.height, set.width, config.batch).unwrap();
    assert!(resident.resident() && !streaming.resident());
    let (a, b) = (train(resident), train(streaming));
    assert!(a.0[..7].iter().all(|loss| *loss > 0.0), "{:?}", &a.0[..7]);
    assert_eq!(a, b);
}
