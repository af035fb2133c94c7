//! Sums, means and maxima, and the pooling over sets of DeepSets (Zaheer et al., 2017).

pub fn sum(x: &[f64]) -> f64 {
    x.iter().sum()
}

/// 0 for an empty slice.
pub fn mean(x: &[f64]) -> f64 {
    sum(x) / x.len().max(1) as f64
}

/// x [rows, columns] → `[columns]`: the gradient of a fully connected layer's bias.
pub fn column_sums(x: &[f64], columns: usize) -> Vec<f64> {
    channel_sums(x, columns, 1)
}

/// x [N, channels, spatial] → `[channels]`: the gradient of a convolution's bias.
pub fn channel_sums(x: &[f64], channels: usize, spatial: usize) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    for (i, x) in x.iter().enumerate() {
        sums[i / spatial % channels] += x;
    }
    sums
}

/// Sets of equal size: x is [sets, elements, channels].
#[derive(Clone, Copy, Debug)]
pub struct SetShape {
    pub sets: usize,
    /// At least one.
    pub elements: usize,
    pub channels: usize,
}

impl SetShape {
    fn at(&self, set: usize, element: usize, channel: usize) -> usize {
        (set * self.elements + element) * self.channels + channel
    }

    /// The first element with the largest value of `channel` in `set`.
    fn argmax(&self, x: &[f64], set: usize, channel: usize) -> usize {
        let mut best = 0;
        for element in 1..self.elements {
            if x[self.at(set, element, channel)] > x[self.at(set, best, channel)] {
                best = element;
            }
        }
        best
    }
}

/// x [sets, elements, channels] → the maximum over elements [sets, channels].
pub fn set_max(x: &[f64], shape: SetShape) -> Vec<f64> {
    let mut out = Vec::with_capacity(shape.sets * shape.channels);
    for set in 0..shape.sets {
        for channel in 0..shape.channels {
            out.push(x[shape.at(set, shape.argmax(x, set, channel), channel)]);
        }
    }
    out
}

/// Gradient of x: `gout` [sets, channels] goes to the first maximum.
pub fn set_max_backward(x: &[f64], gout: &[f64], shape: SetShape) -> Vec<f64> {
    let mut grad = vec![0.0; x.len()];
    for set in 0..shape.sets {
        for channel in 0..shape.channels {
            let best = shape.argmax(x, set, channel);
            grad[shape.at(set, best, channel)] += gout[set * shape.channels + channel];
        }
    }
    grad
}

/// x [sets, elements, channels] → [sets, 2·channels]: the maxima over elements, then the means.
pub fn set_max_mean(x: &[f64], shape: SetShape) -> Vec<f64> {
    let maxima = set_max(x, shape);
    let mut out = Vec::with_capacity(2 * maxima.len());
    for set in 0..shape.sets {
        out.extend_from_slice(&maxima[set * shape.channels..(set + 1) * shape.channels]);
        for channel in 0..shape.channels {
            let total: f64 = (0..shape.elements).map(|e| x[shape.at(set, e, channel)]).sum();
            out.push(total / shape.elements as f64);
        }
    }
    out
}

/// Gradient of x from `gout` [sets, 2·channels].
pub fn set_max_mean_backward(x: &[f64], gout: &[f64], shape: SetShape) -> Vec<f64> {
    let row = 2 * shape.channels;
    let of_max: Vec<f64> = gout.chunks(row).flat_map(|g| g[..shape.channels].iter().copied()).collect();
    let mut grad = set_max_backward(x, &of_max, shape);
    for set in 0..shape.sets {
        for element in 0..shape.elements {
            for channel in 0..shape.channels {
                grad[shape.at(set, element, channel)] +=
                    gout[set * row + shape.channels + channel] / shape.elements as f64;
            }
        }
    }
    grad
}
