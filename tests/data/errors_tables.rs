//! What bad CSV files and tensors get.

use std::fs;
use std::path::Path;

use contraleak::{Result, data};
use tempfile::{TempDir, tempdir};

use crate::assert_refused;
use crate::writers::{f32_bytes, i64_bytes, noise, safetensors, save_rgb};

/// A folder with images 0.png to 3.png and the CSV.
fn csv(text: &[u8]) -> TempDir {
    let folder = tempdir().unwrap();
    for index in 0..4 {
        save_rgb(&folder.path().join(format!("{index}.png")), 8, 8, &noise(192, index));
    }
    fs::write(folder.path().join("l.csv"), text).unwrap();
    folder
}

fn open_csv(text: &[u8], options: &str) -> Result<data::ImageSet> {
    let folder = csv(text);
    data::open(&format!("csv:{}#{options}", folder.path().join("l.csv").display()))
}

#[test]
fn headers_and_columns_are_checked() {
    assert_refused(open_csv(b"", ""), &["l.csv:1", "expected a header line"]);
    assert_refused(open_csv(b"file,label\n", ""), &["l.csv:2", "expected rows"]);
    assert_refused(open_csv(b"file,x,x\n0.png,1,2\n", ""), &["l.csv:1:3", "\"x\" twice"]);
    assert_refused(
        open_csv(b"file,gender,tone\n0.png,f,1\n", "target=gendre"),
        &["l.csv:1", "column \"gendre\"", "file, gender, tone", "did you mean \"gender\""],
    );
    assert_refused(open_csv(b"file,a\n0.png,1\n", "where=b=1"), &["l.csv:1", "column \"b\""]);
    let absent = data::open("csv:absent/l.csv#target=a");
    assert_refused(absent, &["absent/l.csv"]);
}

#[test]
fn rows_are_checked() {
    assert_refused(
        open_csv(b"file,a\r\n0.png,1\r\n1.png\r\n\r\n\"2.png\",1,2\r\n", ""),
        &[
            "l.csv:3:2: expected 2 fields like the header, found 1",
            "l.csv:5:3: expected 2 fields like the header, found 3",
        ],
    );
    assert_refused(
        open_csv(b"file,a\n0.png,\"two\nlines\"\n../0.png,2\n/etc/x.png,3\n0.png,4\n,5\n", ""),
        &[
            "l.csv:4:1",
            "\"../0.png\"",
            "l.csv:5:1",
            "inside the CSV's folder",
            "l.csv:6:1",
            "each image once",
            "first on line 2",
            "l.csv:7:1",
        ],
    );
    assert_refused(open_csv(b"file,a\n0.png,\xff\n", ""), &["l.csv@13", "UTF-8", "0xff"]);
    assert_refused(
        open_csv(b"file,a\n0.png,1\n9.png,2\n", ""),
        &["9.png", "found none that can be read", "l.csv:3"],
    );
    assert_refused(
        open_csv(b"file,a\n0.png,1\n1.png,1\n", "target=a"),
        &["l.csv:1:2", "at least 2 values in column \"a\"", "only \"1\"", "2 rows"],
    );
    assert_refused(open_csv(b"file,a\n0.png,\n", "target=a"), &["l.csv:1:2", "found none in 0 rows"]);
    assert_refused(
        open_csv(b"file,a\n0.png,1\n", "where=a=7,where=file!=x"),
        &["rows with a=7 and file!=x", "found none among 1"],
    );
}

fn open_tensor(bytes: &[u8]) -> Result<data::ImageSet> {
    let folder = tempdir().unwrap();
    let file = folder.path().join("t.safetensors");
    fs::write(&file, bytes).unwrap();
    data::open(&format!("tensor:{}", file.display()))
}

fn images(count: usize) -> Vec<u8> {
    f32_bytes(&vec![0.5; count * 192])
}

#[test]
fn safetensors_headers_are_checked() {
    let good = safetensors(&[("images", "F32", &[2, 3, 8, 8], images(2))]);
    assert_eq!(open_tensor(&good).unwrap().len(), 2);
    assert_refused(open_tensor(&good[..5]), &["t.safetensors@0", "8 bytes of header length, found 5"]);
    assert_refused(
        open_tensor(&good[..20]),
        &["t.safetensors@0", "header length within the file of 20 bytes"],
    );
    assert_refused(open_tensor(&[0xff; 64]), &["t.safetensors@0", "header length"]);
    let mut broken = good.clone();
    broken[8] = b'[';
    assert_refused(open_tensor(&broken), &["t.safetensors@", "JSON header"]);
    let cut = good.len() - 4;
    assert_refused(open_tensor(&good[..cut]), &[&format!("t.safetensors@{cut}"), "truncated"]);
    let mut long = good.clone();
    long.push(0);
    assert_refused(open_tensor(&long), &["t.safetensors@", "bytes to spare"]);
    assert_refused(data::open("tensor:absent.safetensors"), &["absent.safetensors"]);
    for position in 0..200.min(good.len()) {
        let mut changed = good.clone();
        changed[position] ^= 0x15;
        if let Ok(set) = open_tensor(&changed) {
            assert_eq!(set.pixels.len(), set.len() * set.image_bytes());
        }
    }
}

#[test]
fn tensors_are_checked() {
    let one = |name: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>| {
        open_tensor(&safetensors(&[(name, dtype, shape, bytes)]))
    };
    assert_refused(
        one("image", "F32", &[1, 3, 8, 8], images(1)),
        &["@8", "\"image\"", "did you mean \"images\""],
    );
    assert_refused(
        one("target", "I64", &[1], i64_bytes(&[0])),
        &["@8", "expected a tensor images, found target"],
    );
    assert_refused(
        one("images", "F16", &[1, 3, 8, 8], vec![0; 384]),
        &["images: expected dtype F32, found F16"],
    );
    assert_refused(one("images", "F32", &[3, 8, 8], images(1)), &["[N, 3, H, W], found [3, 8, 8]"]);
    assert_refused(
        one("images", "F32", &[3, 1, 8, 8], images(1)),
        &["found [3, 1, 8, 8]", "repeat the one channel"],
    );
    assert_refused(
        one("images", "F32", &[1, 8, 8, 3], images(1)),
        &["found [1, 8, 8, 3]", "move the channels"],
    );
    assert_refused(
        one("images", "F32", &[2, 3, 4, 8], images(1)),
        &["at least 8 pixels on a side, found 8x4"],
    );
    assert_refused(one("images", "F32", &[0, 3, 8, 8], vec![]), &["at least one image, found none"]);

    let with = |name: &str, dtype: &str, shape: &[usize], bytes: Vec<u8>| {
        open_tensor(&safetensors(&[("images", "F32", &[2, 3, 8, 8], images(2)), (name, dtype, shape, bytes)]))
    };
    assert_refused(
        with("target", "I64", &[3], i64_bytes(&[0; 3])),
        &["target: expected shape [2]", "found [3]"],
    );
    assert_refused(with("attribute", "I32", &[2], vec![0; 8]), &["attribute: expected dtype I64, found I32"]);
    assert_refused(
        with("target", "I64", &[2], i64_bytes(&[0, -1])),
        &["image 1: expected a target from 0", "found -1"],
    );
    assert_refused(
        with("targets", "I64", &[2], i64_bytes(&[0, 1])),
        &["\"targets\"", "did you mean \"target\""],
    );
}

#[test]
fn pixels_are_checked() {
    for (value, found) in
        [(f32::NAN, "found NaN"), (f32::INFINITY, "found inf"), (-0.01, "found -0.01"), (128.0, "found 128")]
    {
        let mut values = vec![0.5f32; 3 * 192];
        // Image 1, channel 2, row 3, column 4.
        let position = 192 + 2 * 64 + 3 * 8 + 4;
        values[position] = value;
        values[position + 1] = f32::NAN;
        let file = safetensors(&[("images", "F32", &[3, 3, 8, 8], f32_bytes(&values))]);
        let offset = file.len() - values.len() * 4 + position * 4;
        let place = format!("t.safetensors@{offset}: image 1: expected pixels from 0 to 1");
        let error = assert_refused(open_tensor(&file), &[&place, found, "channel 2, row 3, column 4"]);
        assert_eq!(error.to_string().contains("divide by 255"), value == 128.0);
    }
    assert!(!Path::new("t.safetensors").exists());
}
