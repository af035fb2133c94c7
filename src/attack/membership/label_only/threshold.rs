//! One threshold on a score, chosen on the shadow model.

/// The published search: the best accuracy of "member iff score > τ" over τ = i·max/100, i = 1 … 99, the first of equal
/// ones; τ = 0 becomes 1e-4. Source: the threshold search of the decision-boundary attack that He & Zhang (CCS 2021)
/// call.
pub fn best_threshold(scores: &[f64], members: &[bool]) -> f64 {
    let most = scores.iter().copied().fold(0.0, f64::max);
    let correct =
        |tau: f64| scores.iter().zip(members).filter(|(score, member)| (**score > tau) == **member).count();
    let mut best = (0.0, None);
    for i in 1..=99 {
        let tau = f64::from(i) * most / 100.0;
        let hits = Some(correct(tau));
        if hits > best.1 {
            best = (tau, hits);
        }
    }
    if best.0 == 0.0 { 1e-4 } else { best.0 }
}
