//! Host-side costs that no GPU hides: the order of batches, and the bootstrap of an audit's metrics.

use contraleak::metrics::{MembershipMetrics, MembershipResult};
use contraleak::rng::{Key, Stream, uniform};
use criterion::{Criterion, criterion_group, criterion_main};

fn metrics(criterion: &mut Criterion) {
    let key = Key::from_seed(1).stream(Stream::Shuffle, 0);
    let count = 2000usize;
    let scores: Vec<f64> = (0..count)
        .map(|i| f64::from(uniform(key.draw(i as u32, 0, 0)[0])) + if i < count / 2 { 0.1 } else { 0.0 })
        .collect();
    let members = (0..count).map(|i| i < count / 2).collect();
    let ids = (0..count).map(|i| i.to_string()).collect();
    let result =
        MembershipResult::with_threshold(scores, members, 0.55, ids).unwrap_or_else(|e| panic!("{e}"));
    criterion.bench_function("membership metrics of 2,000 images, 2,000 bootstrap replicates", |b| {
        b.iter(|| MembershipMetrics::compute(&result, 1));
    });
}

fn permutation(criterion: &mut Criterion) {
    let key = Key::from_seed(1).stream(Stream::BatchOrder, 0);
    criterion.bench_function("batch order of 50,000 images", |b| {
        b.iter(|| contraleak::rng::permutation(key, 50_000))
    });
}

criterion_group!(host, metrics, permutation);
criterion_main!(host);
