//! `contraleak encode`: features of images, or of random views of each.

use std::path::PathBuf;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Serialize;

use super::encoder_options::EncoderOptions;
use super::{Global, interrupt, output, progress};
use crate::augment::Recipe;
use crate::experiment::load::{Answer, load_file, open_for};
use crate::files::write_parts_atomic;
use crate::nn::EncoderFile;
use crate::train::Views;
use crate::{Error, Result};

/// Write an encoder's features of images, or of N augmented views of each, to a safetensors file
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak encode --encoder runs/target/encoder.safetensors --data synthetic-faces:count=100,size=32 --out features.safetensors
  contraleak encode --encoder resnet50.pth --data folder:photos#size=224 --views 10 --augment moco-cifar --out views.safetensors

The file holds features, f32 [images, D] or [images, views, D], and index, i64 [images].")]
pub struct Args {
    /// Encoder: safetensors, .pt or .pth
    #[arg(long, value_name = "FILE")]
    encoder: PathBuf,
    /// Images (see data info --help)
    #[arg(long, value_name = "SPEC")]
    data: String,
    /// Where the features go
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Random views of each image [default: the image itself, once]
    #[arg(long, value_name = "N")]
    views: Option<usize>,
    /// Recipe of the views
    #[arg(long, default_value = "moco-cifar", value_name = "NAME")]
    augment: String,
    #[command(flatten)]
    encoder_options: EncoderOptions,
    /// Seed of every random number: equal seeds give equal results
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Serialize)]
struct Report {
    file: String,
    images: usize,
    views: usize,
    dimension: usize,
    seconds: f64,
    extra_tensors: Vec<String>,
}

/// Images whose features are written at a time.
const PART: usize = 256;

pub fn run(args: &Args, global: &Global) -> Result<()> {
    interrupt::install()?;
    let start = std::time::Instant::now();
    let hints = args.encoder_options.hints()?;
    let named = Recipe::named(&args.augment)?;
    if let Some(folder) = args.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        output::check_folder(folder)?;
    }
    let file = EncoderFile::read(&args.encoder)?;
    let images = open_for(&args.data, &file, &hints)?;
    let gpu = global.open_gpu()?;
    let side = images.width().max(images.height());
    let loaded = load_file(&gpu, file, "encoder", side, &hints, Answer::Features)?;
    let size = loaded.encoder.config().size;
    let recipe = if args.views.is_some() { named.sized(size) } else { Recipe::plain(size) };
    let recipe = recipe.normalised(loaded.normalization);
    let views = Views { recipe, count: args.views.unwrap_or(1), seed: args.seed };
    let all: Vec<usize> = (0..images.len()).collect();
    let dimension = loaded.encoder.feature_dim();
    let shape = match args.views {
        Some(views) => vec![images.len(), views, dimension],
        None => vec![images.len(), dimension],
    };
    let bar = progress::bar(all.len() as u64, "encoding", "images");
    write_parts_atomic(&args.out, |put| {
        put(&header(&shape)?)?;
        for index in 0..images.len() as i64 {
            put(&index.to_le_bytes())?;
        }
        let mut sink = |_: usize, part: Vec<f32>| put(bytemuck::cast_slice(&part));
        let mut next = |images: usize| {
            bar.inc(images as u64);
            interrupt::requested()
        };
        let encoder = &loaded.encoder;
        encoder.features_in_parts(&gpu, &*images, &all, &views, PART, &mut sink, &mut next)
    })?;
    bar.finish_and_clear();
    let report = Report {
        file: args.out.display().to_string(),
        images: images.len(),
        views: views.count,
        dimension,
        seconds: start.elapsed().as_secs_f64(),
        extra_tensors: loaded.extra,
    };
    if global.json {
        return output::json(&report);
    }
    output::text(&format!(
        "{}: features of {} images, {} view(s) each, dimension {}, in {:.1} s\n",
        report.file, report.images, report.views, report.dimension, report.seconds
    ))
}

/// Length of the header, the header: `index` i64 `[images]`, after it `features` f32 of this shape.
fn header(shape: &[usize]) -> Result<Vec<u8>> {
    let indices = 8 * shape[0];
    let features = 4 * shape.iter().product::<usize>();
    let tensors = vec![
        (
            "index".to_string(),
            TensorInfo { dtype: Dtype::I64, shape: vec![shape[0]], data_offsets: (0, indices) },
        ),
        (
            "features".to_string(),
            TensorInfo {
                dtype: Dtype::F32,
                shape: shape.to_vec(),
                data_offsets: (indices, indices + features),
            },
        ),
    ];
    let wrong = |error: &dyn std::fmt::Display| Error::shape(format!("features: {error}"));
    let metadata = Metadata::new(None, tensors).map_err(|e| wrong(&e))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| wrong(&e))?;
    // Tensors begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok([&(header.len() as u64).to_le_bytes()[..], &header].concat())
}
