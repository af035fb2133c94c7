//! What one face looks like: every number that varies from image to image.
//!
//! Lengths are in face units: the image spans -1 to 1 both ways (x right, y down) before pose.

use super::shapes::{Colour, mix, scaled};
use crate::rng::{Key, uniform};

/// Views of the generator's counter that the faces use: labels, looks, and one a row of sensor noise.
pub const LABEL_VIEW: u16 = 0;
pub const LOOK_VIEW: u16 = 1;
pub const NOISE_VIEW: u16 = 2;

const SKIN: [Colour; 4] = [[0.95, 0.80, 0.71], [0.84, 0.63, 0.48], [0.60, 0.41, 0.29], [0.37, 0.245, 0.185]];
const HAIR: [Colour; 8] = [
    [0.07, 0.06, 0.06],
    [0.17, 0.11, 0.08],
    [0.30, 0.19, 0.11],
    [0.44, 0.24, 0.13],
    [0.80, 0.63, 0.34],
    [0.63, 0.31, 0.14],
    [0.58, 0.57, 0.57],
    [0.82, 0.81, 0.79],
];
const IRIS: [Colour; 5] =
    [[0.20, 0.12, 0.07], [0.36, 0.22, 0.10], [0.28, 0.42, 0.60], [0.30, 0.45, 0.30], [0.40, 0.44, 0.46]];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum HairStyle {
    Bald,
    Buzz,
    SidePart,
    Swept,
    Bob,
    Long,
    Curly,
    Bun,
}

const STYLES: [HairStyle; 8] = [
    HairStyle::Bald,
    HairStyle::Buzz,
    HairStyle::SidePart,
    HairStyle::Swept,
    HairStyle::Bob,
    HairStyle::Long,
    HairStyle::Curly,
    HairStyle::Bun,
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Beard {
    None,
    Stubble,
    Moustache,
    Goatee,
    Full,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    Vertical,
    Radial,
    Stripes,
    Discs,
    Horizon,
    Checks,
}

/// Where the head is and which way it looks.
pub struct Pose {
    pub centre: [f32; 2],
    pub scale: f32,
    /// Tangent of half the roll angle; a rotation needs no sine that way.
    pub half_roll: f32,
    /// -1 (to the left) to 1.
    pub yaw: f32,
    pub pitch: f32,
}

pub struct Head {
    /// Half width and half height.
    pub axes: [f32; 2],
    /// Share by which the chin is narrower than the cheeks.
    pub taper: f32,
    pub ears: f32,
    pub skin: Colour,
    pub blush: f32,
}

pub struct Eyes {
    pub distance: f32,
    pub width: f32,
    pub opening: f32,
    pub slant: f32,
    pub iris: Colour,
    pub gaze: [f32; 2],
    pub brow_height: f32,
    pub brow_thickness: f32,
    pub brow_arch: f32,
    pub brow_slant: f32,
}

pub struct Mouth {
    pub height: f32,
    pub half_width: f32,
    /// How far the middle hangs below the corners.
    pub curve: f32,
    pub opening: f32,
    pub lip: f32,
    pub colour: Colour,
}

pub struct Hair {
    pub style: HairStyle,
    pub colour: Colour,
    pub volume: f32,
    pub line: f32,
    pub part: f32,
    pub strands: f32,
}

pub struct Glasses {
    pub radius: f32,
    /// 0 round, 1 square.
    pub square: f32,
    pub thickness: f32,
    pub colour: Colour,
}

pub struct Background {
    pub pattern: Pattern,
    pub colours: [Colour; 2],
    pub half_angle: f32,
    pub frequency: f32,
    pub offset: [f32; 2],
}

pub struct Clothing {
    pub colour: Colour,
    pub second: Colour,
    pub stripes: f32,
    pub v_neck: bool,
    pub width: f32,
    pub height: f32,
}

pub struct Camera {
    /// Unit vector towards the light.
    pub light: [f32; 3],
    pub ambient: f32,
    pub exposure: f32,
    pub contrast: f32,
    pub balance: Colour,
    pub noise: f32,
}

/// All of one image.
pub struct Look {
    pub pose: Pose,
    pub head: Head,
    pub eyes: Eyes,
    pub nose: [f32; 2],
    pub mouth: Mouth,
    pub hair: Hair,
    pub beard: Beard,
    pub glasses: Option<Glasses>,
    pub background: Background,
    pub clothing: Clothing,
    pub camera: Camera,
}

/// Successive draws for one image.
struct Draws {
    key: Key,
    index: u32,
    next: u16,
}

impl Draws {
    fn unit(&mut self) -> f32 {
        let [word, _] = self.key.draw(self.index, LOOK_VIEW, self.next);
        self.next += 1;
        uniform(word)
    }
    fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }
    /// Between -most and most, more often near 0.
    fn around(&mut self, most: f32) -> f32 {
        (self.unit() + self.unit() - 1.0) * most
    }
    fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[((self.unit() * from.len() as f32) as usize).min(from.len() - 1)]
    }
    fn colour(&mut self, low: f32, high: f32) -> Colour {
        [self.range(low, high), self.range(low, high), self.range(low, high)]
    }
    fn jitter(&mut self, colour: Colour, most: f32) -> Colour {
        let brightness = 1.0 + self.around(most);
        colour.map(|value| value * brightness * (1.0 + self.around(most * 0.35)))
    }
}

impl Look {
    /// Draws the look of image `index`. Only the mouth and the eyes' opening know the expression, only the
    /// skin knows the tone.
    pub fn draw(key: Key, index: u32, smiling: bool, tone: usize) -> Look {
        let d = &mut Draws { key, index, next: 0 };
        let pose = Pose {
            centre: [d.around(0.13), d.around(0.08) + 0.04],
            scale: d.range(0.86, 1.12),
            half_roll: d.around(0.11),
            yaw: d.around(1.0),
            pitch: d.around(0.05),
        };
        let head = Head {
            axes: [d.range(0.46, 0.55), d.range(0.60, 0.69)],
            taper: d.range(0.02, 0.26),
            ears: d.range(0.8, 1.25),
            skin: d.jitter(SKIN[tone], 0.09),
            blush: d.range(0.0, 0.35),
        };
        let smile = if smiling { d.range(0.65, 1.0) } else { 0.0 };
        let eyes = draw_eyes(d, smile);
        let nose = [d.range(0.06, 0.10), d.range(0.17, 0.25)];
        let mouth = draw_mouth(d, smiling, smile, head.skin);
        let hair = Hair {
            style: d.pick(&STYLES),
            colour: {
                let colour = d.pick(&HAIR);
                d.jitter(colour, 0.15)
            },
            volume: d.range(0.04, 0.12),
            line: d.range(-0.46, -0.32),
            part: d.around(0.5),
            strands: d.range(7.0, 16.0),
        };
        let beard = match (d.unit() * 100.0) as u32 {
            0..78 => Beard::None,
            78..84 => Beard::Stubble,
            84..89 => Beard::Moustache,
            89..94 => Beard::Goatee,
            _ => Beard::Full,
        };
        let wears = d.chance(0.22);
        let glasses = Glasses {
            radius: d.range(0.145, 0.185),
            square: d.unit(),
            thickness: d.range(0.014, 0.03),
            colour: d.colour(0.03, 0.35),
        };
        Look {
            pose,
            head,
            eyes,
            nose,
            mouth,
            hair,
            beard,
            glasses: wears.then_some(glasses),
            background: draw_background(d),
            clothing: Clothing {
                colour: d.colour(0.08, 0.92),
                second: d.colour(0.08, 0.92),
                stripes: if d.chance(0.3) { d.range(8.0, 18.0) } else { 0.0 },
                v_neck: d.chance(0.5),
                width: d.range(0.78, 1.05),
                height: d.range(0.72, 0.86),
            },
            camera: draw_camera(d),
        }
    }
}

fn draw_eyes(d: &mut Draws, smile: f32) -> Eyes {
    Eyes {
        distance: d.range(0.20, 0.235),
        width: d.range(0.105, 0.135),
        opening: d.range(0.058, 0.085) * (1.0 - 0.25 * smile),
        slant: d.around(0.16),
        iris: {
            let colour = d.pick(&IRIS);
            d.jitter(colour, 0.2)
        },
        gaze: [d.around(0.035), d.around(0.012)],
        brow_height: d.range(0.165, 0.215),
        brow_thickness: d.range(0.018, 0.042),
        brow_arch: d.range(0.0, 0.05),
        brow_slant: d.around(0.16),
    }
}

fn draw_mouth(d: &mut Draws, smiling: bool, smile: f32, skin: Colour) -> Mouth {
    let (height, width, lip) = (d.range(0.34, 0.40), d.range(0.18, 0.235), d.range(0.028, 0.055));
    let (laugh, serious, ajar) = (d.chance(0.75), d.range(-0.035, 0.015), d.chance(0.2));
    let opening = d.range(0.45, 1.0);
    let lipstick: Colour = [d.range(0.55, 0.80), d.range(0.12, 0.30), d.range(0.18, 0.36)];
    let rouge = if d.chance(0.3) { 0.75 } else { 0.28 };
    Mouth {
        height,
        half_width: if smiling { width * (1.15 + 0.25 * smile) } else { width * 0.95 },
        curve: if smiling { 0.13 * smile + 0.03 } else { serious },
        opening: match (smiling, laugh, ajar) {
            (true, true, _) => 0.12 * opening,
            (false, _, true) => 0.035 * opening,
            _ => 0.0,
        },
        lip,
        colour: mix(scaled(skin, 0.78), lipstick, rouge),
    }
}

fn draw_background(d: &mut Draws) -> Background {
    let (first, gray, tint) = (d.colour(0.10, 0.95), d.range(0.2, 0.85), d.range(0.15, 0.8));
    let first = mix([gray; 3], first, tint);
    let second = mix(first, d.colour(0.05, 1.0), d.range(0.3, 0.7));
    Background {
        pattern: d.pick(&[
            Pattern::Vertical,
            Pattern::Radial,
            Pattern::Stripes,
            Pattern::Discs,
            Pattern::Horizon,
            Pattern::Checks,
        ]),
        colours: [first, second],
        half_angle: d.range(-1.0, 1.0),
        frequency: d.range(1.2, 4.0),
        offset: [d.range(-0.8, 0.8), d.range(-0.8, 0.8)],
    }
}

fn draw_camera(d: &mut Draws) -> Camera {
    let light = [d.around(0.9), d.range(-0.8, 0.15), d.range(0.55, 1.0)];
    let length = (light[0] * light[0] + light[1] * light[1] + light[2] * light[2]).sqrt();
    Camera {
        light: light.map(|axis| axis / length),
        ambient: d.range(0.40, 0.70),
        exposure: d.range(0.85, 1.18),
        contrast: d.range(0.88, 1.12),
        balance: [d.range(0.95, 1.05), d.range(0.97, 1.03), d.range(0.95, 1.05)],
        noise: d.range(0.004, 0.022),
    }
}
