//! What bad STL-10, Tiny-ImageNet, UTKFace, CelebA and Places365 files get.

use std::fs;
use std::path::Path;

use contraleak::{Result, data};
use tempfile::{TempDir, tempdir};

use crate::assert_refused;
use crate::writers::{
    CELEBA_ATTRIBUTES, write_celeba, write_picture, write_places365, write_stl10, write_tiny_imagenet,
};

fn open(kind: &str, folder: &Path, options: &str) -> Result<data::ImageSet> {
    data::open(&format!("{kind}:{}{options}", folder.display()))
}

/// Replaces text in a file that holds it, and refuses the data set; the file is as before afterwards.
fn with_edit(
    kind: &str,
    root: &Path,
    options: &str,
    (file, from, to): (&str, &str, &str),
    fragments: &[&str],
) {
    let path = root.join(file);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from:?} is not in {file}");
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let before = fs::read_dir(root).unwrap().count();
    assert_refused(open(kind, root, options), fragments);
    assert_eq!(fs::read_dir(root).unwrap().count(), before, "nothing is written");
    fs::write(&path, text).unwrap();
}

#[test]
fn missing_files_are_listed() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let absent = root.join("absent");
    assert_refused(open("stl10", &absent, ""), &["stl10_binary/train_X.bin", "train_y.bin", "no folder"]);
    assert_refused(open("tiny-imagenet", &absent, ""), &["tiny-imagenet-200/wnids.txt", "no folder"]);
    assert_refused(open("utkface", &absent, ""), &["absent", "<age>_<gender>_<race>", "no folder"]);
    assert_refused(open("celeba", &absent, ""), &["list_attr_celeba.txt", "list_eval_partition.txt"]);
    assert_refused(open("places365", &absent, ""), &["absent/categories_places365.txt", "no folder"]);
    assert_refused(open("utkface", root, ""), &["images named <age>", "an empty folder"]);
    for (kind, entry, message) in [
        ("stl10", "stl10_binary.tar.gz", "only the archive stl10_binary.tar.gz; unpack it there"),
        ("stl10", "stl10_matlab", "MATLAB version found, binary version required (stl10_matlab)"),
        ("tiny-imagenet", "tiny-imagenet-200.zip", "only the archive tiny-imagenet-200.zip"),
        ("utkface", "UTKFace.tar.gz", "only the archive UTKFace.tar.gz"),
        ("celeba", "list_attr_celeba.csv", "CSV version found, the text file list_attr_celeba.txt required"),
        ("places365", "filelist_places365-standard.tar", "only the archive filelist_places365-standard.tar"),
    ] {
        fs::write(root.join(entry), "").unwrap();
        assert_refused(open(kind, root, ""), &[message]);
        fs::remove_file(root.join(entry)).unwrap();
    }
    write_celeba(root, 1);
    fs::rename(root.join("img_align_celeba"), root.join("img_align_celeba_png")).unwrap();
    assert_refused(open("celeba", root, ""), &["/img_align_celeba: ", "PNG version found, the JPEG version"]);
    write_places365(root, 1, |_| false);
    fs::create_dir(root.join("data_large")).unwrap();
    assert_refused(
        open("places365", root, "#per-scene=1"),
        &["data_256_standard: ", "large version found, the 256x256 version data_256 required"],
    );
}

#[test]
fn stl10_sizes_counts_and_labels_are_checked() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    let pixels = write_stl10(root, "test", 4, true);
    let with = |pixels: &[u8], labels: &[u8], fragments: &[&str]| {
        fs::write(root.join("test_X.bin"), pixels).unwrap();
        fs::write(root.join("test_y.bin"), labels).unwrap();
        assert_refused(open("stl10", root, "#part=test"), fragments);
    };
    with(
        &pixels[..82_945],
        &[1, 2, 3],
        &["test_X.bin@82944", "multiple of 27648 bytes", "found 82945 bytes", "1 left over after 3 images"],
    );
    with(&pixels, &[1, 2, 3], &["test_y.bin: expected 4 labels", "4 images of", "test_X.bin, found 3"]);
    with(
        &pixels,
        &[1, 0, 10, 11],
        &[
            "test_y.bin@1: expected a label from 1 to 10, found 0",
            "test_y.bin@3: expected a label from 1 to 10, found 11",
        ],
    );
    with(&[], &[], &["stl10: expected images, found none"]);
    fs::write(root.join("unlabeled_X.bin"), &pixels[..5]).unwrap();
    assert_refused(open("stl10", root, "#part=unlabeled"), &["unlabeled_X.bin@0", "5 left over after 0"]);
    write_stl10(root, "test", 4, true);
    fs::write(root.join("class_names.txt"), "one\n").unwrap();
    assert_refused(open("stl10", root, "#part=test"), &["class_names.txt", "expected 10 names"]);
    fs::remove_file(root.join("class_names.txt")).unwrap();
    assert_refused(open("stl10", root, "#part=test,take=0..5"), &["stl10", "at least 5 images", "found 4"]);
}

#[test]
fn tiny_imagenet_is_checked() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    write_tiny_imagenet(root, &["n00000001", "n00000002"], 4);
    let annotations = "val/val_annotations.txt";
    let edit = |edit: (&str, &str, &str), fragments: &[&str]| {
        with_edit("tiny-imagenet", root, "", edit, fragments);
    };
    edit(
        (annotations, "val_1.JPEG\tn00000001", "val_1.JPEG\tn00000009"),
        &["val_annotations.txt:2: expected a class id (wnid) of wnids.txt, found \"n00000009\""],
    );
    edit(
        (annotations, "\t62\nval_3", "\nval_3"),
        &["val_annotations.txt:3: expected 6 tab-separated fields, found 5"],
    );
    edit(
        (annotations, "val_2.JPEG\tn00000002", "val_2.JPEG n00000002"),
        &["val_annotations.txt:3: expected 6 tab-separated fields, found 5"],
    );
    edit(
        (annotations, "val_3.JPEG", "val_33.JPEG"),
        &["val_annotations.txt:4: expected the image ", "val_33.JPEG, found none"],
    );
    edit((annotations, "val_3.JPEG", "val_0.JPEG"), &["val_annotations.txt:4", "again (first on line 1)"]);
    edit(
        ("wnids.txt", "n00000002", "n00000003"),
        &["train/n00000003/images: expected the folder of class n00000003 (", "wnids.txt:2), found none"],
    );
    edit(("wnids.txt", "n00000002", "n00000001"), &["wnids.txt:2", "stands there once", "\"n00000001\""]);
    edit(("wnids.txt", "n00000002", "../x"), &["wnids.txt:2", "\"../x\""]);
    let image = root.join("train/n00000002/images/n00000002_9.JPEG");
    let bytes = fs::read(&image).unwrap();
    fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    assert_refused(open("tiny-imagenet", root, ""), &["n00000002_9.JPEG@", "Jpeg", "truncated"]);
    fs::rename(&image, image.with_file_name("other.JPEG")).unwrap();
    assert_refused(
        open("tiny-imagenet", root, ""),
        &[
            "other.JPEG: expected an image named n00000002_<number>.JPEG",
            "n00000002_boxes.txt:2: expected the image",
            "n00000002_9.JPEG, found none",
        ],
    );
    fs::write(root.join("wnids.txt"), [0x6e, 0x30, 0xff]).unwrap();
    assert_refused(open("tiny-imagenet", root, ""), &["wnids.txt@2: expected UTF-8", "0xff"]);
}

#[test]
fn utkface_names_are_checked() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    write_picture(&root.join("30_0_1_20170104.jpg.chip.jpg"), 200, 200, 1);
    for (name, fragments) in [
        ("39_1_20170116174525125.jpg.chip.jpg", ["found 3: part 4 is missing", "of 4 parts"]),
        ("39_1_2_3_2017.jpg.chip.jpg", ["found 5: part 5 is one too many", "of 4 parts"]),
        ("x_1_2_2017.jpg.chip.jpg", ["as part 1 (age)", "found \"x\""]),
        ("117_1_2_2017.jpg.chip.jpg", ["0 to 116 as part 1 (age)", "found \"117\""]),
        ("-1_1_2_2017.jpg.chip.jpg", ["0 to 116 as part 1 (age)", "found \"-1\""]),
        ("39_2_2_2017.jpg.chip.jpg", ["0 to 1 as part 2 (gender)", "found \"2\""]),
        ("39_1_5_2017.jpg.chip.jpg", ["0 to 4 as part 3 (race)", "found \"5\""]),
        ("39_1__2017.jpg.chip.jpg", ["0 to 4 as part 3 (race)", "found \"\""]),
        ("39_1_4_now.jpg.chip.jpg", ["as part 4 (timestamp)", "found \"now\""]),
    ] {
        let path = root.join(name);
        write_picture(&path, 200, 200, 2);
        let wanted = [name, "age_gender_race_timestamp", "a few published names lack a part", "--skip-bad"];
        assert_refused(open("utkface", root, ""), &[&wanted[..], &fragments[..]].concat());
        let set = open("utkface", root, "#skip-bad=true").unwrap();
        assert_eq!(set.ids, ["30_0_1_20170104.jpg.chip.jpg"]);
        assert!(set.notes[0].starts_with("1 bad files skipped") && set.notes[0].contains(name));
        fs::remove_file(path).unwrap();
    }
    fs::write(root.join("31_0_1_20170104.jpg.chip.jpg"), "broken").unwrap();
    assert_refused(open("utkface", root, ""), &["31_0_1_20170104.jpg.chip.jpg@0", "found 6 bytes"]);
    // Bad files are out before anything is selected.
    let set = open("utkface", root, "#skip-bad=true,take=0..1").unwrap();
    assert!(set.len() == 1 && set.notes[0].contains("31_0_1_20170104.jpg.chip.jpg@0"), "{:?}", set.notes);
}

fn celeba() -> TempDir {
    let folder = tempdir().unwrap();
    write_celeba(folder.path(), 4);
    folder
}

#[test]
fn celeba_lists_are_checked() {
    let folder = celeba();
    let (list, partition) = ("list_attr_celeba.txt", "list_eval_partition.txt");
    let edit = |edit: (&str, &str, &str), fragments: &[&str]| {
        with_edit("celeba", folder.path(), "", edit, fragments);
    };
    edit((list, "4\n", "5\n"), &["list_attr_celeba.txt:1: expected 5 rows", "found 4"]);
    edit((list, "4\n", "many\n"), &["list_attr_celeba.txt:1: expected the number of images, found \"many\""]);
    edit((list, " Young", ""), &["list_attr_celeba.txt:2: expected 40 attribute names, found 39"]);
    edit(
        (list, "000002.jpg  1", "000002.jpg"),
        &["list_attr_celeba.txt:4: expected 41 fields (the image and 40 values), found 40"],
    );
    edit(
        (list, "000003.jpg ", "000003.jpg  1 "),
        &["list_attr_celeba.txt:5: expected 41 fields (the image and 40 values), found 42"],
    );
    edit(
        (list, "000001.jpg  1 -1", "000001.jpg  1  0"),
        &["list_attr_celeba.txt:3: expected -1 or 1 for Arched_Eyebrows, found \"0\""],
    );
    edit((list, "000002.jpg", "../x.jpg"), &["list_attr_celeba.txt:4", "name of an image", "\"../x.jpg\""]);
    edit(
        (partition, "000002.jpg 0", "000002.jpg 3"),
        &["list_eval_partition.txt:2: expected partition 0, 1 or 2, found \"3\""],
    );
    edit((partition, "000002.jpg 0", "000002.jpg"), &["list_eval_partition.txt:2: expected 2 fields"]);
    edit(
        (partition, "000002.jpg 0\n000003.jpg 1", "000003.jpg 1\n000002.jpg 0"),
        &[
            "list_eval_partition.txt:2: expected the images in the order of list_attr_celeba.txt: 000002.jpg",
            "found 000003.jpg",
            "list_eval_partition.txt:3",
        ],
    );
    edit((partition, "000004.jpg 1\n", ""), &["list_eval_partition.txt: expected 4 images", "found 3"]);
    edit(
        (partition, "000004.jpg 1\n", "000004.jpg 1\n000005.jpg 2\n"),
        &["list_eval_partition.txt:5: expected 4 images", "found 000005.jpg too"],
    );
}

#[test]
fn celeba_attributes_and_images_are_checked() {
    let folder = celeba();
    let root = folder.path();
    assert_eq!(CELEBA_ATTRIBUTES.split_whitespace().count(), 40);
    assert_refused(
        open("celeba", root, "#target=male_"),
        &["list_attr_celeba.txt:2: expected an attribute \"male_\"", "Wearing_Hat", "did you mean \"Male\"?"],
    );
    assert_refused(
        open("celeba", root, "#attribute=Young+Smilling"),
        &["expected an attribute \"Smilling\"", "did you mean \"Smiling\"?"],
    );
    for wrong in ["Young+Young", "Young+Male+Smiling"] {
        assert_refused(open("celeba", root, &format!("#attribute={wrong}")), &["pair A+B", wrong]);
    }
    fs::remove_file(root.join("img_align_celeba/000002.jpg")).unwrap();
    fs::remove_file(root.join("img_align_celeba/000004.jpg")).unwrap();
    // Found whichever images are taken.
    assert_refused(
        open("celeba", root, "#take=0..1"),
        &["000002.jpg: expected an image, found none", "list_attr_celeba.txt:4", "list_attr_celeba.txt:6"],
    );
    write_celeba(root, 4);
    fs::write(root.join("img_align_celeba/000003.jpg"), "broken").unwrap();
    assert_refused(open("celeba", root, ""), &["000003.jpg@0", "found 6 bytes", "list_attr_celeba.txt:5"]);
}

#[test]
fn places365_lists_are_checked() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    write_places365(root, 2, |_| false);
    fs::create_dir(root.join("data_256")).unwrap();
    let options = "#subset=4,per-scene=1";
    let edit = |edit: (&str, &str, &str), fragments: &[&str]| {
        with_edit("places365", root, options, edit, fragments);
    };
    edit(
        ("categories_places365.txt", "/a/a_scene_2 2\n", "/a/a_scene_2 365\n"),
        &["categories_places365.txt:3: expected a class from 0 to 364, found \"365\""],
    );
    edit(
        ("categories_places365.txt", "/a/a_scene_2 2\n", "/a/a_scene_2 1\n"),
        &["categories_places365.txt:3", "each category and class once"],
    );
    edit(("categories_places365.txt", "/a/a_scene_2 2\n", "2\n"), &["places365.txt:3: expected 2 fields"]);
    edit(
        ("IO_places365.txt", "/a/a_scene_3 1\n", "/a/a_scene_3 0\n"),
        &["IO_places365.txt:4: expected 1 (indoor) or 2 (outdoor), found \"0\""],
    );
    edit(
        ("IO_places365.txt", "/a/a_scene_3 1\n", "/a/a_seene_3 1\n"),
        &["IO_places365.txt:4: expected a category", "\"/a/a_seene_3\"", "did you mean \"/a/a_scene_3\"?"],
    );
    edit(("IO_places365.txt", "/a/a_scene_3 1\n", ""), &["a line for category /a/a_scene_3, found none"]);
    let train = "places365_train_standard.txt";
    edit(
        (train, "/a/a_scene_1/00000002.jpg 1\n", "/a/a_zoo/00000002.jpg 1\n"),
        &["places365_train_standard.txt:4: expected a category", "found \"/a/a_zoo\""],
    );
    edit(
        (train, "/a/a_scene_1/00000002.jpg 1\n", "/a/a_scene_1/00000002.jpg 400\n"),
        &["places365_train_standard.txt:4: expected a class from 0 to 364, found \"400\""],
    );
    edit(
        (train, "/a/a_scene_1/00000002.jpg 1\n", "/a/a_scene_1/00000002.jpg 2\n"),
        &["places365_train_standard.txt:4: expected class 1 of /a/a_scene_1, found 2"],
    );
    edit((train, "00000002.jpg 1\n", "00000002.jpg\n"), &["standard.txt:4: expected 2 fields"]);
    // The lists name images that are not there.
    assert_refused(
        open("places365", root, options),
        &["00000", "expected an image", "places365_train_standard.txt:"],
    );
}

#[test]
fn places365_subsets_and_supplied_lists_are_checked() {
    let folder = tempdir().unwrap();
    let root = folder.path();
    write_places365(root, 2, |_| false);
    fs::create_dir(root.join("data_256")).unwrap();
    let refused = |options: &str, fragments: &[&str]| {
        assert_refused(open("places365", root, options), fragments);
    };
    refused("#subset=4,per-scene=3", &["at least 3 images of", "per-scene=3, found 2"]);
    refused("#subset=5,per-scene=1", &["subset=365 (all scenes) or an even number", "subset=5"]);
    refused("#subset=300,per-scene=1", &["at least 150 indoor scenes for subset=300, found 122"]);
    refused("#subset=30", &["none of the published subsets (365, 100, 50, 20)", "per-scene=N"]);
    refused("#subset=0,per-scene=1", &["at least 1, found 0"]);
    refused("#list=x,subset=20", &["list= names the images itself", "subset="]);
    let list = root.join("list.txt");
    let with = |text: &str, fragments: &[&str]| {
        fs::write(&list, text).unwrap();
        assert_refused(open("places365", root, &format!("#list={}", list.display())), fragments);
    };
    with("/a/x.jpg 0 1\n/a/y.jpg 365 1\n", &["list.txt:2: expected a class from 0 to 364, found \"365\""]);
    with("/a/x.jpg 0 3\n", &["list.txt:1: expected 1 (indoor) or 2 (outdoor), found \"3\""]);
    with("/a/x.jpg 0\n", &["list.txt:1: expected 3 fields (path, scene and io), found 2"]);
    with("/../x.jpg 0 1\n", &["list.txt:1: expected an image path below the data folder", "/../x.jpg"]);
    with("/a/x.jpg 0 1\n/a/x.jpg 0 1\n", &["list.txt:2", "again (first on line 1)"]);
    with("\n", &["list.txt: expected lines", "found none"]);
    with("/a/x.jpg 0 1\n", &["data_256/a/x.jpg: expected an image", "list.txt:1"]);
}
