//! Small writers for every format that the readers understand.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Bytes that look random and are the same everywhere.
pub fn noise(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
        (state >> 16) as u8
    };
    (0..count).map(|_| next()).collect()
}

pub fn save_rgb(path: &Path, width: u32, height: u32, pixels: &[u8]) {
    image::save_buffer(path, pixels, width, height, image::ExtendedColorType::Rgb8).unwrap();
}

/// An IDX file: magic number, extents, body.
pub fn idx(magic: u32, extents: &[u32], body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_be_bytes().to_vec();
    for extent in extents {
        bytes.extend(extent.to_be_bytes());
    }
    bytes.extend(body);
    bytes
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The four IDX files of a set with `train` and `test` images; labels count up modulo 10.
pub fn write_idx_set(folder: &Path, train: usize, test: usize, zipped: bool) -> [Vec<u8>; 2] {
    [("train", train), ("t10k", test)].map(|(prefix, count)| {
        let pixels = noise(count * 784, count as u32);
        let labels: Vec<u8> = (0..count).map(|index| (index % 10) as u8).collect();
        let images = idx(0x803, &[count as u32, 28, 28], &pixels);
        let labels = idx(0x801, &[count as u32], &labels);
        for (name, bytes) in [("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)] {
            let (ending, bytes) = if zipped { (".gz", gzip(&bytes)) } else { ("", bytes) };
            std::fs::write(folder.join(format!("{prefix}-{name}{ending}")), bytes).unwrap();
        }
        pixels
    })
}

/// A CIFAR file: `labels` bytes a record (record number modulo `classes`), then planes of noise.
pub fn cifar_records(records: usize, classes: &[usize], seed: u32) -> Vec<u8> {
    let planes = noise(3072 + 251, seed);
    let mut bytes = Vec::with_capacity(records * (classes.len() + 3072));
    for record in 0..records {
        bytes.extend(classes.iter().map(|classes| (record % classes) as u8));
        // A window that slides over the noise makes neighbours differ without a long computation.
        let start = record % 251;
        bytes.extend(&planes[start..start + 3072]);
    }
    bytes
}

/// A safetensors file of `(name, dtype, shape, bytes)`.
pub fn safetensors(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let (mut header, mut body) = (serde_json::Map::new(), Vec::<u8>::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = body.len();
        body.extend(bytes);
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [start, body.len()]});
        header.insert((*name).to_string(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(body);
    file
}

pub fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

pub fn i64_bytes(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    let mut chunk = (data.len() as u32).to_be_bytes().to_vec();
    chunk.extend(kind);
    chunk.extend(data);
    chunk.extend(crc.sum().to_be_bytes());
    chunk
}

/// A PNG with a palette of two colours in stripes, and with the chunks `extra` before its data.
pub fn palette_png(width: u32, height: u32, colours: [[u8; 3]; 2], extra: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut header = width.to_be_bytes().to_vec();
    header.extend(height.to_be_bytes());
    header.extend([8, 3, 0, 0, 0]);
    let mut data = ZlibEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..height {
        data.write_all(&[0]).unwrap();
        data.write_all(&(0..width).map(|x| (x % 2) as u8).collect::<Vec<u8>>()).unwrap();
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(png_chunk(b"IHDR", &header));
    png.extend(png_chunk(b"PLTE", &colours.concat()));
    for (kind, data) in extra {
        png.extend(png_chunk(kind, data));
    }
    png.extend(png_chunk(b"IDAT", &data.finish().unwrap()));
    png.extend(png_chunk(b"IEND", &[]));
    png
}

/// A WebP animation of two frames around a still lossless image.
pub fn animated_webp(still: &[u8], side: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut chunk = kind.to_vec();
        chunk.extend((data.len() as u32).to_le_bytes());
        chunk.extend(data);
        chunk.resize(chunk.len().next_multiple_of(2), 0);
        chunk
    };
    let three = |value: u32| value.to_le_bytes()[..3].to_vec();
    let mut frame = [three(0), three(0), three(side - 1), three(side - 1), three(100), vec![0]].concat();
    frame.extend(&still[12..]);
    let canvas = [vec![2, 0, 0, 0], three(side - 1), three(side - 1)].concat();
    let mut body = b"WEBP".to_vec();
    body.extend(chunk(b"VP8X", &canvas));
    body.extend(chunk(b"ANIM", &[0; 6]));
    body.extend(chunk(b"ANMF", &frame));
    body.extend(chunk(b"ANMF", &frame));
    chunk(b"RIFF", &body)
}

/// `stl10_binary` images of noise: planes R, G, B, each 96x96 column by column. Labels count up from 1.
pub fn write_stl10(folder: &Path, prefix: &str, count: usize, labelled: bool) -> Vec<u8> {
    let pixels = noise(count * 27_648, count as u32 + 5);
    std::fs::write(folder.join(format!("{prefix}_X.bin")), &pixels).unwrap();
    if labelled {
        let labels: Vec<u8> = (0..count).map(|index| (index % 10) as u8 + 1).collect();
        std::fs::write(folder.join(format!("{prefix}_y.bin")), labels).unwrap();
    }
    pixels
}

/// A smooth picture, as photographs are, saved in the format of the path's ending.
pub fn write_picture(path: &Path, width: u32, height: u32, seed: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let corner = noise(6, seed.wrapping_mul(977) + 1);
    let picture = image::RgbImage::from_fn(width, height, |x, y| {
        let at = |from: u8, to: u8, way: u32, length: u32| {
            (u32::from(from) * (length - way) + u32::from(to) * way) / length
        };
        image::Rgb([
            at(corner[0], corner[1], x, width) as u8,
            at(corner[2], corner[3], y, height) as u8,
            at(corner[4], corner[5], x + y, width + height) as u8,
        ])
    });
    picture.save(path).unwrap();
}

/// Numbers of the images of a Tiny-ImageNet class, in an order that is not numeric.
pub const TINY_NUMBERS: [u32; 3] = [10, 9, 100];

/// `tiny-imagenet-200` with these class ids, three images a class, and `val` validation images whose
/// classes count down; image 9 of every class is gray.
pub fn write_tiny_imagenet(root: &Path, wnids: &[&str], val: usize) {
    std::fs::create_dir_all(root.join("val/images")).unwrap();
    std::fs::write(root.join("wnids.txt"), wnids.join("\n")).unwrap();
    let words: String = wnids.iter().rev().map(|id| format!("{id}\tname of {id}, other name\n")).collect();
    std::fs::write(root.join("words.txt"), words + "n99999999\tnot among the classes\n").unwrap();
    for (class, id) in wnids.iter().enumerate() {
        let mut boxes = String::new();
        for number in TINY_NUMBERS {
            let name = format!("{id}_{number}.JPEG");
            let path = root.join(format!("train/{id}/images/{name}"));
            write_picture(&path, 64, 64, class as u32 * 1000 + number);
            if number == 9 {
                image::open(&path).unwrap().into_luma8().save(&path).unwrap();
            }
            boxes += &format!("{name}\t0\t10\t63\t58\n");
        }
        std::fs::write(root.join(format!("train/{id}/{id}_boxes.txt")), boxes).unwrap();
    }
    let mut annotations = String::new();
    for index in 0..val {
        let name = format!("val_{index}.JPEG");
        write_picture(&root.join("val/images").join(&name), 64, 64, 77_000 + index as u32);
        let id = wnids[(2 * wnids.len() - 1 - index % wnids.len()) % wnids.len()];
        annotations += &format!("{name}\t{id}\t0\t32\t44\t62\n");
    }
    std::fs::write(root.join("val/val_annotations.txt"), annotations).unwrap();
}

pub const CELEBA_ATTRIBUTES: &str = "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs \
    Big_Lips Big_Nose Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee \
    Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face \
    Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings \
    Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young";

/// Whether image `index` has attribute `column`: all have the first, none has the second, others vary.
pub fn celeba_value(index: usize, column: usize) -> bool {
    column == 0 || (column != 1 && ((index * 40 + column) * 2_654_435_761) >> 9 & 1 == 1)
}

/// The partition of image `index`.
pub fn celeba_partition(index: usize) -> usize {
    (index / 2) % 3
}

/// `celeba` with `count` images of the true size.
pub fn write_celeba(root: &Path, count: usize) {
    let (mut rows, mut partition) = (String::new(), String::new());
    for index in 0..count {
        let name = format!("{:06}.jpg", index + 1);
        write_picture(&root.join("img_align_celeba").join(&name), 178, 218, index as u32);
        rows += &name;
        for column in 0..40 {
            // Values are aligned, as published: one or two spaces before them.
            rows += if celeba_value(index, column) { "  1" } else { " -1" };
        }
        rows += "\n";
        partition += &format!("{name} {}\n", celeba_partition(index));
    }
    let list = format!("{count}\n{CELEBA_ATTRIBUTES} \n{rows}");
    std::fs::write(root.join("list_attr_celeba.txt"), list).unwrap();
    std::fs::write(root.join("list_eval_partition.txt"), partition).unwrap();
}

/// Category of a scene; some hold a further slash, as published.
pub fn places_category(scene: usize) -> String {
    let letter = (b'a' + (scene / 15) as u8) as char;
    let inner = if scene.is_multiple_of(7) { "/outdoor" } else { "" };
    format!("/{letter}/{letter}_scene_{scene}{inner}")
}

/// Lists of all 365 scenes with `per_scene` images each; every third scene is indoors. Images are written for
/// the scenes `with_images` alone.
pub fn write_places365(root: &Path, per_scene: usize, with_images: impl Fn(usize) -> bool) {
    let (mut categories, mut codes, mut train) = (String::new(), String::new(), String::new());
    for scene in 0..365 {
        let category = places_category(scene);
        categories += &format!("{category} {scene}\n");
        codes += &format!("{category} {}\n", if scene.is_multiple_of(3) { 1 } else { 2 });
        for number in 1..=per_scene {
            let path = format!("{category}/{number:08}.jpg");
            train += &format!("{path} {scene}\n");
            if with_images(scene) {
                let file = root.join(format!("data_256{path}"));
                write_picture(&file, 16, 16, (scene * 10 + number) as u32);
            }
        }
    }
    std::fs::write(root.join("categories_places365.txt"), categories).unwrap();
    std::fs::write(root.join("IO_places365.txt"), codes).unwrap();
    std::fs::write(root.join("places365_train_standard.txt"), train).unwrap();
}
