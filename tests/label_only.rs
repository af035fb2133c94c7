//! What becomes of distances and of labels under augmentation: thresholds, choices, views, networks.

mod common;
use common::gpu::{Draw, gpu};
use contraleak::attack::membership::label_only::augmentation::{
    AugmentationSettings, Decision, Rows, View, augmentation_attack, correctness, rotations, translations,
};
use contraleak::attack::membership::label_only::{
    DistanceSettings, GraphModel, Scored, best_threshold, distance_attack,
};
use contraleak::kernels::Shape;
use contraleak::metrics::MembershipMetrics;

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("sample-{i}")).collect()
}

#[test]
fn the_threshold_is_the_first_of_the_best_of_99() {
    // Non-members at 1 and 2, members at 9 and 10: every τ in [2, 9) is right, the first grid value is 20·10/100.
    let tau = best_threshold(&[1.0, 9.0, 2.0, 10.0], &[false, true, false, true]);
    assert_eq!(tau, 2.0, "member iff score > τ, so 2 itself is right already");
    // Nothing above zero.
    assert_eq!(best_threshold(&[0.0, 0.0], &[true, false]), 1e-4);
    assert_eq!(best_threshold(&[], &[]), 1e-4);
    // Reversed scores: the best is to call few members, never more than the grid allows.
    let tau = best_threshold(&[10.0, 1.0], &[false, true]);
    assert_eq!(tau, 0.1, "below the member's score, the first of the grid");
    // By brute force on random scores.
    let mut draw = Draw(3);
    let scores: Vec<f64> = (0..200).map(|_| draw.unit() + 1.0).collect();
    let members: Vec<bool> = scores.iter().map(|s| s + draw.unit() > 1.0).collect();
    let most = scores.iter().copied().fold(0.0, f64::max);
    let right = |tau: f64| scores.iter().zip(&members).filter(|(s, m)| (**s > tau) == **m).count();
    let best = (1..100).map(|i| right(f64::from(i) * most / 100.0)).max().unwrap();
    assert_eq!(right(best_threshold(&scores, &members)), best);
}

#[test]
fn distances_become_a_membership_result_in_both_modes() {
    let shadow = Scored { scores: &[0.1, 0.2, 0.8, 1.0], members: &[false, false, true, true] };
    // One member below τ, one non-member above.
    let scores = [0.9, 0.15, 0.5, 0.05, 0.3, 0.0];
    let members = [true, true, true, false, false, false];
    let target = Scored { scores: &scores, members: &members };
    let (result, tau) = distance_attack(shadow, target, ids(6), &DistanceSettings::default()).unwrap();
    assert!((0.2..0.8).contains(&tau), "{tau}");
    assert_eq!(result.scores(), scores);
    assert_eq!(result.decisions(), [true, false, true, false, true, false]);
    let (hard, _) = distance_attack(shadow, target, ids(6), &DistanceSettings::compat()).unwrap();
    assert_eq!(hard.decisions(), result.decisions());
    assert_eq!(hard.scores(), [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    let auc = |result| contraleak::metrics::auc(&contraleak::metrics::Ranking::new(result));
    // 8 of 9 pairs in order, one is not: .15 < .3; of decisions the balanced accuracy.
    assert!((auc(&result) - 8.0 / 9.0).abs() < 1e-12);
    assert!((auc(&hard) - 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn samples_are_chosen_by_the_seed() {
    let settings = DistanceSettings { samples: Some(50), ..DistanceSettings::default() };
    let chosen = settings.choose(0, 300);
    assert_eq!(chosen, settings.choose(0, 300));
    assert_eq!(chosen.len(), 50);
    assert!(chosen.is_sorted_by(|a, b| a < b) && chosen.iter().all(|&i| i < 300));
    assert_ne!(chosen, settings.choose(1, 300), "another set");
    assert_ne!(chosen, DistanceSettings { seed: 1, ..settings }.choose(0, 300));
    assert_eq!(settings.choose(0, 7), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(DistanceSettings { samples: None, ..settings }.choose(0, 600).len(), 600);
    assert_eq!(DistanceSettings::default().samples, Some(500));
}

const IMAGE: Shape = Shape::new(1, 2, 5, 5);

#[test]
fn shifts_and_rotations_move_content_and_continue_the_border() {
    let image: Vec<f32> = (0..50u8).map(f32::from).collect();
    let at = |view: View, c: usize, y: usize, x: usize| view.of(&image, IMAGE)[(c * 5 + y) * 5 + x];
    let value = |c: usize, y: usize, x: usize| ((c * 5 + y) * 5 + x) as f32;
    assert_eq!(View::Shift { down: 0, right: 0 }.of(&image, IMAGE), image);
    let shift = View::Shift { down: 1, right: -2 };
    assert_eq!(at(shift, 1, 3, 1), value(1, 2, 3));
    assert_eq!(at(shift, 0, 0, 4), value(0, 0, 4), "the border goes on");
    for (d, count) in [(0, 1), (1, 5), (2, 9), (3, 13)] {
        let views = translations(d);
        assert_eq!(views.len(), count, "4d + 1 shifts for d = {d}");
        assert!(views.iter().all(|view| match view {
            View::Shift { down: 0, right: 0 } => true,
            View::Shift { down, right } => down.unsigned_abs() + right.unsigned_abs() == d,
            View::Rotation { .. } => false,
        }));
        assert!((1..count).all(|i| !views[..i].contains(&views[i])), "no shift twice");
    }
    let [none, minus, plus] = rotations(90.0)[..] else { panic!("three rotations") };
    assert_eq!(none.of(&image, IMAGE), image);
    for c in 0..2 {
        for y in 0..5 {
            for x in 0..5 {
                // Counter-clockwise: the right side comes to the top.
                assert!((at(plus, c, y, x) - value(c, x, 4 - y)).abs() < 1e-4);
                assert!((at(minus, c, y, x) - value(c, 4 - x, y)).abs() < 1e-4);
            }
        }
    }
    // Half a turn in steps of bilinear interpolation stays within the image's values.
    let turned = View::Rotation { degrees: 33.0 }.of(&image, IMAGE);
    assert!(turned.iter().all(|v| (-1e-4..=49.0001).contains(v)));
}

#[test]
fn correctness_asks_each_view_of_each_image() {
    // Class 1 where the pixel at the centre is brighter than a half.
    let mut weight = vec![0.0; 2 * 50];
    weight[50 + 12] = 1.0;
    for rows in [4, 64] {
        let model = GraphModel::linear(gpu(), IMAGE, &[rows], &weight, &[0.0, -0.5]).unwrap();
        let mut images = vec![0.0; 3 * 50];
        // The second has a bright row through the centre, the third a bright dot.
        images[50 + 10..50 + 15].fill(1.0);
        images[100 + 12] = 1.0;
        let bits = correctness(gpu(), &model, &images, &[0, 1, 1], &translations(1)).unwrap();
        let shifts = translations(1);
        let expected: Vec<bool> = (0..3)
            .flat_map(|image| {
                shifts.iter().map(move |view| match (image, view) {
                    (0, _) => true,
                    (1, View::Shift { down, .. }) => *down == 0,
                    (2, View::Shift { down, right }) => (*down, *right) == (0, 0),
                    _ => panic!("only shifts"),
                })
            })
            .collect();
        assert_eq!(bits, expected, "{rows} rows");
        let message = correctness(gpu(), &model, &images, &[0, 1], &shifts).unwrap_err().to_string();
        assert!(message.contains("2 images"), "{message}");
    }
}

/// Bits that are right with probability `member` or `other`.
fn rows(seed: u64, count: usize, views: usize, member: f64, other: f64) -> (Vec<bool>, Vec<bool>) {
    let mut draw = Draw(seed);
    let members: Vec<bool> = (0..count).map(|i| i % 2 == 0).collect();
    let bits = members
        .iter()
        .flat_map(|&m| {
            let p = if m { member } else { other };
            (0..views).map(|_| (draw.unit() + 1.0) / 2.0 < p).collect::<Vec<_>>()
        })
        .collect();
    (bits, members)
}

#[test]
fn the_augmentation_attack_learns_what_bits_tell_and_nothing_else() {
    let count = AugmentationSettings { decision: Decision::Count, ..AugmentationSettings::default() };
    let network = AugmentationSettings {
        decision: Decision::Mlp { hidden: vec![10, 10], epochs: 60 },
        ..AugmentationSettings::default()
    };
    for (settings, seed) in [(&count, 1), (&network, 2)] {
        let accuracy = |member: f64, other: f64| {
            let (shadow_bits, shadow_members) = rows(seed, 600, 5, member, other);
            let (bits, members) = rows(seed + 50, 600, 5, member, other);
            let shadow = Rows { bits: &shadow_bits, members: &shadow_members };
            let target = Rows { bits: &bits, members: &members };
            let result = augmentation_attack(gpu(), shadow, target, ids(600), settings).unwrap();
            let right = result.decisions().iter().zip(&members).filter(|(d, m)| d == m).count();
            // Every membership attack ends in these metrics.
            assert!(MembershipMetrics::compute_with(&result, 20, 0).auc.value > 0.4);
            right as f64 / 600.0
        };
        // The best rule (at least 4 of 5) is right for .919 of members at .9 and .812 of the others at .5.
        let told = accuracy(0.9, 0.5);
        assert!((0.80..0.92).contains(&told), "{told}");
        // Five standard errors around chance.
        let silent = accuracy(0.7, 0.7);
        assert!((silent - 0.5).abs() < 5.0 * 0.5 / 600f64.sqrt(), "{silent}");
    }
    let (bits, members) = rows(9, 10, 5, 0.9, 0.1);
    let fine = Rows { bits: &bits, members: &members };
    let hard = AugmentationSettings { hard_decisions: true, ..count.clone() };
    let result = augmentation_attack(gpu(), fine, fine, ids(10), &hard).unwrap();
    assert!(result.scores().iter().zip(result.decisions()).all(|(s, d)| *s == f64::from(u8::from(*d))));
    let short = Rows { bits: &bits[..20], members: &members };
    let message = augmentation_attack(gpu(), fine, short, ids(10), &count).unwrap_err().to_string();
    assert!(message.contains("5 views") && message.contains("2 of the target"), "{message}");
    let odd = Rows { bits: &bits[..7], members: &members };
    let message = augmentation_attack(gpu(), odd, fine, ids(10), &count).unwrap_err().to_string();
    assert!(message.contains("7 bits"), "{message}");
}
