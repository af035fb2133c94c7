//! Synthetic faces: deterministic, balanced, correlated as asked, every image one of a kind.

use contraleak::data::{self, export_sheet};
use tempfile::tempdir;

/// Correlation coefficient of smiling with a brown or dark tone.
fn correlation(set: &data::ImageSet) -> f64 {
    let smiling = &set.target.as_ref().unwrap().values;
    let dark: Vec<u32> = set.attribute.as_ref().unwrap().values.iter().map(|tone| tone / 2).collect();
    let n = smiling.len() as f64;
    let mean = |values: &[u32]| values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let (a, b) = (mean(smiling), mean(&dark));
    let both = smiling.iter().zip(&dark).map(|(s, d)| f64::from(s * d)).sum::<f64>() / n;
    (both - a * b) / (a * (1.0 - a) * b * (1.0 - b)).sqrt()
}

#[test]
fn an_image_depends_on_its_number_alone() {
    let many = data::open("synthetic-faces:count=40,size=16,seed=5").unwrap();
    let few = data::open("synthetic-faces:count=7,size=16,seed=5").unwrap();
    assert_eq!(few.pixels, many.pixels[..few.pixels.len()]);
    for threads in [1, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let again = pool.install(|| data::open("synthetic-faces:count=40,size=16,seed=5")).unwrap();
        assert_eq!(again, many);
    }
    let other = data::open("synthetic-faces:count=40,size=16,seed=6").unwrap();
    assert!((0..40).all(|index| other.image(index) != many.image(index)));
}

#[test]
fn labels_are_balanced_and_correlated_as_asked() {
    for asked in [0.0, 0.5, 1.0] {
        let set =
            data::open(&format!("synthetic-faces:count=8000,size=8,seed=1,correlation={asked}")).unwrap();
        let info = data::info(&set);
        assert_eq!(info.exact_duplicates, 0);
        // Four standard deviations of a binomial count.
        for (classes, share) in [(info.target.unwrap(), 0.5), (info.attribute.unwrap(), 0.25)] {
            let bound = 4.0 * (8000.0f64 * share * (1.0 - share)).sqrt();
            for class in classes {
                assert!((class.images as f64 - 8000.0 * share).abs() < bound, "{class:?}");
            }
        }
        let found = correlation(&set);
        assert!((found - asked).abs() < 4.0 / 8000f64.sqrt(), "asked {asked}, found {found}");
        assert_eq!(info.target_by_attribute.unwrap().concat().iter().sum::<usize>(), 8000);
    }
}

/// Gray values of columns 6 to 26 in `rows` of a 32x32 image, with mean 0 and deviation 1.
fn region(set: &data::ImageSet, index: usize, rows: std::ops::Range<usize>) -> Vec<f64> {
    let gray =
        |y: usize, x: usize| set.image(index)[(y * 32 + x) * 3..][..3].iter().map(|&v| f64::from(v)).sum();
    let values: Vec<f64> = rows.flat_map(|y| (6..26).map(move |x| (y, x))).map(|(y, x)| gray(y, x)).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let deviation =
        (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64).sqrt();
    values.iter().map(|value| (value - mean) / deviation).collect()
}

/// Mean brightness follows the skin tone.
#[test]
fn the_attribute_can_be_seen() {
    let set = data::open("synthetic-faces:count=600,size=32,seed=9").unwrap();
    let tones = &set.attribute.as_ref().unwrap().values;
    let brightness = |tone: u32| {
        let chosen: Vec<usize> = (0..set.len()).filter(|&index| tones[index] == tone).collect();
        let middle = |index: &usize| -> f64 {
            (12..24)
                .flat_map(|y| &set.image(*index)[(y * 32 + 11) * 3..(y * 32 + 22) * 3])
                .map(|&v| f64::from(v))
                .sum()
        };
        chosen.iter().map(middle).sum::<f64>() / (chosen.len() * 12 * 33) as f64
    };
    let means: Vec<f64> = (0..4).map(brightness).collect();
    assert!(means.windows(2).all(|pair| pair[0] > pair[1] + 10.0), "{means:?}");
}

/// Logistic regression on the pixels around the mouth tells expressions of faces that it has not seen.
#[test]
fn the_target_can_be_learnt() {
    let set = data::open("synthetic-faces:count=3000,size=32,seed=9").unwrap();
    let smiling = &set.target.as_ref().unwrap().values;
    let features: Vec<Vec<f64>> = (0..set.len()).map(|index| region(&set, index, 16..30)).collect();
    let mut weights = vec![0.0; features[0].len()];
    let score = |weights: &[f64], x: &[f64]| weights.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    for _ in 0..150 {
        let mut step = vec![0.0; weights.len()];
        for (x, &label) in features[..2000].iter().zip(smiling) {
            let error = f64::from(label) - 1.0 / (1.0 + (-score(&weights, x)).exp());
            step.iter_mut().zip(x).for_each(|(step, x)| *step += error * x);
        }
        weights.iter_mut().zip(step).for_each(|(weight, step)| *weight += step * 2e-5);
    }
    let right = (2000..3000).filter(|&i| (score(&weights, &features[i]) > 0.0) == (smiling[i] == 1)).count();
    assert!(right > 650, "{right} of 1000");
}

#[test]
fn sheets_show_a_row_for_each_pair_of_labels() {
    let set = data::open("synthetic-faces:count=200,size=32").unwrap();
    let folder = tempdir().unwrap();
    let path = folder.path().join("sheet.png");
    let sheet = export_sheet(&set, &path, 5).unwrap();
    assert_eq!(sheet.rows.len(), 8);
    assert_eq!(sheet.rows[0].label, "not-smiling / light");
    assert_eq!(sheet.rows[7].label, "smiling / dark");
    for row in &sheet.rows {
        assert_eq!(row.images.len(), 5);
        assert!(row.images.windows(2).all(|pair| pair[0] < pair[1]));
    }
    let png = image::open(&path).unwrap().into_rgb8();
    assert_eq!((png.width(), png.height()), (5 * 66 + 2, 8 * 66 + 2));
    assert_eq!((sheet.width, sheet.height), (5 * 66 + 2, 8 * 66 + 2));
    // The second image of the second row, enlarged twice.
    let image = set.image(sheet.rows[1].images[1]);
    for (x, y) in [(0, 0), (31, 7), (12, 31)] {
        let expected = &image[(y * 32 + x) * 3..][..3];
        assert_eq!(png.get_pixel(66 + 2 + 2 * x as u32, 66 + 2 + 2 * y as u32 + 1).0, expected);
    }
    crate::assert_refused(export_sheet(&set, &path, 0), &["1 to 256 columns"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
