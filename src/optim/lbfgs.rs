//! L-BFGS: minimisation of smooth functions of many variables on the CPU in f64.
//!
//! Sources: J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd edition, 2006: algorithm 7.4 (two-loop
//! recursion), algorithms 3.5 and 3.6 (line search for the strong Wolfe conditions), equation 3.59 (cubic
//! interpolation), equation 7.20 (scale of the initial matrix).

use crate::{Error, Result};
use std::collections::VecDeque;

/// Settings of a minimisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lbfgs {
    /// Pairs of steps and gradient changes that are remembered.
    pub history: usize,
    /// Most iterations.
    pub iterations: usize,
    /// Done when the largest absolute element of the gradient is at most this.
    pub gradient_tolerance: f64,
    /// Done when an iteration lowers the value by at most this share of max(|f|, |f'|, 1e-300).
    pub value_tolerance: f64,
}

impl Default for Lbfgs {
    fn default() -> Lbfgs {
        Lbfgs { history: 10, iterations: 500, gradient_tolerance: 1e-6, value_tolerance: 1e-12 }
    }
}

/// Where a minimisation ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimum {
    pub x: Vec<f64>,
    pub value: f64,
    /// Largest absolute element of the gradient.
    pub gradient: f64,
    pub iterations: usize,
    /// Evaluations of function and gradient.
    pub evaluations: usize,
    /// Whether a tolerance was reached before the iterations ran out. A line search that can lower the value no
    /// further, within rounding, counts as reached.
    pub converged: bool,
}

/// Sufficient decrease and curvature of the strong Wolfe conditions.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Evaluations of one line search.
const MOST_TRIALS: usize = 30;

/// A point of the function with its gradient.
struct Point {
    x: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// A step length along the search line.
#[derive(Clone, Copy)]
struct Trial {
    step: f64,
    value: f64,
    slope: f64,
}

impl Lbfgs {
    /// Minimises `f` from `start`. `f` gives the value at its first argument and writes the gradient over its second.
    /// A value that is not finite makes the line search go less far.
    ///
    /// # Errors
    /// [`Error::Diverged`] when value or gradient at `start` are not finite.
    pub fn minimize(&self, start: Vec<f64>, f: impl FnMut(&[f64], &mut [f64]) -> f64) -> Result<Minimum> {
        let mut line = Line { f, evaluations: 0 };
        let mut here = line.evaluate(start);
        if !here.value.is_finite() || here.gradient.iter().any(|g| !g.is_finite()) {
            return Err(Error::Diverged(format!(
                "l-bfgs: value or gradient at the start are not finite (value {})",
                here.value
            )));
        }
        let mut memory = Memory { pairs: VecDeque::new(), most: self.history.max(1) };
        let (mut iterations, mut converged) = (0, largest(&here.gradient) <= self.gradient_tolerance);
        while !converged && iterations < self.iterations {
            let mut direction = memory.direction(&here.gradient);
            let mut slope = dot(&direction, &here.gradient);
            if slope >= 0.0 || !slope.is_finite() {
                memory.pairs.clear();
                direction = here.gradient.iter().map(|g| -g).collect();
                slope = -dot(&here.gradient, &here.gradient);
            }
            // Without a scale of its own the first step moves about one unit.
            let first = if memory.pairs.is_empty() { 1.0 / norm(&direction).max(1.0) } else { 1.0 };
            let Some(next) = line.search(&here, &direction, slope, first) else {
                if memory.pairs.is_empty() {
                    converged = true;
                } else {
                    memory.pairs.clear();
                }
                continue;
            };
            iterations += 1;
            let fall = here.value - next.value;
            let scale = here.value.abs().max(next.value.abs()).max(1e-300);
            memory.push(&here, &next);
            here = next;
            converged =
                largest(&here.gradient) <= self.gradient_tolerance || fall <= self.value_tolerance * scale;
        }
        Ok(Minimum {
            value: here.value,
            gradient: largest(&here.gradient),
            x: here.x,
            iterations,
            evaluations: line.evaluations,
            converged,
        })
    }
}

/// The last steps s and gradient changes y with 1/(y·s).
struct Memory {
    pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)>,
    most: usize,
}

impl Memory {
    /// Remembers a step, unless its curvature y·s is too small for a positive definite matrix.
    fn push(&mut self, from: &Point, to: &Point) {
        let difference = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
        let (s, y) = (difference(&to.x, &from.x), difference(&to.gradient, &from.gradient));
        let curvature = dot(&s, &y);
        if curvature > 1e-12 * norm(&s) * norm(&y) {
            if self.pairs.len() == self.most {
                self.pairs.pop_front();
            }
            self.pairs.push_back((s, y, 1.0 / curvature));
        }
    }

    /// −H g by the two-loop recursion.
    fn direction(&self, gradient: &[f64]) -> Vec<f64> {
        let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut factors = Vec::with_capacity(self.pairs.len());
        for (s, y, rho) in self.pairs.iter().rev() {
            let alpha = rho * dot(s, &q);
            add(&mut q, -alpha, y);
            factors.push(alpha);
        }
        if let Some((_, y, rho)) = self.pairs.back() {
            let scale = 1.0 / (rho * dot(y, y));
            q.iter_mut().for_each(|v| *v *= scale);
        }
        for ((s, y, rho), alpha) in self.pairs.iter().zip(factors.into_iter().rev()) {
            let beta = rho * dot(y, &q);
            add(&mut q, alpha - beta, s);
        }
        q
    }
}

struct Line<F> {
    f: F,
    evaluations: usize,
}

impl<F: FnMut(&[f64], &mut [f64]) -> f64> Line<F> {
    fn evaluate(&mut self, x: Vec<f64>) -> Point {
        let mut gradient = vec![0.0; x.len()];
        let value = (self.f)(&x, &mut gradient);
        self.evaluations += 1;
        Point { x, value, gradient }
    }

    /// A point along `direction` that fulfils the strong Wolfe conditions; failing that the best one with sufficient
    /// decrease; `None` when no trial lowers the value.
    fn search(&mut self, from: &Point, direction: &[f64], slope: f64, first: f64) -> Option<Point> {
        let start = Trial { step: 0.0, value: from.value, slope };
        let (mut low, mut high) = (start, None::<Trial>);
        let mut best: Option<Point> = None;
        let mut step = first;
        for _ in 0..MOST_TRIALS {
            let x = from.x.iter().zip(direction).map(|(x, d)| x + step * d).collect();
            let point = self.evaluate(x);
            let trial = Trial { step, value: point.value, slope: dot(&point.gradient, direction) };
            let finite = trial.value.is_finite() && trial.slope.is_finite();
            let decreases = finite && trial.value <= start.value + DECREASE * step * slope;
            if decreases && trial.slope.abs() <= -CURVATURE * slope {
                return Some(point);
            }
            if decreases && best.as_ref().is_none_or(|best| point.value < best.value) {
                best = Some(point);
            }
            if !decreases || trial.value >= low.value {
                high = Some(trial);
            } else {
                // The bracket's good end moves; where the function falls towards the old one, that is the other end.
                let towards = high.map_or(1.0, |high| high.step - low.step);
                if trial.slope * towards >= 0.0 {
                    high = Some(low);
                }
                low = trial;
            }
            step = match high {
                None => step * 2.0,
                Some(high) => {
                    let width = (high.step - low.step).abs();
                    if width <= 1e-14 * high.step.abs().max(low.step.abs()) {
                        break;
                    }
                    between(low, high)
                }
            };
        }
        best.filter(|best| best.value < start.value)
    }
}

/// The minimum of the cubic through both ends where it lies well inside, else the middle.
fn between(a: Trial, b: Trial) -> f64 {
    let middle = 0.5 * (a.step + b.step);
    if !b.value.is_finite() || !b.slope.is_finite() {
        return a.step + 0.1 * (b.step - a.step);
    }
    let d1 = a.slope + b.slope - 3.0 * (a.value - b.value) / (a.step - b.step);
    let square = d1 * d1 - a.slope * b.slope;
    if square < 0.0 {
        return middle;
    }
    let d2 = (b.step - a.step).signum() * square.sqrt();
    let step = b.step - (b.step - a.step) * (b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2);
    let margin = 0.1 * (b.step - a.step).abs();
    let (low, high) = (a.step.min(b.step) + margin, a.step.max(b.step) - margin);
    if step.is_finite() { step.clamp(low, high) } else { middle }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

fn add(to: &mut [f64], factor: f64, x: &[f64]) {
    to.iter_mut().zip(x).for_each(|(t, x)| *t += factor * x);
}

fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, v| m.max(v.abs()))
}
