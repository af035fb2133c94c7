//! Contact sheets: sample images of a data set on one PNG.

use std::io::{Seek, Write};
use std::path::Path;

use super::image_set::ImageSet;
use crate::files::write_atomic;
use crate::{Error, Result};

/// Small images are enlarged by a whole number, to be seen.
const COMFORTABLE_SIDE: usize = 64;
const GAP: usize = 2;
const MOST_ROWS: usize = 64;
const BACKGROUND: u8 = 255;

/// One row of a sheet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SheetRow {
    /// `target / attribute` of the row's images; empty for unlabelled sets.
    pub label: String,
    /// Indices of the images, from left to right.
    pub images: Vec<usize>,
}

/// What [`export_sheet`] drew.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sheet {
    pub width: usize,
    pub height: usize,
    pub rows: Vec<SheetRow>,
}

/// Chooses the images of a sheet: a row for each combination of target and attribute that occurs, in class
/// order, with its first `columns` images; for unlabelled sets, rows of the images in order. At most 64 rows.
pub fn sheet_rows(set: &ImageSet, columns: usize) -> Vec<SheetRow> {
    let labels: Vec<_> = [&set.target, &set.attribute].into_iter().flatten().collect();
    let mut rows: Vec<SheetRow> = Vec::new();
    if labels.is_empty() {
        let indices: Vec<usize> = (0..set.len().min(columns * MOST_ROWS)).collect();
        rows.extend(indices.chunks(columns).map(|c| SheetRow { label: String::new(), images: c.to_vec() }));
        return rows;
    }
    let mut groups: std::collections::BTreeMap<Vec<u32>, Vec<usize>> = std::collections::BTreeMap::new();
    for index in 0..set.len() {
        let group = groups.entry(labels.iter().map(|labels| labels.values[index]).collect()).or_default();
        if group.len() < columns {
            group.push(index);
        }
    }
    for (values, images) in groups.into_iter().take(MOST_ROWS) {
        let names: Vec<&str> = values
            .iter()
            .zip(&labels)
            .map(|(&value, labels)| labels.names[value as usize].as_str())
            .collect();
        rows.push(SheetRow { label: names.join(" / "), images });
    }
    rows
}

/// Draws the images of [`sheet_rows`] as PNG, from white, two pixels apart, and writes `path` whole or not
/// at all.
///
/// # Errors
/// [`Error::Usage`] for no columns or a sheet too large for PNG; [`Error::Io`] naming `path`.
pub fn export_sheet(set: &ImageSet, path: impl AsRef<Path>, columns: usize) -> Result<Sheet> {
    if !(1..=256).contains(&columns) {
        return Err(Error::usage(format!("expected 1 to 256 columns on a sheet, found {columns}")));
    }
    let rows = sheet_rows(set, columns);
    let scale = (COMFORTABLE_SIDE / set.width.max(set.height)).max(1);
    let (cell_width, cell_height) = (set.width * scale + GAP, set.height * scale + GAP);
    let columns = rows.iter().map(|row| row.images.len()).max().unwrap_or(0);
    let (width, height) = (columns * cell_width + GAP, rows.len() * cell_height + GAP);
    if width.saturating_mul(height) > 1 << 28 {
        return Err(Error::usage(format!(
            "a sheet of {width}x{height} pixels is too large: give fewer columns, or size=S in the data spec"
        )));
    }
    let mut canvas = vec![BACKGROUND; width * height * 3];
    for (row, SheetRow { images, .. }) in rows.iter().enumerate() {
        for (column, &index) in images.iter().enumerate() {
            let corner = (GAP + column * cell_width, GAP + row * cell_height);
            draw(&mut canvas, width, corner, set, index, scale);
        }
    }
    let mut png = std::io::Cursor::new(Vec::new());
    encode(&mut png, &canvas, width, height)
        .map_err(|error| Error::io(path.as_ref(), std::io::Error::other(error)))?;
    write_atomic(path, |file| file.write_all(png.get_ref()))?;
    Ok(Sheet { width, height, rows })
}

fn draw(
    canvas: &mut [u8],
    width: usize,
    (left, top): (usize, usize),
    set: &ImageSet,
    index: usize,
    scale: usize,
) {
    let image = set.image(index);
    for y in 0..set.height * scale {
        for x in 0..set.width * scale {
            let from = (y / scale * set.width + x / scale) * 3;
            let to = ((top + y) * width + left + x) * 3;
            canvas[to..to + 3].copy_from_slice(&image[from..from + 3]);
        }
    }
}

fn encode(png: &mut (impl Write + Seek), rgb: &[u8], width: usize, height: usize) -> image::ImageResult<()> {
    use image::ImageEncoder;
    let encoder = image::codecs::png::PngEncoder::new(png);
    encoder.write_image(rgb, width as u32, height as u32, image::ExtendedColorType::Rgb8)
}
