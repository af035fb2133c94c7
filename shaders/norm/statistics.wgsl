// Statistics of a set of values, and those of two sets together (Chan et al., 1983, equations 2.1). Import; no entry point.
struct Statistics {
    count: f32,
    mean: vec4<f32>,
    // Sum of squared deviations from the mean.
    squares: vec4<f32>,
}

fn no_statistics() -> Statistics {
    return Statistics(0.0, vec4<f32>(0.0), vec4<f32>(0.0));
}

fn merged(a: Statistics, b: Statistics) -> Statistics {
    let count = a.count + b.count;
    let share = b.count / max(count, 1.0);
    let difference = b.mean - a.mean;
    return Statistics(
        count,
        a.mean + difference * share,
        a.squares + b.squares + difference * difference * (a.count * share),
    );
}

fn inverse_deviation_of(batch: Statistics, epsilon: f32) -> vec4<f32> {
    return 1.0 / sqrt(batch.squares / batch.count + epsilon);
}

fn unbiased_variance(batch: Statistics) -> vec4<f32> {
    return batch.squares / (batch.count - 1.0);
}

// (1 − m)·old + m·newest; zero in padding channels.
fn running(old: vec4<f32>, newest: vec4<f32>, momentum: f32, real: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(0.0), old + momentum * (newest - old), real);
}

// Which of the four channels of a group are below `channels`.
fn real_channels(group: u32, channels: u32) -> vec4<bool> {
    return vec4<u32>(group * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(channels);
}
