//! Runs the view kernel on given images and records, for the tests of augmentation.

use super::gpu::{Case, Draw, gpu};
use contraleak::kernels::Shape;
use contraleak::kernels::augment::{
    AugmentRecord, Batch, BatchEntry, Images, PixelFormat, ViewOrder, ViewSettings, views,
};

/// Images of one size in NCHW, values in [0, 1].
pub struct TestImages {
    pub format: PixelFormat,
    pub height: usize,
    pub width: usize,
    pub values: Vec<Vec<f64>>,
}

impl TestImages {
    /// `count` random images of 8 bits; every fourth has large areas of one colour, where hue and
    /// saturation are at their edges.
    pub fn random(seed: u64, count: usize, height: usize, width: usize) -> TestImages {
        let mut draw = Draw(seed);
        let values = (0..count)
            .map(|i| {
                let flat = i % 4 == 3;
                let colour = [draw.range(0, 255), draw.range(0, 255), 255];
                (0..3 * height * width)
                    .map(|at| {
                        let byte = if flat && at % 5 > 0 { colour[at % 3] } else { draw.range(0, 255) };
                        byte as f64 / 255.0
                    })
                    .collect()
            })
            .collect();
        TestImages { format: PixelFormat::Packed8, height, width, values }
    }

    pub fn upload(&self, case: &mut Case) -> Images {
        let shape = Shape::new(self.values.len(), 3, self.height, self.width);
        let tensor = match self.format {
            PixelFormat::Float => case.input("images", shape, &self.values.concat()),
            PixelFormat::Packed8 => {
                let pixels = shape.pixels();
                let byte = |v: f64| (v * 255.0).round() as u32;
                let words: Vec<u32> = self
                    .values
                    .iter()
                    .flat_map(|image| {
                        (0..pixels).map(move |p| {
                            byte(image[p]) | byte(image[pixels + p]) << 8 | byte(image[2 * pixels + p]) << 16
                        })
                    })
                    .collect();
                case.words("images", shape, &words)
            }
        };
        Images {
            slice: tensor.slice,
            format: self.format,
            count: self.values.len(),
            height: self.height,
            width: self.width,
        }
    }

    /// The view of image i that record i describes, [records, 3, height, width], from the kernel.
    pub fn views(
        &self,
        records: &[AugmentRecord],
        settings: &ViewSettings,
        height: usize,
        width: usize,
    ) -> Vec<Vec<f64>> {
        let mut case = Case::new(gpu());
        let images = self.upload(&mut case);
        let entries: Vec<BatchEntry> =
            (0..records.len() as u32).map(|slot| BatchEntry { sample: 0, slot }).collect();
        let entries = entry_slice(&mut case, &entries);
        let batch =
            Batch { entries, images: records.len(), views: 1, first_view: 0, order: ViewOrder::ViewMajor };
        let records = case.words("records", Shape::matrix(records.len(), 16), records).slice;
        let y = case.output("y", Shape::new(batch.images, 3, height, width));
        views(&mut case.recording, &images, &batch, records, settings, y).unwrap_or_else(|e| panic!("{e}"));
        let done = case.run();
        let packed = done.packed(y);
        assert!(packed.iter().skip(3).step_by(4).all(|v| v.to_bits() == 0), "a padding lane is not zero");
        done.values(y).chunks(3 * height * width).map(<[f64]>::to_vec).collect()
    }
}

pub fn entry_slice(case: &mut Case, entries: &[BatchEntry]) -> contraleak::gpu::Slice {
    case.words("batch", Shape::matrix(entries.len(), 2), entries).slice
}

/// The whole image, and nothing done to it.
pub fn whole(height: usize, width: usize) -> AugmentRecord {
    AugmentRecord {
        top: 0,
        left: 0,
        height: height as u32,
        width: width as u32,
        failed_tries: 0,
        horizontal_flip: 0,
        vertical_flip: 0,
        jitter: 0,
        order: 0,
        brightness: 1.0,
        contrast: 1.0,
        saturation: 1.0,
        hue: 0.0,
        gray: 0,
        blur: 0,
        sigma: 1.0,
    }
}

/// Antialiased, not rounded, not blurred, not normalised.
pub fn plain_settings() -> ViewSettings {
    ViewSettings {
        antialias: true,
        gray_first: false,
        pil8: false,
        blur_taps: 0,
        mean: [0.0; 3],
        std: [1.0; 3],
    }
}

/// Fails unless every element is within `bound` of the expected one.
#[track_caller]
pub fn assert_within(label: &str, actual: &[f64], expected: &[f64], bound: f64) {
    assert_eq!(actual.len(), expected.len(), "{label}");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() <= bound, "{label}: element {i} is {a}, expected {e}, allowed {bound:.2e}");
    }
}
