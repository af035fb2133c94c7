//! HopSkipJump on linear classifiers, whose boundary is known in closed form, and the attacks on its distances.

mod common;
use common::gpu::{Draw, gpu};
use contraleak::attack::membership::label_only::{
    ClipRange, DecisionModel, Found, GraphModel, Outcome, Settings, Targets, hop_skip_jump,
};
use contraleak::kernels::Shape;
use contraleak::rng::{Key, normal, threefry2x32_20};

/// d = 48.
const IMAGE: Shape = Shape::new(1, 3, 4, 4);
/// Distance of every image from the hyperplane.
const DISTANCE: f64 = 0.28;

/// Two classes on the sides of a hyperplane, images of class 0 in [.4, .6] moved to one distance from it.
struct Plane {
    weight: Vec<f32>,
    bias: f32,
    images: Vec<f32>,
}

impl Plane {
    fn new(seed: u64, count: usize) -> Plane {
        let d = IMAGE.elements();
        let key = Key::from_seed(seed);
        let normal: Vec<f64> = (0..d as u32).map(|i| normal(threefry2x32_20(key.0, [i, 7]))).collect();
        let norm = common::norm(&normal);
        let weight: Vec<f32> = normal.iter().map(|w| (w / norm) as f32).collect();
        let centre: f64 = weight.iter().map(|w| 0.5 * f64::from(*w)).sum();
        let bias = (-centre - DISTANCE) as f32;
        let mut draw = Draw(seed);
        let mut images = Vec::with_capacity(count * d);
        for _ in 0..count {
            let image: Vec<f64> = (0..d).map(|_| 0.5 + 0.1 * draw.unit()).collect();
            let side: f64 =
                image.iter().zip(&weight).map(|(x, w)| x * f64::from(*w)).sum::<f64>() + f64::from(bias);
            images.extend(
                image.iter().zip(&weight).map(|(x, w)| (x - (side + DISTANCE) * f64::from(*w)) as f32),
            );
        }
        Plane { weight, bias, images }
    }

    /// Logits 0 and w·x + b.
    fn model(&self, sizes: &[usize]) -> GraphModel {
        let weight = [vec![0.0; IMAGE.elements()], self.weight.clone()].concat();
        GraphModel::linear(gpu(), IMAGE, sizes, &weight, &[0.0, self.bias]).unwrap_or_else(|e| panic!("{e}"))
    }

    fn count(&self) -> usize {
        self.images.len() / IMAGE.elements()
    }

    fn attack(&self, model: &dyn DecisionModel, auxiliary: &[f32], settings: &Settings) -> Vec<Found> {
        let numbers: Vec<u32> = (0..self.count() as u32).collect();
        let labels = vec![0; self.count()];
        let targets = Targets { images: &self.images, labels: &labels, numbers: &numbers, auxiliary };
        hop_skip_jump(gpu(), model, &targets, settings).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Distances over the analytic one, ascending.
    fn ratios(&self, found: &[Found]) -> Vec<f64> {
        assert!(found.iter().all(|f| f.outcome == Outcome::Found));
        let mut ratios: Vec<f64> = found.iter().map(|f| f64::from(f.distance) / DISTANCE).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }
}

fn percentiles(sorted: &[f64]) -> [f64; 3] {
    [0.05, 0.5, 0.95].map(|p| sorted[((sorted.len() - 1) as f64 * p).round() as usize])
}

fn mean_queries(found: &[Found]) -> f64 {
    found.iter().map(|f| f64::from(f.queries)).sum::<f64>() / found.len() as f64
}

fn clipped(settings: Settings) -> Settings {
    Settings { clip: ClipRange::Fixed { low: 0.0, high: 1.0 }, ..settings }
}

/// Section 13.6: random starts, as in the reference simulation that the bounds are from.
#[test]
fn distances_to_a_hyperplane_are_within_the_published_bounds() {
    let plane = Plane::new(1, 300);
    let model = plane.model(&[4096]);
    let projected = Settings { auxiliary: 0, ..Settings::default() };
    for (name, settings, bounds, queries) in [
        ("default", projected, 1.02..=1.05, 1345..=1600),
        ("compat", clipped(Settings::compat()), 1.36..=1.42, 1345..=1600),
        ("default, four times the budget", projected.with_budget(4), 1.0..=1.02, 5380..=5700),
    ] {
        let found = plane.attack(&model, &[], &settings);
        let ratios = percentiles(&plane.ratios(&found));
        println!("{name}: {ratios:.4?} times the distance, {:.1} queries an image", mean_queries(&found));
        assert!(ratios.iter().all(|ratio| bounds.contains(ratio)), "{name}: {ratios:?} outside {bounds:?}");
        for f in &found {
            assert!(queries.contains(&f.queries), "{name}: {} queries", f.queries);
        }
    }
}

/// The result of an image is that of a run of its own, bit for bit, however queries are packed.
#[test]
fn lockstep_and_one_image_at_a_time_give_the_same_bits() {
    let plane = Plane::new(2, 7);
    let settings = Settings { max_iterations: 4, ..Settings::default() };
    let auxiliary = pixels(11, 40);
    for starts in [&auxiliary[..], &[]] {
        let together = plane.attack(&plane.model(&[1024]), starts, &settings);
        let each = IMAGE.elements();
        for rows in [1024, 61] {
            let model = plane.model(&[rows]);
            let three = plane.attack(&model, starts, &Settings { images_at_once: 3, ..settings });
            assert_eq!(together, three, "{rows} rows, three images at once");
        }
        let model = plane.model(&[1024, 16, 1]);
        for (i, expected) in together.iter().enumerate() {
            let images = &plane.images[i * each..(i + 1) * each];
            let targets = Targets { images, labels: &[0], numbers: &[i as u32], auxiliary: starts };
            let alone = hop_skip_jump(gpu(), &model, &targets, &settings).unwrap();
            assert_eq!(alone, [*expected], "image {i} alone");
            assert!(expected.distance >= DISTANCE as f32 * 0.999, "{expected:?}");
        }
    }
}

fn pixels(seed: u64, count: usize) -> Vec<f32> {
    let mut draw = Draw(seed);
    (0..count * IMAGE.elements()).map(|_| (0.5 + 0.5 * draw.unit()) as f32).collect()
}

#[test]
fn seeds_and_image_numbers_choose_the_draws() {
    let plane = Plane::new(3, 2);
    let model = plane.model(&[512]);
    let settings = Settings { max_iterations: 2, auxiliary: 0, ..Settings::default() };
    let run = |seed, numbers: &[u32]| {
        let targets = Targets { images: &plane.images, labels: &[0, 0], numbers, auxiliary: &[] };
        hop_skip_jump(gpu(), &model, &targets, &Settings { seed, ..settings }).unwrap()
    };
    let first = run(5, &[0, 1]);
    assert_eq!(first, run(5, &[0, 1]));
    assert_ne!(first[0].distance, run(6, &[0, 1])[0].distance);
    let other = run(5, &[9, 1]);
    assert_ne!(first[0].distance, other[0].distance);
    assert_eq!(first[1], other[1]);
}

/// A label that noise never gets: an image start finds the boundary, random starts do not.
#[test]
fn auxiliary_images_start_where_noise_cannot() {
    let mut plane = Plane::new(4, 3);
    // All of [0, 1] but a corner far along the normal is class 0.
    plane.bias -= 1.2;
    let model = plane.model(&[256]);
    let corner: Vec<f32> = plane.weight.iter().map(|&w| if w > 0.0 { 1.0 } else { 0.0 }).collect();
    let dull = pixels(5, 4);
    let auxiliary = [&dull[..], &corner].concat();
    let settings = Settings { max_iterations: 3, ..Settings::default() };
    for found in plane.attack(&model, &auxiliary, &settings) {
        assert_eq!(found.outcome, Outcome::Found);
        assert!(f64::from(found.distance) >= (DISTANCE + 1.2) * 0.999, "{found:?}");
    }
    for (starts, settings) in [(&auxiliary[..], Settings { auxiliary: 0, ..settings }), (&dull[..], settings)]
    {
        for found in plane.attack(&model, starts, &settings) {
            assert_eq!((found.distance, found.outcome), (0.0, Outcome::NoStart));
            assert_eq!(found.queries, 1 + settings.start_tries, "one label and every try");
        }
    }
    // Halfway to the corner is nearer and beyond the boundary as well: it is chosen wherever it stands.
    let nearer: Vec<f32> = corner.iter().map(|x| 0.5 + 0.8 * (x - 0.5)).collect();
    let run = |auxiliary: &[&[f32]]| plane.attack(&model, &auxiliary.concat(), &settings);
    let alone = run(&[&nearer]);
    assert_eq!(alone, run(&[&corner, &dull, &nearer]));
    assert_eq!(alone, run(&[&nearer, &corner]));
    assert_ne!(alone, run(&[&corner, &dull]));
    // Only the first of them is looked at.
    let first = Settings { auxiliary: 1, ..settings };
    assert_eq!(run(&[&corner]), plane.attack(&model, &[&dull[..], &corner, &nearer].concat(), &first));
}

#[test]
fn misclassified_images_score_nothing() {
    let plane = Plane::new(5, 4);
    let model = plane.model(&[256]);
    let numbers = [0, 1, 2, 3];
    let targets = Targets { images: &plane.images, labels: &[0, 1, 0, 1], numbers: &numbers, auxiliary: &[] };
    let settings = Settings { max_iterations: 2, auxiliary: 0, ..Settings::default() };
    let skipped = hop_skip_jump(gpu(), &model, &targets, &settings).unwrap();
    let attacked = Settings { skip_misclassified: false, ..settings };
    let all = hop_skip_jump(gpu(), &model, &targets, &attacked).unwrap();
    for (i, (a, b)) in skipped.iter().zip(&all).enumerate() {
        assert_eq!((a.distance, a.outcome), (b.distance, b.outcome), "image {i}");
        if i % 2 == 1 {
            assert_eq!((a.distance, a.outcome, a.queries), (0.0, Outcome::Misclassified, 1));
            assert!(b.queries > 200, "{b:?}");
        } else {
            assert!(a.distance > 0.0 && a.queries == b.queries);
        }
    }
}

/// Each difference between the two modes by itself.
#[test]
fn switches_of_the_published_form_act_alone() {
    let plane = Plane::new(6, 40);
    let model = plane.model(&[2048]);
    let base = Settings { auxiliary: 0, ..Settings::default() };
    let median = |settings: &Settings| percentiles(&plane.ratios(&plane.attack(&model, &[], settings)))[1];
    let unprojected = median(&Settings { final_projection: false, ..base });
    assert!((1.36..=1.42).contains(&unprojected), "{unprojected}");
    // Within the images' own range, about [.39, .61], the boundary is out of reach of uniform images.
    let narrow = Settings { clip: ClipRange::OfImages, ..base };
    let found = plane.attack(&model, &[], &narrow);
    assert!(found.iter().all(|f| f.outcome == Outcome::NoStart), "{found:?}");
    // The same range given as numbers is the same attack.
    let low = plane.images.iter().copied().fold(f32::INFINITY, f32::min);
    let high = plane.images.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let given = Settings { clip: ClipRange::Fixed { low, high }, ..base };
    assert_eq!(found, plane.attack(&model, &[], &given));
    let compat = Settings::compat();
    assert_eq!((compat.auxiliary, compat.final_projection, compat.skip_misclassified), (0, false, false));
    assert_eq!(compat.clip, ClipRange::OfImages);
}

#[test]
fn evaluations_grow_with_the_root_of_the_iteration() {
    let settings = Settings::default();
    let counts: Vec<u32> = (0..7).map(|t| settings.evaluations(t)).collect();
    assert_eq!(counts, [100, 141, 173, 200, 223, 244, 264]);
    assert_eq!(counts.iter().sum::<u32>(), 1345);
    assert_eq!(Settings { max_evaluations: 150, ..settings }.evaluations(6), 150);
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    assert!(serde_json::from_str::<Settings>("{\"max_iter\": 3}").is_err(), "an unknown name");
}

#[test]
fn gradients_that_vanish_and_models_that_fail_are_told_apart() {
    // The start is the only other label: every query near the boundary is the same, so there is a direction, and
    // then a step that never succeeds; the distance stays that of the start's search.
    let plane = Plane::new(7, 2);
    let model = plane.model(&[64]);
    let bad = [f32::NAN; 48];
    let targets = Targets { images: &bad, labels: &[0], numbers: &[0], auxiliary: &[] };
    let message = hop_skip_jump(gpu(), &model, &targets, &Settings::default()).unwrap_err().to_string();
    assert!(message.contains("image 0 holds NaN"), "{message}");
    let targets = Targets { images: &plane.images, labels: &[0], numbers: &[0, 1], auxiliary: &[] };
    let message = hop_skip_jump(gpu(), &model, &targets, &Settings::default()).unwrap_err().to_string();
    assert!(message.contains("2 images with 1 labels"), "{message}");
    let targets = Targets { images: &plane.images, labels: &[0, 0], numbers: &[0, 1], auxiliary: &[] };
    for (settings, part) in [
        (Settings { max_iterations: 0, ..Settings::default() }, "at least one iteration"),
        (
            Settings { clip: ClipRange::Fixed { low: 1.0, high: 1.0 }, ..Settings::default() },
            "1 to 1 is empty",
        ),
    ] {
        let message = hop_skip_jump(gpu(), &model, &targets, &settings).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let broken = GraphModel::linear(gpu(), IMAGE, &[8], &[f32::NAN; 96], &[0.0; 2]).unwrap();
    let message = hop_skip_jump(gpu(), &broken, &targets, &Settings::default()).unwrap_err().to_string();
    assert!(message.contains("the classifier is broken"), "{message}");
    let none = Targets { images: &[], labels: &[], numbers: &[], auxiliary: &[] };
    assert!(hop_skip_jump(gpu(), &model, &none, &Settings::default()).unwrap().is_empty());
    // Nothing but the start's own point is adversarial: queries agree, steps fail, the attack ends all the same.
    let stubborn = Stubborn { inner: plane.model(&[64]), asked: std::cell::Cell::new(0) };
    let found =
        plane.attack(&stubborn, &[], &Settings { max_iterations: 2, auxiliary: 0, ..Settings::default() });
    for f in found {
        assert_eq!(f.outcome, Outcome::Found);
        assert!(f.distance.is_finite() && f.distance > 0.0);
        // 2 · 51 step queries beside 241 of the gradient.
        assert!(f.queries > 343, "{f:?}");
    }
}

/// Answers 1 to the first tries of a start and 0 ever after.
struct Stubborn {
    inner: GraphModel,
    asked: std::cell::Cell<u32>,
}

impl DecisionModel for Stubborn {
    fn image(&self) -> Shape {
        self.inner.image()
    }
    fn rows(&self) -> usize {
        self.inner.rows()
    }
    fn queries(&self) -> &contraleak::gpu::Buffer {
        self.inner.queries()
    }
    fn labels(&self, _: &contraleak::gpu::Gpu, rows: usize) -> contraleak::Result<Vec<u32>> {
        self.asked.set(self.asked.get() + 1);
        // The first answer is that for the images themselves, the second that for the tries.
        Ok(vec![u32::from(self.asked.get() == 2); rows])
    }
}
