//! Metrics, intervals and privacy parameters against closed forms, exact arithmetic and simulation.

use contraleak::metrics::epsilon::{
    EpsilonSetting, Thresholds, clopper_pearson_epsilon, gaussian_delta, gaussian_dp_epsilon,
    gaussian_epsilon, katz_epsilon, katz_log_lower, one_run, one_run_epsilon,
};
use contraleak::metrics::{
    Control, FPR_GRID, HistogramPair, IntervalMethod, MembershipMetrics, MembershipResult, Ranking, Roc,
    Trials, accountant, auc, clopper_pearson, compare, operating_point, special,
};
use contraleak::rng::{Key, Stream, threefry2x32_20};
use proptest::prelude::*;
use rayon::prelude::*;

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected} ± {tolerance}");
}

fn ids(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("image-{i}")).collect()
}

/// Members first; scores normal with unit variance and means `shift` and 0; the threshold is `shift`/2.
fn gaussians(members: usize, non_members: usize, shift: f64, seed: u64) -> MembershipResult {
    let key = Key::from_seed(seed).stream(Stream::Shuffle, 7);
    let n = members + non_members;
    let normal = |i: usize| {
        let bits = key.draw(i as u32, 0, 0);
        let uniform = ((u64::from(bits[0]) << 21) ^ u64::from(bits[1])) as f64 / (1u64 << 53) as f64;
        special::normal_quantile(uniform.clamp(1e-15, 1.0 - 1e-15))
    };
    let scores = (0..n).map(|i| normal(i) + if i < members { shift } else { 0.0 }).collect();
    let truth = (0..n).map(|i| i < members).collect();
    MembershipResult::with_threshold(scores, truth, 0.5 * shift, ids(n)).unwrap()
}

fn small(scores: &[f64], members: &[u8], threshold: f64) -> MembershipResult {
    let truth = members.iter().map(|&m| m == 1).collect();
    MembershipResult::with_threshold(scores.to_vec(), truth, threshold, ids(scores.len())).unwrap()
}

#[test]
fn threefry_published_vectors() {
    // Random123's known-answer tests.
    assert_eq!(threefry2x32_20([0, 0], [0, 0]), [0x6b200159, 0x99ba4efe]);
    assert_eq!(threefry2x32_20([u32::MAX; 2], [u32::MAX; 2]), [0x1cb996fc, 0xbb002be7]);
    assert_eq!(threefry2x32_20([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3]), [0xc4923a9c, 0x483df7a0]);
}

#[test]
fn bad_results_are_refused_and_named() {
    let build = |scores: Vec<f64>, members: Vec<bool>, ids: Vec<&str>| {
        let decisions = vec![false; scores.len()];
        MembershipResult::new(scores, members, decisions, ids.into_iter().map(String::from).collect())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(build(vec![1.0, f64::NAN], vec![true, false], vec!["a", "cat.png"]).contains("'cat.png'"));
    assert!(build(vec![1.0, f64::INFINITY], vec![true, false], vec!["a", "dog"]).contains("'dog'"));
    assert!(build(vec![1.0, 2.0], vec![true, true], vec!["a", "b"]).contains("0 non-members"));
    assert!(build(vec![], vec![], vec![]).contains("0 members"));
    assert!(build(vec![1.0, 2.0], vec![true, false], vec!["twin", "twin"]).contains("'twin'"));
    assert!(build(vec![1.0, 2.0], vec![true], vec!["a", "b"]).contains("same length"));
    let json = r#"{"ids":["a","b"],"members":[true,true],"scores":[1,2],"decisions":[true,true]}"#;
    assert!(serde_json::from_str::<MembershipResult>(json).is_err());
}

#[test]
fn binomial_tails_agree_with_summation() {
    for (n, p) in [(5u64, 0.3), (20, 0.5), (40, 0.07), (60, 0.91)] {
        for k in 0..=n + 1 {
            let mut term = (1.0f64 - p).powi(n as i32);
            let mut tail = 0.0;
            for j in 0..=n {
                if j >= k {
                    tail += term;
                }
                term *= (n - j) as f64 / (j + 1) as f64 * p / (1.0 - p);
            }
            close(special::binomial_upper_tail(k, n, p), tail, 1e-12);
        }
    }
}

#[test]
fn beta_quantile_inverts_at_every_scale() {
    for a in [0.5, 1.0, 3.0, 50.0, 4_000.0, 120_000.0] {
        for b in [0.5, 1.0, 7.0, 300.0, 9_000.0, 150_000.0] {
            for p in [1e-9, 1e-4, 0.025, 0.3, 0.5] {
                let x = special::beta_quantile(p, a, b);
                let back = special::beta_regularized(x, a, b);
                assert!((back / p - 1.0).abs() < 1e-7, "a {a} b {b} p {p}: x {x}, back {back}");
            }
        }
    }
}

#[test]
fn clopper_pearson_closed_forms_and_defining_equation() {
    close(clopper_pearson(0, 10, 0.95).upper, 1.0 - 0.025f64.powf(0.1), 1e-12);
    close(clopper_pearson(10, 10, 0.95).lower, 0.025f64.powf(0.1), 1e-12);
    close(clopper_pearson(0, 10, 0.95).lower, 0.0, 0.0);
    close(clopper_pearson(10, 10, 0.95).upper, 1.0, 0.0);
    close(clopper_pearson(1, 2, 0.95).lower, 1.0 - 0.975f64.sqrt(), 1e-12);
    close(clopper_pearson(5, 10, 0.95).lower, 0.187_086_028_4, 1e-9);
    close(clopper_pearson(5, 10, 0.95).upper, 0.812_913_971_6, 1e-9);
    assert_eq!((clopper_pearson(0, 0, 0.95).lower, clopper_pearson(0, 0, 0.95).upper), (0.0, 1.0));
    for (k, n) in [(1u64, 30u64), (15, 30), (29, 30), (3, 50_000), (25_000, 50_000)] {
        let interval = clopper_pearson(k, n, 0.9);
        close(special::binomial_upper_tail(k, n, interval.lower), 0.05, 1e-9);
        close(1.0 - special::binomial_upper_tail(k + 1, n, interval.upper), 0.05, 1e-9);
    }
}

#[test]
fn student_and_normal_quantiles() {
    // ν = 1 is Cauchy, ν = 2 has a closed form, the others are in every table.
    close(special::student_t_critical(0.05, 1.0), (0.475 * std::f64::consts::PI).tan(), 1e-9);
    close(special::student_t_critical(0.05, 2.0), 0.95 * (2.0f64 / (1.0 - 0.95 * 0.95)).sqrt(), 1e-9);
    close(special::student_t_critical(0.05, 4.0), 2.776_445_105_198, 1e-9);
    close(special::student_t_critical(0.01, 4.0), 4.604_094_871_4, 1e-9);
    close(special::student_t_critical(0.05, 10.0), 2.228_138_852_0, 1e-9);
    close(special::normal_quantile(0.975), 1.959_963_984_540_054, 1e-12);
    close(special::normal_cdf(1.959_963_984_540_054), 0.975, 1e-11);
    let trials = Trials::new(&[0.7, 0.72, 0.69, 0.75, 0.71], 0.95).unwrap();
    close(trials.mean, 0.714, 1e-12);
    close(trials.standard_deviation.unwrap(), 0.000_53f64.sqrt(), 1e-12);
    let half = 2.776_445_105_198 * (0.000_53f64 / 5.0).sqrt();
    close(trials.interval.unwrap().lower, 0.714 - half, 1e-9);
    assert_eq!(Trials::new(&[0.7], 0.95).unwrap().interval, None);
    assert!(Trials::new(&[], 0.95).is_none());
}

#[test]
fn confusion_by_hand_and_zero_denominators() {
    // Members .9 .8 .4, non-members .7 .3 .2 .1; threshold .5: TP 2, FN 1, FP 1, TN 3.
    let result = small(&[0.9, 0.8, 0.4, 0.7, 0.3, 0.2, 0.1], &[1, 1, 1, 0, 0, 0, 0], 0.5);
    let m = MembershipMetrics::compute(&result, 1);
    let c = m.confusion;
    assert_eq!((c.true_positives, c.false_positives, c.true_negatives, c.false_negatives), (2, 1, 3, 1));
    close(m.accuracy.value, 5.0 / 7.0, 1e-15);
    close(m.balanced_accuracy, 0.5 * (2.0 / 3.0 + 0.75), 1e-15);
    close(m.precision.unwrap().value, 2.0 / 3.0, 1e-15);
    close(m.f1.value, 2.0 / 3.0, 1e-15);
    close(m.majority_share, 4.0 / 7.0, 1e-15);
    assert!(!m.balanced);
    // Pairs won: .9 and .8 beat all four, .4 beats three.
    close(m.auc.value, 11.0 / 12.0, 1e-15);
    close(
        m.positive_predictive_value[1].value.unwrap(),
        0.1 * (2.0 / 3.0) / (0.1 * (2.0 / 3.0) + 0.9 * 0.25),
        1e-15,
    );
    close(m.smallest_fpr, 0.25, 0.0);

    let never = MembershipMetrics::compute(&small(&[0.9, 0.1], &[1, 0], 2.0), 1);
    assert_eq!(never.precision, None);
    assert_eq!(never.positive_predictive_value[0].value, None);
    assert_eq!(never.f1.value, 0.0);
    let json = serde_json::to_value(&never).unwrap();
    assert!(json["precision"].is_null() && json["recall"]["value"] == 0.0);
}

#[test]
fn tied_scores_move_together() {
    let result = small(&[1.0, 1.0, 1.0, 1.0], &[1, 1, 0, 0], 1.0);
    let m = MembershipMetrics::compute(&result, 3);
    assert_eq!(Roc::new(&result).points.len(), 2);
    assert_eq!((m.auc.value, m.advantage.value, m.equal_error_rate), (0.5, 0.0, 0.5));
    assert_eq!(m.tpr_at(0.1).unwrap().rate.value, 0.0);
    close(m.tpr_at(0.1).unwrap().interpolated, 0.1, 1e-15);
    assert_eq!(m.auc_p_value, 1.0);
    // −0 and +0 are one score.
    assert_eq!(Ranking::new(&small(&[-0.0, 0.0], &[1, 0], 0.0)).thresholds.len(), 1);
}

#[test]
fn rates_at_limits_by_hand() {
    // Descending: M M N M N M N N M N (5 of each).
    let result =
        small(&[10.0, 9.0, 7.0, 5.0, 2.0, 8.0, 6.0, 4.0, 3.0, 1.0], &[1, 1, 1, 1, 1, 0, 0, 0, 0, 0], 5.5);
    let ranking = Ranking::new(&result);
    let tpr = |rate| operating_point(&ranking, rate).true_positives;
    assert_eq!([tpr(0.0), tpr(0.19), tpr(0.2), tpr(0.4), tpr(1.0)], [2, 2, 3, 4, 5]);
    let m = MembershipMetrics::compute(&result, 3);
    assert_eq!(
        m.tpr_at_fpr.iter().map(|r| r.unresolved).collect::<Vec<_>>(),
        [false, true, true, true, true]
    );
    assert_eq!(m.tpr_at(0.0).unwrap().threshold, Some(9.0));
    close(m.advantage.value, 0.4, 1e-15);
    close(m.equal_error_rate, 0.4, 1e-15);
    // Lowest score is a non-member, the next a member: TNR at FNR 0 is 1/5.
    close(m.tnr_at_fnr[0].rate.value, 0.2, 1e-15);
    assert_eq!(m.tnr_at_fnr[0].threshold, Some(1.0));
}

#[test]
fn perfect_separation_does_not_claim_certainty() {
    let result = gaussians(20, 30, 100.0, 4);
    let m = MembershipMetrics::compute(&result, 4);
    assert_eq!((m.auc.value, m.auc.percentile.lower), (1.0, 1.0));
    assert_eq!(m.auc.method, IntervalMethod::ClopperPearson);
    close(m.auc.interval.lower, 0.025f64.powf(1.0 / 20.0), 1e-12);
    assert!(m.advantage.interval.lower < 0.9 && m.advantage.interval.upper == 1.0);
    assert_eq!(m.equal_error_rate, 0.0);
}

#[test]
fn bootstrap_is_reproducible_and_seeded() {
    let result = gaussians(150, 120, 0.8, 11);
    let a = MembershipMetrics::compute(&result, 5);
    assert_eq!(a, MembershipMetrics::compute(&result, 5));
    let serial = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(a, serial.install(|| MembershipMetrics::compute(&result, 5)));
    assert_ne!(a.auc.bca, MembershipMetrics::compute(&result, 6).auc.bca);
    let text = serde_json::to_string(&a).unwrap();
    assert_eq!(a.confusion, serde_json::from_str::<MembershipMetrics>(&text).unwrap().confusion);
}

#[test]
fn two_thousand_replicates_of_twenty_thousand_samples_are_quick() {
    let result = gaussians(10_000, 10_000, 0.3, 1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let start = std::time::Instant::now();
    let metrics = pool.install(|| MembershipMetrics::compute(&result, 1));
    let seconds = start.elapsed().as_secs_f64();
    println!("2,000 replicates of 2 x 10,000 samples on one core: {seconds:.2} s");
    close(metrics.auc.value, special::normal_cdf(0.3 / 2f64.sqrt()), 0.015);
    assert!(metrics.auc.interval.upper - metrics.auc.interval.lower < 0.02);
    assert!(seconds < 60.0, "{seconds} s");
}

/// Acceptance check 2 of the specification.
#[test]
fn gaussian_scores_are_covered() {
    let auc_truth = special::normal_cdf(0.5f64.sqrt());
    let tpr_truth = 1.0 - special::normal_cdf(special::normal_quantile(0.99) - 1.0);
    close(auc_truth, 0.7602, 5e-5);
    close(tpr_truth, 0.0924, 1e-4);
    let runs = 300;
    let hits: Vec<[bool; 4]> = (0..runs)
        .into_par_iter()
        .map(|seed| {
            let m = MembershipMetrics::compute_with(&gaussians(1_000, 1_000, 1.0, 1_000 + seed), 500, seed);
            let tpr = m.tpr_at(1e-2).unwrap().rate;
            [
                m.auc.interval.contains(auc_truth),
                m.auc.percentile.contains(auc_truth),
                tpr.interval.contains(tpr_truth),
                tpr.percentile.contains(tpr_truth),
            ]
        })
        .collect();
    let share = |k: usize| hits.iter().filter(|h| h[k]).count() as f64 / runs as f64;
    println!(
        "coverage: AUC BCa {} percentile {}; TPR BCa {} percentile {}",
        share(0),
        share(1),
        share(2),
        share(3)
    );
    for k in 0..4 {
        assert!(share(k) >= 0.93, "statistic {k}: {}", share(k));
    }
}

/// Acceptance check 3 for the bounds that are far from their nominal 5 %: measured over 4,000 runs they are zero in
/// at least 99.9 %, so 100 runs are enough.
#[test]
fn equal_distributions_give_epsilon_zero() {
    let setting = EpsilonSetting::default();
    let runs = 100;
    let zero: Vec<[bool; 4]> = (0..runs)
        .into_par_iter()
        .map(|seed| {
            let result = gaussians(500, 500, 0.0, 50_000 + seed);
            let split = Thresholds::MedianOfSplits { splits: 40, seed };
            [
                clopper_pearson_epsilon(&result, &setting, Thresholds::All).unwrap().epsilon == 0.0,
                clopper_pearson_epsilon(&result, &setting, Thresholds::Split { seed }).unwrap().epsilon
                    == 0.0,
                clopper_pearson_epsilon(&result, &setting, split).unwrap().epsilon == 0.0,
                gaussian_dp_epsilon(&result, &setting, Thresholds::All).unwrap().epsilon == 0.0,
            ]
        })
        .collect();
    for k in 0..4 {
        let share = zero.iter().filter(|z| z[k]).count() as f64 / runs as f64;
        assert!(share >= 0.95, "estimator {k}: zero in {share}");
    }
}

/// Acceptance check 3 for the one-run bound, which uses up most of its 5 %. Its share of zeros is about 96 %, too
/// close to the limit for a few hundred runs to tell: at 100 runs, blocks of seeds scatter from 91 % upwards.
#[test]
fn equal_distributions_give_one_run_epsilon_zero() {
    let runs = 4_000u64;
    let zero = (0..runs).into_par_iter().filter(|&seed| {
        let result = gaussians(500, 500, 0.0, 50_000 + seed);
        let bound = one_run_epsilon(&result, &EpsilonSetting::default(), &[0.05, 0.1, 0.25], seed);
        bound.unwrap().epsilon == 0.0
    });
    let share = zero.count() as f64 / runs as f64;
    println!("one run: zero in {share}");
    assert!(share >= 0.95, "{share}");
}

#[test]
fn epsilon_bounds_find_a_leak_and_stay_below_the_truth() {
    // Randomised response with probability e^2/(1 + e^2) of the truth is exactly 2-DP.
    let key = Key::from_seed(9).stream(Stream::Shuffle, 1);
    let n = 4_000;
    let truth: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
    let keep = 1.0 / (1.0 + (-2.0f64).exp());
    let scores = (0..n)
        .map(|i| {
            let honest = f64::from(key.draw(i as u32, 0, 0)[0]) / 4_294_967_296.0 < keep;
            f64::from(u8::from(truth[i] == honest))
        })
        .collect();
    let result = MembershipResult::with_threshold(scores, truth, 0.5, ids(n)).unwrap();
    let setting = EpsilonSetting { independent_inclusion: true, ..EpsilonSetting::default() };
    let bounds = [
        clopper_pearson_epsilon(&result, &setting, Thresholds::Own).unwrap(),
        clopper_pearson_epsilon(&result, &setting, Thresholds::All).unwrap(),
        clopper_pearson_epsilon(&result, &setting, Thresholds::MedianOfSplits { splits: 100, seed: 1 })
            .unwrap(),
        katz_epsilon(&result, &setting).unwrap(),
        one_run_epsilon(&result, &setting, &[0.5], 1).unwrap(),
    ];
    for bound in &bounds {
        println!("{}: {:.3}", bound.estimator, bound.epsilon);
        assert!(bound.epsilon > 1.6 && bound.epsilon < 2.0, "{bound:?}");
        assert_eq!((bound.kind.as_str(), bound.unit.as_str()), ("bound", "example"));
    }
    assert!(bounds[3].asymptotic && !bounds[0].asymptotic);
    let ordinary = clopper_pearson_epsilon(&result, &EpsilonSetting::default(), Thresholds::Own).unwrap();
    assert_eq!(ordinary.kind, "estimate");
    assert!(gaussian_dp_epsilon(&result, &setting, Thresholds::Own).unwrap().epsilon > 0.5);
    let wrong = EpsilonSetting { alpha: 0.0, ..setting };
    assert!(clopper_pearson_epsilon(&result, &wrong, Thresholds::Own).is_err());
}

/// Acceptance check 4.
#[test]
fn one_run_by_hand() {
    let q = 0.05f64.powf(0.01);
    close(q, 0.97049, 1e-5);
    close(one_run(100, 100, 100, 0.05, 0.0).unwrap(), (q / (1.0 - q)).ln(), 1e-6);
    close(one_run(100, 100, 100, 0.05, 0.0).unwrap(), 3.49297, 1e-5);
    assert_eq!(one_run(50, 100, 100, 0.05, 0.0).unwrap(), 0.0);
    let with_delta = one_run(100, 100, 1_000, 0.05, 1e-5).unwrap();
    assert!(with_delta < 3.49297 && with_delta > 3.0, "{with_delta}");
    assert!(one_run(3, 2, 10, 0.05, 0.0).is_err());
}

#[test]
fn katz_and_gaussian_dp_by_hand() {
    // TPR .5, FPR .1: ln 5 − z √(.5/50 + .9/10).
    close(katz_log_lower(50, 100, 10, 100, 1.0), 5f64.ln() - 0.1f64.sqrt(), 1e-12);
    close(katz_log_lower(50, 100, 0, 100, 0.0), (0.5 / 0.005f64).ln(), 1e-12);
    assert_eq!(katz_log_lower(0, 100, 10, 100, 1.0), f64::NEG_INFINITY);
    // μ = 1: δ(1) = Φ(−½) − e Φ(−3/2).
    let delta = special::normal_cdf(-0.5) - 1f64.exp() * special::normal_cdf(-1.5);
    close(gaussian_delta(1.0, 1.0), delta, 1e-15);
    close(delta, 0.126_936_737_5, 1e-9);
    close(gaussian_epsilon(1.0, delta), 1.0, 1e-8);
    assert_eq!(gaussian_epsilon(0.0, 1e-5), 0.0);
    assert!(gaussian_epsilon(8.0, 1e-5).is_finite());
}

/// Acceptance check 5.
#[test]
fn accountant_by_hand_and_monotone() {
    let full = accountant::Accountant::new(1.0, 1.0, 1).unwrap();
    let (epsilon, order) = full.epsilon(1e-5).unwrap();
    close(epsilon, 4.7527, 5e-5);
    assert_eq!(order, 5);
    // The sum at q → 1 agrees with the closed form.
    close(accountant::Accountant::new(1.0 - 1e-12, 1.3, 1).unwrap().renyi(7), 7.0 / (2.0 * 1.69), 1e-6);
    // Order 2 in closed form: ln(1 + q²(e^{1/σ²} − 1)).
    let sub = accountant::Accountant::new(0.01, 1.1, 1_000).unwrap();
    close(sub.renyi(2), (1e-4 * ((1.0f64 / 1.21).exp() - 1.0)).ln_1p(), 1e-12);
    let mut last = f64::INFINITY;
    for step in 0..60 {
        let sigma = 0.4 + 0.1 * f64::from(step);
        let epsilon = accountant::Accountant::new(0.02, sigma, 500).unwrap().epsilon(1e-5).unwrap().0;
        assert!(epsilon < last, "sigma {sigma}: {epsilon} after {last}");
        last = epsilon;
    }
    let sigma = accountant::noise_multiplier_for(0.02, 500, 1e-5, 2.0).unwrap();
    let reached = accountant::Accountant::new(0.02, sigma, 500).unwrap().epsilon(1e-5).unwrap().0;
    assert!(reached <= 2.0 && reached > 1.999, "{reached}");
    assert!(sub.statement(1e-5, false).unwrap().warning.is_some());
    assert!(sub.statement(1e-5, true).unwrap().warning.is_none());
    assert!(accountant::Accountant::new(0.0, 1.0, 1).is_err());
    assert!(sub.epsilon(0.0).is_err());
}

#[test]
fn comparisons() {
    // Holm on the textbook case .01 .04 .03 .005.
    for (found, expected) in compare::holm(&[0.01, 0.04, 0.03, 0.005]).iter().zip([0.03, 0.06, 0.06, 0.02]) {
        close(*found, expected, 1e-12);
    }
    assert!(compare::holm(&[]).is_empty());
    // McNemar: 10 samples only a gets right, 2 only b: 2·P[Bin(12,½) ≤ 2] = 2·79/4096.
    let truth: Vec<bool> = (0..40).map(|i| i % 2 == 0).collect();
    let decide = |wrong: std::ops::Range<usize>| -> MembershipResult {
        let decisions = truth.iter().enumerate().map(|(i, &t)| t != wrong.contains(&i)).collect();
        let scores =
            truth.iter().enumerate().map(|(i, &t)| f64::from(u8::from(t)) + i as f64 * 0.01).collect();
        MembershipResult::new(scores, truth.clone(), decisions, ids(40)).unwrap()
    };
    close(compare::mcnemar(&decide(0..2), &decide(10..20)).unwrap(), 2.0 * 79.0 / 4096.0, 1e-12);
    close(compare::mcnemar(&decide(0..0), &decide(0..0)).unwrap(), 1.0, 0.0);
    let strong = gaussians(300, 300, 1.5, 2);
    let weak = gaussians(300, 300, 0.2, 3);
    let difference = compare::auc_difference(&strong, &weak, 1_000, 7).unwrap();
    close(difference.value, auc(&Ranking::new(&strong)) - auc(&Ranking::new(&weak)), 1e-12);
    assert!(difference.bca.lower > 0.1 && difference.percentile.lower > 0.1, "{difference:?}");
    assert_eq!(compare::auc_difference(&strong, &strong, 50, 7).unwrap().bca.upper, 0.0);
    assert!(compare::mcnemar(&strong, &gaussians(299, 301, 0.2, 3)).is_err());
    // Mann–Whitney is uniform under equality: about 5 % below .05.
    let small_p =
        (0..400).filter(|&s| compare::auc_p_value(&Ranking::new(&gaussians(60, 60, 0.0, 900 + s))) < 0.05);
    let count = small_p.count();
    assert!((6..=36).contains(&count), "{count}");
    close(compare::accuracy_p_value(8, 10, 0.5), 56.0 / 1024.0, 1e-12);
}

#[test]
fn controls() {
    let chance: Vec<MembershipMetrics> =
        (0..5).map(|s| MembershipMetrics::compute_with(&gaussians(200, 200, 0.0, s), 300, s)).collect();
    let leak = MembershipMetrics::compute(&gaussians(200, 200, 1.0, 5), 5);
    let shuffled = Control::repeated("shuffled-labels", "Shuffled labels", "", &chance).unwrap();
    assert_eq!((shuffled.runs, shuffled.at_chance), (5, Some(true)));
    assert_eq!(Control::single("untrained-encoder", "Untrained", "", &leak).at_chance, Some(false));
    assert_eq!(Control::single("untrained-encoder", "Untrained", "", &chance[0]).at_chance, Some(true));
    assert_eq!(Control::repeated("shuffled-labels", "", "", &chance[..1]).unwrap().at_chance, None);
    assert!(Control::repeated("shuffled-labels", "", "", &[]).is_none());
    close(Control::majority(30, 10).accuracy.value, 0.75, 0.0);
}

#[test]
fn histograms_share_bins() {
    let pair = HistogramPair::new(&[0.0, 0.5, 1.0], &[0.25, 1.0], 4).unwrap();
    assert_eq!(pair.edges, [0.0, 0.25, 0.5, 0.75, 1.0]);
    assert_eq!((pair.members, pair.non_members), (vec![1, 0, 1, 1], vec![0, 1, 0, 1]));
    let constant = HistogramPair::new(&[0.5; 3], &[0.5; 2], 3).unwrap();
    assert_eq!((constant.members, constant.non_members), (vec![0, 3, 0], vec![0, 2, 0]));
    assert!(HistogramPair::new(&[f64::NAN], &[], 3).is_err());
    assert!(HistogramPair::new(&[], &[], 3).is_err());
    assert!(HistogramPair::new(&[1.0], &[], 0).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn auc_and_roc_agree_with_counting_pairs(
        samples in proptest::collection::vec((0i32..15, any::<bool>()), 2..80)
    ) {
        prop_assume!(samples.iter().any(|s| s.1) && samples.iter().any(|s| !s.1));
        let n = samples.len();
        let result = MembershipResult::with_threshold(
            samples.iter().map(|s| f64::from(s.0)).collect(),
            samples.iter().map(|s| s.1).collect(),
            7.0,
            ids(n),
        ).unwrap();
        let (mut won, mut pairs) = (0.0, 0.0);
        for a in samples.iter().filter(|s| s.1) {
            for b in samples.iter().filter(|s| !s.1) {
                pairs += 1.0;
                won += if a.0 > b.0 { 1.0 } else if a.0 == b.0 { 0.5 } else { 0.0 };
            }
        }
        let roc = Roc::new(&result);
        prop_assert!((auc(&Ranking::new(&result)) - won / pairs).abs() < 1e-12);
        prop_assert!((roc.area() - won / pairs).abs() < 1e-12);
        // Conservative ≤ interpolated; both grow with the limit; the curve is monotone and ends at (1, 1).
        let m = MembershipMetrics::compute_with(&result, 20, 1);
        for (i, rate) in m.tpr_at_fpr.iter().enumerate() {
            prop_assert!(rate.rate.value <= rate.interpolated + 1e-12);
            prop_assert!(i == 0 || m.tpr_at_fpr[i - 1].rate.value <= rate.rate.value);
            // By definition: best TPR over the whole curve within the limit.
            let best = roc.points.iter().filter(|p| p.fpr <= FPR_GRID[i] + 1e-12).map(|p| p.tpr).fold(0.0, f64::max);
            prop_assert_eq!(best, rate.rate.value);
        }
        let last = roc.points[roc.points.len() - 1];
        prop_assert_eq!((last.fpr, last.tpr), (1.0, 1.0));
        prop_assert!(roc.points.windows(2).all(|w| w[0].fpr <= w[1].fpr && w[0].tpr <= w[1].tpr));
        prop_assert!((0.0..=1.0).contains(&m.equal_error_rate));
        let advantage = roc.points.iter().map(|p| p.tpr - p.fpr).fold(0.0, f64::max);
        prop_assert!((m.advantage.value - advantage).abs() < 1e-12);
    }
}

#[test]
fn thinning_keeps_the_low_end() {
    let roc = Roc::new(&gaussians(10_000, 10_000, 0.6, 8));
    let thin = roc.thinned(2_000);
    assert!(thin.points.len() <= 2_000 && thin.points.len() > 500, "{}", thin.points.len());
    assert_eq!((thin.points[0].fpr, thin.points[0].tpr), (0.0, 0.0));
    assert_eq!(thin.points.last().map(|p| (p.fpr, p.tpr)), Some((1.0, 1.0)));
    for rate in FPR_GRID {
        let found = |r: &Roc| r.points.iter().filter(|p| p.fpr <= rate).map(|p| p.tpr).fold(0.0, f64::max);
        close(found(&thin), found(&roc), if rate <= 1e-3 { 0.0 } else { 2e-3 });
    }
    close(thin.area(), roc.area(), 1e-4);
    let few = roc.thinned(40);
    assert!(few.points.len() <= 40, "{}", few.points.len());
    assert_eq!(thin.thinned(2_000), thin);
}
