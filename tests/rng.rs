//! The counter-based generator against published vectors and simple statistics, its WGSL twin through
//! the shader compiler, and the drawn augmentation parameters against their definition.

mod common;

use contraleak::augment::{RandomCrop, Recipe};
use contraleak::kernels::augment::{AugmentRecord, CROP_TRIES, CROP_TRY};
use contraleak::reference::augment_params::{apply, draw, jitter_order};
use contraleak::rng::{Key, Stream, normal, permutation, threefry2x32_20, uniform};

/// Known answers of the Random123 distribution (kat_vectors, threefry2x32 with 20 rounds).
#[test]
fn threefry_gives_the_published_answers() {
    let cases = [
        ([0, 0], [0, 0], [0x6b20_0159, 0x99ba_4efe]),
        ([u32::MAX; 2], [u32::MAX; 2], [0x1cb9_96fc, 0xbb00_2be7]),
        ([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3], [0xc492_3a9c, 0x483d_f7a0]),
    ];
    for (key, counter, expected) in cases {
        assert_eq!(threefry2x32_20(key, counter), expected, "key {key:x?}, counter {counter:x?}");
    }
}

#[test]
fn keys_and_draws_are_the_generator_at_named_counters() {
    let key = Key::from_seed(0x0123_4567_89ab_cdef);
    assert_eq!(key.0, [0x89ab_cdef, 0x0123_4567]);
    assert_eq!(key.stream(Stream::Augment, 7).0, threefry2x32_20(key.0, [4, 7]));
    assert_eq!(key.draw(5, 0x1234, 0x5678), threefry2x32_20(key.0, [5, 0x1234_5678]));
    let streams = [
        Stream::Split,
        Stream::Init,
        Stream::BatchOrder,
        Stream::Augment,
        Stream::Dropout,
        Stream::Queue,
        Stream::Attack,
        Stream::Faces,
        Stream::Shuffle,
        Stream::Bootstrap,
    ];
    for (stream, number) in streams.iter().zip(1..) {
        assert_eq!(*stream as u32, number, "{stream:?}");
    }
}

#[test]
fn wgsl_twin_compiles() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/common/threefry.wgsl");
    let source = std::fs::read_to_string(path).expect("the shader is part of the repository");
    let module = naga::front::wgsl::parse_str(&source).unwrap_or_else(|e| panic!("{path}: {e}"));
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{path}: {e:?}"));
    let names: Vec<_> = module.functions.iter().filter_map(|(_, f)| f.name.clone()).collect();
    for name in ["threefry2x32_20", "rng_draw", "rng_uniform"] {
        assert!(names.iter().any(|n| n == name), "{name} is missing among {names:?}");
    }
    assert!(module.entry_points.is_empty(), "an import has no entry point");
}

#[test]
fn uniform_numbers_fill_the_unit_interval() {
    assert_eq!(uniform(0), 0.0);
    assert_eq!(uniform(u32::MAX), 1.0 - 1.0 / 16_777_216.0);
    let key = Key::from_seed(1).stream(Stream::Attack, 0);
    let count = 100_000;
    let mut bins = [0_u32; 20];
    for i in 0..count {
        for word in key.draw(i, 0, 0) {
            bins[(uniform(word) * 20.0) as usize] += 1;
        }
    }
    let expected = f64::from(2 * count) / 20.0;
    let chi2: f64 = bins.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
    // 0.1 % and 99.9 % points of chi squared with 19 degrees of freedom.
    assert!((5.4..43.8).contains(&chi2), "chi squared {chi2}");
}

#[test]
fn normal_numbers_have_the_moments_of_a_normal() {
    let key = Key::from_seed(2);
    let count = 200_000;
    let draws: Vec<f64> = (0..count).map(|i| normal(key.draw(i, 0, 0))).collect();
    let moment = |power: i32| draws.iter().map(|x| x.powi(power)).sum::<f64>() / f64::from(count);
    for (power, expected, allowed) in [(1, 0.0, 0.01), (2, 1.0, 0.015), (3, 0.0, 0.04), (4, 3.0, 0.1)] {
        assert!((moment(power) - expected).abs() < allowed, "moment {power}: {}", moment(power));
    }
    for bits in [[0, 0], [u32::MAX, 0], [0, u32::MAX], [u32::MAX; 2]] {
        assert!(normal(bits).is_finite(), "{bits:?}");
    }
}

#[test]
fn permutations_are_permutations_and_all_equally_likely() {
    for n in [0, 1, 2, 3, 10, 1000] {
        let mut order = permutation(Key::from_seed(n as u64), n);
        order.sort_unstable();
        assert_eq!(order, (0..n).collect::<Vec<_>>());
    }
    assert_eq!(permutation(Key::from_seed(9), 50), permutation(Key::from_seed(9), 50));
    assert_ne!(permutation(Key::from_seed(9), 50), permutation(Key::from_seed(10), 50));
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..24_000 {
        *counts.entry(permutation(Key::from_seed(seed), 4)).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 24);
    let chi2: f64 = counts.values().map(|&n| f64::from(n - 1000).powi(2) / 1000.0).sum();
    // 0.1 % and 99.9 % points with 23 degrees of freedom.
    assert!((7.5..49.8).contains(&chi2), "chi squared {chi2}");
}

fn simclr_recipe() -> Recipe {
    Recipe {
        crop: Some(RandomCrop { scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }),
        size: 32,
        horizontal_flip: 0.5,
        vertical_flip: 0.0,
        jitter: 0.8,
        brightness: 0.8,
        contrast: 0.8,
        saturation: 0.8,
        hue: 0.2,
        gray: 0.2,
        gray_first: false,
        blur: 1.0,
        blur_taps: 9,
        blur_sigma: (0.1, 2.0),
        pil8: false,
        mean: [0.5; 3],
        std: [0.25; 3],
    }
}

#[test]
fn crops_follow_the_real_valued_definition() {
    let key = Key::from_seed(3).stream(Stream::Augment, 1);
    let usual = (0.75, 4.0 / 3.0);
    // Height, width, scale, ratio, and whether every try must fail.
    let cases = [
        (32, 32, (0.08, 1.0), usual, false),
        (96, 96, (0.2, 1.0), usual, false),
        (375, 500, (0.08, 1.0), usual, false),
        (20, 60, (0.08, 1.0), usual, false),
        (4000, 3, (0.08, 1.0), usual, true),
        (16_384, 16_384, (0.5, 1.0), (0.5, 2.0), false),
        (1, 1, (1.0, 1.0), (1.0, 1.0), false),
    ];
    for (height, width, crop_scale, crop_ratio, always_fails) in cases {
        let crop = Some(RandomCrop { scale: crop_scale, ratio: crop_ratio });
        let recipe = Recipe { crop, ..simclr_recipe() };
        let log_range = (crop_ratio.0.ln(), crop_ratio.1.ln());
        let constants = recipe.draw_constants(height, width).expect("a fine recipe");
        let (mut fallbacks, mut near_ties) = (0, 0);
        for sample in 0..4000 {
            let params = draw(&constants, key, sample, 1);
            assert!(params.height >= 1 && params.top + params.height <= height as u32, "{params:?}");
            assert!(params.width >= 1 && params.left + params.width <= width as u32, "{params:?}");
            if params.failed_tries == u32::from(CROP_TRIES) {
                fallbacks += 1;
                continue;
            }
            let [area, ratio] = key.draw(sample, 1, CROP_TRY + params.failed_tries as u16);
            let unit = |bits: u32| f64::from(bits) / 4_294_967_296.0;
            let area = (height * width) as f64 * (crop_scale.0 + (crop_scale.1 - crop_scale.0) * unit(area));
            let ratio = (log_range.0 + (log_range.1 - log_range.0) * unit(ratio)).exp();
            for (side, real) in
                [(params.width, (area * ratio).sqrt()), (params.height, (area / ratio).sqrt())]
            {
                if (real - real.floor() - 0.5).abs() < 3e-8 * real {
                    near_ties += 1;
                } else {
                    assert_eq!(f64::from(side), real.round(), "{real} in {height}x{width}, sample {sample}");
                }
            }
        }
        assert!(near_ties < 20, "{near_ties} ties in {height}x{width}");
        assert_eq!(fallbacks == 4000, always_fails, "{fallbacks} fallbacks in {height}x{width}");
    }
}

#[test]
fn the_fallback_is_the_largest_centred_crop_within_the_ratio() {
    for (height, width, expected) in [(4000, 3, [1998, 0, 4, 3]), (3, 4000, [0, 1998, 3, 4])] {
        let constants = simclr_recipe().draw_constants(height, width).expect("a fine recipe");
        let params = draw(&constants, Key::from_seed(0), 0, 0);
        assert_eq!([params.top, params.left, params.height, params.width], expected);
    }
}

#[test]
fn switches_and_factors_have_their_probabilities_and_ranges() {
    let recipe = simclr_recipe();
    let constants = recipe.draw_constants(96, 96).expect("a fine recipe");
    let key = Key::from_seed(4).stream(Stream::Augment, 0);
    let count = 20_000;
    let draws: Vec<AugmentRecord> = (0..count).map(|sample| draw(&constants, key, sample, 0)).collect();
    let share = |f: fn(&AugmentRecord) -> u32| f64::from(draws.iter().map(f).sum::<u32>()) / f64::from(count);
    for (name, share, expected) in [
        ("horizontal flip", share(|p| p.horizontal_flip), 0.5),
        ("vertical flip", share(|p| p.vertical_flip), 0.0),
        ("jitter", share(|p| p.jitter), 0.8),
        ("gray", share(|p| p.gray), 0.2),
        ("blur", share(|p| p.blur), 1.0),
    ] {
        assert!(
            (share - expected).abs() <= 0.015 * f64::from(u8::from(expected % 1.0 > 0.0)),
            "{name}: {share}"
        );
    }
    type Field = fn(&AugmentRecord) -> f32;
    let fields: [(&str, Field, f64, f64); 5] = [
        ("brightness", |p| p.brightness, 0.2, 1.8),
        ("contrast", |p| p.contrast, 0.2, 1.8),
        ("saturation", |p| p.saturation, 0.2, 1.8),
        ("hue", |p| p.hue, -0.2, 0.2),
        ("sigma", |p| p.sigma, 0.1, 2.0),
    ];
    for (name, field, low, high) in fields {
        let values: Vec<f64> = draws.iter().map(|p| f64::from(field(p))).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        assert!(values.iter().all(|v| (low - 1e-6..high + 1e-6).contains(v)), "{name} leaves its range");
        assert!((mean - (low + high) / 2.0).abs() < 0.015 * (high - low), "{name}: mean {mean}");
    }
    let orders: std::collections::BTreeSet<_> = draws.iter().map(|p| jitter_order(p.order)).collect();
    assert_eq!(orders.len(), 24, "all orders of four operators");
}

#[test]
fn a_draw_depends_on_sample_view_and_key_only_and_operators_do_not_shift_each_other() {
    let recipe = simclr_recipe();
    let constants = recipe.draw_constants(96, 96).expect("a fine recipe");
    let key = Key::from_seed(5).stream(Stream::Augment, 0);
    let params = draw(&constants, key, 17, 1);
    assert_eq!(params, draw(&constants, key, 17, 1));
    assert_ne!(params, draw(&constants, key, 17, 0));
    assert_ne!(params, draw(&constants, key, 18, 1));
    let without = Recipe { jitter: 0.0, gray: 0.0, blur: 0.0, ..recipe };
    let without = draw(&without.draw_constants(96, 96).expect("a fine recipe"), key, 17, 1);
    assert_eq!(AugmentRecord { jitter: 0, gray: 0, blur: 0, ..params }, without);
}

#[test]
fn impossible_recipes_are_refused_by_name() {
    let fine = simclr_recipe();
    let cropping = |scale, ratio| Recipe { crop: Some(RandomCrop { scale, ratio }), ..fine.clone() };
    let wrong: [(&str, Recipe); 8] = [
        ("crop.scale", cropping((0.5, 0.2), (1.0, 1.0))),
        ("crop.scale", cropping((0.0, f64::NAN), (1.0, 1.0))),
        ("crop.ratio", cropping((0.1, 1.0), (0.1, 1.0))),
        ("gray", Recipe { gray: 1.5, ..fine.clone() }),
        ("brightness", Recipe { contrast: -1.0, ..fine.clone() }),
        ("hue", Recipe { hue: 0.7, ..fine.clone() }),
        ("blur", Recipe { blur_taps: 8, ..fine.clone() }),
        ("std", Recipe { std: [1.0, 0.0, 1.0], ..fine.clone() }),
    ];
    for (name, recipe) in wrong {
        let message = recipe.draw_constants(32, 32).map_err(|e| e.to_string());
        let needed = message.as_ref().err().and_then(|m| m.split("it says").next());
        assert!(needed.is_some_and(|m| m.contains(name)), "{name}: {message:?}");
    }
    assert!(fine.draw_constants(0, 5).is_err() && fine.draw_constants(16_385, 5).is_err());
    let unused = Recipe { blur: 0.0, blur_taps: 0, blur_sigma: (2.0, -1.0), ..fine };
    assert!(unused.draw_constants(32, 32).is_ok(), "a blur that never happens needs no settings");
}

#[test]
fn applied_views_keep_constant_images_and_crop_what_they_say() {
    let recipe = Recipe { mean: [0.0; 3], std: [1.0; 3], jitter: 0.0, ..simclr_recipe() };
    let constants = recipe.draw_constants(40, 48).expect("a fine recipe");
    let key = Key::from_seed(6);
    let flat = vec![0.25; 3 * 40 * 48];
    for sample in 0..6 {
        let params = draw(&constants, key, sample, 0);
        let view = apply(&params, &recipe, &flat, 40, 48);
        let gray = 0.25 * (0.2989 + 0.587 + 0.114);
        let expected = if params.gray == 1 { gray } else { 0.25 };
        common::assert_close("a constant image", &view, &vec![expected; 3 * 32 * 32], 1e-12);

        let image: Vec<f64> =
            common::random(u64::from(sample), flat.len()).iter().map(|u| (u + 1.0) / 2.0).collect();
        let plain = apply(&AugmentRecord { horizontal_flip: 0, ..params }, &recipe, &image, 40, 48);
        let flipped = apply(&AugmentRecord { horizontal_flip: 1, ..params }, &recipe, &image, 40, 48);
        let mirrored: Vec<f64> = flipped.chunks(32).flat_map(|row| row.iter().rev().copied()).collect();
        common::assert_close("a mirrored view", &mirrored, &plain, 1e-12);
    }
}
