//! The blind control: features by hand, sets that differ and sets that do not.

mod common;
use common::gpu::{Draw, gpu};
use contraleak::attack::blind::{self, BlindSettings, FEATURES, cross_validate, image_features};
use contraleak::attack::membership::Rows;
use contraleak::data::ImageSet;
use std::time::Instant;

fn images(
    count: usize,
    width: usize,
    height: usize,
    mut pixel: impl FnMut(usize, usize, usize) -> [u8; 3],
) -> ImageSet {
    let mut pixels = Vec::new();
    for i in 0..count {
        for y in 0..height {
            (0..width).for_each(|x| pixels.extend(pixel(i, x, y)));
        }
    }
    ImageSet {
        name: "drawn".into(),
        width,
        height,
        pixels,
        ids: (0..count).map(|i| i.to_string()).collect(),
        target: None,
        attribute: None,
        source_hash: String::new(),
        published_normalization: None,
        notes: Vec::new(),
    }
    .checked()
    .unwrap()
}

/// Coloured blobs with noise, brighter by `brighter`.
fn blobs(count: usize, brighter: i32, seed: u64) -> ImageSet {
    let mut draw = Draw(seed);
    let centres: Vec<[usize; 5]> =
        (0..count).map(|_| [31, 31, 150, 150, 150].map(|most| draw.range(0, most))).collect();
    images(count, 32, 32, |i, x, y| {
        let [cx, cy, r, g, b] = centres[i];
        let near = (-((x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2)) as f64) / 60.0).exp();
        [r, g, b]
            .map(|c| (c as f64 * near) as i32 + 30 + brighter + draw.range(0, 20) as i32)
            .map(|v| v.clamp(0, 255) as u8)
    })
}

#[test]
fn features_by_hand() {
    // Left half red, right half black.
    let set = images(1, 16, 16, |_, x, _| if x < 8 { [255, 0, 0] } else { [0, 0, 0] });
    let found = image_features(&set).unwrap();
    assert_eq!((found.width(), found.len()), (FEATURES, 1));
    assert_eq!(FEATURES, 192 + 9 + 24 + 64 + 1 + 7);
    let f = found.values();
    for y in 0..8 {
        for x in [0, 1, 2, 5, 6, 7] {
            assert_eq!(
                f[(y * 8 + x) * 3..][..3],
                [if x < 4 { 1.0 } else { 0.0 }, 0.0, 0.0],
                "thumbnail {x} {y}"
            );
        }
    }
    // Mean, deviation, skew of red; nothing in green and blue.
    assert_eq!(f[192..201], [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    // Hue 0 everywhere; saturation and value half 0 and half 1.
    let mut histograms = [0.0f32; 24];
    histograms[0] = 1.0;
    (histograms[8], histograms[15], histograms[16], histograms[23]) = (0.5, 0.5, 0.5, 0.5);
    assert_eq!(f[201..225], histograms);
    // Columns 7 and 8 darken to the right (direction π, bin 8) by 0.299: 8 pixels of the 64 of each quadrant.
    for (at, &v) in f[225..289].iter().enumerate() {
        let expected = if at % 16 == 8 { 0.299 * 8.0 / 64.0 } else { 0.0 };
        assert!((f64::from(v) - expected).abs() < 1e-7, "{at}: {v}");
    }
    // A 3×3 mean takes a third of the step from the two columns beside it: 2·(1/3)² of 16·(1/2)².
    assert!((f64::from(f[289]) - 2.0 / 9.0 / 4.0).abs() < 1e-6, "{}", f[289]);
    // Hues of red, yellow, green, cyan, blue, magenta: bins of 45 degrees.
    let hues = [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255]];
    for (colour, bin) in hues.into_iter().zip([0, 1, 2, 4, 5, 6]) {
        let one = image_features(&images(1, 1, 1, |_, _, _| colour)).unwrap();
        let histogram = &one.values()[201..209];
        assert_eq!(histogram.iter().position(|&v| v == 1.0), Some(bin), "{colour:?}");
    }
    // Skew of a quarter of ones: (1 − 2p)/√(p(1 − p)).
    let quarter = image_features(&images(1, 4, 1, |_, x, _| [if x == 0 { 255 } else { 0 }; 3])).unwrap();
    assert!((f64::from(quarter.values()[194]) - 0.5 / (3.0f64 / 16.0).sqrt()).abs() < 1e-6);
}

#[test]
fn equal_distributions_are_at_chance_and_brightness_is_detected() {
    let members = blobs(500, 0, 1);
    let start = Instant::now();
    let same = blind::control(gpu(), &members, &blobs(500, 0, 2), &BlindSettings::default(), 7).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    println!("1,000 images: {seconds:.1} s");
    assert_eq!((same.control.id.as_str(), same.control.runs), ("blind", 1));
    assert_eq!(same.control.at_chance, Some(true), "{:?}", same.control);
    for one in [&same.logistic, &same.network, &same.combined] {
        assert_eq!((one.member_count(), one.non_member_count()), (500, 500));
    }
    let brighter = blind::control(gpu(), &members, &blobs(500, 6, 2), &BlindSettings::default(), 7).unwrap();
    assert_eq!(brighter.control.at_chance, Some(false));
    assert!(brighter.control.auc.is_some_and(|auc| auc.value > 0.9), "{:?}", brighter.control.auc);
    assert!(brighter.control.accuracy.value > 0.8);
    let few =
        || blind::control(gpu(), &blobs(20, 0, 3), &blobs(20, 6, 4), &BlindSettings::default(), 7).unwrap();
    assert_eq!(few(), few(), "not deterministic");
}

#[test]
fn nobody_is_judged_by_a_classifier_that_saw_it() {
    // Each sample has a column of its own: what a classifier learns about it helps with no other.
    let (count, width) = (30, 60);
    let rows = |first: usize| {
        let value = |at: usize| if at % width == first + at / width { 5.0 } else { 0.0 };
        Rows::new(width, (0..count * width).map(value).collect()).unwrap()
    };
    let found = cross_validate(gpu(), &rows(0), &rows(count), &BlindSettings::default(), 3).unwrap();
    let right = |result: &contraleak::metrics::MembershipResult| {
        result.decisions().iter().zip(result.members()).filter(|(d, m)| d == m).count()
    };
    // Every column of a held-out sample is constant in training, so all held-out rows of a fold look the same.
    for one in [&found.logistic, &found.network, &found.combined] {
        assert_eq!(right(one), 30, "{:?}", one.decisions());
    }
    assert_eq!(found.control.at_chance, Some(true));
}

#[test]
fn nonsense_is_refused() {
    let rows = |count: usize, width: usize| Rows::new(width, vec![0.5; count * width]).unwrap();
    let run = |members: &Rows, others: &Rows, settings: BlindSettings| {
        cross_validate(gpu(), members, others, &settings, 1).map(|_| ()).map_err(|e| e.to_string())
    };
    let plain = BlindSettings::default();
    assert!(run(&rows(4, 2), &rows(9, 2), plain).unwrap_err().contains("at least 5"));
    assert!(run(&rows(9, 2), &rows(9, 3), plain).unwrap_err().contains("9 of 2 and 9 of 3"));
    assert!(run(&rows(9, 2), &rows(9, 2), BlindSettings { folds: 1, ..plain }).is_err());
    assert!(
        run(&rows(9, 2), &rows(9, 2), BlindSettings { batch: 0, ..plain }).unwrap_err().contains("batches")
    );
    assert!(run(&rows(9, 2), &rows(9, 2), plain).is_ok(), "features that are all equal");
}
