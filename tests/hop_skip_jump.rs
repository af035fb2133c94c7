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

#[test]
fn distances_to_a_hyperplane_are_within_the_published_bounds() {
    let plane = Plane::new(1, 300);
    let model = plane.model(&[8192]);
    let random_start = Settings { auxiliary: 0, ..Settings::default() };
    let cases = [
        ("x1", random_start),
        ("compat", Settings { clip: ClipRange::Fixed { low: 0.0, high: 1.0 }, ..Settings::compat() }),
        ("x4 evaluations", random_start.with_budget(4)),
        ("18 iterations", Settings { max_iterations: 18, ..random_start }),
        ("14 x 1.5", Settings { max_iterations: 14, initial_evaluations: 150, ..random_start }),
    ];
    for (name, settings) in cases {
        let start = std::time::Instant::now();
        let found = plane.attack(&model, &[], &settings);
        println!(
            "{name}: {:.4?}, {:.1} queries, {:.2} s",
            percentiles(&plane.ratios(&found)),
            mean_queries(&found),
            start.elapsed().as_secs_f64()
        );
    }
}
