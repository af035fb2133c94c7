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
