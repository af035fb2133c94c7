//! Checkpoints of PyTorch: what is read from files that PyTorch wrote (tests/torch/make_checkpoints.py), and how files
//! that are damaged, too large or up to something are refused.

#[path = "common/checkpoint.rs"]
mod checkpoint;

use std::path::Path;

use checkpoint::{Pickle, checkpoint, one_tensor, written_by_torch, zip};
use contraleak::nn::layout::Recognized;
use contraleak::nn::torch_file::parse;
use contraleak::nn::{EncoderFile, FileFormat, StateDict, file_format};

/// The values of every weight that make_checkpoints.py writes.
fn weight(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32 / 4.0 - 1.0).collect()
}

#[track_caller]
fn read(bytes: &[u8]) -> (StateDict, FileFormat) {
    parse(bytes, Path::new("some.pt")).unwrap()
}

#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    match parse(bytes, Path::new("some.pt")) {
        Ok((state, _)) => panic!("expected a refusal, found {state:?}"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "expected {part:?} in: {message}");
    }
}

#[track_caller]
fn assert_tensor(state: &StateDict, name: &str, dimensions: &[usize], values: &[f32]) {
    let tensor = &state.tensors[name];
    assert_eq!((tensor.dimensions.as_slice(), tensor.values.as_slice()), (dimensions, values), "{name}");
}

/// The encoder of make_checkpoints.py under a prefix.
#[track_caller]
fn assert_encoder(state: &StateDict, prefix: &str) {
    let shapes: [(&str, &[usize]); 8] = [
        ("conv1.weight", &[2, 1, 1, 1]),
        ("bn1.weight", &[2]),
        ("bn1.bias", &[2]),
        ("bn1.running_mean", &[2]),
        ("bn1.running_var", &[2]),
        ("layer1.0.conv1.weight", &[2, 2, 1, 1]),
        ("fc.weight", &[3, 2]),
        ("fc.bias", &[3]),
    ];
    for (name, dimensions) in shapes {
        let values = weight(dimensions.iter().product());
        assert_tensor(state, &format!("{prefix}{name}"), dimensions, &values);
    }
    assert_eq!(state.counters[&format!("{prefix}bn1.num_batches_tracked")], 7);
    assert_eq!(state.skipped[&format!("{prefix}mask")], "BOOL of shape [2]");
}

#[test]
fn a_state_dict_of_any_protocol_is_read() {
    for name in ["plain.pt", "protocol4.pt", "protocol5.pt"] {
        let (state, format) = read(&written_by_torch(name));
        assert_eq!(format, FileFormat::TorchZip);
        assert_encoder(&state, "");
        assert_eq!(state.tensors.len(), 8);
        assert!(state.metadata.is_empty(), "{:?}", state.metadata);
    }
    let (state, _) = read(&written_by_torch("no_sum.pt"));
    assert_tensor(&state, "w", &[3], &weight(3));
}

#[test]
fn a_training_checkpoint_gives_its_model_and_what_is_said_of_it() {
    let (state, _) = read(&written_by_torch("moco.pth.tar"));
    assert_encoder(&state, "module.encoder_q.");
    assert_encoder(&state, "module.encoder_k.");
    assert_tensor(&state, "module.queue", &[3, 4], &weight(12));
    assert_eq!(state.counters["module.queue_ptr"], 2);
    assert!(!state.tensors.keys().any(|name| name.contains("momentum")), "the optimizer must not be taken");
    for (key, value) in [
        ("checkpoint.epoch", "200"),
        ("checkpoint.arch", "resnet50"),
        ("checkpoint.best", "0.75"),
        ("checkpoint.args.lr", "0.03"),
        ("checkpoint.args.data", "photos"),
        ("checkpoint.taken", "state_dict"),
    ] {
        assert_eq!(state.metadata.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[test]
fn an_encoder_file_is_known_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("encoder.safetensors");
    std::fs::write(&path, written_by_torch("moco.pth.tar")).unwrap();
    let file = EncoderFile::read(&path).unwrap();
    assert_eq!(file.format.to_string(), "PyTorch zip");
    assert_eq!(
        file.recognized,
        Some(Recognized { layout: "torchvision ResNet", prefix: "module.encoder_q.".into() })
    );
    assert_eq!(file.metadata, None);
    assert_tensor(&file.state, "conv1.weight", &[2, 1, 1, 1], &weight(2));
    assert_tensor(&file.state, "projector.0.weight", &[3, 2], &weight(6));
    assert_tensor(&file.state, "encoder_k.conv1.weight", &[2, 1, 1, 1], &weight(2));
    assert_tensor(&file.state, "queue", &[3, 4], &weight(12));
    assert_eq!(file.state.counters["queue_ptr"], 2);
    assert_eq!(file.state.skipped["mask"], "BOOL of shape [2]");
    assert_eq!(file.sha256.len(), 64);

    let state = StateDict { tensors: read(&written_by_torch("plain.pt")).0.tensors, ..StateDict::default() };
    let hash = contraleak::nn::safetensors_file::write(&state, &path).unwrap();
    let file = EncoderFile::read(&path).unwrap();
    assert_eq!((file.format.to_string().as_str(), file.sha256), ("safetensors", hash));
}

#[test]
fn every_type_and_every_view_is_read_or_named() {
    let (state, _) = read(&written_by_torch("views.pt"));
    for name in ["half", "brain", "double"] {
        assert_tensor(&state, name, &[5], &weight(5));
    }
    let base = weight(12);
    let transposed: Vec<f32> = (0..4).flat_map(|c| (0..3).map(move |r| r * 4 + c)).map(|i| base[i]).collect();
    assert_tensor(&state, "transposed", &[4, 3], &transposed);
    assert_tensor(&state, "slice", &[2, 2], &[base[4], base[6], base[8], base[10]]);
    assert_tensor(&state, "shared.first", &[2, 3], &base[..6]);
    assert_tensor(&state, "shared.second", &[6], &base[6..]);
    assert_tensor(&state, "parameter", &[3], &weight(3));
    assert_tensor(&state, "number", &[], &[2.5]);
    assert_tensor(&state, "empty", &[0, 3], &[]);
    assert_tensor(&state, "expanded", &[4], &[1.5; 4]);
    assert_eq!(state.counters["counter"], 9);
    for (name, found) in [
        ("beyond", "F64 with 1e300 at index 1, beyond the range of f32"),
        ("indices", "I64 of shape [4]"),
        ("complex", "C64 of shape [2]"),
        ("eight", "F8_E4M3 of shape [2]"),
        ("unsigned", "U16 of shape [2]"),
        ("sparse", "a sparse tensor"),
    ] {
        assert_eq!(state.skipped.get(name).map(String::as_str), Some(found), "{name}");
        let message =
            state.match_parameters("f", [(name, &[2_usize][..])], |_| true).unwrap_err().to_string();
        assert_says(&message, &[name, "expected F32, F16, BF16 or F64", found]);
    }
    let matched = state.match_parameters("f", [("number", &[][..])], |_| false).unwrap();
    assert!(matched.extra.contains(&"complex".to_string()));

    let (state, _) = read(&written_by_torch("attributes.pt"));
    assert_tensor(&state, "parameter", &[2], &weight(2));
    assert_tensor(&state, "tensor", &[2], &weight(2));
}

#[test]
fn a_torchscript_archive_gives_its_tensors_and_no_code() {
    let (state, format) = read(&written_by_torch("script.pt"));
    assert_eq!(format.to_string(), "TorchScript");
    assert_encoder(&state, "visual.");
    assert_tensor(&state, "logit_scale", &[], &[2.5]);
    assert_eq!(state.metadata["checkpoint.input_resolution"], "224");
}

#[test]
fn whole_modules_and_old_formats_are_refused_with_advice() {
    let message = refusal(&written_by_torch("module.pt"));
    assert_says(&message, &["__main__.Encoder", "whole module", "torch.save(model.state_dict(), FILE)"]);
    let sniffed = |bytes: &[u8]| file_format::parse(bytes, Path::new("f")).unwrap_err().to_string();
    let message = sniffed(&written_by_torch("legacy.pt"));
    assert_says(&message, &["before 1.6", "torch.load", "torch.save(state_dict, FILE)"]);
    assert_says(&sniffed(b"\x1f\x8b packed"), &["gzip"]);
    assert_says(&sniffed(b"<!doctype html>"), &["web page"]);
    assert_says(&sniffed(b"version https://git-lfs.github.com/spec/v1"), &["git lfs pull"]);
    assert_says(&sniffed(b""), &["header length"]);
    assert_says(
        &sniffed(&zip(&[("word/document.xml", b"x", true)])),
        &["NAME/data.pkl", "word/document.xml"],
    );
    // A safetensors header of 640 bytes begins as a pickle does.
    let header = format!("{:640}", r#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#);
    let bytes = [&640_u64.to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
    assert!(bytes.starts_with(b"\x80\x02"));
    assert_eq!(file_format::parse(&bytes, Path::new("f")).unwrap().1, FileFormat::Safetensors);
}

#[test]
fn nothing_that_a_pickle_names_is_run() {
    let folder = tempfile::tempdir().unwrap();
    let witness = folder.path().join("was_run");
    let command = format!("touch {}", witness.display());
    let call = |module: &str, name: &str, argument: &str| {
        Pickle::new().global(module, name).text(argument).raw(b"\x85R").stop()
    };
    let open = format!("open({:?}, 'w')", witness.display().to_string());
    let memoised =
        Pickle::new().raw(b"\x80\x04").text("posix").raw(b"\x94").text("system").raw(b"\x94h\0h\x01\x93");
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (call("posix", "system", &command), &["posix.system", "state_dict"]),
        (call("os", "system", &command), &["os.system"]),
        (call("nt", "system", &command), &["nt.system"]),
        (call("builtins", "eval", &open), &["builtins.eval"]),
        (call("builtins", "exec", &open), &["builtins.exec"]),
        (call("builtins", "getattr", "x"), &["builtins.getattr"]),
        (call("__builtin__", "eval", &open), &["__builtin__.eval"]),
        (call("torch.hub", "load", "repository"), &["torch.hub.load"]),
        (call("torch", "load", "file"), &["torch.load"]),
        (call("torch._utils", "_import_dotted_name", "os.system"), &["_import_dotted_name"]),
        (call("torch.storage", "_load_from_bytes", "x"), &["_load_from_bytes"]),
        (call("subprocess", "Popen", &command), &["subprocess.Popen"]),
        (call("webbrowser", "open", "x"), &["webbrowser.open"]),
        (call("__torch_", "x", "x"), &["__torch_.x"]),
        (memoised.text(&command).raw(b"\x85R").stop(), &["posix.system"]),
        (
            Pickle::new().raw(b"(").global("posix", "system").text(&command).raw(b"o").stop(),
            &["posix.system"],
        ),
        (Pickle::new().raw(b"(").text(&command).raw(b"o").stop(), &["OBJ"]),
        (Pickle::new().raw(b"(").text(&command).raw(b"iposix\nsystem\n").stop(), &["INST", "posix.system"]),
        (Pickle::new().global("posix", "system").text(&command).raw(b"\x85\x81").stop(), &["posix.system"]),
        (Pickle::new().global("posix", "system").text(&command).raw(b"\x85}\x92").stop(), &["posix.system"]),
        (Pickle::new().raw(b"\x82\x05").stop(), &["EXT1", "5"]),
        (Pickle::new().raw(b"\x83\x05\x01").stop(), &["EXT2", "261"]),
        (Pickle::new().raw(b"\x84\x05\0\0\0").stop(), &["EXT4", "5"]),
        (Pickle::new().raw(b"P0\n").stop(), &["PERSID"]),
        (Pickle::new().raw(b"I1\n").stop(), &["INT"]),
        (Pickle::new().raw(b"S'a'\n").stop(), &["STRING"]),
        (Pickle::new().raw(b"(d").stop(), &["DICT"]),
        (Pickle::new().raw(b"\x97").stop(), &["NEXT_BUFFER"]),
        (b"\x80\x00N.".to_vec(), &["protocol 2 to 5", "found 0"]),
        (b"\x80\x06N.".to_vec(), &["found 6"]),
        (b"\x80\x02\xff.".to_vec(), &["0xff"]),
    ];
    for (pickle, parts) in cases {
        let bytes = checkpoint(&pickle, &[]);
        let message = refusal(&bytes);
        assert_says(&message, &["some.pt@", "data.pkl"]);
        assert_says(&message, parts);
        // Beside good tensors, too.
        let hidden = Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "0", 1, (0, &[1], &[1]));
        let hidden = hidden.text("x").raw(&pickle[..pickle.len() - 1]).raw(b"u").stop();
        assert_says(&refusal(&checkpoint(&hidden, &[("0", &[0; 4])])), parts);
    }
    assert!(!witness.exists(), "a pickle was run");
}

#[test]
fn plain_data_of_training_scripts_is_no_obstacle() {
    for (module, name) in [
        ("torch.torch_version", "TorchVersion"),
        ("collections", "deque"),
        ("datetime", "date"),
        ("datetime", "time"),
        ("datetime", "timezone"),
        ("builtins", "range"),
        ("__builtin__", "xrange"),
        ("numpy", "float32"),
        ("numpy", "int64"),
        ("pathlib._local", "PosixPath"),
        ("pathlib._local", "PureWindowsPath"),
        ("uuid", "UUID"),
        ("torch", "float8_e8m0fnu"),
    ] {
        let pickle = Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "0", 1, (0, &[1], &[1]));
        let pickle = pickle.text("named").global(module, name);
        let pickle = match module {
            // A type, which nothing is made of.
            "torch" => pickle,
            _ => pickle.text("made").global(module, name).text("x").raw(b"\x85\x81"),
        };
        let (state, _) = read(&checkpoint(&pickle.raw(b"u").stop(), &[("0", &[0; 4])]));
        assert_tensor(&state, "w", &[1], &[0.0]);
    }
}

#[test]
fn calls_of_what_was_made_are_refused() {
    let dict = Pickle::new().raw(b"})R").stop();
    assert_says(&refusal(&checkpoint(&dict, &[])), &["a named class"]);
    let storage = Pickle::new().global("torch", "FloatStorage").int(5).raw(b"\x85R").stop();
    assert_says(&refusal(&checkpoint(&storage, &[])), &["a storage by its key"]);
    let not_a_tuple = Pickle::new().global("collections", "OrderedDict").raw(b"]R").stop();
    assert_says(&refusal(&checkpoint(&not_a_tuple, &[])), &["arguments in a tuple"]);
}

/// Elements of the storage; offset, shape and strides of a view; what the refusal says.
type View<'a> = (i64, i64, &'a [i64], &'a [i64], &'a [&'a str]);

#[test]
fn views_beyond_their_storage_are_refused_before_memory_is_taken() {
    let big = i64::MAX;
    let huge = 100 << 30;
    let cases: [View; 11] = [
        (4, 0, &[5], &[1], &["w:", "16 bytes", "[5]"]),
        (4, 1, &[4], &[1], &["offset 1"]),
        (4, 0, &[2, 2], &[3, 1], &["strides [3, 1]"]),
        (4, 0, &[big, big, big], &[1, 1, 1], &["memory can hold"]),
        (4, 0, &[big, 4], &[1, 1], &["memory can hold"]),
        (4, big, &[2], &[big], &["within its storage"]),
        (4, -1, &[2], &[1], &["offset of 0 or more", "-1"]),
        (4, 0, &[-2], &[1], &["a shape of 0 or more", "-2"]),
        (4, 0, &[2], &[-1], &["strides of 0 or more", "-1"]),
        (4, 0, &[2, 2], &[1], &["as many strides as dimensions"]),
        (huge, 0, &[huge], &[1], &["w:", "archive/data/0", "found 16"]),
    ];
    for (elements, offset, shape, strides, parts) in cases {
        let message = refusal(&one_tensor("FloatStorage", elements, (offset, shape, strides), &[0; 16]));
        assert_says(&message, parts);
    }
    assert_says(&refusal(&one_tensor("FloatStorage", -4, (0, &[1], &[1]), &[0; 16])), &["-4 elements"]);
    assert_says(&refusal(&one_tensor("FloatStorage", big, (0, &[1], &[1]), &[0; 16])), &["impossible"]);
    assert_says(&refusal(&one_tensor("OddStorage", 4, (0, &[1], &[1]), &[0; 16])), &["torch.OddStorage"]);
    let dimensions = vec![1; 65];
    let deep = one_tensor("FloatStorage", 4, (0, &dimensions, &dimensions), &[0; 16]);
    assert_says(&refusal(&deep), &["64 dimensions"]);
    let (state, _) = read(&one_tensor("FloatStorage", 0, (0, &[big, 0], &[1, 1]), &[]));
    assert_tensor(&state, "w", &[big as usize, 0], &[]);
    // A view that shows few elements many times is named, not copied out.
    let (state, _) = read(&one_tensor("FloatStorage", 4, (0, &[1_000_000, 2], &[0, 1]), &[0; 16]));
    assert_eq!(state.skipped["w"], "a view of 2000000 elements over 2 stored");
    // The stride of a dimension of 1 may be any number.
    let (state, _) = read(&one_tensor("FloatStorage", 4, (0, &[2, 1, 2], &[1, big, 2]), &[0; 16]));
    assert_tensor(&state, "w", &[2, 1, 2], &[0.0; 4]);
    // Types that are not read need no bytes.
    let (state, _) = read(&one_tensor("BoolStorage", huge, (0, &[huge], &[1]), &[]));
    assert_eq!(state.skipped["w"], format!("BOOL of shape [{huge}]"));
    let missing =
        Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "9", 1, (0, &[1], &[1])).raw(b"u").stop();
    assert_says(&refusal(&checkpoint(&missing, &[])), &["archive/data/9", "found none"]);
}

#[test]
fn damaged_archives_are_refused() {
    let whole = written_by_torch("plain.pt");
    for cut in 0..whole.len() {
        assert!(parse(&whole[..cut], Path::new("f")).is_err(), "cut at {cut}");
        assert!(file_format::parse(&whole[..cut], Path::new("f")).is_err(), "cut at {cut}");
    }
    let good = one_tensor("FloatStorage", 4, (0, &[4], &[1]), &[7; 16]);
    for cut in 0..good.len() {
        assert!(parse(&good[..cut], Path::new("f")).is_err(), "cut at {cut}");
    }
    let at = good.windows(16).position(|window| window == [7; 16]).unwrap();
    let mut flipped = good.clone();
    flipped[at] ^= 1;
    assert_says(&refusal(&flipped), &["archive/data/0", "CRC-32", "damaged"]);

    let pickle = Pickle::new().raw(b"}").stop();
    let twice = zip(&[("a/data.pkl", &pickle, false), ("a/data.pkl", &pickle, false)]);
    assert_says(&refusal(&twice), &["every name once", "a/data.pkl"]);
    let two = zip(&[("a/data.pkl", &pickle, false), ("b/data.pkl", &pickle, false)]);
    assert_says(&refusal(&two), &["one checkpoint", "a/data.pkl", "b/data.pkl"]);
    let big = zip(&[("a/data.pkl", &pickle, false), ("a/byteorder", b"big", false)]);
    assert_says(&refusal(&big), &["byteorder little", "big"]);
    assert_says(&refusal(&zip(&[])), &["NAME/data.pkl", "0 entries"]);
}

/// Writes `value` at `offset` within the list's entry of the first file.
fn with_listed(mut file: Vec<u8>, offset: usize, value: &[u8]) -> Vec<u8> {
    let list = file.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    file[list + offset..list + offset + value.len()].copy_from_slice(value);
    file
}

#[test]
fn claims_of_archives_are_not_believed() {
    let pickle = Pickle::new().raw(b"}").stop();
    let stored = || zip(&[("a/data.pkl", &pickle, false)]);
    let zeros = vec![0; 100_000];
    let packed = || zip(&[("a/data.pkl", &zeros, true)]);
    let most = 0xffff_fff0_u32.to_le_bytes();
    assert_says(&refusal(&with_listed(stored(), 24, &most)), &["stored entry", "a/data.pkl"]);
    assert_says(&refusal(&with_listed(stored(), 20, &most)), &["within the file", "cut short"]);
    assert_says(&refusal(&with_listed(packed(), 24, &most)), &["unpack to at most", "4294967280"]);
    assert_says(&refusal(&with_listed(packed(), 24, &[9, 0, 0, 0])), &["unpack to 9 bytes", "and more"]);
    assert_says(&refusal(&with_listed(packed(), 24, &[0, 0, 16, 0])), &["unpack to 1048576", "found 100000"]);
    assert_says(&refusal(&with_listed(stored(), 42, &most)), &["expected its header"]);
    assert_says(&refusal(&with_listed(stored(), 10, &[12, 0])), &["method 12"]);
    assert_says(&refusal(&with_listed(stored(), 8, &[1, 0])), &["encrypted"]);
    assert_says(&refusal(&with_listed(stored(), 46, b"\xff")), &["UTF-8"]);
    let mut miscounted = stored();
    let end = miscounted.len() - 22;
    miscounted[end + 10] = 9;
    assert_says(&refusal(&miscounted), &["9 entries", "found 1"]);
    let mut outside = stored();
    outside[end + 16..end + 20].copy_from_slice(&most);
    assert_says(&refusal(&outside), &["ends before"]);
    // An archive that was packed again with compression is fine.
    let values: Vec<u8> = weight(4).iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor =
        Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "0", 4, (0, &[4], &[1])).raw(b"u").stop();
    let (state, _) = read(&zip(&[("a/data.pkl", &tensor, true), ("a/data/0", &values, true)]));
    assert_tensor(&state, "w", &[4], &weight(4));
}

#[test]
fn nested_and_circular_structures_end() {
    // Lists in lists, dicts in dicts, tuples in tuples, marks on marks: a million deep.
    let deep = |open: &[u8], close: &[u8]| {
        let mut pickle = Pickle::new().raw(&open.repeat(400_000)).raw(b"N");
        pickle.0.extend(close.repeat(400_000));
        checkpoint(&pickle.stop(), &[])
    };
    assert_says(&refusal(&deep(b"]", b"a")), &["a list"]);
    assert_says(&refusal(&deep(b"", b"\x85")), &["a list"]);
    assert_says(&refusal(&deep(b"}N", b"s")), &["dict of 1 entries"]);
    assert_says(
        &refusal(&checkpoint(&Pickle::new().raw(&b"(".repeat(1_000_001)).stop(), &[])),
        &["1000000 marks"],
    );
    assert_says(
        &refusal(&checkpoint(&Pickle::new().raw(&b"]".repeat(1_000_001)).stop(), &[])),
        &["on the stack"],
    );
    let named = (0..70).fold(Pickle::new(), |pickle, _| pickle.raw(b"}").text("k"));
    let named = named.tensor("FloatStorage", "0", 1, (0, &[1], &[1])).raw(&b"s".repeat(70)).stop();
    assert_says(&refusal(&checkpoint(&named, &[("0", &[0; 4])])), &["at most 64 deep"]);

    let circular_list = Pickle::new().raw(b"]q\0h\0a").stop();
    assert_says(&refusal(&checkpoint(&circular_list, &[])), &["a list"]);
    let circular_tuple = Pickle::new().raw(b"]q\0(h\0tq\x01a").stop();
    assert_says(&refusal(&checkpoint(&circular_tuple, &[])), &["a list"]);
    let circular = Pickle::new().raw(b"}q\0(").text("again").raw(b"h\0").text("model").raw(b"h\0").text("w");
    let circular = circular.tensor("FloatStorage", "0", 1, (0, &[1], &[1])).raw(b"u").stop();
    let (state, _) = read(&checkpoint(&circular, &[("0", &[0; 4])]));
    assert_eq!(state.tensors.keys().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn small_pickles_cannot_ask_for_much() {
    // Each level holds the one before it twice: 2^60 leaves by name, 60 objects.
    for (open, close) in [(&b"("[..], &b"t"[..]), (b"](", b"e")] {
        let mut pickle = Pickle::new().raw(b"Nq\0");
        for level in 0..60_u8 {
            pickle = pickle.raw(open).raw(&[b'h', level, b'h', level]).raw(close).raw(&[b'q', level + 1]);
        }
        assert_says(&refusal(&checkpoint(&pickle.stop(), &[])), &["a list"]);
    }
    let mut laughs = Pickle::new().raw(b"}q\0");
    for level in 0..60_u8 {
        laughs = laughs.raw(b"}(").text("a").raw(&[b'h', level]).text("b").raw(&[b'h', level]);
        laughs = laughs.raw(b"u").raw(&[b'q', level + 1]);
    }
    assert_says(&refusal(&checkpoint(&laughs.stop(), &[])), &["1000000 entries"]);

    let claims: [(&[u8], &str); 6] = [
        (b"X\xff\xff\xff\xff", "4294967295 more bytes"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "more bytes"),
        (b"B\0\0\0\x19", "more bytes"),
        (b"\x8b\xff\xff\xff\x7f", "2147483647 more bytes"),
        (b"\x8a\xff", "255 more bytes"),
        (b"j\xff\xff\xff\xff", "memo at 4294967295"),
    ];
    for (claim, part) in claims {
        assert_says(&refusal(&checkpoint(&Pickle::new().raw(claim).stop(), &[])), &[part]);
    }
    // A number beyond 64 bits is data like any other, and no size.
    let wide = Pickle::new().raw(b"\x8a\x0a\x01\0\0\0\0\0\0\0\0\x01").stop();
    assert_says(&refusal(&checkpoint(&wide, &[])), &["a single value"]);
    let reduced = Pickle::new().raw(b"}]q\x01(").raw(&b"N".repeat(100_000)).raw(b"e");
    let again = Pickle(Vec::new()).global("collections", "OrderedDict").raw(b"h\x01\x85R").0;
    let reduced = reduced.raw(&again.repeat(10_000)).stop();
    assert_says(&refusal(&checkpoint(&reduced, &[])), &["values in lists, tuples and dicts"]);
}

#[test]
fn stacks_that_run_dry_are_refused() {
    for bytes in [
        &b"."[..],
        b"R.",
        b"s.",
        b"u.",
        b"a.",
        b"e.",
        b"t.",
        b"\x85.",
        b"q\0.",
        b"b.",
        b"Q.",
        b"0.",
        b"1.",
        b"2.",
        b"\x93.",
        b"N(\x85.",
        b"N(0.",
        b"}(Nu.",
        b"Na.",
        b"NNs.",
        b"NQ.",
        b"NNR.",
        b"NN\x81.",
        b"Nb.",
        b"N(",
    ] {
        assert!(parse(&checkpoint(&Pickle::new().raw(bytes).0, &[]), Path::new("f")).is_err(), "{bytes:?}");
    }
}

/// `{path: {"w": tensor}}` for each path.
fn parts(paths: &[&str]) -> Vec<u8> {
    let mut pickle = Pickle::new().raw(b"}(");
    for path in paths {
        let keys: Vec<&str> = path.split('/').collect();
        for key in &keys[..keys.len() - 1] {
            pickle = pickle.text(key).raw(b"}(");
        }
        pickle = pickle.text(keys[keys.len() - 1]).tensor("FloatStorage", "0", 1, (0, &[1], &[1]));
        pickle = pickle.raw(&b"u".repeat(keys.len() - 1));
    }
    checkpoint(&pickle.raw(b"u").stop(), &[("0", &[0; 4])])
}

#[test]
fn the_weights_are_found_in_the_tree() {
    let cases: [(&[&str], &str, &[&str], &str); 9] = [
        (&["w"], "", &["w"], ""),
        (&["model/w", "state_dict/v"], "state_dict", &["v"], "model"),
        (&["net/w", "optimizer/state/w"], "net", &["w"], ""),
        (&["teacher/w", "student/w", "optimizer/w"], "teacher", &["w"], "student"),
        (&["something/w"], "something", &["w"], ""),
        (&["encoder/w"], "", &["encoder.w"], ""),
        (&["encoder/w", "projector/w", "scheduler/w"], "", &["encoder.w", "projector.w"], ""),
        (&["x/base_model/model/trunk/w"], "x.base_model.model", &["trunk.w"], ""),
        (&["queue", "model/w"], "model", &["w"], "(top level)"),
    ];
    for (paths, taken, names, passed_over) in cases {
        let (state, _) = read(&parts(paths));
        assert_eq!(state.tensors.keys().collect::<Vec<_>>(), names, "{paths:?}");
        let said = |key: &str| state.metadata.get(key).map_or("", String::as_str);
        assert_eq!(
            (said("checkpoint.taken"), said("checkpoint.passed_over")),
            (taken, passed_over),
            "{paths:?}"
        );
    }
    assert_says(&refusal(&parts(&["optimizer/w"])), &["without any (optimizer)", "state_dict()"]);
    assert_says(&refusal(&parts(&["a/b", "a.b"])), &["one tensor for a.b"]);
    let long = "k".repeat(600);
    assert_says(&refusal(&parts(&[&long])), &["512 bytes"]);
}
