//! EncoderMI: thresholds, membership features, what each inferrer can and cannot see, the four image sets.

mod common;
use common::gpu::{Draw, gpu};
use common::training::faces;
use contraleak::Error;
use contraleak::attack::encodermi::{
    Inferrer, MembershipFeatures, Settings, Variant, exact_threshold, grid501_threshold, membership_features,
};
use contraleak::data::ImageSet;
use contraleak::experiment::encodermi::Sets;
use contraleak::kernels::similarity::Similarity;
use contraleak::reference::similarity as twin;

/// Images that "at least `value`" decides rightly, a member weighing as much as all non-members and the reverse.
fn right(members: &[f64], others: &[f64], value: f64) -> usize {
    members.iter().filter(|&&s| s >= value).count() * others.len()
        + others.iter().filter(|&&s| s < value).count() * members.len()
}

/// All best thresholds as intervals (low, high]: between neighbouring scores, below all, above all.
fn best_intervals(members: &[f64], others: &[f64]) -> (usize, Vec<(f64, f64)>) {
    let mut scores: Vec<f64> = members.iter().chain(others).copied().collect();
    scores.sort_by(f64::total_cmp);
    scores.dedup();
    let mut ends = vec![f64::NEG_INFINITY];
    ends.extend(&scores);
    ends.push(f64::INFINITY);
    let intervals: Vec<(f64, f64)> = ends.windows(2).map(|w| (w[0], w[1])).collect();
    let best = intervals.iter().map(|i| right(members, others, i.1)).max().unwrap();
    (best, intervals.into_iter().filter(|i| right(members, others, i.1) == best).collect())
}

#[test]
fn the_exact_threshold_is_the_best_of_all() {
    let mut draw = Draw(1);
    let mut infinite = 0;
    for trial in 0..400 {
        // Few levels make ties; every other trial has none.
        let levels = if trial % 2 == 0 { draw.range(1, 6) } else { 1 << 20 };
        let mut scores = |count: usize, shift: f64| -> Vec<f64> {
            (0..count).map(|_| draw.range(0, levels) as f64 / levels as f64 * 0.7 + shift).collect()
        };
        let shift = [0.0, 0.2, -0.2, 5.0][trial % 4];
        let (members, others) = (scores(1 + trial % 7, shift), scores(1 + trial % 5, 0.0));
        let found = exact_threshold(&members, &others).unwrap();
        let (best, intervals) = best_intervals(&members, &others);
        let label = format!("{members:?} {others:?}: {found:?}");
        assert_eq!(right(&members, &others, found.value), best, "{label}");
        let accuracy = best as f64 / (2 * members.len() * others.len()) as f64;
        assert!((found.training_accuracy - accuracy).abs() < 1e-12, "{label}");
        let width = |i: &(f64, f64)| if (i.1 - i.0).is_finite() { i.1 - i.0 } else { 0.0 };
        let widest = intervals.iter().map(width).fold(0.0, f64::max);
        if found.value.is_finite() {
            let inside = intervals.iter().find(|i| i.0 < found.value && found.value <= i.1).unwrap();
            assert_eq!(width(inside), widest, "{label}");
            assert!((found.value - (inside.0 + inside.1) / 2.0).abs() < 1e-12, "{label}");
        } else {
            infinite += 1;
            assert_eq!(widest, 0.0, "{label}");
        }
        let grid = grid501_threshold(&members, &others).unwrap();
        assert!(found.training_accuracy >= grid.training_accuracy - 1e-12, "{label}: grid {grid:?}");
        assert!((0.0..=1.0).contains(&grid.value), "{grid:?}");
    }
    assert!(infinite > 20, "only {infinite} trials without a finite best threshold");
}

#[test]
fn thresholds_of_special_cases() {
    let exact = |members: &[f64], others: &[f64]| exact_threshold(members, others).unwrap();
    // Members below all others: nothing beats calling everything a member.
    assert_eq!(exact(&[0.1, 0.2], &[0.8, 0.9]).value, f64::NEG_INFINITY);
    assert_eq!(exact(&[0.5; 3], &[0.5; 2]).training_accuracy, 0.5);
    assert_eq!(exact(&[0.75], &[0.25]).value, 0.5);
    // Three intervals are equally good; the widest one wins.
    assert_eq!(exact(&[0.25, 0.75], &[0.0, 0.5]).value, 0.125);
    assert_eq!(exact(&[0.25, 1.0], &[0.125, 0.5]).value, 0.75);
    // Between neighbouring floats there is nothing; the threshold is then the upper one itself.
    for low in [1.0f64, 1.0 + f64::EPSILON, 0.7, -3.0, f64::MIN_POSITIVE] {
        let found = exact(&[low.next_up()], &[low]);
        assert_eq!((found.value, found.training_accuracy), (low.next_up(), 1.0));
    }
    // The first of equally good edges; edges are multiples of 1/500.
    let grid = grid501_threshold(&[0.9], &[0.1]).unwrap();
    assert!((grid.value - 51.0 / 500.0).abs() < 1e-12 && grid.training_accuracy == 1.0, "{grid:?}");
    assert_eq!(grid501_threshold(&[0.5], &[0.5]).unwrap().value, 0.0);
    for find in [exact_threshold, grid501_threshold] {
        assert!(find(&[], &[1.0]).is_err() && find(&[1.0], &[]).is_err());
    }
}

#[test]
fn membership_features_match_float64_in_every_chunk() {
    let mut draw = Draw(2);
    // The last case is 515 images of 64 KiB, more than the 32 MiB of a submit.
    for (images, views, dim, all) in
        [(7, 5, 37, true), (1, 2, 1, true), (3, 64, 8, true), (515, 4, 4096, false)]
    {
        // A common part makes similarities as high as those of views.
        let common: Vec<f64> = (0..dim).map(|_| draw.unit() * 2.0 + 0.5).collect();
        let x: Vec<f32> = (0..images * views * dim).map(|i| (draw.unit() + common[i % dim]) as f32).collect();
        let x64: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        for (measure, reference) in [
            (Similarity::Cosine, twin::Similarity::Cosine),
            (Similarity::Euclidean, twin::Similarity::Euclidean),
            (Similarity::Pearson, twin::Similarity::Pearson),
        ] {
            if !all && measure != Similarity::Cosine || dim == 1 && measure == Similarity::Pearson {
                continue;
            }
            let found = membership_features(gpu(), &x, views, dim, measure).unwrap();
            let pairs = views * (views - 1) / 2;
            assert_eq!((found.pairs, found.images()), (pairs, images));
            let expected = twin::pairwise_features(&x64, views, dim, reference, true);
            let scale = expected.iter().fold(1.0f64, |m, e| m.max(e.abs()));
            assert_eq!(found.sorted.len(), expected.len());
            for (i, (&got, &expected)) in found.sorted.iter().zip(&expected).enumerate() {
                let error = (f64::from(got) - expected).abs();
                assert!(
                    error < 2e-5 * scale,
                    "{measure:?} {images}x{views}x{dim}, number {i}: {got}, {expected}"
                );
            }
            for (row, &mean) in found.sorted.chunks(pairs).zip(&found.means) {
                assert!(row.is_sorted());
                let expected = row.iter().map(|&v| f64::from(v)).sum::<f64>() / pairs as f64;
                assert_eq!(mean, expected);
            }
        }
    }
    for (numbers, views, dim) in [(4, 1, 4), (4, 2, 0), (9, 2, 4), (65 * 4, 65, 4)] {
        let result = membership_features(gpu(), &vec![1.0; numbers], views, dim, Similarity::Cosine);
        assert!(matches!(result, Err(Error::Shape(_))), "{numbers} {views} {dim}: {result:?}");
    }
    assert_eq!(membership_features(gpu(), &[], 2, 4, Similarity::Cosine).unwrap().images(), 0);
}

const VIEWS: usize = 5;
const PAIRS: usize = 10;

/// Ten similarities a row around `level`: a fixed fan with a little noise.
fn features(rows: usize, level: f64, spread: f64, noise: f64, seed: u64) -> MembershipFeatures {
    let mut draw = Draw(seed);
    let (mut sorted, mut means) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let shift = noise * draw.unit();
        let mut row: Vec<f32> = (0..PAIRS)
            .map(|i| (level + shift + spread * (i as f64 / 9.0 - 0.5) + noise * draw.unit()) as f32)
            .collect();
        row.sort_by(f32::total_cmp);
        means.push(row.iter().map(|&v| f64::from(v)).sum::<f64>() / PAIRS as f64);
        sorted.extend(row);
    }
    MembershipFeatures { sorted, means, pairs: PAIRS }
}

fn scaled(features: &MembershipFeatures, factor: f32) -> MembershipFeatures {
    MembershipFeatures {
        sorted: features.sorted.iter().map(|v| v * factor).collect(),
        means: features.means.iter().map(|m| m * f64::from(factor)).collect(),
        pairs: features.pairs,
    }
}

fn settings() -> Settings {
    let mut settings = Settings { views: VIEWS, ..Settings::default() };
    settings.vector.hidden = 32;
    settings.vector.learning_rate = 3e-3;
    settings.vector.epochs = 60;
    settings.set.width = 16;
    settings.set.epochs = 60;
    settings
}

fn accuracy(inferrer: &Inferrer, members: &MembershipFeatures, others: &MembershipFeatures) -> f64 {
    let decide = |f| inferrer.infer(gpu(), f).unwrap().decisions;
    let right =
        decide(members).iter().filter(|d| **d).count() + decide(others).iter().filter(|d| !**d).count();
    right as f64 / (members.images() + others.images()) as f64
}

#[test]
fn v_s_and_t_see_the_level_and_nothing_where_nothing_is() {
    for variant in Variant::ALL {
        let train = |level, seed| {
            let (members, others) =
                (features(64, 0.8, 0.1, 0.03, seed), features(64, level, 0.1, 0.03, seed + 1));
            Inferrer::train(gpu(), variant, &settings(), &members, &others, 3).unwrap()
        };
        let (members, others) = (features(64, 0.8, 0.1, 0.03, 91), features(64, 0.7, 0.1, 0.03, 92));
        let inferrer = train(0.7, 1);
        assert!(inferrer.training_accuracy > 0.9, "{variant}: {}", inferrer.training_accuracy);
        let found = accuracy(&inferrer, &members, &others);
        assert!(found > 0.9, "{variant}: accuracy {found}");
        assert_eq!(inferrer.threshold().is_some(), variant == Variant::T);
        let result = inferrer.infer(gpu(), &members).unwrap();
        let cut = inferrer.threshold().unwrap_or(0.0);
        assert!(result.scores.iter().zip(&result.decisions).all(|(s, d)| (*s >= cut) == *d), "{variant}");

        let blind = train(0.8, 5);
        let found = accuracy(&blind, &members, &features(64, 0.8, 0.1, 0.03, 93));
        assert!((found - 0.5).abs() < 0.2, "{variant} without a difference: accuracy {found}");
    }
}

/// The published pipeline standardises each set, which removes the level that members differ in.
#[test]
fn the_published_point_cloud_pipeline_cannot_see_a_change_of_scale() {
    let (members, others) = (features(32, 0.8, 0.1, 0.03, 1), features(32, 0.8, 0.1, 0.03, 1));
    let others = scaled(&others, 0.5);
    let compat = Settings { compat_deepsets: true, ..settings() };
    let blind = Inferrer::train(gpu(), Variant::S, &compat, &members, &others, 3).unwrap();
    let (a, b) = (blind.infer(gpu(), &members).unwrap(), blind.infer(gpu(), &others).unwrap());
    assert_eq!(a.scores, b.scores, "half of all similarities gives other inputs");
    assert_eq!(blind.training_accuracy, 0.5);
    let seeing = Inferrer::train(gpu(), Variant::S, &settings(), &members, &others, 3).unwrap();
    assert!(seeing.training_accuracy > 0.9, "{}", seeing.training_accuracy);

    // It does see gaps that are large beside the level, in its published 1,000 epochs: the same fan at twice the level.
    let mut compat = compat;
    compat.set.epochs = 1000;
    let (high, low) = (features(64, 0.8, 0.1, 0.005, 4), features(64, 0.4, 0.1, 0.005, 5));
    let trained = Inferrer::train(gpu(), Variant::S, &compat, &high, &low, 3).unwrap();
    let found = accuracy(&trained, &features(64, 0.8, 0.1, 0.005, 6), &features(64, 0.4, 0.1, 0.005, 7));
    assert!(found > 0.9, "gap to level: accuracy {found}");
}

#[test]
fn inferrers_are_deterministic_and_refuse_what_does_not_fit() {
    let (members, others) = (features(20, 0.8, 0.1, 0.03, 1), features(17, 0.7, 0.1, 0.03, 2));
    let mut settings = settings();
    settings.vector.epochs = 3;
    settings.set.epochs = 3;
    for variant in Variant::ALL {
        let train = |seed| Inferrer::train(gpu(), variant, &settings, &members, &others, seed).unwrap();
        let scores = |inferrer: &Inferrer| inferrer.infer(gpu(), &members).unwrap().scores;
        let first = train(3);
        assert_eq!(scores(&first), scores(&train(3)), "{variant}");
        assert_eq!(scores(&first) == scores(&train(4)), variant == Variant::T, "{variant} and its seed");
        let six_views = MembershipFeatures { sorted: vec![0.5; 30], means: vec![0.5; 2], pairs: 15 };
        assert!(matches!(first.infer(gpu(), &six_views), Err(Error::Shape(_))), "{variant}");
        let wrong = Inferrer::train(gpu(), variant, &settings, &members, &six_views, 3);
        assert!(matches!(wrong, Err(Error::Shape(_))), "{variant}");
        let empty = features(0, 0.8, 0.1, 0.03, 1);
        let empty = Inferrer::train(gpu(), variant, &settings, &members, &empty, 3);
        assert!(matches!(empty, Err(Error::Shape(_))), "{variant}");
        let short = Inferrer::train_on(gpu(), variant, &settings, &members.sorted, &[1, 0], 3);
        assert!(matches!(short, Err(Error::Shape(_))), "{variant}");
    }
}

fn part(set: &ImageSet, range: std::ops::Range<usize>) -> ImageSet {
    set.subset(&range.collect::<Vec<_>>()).unwrap()
}

#[test]
fn sets_are_made_disjoint() {
    let set = faces(16, 1);
    let parts = || [part(&set, 0..4), part(&set, 4..8), part(&set, 8..12), part(&set, 12..16)];
    let sets = Sets::new(parts()).unwrap();
    assert_eq!(sets.duplicates_removed, 0);
    assert_eq!(sets.members, part(&set, 0..4));
    assert_eq!(sets.shadow_non_members, part(&set, 12..16));

    let error = |sets: [ImageSet; 4], parts: &[&str]| match Sets::new(sets) {
        Err(Error::Usage(message)) => {
            parts.iter().for_each(|part| assert!(message.contains(part), "expected {part:?} in: {message}"));
        }
        Err(other) => panic!("expected a usage error with {parts:?}, found {other}"),
        Ok(_) => panic!("expected a usage error with {parts:?}"),
    };
    let [a, b, c, d] = parts();
    error([a, b, part(&set, 3..7), d.clone()], &["members and shadow members", &set.ids[3], "overlap"]);

    // The same pixels under another name: the later set gives way.
    let [a, _, c2, _] = parts();
    let mut b = set.subset(&[4, 1, 5, 2]).unwrap();
    b.ids = ["w", "x", "y", "z"].map(String::from).to_vec();
    let mut twice = set.subset(&[12, 12, 13, 4]).unwrap();
    twice.ids = ["p", "q", "r", "s"].map(String::from).to_vec();
    let sets = Sets::new([a.clone(), b, c2, twice]).unwrap();
    assert_eq!(sets.duplicates_removed, 3);
    assert_eq!(sets.non_members.ids, ["w", "y"]);
    assert_eq!(sets.shadow_non_members.ids, ["p", "q", "r"], "copies within a set stay");
    assert_eq!(sets.summary().duplicates_removed, 3);
    assert_eq!(sets.summary().parts.iter().map(|p| p.count).collect::<Vec<_>>(), [4, 2, 4, 3]);

    // An overlap is found behind a copy with another name, too.
    let mut copies = set.subset(&[0, 0]).unwrap();
    copies.ids = vec!["copy".into(), "original".into()];
    let mut again = set.subset(&[0, 5]).unwrap();
    again.ids[0] = "original".into();
    error([copies, again, c.clone(), d.clone()], &["overlap", "original"]);

    let mut all_copies = part(&set, 0..4);
    all_copies.ids.iter_mut().for_each(|id| id.push('x'));
    error([a.clone(), all_copies, c.clone(), d.clone()], &["non-members", "no image is left"]);
    let large = contraleak::data::open("synthetic-faces:count=4,size=24").unwrap();
    error([a, large, c, d], &["non-members", "16x16", "24x24", "size="]);
}
