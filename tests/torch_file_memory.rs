//! Readers of weights take memory for what is in a file, not for what it claims. One test, because what it counts is
//! the whole process's.

#[path = "common/checkpoint.rs"]
mod checkpoint;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use checkpoint::{Pickle, checkpoint, one_tensor, written_by_torch, zip};
use contraleak::nn::file_format::parse;

/// The system's allocator, counting bytes that are held and the most that ever were.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that reading `bytes` takes beside them, and whether they were read.
fn memory(bytes: &[u8]) -> (usize, bool) {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let read = parse(bytes, Path::new("f")).is_ok();
    (MOST.load(Ordering::Relaxed) - before, read)
}

const MIB: usize = 1 << 20;

#[track_caller]
fn assert_refused_within(what: &str, bytes: &[u8], most: usize) {
    let (taken, read) = memory(bytes);
    assert!(!read, "{what}: expected a refusal");
    assert!(taken <= most, "{what}: {taken} bytes were taken for a file of {}", bytes.len());
}

#[test]
fn memory_follows_what_is_there() {
    // Claims of 100 GB and more.
    let huge = 100_i64 << 30;
    assert_refused_within("storage", &one_tensor("FloatStorage", huge, (0, &[huge], &[1]), &[0; 16]), MIB);
    let (taken, read) = memory(&one_tensor("FloatStorage", 1, (0, &[huge], &[0]), &[0; 4]));
    assert!(read && taken <= MIB, "expanded: {taken}");
    let text = Pickle::new().raw(b"\x8d").raw(&huge.to_le_bytes()).stop();
    assert_refused_within("text", &checkpoint(&text, &[]), MIB);
    let long = Pickle::new().raw(b"\x8b\xff\xff\xff\x7f").stop();
    assert_refused_within("long", &checkpoint(&long, &[]), MIB);
    let mut listed = zip(&[("a/data.pkl", b"}.", true)]);
    let list = listed.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    listed[list + 24..list + 28].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    assert_refused_within("zip entry", &listed, MIB);
    let mut count = zip(&[("a/data.pkl", b"}.", false)]);
    let end = count.len() - 22;
    count[end + 8..end + 16].fill(0xff);
    assert_refused_within("zip list", &count, MIB);
    let header = format!(r#"{{"w":{{"dtype":"F32","shape":[{}],"data_offsets":[0,{huge}]}}}}"#, huge / 4);
    let safetensors = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    assert_refused_within("safetensors", &safetensors, MIB);
    let header = [&(huge as u64).to_le_bytes()[..], b"{"].concat();
    assert_refused_within("safetensors header", &header, MIB);

    // Entries over the same bytes, and a header that is small but for a reader of any JSON.
    let entry = |i| format!(r#""w{i}":{{"dtype":"F16","shape":[{}],"data_offsets":[0,{MIB}]}}"#, MIB / 2);
    let header = format!("{{{}}}", (0..1000).map(entry).collect::<Vec<_>>().join(","));
    let overlapping = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; MIB]].concat();
    assert_refused_within("overlapping spans", &overlapping, MIB);
    for (beginning, repeated) in [
        (r#"{"w":["#, r#"{"":0},"#),
        (r#"{"w":{"dtype":"F32","shape":["#, "0,"),
        (r#"{"__metadata__":["#, "[],"),
    ] {
        let header = [beginning, &repeated.repeat(MIB)].concat();
        let header = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        assert_refused_within(beginning, &header, MIB);
    }

    // Small files that unfold.
    let mut laughs = Pickle::new().raw(b"}q\0");
    for level in 0..60_u8 {
        laughs = laughs.raw(b"}(").text("a").raw(&[b'h', level]).text("b").raw(&[b'h', level]);
        laughs = laughs.raw(b"u").raw(&[b'q', level + 1]);
    }
    assert_refused_within("a billion laughs", &checkpoint(&laughs.stop(), &[]), 256 * MIB);
    // One megabyte of storage, seen a thousand times.
    let storage = vec![0; MIB];
    let (elements, mut views) = (MIB as i64 / 4, Pickle::new().raw(b"}("));
    for index in 0..1000 {
        views =
            views.text(&format!("w{index}")).tensor("FloatStorage", "0", elements, (0, &[elements], &[1]));
    }
    let views = checkpoint(&views.raw(b"u").stop(), &[("0", &storage)]);
    assert_refused_within("shared storage", &views, 8 * views.len());
    let bomb = vec![b'N'; 256 * MIB];
    let bomb = zip(&[("a/data.pkl", &bomb, true)]);
    assert_refused_within("deflate bomb", &bomb, 2 * MIB);
    let bomb = vec![b'N'; 16 * MIB];
    let bomb = zip(&[("a/data.pkl", &bomb, true)]);
    assert_refused_within("smaller deflate bomb", &bomb, 96 * MIB);

    // Long pickles of the instructions that take most for their bytes.
    for (what, instruction) in [
        ("marks", &b"("[..]),
        ("lists", b"]"),
        ("lists dropped", b"]0"),
        ("tuples", b"N\x85"),
        ("memo", b"N\x94"),
    ] {
        let pickle = Pickle::new().raw(&instruction.repeat(6_000_000)).stop();
        assert_refused_within(what, &checkpoint(&pickle, &[]), 256 * MIB);
    }

    // What is in order takes its weights and little more.
    let values = vec![0; 16 * MIB];
    let good = one_tensor("FloatStorage", 4 * MIB as i64, (0, &[4 * MIB as i64], &[1]), &values);
    let (taken, read) = memory(&good);
    assert!(read && taken <= 17 * MIB, "{taken}");
    let (taken, read) = memory(&written_by_torch("moco.pth.tar"));
    assert!(read && taken <= MIB, "{taken}");
}
