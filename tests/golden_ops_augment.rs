//! The image operators of `tests/golden/ops.json` through the augmentation kernels.

mod common;

use common::augment::{TestImages, assert_within, plain_settings, whole};
use common::{Golden, golden_json};
use contraleak::kernels::augment::{AugmentRecord, PixelFormat, ViewSettings};

#[test]
fn golden_image_operators() {
    let golden = Golden::open("ops");
    let cases = golden_json("ops.json");
    let mut run = std::collections::BTreeMap::new();
    for case in cases.as_array().expect("a list of cases") {
        let text = |name: &str| case[name].as_str().unwrap_or_else(|| panic!("{case} has no {name}"));
        let number = |name: &str| case[name].as_f64().unwrap_or_else(|| panic!("{case} has no {name}"));
        let (id, op) = (text("case"), text("op"));
        let factor = || number("factor") as f32;
        let known = [
            "resized_crop_bilinear",
            "adjust_brightness",
            "adjust_contrast",
            "adjust_saturation",
            "adjust_hue",
            "rgb_to_grayscale",
            "gaussian_blur",
        ];
        if !known.contains(&op) {
            continue;
        }
        let x = golden.tensor(&format!("{id}.in.x"));
        let out = golden.tensor(&format!("{id}.out"));
        let [count, _, height, width] = x.shape[..] else { panic!("case {id}: shape {:?}", x.shape) };
        let images = TestImages {
            format: PixelFormat::Float,
            height,
            width,
            values: x.data.chunks(3 * height * width).map(<[f64]>::to_vec).collect(),
        };
        let base = AugmentRecord { jitter: 1, ..whole(height, width) };
        let mut settings = plain_settings();
        let record = match op {
            "resized_crop_bilinear" => {
                settings.antialias = case["antialias"].as_bool().expect("a switch");
                let [top, left, height, width] =
                    ["top", "left", "height", "width"].map(|name| number(name) as u32);
                AugmentRecord { top, left, height, width, jitter: 0, ..base }
            }
            "adjust_brightness" => AugmentRecord { brightness: factor(), ..base },
            "adjust_contrast" => AugmentRecord { contrast: factor(), ..base },
            "adjust_saturation" => AugmentRecord { saturation: factor(), ..base },
            "adjust_hue" => AugmentRecord { hue: factor(), ..base },
            "rgb_to_grayscale" => AugmentRecord { gray: 1, jitter: 0, ..base },
            _ => {
                settings = ViewSettings { blur_taps: number("kernel") as usize, ..settings };
                AugmentRecord { blur: 1, sigma: number("sigma") as f32, jitter: 0, ..base }
            }
        };
        let views = images.views(&vec![record; count], &settings, out.shape[2], out.shape[3]);
        // The images become f32, one rounding each; operators add a few more.
        assert_within(&format!("case {id}, {op}"), &views.concat(), &out.data, 4e-6);
        *run.entry(op.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(run.len(), 7, "every operator has a case: {run:?}");
}
