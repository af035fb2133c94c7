//! The SPEC of the command line: what it selects and what it refuses.

use contraleak::{Error, data};

use crate::assert_refused;

fn assert_usage(spec: &str, fragments: &[&str]) {
    let error = assert_refused(data::open(spec), fragments);
    assert!(matches!(error, Error::Usage(_)), "{error:?}");
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    assert_usage("cifar-10:x", &["\"cifar-10\"", "did you mean \"cifar10\"", "synthetic-faces:", "tensor:"]);
    assert_usage("fashion_mnist:x", &["did you mean \"fashion-mnist\""]);
    assert_usage(
        "stl11:x",
        &["unknown kind \"stl11\"", "known kinds: cifar10: cifar100: stl10: tiny-imagenet:"],
    );
    assert_usage("utk-face:x", &["did you mean \"utkface\""]);
    assert_usage("stl10:x#part=unlabelled", &["part=train|test|unlabeled|all", "did you mean \"unlabeled\""]);
    assert_usage("tiny-imagenet:x#part=test", &["part=train|val|all"]);
    assert_usage("celeba:x#part=val", &["part=train|valid|test|all", "did you mean \"valid\""]);
    assert_usage("celeba:x#skip-bad=true", &["unknown option \"skip-bad\"", "target, attribute, part, size"]);
    assert_usage("places365:x#scenes=4", &["places365: knows subset, per-scene, subset-seed, list, size"]);
    assert_usage(
        "mnist:x#prt=train",
        &["unknown option \"prt\"", "part, size, unique, shuffle, take", "did you mean \"part\""],
    );
    assert_usage("mnist:x#part=tets", &["part=train|test|all", "\"tets\"", "did you mean \"test\""]);
    assert_usage("synthetic-faces:counts=4", &["did you mean \"count\""]);
    assert_usage(
        "tensor:x#target=y",
        &["unknown option \"target\"", "tensor: knows size, unique, shuffle, take"],
    );
    assert_usage("folder:x#alpha=black", &["alpha=white|drop", "\"black\""]);
}

#[test]
fn values_are_checked() {
    assert_usage("cifar10:", &["expected a path after \"cifar10:\""]);
    assert_usage("mnist:x#size", &["expected NAME=VALUE, found \"size\""]);
    assert_usage("mnist:x#size=big", &["expected a whole number after size=", "\"big\""]);
    assert_usage("mnist:x#size=4", &["size=8 to 4096"]);
    assert_usage("mnist:x#size=9,size=9", &["\"size\" is given twice"]);
    assert_usage("mnist:x#take=5..5", &["take=A..B with A below B", "take=5..5"]);
    assert_usage("mnist:x#take=5", &["take=A..B"]);
    assert_usage("mnist:x#shuffle=-1", &["whole number after shuffle="]);
    assert_usage("csv:x#where=column", &["where=COLUMN=VALUE"]);
    assert_usage("synthetic-faces:count=0", &["count=1 to", "count=0"]);
    assert_usage("synthetic-faces:count=99999999999", &["count=1 to", "at size=32"]);
    assert_usage("synthetic-faces:size=2048", &["size=8 to 1024"]);
    for wrong in ["1.5", "NaN", "-0.1"] {
        assert_usage(&format!("synthetic-faces:correlation={wrong}"), &["correlation=0 to 1"]);
    }
    assert_usage("synthetic-faces:correlation=much", &["a number from 0 to 1", "\"much\""]);
}

#[test]
fn take_follows_the_seeded_shuffle() {
    let all = data::open("synthetic-faces:count=50,size=8").unwrap();
    let ids = |spec: &str| data::open(spec).unwrap().ids;
    assert_eq!(ids("synthetic-faces:count=50,size=8#take=10..13"), all.ids[10..13]);
    let shuffled = ids("synthetic-faces:count=50,size=8#shuffle=3");
    assert_ne!(shuffled, all.ids);
    assert_ne!(ids("synthetic-faces:count=50,size=8#shuffle=4"), shuffled);
    let mut sorted = shuffled.clone();
    sorted.sort();
    let mut expected = all.ids.clone();
    expected.sort();
    assert_eq!(sorted, expected);
    // Two takes of one shuffle are disjoint and cover the set.
    let first = ids("synthetic-faces:count=50,size=8#shuffle=3,take=..20");
    let rest = ids("synthetic-faces:count=50,size=8#take=20..,shuffle=3");
    assert_eq!([first, rest].concat(), shuffled);
    assert_refused(
        data::open("synthetic-faces:count=50,size=8#take=40..60"),
        &["synthetic-faces", "at least 60 images", "take=40..60", "found 50"],
    );
    assert_refused(
        data::open("synthetic-faces:count=50,size=8#take=50.."),
        &["at least 51 images", "found 50"],
    );
}
