//! Augmentation kernels against their f64 twins: drawn records bit for bit, every operator, whole recipes.

mod common;

use common::augment::{TestImages, assert_within, entry_slice, plain_settings, whole};
use common::gpu::{Case, Draw, gpu};
use contraleak::Error;
use contraleak::augment::{RandomCrop, Recipe, augment};
use contraleak::gpu::{Recording, Slice};
use contraleak::kernels::augment::{
    AugmentRecord, Batch, BatchEntry, Images, PixelFormat, ViewOrder, ViewSettings,
};
use contraleak::kernels::{Shape, StepState, Tensor};
use contraleak::reference::augment::{self as twin, CropBox};
use contraleak::reference::augment_params::{self, jitter_order};
use contraleak::rng::{Key, Stream};

/// Half a unit in the last place of an f32 near one.
const ULP: f64 = 1.0 / 16_777_216.0;

/// Views and records of a whole recipe: both in row order.
struct Made {
    records: Vec<AugmentRecord>,
    views: Vec<Vec<f64>>,
}

fn make(
    images: &TestImages,
    entries: &[BatchEntry],
    recipe: &Recipe,
    key: Key,
    order: ViewOrder,
    numbers: std::ops::Range<usize>,
) -> Made {
    let mut case = Case::new(gpu());
    let source = images.upload(&mut case);
    let batch = Batch {
        entries: entry_slice(&mut case, entries),
        images: entries.len(),
        views: numbers.len(),
        first_view: numbers.start,
        order,
    };
    let state = StepState { augment_key: key.0, ..StepState::default() };
    let step = case.words("step", Shape::matrix(1, 16), &[state]).slice;
    let size = recipe.size;
    let y = case.output("y", Shape::new(batch.rows(), 3, size, size));
    let drawn: Slice = augment(&mut case.recording, step, &source, &batch, recipe, y)
        .unwrap_or_else(|e| panic!("{recipe:?}: {e}"));
    let kept = case.output("records", Shape::matrix(batch.rows(), 16));
    case.recording.copy(drawn, kept.slice);
    let done = case.run();
    Made {
        records: bytemuck::pod_collect_to_vec(&done.packed(kept)),
        views: done.values(y).chunks(3 * size * size).map(<[f64]>::to_vec).collect(),
    }
}

fn entries(samples: &[u32]) -> Vec<BatchEntry> {
    samples.iter().zip(0..).map(|(&sample, slot)| BatchEntry { sample, slot }).collect()
}

fn augment_key(seed: u64) -> Key {
    Key::from_seed(seed).stream(Stream::Augment, 3)
}

#[test]
fn records_equal_the_twin_bit_for_bit() {
    let samples: Vec<u32> = (0..60).chain([u32::MAX, 49_999, 1 << 31]).collect();
    // Square, small, narrow (mostly the fallback), larger than the view, one pixel.
    for (height, width, low) in
        [(32, 32, 0.08), (32, 32, 0.2), (5, 7, 0.2), (8, 61, 0.5), (61, 8, 0.5), (97, 33, 0.08), (1, 1, 0.2)]
    {
        let images = TestImages::random(1, samples.len(), height, width);
        let name = if low < 0.1 { "simclr-96" } else { "moco-cifar" };
        let crop = Some(RandomCrop { scale: (low, 1.0), ratio: (0.75, 4.0 / 3.0) });
        let recipe = Recipe { crop, ..Recipe::named(name).expect("known") }.sized(8);
        let key = augment_key(u64::from(height as u32 * 31));
        let made = make(&images, &entries(&samples), &recipe, key, ViewOrder::ViewMajor, 0..3);
        let constants = recipe.draw_constants(height, width).expect("a fine recipe");
        let mut fallbacks = 0;
        for (row, record) in made.records.iter().enumerate() {
            let (sample, view) = (samples[row % samples.len()], (row / samples.len()) as u16);
            let expected = augment_params::draw(&constants, key, sample, view);
            assert_eq!(*record, expected, "sample {sample}, view {view} of {height}x{width} images");
            fallbacks += u32::from(record.failed_tries == constants.tries);
        }
        assert!(fallbacks > 0 || height.max(width) < 61, "no fallback at {height}x{width}");
    }
}

#[test]
fn crops_resize_like_the_twin_at_awkward_sizes() {
    let mut draw = Draw(5);
    for (height, width, out_height, out_width) in [
        (32, 32, 32, 32),
        (32, 32, 17, 61),
        (37, 53, 32, 32),
        (97, 61, 24, 7),
        (129, 128, 32, 32),
        (5, 3, 31, 33),
        (1, 1, 13, 5),
        (224, 150, 96, 96),
        (40, 300, 1, 1),
    ] {
        let images = TestImages::random(draw.bits(), 8, height, width);
        let records: Vec<AugmentRecord> = (0..8)
            .map(|i| {
                let crop_height = if i == 0 { height } else { draw.range(1, height) };
                let crop_width = if i < 2 { width } else { draw.range(1, width) };
                AugmentRecord {
                    top: draw.range(0, height - crop_height) as u32,
                    left: draw.range(0, width - crop_width) as u32,
                    horizontal_flip: u32::from(i % 2 == 1),
                    vertical_flip: u32::from(i % 3 == 1),
                    ..whole(crop_height, crop_width)
                }
            })
            .collect();
        for antialias in [true, false] {
            let settings = ViewSettings { antialias, ..plain_settings() };
            let views = images.views(&records, &settings, out_height, out_width);
            for ((view, record), image) in views.iter().zip(&records).zip(&images.values) {
                let crop = CropBox {
                    top: record.top as usize,
                    left: record.left as usize,
                    height: record.height as usize,
                    width: record.width as usize,
                };
                let expected = resized(image, height, width, crop, (out_height, out_width), antialias);
                let expected = flipped(&expected, record, out_height, out_width);
                // Positive sums: one rounding for each tap of a column and of a row, a few for their weights.
                let taps = 2 * (crop.height.div_ceil(out_height) + crop.width.div_ceil(out_width)) as u32 + 2;
                let label = format!("{record:?} of {height}x{width} to {out_height}x{out_width}");
                assert_within(&label, view, &expected, (f64::from(taps) + 16.0) * ULP);
            }
        }
    }
}

/// The twin makes square views. A view of any other shape comes from it in two steps, because the filter is
/// separable: each source row alone becomes a line of the right length, then each column of these lines.
fn resized(
    image: &[f64],
    height: usize,
    width: usize,
    crop: CropBox,
    (out_height, out_width): (usize, usize),
    antialias: bool,
) -> Vec<f64> {
    let square = |image: &[f64], height: usize, width: usize, crop: CropBox, side: usize| {
        twin::resized_crop_bilinear(image, height, width, crop, side, antialias)
    };
    if out_height == out_width {
        return square(image, height, width, crop, out_height);
    }
    let mut lines = vec![0.0; 3 * crop.height * out_width];
    for row in 0..crop.height {
        let line = CropBox { top: crop.top + row, height: 1, ..crop };
        for (c, plane) in
            square(image, height, width, line, out_width).chunks(out_width * out_width).enumerate()
        {
            let start = (c * crop.height + row) * out_width;
            lines[start..start + out_width].copy_from_slice(&plane[..out_width]);
        }
    }
    let mut view = vec![0.0; 3 * out_height * out_width];
    for column in 0..out_width {
        let line = CropBox { top: 0, left: column, height: crop.height, width: 1 };
        let columns = square(&lines, crop.height, out_width, line, out_height);
        for i in 0..3 * out_height {
            view[i * out_width + column] = columns[i * out_height];
        }
    }
    view
}

fn flipped(view: &[f64], record: &AugmentRecord, height: usize, width: usize) -> Vec<f64> {
    let mut view = view.to_vec();
    if record.horizontal_flip == 1 {
        view = twin::horizontal_flip(&view, width);
    }
    if record.vertical_flip == 1 {
        view = twin::vertical_flip(&view, height, width);
    }
    view
}

fn jittered(image: &[f64], record: &AugmentRecord, held: impl Fn(Vec<f64>) -> Vec<f64>) -> Vec<f64> {
    jitter_order(record.order).into_iter().fold(image.to_vec(), |view, operator| {
        held(match operator {
            0 => twin::adjust_brightness(&view, f64::from(record.brightness)),
            1 => twin::adjust_contrast(&view, f64::from(record.contrast)),
            2 => twin::adjust_saturation(&view, f64::from(record.saturation)),
            _ => twin::adjust_hue(&view, f64::from(record.hue)),
        })
    })
}

#[test]
fn colour_jitter_in_every_order_matches_the_twin() {
    let mut draw = Draw(6);
    for (height, width) in [(32, 32), (1, 1), (13, 37)] {
        let images = TestImages::random(draw.bits(), 24, height, width);
        let mut factor = |v: f64| (1.0 + v * draw.unit()) as f32;
        let records: Vec<AugmentRecord> = (0..24)
            .map(|order| AugmentRecord {
                jitter: 1,
                order,
                brightness: factor(0.8),
                contrast: factor(0.8),
                saturation: factor(0.8),
                hue: factor(0.5) - 1.0,
                ..whole(height, width)
            })
            .collect();
        let views = images.views(&records, &plain_settings(), height, width);
        for ((view, record), image) in views.iter().zip(&records).zip(&images.values) {
            // A rounding of 1e-7 grows by at most 1.8, 1.8, 2.6 and 3 in the four operators.
            assert_within(&format!("{record:?}"), view, &jittered(image, record, |v| v), 1e-5);
        }
    }
}

#[test]
fn each_operator_of_8_bit_images_rounds_like_the_twin() {
    let images = TestImages::random(7, 7, 32, 32);
    let base = AugmentRecord { jitter: 1, ..whole(32, 32) };
    let records = [
        AugmentRecord { brightness: 1.37, ..base },
        AugmentRecord { contrast: 0.61, ..base },
        AugmentRecord { saturation: 1.71, ..base },
        AugmentRecord { hue: 0.13, ..base },
        AugmentRecord { gray: 1, ..whole(32, 32) },
        AugmentRecord { blur: 1, sigma: 1.3, ..whole(32, 32) },
        AugmentRecord { top: 3, left: 2, height: 20, width: 25, ..whole(32, 32) },
    ];
    let settings = ViewSettings { pil8: true, blur_taps: 9, ..plain_settings() };
    let views = images.views(&records, &settings, 32, 32);
    for (i, (view, image)) in views.iter().zip(&images.values).enumerate() {
        let record = &records[i];
        let exact = match i {
            0 => twin::adjust_brightness(image, f64::from(record.brightness)),
            1 => twin::adjust_contrast(image, f64::from(record.contrast)),
            2 => twin::adjust_saturation(image, f64::from(record.saturation)),
            3 => twin::adjust_hue(image, f64::from(record.hue)),
            4 => twin::rgb_to_grayscale(image),
            5 => twin::gaussian_blur(image, 32, 32, 9, f64::from(record.sigma)),
            _ => {
                let crop = CropBox { top: 3, left: 2, height: 20, width: 25 };
                twin::resized_crop_bilinear(image, 32, 32, crop, 32, true)
            }
        };
        for (at, (v, e)) in view.iter().zip(&exact).enumerate() {
            let (level, exact_level) = (v * 255.0, e * 255.0);
            assert!((level - level.round()).abs() < 1e-4, "record {i}, element {at}: {level} is no level");
            let off = (level - exact_level).abs();
            assert!(off <= 0.5 + 1e-3, "record {i}, element {at}: level {level} for {exact_level}");
        }
    }
}

#[test]
fn gray_blur_and_normalisation_match_the_twin() {
    let mut draw = Draw(8);
    for (height, width, taps, gray_first) in
        [(32, 32, 9, true), (13, 37, 23, false), (5, 4, 7, true), (61, 17, 3, false), (96, 96, 17, true)]
    {
        let images = TestImages::random(draw.bits(), 4, height, width);
        let records: Vec<AugmentRecord> = (0..4)
            .map(|i| AugmentRecord {
                gray: i % 2,
                jitter: 1,
                order: 7,
                contrast: 1.3,
                hue: 0.2,
                blur: u32::from(i < 3),
                sigma: (0.1 + 0.6 * f64::from(i)) as f32,
                ..whole(height, width)
            })
            .collect();
        let (mean, std) = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]);
        let settings = ViewSettings {
            blur_taps: taps,
            gray_first,
            mean: mean.map(|v| v as f32),
            std: std.map(|v| v as f32),
            ..plain_settings()
        };
        let views = images.views(&records, &settings, height, width);
        for ((view, record), image) in views.iter().zip(&records).zip(&images.values) {
            let gray = |view: Vec<f64>, now: bool| {
                if now && record.gray == 1 { twin::rgb_to_grayscale(&view) } else { view }
            };
            let mut expected = jittered(&gray(image.clone(), gray_first), record, |v| v);
            expected = gray(expected, !gray_first);
            if record.blur == 1 {
                expected = twin::gaussian_blur(&expected, height, width, taps, f64::from(record.sigma));
            }
            // The bound of the colour operators, five times larger after the division by 0.2.
            assert_within(&format!("{record:?}"), view, &twin::normalize(&expected, mean, std), 5e-5);
        }
    }
}

#[test]
fn whole_recipes_match_the_reference_pipeline() {
    for (name, height, width, size) in [
        ("moco-cifar", 32, 32, 32),
        ("simclr-cifar", 40, 33, 32),
        ("simclr-96-clean", 48, 61, 24),
        ("moco-v1-imagenet", 61, 32, 37),
        ("moco-v2-imagenet", 33, 70, 24),
        ("clip-query", 16, 16, 48),
        ("eval-32", 32, 32, 32),
        ("eval-96", 61, 37, 32),
    ] {
        let recipe = Recipe::named(name).expect("known").sized(size);
        let images = TestImages::random(9, 4, height, width);
        let made =
            make(&images, &entries(&[5, 0, 77, 9]), &recipe, augment_key(2), ViewOrder::ViewMajor, 0..2);
        assert_eq!(made.views.len(), 8);
        for (row, (view, record)) in made.views.iter().zip(&made.records).enumerate() {
            let image = &images.values[row % 4];
            let expected = augment_params::apply(record, &recipe, image, height, width);
            assert_within(&format!("{name}, row {row}: {record:?}"), view, &expected, 1e-4);
        }
    }
}

#[test]
fn the_8_bit_recipe_matches_the_reference_up_to_rounding_of_ties() {
    let recipe = Recipe::named("simclr-96").expect("known").sized(32);
    assert!(recipe.pil8 && recipe.vertical_flip == 0.5 && recipe.std == [1.0; 3]);
    let images = TestImages::random(10, 6, 48, 48);
    let made =
        make(&images, &entries(&[1, 2, 3, 4, 5, 6]), &recipe, augment_key(4), ViewOrder::ViewMajor, 0..2);
    let (mut different, mut total) = (0, 0);
    for (row, (view, record)) in made.views.iter().zip(&made.records).enumerate() {
        let expected = augment_params::apply(record, &recipe, &images.values[row % 6], 48, 48);
        // A level that rounds the other way before the colour operators grows by at most 1.8·1.8·2.6·3.
        assert_within(&format!("row {row}: {record:?}"), view, &expected, 26.0 / 255.0);
        different += view.iter().zip(&expected).filter(|(v, e)| (*v - *e).abs() > 1e-4).count();
        total += view.len();
    }
    assert!(different * 200 < total, "{different} of {total} values differ");
}

#[test]
fn views_do_not_depend_on_batch_order_or_on_the_layout_of_rows() {
    let recipe = Recipe::named("simclr-96-clean").expect("known").sized(16);
    let images = TestImages::random(11, 5, 20, 24);
    let key = augment_key(6);
    let listed = entries(&[100, 101, 102, 103, 104]);
    let made = make(&images, &listed, &recipe, key, ViewOrder::ViewMajor, 0..4);
    let shuffled: Vec<BatchEntry> = [3, 0, 4, 2].map(|i: usize| listed[i]).to_vec();
    let again = make(&images, &shuffled, &recipe, key, ViewOrder::ImageMajor, 1..4);
    for (i, &image) in [3, 0, 4, 2].iter().enumerate() {
        for view in 1..4 {
            let (row, old) = (i * 3 + view - 1, view * 5 + image);
            assert_eq!(again.records[row], made.records[old], "image {image}, view {view}");
            assert_eq!(again.views[row], made.views[old], "image {image}, view {view}");
        }
    }
}

#[test]
fn plain_recipes_give_the_bytes_back() {
    let images = TestImages::random(12, 3, 19, 19);
    let made =
        make(&images, &entries(&[0, 1, 2]), &Recipe::plain(19), augment_key(1), ViewOrder::ViewMajor, 0..1);
    for (view, image) in made.views.iter().zip(&images.values) {
        assert_within("a plain image", view, image, 2.0 * ULP);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut recording = Recording::new(gpu().facts());
    let slice = recording.transient("buffer", 4096);
    let images = Images { slice, format: PixelFormat::Packed8, count: 1, height: 32, width: 32 };
    let batch = Batch { entries: slice, images: 1, views: 2, first_view: 0, order: ViewOrder::ViewMajor };
    let recipe = Recipe::named("moco-cifar").expect("known");
    let mut refuse = |images, batch, recipe: &Recipe, shape| {
        let y = Tensor::transient(&mut recording, "y", shape);
        match augment(&mut recording, slice, &images, &batch, recipe, y) {
            Ok(_) => panic!("{shape} was accepted"),
            Err(e) => e.to_string(),
        }
    };
    let fitting = Shape::new(2, 3, 32, 32);
    assert!(refuse(images, batch, &recipe, Shape::new(3, 3, 32, 32)).contains("2 views of 1 images"));
    assert!(refuse(images, batch, &recipe, Shape::new(2, 3, 31, 32)).contains("views of 32x32"));
    let two = Images { count: 2, ..images };
    assert!(refuse(two, batch, &recipe, fitting).contains("need 8192 bytes"));
    let late = Batch { first_view: 65_535, ..batch };
    assert!(refuse(images, late, &recipe, fitting).contains("65536"));
    let wrong = Recipe { hue: 0.6, ..recipe.clone() };
    assert!(refuse(images, batch, &wrong, fitting).contains("hue within [0, 0.5]"));
    let unknown = Recipe::named("moko-cifar");
    assert!(
        matches!(&unknown, Err(Error::Usage(m)) if m.contains("did you mean moco-cifar?") && m.contains("eval-96")),
        "{unknown:?}"
    );
}

#[test]
fn recipes_survive_a_config_file() {
    for name in Recipe::NAMES {
        let recipe = Recipe::named(name).expect("known");
        assert!(recipe.draw_constants(96, 96).is_ok(), "{name}");
        let text = toml::to_string(&recipe).expect("serialises");
        assert_eq!(toml::from_str::<Recipe>(&text).expect("reads"), recipe, "{name}: {text}");
    }
}
