//! Images decoded on demand: the same images, labels and mistakes as in memory; features and measurements that do not
//! depend on where images lie, on chunks or on interruptions.

mod common;
use common::gpu::gpu;
use common::training::{encoder_config, faces, recipe};
use contraleak::Error;
use contraleak::attack::blind::{FEATURES, describe_image};
use contraleak::attack::encodermi::membership_features;
use contraleak::augment::Recipe;
use contraleak::data::resize::{Filter, Fit};
use contraleak::data::{self, FileFacts, FileFormat, ImageSet, Images, duplicates, image_set::hex, survey};
use contraleak::experiment::kept_features::{Keep, Measured, embeddings, similarities};
use contraleak::kernels::similarity::Similarity;
use contraleak::train::{Encoder, Views};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;

/// A pattern with edges, gradients and noise.
fn pattern(width: usize, height: usize, salt: usize) -> Vec<u8> {
    let value = |x: usize, y: usize, c: usize| {
        x * x * 3 + 7 * x * y + 11 * y + 50 * c + 13 * c * x + (x / 5 + y / 3) % 2 * 90 + salt
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| [0, 1, 2].map(|c| (value(x, y, c) % 256) as u8)).collect()
}

fn save(path: &Path, (width, height): (usize, usize), salt: usize) {
    let pixels = pattern(width, height, salt);
    image::save_buffer(path, &pixels, width as u32, height as u32, image::ExtendedColorType::Rgb8).unwrap();
}

/// Images in two class folders, and a CSV that names them; every seventh image is the one before it again.
/// `extents` says how large each is.
fn write_images(folder: &Path, count: usize, extents: impl Fn(usize) -> (usize, usize)) {
    let mut table = String::from("file,kind,group,split\n");
    for class in ["cats", "dogs"] {
        std::fs::create_dir(folder.join(class)).unwrap();
    }
    for index in 0..count {
        let ending = ["png", "bmp", "webp", "png", "jpg"][index % 5];
        let path = format!("{}/{index:03}.{ending}", ["cats", "dogs"][index % 2]);
        if index % 7 == 6 {
            // BMP and PNG of the same pixels.
            let path = path.replace(ending, "png");
            save(&folder.join(&path), extents(index - 1), 31 * (index - 1));
            writeln!(table, "{path},twin,{},train", index % 3).unwrap();
            continue;
        }
        save(&folder.join(&path), extents(index), 31 * index);
        let split = ["train", "test"][usize::from(index % 4 == 3)];
        writeln!(table, "{path},{},{},{split}", ["cat", "dog"][index % 2], index % 3).unwrap();
    }
    std::fs::write(folder.join("labels.csv"), table).unwrap();
}

/// Asserts that a SPEC means the same in memory and on demand.
fn assert_same(spec: &str) -> (ImageSet, Box<dyn Images>) {
    let set = data::open(spec).unwrap_or_else(|e| panic!("{spec}: {e}"));
    let images = data::open_images(spec).unwrap_or_else(|e| panic!("{spec}: {e}"));
    assert_eq!((images.width(), images.height(), images.len()), (set.width, set.height, set.len()), "{spec}");
    let ids: Vec<&str> = (0..images.len()).map(|index| images.id(index)).collect();
    assert_eq!(ids, set.ids, "{spec}");
    assert_eq!(images.name(), set.name, "{spec}");
    assert_eq!(images.target(), set.target.as_ref(), "{spec}");
    assert_eq!(images.attribute(), set.attribute.as_ref(), "{spec}");
    assert_eq!(images.notes(), set.notes, "{spec}");
    assert_eq!(images.published_normalization(), set.published_normalization, "{spec}");
    let all: Vec<usize> = (0..images.len()).collect();
    assert!(images.read(&all).unwrap() == set.pixels, "{spec}: other pixels");
    let some = [set.len() - 1, 0, set.len() / 2, 0];
    assert!(images.read(&some).unwrap() == Images::read(&set, &some).unwrap(), "{spec}: other pixels");
    assert!(images.read(&[]).unwrap().is_empty());
    (set, images)
}

fn says<T>(result: Result<T, Error>, parts: &[&str]) -> String {
    let Err(error) = result else { panic!("expected an error with {parts:?}") };
    let error = error.to_string();
    for part in parts {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
    error
}

/// SHA-256 (its first eight bytes) of what Pillow 13.0 and torchvision 0.29 make of `pattern(width, height, 0)` with
/// `CenterCrop(side)(Resize(short, filter)(image))`.
const TORCHVISION: [(usize, usize, usize, usize, Filter, &str); 12] = [
    (37, 53, 16, 16, Filter::Bicubic, "6cb9e09cebe88256"),
    (64, 41, 24, 31, Filter::Bilinear, "1e879ebf0881b55b"),
    (61, 40, 20, 29, Filter::Bicubic, "b1529ca7f53b7f45"),
    (19, 23, 32, 32, Filter::Bicubic, "7039e517cd1b92fc"),
    (45, 33, 32, 32, Filter::Bicubic, "0d8ca0910b01c810"),
    (200, 12, 8, 11, Filter::Bicubic, "2e68b41703733346"),
    (24, 24, 24, 24, Filter::Bicubic, "43a60e15524fc6b0"),
    (90, 70, 24, 32, Filter::Bilinear, "8816d3c7bbf5e1b1"),
    (16, 29, 16, 16, Filter::Bicubic, "10902153378732cf"),
    (19, 16, 16, 16, Filter::Bicubic, "834da9e867c41caa"),
    (21, 8, 8, 8, Filter::Bicubic, "97059c0b859e2295"),
    (31, 9, 8, 8, Filter::Bicubic, "24c37c3382649894"),
];

/// Red of the same for 37 x 53 pixels, side and short side 8, bicubic.
const RED: [[u8; 8]; 8] = [
    [136, 125, 126, 131, 135, 102, 115, 134],
    [140, 135, 141, 117, 141, 151, 133, 116],
    [123, 128, 129, 112, 120, 133, 128, 121],
    [116, 128, 119, 142, 122, 133, 120, 137],
    [119, 117, 136, 142, 127, 121, 124, 124],
    [165, 139, 124, 118, 134, 127, 113, 138],
    [110, 141, 125, 104, 107, 119, 119, 147],
    [128, 126, 112, 114, 117, 124, 126, 134],
];

#[test]
fn crops_are_those_of_torchvision() {
    let image = pattern(37, 53, 0);
    let fit = Fit::Crop { side: 8, short: 8, filter: Filter::Bicubic };
    let red: Vec<u8> = fit.apply(&image[..], (37, 53)).iter().step_by(3).copied().collect();
    assert_eq!(red, RED.concat());
    for (width, height, side, short, filter, expected) in TORCHVISION {
        let fit = Fit::Crop { side, short, filter };
        let cropped = fit.apply(pattern(width, height, 0), (width, height));
        assert_eq!(cropped.len(), side * side * 3);
        assert_eq!(&hex(&Sha256::digest(&cropped))[..16], expected, "{width}x{height}, {fit:?}");
    }
}

#[test]
fn crop_options_are_read_and_mistakes_named() {
    let fit = |text: &str| text.parse::<data::Spec>().map(|spec| spec.fit);
    let crop = |side, short, filter| Fit::Crop { side, short, filter };
    assert_eq!(fit("folder:x").unwrap(), Fit::AsIs);
    assert_eq!(fit("folder:x#size=32").unwrap(), Fit::Stretch(32));
    assert_eq!(fit("folder:x#crop=224").unwrap(), crop(224, 224, Filter::Bicubic));
    let torchvision = "folder:x#crop=224,short=256,filter=bilinear";
    assert_eq!(fit(torchvision).unwrap(), crop(224, 256, Filter::Bilinear));
    assert_eq!(fit("synthetic-faces:size=48#crop=32").unwrap(), crop(32, 32, Filter::Bicubic));
    says(fit("folder:x#short=256"), &["short= needs crop=S"]);
    says(fit("folder:x#filter=bilinear"), &["filter= needs crop=S"]);
    says(fit("folder:x#crop=64,size=32"), &["size=", "crop=", "one of the two"]);
    says(fit("folder:x#crop=64,short=32"), &["at least crop=64, found short=32"]);
    says(fit("folder:x#crop=4"), &["crop=8 to 4096, found crop=4"]);
    says(fit("folder:x#crop=64,filter=box"), &["filter=bicubic|bilinear", "box"]);
    let set = data::open("synthetic-faces:count=3,size=48#crop=24,short=30").unwrap();
    let whole = data::open("synthetic-faces:count=3,size=48").unwrap();
    assert_eq!((set.width, set.height), (24, 24));
    assert_eq!(set.image(1), &*crop(24, 30, Filter::Bicubic).apply(whole.image(1), (48, 48)));
}

#[test]
fn files_on_demand_are_the_files_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_images(root, 30, |_| (21, 17));
    std::fs::remove_file(root.join("labels.csv")).unwrap();
    let at = format!("folder:{}", root.display());
    for options in [
        "",
        "#size=12",
        "#crop=12",
        "#crop=10,short=14,filter=bilinear",
        "#shuffle=3,take=4..19",
        "#quarter=2,shuffle=1",
        "#unique=true",
        "#unique=true,size=9,shuffle=2,take=..11",
        "#skip-bad=true,unique=true,quarter=3,quarter-seed=5",
        "#alpha=drop",
    ] {
        assert_same(&format!("{at}{options}"));
    }
    let (set, images) = assert_same(&format!("{at}#unique=true"));
    assert_eq!(set.len(), 27, "3 of 30 images are there twice, a JPEG is another picture than its PNG");
    assert_ne!(images.source_hash(), data::open_images(&at).unwrap().source_hash());

    let photos = tempfile::tempdir().unwrap();
    write_images(photos.path(), 40, |index| (16 + index % 9, 40 - index % 11));
    let table = format!("csv:{}", photos.path().join("labels.csv").display());
    for options in [
        "#target=kind,attribute=group,size=16",
        "#target=group,crop=16,where=split=train,where=kind!=twin",
        "#crop=9,shuffle=7,take=5..",
        "#target=group,size=11,unique=true,take=..20",
        "#size=8,where=split=test,skip-bad=true",
    ] {
        assert_same(&format!("{table}{options}"));
    }
    // Sets of other kinds lie in memory.
    assert_same("synthetic-faces:count=9,size=16#shuffle=1,take=2..8");
}

#[test]
fn mistakes_in_files_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_images(root, 24, |_| (20, 20));
    let table = format!("csv:{}", root.join("labels.csv").display());

    let missing = root.join("cats/010.png");
    std::fs::rename(&missing, root.join("away")).unwrap();
    for options in ["", "#size=8", "#unique=true"] {
        let spec = format!("{table}{options}");
        let parts = ["010.png", "none that can be read", "labels.csv:12"];
        let found = says(data::open_images(&spec), &parts);
        assert_eq!(found, says(data::open(&spec), &parts));
    }
    std::fs::rename(root.join("away"), &missing).unwrap();

    save(&root.join("cats/008.png"), (20, 22), 1);
    save(&root.join("dogs/019.jpg"), (24, 20), 1);
    let parts = ["008.png", "expected 20x20 pixels like", "000.png, found 20x22", "019.jpg", "found 24x20"];
    assert_eq!(says(data::open_images(&table), &parts), says(data::open(&table), &parts));
    save(&root.join("cats/008.png"), (20, 20), 1);
    save(&root.join("dogs/019.jpg"), (20, 20), 1);

    // Cut behind the header: found when it is read, or at once where all files must be looked at.
    let bytes = std::fs::read(root.join("cats/008.png")).unwrap();
    std::fs::write(root.join("cats/008.png"), &bytes[..bytes.len() / 2]).unwrap();
    let images = data::open_images(&table).unwrap();
    let all: Vec<usize> = (0..images.len()).collect();
    assert_eq!(images.read(&[0, 9]).unwrap().len(), 2 * 1200);
    let cut = ["008.png@", "labels.csv:10"];
    assert_eq!(says(images.read(&all), &cut), says(data::open(&table), &cut));
    says(data::open_images(&format!("{table}#unique=true")), &cut);
    let (_, kept) = assert_same(&format!("{table}#skip-bad=true,shuffle=1,take=3..20"));
    assert!(kept.notes()[0].starts_with("1 bad files skipped: "), "{:?}", kept.notes());
    says(images.read(&[3, images.len()]), &["below 24, found 24"]);
    // A file that changes after its size was read.
    save(&root.join("cats/008.png"), (28, 20), 1);
    says(images.read(&all), &["008.png", "expected 20x20", "found 28x20"]);
    says(data::open_images(&format!("folder:{}", root.display())), &["008.png", "found 28x20"]);
}

#[test]
fn sizes_are_read_from_headers_of_any_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = |index: usize| folder.path().join(format!("{index}.jpg"));
    save(&path(0), (40, 31), 5);
    let jpeg = std::fs::read(path(0)).unwrap();
    // Application segments before the frame: within what is read first, and beyond it.
    for (index, segments) in [(1, 1), (2, 3)] {
        let mut longer = jpeg[..2].to_vec();
        for _ in 0..segments {
            longer.extend([0xff, 0xe5, 0x7f, 0xff]);
            longer.extend([0x55; 0x7ffd]);
        }
        longer.extend(&jpeg[2..]);
        std::fs::write(path(index), longer).unwrap();
    }
    let (set, _) = assert_same(&format!("folder:{}", folder.path().display()));
    assert_eq!((set.len(), set.width, set.height), (3, 40, 31));
    assert!(set.image(0) == set.image(1) && set.image(0) == set.image(2));
    save(&path(3), (40, 30), 5);
    says(data::open_images(&format!("folder:{}", folder.path().display())), &["3.jpg", "found 40x30"]);
    save(&path(3), (7, 31), 5);
    says(data::open_images(&format!("folder:{}", folder.path().display())), &["3.jpg", "at least 8 pixels"]);
}

#[test]
fn fingerprints_change_with_the_images() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path(), 10, |_| (20, 20));
    std::fs::remove_file(folder.path().join("labels.csv")).unwrap();
    let at = format!("folder:{}", folder.path().display());
    let print = |options: &str| data::open_images(&format!("{at}{options}")).unwrap().fingerprint();
    let before = print("");
    assert_eq!(before, print(""));
    for options in ["#size=20", "#crop=20", "#take=..9", "#shuffle=1", "#alpha=drop"] {
        assert_ne!(before, print(options), "{options}");
    }
    let file = folder.path().join("cats/000.png");
    let bytes = std::fs::read(&file).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    std::fs::write(&file, bytes).unwrap();
    assert_ne!(before, print(""), "written again");
    let (a, b) = (faces(4, 1), faces(4, 2));
    assert_eq!(a.fingerprint(), faces(4, 1).fingerprint());
    assert_ne!(a.fingerprint(), b.fingerprint());
}

#[test]
fn a_survey_is_what_sets_in_memory_say_of_themselves() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path(), 40, |index| (20 + index % 3, 24));
    let spec =
        format!("csv:{}#target=kind,attribute=group,crop=18", folder.path().join("labels.csv").display());
    let (set, images) = assert_same(&spec);
    let mut heard = Vec::new();
    let found = survey(&*images, Some(&describe_image), &mut |done| {
        heard.push(done);
        false
    })
    .unwrap();
    assert_eq!(heard, [0, 40]);
    assert_eq!(found.content_hash, set.content_hash());
    assert_eq!(found.pixel_hashes, set.pixel_hashes());
    assert_eq!(found.difference_hashes, duplicates::difference_hashes(&set));
    assert_eq!(found.described.len(), 40 * FEATURES);
    // The seventh image lies in a WebP of 21 x 24; the last seven numbers are the file's.
    let facts = images.file_facts(7).unwrap().unwrap();
    let bytes = std::fs::metadata(folder.path().join(images.id(7))).unwrap().len();
    assert_eq!(facts, FileFacts { width: 21, height: 24, bytes, format: FileFormat::WebP });
    let described = &found.described[7 * FEATURES..8 * FEATURES];
    assert_eq!(*described, describe_image(set.image(7), 18, 18, Some(&facts)));
    assert_eq!(described[FEATURES - 7], 21f32.ln());
    assert_eq!(described[FEATURES - 4..], [0.0, 0.0, 0.0, 1.0]);
    assert_eq!(describe_image(set.image(7), 18, 18, None)[FEATURES - 7..], [0.0; 7]);
    assert_eq!(set.file_facts(7).unwrap(), None);
    let hashes = &found.difference_hashes;
    assert_eq!(duplicates::near_duplicates_of(hashes, hashes), 40);

    let many = faces(600, 3);
    let whole = survey(&many, None, &mut |_| false).unwrap();
    assert_eq!((whole.content_hash, whole.pixel_hashes), (many.content_hash(), many.pixel_hashes()));
    assert!(whole.described.is_empty());
    let stopped = survey(&many, None, &mut |done| done > 0);
    assert!(matches!(&stopped, Err(Error::Interrupted(text)) if text.contains("256 of 600")), "{stopped:?}");
}

#[test]
fn features_do_not_depend_on_where_images_lie() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path(), 45, |index| (16 + index % 5, 22));
    let spec = format!("csv:{}#size=20,shuffle=4", folder.path().join("labels.csv").display());
    let (set, images) = assert_same(&spec);
    let encoder = Encoder::untrained(gpu(), encoder_config(), 3).unwrap();
    let all: Vec<usize> = (0..45).rev().collect();
    // 200 rows make a batch: 6 images.
    let views = Views { recipe: recipe(), count: 30, seed: 5 };
    let expected = encoder.features(gpu(), &set, &all, &views, |_| false).unwrap();
    let row = 30 * encoder.feature_dim();
    assert!(expected == encoder.features(gpu(), &*images, &all, &views, |_| false).unwrap());
    for part in [1, 4, 6, 7, 20, 45, 100] {
        let (mut found, mut heard) = (Vec::new(), Vec::new());
        let mut sink = |first: usize, features: Vec<f32>| {
            assert_eq!(first * row, found.len());
            assert!(features.len() == part * row || first + features.len() / row == 45, "part {part}");
            found.extend(features);
            Ok(())
        };
        let mut progress = |next| {
            heard.push(next);
            false
        };
        encoder.features_in_parts(gpu(), &*images, &all, &views, part, &mut sink, &mut progress).unwrap();
        assert!(found == expected, "part {part}");
        assert_eq!(heard, [6, 6, 6, 6, 6, 6, 6, 3]);
    }
    // What cannot be read, or handed over, ends the work; what came before is good.
    std::fs::write(folder.path().join(images.id(all[40])), b"no image").unwrap();
    let mut parts = Vec::new();
    let mut sink = |first, features: Vec<f32>| {
        parts.push((first, features));
        Ok(())
    };
    let result = encoder.features_in_parts(gpu(), &*images, &all, &views, 6, &mut sink, &mut |_| false);
    says(result, &[images.id(all[40])]);
    assert!(!parts.is_empty());
    for (first, features) in parts {
        assert!(features == expected[first * row..first * row + features.len()]);
    }
    let mut full = |_, _| Err(Error::shape("the disk is full"));
    let result = encoder.features_in_parts(gpu(), &set, &all, &views, 6, &mut full, &mut |_| false);
    says(result, &["the disk is full"]);
}

#[test]
fn interrupted_measurements_go_on_and_end_in_the_same_bits() {
    const IMAGES: usize = 1100;
    let set = faces(IMAGES, 2);
    let encoder = Encoder::untrained(gpu(), encoder_config(), 3).unwrap();
    let views = Views { recipe: recipe(), count: 3, seed: 5 };
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("measured");
    let keep = Keep { folder: &kept, name: "members", encoder: "sha" };
    let whole = Measured { gpu: gpu(), encoder: &encoder, images: &set, views: &views, keep: None };
    let work = Measured { keep: Some(keep), ..whole };
    let files = || {
        let mut names: Vec<String> = std::fs::read_dir(&kept)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    // Stops at the `last`-th call; returns how many images were done at the first one.
    let run = |work: &Measured, last: usize| {
        let mut done = Vec::new();
        let result = similarities(work, Similarity::Cosine, &mut |pace| {
            done.push(pace.done);
            done.len() == last
        });
        (result, done)
    };
    let all: Vec<usize> = (0..IMAGES).collect();
    let everything = encoder.features(gpu(), &set, &all, &views, |_| false).unwrap();
    let expected =
        membership_features(gpu(), &everything, 3, encoder.feature_dim(), Similarity::Cosine).unwrap();
    let (found, done) = run(&whole, 0);
    assert!(found.unwrap() == expected);
    assert_eq!(done.last(), Some(&(IMAGES as u64)));

    // Batches of 66 images, two of them under way: one chunk of 512 is complete in the twelfth call, not two.
    let (stopped, _) = run(&work, 12);
    says(stopped, &["go", "kept in", "measured"]);
    assert_eq!(files(), ["members-00000.safetensors"]);
    let (stopped, done) = run(&work, 3);
    assert!(matches!(stopped, Err(Error::Interrupted(_))));
    assert_eq!(done[0], 512, "the first chunk is not measured again");
    let (found, done) = run(&work, 0);
    assert!(found.unwrap() == expected);
    assert_eq!((done[0], *done.last().unwrap()), (512, 1100));
    assert_eq!(files().len(), 3);
    // Nothing is left to do; then a chunk in the middle is lost and the last one broken.
    assert_eq!(run(&work, 0).1, [1100]);
    std::fs::remove_file(kept.join("members-00001.safetensors")).unwrap();
    let last = kept.join("members-00002.safetensors");
    let bytes = std::fs::read(&last).unwrap();
    std::fs::write(&last, &bytes[..bytes.len() - 4]).unwrap();
    let (found, done) = run(&work, 0);
    assert!(found.unwrap() == expected);
    assert_eq!(done[0], 512);
    assert_eq!(std::fs::read(&last).unwrap(), bytes);

    // Another encoder, another seed, other images, another similarity: nothing kept is used.
    let other = |work: &Measured, similarity| {
        let mut first = None;
        let result = similarities(work, similarity, &mut |pace| {
            first.get_or_insert(pace.done);
            true
        });
        assert!(matches!(result, Err(Error::Interrupted(_))));
        first
    };
    let reseeded = Views { seed: 6, ..views.clone() };
    let strangers = faces(IMAGES, 9);
    let named = Keep { encoder: "another", ..keep };
    assert_eq!(other(&Measured { keep: Some(named), ..work }, Similarity::Cosine), Some(0));
    assert_eq!(other(&Measured { views: &reseeded, ..work }, Similarity::Cosine), Some(0));
    assert_eq!(other(&Measured { images: &strangers, ..work }, Similarity::Cosine), Some(0));
    assert_eq!(other(&work, Similarity::Pearson), Some(0));
    assert_eq!(run(&work, 0).1, [1100], "a run that was stopped at once leaves what is kept");

    let plain = Views::plain(Recipe::plain(16));
    let keep = Keep { name: "plain", ..keep };
    let work = Measured { views: &plain, keep: Some(keep), ..work };
    let expected = encoder.features(gpu(), &set, &all, &plain, |_| false).unwrap();
    assert!(embeddings(&work, &mut |pace| pace.done > 900).is_err());
    assert!(embeddings(&work, &mut |_| false).unwrap() == expected);
    says(similarities(&work, Similarity::Cosine, &mut |_| false), &["at least 2 views"]);
}
