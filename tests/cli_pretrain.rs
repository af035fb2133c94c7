//! Pre-train, encode, attack and report from outside: what is left on disk, what is said of mistakes, kills.

mod common;
use contraleak::nn::{EncoderFile, StateTensor};
use contraleak::train::PretrainConfig;
use image::{ImageBuffer, Luma, Rgb};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::tempdir;

const FACES: &str = "synthetic-faces:count=40,size=16#shuffle=1";
const NETWORK: [&str; 6] = ["--stem", "imagenet", "--width", "8", "--batch", "4"];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_contraleak"));
    command.args(arguments).env_remove("RUST_LOG");
    command
}

/// Runs a command that must end with `status`; gives stdout and stderr.
#[track_caller]
fn ends_with(status: i32, arguments: &[&str]) -> (String, String) {
    let output = command(arguments).output().unwrap();
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

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// One image more than a binding holds views of 256 KiB, which is what the first layer makes of them.
#[test]
fn a_batch_over_the_adapters_limit_is_refused_with_the_largest_that_fits() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("run");
    let limit = common::gpu::gpu().facts().max_binding_bytes;
    let batch = limit / (2 << 18) + 1;
    let faces = format!("synthetic-faces:count={batch},size=32");
    let arguments = ["pretrain", "--method", "simclr", "--data", &faces, "--width", "64", "--stem", "cifar"];
    let batch_text = batch.to_string();
    let more = ["--batch", &batch_text, "--batch-norm", "joint", "--epochs", "1", "--out", path(&out)];
    let (_, stderr) = ends_with(1, &[&arguments[..], &more].concat());
    let bytes = format!("{} bytes", batch * (2 << 18));
    says(&stderr, &[&format!("batch {batch}: conv1, "), &bytes, &format!("at most {limit} bytes")]);
    let (_, named) = stderr.trim_end().rsplit_once("; the largest batch that fits is ").expect(&stderr);
    let named: usize = named.parse().unwrap_or_else(|_| panic!("{stderr}"));
    assert_eq!(named as u64, batch - 1, "{stderr}");
    assert!(!out.exists(), "nothing is left of a refused run");
}

/// Images `range` of the faces.
fn part(range: &str) -> String {
    format!("{FACES},take={range}")
}

fn pretrain(data: &str, out: &Path, more: &[&str]) -> Value {
    let arguments = ["pretrain", "--method", "simclr", "--data", data, "--out", path(out), "--json"];
    json(&ends_with(0, &[&arguments, &NETWORK[..], more].concat()).0)
}

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in: {text}"))
}

/// Runs of a target and of a shadow encoder, trained once for all tests of this file.
fn runs() -> &'static [PathBuf; 2] {
    static RUNS: OnceLock<[PathBuf; 2]> = OnceLock::new();
    RUNS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-pretrain");
        let _ = std::fs::remove_dir_all(&folder);
        [("target", "0..10", "0"), ("shadow", "20..30", "1")].map(|(role, range, seed)| {
            let out = folder.join(role);
            let report = pretrain(&part(range), &out, &["--epochs", "5", "--seed", seed]);
            assert_eq!(report["steps"], 10);
            out
        })
    })
}

fn encoder(run: &Path) -> PathBuf {
    run.join("encoder.safetensors")
}

fn attack<'a>(target: &'a Path, shadow: &'a Path, parts: &'a [String; 4], out: &'a Path) -> Vec<&'a str> {
    let [a, b, c, d] = parts;
    let mut arguments = vec!["attack", "encodermi", "--target", path(target), "--shadow", path(shadow)];
    arguments.extend(["--members", a, "--non-members", b, "--shadow-members", c, "--shadow-non-members", d]);
    arguments.extend(["--views", "4", "--vector-epochs", "3", "--set-epochs", "2", "--shuffles", "3"]);
    arguments.extend(["--out", path(out)]);
    arguments
}

fn parts() -> [String; 4] {
    ["0..10", "10..20", "20..30", "30..40"].map(part)
}

#[test]
fn from_pretraining_to_a_report() {
    let ([target, shadow], out) = (runs(), tempdir().unwrap());
    let config = PretrainConfig::read(target).unwrap();
    let settings = config.training.settings();
    assert_eq!((config.data.as_str(), settings.batch, settings.epochs), (&*part("0..10"), 4, 5));
    let metrics = std::fs::read_to_string(target.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(json).collect();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().zip(1..).all(|(line, step)| line["step"] == step && line["loss"].is_f64()));
    assert!(target.join("checkpoint/step-0000000010.safetensors").is_file());

    // The same command gives the same file, and a finished run that is resumed keeps it.
    let again = pretrain(&part("0..10"), &out.path().join("again"), &["--epochs", "5", "--seed", "0"]);
    let sha256 = EncoderFile::read(encoder(target)).unwrap().sha256;
    assert_eq!(again["encoder_sha256"], Value::from(sha256.clone()));
    let resumed = json(&ends_with(0, &["pretrain", "--resume", path(target), "--json"]).0);
    assert_eq!(resumed["encoder_sha256"], Value::from(sha256.clone()));
    assert_eq!(resumed["final_loss"], again["final_loss"]);

    let file = out.path().join("features.safetensors");
    for (more, shape) in [(&[][..], vec![10, 64]), (&["--views", "3"][..], vec![10, 3, 64])] {
        let (encoder, data) = (encoder(target), part("0..10"));
        let arguments =
            ["encode", "--encoder", path(&encoder), "--data", &data, "--out", path(&file), "--json"];
        let report = json(&ends_with(0, &[&arguments, more].concat()).0);
        assert_eq!((&report["images"], &report["dimension"]), (&10.into(), &64.into()));
        let bytes = std::fs::read(&file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let features = tensors.tensor("features").unwrap();
        assert_eq!((features.shape(), features.dtype()), (&shape[..], Dtype::F32));
        let index = tensors.tensor("index").unwrap();
        assert_eq!((index.shape(), index.dtype()), (&[10][..], Dtype::I64));
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(features.data());
        assert!(values.iter().all(|v| v.is_finite()) && values.iter().any(|v| *v != 0.0));
    }

    let (encoders, parts) = ([encoder(target), encoder(shadow)], parts());
    let audit = |name: &str| {
        let folder = out.path().join(name);
        let arguments = [&attack(&encoders[0], &encoders[1], &parts, &folder)[..], &["--json"]].concat();
        (json(&ends_with(0, &arguments).0), folder)
    };
    let (results, folder) = audit("audit");
    let ids: Vec<&str> =
        results["attacks"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["encodermi-v", "encodermi-s", "encodermi-t"]);
    let on_disk = json(&std::fs::read_to_string(folder.join("results.json")).unwrap());
    assert_eq!(on_disk["attacks"], results["attacks"]);
    assert_eq!(results["encoder"]["checkpoint_hash"], Value::from(sha256));
    let scores = std::fs::read_to_string(folder.join("scores.csv")).unwrap();
    assert_eq!(scores.lines().count(), 1 + 20);
    let config: toml::Table = std::fs::read_to_string(folder.join("config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["settings"]["views"].as_integer(), Some(4));
    assert_eq!(config["seed"].as_integer(), Some(0));
    assert_eq!(config["inputs"]["members"].as_str(), Some(&*parts[0]));
    let (_, second) = audit("second");
    assert_eq!(std::fs::read_to_string(second.join("scores.csv")).unwrap(), scores);

    let html = std::fs::read_to_string(folder.join("report.html")).unwrap();
    std::fs::remove_file(folder.join("report.html")).unwrap();
    says(&ends_with(0, &["report", path(&folder)]).0, &["EncoderMI-T", "report.html"]);
    // Megabytes of page are no help in a message.
    assert!(
        std::fs::read_to_string(folder.join("report.html")).unwrap() == html,
        "report gives another page"
    );
}

#[test]
fn unknown_names_end_with_2_and_name_the_nearest() {
    let ([target, shadow], out) = (runs(), tempdir().unwrap());
    let run = out.path().join("run");
    let data = part("0..10");
    for (option, name, nearest) in [
        ("--method", "simcrl", "simclr"),
        ("--arch", "resnet81", "resnet18"),
        ("--stem", "imagnet", "imagenet"),
        ("--head", "moco-mpl", "moco-mlp"),
        ("--optimizer", "admaw", "adamw"),
        ("--augment", "moco-cifra", "moco-cifar"),
        ("--batch-norm", "per-veiw", "per-view"),
        ("--precision", "mixd", "mixed"),
    ] {
        let arguments = ["pretrain", "--data", &data, "--out", path(&run), option, name];
        says(&ends_with(2, &arguments).1, &[name, &format!("did you mean {nearest}?"), "known:"]);
    }
    let schedule = ["pretrain", "--data", &data, "--out", path(&run), "--schedule", "cosin"];
    says(&ends_with(2, &schedule).1, &["cosin", "cosine"]);
    for (settings, parts) in [
        (&["--batch", "11"][..], ["batch", "10 images"]),
        (&["--batch", "4", "--epochs", "0"], ["epochs", "found 0"]),
        (&["--batch", "4", "--width", "0"], ["width", "0"]),
        (&["--batch", "4", "--seed", "18446744073709551615"], ["seed", "at most"]),
    ] {
        let arguments = [&["pretrain", "--data", &data, "--out", path(&run)], settings].concat();
        says(&ends_with(2, &arguments).1, &parts);
    }
    assert!(!run.exists());

    let (encoders, parts) = ([encoder(target), encoder(shadow)], parts());
    let attack = attack(&encoders[0], &encoders[1], &parts, &run);
    for (option, name, nearest) in [
        ("--variants", "V,TT", "T"),
        ("--similarity", "cosin", "cosine"),
        ("--compat", "deepset", "deepsets"),
        ("--augment", "moco-cifra", "moco-cifar"),
    ] {
        says(
            &ends_with(2, &[&attack[..], &[option, name]].concat()).1,
            &[&format!("did you mean {nearest}?")],
        );
    }
    for (option, value) in
        [("--views", "1"), ("--views", "65"), ("--set-epochs", "0"), ("--vector-epochs", "0")]
    {
        let at = attack.iter().position(|a| *a == option).unwrap();
        let mut arguments = attack.clone();
        arguments[at + 1] = value;
        says(&ends_with(2, &arguments).1, &[&option[2..], value]);
    }
    let overlapping = [part("0..10"), part("9..19"), part("20..30"), part("30..40")];
    let arguments = crate::attack(&encoders[0], &encoders[1], &overlapping, &run);
    says(&ends_with(2, &arguments).1, &["members and non-members", "overlap"]);
    let file = path(&encoders[0]);
    let encode = ["encode", "--encoder", file, "--data", &data, "--out", path(&run)];
    says(&ends_with(2, &[&encode[..], &["--views", "2", "--augment", "moco"]].concat()).1, &["moco"]);
    says(&ends_with(2, &[&encode[..], &["--views", "0"]].concat()).1, &["views", "found 0"]);
    assert!(!run.exists());
}

/// Where the adapter has a use for it a run in mixed precision trains, elsewhere it is refused before anything is written.
#[test]
fn mixed_precision_trains_or_is_refused_with_its_reason() {
    let out = tempdir().unwrap();
    let run = out.path().join("run");
    let device = json(&ends_with(0, &["device", "--json"]).0);
    let used = device["adapters"].as_array().unwrap().iter().find(|a| a["used"] == true).unwrap();
    let data = part("0..10");
    let settings = ["--batch", "4", "--epochs", "2", "--width", "8", "--precision", "mixed", "--json"];
    let arguments = [&["pretrain", "--data", &data, "--out", path(&run)][..], &settings].concat();
    match used["no_mixed_precision"].as_str() {
        Some(reason) => {
            says(&ends_with(2, &arguments).1, &["mixed precision", reason, "leave --precision out"]);
            assert!(!run.exists());
        }
        None => {
            let report = json(&ends_with(0, &arguments).0);
            assert!(report["skipped_steps"].as_u64().is_some_and(|skipped| skipped <= 4), "{report}");
        }
    }
}

#[test]
fn encoder_files_that_do_not_fit_name_each_tensor() {
    let ([target, shadow], out) = (runs(), tempdir().unwrap());
    let original = EncoderFile::read(encoder(target)).unwrap();
    let metadata = original.metadata.clone().unwrap();
    let broken = out.path().join("broken.safetensors");
    let mut state = original.state.clone();
    state.tensors.remove("layer1.0.conv1.weight");
    state.tensors.remove("layer4.1.bn2.bias");
    state.tensors.insert("bn1.weight".into(), StateTensor { dimensions: vec![9], values: vec![1.0; 9] });
    EncoderFile::write(&broken, state, &metadata).unwrap();
    let extra = out.path().join("extra.safetensors");
    let mut state = original.state.clone();
    state.tensors.insert("layer5.weight".into(), StateTensor { dimensions: vec![1], values: vec![1.0] });
    EncoderFile::write(&extra, state, &metadata).unwrap();

    let (data, file) = (part("0..4"), out.path().join("f.safetensors"));
    let encode = |status, encoder: &Path| {
        let arguments =
            ["encode", "--encoder", path(encoder), "--data", &data, "--out", path(&file), "--json"];
        ends_with(status, &arguments)
    };
    let all = [
        "layer1.0.conv1.weight: missing",
        "layer4.1.bn2.bias: missing",
        "bn1.weight: expected [8], found [9]",
    ];
    says(&encode(1, &broken).1, &all);
    says(&encode(1, &broken).1, &["broken.safetensors"]);
    assert!(!file.exists());
    let (stdout, stderr) = encode(0, &extra);
    assert_eq!(json(&stdout)["extra_tensors"], serde_json::json!(["layer5.weight"]));
    says(&stderr, &["layer5.weight", "extra.safetensors"]);

    let (shadow, parts, audit) = (encoder(shadow), parts(), out.path().join("audit"));
    says(&ends_with(1, &attack(&broken, &shadow, &parts, &audit)).1, &all);
    assert!(!audit.exists());
    let quick = [&attack(&extra, &shadow, &parts, &audit)[..], &["--variants", "T"]].concat();
    says(&ends_with(0, &quick).1, &["layer5.weight"]);
    let missing = out.path().join("nowhere.safetensors");
    says(&encode(1, &missing).1, &["nowhere.safetensors"]);
    std::fs::write(&missing, "no tensors").unwrap();
    says(&encode(1, &missing).1, &["nowhere.safetensors"]);
}

#[test]
fn folders_of_images_of_other_kinds() {
    let out = tempdir().unwrap();
    let images = out.path().join("images");
    for class in ["gray", "deep"] {
        std::fs::create_dir_all(images.join(class)).unwrap();
    }
    for i in 0..4u32 {
        let gray = ImageBuffer::from_fn(16, 16, |x, y| Luma([(x * 9 + y * 5 + i * 31) as u8]));
        gray.save(images.join(format!("gray/{i}.png"))).unwrap();
        let deep = ImageBuffer::from_fn(16, 16, |x, y| {
            Rgb([(x * 4000 + i * 999) as u16, (y * 4000) as u16, (x * y * 200) as u16])
        });
        deep.save(images.join(format!("deep/{i}.png"))).unwrap();
    }
    let (data, run) = (format!("folder:{}", images.display()), out.path().join("run"));
    assert_eq!(pretrain(&data, &run, &["--epochs", "2"])["steps"], 4);

    std::fs::copy(images.join("deep/0.png"), images.join("deep/3.png")).unwrap();
    says(&ends_with(2, &["pretrain", "--resume", path(&run)]).1, &["content hash", &data]);
    std::fs::write(images.join("gray/2.png"), "no image\n").unwrap();
    let other = out.path().join("other");
    let arguments = [&["pretrain", "--data", &data, "--out", path(&other)], &NETWORK[..]].concat();
    says(&ends_with(1, &arguments).1, &["gray/2.png"]);
    assert!(!other.exists());
    says(&ends_with(2, &["pretrain", "--resume", path(&other)]).1, &["holds no run", "config.toml"]);
}

#[test]
fn a_killed_run_ends_in_the_same_bits() {
    let out = tempdir().unwrap();
    let (data, more) = (part("0..10"), ["--epochs", "40", "--checkpoint-every", "7"]);
    let start = Instant::now();
    let whole = pretrain(&data, &out.path().join("whole"), &more);
    let (whole_time, lines) =
        (start.elapsed(), |run: &Path| std::fs::read(run.join("metrics.jsonl")).unwrap());
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().subsec_nanos();
    let (mut midway, mut moments) = (0, Vec::new());
    for repetition in 0..3u32 {
        let run = out.path().join(format!("killed-{repetition}"));
        let fresh = [&["pretrain", "--data", &data, "--out", path(&run)], &NETWORK[..], &more].concat();
        let resume = ["pretrain", "--resume", path(&run), "--checkpoint-every", "5"];
        // Two kills at random moments after the folder is there, the second one of the resumed run.
        for (kill, arguments) in [(0, &fresh[..]), (1, &resume[..])] {
            let mut child = command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while !run.join("config.toml").exists() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
            let share = f64::from((seed >> (repetition * 4 + kill * 8)) % 256) / 256.0;
            let moment = whole_time.mul_f64(0.7 * share);
            moments.push(moment);
            std::thread::sleep(moment);
            child.kill().unwrap();
            child.wait().unwrap();
            midway += usize::from(!encoder(&run).exists());
        }
        let resumed = json(&ends_with(0, &[&resume[..], &["--json"]].concat()).0);
        assert_eq!(resumed["encoder_sha256"], whole["encoder_sha256"], "killed after {moments:?}");
        assert_eq!(lines(&run), lines(&out.path().join("whole")), "killed after {moments:?}");
    }
    assert!(midway > 0, "no kill hit a run that was under way: {moments:?}");
}

/// A run that was begun with direct convolutions goes on with them, and one begun without them refuses them.
#[test]
fn a_run_keeps_its_convolutions() {
    let folder = tempdir().unwrap();
    let (plain, exact) = (folder.path().join("plain"), folder.path().join("exact"));
    let begin = |out: &Path, more: &[&str]| {
        let arguments =
            ["pretrain", "--data", "synthetic-faces:count=8,size=16", "--width", "8", "--batch", "4"];
        ends_with(0, &[&arguments[..], &["--epochs", "1", "--out", path(out)], more].concat());
    };
    begin(&plain, &[]);
    begin(&exact, &["--exact-conv"]);
    assert!(!PretrainConfig::read(&plain).unwrap().exact_conv);
    assert!(PretrainConfig::read(&exact).unwrap().exact_conv);
    for more in [&[][..], &["--exact-conv"]] {
        ends_with(0, &[&["pretrain", "--resume", path(&exact)], more].concat());
    }
    let (_, stderr) = ends_with(2, &["pretrain", "--resume", path(&plain), "--exact-conv"]);
    says(&stderr, &["--exact-conv", path(&plain), "begun without it"]);
}
