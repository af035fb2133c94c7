//! f64 networks over named values, central differences, synthetic embeddings.

use super::gpu::Draw;
use std::collections::BTreeMap;

pub type Wide = BTreeMap<String, Vec<f64>>;

pub fn wide(values: &BTreeMap<String, Vec<f32>>) -> Wide {
    values.iter().map(|(name, v)| (name.clone(), v.iter().map(|&v| f64::from(v)).collect())).collect()
}

pub fn to64(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// W x + b, without b where there is none.
pub fn linear(values: &Wide, name: &str, x: &[f64]) -> Vec<f64> {
    let bias = values.get(&format!("{name}.bias"));
    values[&format!("{name}.weight")]
        .chunks(x.len())
        .enumerate()
        .map(|(o, w)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias.map_or(0.0, |b| b[o]))
        .collect()
}

pub fn relu(x: Vec<f64>) -> Vec<f64> {
    x.into_iter().map(|v| v.max(0.0)).collect()
}

/// Layers `<prefix>.<i>`, ReLU after the first `active`.
pub fn chain(values: &Wide, prefix: &str, layers: usize, active: usize, x: &[f64]) -> Vec<f64> {
    (0..layers).fold(x.to_vec(), |x, i| {
        let y = linear(values, &format!("{prefix}.{i}"), &x);
        if i < active { relu(y) } else { y }
    })
}

/// −Σ target·ln softmax.
pub fn cross_entropy(logits: &[f64], target: impl Fn(usize) -> f64) -> f64 {
    let normalizer = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
    logits.iter().enumerate().map(|(i, x)| target(i) * (normalizer - x)).sum()
}

/// Compares gradients of some elements of parameter `name` with central differences of `loss`, and says how large they were at most.
pub fn check_gradient(name: &str, values: &Wide, found: &[f32], loss: impl Fn(&Wide) -> f64) -> f64 {
    let count = values[name].len();
    assert_eq!(found.len(), count, "{name}");
    let mut moved = values.clone();
    let mut largest = 0f64;
    for k in 0..count.min(40) {
        let i = k * 7919 % count;
        let mut at = |step: f64| {
            moved.get_mut(name).unwrap()[i] = values[name][i] + step;
            loss(&moved)
        };
        let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
        at(0.0);
        let error = (f64::from(found[i]) - expected).abs();
        assert!(error < 2e-5 + 2e-4 * expected.abs(), "{name}[{i}]: {} instead of {expected}", found[i]);
        largest = largest.max(expected.abs());
    }
    largest
}

/// Rows of `width` that carry two independent binary labels on axes 0 and 1, and noise everywhere.
pub struct Separable {
    pub rows: Vec<f32>,
    pub task: Vec<u32>,
    pub attribute: Vec<u32>,
}

pub fn separable(seed: u64, count: usize, width: usize) -> Separable {
    noisy(seed, count, width, 0.4)
}

/// The same with noise in [−noise, noise); above 1 the classes overlap.
pub fn noisy(seed: u64, count: usize, width: usize, noise: f64) -> Separable {
    let mut draw = Draw(seed);
    let mut set = Separable { rows: Vec::new(), task: Vec::new(), attribute: Vec::new() };
    for _ in 0..count {
        let (task, attribute) = (draw.range(0, 1), draw.range(0, 1));
        for axis in 0..width {
            let centre = match axis {
                0 => 2.0 * task as f64 - 1.0,
                1 => 2.0 * attribute as f64 - 1.0,
                _ => 0.0,
            };
            set.rows.push((centre + noise * draw.unit()) as f32);
        }
        set.task.push(task as u32);
        set.attribute.push(attribute as u32);
    }
    set
}

pub fn accuracy(logits: &[f32], labels: &[u32]) -> f64 {
    let classes = logits.len() / labels.len();
    let right = logits
        .chunks(classes)
        .zip(labels)
        .filter(|(row, label)| contraleak::defence::argmax(row) == **label as usize);
    right.count() as f64 / labels.len() as f64
}
