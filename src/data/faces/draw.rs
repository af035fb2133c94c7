//! Paints one face from back to front: background, hair behind, body, ears, head, features, hair in front,
//! glasses; then light and the camera.

use super::look::{Beard, HairStyle, Look, NOISE_VIEW, Pattern};
use super::shapes::{
    Colour, Point, coverage, ellipse, mix, norm, rotated, rounded_box, scaled, shifted, smoothstep, wave,
};
use crate::rng::Key;

/// Samples along one side of a pixel.
const SAMPLES: usize = 2;
const DARK: Colour = [0.07, 0.05, 0.05];

/// The colour at one point while shapes are laid over it.
struct Paint {
    colour: Colour,
    /// Width of the edge of a shape, in face units.
    blur: f32,
    /// Share of the point that the figure covers: the light falls on the figure only.
    figure: f32,
}

impl Paint {
    /// Lays a shape over the point; `opacity` 1 hides what is below.
    fn over(&mut self, distance: f32, colour: Colour, opacity: f32) {
        let share = coverage(distance, self.blur) * opacity;
        if share > 0.0 {
            self.colour = mix(self.colour, colour, share);
            self.figure += (1.0 - self.figure) * share;
        }
    }
}

/// Draws image `index` into u8 `[size, size, 3]`.
pub fn draw(image: &mut [u8], size: usize, look: &Look, key: Key, index: u32) {
    let step = 2.0 / (size * SAMPLES) as f32;
    for (y, row) in image.chunks_exact_mut(size * 3).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let mut sum = [0.0f32; 3];
            for sample in 0..SAMPLES * SAMPLES {
                let u = ((x * SAMPLES + sample % SAMPLES) as f32 + 0.5) * step - 1.0;
                let v = ((y * SAMPLES + sample / SAMPLES) as f32 + 0.5) * step - 1.0;
                let colour = shade([u, v], look, step);
                sum = std::array::from_fn(|channel| sum[channel] + colour[channel]);
            }
            let mean = scaled(sum, 1.0 / (SAMPLES * SAMPLES) as f32);
            let noise = sensor_noise(key.draw(index, NOISE_VIEW + y as u16, x as u16), look.camera.noise);
            for (channel, value) in pixel.iter_mut().enumerate() {
                let exposed = mean[channel] * look.camera.exposure * look.camera.balance[channel];
                let developed = (exposed - 0.5) * look.camera.contrast + 0.5 + noise[channel];
                *value = (developed.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
            }
        }
    }
}

/// Nearly normal noise: a sum of bytes for brightness, single bytes for the colours.
fn sensor_noise([brightness, colours]: [u32; 2], strength: f32) -> Colour {
    let centred = |byte: u8| f32::from(byte) / 127.5 - 1.0;
    let common: f32 = brightness.to_le_bytes().into_iter().map(centred).sum();
    let each = colours.to_le_bytes();
    std::array::from_fn(|channel| strength * (0.87 * common + 0.6 * centred(each[channel])))
}

fn shade(at: Point, look: &Look, step: f32) -> Colour {
    let pose = &look.pose;
    let body = scaled_point(shifted(at, [pose.centre[0] * 0.8, pose.centre[1]]), pose.scale);
    let p = rotated(scaled_point(shifted(at, pose.centre), pose.scale), pose.half_roll);
    let mut paint = Paint { colour: background(at, look), blur: step / pose.scale * 1.2, figure: 0.0 };

    hair_behind(&mut paint, p, look);
    clothing(&mut paint, body, p, look);
    head(&mut paint, p, look);
    face(&mut paint, p, look);
    hair_in_front(&mut paint, p, look);
    glasses(&mut paint, p, look);

    mix(paint.colour, scaled(paint.colour, lambert(p, look)), paint.figure)
}

fn scaled_point(p: Point, scale: f32) -> Point {
    [p[0] / scale, p[1] / scale]
}

/// Light on an egg in place of the head; 1 where the egg faces us.
fn lambert(p: Point, look: &Look) -> f32 {
    let [a, b] = look.head.axes;
    let (x, y) = (p[0] / (a * 1.25), p[1] / (b * 1.35));
    let length = norm(x, y).max(1.0);
    let (x, y) = (x / length, y / length);
    let z = (1.0 - x * x - y * y).max(0.0).sqrt();
    let light = &look.camera.light;
    let facing = (x * light[0] + y * light[1] + z * light[2]).max(0.0) / light[2];
    look.camera.ambient + (1.0 - look.camera.ambient) * facing.min(1.7)
}

fn background(at: Point, look: &Look) -> Colour {
    let ground = &look.background;
    let p = rotated(at, ground.half_angle);
    let share = match ground.pattern {
        Pattern::Vertical => at[1] * 0.5 + 0.5,
        Pattern::Radial => (norm(at[0] - ground.offset[0], at[1] - ground.offset[1]) * 0.6).min(1.0),
        Pattern::Stripes => smoothstep(0.35, 0.65, wave(p[0] * ground.frequency)),
        Pattern::Discs => {
            let [x, y] = ground.offset;
            let spots = [[x, y], [-y, x], [y * 0.7 - 0.3, -x], [-x, 0.8 - y]];
            let nearest = spots.iter().fold(4.0f32, |near, s| near.min(norm(at[0] - s[0], at[1] - s[1])));
            1.0 - smoothstep(0.25, 0.55, nearest)
        }
        Pattern::Horizon => {
            let line = smoothstep(-0.03, 0.03, at[1] - ground.offset[1]);
            line * (0.7 + 0.3 * wave(at[0] * ground.frequency + ground.offset[0]))
        }
        Pattern::Checks => {
            let cell = |value: f32| smoothstep(0.4, 0.6, wave(value * ground.frequency * 0.7));
            let (x, y) = (cell(p[0]), cell(p[1]));
            x + y - 2.0 * x * y
        }
    };
    mix(ground.colours[0], ground.colours[1], share)
}

/// Distance to the head: an ellipse whose lower half narrows towards the chin.
fn head_distance(p: Point, look: &Look) -> f32 {
    let [a, b] = look.head.axes;
    let down = (p[1] / b).clamp(0.0, 1.2);
    ellipse(p, [a * (1.0 - look.head.taper * down * down), b])
}

/// Hair colour with strands that run away from the crown.
fn hair_colour(p: Point, look: &Look) -> Colour {
    let hair = &look.hair;
    let strands = match hair.style {
        HairStyle::Curly => wave(p[0] * hair.strands * 0.6) * wave(p[1] * hair.strands * 0.6 + 0.3),
        _ => wave(p[0] * hair.strands / (1.0 + (p[1] + 0.7).abs()) + hair.part),
    };
    scaled(hair.colour, 0.88 + 0.20 * strands)
}

fn hair_behind(paint: &mut Paint, p: Point, look: &Look) {
    let [a, b] = look.head.axes;
    let volume = look.hair.volume;
    let colour = scaled(hair_colour(p, look), 0.8);
    match look.hair.style {
        HairStyle::Bob => {
            let bob = rounded_box(shifted(p, [0.0, -0.1]), [a + volume + 0.06, b * 0.85 + volume], 0.42);
            paint.over(bob, colour, 1.0);
        }
        HairStyle::Long => {
            let long = rounded_box(shifted(p, [0.0, 0.35]), [a + volume + 0.05, b + 0.35 + volume], 0.45);
            paint.over(long, colour, 1.0);
        }
        HairStyle::Curly => {
            let bumps = 0.05 * wave(p[0] * 5.0) + 0.05 * wave(p[1] * 5.0 + 0.5);
            let cloud = ellipse(shifted(p, [0.0, -0.20]), [a + 0.12 + volume * 1.6, b * 0.85 + volume * 1.4]);
            paint.over(cloud - bumps, colour, 1.0);
        }
        HairStyle::Bun => {
            paint.over(ellipse(shifted(p, [look.hair.part * 0.3, -b - 0.13]), [0.2, 0.17]), colour, 1.0);
        }
        HairStyle::Bald | HairStyle::Buzz | HairStyle::SidePart | HairStyle::Swept => {}
    }
}

fn clothing(paint: &mut Paint, body: Point, p: Point, look: &Look) {
    let cloth = &look.clothing;
    let skin = scaled(look.head.skin, 0.84);
    let shoulders = ellipse(shifted(body, [0.0, cloth.height + 0.55]), [cloth.width, 0.62]);
    let mut colour = cloth.colour;
    if cloth.stripes > 0.0 {
        colour = mix(colour, cloth.second, smoothstep(0.45, 0.65, wave(body[1] * cloth.stripes * 0.5)));
    }
    let folds = 0.9 + 0.1 * wave(body[0] * 2.3 + body[1]);
    paint.over(shoulders, scaled(colour, folds), 1.0);
    let opening = if cloth.v_neck {
        (body[1] - cloth.height - 0.16) * 0.6 + body[0].abs() * 0.8
    } else {
        ellipse(shifted(body, [0.0, cloth.height - 0.04]), [0.27, 0.13])
    };
    paint.over(opening.max(shoulders), skin, 1.0);
    let neck = rounded_box(shifted(p, [0.0, 0.6]), [look.head.axes[0] * 0.46, 0.32], 0.12);
    let under_chin = 1.0 - 0.25 * (1.0 - smoothstep(0.0, 0.22, head_distance(p, look)));
    paint.over(neck, scaled(skin, under_chin), 1.0);
}

fn head(paint: &mut Paint, p: Point, look: &Look) {
    let head = &look.head;
    for side in [-1.0f32, 1.0] {
        // The ear on the side that the head turns to disappears behind the cheek.
        let reach =
            head.axes[0] * (1.0 + 0.02 * look.pose.yaw * -side) - 0.04 * (look.pose.yaw * side).max(0.0);
        let centre = [side * reach, 0.02 - look.pose.pitch];
        let ear = shifted(p, centre);
        paint.over(ellipse(ear, [0.075 * head.ears, 0.13 * head.ears]), scaled(head.skin, 0.9), 1.0);
        paint.over(ellipse(ear, [0.035 * head.ears, 0.075 * head.ears]), scaled(head.skin, 0.72), 0.8);
    }
    let distance = head_distance(p, look);
    let rim = 1.0 - 0.12 * smoothstep(-0.14, 0.0, distance);
    paint.over(distance, scaled(head.skin, rim), 1.0);
}

fn face(paint: &mut Paint, p: Point, look: &Look) {
    // Features sit on the front of the head and move with it.
    let q = shifted(p, [0.10 * look.pose.yaw, look.pose.pitch]);
    let skin = look.head.skin;
    for side in [-1.0f32, 1.0] {
        let flush = mix(skin, [0.86, 0.30, 0.28], 0.5);
        let cheek = shifted(q, [side * 0.27, 0.19]);
        let soft = 1.0 - smoothstep(0.0, 0.16, norm(cheek[0], cheek[1]));
        paint.colour = mix(paint.colour, flush, soft * look.head.blush);
    }
    beard(paint, q, p, look);
    for side in [-1.0f32, 1.0] {
        eye(paint, q, side, look);
    }
    nose(paint, shifted(q, [0.05 * look.pose.yaw, 0.0]), look);
    mouth(paint, q, look);
}

fn eye(paint: &mut Paint, q: Point, side: f32, look: &Look) {
    let eyes = &look.eyes;
    // The eye on the far side of a turned head looks narrower.
    let narrowed = 1.0 - 0.14 * (look.pose.yaw * side).max(0.0);
    let r = shifted(q, [side * eyes.distance * narrowed, -0.07]);
    let outward = r[0] * side;
    let r = [r[0] / narrowed, r[1] + eyes.slant * outward * 0.5];
    let skin = look.head.skin;

    let socket = ellipse(r, [eyes.width * 1.35, eyes.opening * 2.1]);
    paint.colour = mix(paint.colour, scaled(skin, 0.8), 0.6 * (1.0 - smoothstep(-0.06, 0.03, socket)));
    let t = (r[0] / eyes.width).clamp(-1.0, 1.0);
    let bow = 1.0 - t * t;
    let lids =
        (r[1] - 0.75 * eyes.opening * bow).max(-r[1] - eyes.opening * bow).max(r[0].abs() - eyes.width);
    paint.over(lids, [0.95, 0.94, 0.93], 1.0);
    let iris = shifted(r, eyes.gaze);
    let radius = norm(iris[0], iris[1]);
    paint.over((radius - 0.062).max(lids), eyes.iris, 1.0);
    paint.over((radius - 0.032).max(lids), DARK, 1.0);
    paint.over((norm(iris[0] + 0.02, iris[1] + 0.022) - 0.016).max(lids), [1.0; 3], 0.9);
    let lash = (r[1] + eyes.opening * bow).abs() - 0.017;
    paint.over(lash.max(r[0].abs() - eyes.width * 1.06), mix(DARK, skin, 0.15), 0.95);

    let brow = shifted(q, [side * eyes.distance * narrowed, -0.07 - eyes.brow_height]);
    let along = brow[0] * side / (0.15 * narrowed);
    let line = brow[1] + eyes.brow_arch * (1.0 - along * along) + eyes.brow_slant * along * 0.15;
    let thick = eyes.brow_thickness * (1.0 - 0.35 * along.clamp(-1.0, 1.0));
    let shape = (line.abs() - thick).max((along.abs() - 1.0) * 0.15);
    paint.over(shape, mix(scaled(look.hair.colour, 0.75), skin, 0.12), 0.92);
}

fn nose(paint: &mut Paint, q: Point, look: &Look) {
    let [width, length] = look.nose;
    let skin = look.head.skin;
    let down = ((q[1] + 0.05) / (length + 0.05)).clamp(0.0, 1.0);
    // The side away from the light lies in shadow.
    let shadow_side = if look.camera.light[0] > 0.0 { -1.0 } else { 1.0 };
    let side = shifted(q, [shadow_side * width * (0.25 + 0.55 * down), (length - 0.05) * 0.5]);
    paint.over(ellipse(side, [0.034, length * 0.55]), scaled(skin, 0.72), 0.55);
    paint.over(
        ellipse(shifted(q, [0.0, length * 0.45]), [0.028, length * 0.6]),
        mix(skin, [1.0; 3], 0.25),
        0.55,
    );
    paint.over(ellipse(shifted(q, [0.0, length]), [width, 0.048]), scaled(skin, 0.88), 0.7);
    for nostril in [-1.0f32, 1.0] {
        let hole = ellipse(shifted(q, [nostril * width * 0.55, length + 0.025]), [0.024, 0.016]);
        paint.over(hole, scaled(skin, 0.35), 0.9);
    }
}

fn mouth(paint: &mut Paint, q: Point, look: &Look) {
    let mouth = &look.mouth;
    let r = shifted(q, [0.0, mouth.height]);
    let t = (r[0] / mouth.half_width).clamp(-1.0, 1.0);
    let bow = 1.0 - t * t;
    let ends = (r[0].abs() - mouth.half_width) * 0.9;
    let middle = mouth.curve * (bow - 0.5);
    let upper = middle - 0.25 * mouth.opening * bow;
    let lower = middle + 0.75 * mouth.opening * bow;
    let lips =
        (upper - 0.85 * mouth.lip * bow - 0.008 - r[1]).max(r[1] - lower - 1.15 * mouth.lip * bow - 0.008);
    paint.over(lips.max(ends), mouth.colour, 1.0);
    let inside = (upper - r[1]).max(r[1] - lower).max(ends + 0.02);
    paint.over(inside, [0.28, 0.07, 0.08], 1.0);
    let teeth = inside.max(r[1] - upper - 0.6 * mouth.opening * bow);
    paint.over(teeth + 0.006, [0.97, 0.96, 0.93], 1.0);
    let line = ((r[1] - middle).abs() - 0.012).max(r[0].abs() - mouth.half_width);
    if mouth.opening == 0.0 {
        paint.over(line, scaled(mouth.colour, 0.45), 0.95);
    }
    // Folds from the nose past the corners of a smile.
    let fold =
        (norm(r[0].abs() - mouth.half_width - 0.035, r[1] + 0.05 + mouth.curve * 0.5) - 0.03).abs() - 0.008;
    let smile = smoothstep(0.04, 0.12, mouth.curve);
    paint.over(fold.max(-(r[0].abs() - mouth.half_width - 0.03)), scaled(look.head.skin, 0.66), 0.6 * smile);
}

fn beard(paint: &mut Paint, q: Point, p: Point, look: &Look) {
    let head = head_distance(p, look);
    let mouth = look.mouth.height;
    let moustache = ellipse(shifted(q, [0.0, mouth - 0.075]), [0.2, 0.05]);
    let goatee = ellipse(shifted(q, [0.0, mouth + 0.17]), [0.13, 0.13]);
    let cheeks = (0.10 + 0.25 * (1.0 - smoothstep(0.12, 0.36, q[0].abs())) - q[1]).max(head - 0.02);
    let (distance, opacity) = match look.beard {
        Beard::None => return,
        Beard::Stubble => (cheeks.min(moustache), 0.35),
        Beard::Moustache => (moustache, 0.95),
        Beard::Goatee => (goatee.min(moustache), 0.95),
        Beard::Full => (cheeks.min(moustache), 0.95),
    };
    paint.over(distance.max(head - 0.03), hair_colour(p, look), opacity);
}

fn hair_in_front(paint: &mut Paint, p: Point, look: &Look) {
    let hair = &look.hair;
    let [a, _] = look.head.axes;
    let across = (p[0].abs() / a).min(1.2);
    let sides = across * across * across * across;
    let tilt = hair.part * p[0] / a;
    let (volume, line) = match hair.style {
        HairStyle::Bald => return,
        HairStyle::Buzz => (0.012, hair.line - 0.02 + 0.34 * sides),
        HairStyle::SidePart => (hair.volume, hair.line + 0.02 - 0.20 * tilt + 0.36 * sides),
        HairStyle::Swept => (hair.volume * 1.3, hair.line - 0.03 + 0.12 * tilt * tilt + 0.38 * sides),
        HairStyle::Bob => (hair.volume, -0.29 + 0.05 * wave(p[0] * 3.0 + hair.part) + 0.55 * sides),
        HairStyle::Long => (hair.volume, hair.line + 0.16 * tilt + 0.75 * sides),
        HairStyle::Curly => (hair.volume, hair.line + 0.05 * wave(p[0] * 4.0) + 0.36 * sides),
        HairStyle::Bun => (hair.volume * 0.5, hair.line - 0.02 + 0.30 * sides),
    };
    let cap = (head_distance(p, look) - volume).max(p[1] - line);
    let opacity = if hair.style == HairStyle::Buzz { 0.8 } else { 1.0 };
    paint.over(cap, hair_colour(p, look), opacity);
}

fn glasses(paint: &mut Paint, p: Point, look: &Look) {
    let Some(glasses) = &look.glasses else { return };
    let q = shifted(p, [0.10 * look.pose.yaw, look.pose.pitch - 0.06]);
    let reach = look.eyes.distance;
    let half = [glasses.radius, glasses.radius * (1.0 - 0.22 * glasses.square)];
    let radius = half[1] * (1.0 - 0.6 * glasses.square);
    let mut frame = f32::MAX;
    for side in [-1.0f32, 1.0] {
        let lens = rounded_box(shifted(q, [side * reach, 0.0]), half, radius);
        paint.over(lens, [0.85, 0.92, 0.97], 0.14);
        frame = frame.min(lens.abs() - glasses.thickness);
    }
    let bridge = (q[1] + 0.02).abs().max(q[0].abs() - (reach - half[0])) - glasses.thickness;
    let outside = (reach + half[0] - q[0].abs()).max(p[0].abs() - look.head.axes[0]);
    let temples = ((q[1] + 0.03).abs() - glasses.thickness).max(outside);
    paint.over(frame.min(bridge).min(temples), glasses.colour, 1.0);
}
