//! Parts of a cross-validation.

use crate::rng::{Key, Stream, permutation};

/// Fold of every sample, the first group's samples before the second's. Each group is spread evenly: otherwise a fold
/// with more members would be judged by classifiers that saw fewer of them, and scores of different folds would not
/// compare.
pub fn stratified(groups: [usize; 2], folds: usize, seed: u64) -> Vec<usize> {
    let mut fold = vec![0; groups[0] + groups[1]];
    for (group, (start, count)) in [(0, groups[0]), (groups[0], groups[1])].into_iter().enumerate() {
        let key = Key::from_seed(seed).stream(Stream::Attack, u32::MAX - group as u32);
        for (place, i) in permutation(key, count).into_iter().enumerate() {
            fold[start + i] = place % folds;
        }
    }
    fold
}
