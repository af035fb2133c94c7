// Statistics of what a tile stores of a channel group, a part of those of the batch norm behind it (kernels::conv::statistics). STATISTICS: the
// number of the binding [2][groups][parts] vec4: means, then sums of squared deviations. Import; no entry point.
#import norm/statistics

@group(0) @binding(${STATISTICS}) var<storage, read_write> statistics: array<vec2<u64>>;

// Of a lane's `count` values, from sums of their distances to one of them and of the squares of these.
fn statistics_of_lane(count: f32, pivot: vec4<f32>, sum: vec4<f32>, squares: vec4<f32>) -> Statistics {
    let mean = sum / count;
    return Statistics(count, pivot + mean, max(squares - sum * mean, vec4<f32>(0.0)));
}

// Of eight lanes with as many values each.
fn statistics_of_subgroup(mine: Statistics, lane: u32) -> Statistics {
    let two = merged_with(mine, lane ^ 1u);
    let four = merged_with(two, lane ^ 2u);
    return merged_with(four, lane ^ 4u);
}

fn merged_with(mine: Statistics, other: u32) -> Statistics {
    return merged(mine, Statistics(mine.count, subgroupShuffle(mine.mean, other), subgroupShuffle(mine.squares, other)));
}
