//! What image files that cannot be used get, in folders.

use std::fs;
use std::path::Path;

use contraleak::{Result, data};
use image::ExtendedColorType;
use tempfile::tempdir;

use crate::assert_refused;
use crate::writers::{animated_webp, noise, palette_png, save_rgb};

fn open(folder: &Path, options: &str) -> Result<data::ImageSet> {
    data::open(&format!("folder:{}{options}", folder.display()))
}

/// A folder with one file of these bytes, opened.
fn open_bytes(name: &str, bytes: &[u8]) -> Result<data::ImageSet> {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join(name), bytes).unwrap();
    open(folder.path(), "")
}

fn encoded(name: &str) -> Vec<u8> {
    let folder = tempdir().unwrap();
    let path = folder.path().join(name);
    save_rgb(&path, 40, 40, &noise(40 * 40 * 3, 1));
    fs::read(path).unwrap()
}

#[test]
fn truncated_images_are_refused() {
    for (name, format) in [("x.png", "Png"), ("x.jpg", "Jpeg"), ("x.bmp", "Bmp"), ("x.webp", "WebP")] {
        let bytes = encoded(name);
        assert_eq!(open_bytes(name, &bytes).unwrap().len(), 1);
        for keep in [bytes.len() / 2, bytes.len() * 9 / 10] {
            assert_refused(open_bytes(name, &bytes[..keep]), &[&format!("{name}@"), format]);
        }
    }
    let jpeg = encoded("x.jpg");
    let end = jpeg.len() - 2;
    assert_refused(open_bytes("x.jpg", &jpeg[..end]), &[&format!("x.jpg@{end}"), "Jpeg", "truncated"]);
}

#[test]
fn every_prefix_and_every_changed_byte_is_survived() {
    for name in ["x.png", "x.jpg", "x.bmp", "x.webp"] {
        let bytes = encoded(name);
        let path = Path::new(name);
        for cut in (0..bytes.len().min(200)).chain((200..bytes.len()).step_by(97)) {
            let _ = data::decode::decode_image(&bytes[..cut], path, data::decode::Alpha::White);
            let mut changed = bytes.clone();
            changed[cut] ^= 0xff;
            if let Ok(image) = data::decode::decode_image(&changed, path, data::decode::Alpha::White) {
                assert_eq!(image.pixels.len(), image.width * image.height * 3);
            }
        }
    }
}

#[test]
fn other_contents_are_refused() {
    assert_refused(
        open_bytes("x.png", b"hello there"),
        &["x.png@0", "PNG, JPEG, BMP or WebP", "11 bytes", "68 65 6c 6c"],
    );
    assert_refused(open_bytes("x.jpg", b""), &["x.jpg@0", "0 bytes"]);
    assert_refused(open_bytes("x.png", b"GIF89a\x08\0\x08\0\0\0\0;"), &["x.png@0", "found Gif"]);
}

#[test]
fn animations_and_cmyk_are_refused() {
    let control = [0, 0, 0, 2, 0, 0, 0, 0];
    let frame = [0; 26];
    let apng = palette_png(8, 8, [[0; 3]; 2], &[(b"acTL", &control), (b"fcTL", &frame)]);
    assert_refused(open_bytes("x.png", &apng), &["x.png@", "Png"]);
    let mut frame = [0; 26];
    frame[7] = 8;
    frame[11] = 8;
    let apng = palette_png(8, 8, [[0; 3]; 2], &[(b"acTL", &control), (b"fcTL", &frame)]);
    assert_refused(
        open_bytes("x.png", &apng),
        &["x.png@", "expected one still image, found an animation (APNG)"],
    );
    let webp = animated_webp(&encoded("x.webp"), 40);
    assert_refused(
        open_bytes("x.webp", &webp),
        &["x.webp@", "expected one still image, found an animation (WebP)"],
    );

    // The frame header (marker FF C0) of a JPEG says 4 components.
    let mut jpeg = encoded("x.jpg");
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 9] = 4;
    assert_refused(open_bytes("x.jpg", &jpeg), &["x.jpg@", "Jpeg", "CMYK (4 components)"]);
}

#[test]
fn sizes_are_checked() {
    let folder = tempdir().unwrap();
    save_rgb(&folder.path().join("1.png"), 16, 12, &noise(16 * 12 * 3, 1));
    save_rgb(&folder.path().join("2.png"), 12, 16, &noise(16 * 12 * 3, 1));
    assert_refused(
        open(folder.path(), ""),
        &["2.png", "expected 16x12 pixels like", "1.png", "found 12x16", "size=S"],
    );
    assert_eq!(open(folder.path(), "#size=8").unwrap().len(), 2);
    save_rgb(&folder.path().join("3.png"), 7, 16, &noise(7 * 16 * 3, 1));
    assert_refused(open(folder.path(), "#size=8"), &["3.png", "at least 8 pixels on a side, found 7x16"]);
}

#[test]
fn folders_are_checked() {
    let folder = tempdir().unwrap();
    let path = folder.path();
    assert_refused(open(&path.join("absent"), ""), &["absent", "expected a folder", "found nothing"]);
    assert_refused(open(path, ""), &["expected PNG, JPEG, BMP or WebP images, found none"]);
    fs::create_dir(path.join("a")).unwrap();
    assert_refused(open(path, ""), &["/a", "expected images in this class folder, found none"]);
    save_rgb(&path.join("a/1.png"), 8, 8, &noise(192, 1));
    save_rgb(&path.join("loose.png"), 8, 8, &noise(192, 1));
    assert_refused(open(path, ""), &["loose.png", "inside class folders only, found 1 beside 1 folders"]);
    assert_refused(open(&path.join("a/1.png"), ""), &["1.png", "found a file"]);
}

#[test]
fn a_link_that_points_back_ends() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    save_rgb(&folder.path().join("a/1.png"), 8, 8, &noise(192, 1));
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("a/again")).unwrap();
    #[cfg(unix)]
    assert_refused(open(folder.path(), ""), &["a/again", "pointing back"]);
    assert!(folder.path().join("a/1.png").exists());
}

#[test]
fn bad_files_are_skipped_only_on_request() {
    let folder = tempdir().unwrap();
    for index in 0..30u32 {
        let path = folder.path().join(format!("{index:02}.png"));
        save_rgb(&path, 8, 8, &noise(192, index));
        if index % 6 == 1 {
            fs::write(&path, "broken").unwrap();
        }
    }
    assert_refused(open(folder.path(), ""), &["01.png@0", "07.png@0", "25.png@0"]);
    let set = open(folder.path(), "#skip-bad=true,take=0..2").unwrap();
    assert_eq!(set.ids, ["00.png", "02.png"]);
    assert_eq!((set.image(1), set.len()), (&noise(192, 2)[..], 2));
    assert!(
        set.notes[0].starts_with("5 bad files skipped") && set.notes[0].contains("13.png@0"),
        "{:?}",
        set.notes
    );
    // More than twenty problems are counted.
    for index in 0..30 {
        fs::write(folder.path().join(format!("{index:02}.png")), "broken").unwrap();
    }
    assert_refused(open(folder.path(), ""), &["19.png@0", "and 10 more"]);
    assert_refused(open(folder.path(), "#skip-bad=true"), &["expected images, found none"]);
}

#[test]
fn a_sheet_of_bad_data_is_never_written() {
    let folder = tempdir().unwrap();
    let sheet = folder.path().join("sheet.png");
    let result = open_bytes("x.png", b"bad").and_then(|set| data::export_sheet(&set, &sheet, 4));
    assert_refused(result, &["x.png@0"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // The writer used elsewhere in these tests agrees with the decoder on what a gray image is.
    image::save_buffer(&sheet, &[9; 64], 8, 8, ExtendedColorType::L8).unwrap();
    assert!(open(folder.path(), "").unwrap().pixels.iter().all(|&value| value == 9));
}
