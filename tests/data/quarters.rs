//! Quarters in a SPEC, and near duplicates across two sets.

use contraleak::data::duplicates::{difference_hash, near_duplicates};
use contraleak::data::resize::resize_bilinear;
use contraleak::data::splits::{Permutation, Quarters, quarters, subset_quarters};
use contraleak::data::{self, ImageSet};
use tempfile::tempdir;

use crate::assert_refused;
use crate::writers::{celeba_partition, noise, write_celeba, write_picture};

const FACES: &str = "synthetic-faces:count=50,size=8";

fn ids(spec: &str) -> Vec<String> {
    data::open(spec).unwrap().ids
}

/// The four quarters that a SPEC names, against those that are cut by hand.
fn assert_cut(spec: &str, expected: &Quarters, pool: &[String]) {
    let sets = [&expected.target_train, &expected.target_test, &expected.shadow_train, &expected.shadow_test];
    for (number, indices) in (1..=4).zip(sets) {
        let wanted: Vec<String> = indices.iter().map(|&index| pool[index].clone()).collect();
        assert_eq!(ids(&format!("{spec},quarter={number}")), wanted, "quarter {number}");
    }
}

#[test]
fn quarters_are_those_of_the_splits() {
    let pool = ids(FACES);
    assert_cut(&format!("{FACES}#seed=0"), &quarters(50, Permutation::Seeded(0)).unwrap(), &pool);
    assert_cut(&format!("{FACES}#quarter-seed=9"), &quarters(50, Permutation::Seeded(9)).unwrap(), &pool);
    assert_cut(&format!("{FACES}#quarters=torch"), &quarters(50, Permutation::TorchSplits).unwrap(), &pool);
    let subset = subset_quarters(50, 30, Permutation::TorchSplits).unwrap();
    assert_eq!(subset.shadow_test.len(), 7);
    assert_cut(&format!("{FACES}#subset=30,quarters=torch"), &subset, &pool);
}

#[test]
fn the_cut_comes_before_shuffle_and_take() {
    let quarter = ids(&format!("{FACES}#quarter=2"));
    assert_eq!(ids(&format!("{FACES}#take=3..5,quarter=2")), quarter[3..5]);
    let mut shuffled = ids(&format!("{FACES}#quarter=2,shuffle=1"));
    assert_ne!(shuffled, quarter);
    shuffled.sort();
    let mut sorted = quarter.clone();
    sorted.sort();
    assert_eq!(shuffled, sorted);
    assert_refused(data::open(&format!("{FACES}#quarter=2,take=0..13")), &["at least 13 images", "found 12"]);
}

#[test]
fn quarters_of_files_decode_nothing_else() {
    let folder = tempdir().unwrap();
    write_celeba(folder.path(), 9);
    let spec = format!("celeba:{}#subset=8,quarters=torch,size=16", folder.path().display());
    let pool: Vec<String> = (1..=9).map(|number| format!("{number:06}.jpg")).collect();
    let cut = subset_quarters(9, 8, Permutation::TorchSplits).unwrap();
    assert_cut(&spec, &cut, &pool);
    for &index in &cut.target_train {
        std::fs::write(folder.path().join("img_align_celeba").join(&pool[index]), "broken").unwrap();
    }
    assert_refused(data::open(&format!("{spec},quarter=1")), &["expected PNG, JPEG"]);
    assert_eq!(ids(&format!("{spec},quarter=3")).len(), 2);
    // What is cut is what the other options leave: here the 4 images of the train part.
    let part = format!("celeba:{}#part=train,size=16,quarters=torch", folder.path().display());
    let train: Vec<String> = (0..9).filter(|i| celeba_partition(*i) == 0).map(|i| pool[i].clone()).collect();
    for &index in &cut.target_train {
        write_picture(&folder.path().join("img_align_celeba").join(&pool[index]), 178, 218, 1);
    }
    assert_cut(&part, &quarters(train.len(), Permutation::TorchSplits).unwrap(), &train);
}

#[test]
fn quarter_options_are_checked() {
    let refused = |options: &str, fragments: &[&str]| {
        assert_refused(data::open(&format!("{FACES}#{options}")), fragments);
    };
    refused("quarter=5", &["quarter=1|2|3|4", "\"5\""]);
    refused("quarter-seed=1", &["quarter-seed= needs quarter=1|2|3|4"]);
    refused("quarters=torch", &["quarters= needs quarter="]);
    refused("subset=10", &["subset= needs quarter="]);
    refused("quarter=1,quarters=tourch", &["quarters=seeded|torch", "did you mean \"torch\""]);
    refused("quarter=1,quarters=torch,quarter-seed=1", &["takes no quarter-seed="]);
    refused("quarter=1,quarter-seed=x", &["a whole number after quarter-seed="]);
    refused("quarter=1,subset=60", &["synthetic-faces", "at least 60 images", "found 50"]);
    refused(
        "quarter=1,subset=3",
        &["at least 4 images to cut in quarters"].map(|_| "the split needs at least 4"),
    );
    assert_refused(
        data::open("synthetic-faces:count=3,size=8#quarter=1"),
        &["synthetic-faces", "at least 4 images to cut in quarters, found 3"],
    );
}

fn set_of(images: &[Vec<u8>], width: usize, height: usize) -> ImageSet {
    ImageSet {
        name: "set".into(),
        width,
        height,
        pixels: images.concat(),
        ids: (0..images.len()).map(|index| index.to_string()).collect(),
        target: None,
        attribute: None,
        source_hash: String::new(),
        published_normalization: None,
        notes: Vec::new(),
    }
    .checked()
    .unwrap()
}

/// A 9x8 gray image whose brightness rises once in each of the first `rises` rows.
fn rising(rises: usize) -> Vec<u8> {
    (0..8).flat_map(|y| (0..9).flat_map(move |x| [if y < rises && x > y { 9 } else { 5 }; 3])).collect()
}

#[test]
fn difference_hashes_tell_where_brightness_rises() {
    let ramp = |up: bool| -> Vec<u8> {
        (0..40).flat_map(|_| (0..45).flat_map(move |x| [if up { x * 5 } else { 220 - x * 5 }; 3])).collect()
    };
    assert_eq!(difference_hash(&ramp(true), (45, 40)), u64::MAX);
    assert_eq!(difference_hash(&ramp(false), (45, 40)), 0);
    assert_eq!(difference_hash(&rising(0), (9, 8)), 0);
    assert_eq!(difference_hash(&rising(3), (9, 8)), 1 | 1 << 9 | 1 << 18);
    // Green weighs more than red, red more than blue.
    let colours = |left: [u8; 3], right: [u8; 3]| -> Vec<u8> {
        (0..8).flat_map(|_| (0..9).flat_map(move |x| if x == 0 { left } else { right })).collect()
    };
    assert_eq!(difference_hash(&colours([100, 0, 0], [0, 100, 0]), (9, 8)).count_ones(), 8);
    assert_eq!(difference_hash(&colours([100, 0, 0], [0, 0, 100]), (9, 8)), 0);
}

#[test]
fn near_duplicates_differ_in_two_bits_at_most() {
    let members = set_of(&[rising(0)], 9, 8);
    let others = set_of(&[rising(1), rising(2), rising(3), rising(0)], 9, 8);
    assert_eq!(near_duplicates(&members, &others), 3);
    assert_eq!(near_duplicates(&others, &members), 1);
}

#[test]
fn another_size_and_compression_are_near_other_pictures_are_not() {
    let folder = tempdir().unwrap();
    let blocks = |seed: u32| resize_bilinear(&noise(9 * 8 * 3, seed), (9, 8), (64, 64));
    let members = set_of(&(0..20).map(blocks).collect::<Vec<_>>(), 64, 64);
    let small: Vec<Vec<u8>> =
        (10..30).map(|seed| resize_bilinear(&blocks(seed), (64, 64), (48, 48))).collect();
    assert_eq!(near_duplicates(&members, &set_of(&small, 48, 48)), 10);
    let (png, jpg) = (folder.path().join("png"), folder.path().join("jpg"));
    write_picture(&png.join("1.png"), 40, 40, 8);
    write_picture(&jpg.join("1.jpg"), 40, 40, 8);
    let open = |path: &std::path::Path| data::open(&format!("folder:{}", path.display())).unwrap();
    assert_ne!(open(&png).pixels, open(&jpg).pixels);
    assert_eq!(near_duplicates(&open(&png), &open(&jpg)), 1);
}

#[test]
fn unique_keeps_the_first_of_equal_images_before_anything_is_drawn() {
    let folder = tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a")).unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    let path = |name: &str| folder.path().join(name);
    for (seed, name) in [(1, "a/1.png"), (2, "a/2.png"), (3, "a/3.png"), (4, "b/4.png")] {
        write_picture(&path(name), 16, 16, seed);
    }
    std::fs::copy(path("a/2.png"), path("b/5.png")).unwrap();
    std::fs::copy(path("a/1.png"), path("a/9.png")).unwrap();
    let spec = format!("folder:{}", folder.path().display());
    let all = data::open(&spec).unwrap();
    assert_eq!(all.len(), 6);
    let unique = data::open(&format!("{spec}#unique=true")).unwrap();
    let names = |set: &ImageSet| -> Vec<String> {
        set.ids.iter().map(|id| id.rsplit('/').next().unwrap_or_default().to_string()).collect()
    };
    assert_eq!(names(&unique), ["1.png", "2.png", "3.png", "4.png"]);
    assert!(
        unique.notes.iter().any(|note| note.starts_with("2 images have the pixels")),
        "{:?}",
        unique.notes
    );
    // The shuffle is one of four images, and takes what a shuffle of the kept ones would.
    let drawn = data::open(&format!("{spec}#unique=true,shuffle=3,take=0..4")).unwrap();
    let mut sorted = names(&drawn);
    sorted.sort();
    assert_eq!(sorted, names(&unique));
    assert_refused(data::open(&format!("{spec}#unique=true,take=0..5")), &["5", "4"]);
    assert_refused(data::open(&format!("{spec}#unique=yes")), &["true", "false"]);
}
