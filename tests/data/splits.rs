//! Splits: seeded, disjoint, hashed; the released code's permutation; index lists.

use std::fs;

use contraleak::data::index_list::{check_lists_disjoint, read_index_list, write_index_list};
use contraleak::data::splits::{
    EQUAL_PROPORTIONS, EncoderMiPool, EncoderMiSplit, NonMembersFrom, PUBLISHED_BLOCK, Permutation,
    check_disjoint, encodermi_split, hash_indices, quarters, shuffled, subset_quarters,
};
use contraleak::data::torch_splits::torch_permutation;
use tempfile::tempdir;

use crate::assert_refused;

#[test]
fn torch_permutation_of_ten() {
    assert_eq!(torch_permutation(10, 0).unwrap(), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
    assert_eq!(torch_permutation(1, 0).unwrap(), [0]);
}

#[test]
fn torch_quarters_of_13000() {
    let q = quarters(13_000, Permutation::TorchSplits).unwrap();
    assert_eq!(q.target_train[..3], [2044, 4120, 1579]);
    assert_eq!(q.target_test[..3], [8692, 7099, 5312]);
    assert_eq!(q.shadow_train[..3], [9011, 3375, 5381]);
    assert_eq!(q.shadow_test[..3], [5580, 12804, 5424]);
}

#[test]
fn torch_quarters_of_60000() {
    let q = quarters(60_000, Permutation::TorchSplits).unwrap();
    assert_eq!(q.target_train[..3], [36044, 10678, 57327]);
    assert_eq!(q.target_test[..3], [46248, 7894, 55671]);
    assert_eq!(q.shadow_train[..3], [25139, 15309, 8927]);
    assert_eq!(q.shadow_test[..3], [41878, 52842, 16415]);
}

#[test]
fn torch_quarters_of_celeba() {
    let q = subset_quarters(202_599, 30_000, Permutation::TorchSplits).unwrap();
    assert_eq!(q.target_train[..3], [127_147, 156_364, 84_695]);
    assert_eq!(q.shadow_test.len(), 7_500);
}

#[test]
fn seeded_quarters_are_disjoint() {
    let q = quarters(4_003, Permutation::Seeded(7)).unwrap();
    let sets: [(&str, &[usize]); 4] =
        [("a", &q.target_train), ("b", &q.target_test), ("c", &q.shadow_train), ("d", &q.shadow_test)];
    check_disjoint(&sets, 4_003).unwrap();
    assert!(sets.iter().all(|(_, indices)| indices.len() == 1_000));
    assert_ne!(q, quarters(4_003, Permutation::Seeded(8)).unwrap());
    check_disjoint(&[("all", &subset_quarters(90, 40, Permutation::Seeded(1)).unwrap().target_train)], 90)
        .unwrap();
    assert_refused(quarters(3, Permutation::TorchSplits), &["at least 4 images", "available are 3"]);
    assert_refused(subset_quarters(5, 6, Permutation::Seeded(0)), &["needs 6 images", "available are 5"]);
}

/// Every image lands in every place about equally often.
#[test]
fn shuffles_are_uniform() {
    let mut counts = [[0u32; 5]; 5];
    for seed in 0..5_000 {
        for (place, index) in shuffled(5, seed, 0).unwrap().into_iter().enumerate() {
            counts[place][index] += 1;
        }
    }
    // Chi-squared with 16 degrees of freedom: 45.9 is exceeded once in 10,000.
    let chi: f64 = counts.iter().flatten().map(|&c| (f64::from(c) - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi < 45.9, "{chi}");
}

#[test]
fn encodermi_blocks_as_published() {
    let pool = |nonmembers_from| EncoderMiPool::Official {
        train: 50_000,
        test: 10_000,
        block: PUBLISHED_BLOCK,
        nonmembers_from,
    };
    let split = encodermi_split(&pool(NonMembersFrom::Test), 3).unwrap();
    split.verify(60_000).unwrap();
    assert!(split.sets().iter().all(|(_, indices)| indices.len() == 10_000));
    let mut nonmembers = split.nonmembers.clone();
    nonmembers.sort_unstable();
    assert_eq!(nonmembers, (50_000..60_000).collect::<Vec<_>>());
    let order = shuffled(50_000, 3, 0).unwrap();
    assert_eq!(split.members, order[..10_000]);
    assert_eq!(split.probe, order[40_000..]);

    let spare = encodermi_split(&pool(NonMembersFrom::Train), 3).unwrap();
    assert_eq!(spare.nonmembers, order[30_000..40_000]);
    assert_eq!(spare.members, split.members);
    assert_ne!(encodermi_split(&pool(NonMembersFrom::Test), 4).unwrap().members, split.members);
}

#[test]
fn encodermi_blocks_shrink_alike() {
    for (train, test, block, expected) in
        [(60_000, 10_000, 500, 500), (52, 40, 10_000, 10), (1000, 30, 10_000, 30)]
    {
        let pool = EncoderMiPool::Official { train, test, block, nonmembers_from: NonMembersFrom::Test };
        let split = encodermi_split(&pool, 0).unwrap();
        split.verify(train + test).unwrap();
        assert!(split.sets().iter().all(|(_, indices)| indices.len() == expected), "{train} {test}");
    }
    let none =
        EncoderMiPool::Official { train: 4, test: 9, block: 10, nonmembers_from: NonMembersFrom::Train };
    assert_refused(encodermi_split(&none, 0), &["at least 5 train images", "available are 4"]);
}

#[test]
fn custom_proportions() {
    let split =
        encodermi_split(&EncoderMiPool::Custom { images: 50, proportions: EQUAL_PROPORTIONS }, 1).unwrap();
    split.verify(50).unwrap();
    assert_eq!(split.sets().map(|(_, indices)| indices.len()), [10; 5]);
    let custom = EncoderMiPool::Custom { images: 101, proportions: [0.3, 0.3, 0.2, 0.2, 0.0] };
    assert_eq!(encodermi_split(&custom, 1).unwrap().sets().map(|(_, s)| s.len()), [30, 30, 20, 20, 0]);
    for wrong in [[0.5, 0.5, 0.1, 0.1, 0.1], [f64::NAN, 0.1, 0.1, 0.1, 0.1], [-0.1, 0.5, 0.1, 0.1, 0.1]] {
        let pool = EncoderMiPool::Custom { images: 100, proportions: wrong };
        assert_refused(encodermi_split(&pool, 0), &["five shares from 0 to 1"]);
    }
    let few = EncoderMiPool::Custom { images: 4, proportions: EQUAL_PROPORTIONS };
    assert_refused(encodermi_split(&few, 0), &["at least 1 image for members", "of the 4 available"]);
}

#[test]
fn exact_duplicates_leave_the_nonmembers() {
    let mut split = EncoderMiSplit {
        members: vec![0, 1],
        shadow_members: vec![2, 3],
        shadow_nonmembers: vec![4, 5],
        nonmembers: vec![6, 7, 8],
        probe: vec![9, 10],
    };
    let image = |number: u8| [number; 32];
    // 7 copies member 1, 5 copies shadow member 2, 8 copies shadow member 3, 9 copies member 0.
    let hashes = [0, 1, 2, 3, 4, 2, 6, 1, 3, 0, 10].map(image);
    let found = split.remove_duplicates(&hashes).unwrap();
    assert_eq!((&split.nonmembers[..], &split.shadow_nonmembers[..]), (&[6, 8][..], &[4][..]));
    assert_eq!((found.nonmembers_removed, found.shadow_nonmembers_removed), (1, 1));
    assert_eq!((found.shared_with_shadow, found.shared_with_probe), (1, 1));
    assert_eq!((split.members.len(), split.probe.len()), (2, 2));
    split.members = vec![6];
    assert_refused(split.clone().remove_duplicates(&hashes), &["image 6 in members and in nonmembers"]);
    split.members = vec![0];
    let same = [image(0); 11];
    assert_refused(split.remove_duplicates(&same), &["non-members", "only exact copies of members"]);
}

#[test]
fn overlaps_and_strangers_are_found() {
    assert_refused(
        check_disjoint(&[("members", &[1, 2]), ("probe", &[3, 2])], 5),
        &["image 2 in members and in probe"],
    );
    assert_refused(check_disjoint(&[("members", &[1, 1])], 5), &["image 1 in members and in members"]);
    assert_refused(check_disjoint(&[("members", &[5])], 5), &["members: expected indices below 5, found 5"]);
}

#[test]
fn hashes_follow_order() {
    // SHA-256 of sixteen bytes: 1 and 2 as u64, little-endian.
    assert_eq!(hash_indices(&[1, 2]).len(), 64);
    assert_ne!(hash_indices(&[1, 2]), hash_indices(&[2, 1]));
    assert_eq!(hash_indices(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn index_lists_come_back() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("members.txt");
    write_index_list(&file, &[7, 0, 3]).unwrap();
    assert_eq!(read_index_list(&file, 8).unwrap().indices, [7, 0, 3]);
    fs::write(&file, "# members\n\n 7 # the last\r\n0\n3").unwrap();
    let list = read_index_list(&file, 8).unwrap();
    assert_eq!(list.indices, [7, 0, 3]);
    assert!(list.places[0].ends_with("members.txt:3"));
    let json = folder.path().join("members.json");
    fs::write(&json, " [7, 0,\n 3]").unwrap();
    assert_eq!(read_index_list(&json, 8).unwrap().indices, [7, 0, 3]);
}

#[test]
fn bad_index_lists_are_refused() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("list.txt");
    let read = |text: &str| {
        fs::write(&file, text).unwrap();
        read_index_list(&file, 10)
    };
    assert_refused(
        read("1\nx\n-2\n10\n1\n"),
        &[
            "list.txt:2: expected a whole number",
            "\"x\"",
            "list.txt:3",
            "\"-2\"",
            "list.txt:4",
            "below 10",
            "list.txt:5",
            "found 1 again",
            "list.txt:1",
        ],
    );
    assert_refused(read("# nothing\n"), &["list.txt", "found none"]);
    assert_refused(read("[1, 2.5]"), &["list.txt entry 1", "\"2.5\""]);
    assert_refused(read("[1,\n 2"), &["list.txt:2", "JSON"]);
    assert_refused(read_index_list(&folder.path().join("absent"), 3), &["absent"]);
    let first = read("1\n2\n").unwrap();
    let other = folder.path().join("other.txt");
    fs::write(&other, "5\n2\n").unwrap();
    let second = read_index_list(&other, 10).unwrap();
    assert_refused(check_lists_disjoint(&[&first, &second]), &["other.txt:2", "found 2", "list.txt:2"]);
    assert_refused(read(&"z\n".repeat(25)), &["and 5 more", "list.txt:20:"]);
}
