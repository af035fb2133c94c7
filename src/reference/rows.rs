//! Losses of one number a row: sigmoids of a logit, the gradient of a softmax, distances of rows.

/// 1/(1 + e^−x).
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// Mean binary cross-entropy −t ln σ(x) − (1 − t) ln(1 − σ(x)) of `logits` `[rows]`; without targets the mean of σ(x).
pub fn sigmoid_mean(logits: &[f64], targets: Option<&[f64]>) -> f64 {
    let of_row = |(row, &x): (usize, &f64)| match targets {
        Some(targets) => x.max(0.0) - x * targets[row] + (-x.abs()).exp().ln_1p(),
        None => sigmoid(x),
    };
    logits.iter().enumerate().map(of_row).sum::<f64>() / logits.len() as f64
}

/// Gradient of the logits.
pub fn sigmoid_mean_backward(logits: &[f64], targets: Option<&[f64]>, gout: f64) -> Vec<f64> {
    let of_row = |(row, &x): (usize, &f64)| {
        let slope = match targets {
            Some(targets) => sigmoid(x) - targets[row],
            None => sigmoid(x) * sigmoid(-x),
        };
        gout * slope / logits.len() as f64
    };
    logits.iter().enumerate().map(of_row).collect()
}

/// Gradient of the logits from the posteriors `y` [rows, classes] and the gradient of those.
pub fn softmax_backward(y: &[f64], gout: &[f64], classes: usize) -> Vec<f64> {
    let mut grad = Vec::with_capacity(y.len());
    for (y, gout) in y.chunks(classes).zip(gout.chunks(classes)) {
        let mean: f64 = y.iter().zip(gout).map(|(y, g)| y * g).sum();
        grad.extend(y.iter().zip(gout).map(|(y, g)| y * (g - mean)));
    }
    grad
}

/// ‖x − origin‖₂ of each row of [rows, dim].
pub fn row_distances(x: &[f64], origin: &[f64], dim: usize) -> Vec<f64> {
    let distance =
        |(x, o): (&[f64], &[f64])| x.iter().zip(o).map(|(x, o)| (x - o) * (x - o)).sum::<f64>().sqrt();
    x.chunks(dim).zip(origin.chunks(dim)).map(distance).collect()
}

/// Gradient of x of the mean of [`row_distances`]; 0 where a row has not moved.
pub fn row_distance_backward(x: &[f64], origin: &[f64], dim: usize, gout: f64) -> Vec<f64> {
    let distances = row_distances(x, origin, dim);
    let factor = gout / distances.len() as f64;
    let slope = |i: usize| {
        let distance = distances[i / dim];
        if distance > 0.0 { factor * (x[i] - origin[i]) / distance } else { 0.0 }
    };
    (0..x.len()).map(slope).collect()
}
