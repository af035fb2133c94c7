//! STL-10, Tiny-ImageNet, UTKFace, CelebA and Places365: what a writer wrote, the reader reads.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use contraleak::data::places365::{self, PlacesImages};
use contraleak::data::resize::resize_bilinear;
use contraleak::data::{self, ImageSet, Labels};
use tempfile::tempdir;

use crate::writers::{
    CELEBA_ATTRIBUTES, celeba_partition, celeba_value, noise, places_category, write_celeba, write_picture,
    write_places365, write_stl10, write_tiny_imagenet,
};

fn names(labels: &Option<Labels>) -> Vec<&str> {
    labels.as_ref().unwrap().names.iter().map(String::as_str).collect()
}

fn values(labels: &Option<Labels>) -> &[u32] {
    &labels.as_ref().unwrap().values
}

fn open(kind: &str, folder: &Path, options: &str) -> ImageSet {
    data::open(&format!("{kind}:{}{options}", folder.display())).unwrap()
}

/// The image of a file as the decoder gives it.
fn decoded(path: &Path) -> Vec<u8> {
    image::open(path).unwrap().into_rgb8().into_raw()
}

/// The same set whatever the number of threads.
fn assert_threads_agree(kind: &str, folder: &Path, options: &str, set: &ImageSet) {
    for threads in [1, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(&pool.install(|| open(kind, folder, options)), set);
    }
}

/// Checks an image against a record: planes R, G, B, each column by column.
fn assert_transposed(image: &[u8], record: &[u8]) {
    for y in 0..96 {
        for x in 0..96 {
            let planes = [0, 1, 2].map(|channel| record[channel * 9216 + x * 96 + y]);
            assert_eq!(&image[(y * 96 + x) * 3..][..3], planes, "at {x},{y}");
        }
    }
}

#[test]
fn stl10_comes_back_transposed() {
    let folder = tempdir().unwrap();
    let inner = folder.path().join("stl10_binary");
    fs::create_dir(&inner).unwrap();
    let train = write_stl10(&inner, "train", 12, true);
    let test = write_stl10(&inner, "test", 5, true);
    let unlabeled = write_stl10(&inner, "unlabeled", 70, false);
    let classes = "airplane\nbird\ncar\ncat\ndeer\ndog\nhorse\nmonkey\nship\ntruck\n";
    fs::write(inner.join("class_names.txt"), classes).unwrap();

    let set = open("stl10", folder.path(), "");
    assert_eq!((set.len(), set.width, set.height), (17, 96, 96));
    for (index, record) in train.chunks(27_648).chain(test.chunks(27_648)).enumerate() {
        assert_transposed(set.image(index), record);
    }
    assert_eq!(names(&set.target), classes.split_whitespace().collect::<Vec<_>>());
    let expected: Vec<u32> = (0..12).chain(0..5).map(|index| index % 10).collect();
    assert_eq!(values(&set.target), expected);
    assert_eq!([&set.ids[11], &set.ids[12]], ["train/11", "test/0"]);
    assert_eq!(set.normalization().mean, [0.440_877_98, 0.427_906_66, 0.386_788_14]);
    assert!(set.notes[0].contains("holds 12 images, 5000 as published"), "{:?}", set.notes);
    assert_eq!(open("stl10", &inner, "#part=test").pixels, set.pixels[12 * 27_648..]);

    let options = "#part=unlabeled,shuffle=4";
    let all = open("stl10", &inner, options);
    assert!(all.target.is_none() && all.len() == 70);
    for (index, id) in all.ids.iter().enumerate() {
        let number: usize = id.strip_prefix("unlabeled/").unwrap().parse().unwrap();
        assert_transposed(all.image(index), &unlabeled[number * 27_648..][..27_648]);
    }
    assert_threads_agree("stl10", &inner, options, &all);
    let small = open("stl10", &inner, "#part=unlabeled,take=3..5,size=32");
    let large = open("stl10", &inner, "#part=unlabeled,take=3..5");
    assert_eq!((small.width, small.image(1)), (32, &resize_bilinear(large.image(1), (96, 96), (32, 32))[..]));
    assert_eq!(small.source_hash, large.source_hash);
    assert_ne!(small.source_hash, open("stl10", &inner, "#part=unlabeled,take=4..6").source_hash);
}

/// The unlabelled file in its published size, all of it a hole but one image.
#[test]
fn stl10_reads_the_chosen_records_alone() {
    let folder = tempdir().unwrap();
    let mut file = File::create(folder.path().join("unlabeled_X.bin")).unwrap();
    file.set_len(2_764_800_000).unwrap();
    let record = noise(27_648, 3);
    file.seek(SeekFrom::Start(99_999 * 27_648)).unwrap();
    file.write_all(&record).unwrap();
    let set = open("stl10", folder.path(), "#part=unlabeled,take=99998..");
    assert_eq!((set.len(), &set.ids[1]), (2, &"unlabeled/99999".to_string()));
    assert!(set.image(0).iter().all(|&value| value == 0) && set.notes.is_empty());
    assert_transposed(set.image(1), &record);
}

#[test]
fn tiny_imagenet_comes_back() {
    let folder = tempdir().unwrap();
    let root = folder.path().join("tiny-imagenet-200");
    let wnids = ["n02124075", "n01443537", "n04067472"];
    write_tiny_imagenet(&root, &wnids, 5);
    let set = open("tiny-imagenet", folder.path(), "");
    let train = wnids.iter().flat_map(|id| [9, 10, 100].map(|k| format!("train/{id}/images/{id}_{k}.JPEG")));
    let expected: Vec<String> = train.chain((0..5).map(|k| format!("val/images/val_{k}.JPEG"))).collect();
    assert_eq!((&set.ids, set.width, set.height), (&expected, 64, 64));
    for (index, id) in set.ids.iter().enumerate() {
        assert_eq!(set.image(index), decoded(&root.join(id)), "{id}");
    }
    assert_eq!(values(&set.target), [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 1, 0, 2, 1]);
    assert_eq!(names(&set.target)[1], "name of n01443537, other name");
    assert!(set.image(0).chunks(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
    assert!(set.attribute.is_none());

    let part = open("tiny-imagenet", &root, "#part=val,take=1..3,size=32");
    assert_eq!(part.image(1), resize_bilinear(set.image(11), (64, 64), (32, 32)));
    assert_eq!(open("tiny-imagenet", &root, "#part=train").len(), 9);
    assert_threads_agree("tiny-imagenet", folder.path(), "", &set);
    // Without words.txt, classes are called by their ids.
    fs::remove_file(root.join("words.txt")).unwrap();
    assert_eq!(names(&open("tiny-imagenet", &root, "").target), wnids);
}

#[test]
fn utkface_comes_back() {
    let folder = tempdir().unwrap();
    let root = folder.path().join("UTKFace");
    // The last two are written as two of the published names are.
    let files = [
        ("9_1_2_20161219204347420.jpg.chip.jpg", 1, 2),
        ("100_0_0_20170112213500903.jpg.chip.jpg", 0, 0),
        ("26_1_4_20170104023102422.jpg.chip.jpg", 1, 4),
        ("55_0_0_20170116232725357jpg.chip.jpg", 0, 0),
        ("24_0_1_20170116220224657 .jpg.chip.jpg", 0, 1),
    ];
    for (seed, (name, ..)) in files.iter().enumerate() {
        write_picture(&root.join(name), 200, 200, seed as u32);
    }
    fs::write(root.join("readme.txt"), "not a face").unwrap();
    let mut expected = files.to_vec();
    expected.sort_unstable();
    let set = open("utkface", folder.path(), "");
    assert_eq!(set.ids, expected.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    assert_eq!(set.ids[0], "100_0_0_20170112213500903.jpg.chip.jpg");
    assert_eq!(values(&set.target), expected.iter().map(|(_, gender, _)| *gender).collect::<Vec<_>>());
    assert_eq!(values(&set.attribute), expected.iter().map(|(.., race)| *race).collect::<Vec<_>>());
    assert_eq!(names(&set.target), ["male", "female"]);
    assert_eq!(names(&set.attribute), ["White", "Black", "Asian", "Indian", "Others"]);
    for (index, id) in set.ids.iter().enumerate() {
        assert_eq!(set.image(index), decoded(&root.join(id)), "{id}");
    }
    assert!(set.notes[0].contains("first readme.txt"), "{:?}", set.notes);
    assert_threads_agree("utkface", folder.path(), "", &set);
    let small = open("utkface", &root, "#size=48,take=2..3");
    assert_eq!(small.image(0), resize_bilinear(set.image(2), (200, 200), (48, 48)));
    // What is not selected is not decoded.
    fs::write(root.join(&set.ids[0]), "broken").unwrap();
    assert_eq!(open("utkface", &root, "#take=1..").pixels, set.pixels[set.image_bytes()..]);
}

#[test]
fn celeba_comes_back() {
    let folder = tempdir().unwrap();
    let root = folder.path().join("celeba");
    write_celeba(&root, 12);
    let columns: Vec<&str> = CELEBA_ATTRIBUTES.split_whitespace().collect();
    let column = |name: &str| columns.iter().position(|known| *known == name).unwrap();
    let (male, young, smiling) = (column("Male"), column("Young"), column("Smiling"));

    let set = open("celeba", folder.path(), "#target=Male,attribute=Young+Smiling");
    assert_eq!((set.len(), set.width, set.height), (12, 178, 218));
    assert_eq!((names(&set.target), set.ids[11].as_str()), (vec!["not Male", "Male"], "000012.jpg"));
    assert_eq!(
        names(&set.attribute),
        ["not Young, not Smiling", "not Young, Smiling", "Young, not Smiling", "Young, Smiling"]
    );
    for index in 0..12 {
        let value = |column| u32::from(celeba_value(index, column));
        assert_eq!(values(&set.target)[index], value(male));
        assert_eq!(values(&set.attribute)[index], 2 * value(young) + value(smiling));
        let path = root.join("img_align_celeba").join(&set.ids[index]);
        assert_eq!(set.image(index), decoded(&path));
    }
    assert_eq!(values(&set.attribute).iter().collect::<BTreeSet<_>>().len(), 4);
    assert_threads_agree("celeba", folder.path(), "#attribute=Young+Smiling", &set);

    for (part, code) in [("train", 0), ("valid", 1), ("test", 2)] {
        let ids: Vec<String> = (0..12)
            .filter(|index| celeba_partition(*index) == code)
            .map(|index| format!("{:06}.jpg", index + 1))
            .collect();
        assert_eq!(open("celeba", &root, &format!("#part={part},size=16")).ids, ids);
    }
    let plain = open("celeba", &root, "#target=Bald,size=24,take=5..6");
    assert_eq!((names(&plain.target), plain.attribute.is_none()), (vec!["not Bald", "Bald"], true));
    assert_eq!(plain.image(0), resize_bilinear(set.image(5), (178, 218), (24, 24)));
    // What is not selected is not decoded; Windows line ends change nothing.
    fs::write(root.join("img_align_celeba/000001.jpg"), "broken").unwrap();
    let list = root.join("list_attr_celeba.txt");
    fs::write(&list, fs::read_to_string(&list).unwrap().replace('\n', "\r\n")).unwrap();
    assert_eq!(open("celeba", &root, "#take=1..").pixels, set.pixels[set.image_bytes()..]);
}

#[test]
fn places365_subsets_come_back() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    write_places365(root, 4, |_| false);
    let drawn = |scenes, per_scene, seed| {
        places365::chosen(root, &PlacesImages::Drawn { scenes, per_scene, seed }).unwrap()
    };
    let chosen = drawn(6, 3, 5);
    let scenes: BTreeSet<u32> = chosen.iter().map(|image| image.scene).collect();
    assert_eq!((scenes.len(), chosen.len()), (6, 18));
    assert_eq!(scenes.iter().filter(|&&scene| scene % 3 == 0).count(), 3, "half of the scenes indoors");
    assert!(chosen.is_sorted_by_key(|image| (image.scene, &image.path)));
    assert!(chosen.windows(2).all(|pair| pair[0].path != pair[1].path));
    assert_eq!(chosen, drawn(6, 3, 5));
    assert_ne!(chosen, drawn(6, 3, 6));
    assert_eq!(drawn(365, 2, 0).len(), 730);
    // Which scenes are drawn does not depend on how many images are taken of each.
    assert_eq!(drawn(6, 1, 5).iter().map(|image| image.scene).collect::<BTreeSet<_>>(), scenes);

    write_places365(root, 4, |scene| scenes.contains(&(scene as u32)));
    let options = "#subset=6,per-scene=3,subset-seed=5";
    let set = open("places365", root, options);
    assert_eq!((set.len(), set.width, names(&set.target)), (18, 16, vec!["indoor", "outdoor"]));
    let ascending: Vec<&u32> = scenes.iter().collect();
    for (index, image) in chosen.iter().enumerate() {
        assert_eq!(set.ids[index], image.path);
        assert_eq!(set.image(index), decoded(&root.join(format!("data_256{}", image.path))));
        assert_eq!(values(&set.target)[index], u32::from(image.scene % 3 != 0));
        assert_eq!(ascending[values(&set.attribute)[index] as usize], &image.scene);
        assert!(image.path.starts_with(&places_category(image.scene as usize)));
    }
    assert_eq!(names(&set.attribute)[0], &places_category(*ascending[0] as usize)[3..]);
    assert_threads_agree("places365", root, options, &set);

    // The list of the images chosen gives the same set again, in either name of the folder.
    let list = root.join("chosen.txt");
    places365::write_list(&list, &chosen).unwrap();
    fs::rename(root.join("data_256"), root.join("data_256_standard")).unwrap();
    let again = open("places365", root, &format!("#list={}", list.display()));
    assert_eq!((&again.pixels, &again.ids), (&set.pixels, &set.ids));
    assert_eq!((&again.target, &again.attribute), (&set.target, &set.attribute));
    let small = open("places365", root, &format!("{options},size=8,take=4..5"));
    assert_eq!(small.image(0), resize_bilinear(set.image(4), (16, 16), (8, 8)));
}
