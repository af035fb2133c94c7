//! Metrics of attribute inference against counts by hand and simulations.

mod common;
use common::gpu::Draw;
use contraleak::Error;
use contraleak::metrics::attribute::{AttributeMetrics, AttributeResult, Confusion, accuracy_difference};
use contraleak::metrics::{REPLICATES, clopper_pearson};

fn close(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() < 1e-12, "{what}: {got} instead of {want}");
}

/// Scores that put 1 on the prediction and 0 elsewhere.
fn hard(labels: &[u32], predictions: &[u32], classes: usize) -> AttributeResult {
    let mut scores = vec![0.0; labels.len() * classes];
    predictions.iter().enumerate().for_each(|(i, &p)| scores[i * classes + p as usize] = 1.0);
    AttributeResult::new(labels, predictions, &scores, classes).unwrap()
}

#[test]
fn counts_by_hand() {
    // True 0: 3 right, 1 as 1. True 1: 2 right, 2 as 0. True 2: never predicted. Class 3 does not occur.
    let labels = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2];
    let predictions = [0, 0, 0, 1, 1, 1, 0, 0, 0, 1];
    let result = hard(&labels, &predictions, 4);
    let m = AttributeMetrics::compute(&result, 200, 1);
    assert_eq!(m.confusion.counts, [[3, 1, 0, 0], [2, 2, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]);
    assert_eq!((m.classes, m.samples, m.one_class), (4, 10, false));
    close(m.chance, 0.25, "chance");
    close(m.majority_share, 0.4, "majority");
    close(m.accuracy.value, 0.5, "accuracy");
    assert_eq!(m.accuracy.interval, clopper_pearson(5, 10, 0.95));
    close(m.balanced_accuracy.value, (0.75 + 0.5 + 0.0) / 3.0, "balanced accuracy");
    let f1 = [2.0 * 3.0 / 10.0, 2.0 * 2.0 / 8.0, 0.0];
    close(m.macro_f1.value, f1.iter().sum::<f64>() / 3.0, "macro-F1");
    let class = |c: usize| &m.by_class[c];
    close(class(0).precision.unwrap().value, 0.5, "precision");
    close(class(0).recall.unwrap().value, 0.75, "recall");
    assert!(class(2).precision.is_none() && class(2).recall.unwrap().value == 0.0);
    assert!(class(3).recall.is_none() && class(3).f1.is_none() && class(3).auc.is_none());
    // 4 positives, 6 negatives, hard scores: (TPR + TNR)/2.
    close(class(0).auc.unwrap(), 0.5 * (0.75 + 0.5), "AUC of class 0");
    close(class(2).auc.unwrap(), 0.5, "AUC of a class with constant scores");
    let mean = (0..3).map(|c| class(c).auc.unwrap()).sum::<f64>() / 3.0;
    close(m.auc.unwrap().value, mean, "macro AUC");
    let json = serde_json::to_string(&m).unwrap();
    assert!(json.contains("\"precision\":null"), "{json}");
    assert_eq!(serde_json::from_str::<AttributeMetrics>(&json).unwrap(), m);
}

#[test]
fn areas_agree_with_counting_pairs() {
    let mut draw = Draw(5);
    let (n, classes) = (67, 3);
    let labels: Vec<u32> = (0..n).map(|_| draw.range(0, 2) as u32).collect();
    // Few distinct values: ties.
    let scores: Vec<f64> = (0..n * classes).map(|_| draw.range(0, 6) as f64).collect();
    let result = AttributeResult::from_scores(&labels, &scores, classes).unwrap();
    let metrics = AttributeMetrics::compute(&result, 10, 0);
    for class in 0..classes {
        let of = |wanted: bool| -> Vec<f64> {
            (0..n)
                .filter(|&i| (labels[i] as usize == class) == wanted)
                .map(|i| scores[i * classes + class])
                .collect()
        };
        let (positive, negative) = (of(true), of(false));
        let pairs = positive.iter().flat_map(|p| negative.iter().map(move |q| (p, q)));
        let twice: f64 = pairs
            .map(|(p, q)| {
                if p > q {
                    2.0
                } else if p == q {
                    1.0
                } else {
                    0.0
                }
            })
            .sum();
        let area = twice / (2.0 * positive.len() as f64 * negative.len() as f64);
        close(metrics.by_class[class].auc.unwrap(), area, "AUC");
    }
    for (i, row) in scores.chunks(classes).enumerate() {
        let best = row.iter().copied().fold(f64::MIN, f64::max);
        assert_eq!(
            row.iter().position(|s| *s == best),
            Some(result.predictions()[i] as usize),
            "first maximum"
        );
    }
}

#[test]
fn the_most_confident_answers() {
    // Confidence falls with the index, but answers 5 to 19 tie behind the first; the first twelve are right.
    let n = 200;
    let labels = vec![0u32; n];
    let mut scores = Vec::new();
    for i in 0..n {
        let confidence = if (5..20).contains(&i) { 0.999 } else { 1.0 - i as f64 * 0.002 };
        let wrong = 1.0 - confidence;
        scores.extend(if i < 12 { [confidence, wrong, 0.0] } else { [wrong, confidence, 0.0] });
    }
    let m = AttributeMetrics::compute(&AttributeResult::from_scores(&labels, &scores, 3).unwrap(), 10, 0);
    let of = |k: usize| (m.confident[k].value.successes, m.confident[k].value.trials);
    assert_eq!(m.confident.iter().map(|c| c.share).collect::<Vec<_>>(), [0.01, 0.05, 0.1]);
    // 2 and 10 answers end among the tied ones, which all count: 0 and 5..20. 20 answers are 0..20.
    assert_eq!([of(0), of(1), of(2)], [(8, 16), (8, 16), (12, 20)]);
}

#[test]
fn one_class_is_noticed() {
    let labels: Vec<u32> = (0..1000).map(|i| u32::from(i % 2 == 0)).collect();
    let with = |others: usize| {
        let predictions: Vec<u32> = (0..1000).map(|i| u32::from(i < others)).collect();
        AttributeMetrics::compute(&hard(&labels, &predictions, 2), 10, 0)
    };
    assert!(with(0).one_class && with(9).one_class);
    assert!(!with(10).one_class && !with(500).one_class);
    close(with(0).largest_prediction_share, 1.0, "share");
    assert!(with(0).by_class[1].precision.is_none());
}

#[test]
fn intervals_cover() {
    // Three classes with recalls .9, .6, .3 and 60, 90, 50 samples: truth .6.
    let (sizes, recalls, runs) = ([60, 90, 50], [0.9, 0.6, 0.3], 300);
    let (mut balanced, mut area, mut advantage) = (0, 0, 0);
    let mut draw = Draw(77);
    let mut chance = move || (draw.unit() + 1.0) / 2.0;
    for run in 0..runs {
        let (mut labels, mut predictions, mut other, mut scores) = (vec![], vec![], vec![], vec![]);
        for class in 0..3u32 {
            for _ in 0..sizes[class as usize] {
                labels.push(class);
                let hit = chance() < recalls[class as usize];
                predictions.push(if hit { class } else { (class + 1) % 3 });
                // Right with probability ½ whatever the class: the true difference is (54 + 54 + 15)/200 − ½ = .115.
                other.push(if chance() < 0.5 { class } else { (class + 1) % 3 });
                // Of two uniform numbers on [0, 1] and [0, 2], the second is larger with probability ¾.
                scores.extend((0..3u32).map(|c| chance() * if c == class { 2.0 } else { 1.0 }));
            }
        }
        let result = hard(&labels, &predictions, 3);
        let metrics = AttributeMetrics::compute(&result, 300, run);
        balanced += u32::from(metrics.balanced_accuracy.interval.contains(0.6));
        let ranked = AttributeResult::from_scores(&labels, &scores, 3).unwrap();
        let ranked = AttributeMetrics::compute(&ranked, 2, run);
        area += u32::from(ranked.auc.unwrap().interval.unwrap().contains(0.75));
        let difference = accuracy_difference(&result, &hard(&labels, &other, 3), 300, run).unwrap();
        advantage += u32::from(difference.interval.contains(0.115));
    }
    // 95 % of 300 is 285; four standard deviations below are 270.
    for (what, covered) in [("balanced", balanced), ("area", area), ("advantage", advantage)] {
        assert!((268..=300).contains(&covered), "{what}: {covered} of {runs}");
    }
}

#[test]
fn differences_of_accuracies() {
    let labels: Vec<u32> = (0..100).map(|i| i % 2).collect();
    let right_up_to = |k: usize| -> AttributeResult {
        let answers: Vec<u32> = (0..100).map(|i| if i < k { labels[i] } else { 1 - labels[i] }).collect();
        hard(&labels, &answers, 2)
    };
    let d = accuracy_difference(&right_up_to(80), &right_up_to(60), REPLICATES, 3).unwrap();
    close(d.value, 0.2, "difference");
    // Only 20 samples differ, all in favour: paired, the standard deviation is √(.2·.8/100) = .04.
    assert!(d.interval.lower > 0.1 && d.interval.upper < 0.3, "{d:?}");
    let same = accuracy_difference(&right_up_to(80), &right_up_to(80), 100, 3).unwrap();
    assert_eq!(same.value, 0.0);
    assert!(same.interval.lower < -0.02 && same.interval.upper > 0.02, "{same:?}");
    let all = accuracy_difference(&right_up_to(100), &right_up_to(0), 100, 3).unwrap();
    assert!(all.value == 1.0 && all.interval.lower < 0.97 && all.interval.upper >= 1.0 - 0.05, "{all:?}");
    let others: Vec<u32> = vec![0; 100];
    assert!(matches!(
        accuracy_difference(&right_up_to(1), &hard(&others, &others, 2), 10, 0),
        Err(Error::Shape(_))
    ));
}

#[test]
fn groups() {
    let result = hard(&[0, 1, 0, 1, 1], &[0, 0, 0, 1, 1], 2);
    let groups = result.by_group(&[0, 0, 2, 2, 2]).unwrap();
    assert_eq!(groups.iter().map(|g| g.group).collect::<Vec<_>>(), [0, 2], "group 1 has no samples");
    close(groups[0].accuracy.value, 0.5, "group 0");
    close(groups[1].accuracy.value, 1.0, "group 2");
    close(groups[1].majority_share, 2.0 / 3.0, "group 2");
    assert!(result.by_group(&[0; 4]).is_err());
    assert!(result.subset(&[5]).is_err() && result.subset(&[]).is_err());
    assert_eq!(Confusion::new(&result.subset(&[4, 0]).unwrap()).counts, [[1, 0], [0, 1]]);
}

#[test]
fn results_that_make_no_sense_are_refused() {
    let refused = |labels: &[u32], predictions: &[u32], scores: &[f64], classes| {
        let error = AttributeResult::new(labels, predictions, scores, classes).unwrap_err();
        assert!(matches!(error, Error::Shape(_)), "{error}");
        error.to_string()
    };
    refused(&[], &[], &[], 2);
    refused(&[0], &[0], &[1.0], 1);
    refused(&[0, 1], &[0], &[1.0; 4], 2);
    refused(&[0, 1], &[0, 1], &[1.0; 3], 2);
    assert!(refused(&[0, 2], &[0, 1], &[1.0; 4], 2).contains("sample 1"));
    assert!(refused(&[0, 1], &[3, 1], &[1.0; 4], 2).contains("sample 0"));
    assert!(refused(&[0, 1], &[0, 1], &[1.0, 0.0, f64::NAN, 0.0], 2).contains("sample 1"));
}
