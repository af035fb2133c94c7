//! Both readers of weights under changed files: whatever the bytes, they end with a result. `CONTRALEAK_FUZZ=1000000`
//! sets the number of changed files for each reader.

#[path = "common/checkpoint.rs"]
mod checkpoint;

use std::path::Path;
use std::time::{Duration, Instant};

use checkpoint::{Pickle, checkpoint, written_by_torch, zip};
use contraleak::nn::layout::to_native_names;
use contraleak::nn::{StateDict, StateTensor, safetensors_file, torch_file};

/// SplitMix64: a counter, mixed.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Changes some bytes: flips, replacements, removals, insertions, copies and numbers at the edges.
fn change(bytes: &mut Vec<u8>, spliced: &[&[u8]], draws: &mut Draws) {
    for _ in 0..1 + draws.below(2) {
        let at = draws.below(bytes.len() + 1);
        let end = (at + 1 + draws.below(12)).min(bytes.len());
        match draws.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << draws.below(8),
            1 if at < bytes.len() => bytes[at] = draws.next() as u8,
            2 if at < end => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, draws.pick(spliced).to_vec())),
            4 if at < end => {
                let copied = bytes[at..end].to_vec();
                let to = draws.below(bytes.len());
                bytes.splice(to..to, copied);
            }
            5 => {
                let number = [
                    0,
                    1,
                    0x7f,
                    0x80,
                    0xff,
                    0xffff,
                    i32::MAX as u64,
                    u32::MAX.into(),
                    i64::MAX as u64,
                    u64::MAX,
                ][draws.below(10)];
                let width = [1, 2, 4, 8][draws.below(4)];
                for (byte, new) in bytes.iter_mut().skip(at).zip(number.to_le_bytes()).take(width) {
                    *byte = new;
                }
            }
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
}

/// What an input came to.
#[derive(Default)]
struct Tally {
    read: usize,
    refused: usize,
    slowest: Duration,
}

fn run(
    what: &str,
    seed: u64,
    input: impl Fn(&mut Draws) -> Vec<u8>,
    read: impl Fn(&[u8]) -> Result<StateDict, String>,
) {
    let count = std::env::var("CONTRALEAK_FUZZ").map_or(20_000, |count| count.parse().unwrap());
    let (started, mut tally) = (Instant::now(), Tally::default());
    for index in 0..count {
        let mut draws = Draws(seed ^ (index as u64) << 20);
        let bytes = input(&mut draws);
        let one = Instant::now();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(&bytes)));
        tally.slowest = tally.slowest.max(one.elapsed());
        match result {
            Ok(Ok(state)) => {
                tally.read += 1;
                for (name, tensor) in &state.tensors {
                    let product = tensor.dimensions.iter().fold(1_u128, |p, &d| p.saturating_mul(d as u128));
                    assert_eq!(product, tensor.values.len() as u128, "{what} {index}: {name}");
                }
            }
            Ok(Err(message)) => {
                tally.refused += 1;
                assert!(message.starts_with("fuzzed") && message.len() < 4000, "{what} {index}: {message}");
            }
            Err(_) => panic!("{what}: input {index} made the reader panic: {bytes:?}"),
        }
    }
    let Tally { read, refused, slowest } = tally;
    println!(
        "{what}: {count} inputs, {read} read, {refused} refused, slowest {slowest:?}, {:?} in all",
        started.elapsed()
    );
    // Inputs that are all refused, or all read, would try nothing.
    assert!(read > count / 100 && refused > count / 100, "{what}: {read} read, {refused} refused");
}

fn native(state: Result<StateDict, contraleak::Error>) -> Result<StateDict, String> {
    let mut state = state.map_err(|error| error.to_string())?;
    to_native_names(&mut state, "fuzzed").map_err(|error| error.to_string())?;
    Ok(state)
}

/// The pickle and other entries of an archive of stored entries.
fn unpack(file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut at = file.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let number =
        |at: usize, width: usize| (0..width).fold(0, |n, i| n | usize::from(file[at + i]) << (8 * i));
    while file[at..].starts_with(b"PK\x01\x02") {
        let (name, header) = (number(at + 28, 2), number(at + 42, 4));
        let start = header + 30 + number(header + 26, 2) + number(header + 28, 2);
        if number(at + 10, 2) == 0 {
            let content = file[start..start + number(at + 20, 4)].to_vec();
            entries.push((String::from_utf8(file[at + 46..at + 46 + name].to_vec()).unwrap(), content));
        }
        at += 46 + name + number(at + 30, 2) + number(at + 32, 2);
    }
    entries
}

#[test]
fn no_changed_checkpoint_makes_the_reader_panic() {
    let small =
        Pickle::new().raw(b"}(").text("w").tensor("FloatStorage", "0", 4, (0, &[2, 2], &[2, 1])).raw(b"u");
    let mut files = vec![checkpoint(&small.stop(), &[("0", &[1; 16])])];
    files.extend(
        ["plain.pt", "protocol4.pt", "moco.pth.tar", "views.pt", "script.pt", "attributes.pt"]
            .map(written_by_torch),
    );
    let unpacked: Vec<_> = files.iter().map(|file| unpack(file)).collect();
    let views = Pickle(Vec::new()).tensor("HalfStorage", "1", 3, (1, &[3, 1], &[0, 1])).0;
    let call = Pickle(Vec::new()).global("collections", "OrderedDict").raw(b")R").0;
    let spliced: Vec<&[u8]> = vec![
        b"(",
        b"t",
        b"R",
        b"u",
        b"s",
        b"b",
        b"q\0",
        b"h\0",
        b"h\x01",
        b"}",
        b"]",
        b")",
        b"e",
        b"a",
        b"N",
        b"0",
        b"1",
        b"2",
        b"\x81",
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x88",
        b"\x8a\0",
        b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x93",
        b"\x94",
        b"Q",
        b".",
        b"M\xff\xff",
        b"J\xff\xff\xff\xff",
        b"K\0",
        b"G\x7f\xf0\0\0\0\0\0\0",
        b"cos\nsystem\n",
        b"c__torch__\nM\n",
        b"c__builtin__\nset\n",
        b"ctorch\nSize\n",
        b"X\x01\0\0\0w",
        &views,
        &call,
    ];
    run(
        "checkpoints",
        0x7069_636b,
        |draws| {
            // Half the inputs are changed within the pickle, of an archive that is whole.
            let which = draws.below(files.len());
            if draws.below(4) == 0 {
                let mut file = files[which].clone();
                change(&mut file, &spliced, draws);
                return file;
            }
            let mut entries = unpacked[which].clone();
            let changed = match draws.below(8) {
                0 => draws.below(entries.len()),
                _ => entries.iter().position(|(name, _)| name.ends_with("/data.pkl")).unwrap(),
            };
            change(&mut entries[changed].1, &spliced, draws);
            let deflated = draws.below(32) == 0;
            let entries: Vec<_> =
                entries.iter().map(|(name, content)| (name.as_str(), content.as_slice(), deflated)).collect();
            zip(&entries)
        },
        |bytes| native(torch_file::parse(bytes, Path::new("fuzzed")).map(|(state, _)| state)),
    );
}

#[test]
fn no_changed_safetensors_file_makes_the_reader_panic() {
    let mut state = StateDict::default();
    for (name, dimensions) in
        [("conv1.weight", vec![2, 1, 1, 1]), ("layer1.0.conv1.weight", vec![2]), ("fc.bias", vec![3])]
    {
        let count = dimensions.iter().product::<usize>();
        state.tensors.insert(name.into(), StateTensor { dimensions, values: vec![1.5; count] });
    }
    state.counters.insert("queue_ptr".into(), 3);
    state.metadata.insert("format".into(), "pt".into());
    let whole = safetensors_file::serialize(&state).unwrap();
    let (length, rest) = whole.split_first_chunk::<8>().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let spliced: Vec<&[u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"-1",
        b"1e309",
        b"18446744073709551616",
        b"0",
        b"null",
        b"\"F64\"",
        b"\"BF16\"",
        b"\"BOOL\"",
        b"\"C128\"",
        b"\"I8\"",
        b"\"__metadata__\":{},",
        b"\"shape\":[]",
        b"\xff",
        b"\"w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},",
        b"[[[[[[[[",
        b"\"data_offsets\":[0,8]",
    ];
    run(
        "safetensors",
        0x7361_6665,
        |draws| {
            if draws.below(4) == 0 {
                let mut file = whole.clone();
                change(&mut file, &spliced, draws);
                return file;
            }
            // A header of the right length, whatever is in it.
            let (mut header, mut data) = (header.to_vec(), data.to_vec());
            change(&mut header, &spliced, draws);
            if draws.below(8) == 0 {
                change(&mut data, &spliced, draws);
            }
            [&(header.len() as u64).to_le_bytes()[..], &header, &data].concat()
        },
        |bytes| native(safetensors_file::parse(bytes, Path::new("fuzzed"))),
    );
}
