//! Multinomial logistic regression: minimises (1/n)·Σ cross-entropy + (λ/2)·‖W‖² by L-BFGS, biases free, on
//! standardised features; λ by stratified cross-validation. Rows are multiplied in f32, sums over them are f64; parts
//! of the sums follow from the number of rows, so results do not depend on threads.

use super::knn::dot;
use super::{LinearHead, Rows, Standardisation, softmax_in_place};
use crate::optim::{Lbfgs, Minimum};
use crate::rng::{Key, Stream, permutation};
use crate::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Settings of the regression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticSettings {
    /// Values of λ to choose from. One alone is taken as it is.
    pub l2: Vec<f64>,
    /// Folds of the cross-validation; at most as many as rows.
    pub folds: usize,
    /// Most iterations of L-BFGS.
    pub iterations: usize,
    /// Largest gradient element at which the final fit is done.
    pub tolerance: f64,
}

impl Default for LogisticSettings {
    /// Ten values from 1e-5 to 10, evenly spaced in the logarithm; five folds.
    fn default() -> LogisticSettings {
        let l2 = (0..10).map(|i| 10f64.powf(-5.0 + 6.0 * f64::from(i) / 9.0)).collect();
        LogisticSettings { l2, folds: 5, iterations: 500, tolerance: 1e-5 }
    }
}

/// Tolerances while λ is chosen: what is compared are log losses in the third digit.
const CHOICE_GRADIENT: f64 = 1e-3;
const CHOICE_VALUE: f64 = 1e-5;

/// A value of λ with the mean log loss of rows left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    pub l2: f64,
    pub log_loss: f64,
}

/// A fitted regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// On raw features: the standardisation is folded in.
    pub head: LinearHead,
    pub l2: f64,
    /// Empty where there was nothing to choose. Strongest first.
    pub validated: Vec<Validated>,
    pub iterations: usize,
    pub converged: bool,
}

/// Logistic regression with its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticRegression {
    settings: LogisticSettings,
}

impl LogisticRegression {
    pub fn new(settings: LogisticSettings) -> LogisticRegression {
        LogisticRegression { settings }
    }

    /// Chooses λ and fits all rows with it. `seed` decides the folds.
    ///
    /// # Errors
    /// [`Error::Usage`] for no λ, or one that is negative or not finite.
    pub fn fit(&self, train: &Rows, seed: u64) -> Result<Fitted> {
        let mut strengths = self.settings.l2.clone();
        if strengths.is_empty() || strengths.iter().any(|l2| !l2.is_finite() || *l2 < 0.0) {
            return Err(Error::usage(format!(
                "logistic regression: expected L2 strengths of at least 0, found {strengths:?}"
            )));
        }
        strengths.sort_unstable_by(|a, b| b.total_cmp(a));
        let standardisation = Standardisation::of(train.features, train.width);
        let features = standardisation.apply(train.features);
        let problem = Problem { features: &features, ..Problem::of(train) };
        let folds = self.settings.folds.min(train.len());
        let validated = if strengths.len() > 1 && folds > 1 {
            self.validate(&problem, &strengths, folds, seed)?
        } else {
            Vec::new()
        };
        // The stronger of equals.
        let best = validated.iter().min_by(|a, b| a.log_loss.total_cmp(&b.log_loss));
        let l2 = best.map_or(strengths[0], |best| best.l2);
        let all: Vec<usize> = (0..train.len()).collect();
        let settings = Lbfgs {
            iterations: self.settings.iterations,
            gradient_tolerance: self.settings.tolerance,
            value_tolerance: 1e-9,
            ..Lbfgs::default()
        };
        let found = problem.minimize(&settings, &all, l2, vec![0.0; problem.parameters()])?;
        let (weight, bias) = found.x.split_at(problem.width * problem.classes);
        Ok(Fitted {
            head: standardisation.fold(weight, bias),
            l2,
            validated,
            iterations: found.iterations,
            converged: found.converged,
        })
    }

    /// Mean log loss of rows left out, for each strength; every fold goes from the strongest to the weakest, each
    /// fit starting where the last one ended.
    fn validate(
        &self,
        problem: &Problem,
        strengths: &[f64],
        folds: usize,
        seed: u64,
    ) -> Result<Vec<Validated>> {
        let fold_of = problem.folds(folds, seed);
        let settings = Lbfgs {
            iterations: self.settings.iterations,
            gradient_tolerance: CHOICE_GRADIENT.max(self.settings.tolerance),
            value_tolerance: CHOICE_VALUE,
            ..Lbfgs::default()
        };
        let of_fold = |fold: usize| -> Result<Vec<f64>> {
            let split = |inside: bool| -> Vec<usize> {
                (0..fold_of.len()).filter(|&i| (fold_of[i] == fold) == inside).collect()
            };
            let (left_out, fitted) = (split(true), split(false));
            let mut at = vec![0.0; problem.parameters()];
            let mut sums = Vec::with_capacity(strengths.len());
            for &l2 in strengths {
                at = problem.minimize(&settings, &fitted, l2, at)?.x;
                sums.push(problem.log_loss(&left_out, &at) * left_out.len() as f64);
            }
            Ok(sums)
        };
        let sums = (0..folds).into_par_iter().map(of_fold).collect::<Result<Vec<_>>>()?;
        let total = |k: usize| sums.iter().map(|fold| fold[k]).sum::<f64>() / fold_of.len() as f64;
        Ok(strengths.iter().enumerate().map(|(k, &l2)| Validated { l2, log_loss: total(k) }).collect())
    }
}

/// Rows of a block whose gradient is summed in f32.
const BLOCK: usize = 64;
/// Parts that rows are cut into, whatever the number of threads.
const PARTS: usize = 8;

/// The objective. Parameters are W `[classes, width]`, then b `[classes]`.
struct Problem<'a> {
    features: &'a [f32],
    labels: &'a [u32],
    width: usize,
    classes: usize,
}

impl<'a> Problem<'a> {
    fn of(rows: &Rows<'a>) -> Problem<'a> {
        Problem { features: rows.features, labels: rows.labels, width: rows.width, classes: rows.classes }
    }

    fn parameters(&self) -> usize {
        (self.width + 1) * self.classes
    }

    fn row(&self, index: usize) -> &'a [f32] {
        &self.features[index * self.width..(index + 1) * self.width]
    }

    /// A fold for each row: the rows of each class, in random order, are dealt out in turn.
    fn folds(&self, folds: usize, seed: u64) -> Vec<usize> {
        let key = Key::from_seed(seed).stream(Stream::Split, 0);
        let mut order = permutation(key, self.labels.len());
        order.sort_by_key(|&i| self.labels[i]);
        let mut fold_of = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &i)| fold_of[i] = place % folds);
        fold_of
    }

    fn minimize(&self, settings: &Lbfgs, rows: &[usize], l2: f64, start: Vec<f64>) -> Result<Minimum> {
        settings.minimize(start, |x, gradient| {
            let (mut value, sums) = self.sums(rows, x, true);
            let n = rows.len().max(1) as f64;
            gradient.iter_mut().zip(&sums).for_each(|(g, s)| *g = s / n);
            value /= n;
            let weights = self.width * self.classes;
            for (g, w) in gradient[..weights].iter_mut().zip(&x[..weights]) {
                value += 0.5 * l2 * w * w;
                *g += l2 * w;
            }
            value
        })
    }

    /// Mean cross-entropy of `rows`.
    fn log_loss(&self, rows: &[usize], x: &[f64]) -> f64 {
        self.sums(rows, x, false).0 / rows.len().max(1) as f64
    }

    /// Cross-entropy and its gradient (empty unless wanted), summed over `rows`.
    fn sums(&self, rows: &[usize], x: &[f64], with_gradient: bool) -> (f64, Vec<f64>) {
        let (weight, bias) = x.split_at(self.width * self.classes);
        let weight: Vec<f32> = weight.iter().map(|&w| w as f32).collect();
        let part = rows.len().div_ceil(PARTS).next_multiple_of(BLOCK);
        let parts: Vec<(f64, Vec<f64>)> =
            rows.par_chunks(part).map(|rows| self.part(rows, &weight, bias, with_gradient)).collect();
        let mut loss = 0.0;
        let mut gradient = vec![0.0; if with_gradient { x.len() } else { 0 }];
        for (value, slope) in parts {
            loss += value;
            gradient.iter_mut().zip(&slope).for_each(|(g, s)| *g += s);
        }
        (loss, gradient)
    }

    fn part(&self, rows: &[usize], weight: &[f32], bias: &[f64], with_gradient: bool) -> (f64, Vec<f64>) {
        let (width, classes) = (self.width, self.classes);
        let mut loss = 0.0;
        let mut gradient = vec![0.0f64; if with_gradient { (width + 1) * classes } else { 0 }];
        let mut slope = vec![0.0f32; width];
        let mut residuals = vec![0.0f32; BLOCK * classes];
        let mut row = vec![0.0f64; classes];
        for block in rows.chunks(BLOCK) {
            for (place, &index) in block.iter().enumerate() {
                let x = self.row(index);
                for (class, w) in weight.chunks(width).enumerate() {
                    row[class] = f64::from(dot(x, w)) + bias[class];
                }
                let label = self.labels[index] as usize;
                let logit = row[label];
                loss += softmax_in_place(&mut row) - logit;
                row[label] -= 1.0;
                for (class, &r) in row.iter().enumerate() {
                    residuals[class * BLOCK + place] = r as f32;
                }
            }
            if !with_gradient {
                continue;
            }
            for class in 0..classes {
                let residual = &residuals[class * BLOCK..class * BLOCK + block.len()];
                slope.fill(0.0);
                for (rows, r) in block.chunks(4).zip(residual.chunks(4)) {
                    match (rows, r) {
                        (&[a, b, c, d], &[ra, rb, rc, rd]) => {
                            let others =
                                self.row(a).iter().zip(self.row(b)).zip(self.row(c)).zip(self.row(d));
                            for (s, (((a, b), c), d)) in slope.iter_mut().zip(others) {
                                *s += (ra * a + rb * b) + (rc * c + rd * d);
                            }
                        }
                        _ => {
                            for (&index, r) in rows.iter().zip(r) {
                                slope.iter_mut().zip(self.row(index)).for_each(|(s, x)| *s += r * x);
                            }
                        }
                    }
                }
                let to = &mut gradient[class * width..(class + 1) * width];
                to.iter_mut().zip(&slope).for_each(|(g, &s)| *g += f64::from(s));
                gradient[classes * width + class] += residual.iter().map(|&r| f64::from(r)).sum::<f64>();
            }
        }
        (loss, gradient)
    }
}
