//! Signed distances, coverage and colour for the painter. Only operations that IEEE 754 rounds the same way
//! on every machine are used.

/// Red, green, blue, 0 to 1.
pub type Colour = [f32; 3];
pub type Point = [f32; 2];

pub fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|channel| from[channel] + (to[channel] - from[channel]) * share)
}

pub fn scaled(colour: Colour, factor: f32) -> Colour {
    colour.map(|value| value * factor)
}

/// Share of a sample of width `blur` that lies inside a shape, from its signed distance (negative inside).
pub fn coverage(distance: f32, blur: f32) -> f32 {
    (0.5 - distance / blur).clamp(0.0, 1.0)
}

/// 0 below `low`, 1 above `high`, smooth between.
pub fn smoothstep(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A smooth wave of period 1 between 0 and 1.
pub fn wave(phase: f32) -> f32 {
    let t = phase - phase.floor();
    smoothstep(0.0, 1.0, 1.0 - (2.0 * t - 1.0).abs())
}

/// Length of a vector.
pub fn norm(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// Distance to an ellipse around the origin, near its edge: the gradient-normalised implicit form.
pub fn ellipse(p: Point, axes: [f32; 2]) -> f32 {
    let (x, y) = (p[0] / axes[0], p[1] / axes[1]);
    let level = norm(x, y);
    let gradient = norm(x / axes[0], y / axes[1]);
    if gradient == 0.0 { -axes[0].min(axes[1]) } else { level * (level - 1.0) / gradient }
}

/// Distance to a rectangle around the origin with rounded corners.
pub fn rounded_box(p: Point, half: [f32; 2], radius: f32) -> f32 {
    let (x, y) = (p[0].abs() - half[0] + radius, p[1].abs() - half[1] + radius);
    norm(x.max(0.0), y.max(0.0)) + x.max(y).min(0.0) - radius
}

pub fn shifted(p: Point, by: Point) -> Point {
    [p[0] - by[0], p[1] - by[1]]
}

/// Rotates by the angle of which `half` is the tangent of one half.
pub fn rotated(p: Point, half: f32) -> Point {
    let scale = 1.0 / (1.0 + half * half);
    let (cosine, sine) = ((1.0 - half * half) * scale, 2.0 * half * scale);
    [cosine * p[0] + sine * p[1], cosine * p[1] - sine * p[0]]
}
