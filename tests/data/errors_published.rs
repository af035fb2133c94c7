//! What bad CIFAR, MNIST and Fashion-MNIST files get.

use std::fs;
use std::path::Path;

use contraleak::{Result, data};
use tempfile::tempdir;

use crate::assert_refused;
use crate::writers::{cifar_records, gzip, idx, noise, write_idx_set};

fn open(kind: &str, folder: &Path) -> Result<data::ImageSet> {
    data::open(&format!("{kind}:{}#part=test", folder.display()))
}

#[test]
fn missing_files_are_listed() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let absent = folder.path().join("absent");
    assert_refused(open("cifar10", &absent), &["absent", "test_batch.bin", "no folder"]);
    assert_refused(
        open("mnist", folder.path()),
        &[&at("t10k-images-idx3-ubyte"), "t10k-labels-idx1-ubyte", "an empty folder"],
    );
    fs::write(folder.path().join("cifar-10-binary.tar.gz"), "").unwrap();
    assert_refused(open("cifar10", folder.path()), &["only the archive cifar-10-binary.tar.gz", "unpack"]);
    fs::write(folder.path().join("data_batch_1"), "").unwrap();
    assert_refused(
        data::open(&format!("cifar10:{}", folder.path().display())),
        &["data_batch_1.bin", "Python pickle version found, binary version required"],
    );
    write_idx_set(folder.path(), 3, 3, true);
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
    assert_refused(open("mnist", folder.path()), &[&at("t10k-labels-idx1-ubyte"), "expected the files"]);
}

#[test]
fn cifar_sizes_are_checked() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("test_batch.bin");
    let good = cifar_records(10_000, &[10], 1);
    fs::write(&file, &good[..30_729_999]).unwrap();
    assert_refused(
        open("cifar10", folder.path()),
        &[
            "test_batch.bin@30726927",
            "expected 30730000 bytes",
            "records of 3073 bytes",
            "found 30729999 bytes",
        ],
    );
    fs::write(&file, &good[..5_000]).unwrap();
    assert_refused(
        open("cifar10", folder.path()),
        &["test_batch.bin@3073", "found 5000", "first incomplete record starts at byte 3073"],
    );
    fs::write(folder.path().join("test.bin"), &good[..3_074]).unwrap();
    assert_refused(
        open("cifar100", folder.path()),
        &["test.bin@3074", "expected 30740000 bytes", "records of 3074"],
    );
    fs::write(&file, [&good[..], &[0]].concat()).unwrap();
    assert_refused(open("cifar10", folder.path()), &["test_batch.bin@30730000", "found 30730001 bytes"]);
}

#[test]
fn cifar_labels_are_checked() {
    let folder = tempdir().unwrap();
    let mut bytes = cifar_records(10_000, &[10], 1);
    for record in 5..30 {
        bytes[record * 3073] = 10;
    }
    fs::write(folder.path().join("test_batch.bin"), bytes).unwrap();
    assert_refused(
        open("cifar10", folder.path()),
        &[
            "test_batch.bin@15365: expected a label from 0 to 9, found 10",
            "test_batch.bin@18438",
            "and 5 more",
        ],
    );
    let mut bytes = cifar_records(10_000, &[20, 100], 1);
    bytes[3074 * 7 + 1] = 100;
    fs::write(folder.path().join("test.bin"), &bytes).unwrap();
    assert_refused(open("cifar100", folder.path()), &["test.bin@21519", "0 to 99, found 100"]);
    bytes[3074 * 7 + 1] = 0;
    fs::write(folder.path().join("test.bin"), &bytes).unwrap();
    fs::write(folder.path().join("fine_label_names.txt"), "one\ntwo\n").unwrap();
    assert_refused(
        open("cifar100", folder.path()),
        &["fine_label_names.txt", "expected 100 names", "found 2"],
    );
}

#[test]
fn idx_headers_are_checked() {
    let folder = tempdir().unwrap();
    write_idx_set(folder.path(), 3, 3, false);
    let images = folder.path().join("t10k-images-idx3-ubyte");
    let labels = folder.path().join("t10k-labels-idx1-ubyte");
    let (good_images, good_labels) = (fs::read(&images).unwrap(), fs::read(&labels).unwrap());
    let with_images = |bytes: &[u8]| {
        fs::write(&images, bytes).unwrap();
        open("mnist", folder.path())
    };
    assert_refused(
        with_images(&good_labels),
        &["t10k-images-idx3-ubyte@", "expected a header of 16 bytes, found 11"],
    );
    assert_refused(
        with_images(&idx(0x801, &[3, 28, 28], &noise(3 * 784, 1))),
        &["t10k-images-idx3-ubyte@0", "expected magic number 0x00000803, found 0x00000801"],
    );
    assert_refused(
        with_images(&idx(0x803, &[3, 28, 28], &noise(2000, 1))),
        &["ubyte@2016", "expected 2352 bytes", "found 2000"],
    );
    assert_refused(
        with_images(&idx(0x803, &[3, 28, 28], &noise(2353, 1))),
        &["ubyte@2368", "expected 2352 bytes", "found more"],
    );
    assert_refused(
        with_images(&idx(0x803, &[3, 20, 28], &noise(1680, 1))),
        &["ubyte@8", "28 rows and 28 columns", "[20, 28]"],
    );
    assert_refused(with_images(&idx(0x803, &[u32::MAX; 3], &[])), &["ubyte@4", "expected a possible size"]);
    assert_refused(with_images(&[]), &["ubyte@0", "found 0 bytes"]);
    let zipped = gzip(&good_images);
    assert_refused(
        with_images(&zipped[..zipped.len() / 2]),
        &["t10k-images-idx3-ubyte@0", "expected whole gzip data", "decompressed bytes"],
    );
    fs::write(&images, &good_images).unwrap();
    let with_labels = |bytes: &[u8]| {
        fs::write(&labels, bytes).unwrap();
        open("mnist", folder.path())
    };
    assert_refused(
        with_labels(&idx(0x801, &[2], &[0, 1])),
        &["labels-idx1-ubyte@4", "expected 3 labels", "t10k-images-idx3-ubyte", "found 2"],
    );
    assert_refused(with_labels(&idx(0x801, &[3], &[0, 10, 1])), &["labels-idx1-ubyte@9", "0 to 9, found 10"]);
    assert_refused(
        with_labels(&idx(0x803, &[3], &[0, 1, 1])),
        &["labels-idx1-ubyte@0", "expected magic number 0x00000801"],
    );
    fs::write(&images, idx(0x803, &[0, 28, 28], &[])).unwrap();
    assert_refused(with_labels(&idx(0x801, &[0], &[])), &["mnist", "expected images, found none"]);
}
