//! EncoderMI's baselines: naive versions, encoders that leak and encoders that do not.

mod common;
use common::gpu::{Draw, gpu};
use common::{assert_close, training::faces};
use contraleak::attack::baselines::differential::{edge_filtered, median_bandwidth, separate};
use contraleak::attack::baselines::{
    Baseline, BaselineSettings, Setting, ViewFeatures, confidence_network, correctness_bits,
    differential::differential_comparison, encoder_as_classifier, head_metrics, label_only, multi_view,
};
use contraleak::attack::membership::{Four, Posteriors, Rows};
use contraleak::metrics::MembershipMetrics;

fn noise(draw: &mut Draw) -> f64 {
    (0..4).map(|_| draw.unit()).sum()
}

/// Posteriors that favour the label by `sure`; `views` in a row have one label.
fn answers(count: usize, views: usize, sure: f64, seed: u64) -> Posteriors {
    let mut draw = Draw(seed);
    let (mut logits, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let label = draw.range(0, 3) as u32;
        for _ in 0..views {
            labels.push(label);
            logits.extend((0..4).map(|c| (noise(&mut draw) + if c == label { sure } else { 0.0 }) as f32));
        }
    }
    Posteriors::from_logits(4, &logits, labels).unwrap()
}

fn four<T>(mut make: impl FnMut(bool, u64) -> T) -> Four<T> {
    Four {
        target_members: make(true, 1),
        target_non_members: make(false, 2),
        shadow_members: make(true, 3),
        shadow_non_members: make(false, 4),
    }
}

fn heads(views: usize, gap: f64) -> Four<Posteriors> {
    four(|member, seed| answers(400, views, if member { 1.0 + gap } else { 1.0 }, 40 + seed))
}

/// Features whose first half is larger for members by `shift`, and whose views scatter less by `tight`.
fn embeddings(shift: f64, tight: f64) -> Four<ViewFeatures> {
    four(|member, seed| {
        let mut draw = Draw(90 + seed);
        let (mut image, mut views) = (Vec::new(), Vec::new());
        let strength = f64::from(u8::from(member));
        for _ in 0..300 {
            let own: Vec<f64> =
                (0..6).map(|i| noise(&mut draw) + if i < 3 { shift * strength } else { 0.0 }).collect();
            image.extend(own.iter().map(|&v| v as f32));
            for _ in 0..5 {
                let scatter = 1.0 - tight * strength;
                views.extend(own.iter().map(|v| (v + scatter * noise(&mut draw)) as f32));
            }
        }
        ViewFeatures::new(6, 5, image, views).unwrap()
    })
}

fn metrics(baseline: &Baseline) -> MembershipMetrics {
    MembershipMetrics::compute_with(&baseline.outcome.result, 300, 3)
}

fn assert_found(baseline: &Baseline, at_least: f64) {
    let found = metrics(baseline);
    assert!(found.auc_99.lower > at_least, "{}: {:?}", baseline.id, found.auc);
}

fn assert_chance(baseline: &Baseline) {
    let found = metrics(baseline);
    assert!(found.auc_99.contains(0.5), "{}: {:?}", baseline.id, found.auc_99);
}

fn settings() -> BaselineSettings {
    BaselineSettings { epochs: 15, ..BaselineSettings::default() }
}

fn ids(baselines: &[Baseline]) -> Vec<&str> {
    baselines.iter().map(|b| b.id.as_str()).collect()
}

#[test]
fn attacks_on_a_head() {
    let (leaking, silent) = (heads(1, 2.0), heads(1, 0.0));
    let a = confidence_network(gpu(), &leaking, Setting::DisjointHead, &settings(), 1).unwrap();
    assert_eq!(a.id, "baseline-a");
    assert!(a.explanation.contains("3 largest"));
    assert_found(&a, 0.6);
    assert_eq!(a, confidence_network(gpu(), &leaking, Setting::DisjointHead, &settings(), 1).unwrap());
    assert_chance(&confidence_network(gpu(), &silent, Setting::DisjointHead, &settings(), 1).unwrap());
    let d = head_metrics(&leaking, Setting::DisjointHead).unwrap();
    assert_eq!(ids(&d), ["baseline-d-confidence", "baseline-d-entropy", "baseline-d-modified-entropy"]);
    d.iter().for_each(|b| assert_found(b, 0.6));
    head_metrics(&silent, Setting::DisjointHead).unwrap().iter().for_each(assert_chance);
    // F: the same attacks under other names.
    let f = head_metrics(&leaking, Setting::HeadOnMembers).unwrap();
    assert_eq!(ids(&f), ["baseline-f-d-confidence", "baseline-f-d-entropy", "baseline-f-d-modified-entropy"]);
    assert!(f[0].title.ends_with("fitted on the members") && f[0].outcome == d[0].outcome);
    let fa = confidence_network(gpu(), &leaking, Setting::HeadOnMembers, &settings(), 1).unwrap();
    assert!(fa.id == "baseline-f-a" && fa.outcome == a.outcome);
    // A head of two classes has no third posterior.
    let two = four(|_, seed| Posteriors::from_logits(2, &[0.0, seed as f32, 1.0, 0.0], vec![0, 1]).unwrap());
    let small = confidence_network(gpu(), &two, Setting::DisjointHead, &settings(), 1).unwrap();
    assert!(small.explanation.contains("2 largest"));
}

#[test]
fn right_answers_over_views() {
    let bits = |gap| heads(7, gap).try_map(|set| correctness_bits(set, 7)).unwrap();
    let leaking = label_only(gpu(), &bits(1.0), &settings(), 1).unwrap();
    assert_eq!(ids(&leaking), ["baseline-c-network", "baseline-c-count"]);
    leaking.iter().for_each(|b| assert_found(b, 0.6));
    label_only(gpu(), &bits(0.0), &settings(), 1).unwrap().iter().for_each(assert_chance);

    let rows = vec![0.75, 0.25, 0.25, 0.75, 0.75, 0.25, 0.75, 0.25];
    let posteriors = Posteriors::new(2, rows, vec![0, 0, 1, 0]).unwrap();
    assert_eq!(correctness_bits(&posteriors, 2).unwrap().values(), [1.0, 0.0, 0.0, 1.0]);
    assert!(correctness_bits(&posteriors, 3).is_err() && correctness_bits(&posteriors, 0).is_err());
    // The count by hand: shadow members 2 and 3 of 3, non-members 0 and 1: the threshold lies at 1.5.
    let count = |rows: &[f32]| Rows::new(3, rows.to_vec()).unwrap();
    let small = Four {
        target_members: count(&[1.0, 1.0, 0.0]),
        target_non_members: count(&[0.0, 1.0, 0.0]),
        shadow_members: count(&[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]),
        shadow_non_members: count(&[0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
    };
    let counted = &label_only(gpu(), &small, &settings(), 1).unwrap()[1].outcome;
    assert_eq!((counted.threshold, counted.training_accuracy), (Some(1.5), Some(1.0)));
    assert_eq!(counted.result.scores(), [2.0, 1.0]);
    assert_eq!(counted.result.decisions(), [true, false]);
}

#[test]
fn attacks_on_feature_vectors() {
    let images = |shift| {
        four(|member, seed| {
            let mut draw = Draw(60 + seed);
            let shift = if member { shift } else { 0.0 };
            Rows::new(8, (0..300 * 8).map(|_| (noise(&mut draw) + shift) as f32).collect()).unwrap()
        })
    };
    let b = encoder_as_classifier(gpu(), &images(1.0), &settings(), 1).unwrap();
    assert_eq!(ids(&b), ["baseline-b-unsorted", "baseline-b-sorted"]);
    b.iter().for_each(|b| assert_found(b, 0.7));
    assert_ne!(b[0].outcome, b[1].outcome, "sorting changes nothing");
    encoder_as_classifier(gpu(), &images(0.0), &settings(), 1).unwrap().iter().for_each(assert_chance);

    let e = multi_view(gpu(), &embeddings(1.5, 0.6), &settings(), 1).unwrap();
    assert_eq!(ids(&e), ["baseline-e-concat", "baseline-e-mean", "baseline-e-cosine"]);
    e.iter().for_each(|b| assert_found(b, 0.6));
    multi_view(gpu(), &embeddings(0.0, 0.0), &settings(), 1).unwrap().iter().for_each(assert_chance);
}

#[test]
fn cosines_match_their_formula_and_shapes_are_checked() {
    let features = |image: &[f32], views: &[f32]| ViewFeatures::new(2, 2, image.to_vec(), views.to_vec());
    // Means (2, 2), (0, 0), (−1, 0).
    let shadow = features(
        &[1.0, 0.0, 3.0, 4.0, 1.0, 0.0],
        &[4.0, 0.0, 0.0, 4.0, 1.0, 1.0, -1.0, -1.0, -2.0, 3.0, 0.0, -3.0],
    );
    let sets = four(|_, _| shadow.as_ref().unwrap().clone());
    let cosine = &multi_view(gpu(), &sets, &settings(), 1).unwrap()[2];
    assert_close("cosine", &cosine.outcome.result.scores()[..3], &[0.5f64.sqrt(), 0.0, -1.0], 1e-15);
    assert!(features(&[1.0, 0.0], &[1.0; 8]).is_err(), "one image, views of two");
    assert!(features(&[1.0, f32::NAN], &[1.0; 4]).is_err());
    assert!(ViewFeatures::new(2, 0, vec![1.0; 2], vec![]).is_err());
    // Joined rows of one width, features of two.
    let other = ViewFeatures::new(1, 4, vec![1.0; 3], vec![1.0; 12]).unwrap();
    let text =
        multi_view(gpu(), &Four { target_members: other, ..sets }, &settings(), 1).err().unwrap().to_string();
    assert!(text.contains("target members") && text.contains("found 1"), "{text}");
}

/// MMD² from the definition.
fn discrepancy(a: &[&[f32]], b: &[&[f32]], sigma: f64) -> f64 {
    let mean = |a: &[&[f32]], b: &[&[f32]]| {
        let one = |x: &[f32], y: &[f32]| {
            let d2: f64 = x.iter().zip(y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
            (-d2 / (2.0 * sigma * sigma)).exp()
        };
        a.iter().map(|x| b.iter().map(|y| one(x, y)).sum::<f64>()).sum::<f64>() / (a.len() * b.len()) as f64
    };
    mean(a, a) + mean(b, b) - 2.0 * mean(a, b)
}

#[test]
fn moves_match_a_naive_comparison() {
    let mut draw = Draw(5);
    let mut moves = 0;
    for case in 0..40 {
        let (t, n, width) = (1 + case % 13, 1 + case % 7, 1 + case % 3);
        let mut rows = |count: usize| {
            Rows::new(width, (0..count * width).map(|_| draw.unit() as f32).collect()).unwrap()
        };
        let (suspects, generated) = (rows(t), rows(n));
        let order: Vec<usize> = (0..t).map(|i| (i * 5 + case) % t).collect();
        // 5 and t have no common factor here but for t = 5 and 10.
        let order = if t % 5 == 0 { (0..t).rev().collect() } else { order };
        let sigma = 0.25 + case as f64 / 20.0;
        let found = separate(&suspects, &generated, sigma, &order).unwrap();

        let all: Vec<&[f32]> = suspects.iter().collect();
        let mut stayed = vec![true; t];
        let groups = |stayed: &[bool]| {
            let of = |wanted: bool| (0..t).filter(move |&i| stayed[i] == wanted).map(|i| all[i]);
            (of(true).collect::<Vec<_>>(), generated.iter().chain(of(false)).collect::<Vec<_>>())
        };
        let value = |stayed: &[bool]| {
            let (a, b) = groups(stayed);
            discrepancy(&a, &b, sigma)
        };
        let mut course = vec![value(&stayed)];
        loop {
            let before = course.len();
            for &i in &order {
                if !stayed[i] || stayed.iter().filter(|&&s| s).count() == 1 {
                    continue;
                }
                stayed[i] = false;
                let after = value(&stayed);
                if after > course[course.len() - 1] + 1e-12 {
                    course.push(after);
                } else {
                    stayed[i] = true;
                }
            }
            if course.len() == before {
                break;
            }
        }
        moves += course.len() - 1;
        assert_eq!(found.stayed, stayed, "case {case}");
        assert_close(&format!("case {case}"), &found.course, &course, 1e-12);
        let (a, b) = groups(&stayed);
        let witness: Vec<f64> = suspects
            .iter()
            .map(|x| {
                let near = |set: &[&[f32]]| {
                    1.0 - discrepancy(&[x], set, sigma) / 2.0 + within(set, sigma) / 2.0 - 0.5
                };
                near(&a) - near(&b)
            })
            .collect();
        assert_close(&format!("case {case}, witness"), &found.witness, &witness, 1e-12);
    }
    assert!(moves > 40, "hardly anything moved: {moves}");
    let rows = |values: &[f32]| Rows::new(1, values.to_vec()).unwrap();
    let (a, b) = (rows(&[0.0, 1.0]), rows(&[2.0]));
    for (sigma, order) in
        [(0.0, vec![0, 1]), (f64::NAN, vec![0, 1]), (1.0, vec![0]), (1.0, vec![0, 0]), (1.0, vec![0, 2])]
    {
        assert!(separate(&a, &b, sigma, &order).is_err(), "{sigma} {order:?}");
    }
    assert!(separate(&a, &Rows::new(2, vec![1.0; 2]).unwrap(), 1.0, &[0, 1]).is_err());
    assert!(separate(&a, &Rows::new(1, vec![]).unwrap(), 1.0, &[0, 1]).is_err());
    // Distances 1, 1 and 2; none at all.
    assert_eq!(median_bandwidth([&a, &b]), 1.0);
    assert_eq!(median_bandwidth([&rows(&[3.0, 3.0]), &rows(&[3.0])]), 1.0);
    assert_eq!(median_bandwidth([&rows(&[0.0]), &rows(&[3.0])]), 3.0);
}

/// Mean kernel within a set.
fn within(set: &[&[f32]], sigma: f64) -> f64 {
    // With one point x far from everything, MMD²({x}, set) = 1 + within − 0.
    let far = vec![1e4f32; set[0].len()];
    discrepancy(&[&far], set, sigma) - 1.0
}

#[test]
fn differential_comparison_needs_no_shadow() {
    let generated = answers(100, 1, 0.0, 9);
    let found = |gap: f64| {
        let sets = heads(1, gap);
        differential_comparison(
            &sets.target_members,
            &sets.target_non_members,
            &generated,
            &BaselineSettings::default(),
            1,
        )
        .unwrap()
    };
    let leaking = found(4.0);
    assert_eq!((leaking.id.as_str(), leaking.outcome.training_accuracy), ("baseline-g", None));
    assert_found(&leaking, 0.7);
    assert!(metrics(&leaking).accuracy.value > 0.7, "{:?}", metrics(&leaking).accuracy);
    assert_eq!(leaking, found(4.0));
    assert_chance(&found(0.0));
    let two = Posteriors::new(2, vec![0.5, 0.5], vec![0]).unwrap();
    let sets = heads(1, 0.0);
    let refused = differential_comparison(
        &sets.target_members,
        &sets.target_non_members,
        &two,
        &BaselineSettings::default(),
        1,
    );
    assert!(refused.err().unwrap().to_string().contains("[4, 4, 2] classes"));
}

#[test]
fn edges_are_sobel_magnitudes() {
    let mut set = faces(2, 3);
    let (width, height) = (set.width, set.height);
    // A step from 0 to 200 between columns 3 and 4 of the red channel of image 0, nothing else.
    let size = width * height * 3;
    for (at, value) in set.pixels[..size].iter_mut().enumerate() {
        *value = if at % 3 == 0 && (at / 3) % width >= 4 { 200 } else { 0 };
    }
    let edges = edge_filtered(&set);
    for (at, &value) in edges.image(0).iter().enumerate() {
        let beside = at % 3 == 0 && [3, 4].contains(&(at / 3 % width));
        assert_eq!(value, if beside { 200 } else { 0 }, "{at}");
    }
    let plain = edges.clone().checked().unwrap();
    assert_eq!((plain.len(), plain.target.is_none()), (2, true));
    assert_ne!(edges.image(1), set.image(1));
    assert!(edges.image(1).iter().any(|&v| v > 0));
}
