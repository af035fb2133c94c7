//! What a writer wrote, the reader reads: the same pixels, labels and order.

use std::fs;
use std::path::PathBuf;

use contraleak::data::resize::resize_bilinear;
use contraleak::data::{self, ImageSet, Labels, Normalization};
use sha2::{Digest, Sha256};
use tempfile::tempdir;

use crate::writers::{
    cifar_records, f32_bytes, i64_bytes, noise, palette_png, safetensors, save_rgb, write_idx_set,
};

fn names(labels: &Option<Labels>) -> Vec<&str> {
    labels.as_ref().unwrap().names.iter().map(String::as_str).collect()
}

fn values(labels: &Option<Labels>) -> &[u32] {
    &labels.as_ref().unwrap().values
}

fn ids(set: &ImageSet) -> Vec<&str> {
    set.ids.iter().map(String::as_str).collect()
}

/// Checks 28x28 gray against 32x32 RGB with a black border.
fn assert_padded(set: &ImageSet, index: usize, gray: &[u8]) {
    for y in 0..32usize {
        for x in 0..32usize {
            let inside = (2..30).contains(&y) && (2..30).contains(&x);
            let expected = if inside { gray[(y - 2) * 28 + x - 2] } else { 0 };
            let at = (y * 32 + x) * 3;
            assert_eq!(&set.image(index)[at..at + 3], &[expected; 3], "image {index} at {x},{y}");
        }
    }
}

#[test]
fn idx_plain_and_gzip_come_back() {
    for zipped in [false, true] {
        let folder = tempdir().unwrap();
        let [train, test] = write_idx_set(folder.path(), 23, 11, zipped);
        let set = data::open(&format!("mnist:{}", folder.path().display())).unwrap();
        assert_eq!((set.len(), set.width, set.height), (34, 32, 32));
        for index in 0..23 {
            assert_padded(&set, index, &train[index * 784..][..784]);
        }
        for index in 0..11 {
            assert_padded(&set, 23 + index, &test[index * 784..][..784]);
        }
        let expected: Vec<u32> = (0..23).chain(0..11).map(|index| index % 10).collect();
        assert_eq!(values(&set.target), expected);
        assert_eq!((set.ids[22].as_str(), set.ids[23].as_str()), ("train/22", "test/0"));
        let part = data::open(&format!("mnist:{}#part=test", folder.path().display())).unwrap();
        assert_eq!(part.pixels, set.pixels[23 * 3072..]);
        assert_eq!(part.normalization(), Normalization { mean: [0.1307; 3], std: [0.3081; 3] });
    }
}

#[test]
fn gzip_is_told_by_its_bytes_not_by_its_name() {
    let folder = tempdir().unwrap();
    write_idx_set(folder.path(), 12, 12, true);
    let open = || data::open(&format!("fashion-mnist:{}", folder.path().display())).unwrap();
    let zipped = open();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::rename(&path, path.with_extension("")).unwrap();
    }
    assert_eq!(open(), zipped);
}

/// The real data set, from the Debian package dataset-fashion-mnist.
#[test]
fn fashion_mnist_as_published() {
    let folder = std::env::var_os("CONTRALEAK_FASHION_MNIST")
        .map_or_else(|| PathBuf::from("/usr/share/datasets/fashion-mnist"), PathBuf::from);
    assert!(
        folder.is_dir(),
        "Fashion-MNIST is not at {}: install the Debian package dataset-fashion-mnist, or set \
         CONTRALEAK_FASHION_MNIST to the folder with its four files",
        folder.display()
    );
    let set = data::open(&format!("fashion-mnist:{}", folder.display())).unwrap();
    let info = data::info(&set);
    assert_eq!((info.images, info.width, info.height), (70_000, 32, 32));
    assert!(info.target.unwrap().iter().all(|class| class.images == 7_000));
    assert_eq!(names(&set.target)[9], "ankle boot");
    assert_eq!(values(&set.target)[..5], [9, 0, 0, 3, 0]);
    let own = ImageSet { published_normalization: None, ..set };
    // The published mean is over 28x28; the border of zeros dilutes it.
    let mean = own.normalization().mean[0] * (32.0 * 32.0) / (28.0 * 28.0);
    assert!((mean - 0.2860).abs() < 1e-3, "{mean}");
}

#[test]
fn cifar10_comes_back() {
    let folder = tempdir().unwrap();
    let inner = folder.path().join("cifar-10-batches-bin");
    fs::create_dir(&inner).unwrap();
    let train = cifar_records(10_000, &[10], 1);
    fs::write(inner.join("data_batch_1.bin"), &train).unwrap();
    for batch in 2..=5 {
        fs::hard_link(inner.join("data_batch_1.bin"), inner.join(format!("data_batch_{batch}.bin"))).unwrap();
    }
    let test = cifar_records(10_000, &[10], 2);
    fs::write(inner.join("test_batch.bin"), &test).unwrap();
    let classes = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";
    fs::write(inner.join("batches.meta.txt"), classes).unwrap();

    let set = data::open(&format!("cifar10:{}", folder.path().display())).unwrap();
    assert_eq!((set.len(), set.width, set.height), (60_000, 32, 32));
    assert_eq!(names(&set.target), classes.split_whitespace().collect::<Vec<_>>());
    for (index, record) in
        [(0, &train[..3073]), (49_999, &train[9_999 * 3073..]), (50_003, &test[3 * 3073..4 * 3073])]
    {
        assert_eq!(values(&set.target)[index], u32::from(record[0]));
        for (position, pixel) in set.image(index).chunks_exact(3).enumerate() {
            let planes = [0, 1024, 2048].map(|plane| record[1 + plane + position]);
            assert_eq!(pixel, planes, "image {index}, pixel {position}");
        }
    }
    assert_eq!([&set.ids[0], &set.ids[49_999], &set.ids[50_003]], ["train/0", "train/49999", "test/3"]);
    assert_eq!(set.normalization().mean, [0.4914, 0.4822, 0.4465]);
    // The folder itself serves as well as the one above it.
    let part = data::open(&format!("cifar10:{}#part=test,take=3..5", inner.display())).unwrap();
    assert_eq!(part.image(0), set.image(50_003));
}

#[test]
fn cifar100_gives_fine_as_target_and_coarse_as_attribute() {
    let folder = tempdir().unwrap();
    let test = cifar_records(10_000, &[20, 100], 3);
    fs::write(folder.path().join("test.bin"), &test).unwrap();
    let coarse: String = (0..20).map(|class| format!("group {class}\n")).collect();
    fs::write(folder.path().join("coarse_label_names.txt"), coarse).unwrap();
    let set = data::open(&format!("cifar100:{}#part=test", folder.path().display())).unwrap();
    assert_eq!(set.len(), 10_000);
    assert_eq!((values(&set.attribute)[133], values(&set.target)[133]), (13, 33));
    assert_eq!((names(&set.attribute)[13], names(&set.target)[33]), ("group 13", "33"));
    assert_eq!(set.image(133)[..3], [0, 1024, 2048].map(|plane| test[133 * 3074 + 2 + plane]));
}

#[test]
fn folders_are_read_in_bytewise_order() {
    let folder = tempdir().unwrap();
    // Created in an order that is neither bytewise nor that of a locale.
    let mut expected = Vec::new();
    for (index, path) in
        ["b/z.png", "a/10.png", "B/x.bmp", "a/9.PNG", "a/deep/1.webp", "é/1.png"].iter().enumerate()
    {
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let pixels = noise(12 * 10 * 3, index as u32);
        save_rgb(&file, 12, 10, &pixels);
        expected.push((path.to_string(), pixels));
    }
    fs::write(folder.path().join("a/notes.txt"), "not an image").unwrap();
    fs::write(folder.path().join(".hidden"), "not an image").unwrap();
    expected.sort();
    let spec = format!("folder:{}", folder.path().display());
    let set = data::open(&spec).unwrap();
    assert_eq!((set.len(), set.width, set.height), (6, 12, 10));
    assert_eq!(names(&set.target), ["B", "a", "b", "é"]);
    assert_eq!(values(&set.target), [0, 1, 1, 1, 2, 3]);
    for (index, (path, pixels)) in expected.iter().enumerate() {
        assert_eq!(&set.ids[index], path);
        assert_eq!(set.image(index), pixels, "{path}");
    }
    assert!(set.notes[0].contains("1 files") && set.notes[0].contains("a/notes.txt"), "{:?}", set.notes);
    // The number of threads changes nothing.
    for threads in [1, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| data::open(&spec)).unwrap(), set);
    }
}

#[test]
fn a_flat_folder_is_unlabelled() {
    let folder = tempdir().unwrap();
    for name in ["2.png", "1.png"] {
        save_rgb(&folder.path().join(name), 8, 8, &noise(192, 4));
    }
    let set = data::open(&format!("folder:{}", folder.path().display())).unwrap();
    assert_eq!((ids(&set), set.target.is_none()), (vec!["1.png", "2.png"], true));
    assert_eq!(data::info(&set).exact_duplicates, 1);
}

#[test]
fn gray_palette_16_bit_and_alpha_become_rgb() {
    let folder = tempdir().unwrap();
    let open = |options: &str| data::open(&format!("folder:{}{options}", folder.path().display()));
    let only = |name: &str| {
        let set = open("").unwrap();
        fs::remove_file(folder.path().join(name)).unwrap();
        set.pixels
    };
    let path = |name: &str| folder.path().join(name);

    let gray = image::GrayImage::from_fn(9, 8, |x, y| image::Luma([(x * 20 + y) as u8]));
    gray.save(path("gray.png")).unwrap();
    assert_eq!(only("gray.png"), gray.pixels().flat_map(|p| [p.0[0]; 3]).collect::<Vec<u8>>());

    let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_fn(8, 8, |x, y| {
        image::Luma([(x * 8 + y) as u16 * 1028])
    });
    deep.save(path("deep.png")).unwrap();
    let expected =
        deep.pixels().flat_map(|p| [(f64::from(p.0[0]) / 257.0).round() as u8; 3]).collect::<Vec<u8>>();
    assert_eq!(only("deep.png"), expected);

    fs::write(path("palette.png"), palette_png(8, 8, [[250, 1, 2], [3, 240, 5]], &[])).unwrap();
    assert_eq!(only("palette.png")[..6], [250, 1, 2, 3, 240, 5]);

    let clear = image::RgbaImage::from_fn(8, 8, |x, _| image::Rgba([10, 100, 200, (x * 36) as u8]));
    clear.save(path("clear.png")).unwrap();
    let dropped = open("#alpha=drop").unwrap().pixels;
    assert!(dropped.chunks_exact(3).all(|pixel| pixel == [10, 100, 200]));
    let over =
        |colour: f64, alpha: f64| (colour * alpha / 255.0 + 255.0 * (1.0 - alpha / 255.0)).round() as u8;
    let expected: Vec<u8> =
        clear.pixels().flat_map(|p| [0, 1, 2].map(|c| over(p.0[c].into(), p.0[3].into()))).collect();
    assert_eq!(only("clear.png"), expected);

    let smooth = image::RgbImage::from_fn(24, 16, |x, y| image::Rgb([x as u8 * 8, y as u8 * 12, 90]));
    smooth.save(path("photo.jpg")).unwrap();
    let decoded = only("photo.jpg");
    let worst = decoded.iter().zip(smooth.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(worst < 40, "JPEG differs by {worst}");
}

#[test]
fn csv_labels_filters_and_missing_values() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("img")).unwrap();
    for index in 0..6 {
        save_rgb(&folder.path().join(format!("img/{index}.png")), 8, 8, &noise(192, index));
    }
    // A byte order mark, Windows line ends, quotes with a comma, an empty value.
    let text = "\u{feff}file,gender,\"tone, skin\",split\r\nimg/3.png,f,dark,in\r\n\"img/1.png\",m,light,in\r\n\
                img/0.png,f,mid,out\r\nimg/2.png,,light,in\r\nimg/5.png,m,dark,out\r\nimg/4.png,f,light,in\r\n";
    let csv = folder.path().join("labels.csv");
    fs::write(&csv, text).unwrap();
    let open = |options: &str| data::open(&format!("csv:{}#{options}", csv.display())).unwrap();

    let set = open("target=gender,attribute=tone%2C skin");
    assert_eq!(ids(&set), ["img/3.png", "img/1.png", "img/0.png", "img/5.png", "img/4.png"]);
    assert_eq!((names(&set.target), values(&set.target)), (vec!["f", "m"], &[0, 1, 0, 1, 0][..]));
    assert_eq!(names(&set.attribute), ["dark", "light", "mid"]);
    assert_eq!(values(&set.attribute), [0, 1, 2, 0, 1]);
    assert_eq!(set.image(0), noise(192, 3));
    assert_eq!(set.notes, ["1 rows dropped: no value in gender or tone, skin"]);

    // Two selections of one file number their classes alike, whichever classes they hold.
    let members = open("target=tone%2C skin,where=split=in");
    assert_eq!(ids(&members), ["img/3.png", "img/1.png", "img/2.png", "img/4.png"]);
    assert_eq!(
        (names(&members.target), values(&members.target)),
        (vec!["dark", "light", "mid"], &[0, 1, 1, 1][..])
    );
    // A filter on the label's own column takes the value out.
    let two = open("target=tone%2C skin,where=tone%2C skin!=mid,where=split!=out");
    assert_eq!((names(&two.target), two.len()), (vec!["dark", "light"], 4));
    assert_eq!(open("").len(), 6);
}

#[test]
fn tensors_come_back() {
    let folder = tempdir().unwrap();
    let bytes = noise(5 * 3 * 9 * 11, 8);
    let images: Vec<f32> = bytes.iter().map(|&value| f32::from(value) / 255.0).collect();
    let file = folder.path().join("set.safetensors");
    let tensors = safetensors(&[
        ("images", "F32", &[5, 3, 9, 11], f32_bytes(&images)),
        ("target", "I64", &[5], i64_bytes(&[0, 2, 1, 0, 2])),
    ]);
    fs::write(&file, tensors).unwrap();
    let set = data::open(&format!("tensor:{}", file.display())).unwrap();
    assert_eq!((set.len(), set.width, set.height), (5, 11, 9));
    for image in 0..5 {
        for position in 0..99 {
            let planes = [0, 1, 2].map(|channel| bytes[(image * 3 + channel) * 99 + position]);
            assert_eq!(set.image(image)[position * 3..][..3], planes);
        }
    }
    assert_eq!((names(&set.target), values(&set.target)), (vec!["0", "1", "2"], &[0, 2, 1, 0, 2][..]));
    assert!(set.attribute.is_none());
}

#[test]
fn resizing_gives_the_bytes_that_pillow_gives() {
    // Pillow 13.0.0: Image.frombytes("RGB", (w, h), noise).resize((s, s), Image.BILINEAR).tobytes()
    for (width, height, size, expected) in [
        (13, 9, 8, "b1d9ec49c9b5a011f432985233a47cf4bc1f323f716001fe83b3bf074a15bf06"),
        (37, 50, 16, "7c7e5568c5a8f1783e75ed146524d0fc83fa3fd5903794fac04e36ee54193d94"),
        (8, 8, 32, "7ca45ce2e5dd37aa6a4b2b6c27dd4eaccb205001538e9e96973126c4ab56e0d2"),
        (64, 48, 48, "1a2ee408ca5b56bc8108ef642e8b32c3c384aa8e72a7d5db3bc7e2fd3337d7ca"),
        (200, 200, 64, "aa659c7e99fca553c14a2fb747e06b0d89d9438996a96c5b1331022b8ab1ba42"),
        (9, 31, 32, "c4626b62f09051b6370fd6f13c9e17ecc07dba17e8eb85bc08151c1f7fb82303"),
    ] {
        let resized = resize_bilinear(&noise(width * height * 3, 12345), (width, height), (size, size));
        let hash: String = Sha256::digest(&resized).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, expected, "{width}x{height} to {size}");
    }
}

#[test]
fn size_resizes_every_kind_alike() {
    let folder = tempdir().unwrap();
    let pixels = noise(20 * 14 * 3, 77);
    save_rgb(&folder.path().join("1.png"), 20, 14, &pixels);
    save_rgb(&folder.path().join("2.png"), 9, 30, &noise(9 * 30 * 3, 78));
    let set = data::open(&format!("folder:{}#size=16", folder.path().display())).unwrap();
    assert_eq!((set.len(), set.width, set.height), (2, 16, 16));
    assert_eq!(set.image(0), resize_bilinear(&pixels, (20, 14), (16, 16)));
    let faces = data::open("synthetic-faces:count=2,size=24").unwrap();
    assert_eq!(data::resized(faces.clone(), 24), faces);
    let small = data::resized(faces.clone(), 10);
    assert_eq!(small.image(1), resize_bilinear(faces.image(1), (24, 24), (10, 10)));
}

#[test]
fn normalization_is_the_sets_own_where_none_is_published() {
    let set = ImageSet {
        name: "two".into(),
        width: 1,
        height: 1,
        pixels: vec![0, 51, 255, 255, 51, 0],
        ids: vec!["a".into(), "b".into()],
        target: None,
        attribute: None,
        source_hash: String::new(),
        published_normalization: None,
        notes: Vec::new(),
    };
    assert_eq!(set.normalization(), Normalization { mean: [0.5, 0.2, 0.5], std: [0.5, 1.0, 0.5] });
}

#[test]
fn hashes_follow_content() {
    let set = data::open("synthetic-faces:count=6,size=16").unwrap();
    let same = data::open("synthetic-faces:size=16#count=6").unwrap();
    assert_eq!(set.content_hash(), same.content_hash());
    assert_eq!(set.content_hash().len(), 64);
    let mut changed = set.clone();
    changed.pixels[5] ^= 1;
    assert_ne!(changed.content_hash(), set.content_hash());
    assert_ne!(changed.pixel_hash(0), set.pixel_hash(0));
    assert_eq!(changed.pixel_hash(1), set.pixel_hash(1));
    let mut relabelled = set.clone();
    relabelled.target.as_mut().unwrap().values[0] ^= 1;
    assert_ne!(relabelled.content_hash(), set.content_hash());
    assert_ne!(set.subset(&[1, 0, 2, 3, 4, 5]).unwrap().content_hash(), set.content_hash());
    assert_eq!(set.subset(&[4, 1]).unwrap().image(0), set.image(4));
}
