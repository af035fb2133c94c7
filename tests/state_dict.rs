//! Encoder files: what is read, what is refused and how the refusal is worded, names of other programs.

use contraleak::data::Normalization;
use contraleak::graph::{Form, Init, ParameterSet, Role};
use contraleak::kernels::Shape;
use contraleak::nn::layout::{Recognized, to_native_names};
use contraleak::nn::safetensors_file::{parse, read, serialize, write};
use contraleak::nn::{EncoderFile, EncoderMetadata, StateDict, StateTensor};
use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A file of the given header and tensor bytes.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn entry(dtype: &str, shape: &[u64], start: u64, end: u64) -> Value {
    json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})
}

/// The message with which `bytes` are refused.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    match parse(bytes, Path::new("some.safetensors")) {
        Ok(state) => panic!("expected a refusal, found {state:?}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

fn tensor(dimensions: &[usize]) -> StateTensor {
    let count = dimensions.iter().product::<usize>();
    StateTensor {
        dimensions: dimensions.to_vec(),
        values: (0..count).map(|i| i as f32 * 0.25 - 1.0).collect(),
    }
}

fn state(names: &[&str]) -> StateDict {
    let tensors = names.iter().map(|name| (name.to_string(), tensor(&[2])));
    StateDict { tensors: tensors.collect(), ..StateDict::default() }
}

/// A small model: a convolution, a batch norm with state, and a projector.
fn parameters() -> ParameterSet {
    let mut set = ParameterSet::new();
    let mut vector = |name: &str, role| {
        set.add(name.to_string(), Form::Tensor(Shape::matrix(1, 3)), vec![3], Init::Ones, role);
    };
    vector("bn1.weight", Role::Trained);
    vector("bn1.running_mean", Role::State);
    vector("projector.0.bias", Role::Trained);
    set
}

#[test]
fn half_precision_types_become_f32() {
    let values = [1.0_f32, -0.333, 65504.0, 6.0e-8];
    let mut data = Vec::new();
    data.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()));
    data.extend(values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()));
    data.extend(values.iter().flat_map(|&v| v.to_le_bytes()));
    data.extend(7_i64.to_le_bytes());
    let header = json!({
        "half": entry("F16", &[4], 0, 8),
        "brain": entry("BF16", &[2, 2], 8, 16),
        "single": entry("F32", &[1, 4, 1], 16, 32),
        "bn1.num_batches_tracked": entry("I64", &[], 32, 40),
        "__metadata__": {"format": "pt"},
    });
    let state = parse(&file(&header.to_string(), &data), Path::new("f")).unwrap();
    assert_eq!(state.tensors["half"].values, values.map(|v| f16::from_f32(v).to_f32()));
    assert_eq!(state.tensors["brain"].values, values.map(|v| bf16::from_f32(v).to_f32()));
    assert_eq!(state.tensors["brain"].dimensions, [2, 2]);
    assert_eq!(state.tensors["single"], StateTensor { dimensions: vec![1, 4, 1], values: values.to_vec() });
    assert_eq!(state.counters, BTreeMap::from([("bn1.num_batches_tracked".to_string(), 7)]));
    assert_eq!(state.metadata["format"], "pt");
}

#[test]
fn other_types_are_no_weights_and_are_named_where_one_is_needed() {
    for (dtype, width) in [("I32", 4), ("U8", 1), ("BOOL", 1), ("F8_E4M3", 1), ("C64", 8), ("F4", 1)] {
        let name = "layer1.0.conv1.weight";
        let header = json!({name: entry(dtype, &[2], 0, 2 * width)}).to_string();
        let state = parse(&file(&header, &vec![0; 2 * width as usize]), Path::new("f")).unwrap();
        assert!(state.tensors.is_empty() && state.counters.is_empty());
        assert_eq!(state.skipped, BTreeMap::from([(name.to_string(), format!("{dtype} of shape [2]"))]));
        assert_eq!(state.match_parameters("f", [], |_| false).unwrap().extra, [name]);
        let message =
            state.match_parameters("enc", [(name, &[2_usize][..])], |_| true).unwrap_err().to_string();
        let expected = format!("{name}: expected F32, F16, BF16 or F64, found {dtype} of shape [2]");
        assert_says(&message, &["enc", &expected]);
        assert!(!message.contains("another architecture"));
    }
    let short = json!({"w": entry("I32", &[2], 0, 4)}).to_string();
    assert_says(&refusal(&file(&short, &[0; 4])), &["w:", "I32", "found 4"]);
}

#[test]
fn doubles_are_rounded_and_whole_numbers_of_any_width_counted() {
    let mut data = Vec::new();
    data.extend([0.1_f64, -f64::INFINITY].iter().flat_map(|v| v.to_le_bytes()));
    data.extend([1.0_f64, -1.0e39].iter().flat_map(|v| v.to_le_bytes()));
    data.extend((-5_i64).to_le_bytes());
    data.extend(u64::MAX.to_le_bytes());
    data.extend([0xfb, 0xff, 0xfb]);
    let header = json!({
        "double": entry("F64", &[2], 0, 16),
        "beyond": entry("F64", &[2], 16, 32),
        "long": entry("I64", &[1], 32, 40),
        "wide": entry("U64", &[], 40, 48),
        "short": entry("I16", &[], 48, 50),
        "byte": entry("U8", &[1], 50, 51),
    });
    let state = parse(&file(&header.to_string(), &data), Path::new("f")).unwrap();
    assert_eq!(state.tensors["double"].values, [0.1, f32::NEG_INFINITY]);
    let counters =
        [("byte", 0xfb), ("long", -5), ("short", -5)].map(|(name, value)| (name.to_string(), value));
    assert_eq!(state.counters, BTreeMap::from(counters));
    assert_eq!(state.skipped["beyond"], "F64 with -1e39 at index 1, beyond the range of f32");
    assert_eq!(state.skipped["wide"], "U64 of shape []");
}

#[test]
fn damaged_headers_are_refused_with_their_offset() {
    assert_says(&refusal(b"abc"), &["@0", "3 bytes"]);
    assert_says(&refusal(&[0xff; 40]), &["@0", "header length", &u64::MAX.to_string()]);
    assert_says(&refusal(&file("{}", &[]).as_slice()[..9]), &["@0", "header length"]);
    assert_says(&refusal(&file("{\"a\": \n nonsense}", &[])), &["@17", "JSON"]);
    assert_says(&refusal(&file("[]", &[])), &["JSON object"]);
    assert_says(&refusal(&file("{\"a\": 3}", &[])), &["a:", "dtype"]);
    assert_says(&refusal(&file("{\"__metadata__\": {\"k\": 3}}", &[])), &["__metadata__"]);
    assert_says(&refusal(&file("{}", &[0; 5])), &["@10", "5 more bytes"]);
    let nested = "[".repeat(100_000);
    assert_says(&refusal(&file(&nested, &[])), &["JSON"]);
}

#[test]
fn offsets_and_shapes_are_checked_against_the_file_before_memory_is_taken() {
    let one = |value: Value, bytes: usize| refusal(&file(&json!({"w": value}).to_string(), &vec![0; bytes]));
    assert_says(&one(entry("F32", &[4], 0, 16), 12), &["w:", "within the 12 bytes", "cut short"]);
    assert_says(&one(entry("F32", &[4], 0, u64::MAX), 12), &["w:", "within the 12 bytes"]);
    assert_says(&one(entry("F32", &[1], 8, 4), 12), &["w:", "found 8 to 4"]);
    assert_says(&one(entry("F32", &[u64::MAX, u64::MAX, 4], 0, 12), 12), &["w:", "shape"]);
    assert_says(&one(entry("F32", &[1 << 62], 0, 12), 12), &["w:", "shape", "found 12"]);
    assert_says(&one(entry("F32", &[2], 0, 12), 12), &["w:", "[2]", "found 12"]);
    assert_says(&one(entry("F32", &[2], 4, 12), 12), &["w:", "start at offset 0", "found 4"]);
    assert_says(&one(json!({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}), 4), &["w:"]);
    let overlapping = json!({"a": entry("F32", &[2], 0, 8), "b": entry("F32", &[2], 4, 12)});
    assert_says(&refusal(&file(&overlapping.to_string(), &[0; 12])), &["b:", "offset 8", "found 4"]);
    let twice = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    assert_says(&refusal(&file(twice, &[0; 8])), &["a:", "every name once"]);
}

#[test]
fn headers_are_limited_and_what_they_say_is_escaped() {
    let said = |header: &str| refusal(&file(header, &[]));
    let flat = |dimensions: usize| {
        let header = json!({"w": entry("F32", &vec![0; dimensions], 0, 0)}).to_string();
        parse(&file(&header, &[]), Path::new("f"))
    };
    assert_eq!(flat(64).unwrap().tensors["w"].dimensions.len(), 64);
    assert_says(&flat(65).unwrap_err().to_string(), &["w:", "64 dimensions"]);
    let long = json!({"n".repeat(600): entry("F32", &[0], 0, 0)}).to_string();
    assert_says(&said(&long), &["512 bytes", "of 600 bytes", "nnn…"]);
    assert_says(&said(r#"{"__metadata__":{},"__metadata__":{}}"#), &["__metadata__:", "every name once"]);
    assert_says(&said(r#"{"__metadata__":{"k":"","k":""}}"#), &["__metadata__:", "k:", "every name once"]);
    let escapes = [
        r#"{"\u001b[2J":3}"#.to_string(),
        format!(r#"{{"w":"{}"}}"#, "\\u001b".repeat(10_000)),
        format!(r#"{{"w":{{"dtype":"{}"}}}}"#, "\\u001b".repeat(10_000)),
        r#"{"\u001b[2J":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_string(),
        r#"{"\u001b[2J":{"dtype":"F32","shape":[1],"data_offsets":[0,0]}}"#.to_string(),
    ];
    for header in escapes {
        let message = said(&header);
        assert!(!message.contains('\u{1b}') && message.len() < 2000, "{message:?}");
    }
}

#[test]
fn only_regular_files_that_can_be_weights_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let said = |path: &Path| EncoderFile::read(path).unwrap_err().to_string();
    assert_says(&said(folder.path()), &["expected a regular file, found a folder"]);
    #[cfg(unix)]
    {
        assert_says(&said(Path::new("/dev/zero")), &["expected a regular file, found a device"]);
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_says(&said(&pipe), &["expected a regular file, found a pipe"]);
    }
    // Sparse files of a terabyte, which reading whole would never end.
    for (head, part) in [
        (&b"PK\x03\x04"[..], "list of entries"),
        (b"", "JSON"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff{", "header length"),
        (b"\xff\xff\xff\xff\x01\0\0\0{", "header length"),
        (b"\x80\x02}", "bare pickle"),
        (b"<html>", "web page"),
    ] {
        let path = folder.path().join("sparse");
        std::fs::write(&path, head).unwrap();
        let length = if head.is_empty() { 1 << 10 } else { 1 << 40 };
        std::fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        assert_says(&said(&path), &["sparse", part]);
        assert_says(&read(&path).unwrap_err().to_string(), &["sparse", part]);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(length in 0_u64..200, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let whole = [&length.to_le_bytes()[..], &bytes].concat();
        let _ = parse(&bytes, Path::new("f"));
        let _ = parse(&whole, Path::new("f"));
    }

    #[test]
    fn no_changed_byte_makes_the_reader_panic(position in 0_usize..600, byte in any::<u8>(), cut in 0_usize..600) {
        let mut bytes = serialize(&state(&["conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight"])).unwrap();
        let (position, cut) = (position % bytes.len(), cut % bytes.len());
        bytes[position] = byte;
        let _ = parse(&bytes, Path::new("f"));
        prop_assert!(parse(&bytes[..cut], Path::new("f")).is_err());
    }

    #[test]
    fn writing_and_reading_gives_the_state_back(
        values in proptest::collection::vec(any::<f32>().prop_filter("NaN is not equal to itself", |v| !v.is_nan()), 1..50),
        counter in any::<i64>(),
    ) {
        let mut original = state(&["a", "é \"quoted\" \\ name"]);
        original.tensors.insert("w".into(), StateTensor { dimensions: vec![1, values.len()], values });
        original.counters.insert("queue_ptr".into(), counter);
        original.metadata.insert("contraleak.arch".into(), "a\n\"b\"".into());
        let bytes = serialize(&original).unwrap();
        prop_assert_eq!(parse(&bytes, Path::new("f")).unwrap(), original);
    }
}

#[test]
fn files_are_written_as_other_readers_expect_them() {
    let mut written = state(&["conv1.weight", "bn1.running_mean", "bn1.running_var"]);
    written.metadata.insert("format".into(), "pt".into());
    written.counters.insert("queue_ptr".into(), 128);
    let bytes = serialize(&written).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tracked = read.tensor("bn1.num_batches_tracked").unwrap();
    assert_eq!((tracked.dtype(), tracked.shape()), (safetensors::Dtype::I64, &[][..]));
    assert_eq!(tracked.data(), 0_i64.to_le_bytes());
    assert_eq!(read.tensor("queue_ptr").unwrap().shape(), [1]);
    assert_eq!(read.tensor("conv1.weight").unwrap().dtype(), safetensors::Dtype::F32);
    for name in read.names() {
        let view = read.tensor(name).unwrap();
        let offset = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        assert_eq!(offset % (view.dtype().bitsize() / 8), 0, "{name} is not aligned");
    }
    assert_eq!(serialize(&written).unwrap(), bytes, "equal states must give equal files");
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encoder.safetensors");
    let hash = write(&state(&["conv1.weight"]), &path).unwrap();
    let (first, read_hash) = read(&path).unwrap();
    assert_eq!((first, read_hash), (state(&["conv1.weight"]), hash.clone()));

    let mut broken = state(&["conv1.weight"]);
    broken.tensors.get_mut("conv1.weight").unwrap().dimensions = vec![5];
    let message = write(&broken, &path).unwrap_err().to_string();
    assert_says(&message, &["conv1.weight", "[5]"]);
    assert_eq!(read(&path).unwrap().1, hash, "a failed write must leave the file that stood there");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let missing = folder.path().join("none.safetensors");
    assert_says(&read(&missing).unwrap_err().to_string(), &["none.safetensors"]);
}

#[test]
fn the_content_hash_depends_on_names_dimensions_and_values_alone() {
    let base = state(&["a", "b"]);
    let mut same = base.clone();
    same.metadata.insert("k".into(), "v".into());
    same.counters.insert("bn1.num_batches_tracked".into(), 3);
    assert_eq!(base.content_hash(), same.content_hash());
    assert_eq!(base.content_hash().len(), 64);

    let mut value = base.clone();
    value.tensors.get_mut("a").unwrap().values[1] += 1.0e-6;
    let mut shape = base.clone();
    shape.tensors.get_mut("a").unwrap().dimensions = vec![2, 1];
    for other in [value, shape, state(&["a", "c"]), state(&["a"])] {
        assert_ne!(base.content_hash(), other.content_hash());
    }
}

#[test]
fn matching_lists_what_is_extra_and_what_is_absent() {
    let mut held = StateDict::default();
    for name in ["bn1.weight", "bn1.running_mean", "fc.weight", "an.other"] {
        held.tensors.insert(name.into(), tensor(&[3]));
    }
    held.counters = BTreeMap::from([("bn1.num_batches_tracked".into(), 9), ("queue_ptr".into(), 5)]);
    // What a model does not ask for may hold anything: attention masks hold −∞.
    held.tensors.get_mut("fc.weight").unwrap().values[0] = f32::NEG_INFINITY;
    let matched = held
        .match_parameter_set("enc.safetensors", &parameters(), |name| name.starts_with("projector."))
        .unwrap();
    assert_eq!(matched.values.keys().collect::<Vec<_>>(), ["bn1.running_mean", "bn1.weight"]);
    assert_eq!(matched.values["bn1.weight"], [-1.0, -0.75, -0.5]);
    assert_eq!(matched.extra, ["an.other", "fc.weight", "queue_ptr"]);
    assert_eq!(matched.absent, ["projector.0.bias"]);
}

#[test]
fn matching_names_every_tensor_that_does_not_fit() {
    let mut held = StateDict::default();
    held.tensors.insert("bn1.weight".into(), tensor(&[4]));
    held.tensors.insert("projector.0.bias".into(), tensor(&[3]));
    held.tensors.get_mut("projector.0.bias").unwrap().values[2] = f32::NAN;
    let message =
        held.match_parameter_set("enc.safetensors", &parameters(), |_| false).unwrap_err().to_string();
    assert_says(
        &message,
        &[
            "enc.safetensors: 3 of 3 tensors",
            "bn1.weight: expected [3], found [4]",
            "bn1.running_mean: missing, expected [3]",
            "projector.0.bias: expected finite values, found NaN at index 2",
            "another architecture",
        ],
    );
    held.tensors.insert("bn1.weight".into(), tensor(&[3]));
    held.tensors.insert("bn1.running_mean".into(), tensor(&[3]));
    let message = held.match_parameter_set("f", &parameters(), |_| false).unwrap_err().to_string();
    assert!(!message.contains("another architecture"), "NaN is no matter of architecture: {message}");

    let mut variances = state(&["bn1.running_var"]);
    let expected = || [("bn1.running_var", &[2_usize][..])];
    let message = variances.match_parameters("f", expected(), |_| false).unwrap_err().to_string();
    assert_says(&message, &["bn1.running_var: expected finite variances of 0 or more, found -1 at index 0"]);
    variances.tensors.get_mut("bn1.running_var").unwrap().values.fill(0.0);
    assert!(variances.match_parameters("f", expected(), |_| false).is_ok());

    let names: Vec<String> = (0..50).map(|i| format!("layer{i}.weight")).collect();
    let expected = names.iter().map(|name| (name.as_str(), &[2_usize, 3][..]));
    let message = StateDict::default().match_parameters("f", expected, |_| false).unwrap_err().to_string();
    assert_says(&message, &["50 of 50", "layer0.weight", "layer19.weight", "and 30 more"]);
    assert!(!message.contains("layer20.weight"));
}

#[test]
fn a_model_goes_to_a_file_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encoder.safetensors");
    let set = parameters();
    let values = set.initial_values(7);
    let metadata = EncoderMetadata {
        arch: "resnet18".into(),
        stem: "cifar".into(),
        width: 16,
        normalization: Normalization { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] },
        config: json!({"epochs": 3, "method": "simclr"}),
    };
    let state = StateDict::of_parameters(&set, &values, 40).unwrap();
    let hash = EncoderFile::write(&path, state.clone(), &metadata).unwrap();
    let file = EncoderFile::read(&path).unwrap();
    assert_eq!(file.sha256, hash);
    assert_eq!(file.metadata, Some(metadata));
    assert_eq!(file.state.counters["bn1.num_batches_tracked"], 40);
    assert_eq!(file.state.content_hash(), state.content_hash());
    let matched = file.match_parameters(&set, |_| false).unwrap();
    assert_eq!(matched.values, values);
    assert!(matched.extra.is_empty() && matched.absent.is_empty());
    assert!(set.pack_arena(Role::Trained, &matched.values).is_ok());

    let mut short = values.clone();
    short.get_mut("bn1.weight").unwrap().pop();
    let message = StateDict::of_parameters(&set, &short, 0).unwrap_err().to_string();
    assert_says(&message, &["bn1.weight", "expected 3", "found 2"]);
    short.remove("bn1.weight");
    assert_says(&StateDict::of_parameters(&set, &short, 0).unwrap_err().to_string(), &["bn1.weight", "none"]);
}

#[test]
fn metadata_that_is_not_understood_is_refused_by_key() {
    let metadata = EncoderMetadata {
        arch: "resnet18".into(),
        stem: "imagenet".into(),
        width: 64,
        normalization: Normalization { mean: [0.5; 3], std: [0.25; 3] },
        config: Value::Null,
    };
    let mut good = state(&["conv1.weight"]);
    assert_eq!(EncoderMetadata::load(&good, "f").unwrap(), None);
    metadata.store(&mut good).unwrap();
    assert_eq!(EncoderMetadata::load(&good, "f").unwrap(), Some(metadata.clone()));
    for (key, value) in [
        ("contraleak.width", "0"),
        ("contraleak.width", "wide"),
        ("contraleak.width", "65537"),
        ("contraleak.arch", "resnet18\u{1b}[2J"),
        ("contraleak.stem", "a stem"),
        ("contraleak.normalization", r#"{"mean":[0,0,0],"std":[1e-5,1,1]}"#),
        ("contraleak.normalization", r#"{"mean":[0,0,0],"std":[1,1,1e5]}"#),
        ("contraleak.normalization", r#"{"mean":[0,-1e5,0],"std":[1,1,1]}"#),
        ("contraleak.normalization", "[]"),
        ("contraleak.normalization", r#"{"mean":[0,0,0],"std":[0,1,1]}"#),
        ("contraleak.config", "{"),
    ] {
        let mut bad = good.clone();
        bad.metadata.insert(key.into(), value.into());
        assert_says(&EncoderMetadata::load(&bad, "enc").unwrap_err().to_string(), &["enc", key]);
        if key == "contraleak.arch" {
            continue;
        }
        bad.metadata.remove(key);
        assert_says(&EncoderMetadata::load(&bad, "enc").unwrap_err().to_string(), &["enc", key, "none"]);
    }
    let infinite = Normalization { mean: [f32::INFINITY; 3], std: [1.0; 3] };
    assert!(EncoderMetadata { normalization: infinite, ..metadata }.store(&mut good).is_err());
}

/// What a layout's names become, and under which name it is recognised.
#[track_caller]
fn assert_renamed(layout: &str, prefix: &str, pairs: &[(&str, &str)]) {
    let mut renamed = state(&pairs.iter().map(|(from, _)| *from).collect::<Vec<_>>());
    let recognized = to_native_names(&mut renamed, "f").unwrap();
    let expected = LAYOUT_NAMES.iter().find(|name| **name == layout).copied();
    assert_eq!(recognized, expected.map(|layout| Recognized { layout, prefix: prefix.into() }));
    let mut native: Vec<&str> = pairs.iter().map(|(_, to)| *to).collect();
    native.sort_unstable();
    assert_eq!(renamed.tensors.keys().map(String::as_str).collect::<Vec<_>>(), native);
}

const LAYOUT_NAMES: [&str; 14] = [
    "CLIP ViT, image tower",
    "CLIP ResNet, image tower",
    "pytorch-cifar ResNet",
    "torchvision ResNet, numbered",
    "CLIP ViT",
    "CLIP ResNet",
    "torchvision ResNet",
    "MoCo CIFAR notebook",
    "SimCLR (f, g)",
    "BadEncoder",
    "ContrastiveLeaks ResNet",
    "ContrastiveLeaks MobileNetV2",
    "torchvision MobileNetV2",
    "torchvision VGG",
];

#[test]
fn wrapped_torchvision_names_lose_their_wrappers() {
    for prefix in [
        "",
        "module.",
        "encoder_q.",
        "backbone.",
        "visual.",
        "module.encoder_q.",
        "module.backbone.",
        "_orig_mod.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "model.",
        "model.backbone.",
        "module.base_encoder.",
        "online_network.encoder.",
        "trunk._feature_blocks.",
        "model.visual.",
    ] {
        let names = ["conv1.weight", "layer1.0.conv1.weight", "layer2.0.downsample.1.running_var"];
        let wrapped = names.map(|name| format!("{prefix}{name}"));
        let pairs: Vec<_> = wrapped.iter().map(String::as_str).zip(names).collect();
        assert_renamed("torchvision ResNet", prefix, &pairs);
    }
    let model = [
        ("encoder.module.conv1.weight", "conv1.weight"),
        ("encoder.module.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("head.0.weight", "head.0.weight"),
    ];
    assert_renamed("torchvision ResNet", "encoder.module.", &model);
}

#[test]
fn a_classifier_stays_fc_and_a_contrastive_fc_becomes_the_projector() {
    let plain = [
        ("module.conv1.weight", "conv1.weight"),
        ("module.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("module.fc.weight", "fc.weight"),
    ];
    assert_renamed("torchvision ResNet", "module.", &plain);
    let moco = [
        ("module.encoder_q.conv1.weight", "conv1.weight"),
        ("module.encoder_q.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("module.encoder_q.fc.0.weight", "projector.0.weight"),
        ("module.encoder_q.fc.2.bias", "projector.2.bias"),
        ("module.encoder_k.conv1.weight", "encoder_k.conv1.weight"),
        ("module.queue", "queue"),
    ];
    assert_renamed("torchvision ResNet", "module.encoder_q.", &moco);
    let one_layer = [
        ("encoder_q.conv1.weight", "conv1.weight"),
        ("encoder_q.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("encoder_q.fc.weight", "projector.0.weight"),
        ("encoder_q.fc.bias", "projector.0.bias"),
    ];
    assert_renamed("torchvision ResNet", "encoder_q.", &one_layer);
    let beside = [
        ("module.backbone.conv1.weight", "conv1.weight"),
        ("module.backbone.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("module.projector.0.weight", "projector.0.weight"),
    ];
    assert_renamed("torchvision ResNet", "module.backbone.", &beside);
}

#[test]
fn numbered_layers_get_their_names() {
    let notebook = [
        ("encoder_q.net.0.weight", "conv1.weight"),
        ("encoder_q.net.1.running_mean", "bn1.running_mean"),
        ("encoder_q.net.3.0.conv1.weight", "layer1.0.conv1.weight"),
        ("encoder_q.net.6.1.bn2.bias", "layer4.1.bn2.bias"),
        ("encoder_q.net.9.weight", "projector.0.weight"),
        ("encoder_k.net.0.weight", "encoder_k.net.0.weight"),
        ("queue", "queue"),
    ];
    assert_renamed("MoCo CIFAR notebook", "encoder_q.", &notebook);
    let simclr = [
        ("module.f.0.weight", "conv1.weight"),
        ("module.f.1.weight", "bn1.weight"),
        ("module.f.3.0.conv1.weight", "layer1.0.conv1.weight"),
        ("module.f.4.0.downsample.0.weight", "layer2.0.downsample.0.weight"),
        ("module.g.0.weight", "projector.0.weight"),
        ("module.g.1.bias", "projector.1.bias"),
        ("module.g.3.weight", "projector.3.weight"),
    ];
    assert_renamed("SimCLR (f, g)", "module.", &simclr);
    let badencoder = [
        ("f.f.0.weight", "conv1.weight"),
        ("f.f.3.0.conv1.weight", "layer1.0.conv1.weight"),
        ("f.f.5.0.conv1.weight", "layer3.0.conv1.weight"),
        ("g.0.weight", "projector.0.weight"),
    ];
    assert_renamed("BadEncoder", "", &badencoder);
    let leaks = [
        ("encoder.features.0.weight", "conv1.weight"),
        ("encoder.features.1.bias", "bn1.bias"),
        ("encoder.features.4.0.conv1.weight", "layer1.0.conv1.weight"),
        ("encoder.features.7.1.conv2.weight", "layer4.1.conv2.weight"),
        ("encoder.l1.weight", "projector.0.weight"),
        ("encoder.l2.bias", "projector.2.bias"),
        ("classifier.model.0.weight", "head.0.weight"),
    ];
    assert_renamed("ContrastiveLeaks ResNet", "encoder.", &leaks);
    let mobile = [
        ("features.features.0.0.weight", "features.0.0.weight"),
        ("features.features.18.1.bias", "features.18.1.bias"),
        ("l1.weight", "projector.0.weight"),
    ];
    assert_renamed("ContrastiveLeaks MobileNetV2", "", &mobile);
}

#[test]
fn training_frameworks_leave_their_marks_beside_the_backbone() {
    // Lightning around MoCo
    let lightning = [
        ("model.encoder_q.conv1.weight", "conv1.weight"),
        ("model.encoder_q.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("model.encoder_q.fc.0.weight", "projector.0.weight"),
        ("model.encoder_k.conv1.weight", "encoder_k.conv1.weight"),
        ("model.queue", "queue"),
    ];
    assert_renamed("torchvision ResNet", "model.encoder_q.", &lightning);
    // MoCo v3
    let v3 = [
        ("module.base_encoder.conv1.weight", "conv1.weight"),
        ("module.base_encoder.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("module.base_encoder.fc.3.weight", "projector.3.weight"),
        ("module.momentum_encoder.conv1.weight", "momentum_encoder.conv1.weight"),
        ("module.predictor.0.weight", "predictor.0.weight"),
    ];
    assert_renamed("torchvision ResNet", "module.base_encoder.", &v3);
    // solo-learn
    let solo = [
        ("backbone.conv1.weight", "conv1.weight"),
        ("backbone.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("momentum_backbone.conv1.weight", "momentum_backbone.conv1.weight"),
        ("projector.0.weight", "projector.0.weight"),
        ("classifier.weight", "classifier.weight"),
    ];
    assert_renamed("torchvision ResNet", "backbone.", &solo);
    // Compiled, data parallel
    let compiled = [
        ("module._orig_mod.encoder_q.conv1.weight", "conv1.weight"),
        ("module._orig_mod.encoder_q.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("module._orig_mod.queue", "queue"),
    ];
    assert_renamed("torchvision ResNet", "module._orig_mod.encoder_q.", &compiled);
    // lightly
    let numbered = [
        ("backbone.0.weight", "conv1.weight"),
        ("backbone.1.running_mean", "bn1.running_mean"),
        ("backbone.4.0.conv1.weight", "layer1.0.conv1.weight"),
        ("backbone.7.1.bn2.bias", "layer4.1.bn2.bias"),
        ("backbone_momentum.0.weight", "backbone_momentum.0.weight"),
        ("projection_head.layers.0.weight", "projection_head.layers.0.weight"),
    ];
    assert_renamed("torchvision ResNet, numbered", "backbone.", &numbered);
    // SupContrast
    let shortcut = [
        ("encoder.module.conv1.weight", "conv1.weight"),
        ("encoder.module.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("encoder.module.layer2.0.shortcut.0.weight", "layer2.0.downsample.0.weight"),
        ("head.0.weight", "head.0.weight"),
    ];
    assert_renamed("pytorch-cifar ResNet", "encoder.module.", &shortcut);
    let cifar = [
        ("module.conv1.weight", "conv1.weight"),
        ("module.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("module.layer2.0.shortcut.0.weight", "layer2.0.downsample.0.weight"),
        ("module.linear.weight", "fc.weight"),
    ];
    assert_renamed("pytorch-cifar ResNet", "module.", &cifar);
}

#[test]
fn clip_keeps_the_name_of_its_image_tower() {
    let wrapped = [
        ("module.visual.conv1.weight", "visual.conv1.weight"),
        ("module.visual.class_embedding", "visual.class_embedding"),
        ("module.transformer.resblocks.0.ln_1.bias", "transformer.resblocks.0.ln_1.bias"),
        ("module.logit_scale", "logit_scale"),
    ];
    assert_renamed("CLIP ViT", "module.", &wrapped);
    let tower = [
        ("conv1.weight", "visual.conv1.weight"),
        ("class_embedding", "visual.class_embedding"),
        ("ln_pre.weight", "visual.ln_pre.weight"),
        ("transformer.resblocks.0.ln_1.bias", "visual.transformer.resblocks.0.ln_1.bias"),
    ];
    assert_renamed("CLIP ViT, image tower", "", &tower);
    let resnet = [
        ("conv1.weight", "visual.conv1.weight"),
        ("layer1.0.conv1.weight", "visual.layer1.0.conv1.weight"),
        ("attnpool.positional_embedding", "visual.attnpool.positional_embedding"),
    ];
    assert_renamed("CLIP ResNet, image tower", "", &resnet);
}

#[test]
fn native_names_of_every_family_stay() {
    let same = |names: &[&'static str]| names.iter().map(|&name| (name, name)).collect::<Vec<_>>();
    let clip =
        ["visual.conv1.weight", "visual.layer1.0.conv1.weight", "visual.attnpool.positional_embedding"];
    assert_renamed("CLIP ResNet", "", &same(&clip));
    let vit =
        ["visual.conv1.weight", "visual.class_embedding", "visual.proj", "transformer.resblocks.0.ln_1.bias"];
    assert_renamed("CLIP ViT", "", &same(&vit));
    assert_renamed(
        "torchvision VGG",
        "",
        &same(&["features.0.weight", "features.0.bias", "features.4.weight"]),
    );
    let mobile = ["features.0.0.weight", "features.1.conv.0.0.weight", "projector.0.weight"];
    assert_renamed("torchvision MobileNetV2", "", &same(&mobile));
    assert_renamed("none", "", &same(&["module.something.weight", "encoder.else"]));
}

#[test]
fn two_tensors_for_one_name_are_refused() {
    let names = ["encoder_q.conv1.weight", "encoder_q.layer1.0.conv1.weight", "module.queue", "queue"];
    let message = to_native_names(&mut state(&names), "enc").unwrap_err().to_string();
    assert_says(&message, &["enc", "for queue", "module.queue"]);
}

#[test]
fn beside_a_projector_of_its_own_the_backbone_keeps_its_fc() {
    let both = [
        ("encoder.conv1.weight", "conv1.weight"),
        ("encoder.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("encoder.fc.weight", "fc.weight"),
        ("projector.0.weight", "projector.0.weight"),
    ];
    assert_renamed("torchvision ResNet", "encoder.", &both);
}

#[test]
fn long_names_and_many_prefixes_cost_little() {
    let started = std::time::Instant::now();
    let mut long = state(&[&"net.".repeat(250_000), &"module.".repeat(250_000)]);
    assert_eq!(to_native_names(&mut long, "f").unwrap(), None);
    let wrappers = ["module.", "model.", "encoder.", "net.", "trunk.", "visual.", "network.", "resnet."];
    let name = |index: usize| -> String {
        (0..6).map(|place| wrappers[index >> (3 * place) & 7]).chain(["w"]).collect()
    };
    let names: Vec<String> = (0..100_000).map(name).collect();
    let mut many = state(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(to_native_names(&mut many, "f").unwrap(), None);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}
