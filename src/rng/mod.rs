//! Counter-based random numbers: every draw is a pure function of (seed, purpose, epoch, sample, view, draw),
//! so that no result depends on the order in which threads ask.
//!
//! Generator: Threefry2x32-20 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11).

/// What a stream of random numbers is for. The number is part of the key and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    Split = 1,
    Init = 2,
    BatchOrder = 3,
    Augment = 4,
    Dropout = 5,
    Queue = 6,
    Attack = 7,
    Faces = 8,
    Shuffle = 9,
    Bootstrap = 10,
}

/// Key of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u32; 2]);

impl Key {
    /// Key of a run.
    pub fn from_seed(seed: u64) -> Key {
        Key([seed as u32, (seed >> 32) as u32])
    }

    /// Key for one purpose and epoch.
    pub fn stream(self, stream: Stream, epoch: u32) -> Key {
        Key(threefry2x32_20(self.0, [stream as u32, epoch]))
    }

    /// Two independent 32-bit numbers for (sample, view, draw).
    pub fn draw(self, sample: u32, view: u16, draw: u16) -> [u32; 2] {
        threefry2x32_20(self.0, [sample, (u32::from(view) << 16) | u32::from(draw)])
    }
}

/// Uniform in [0, 1) with 24 bits.
pub fn uniform(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Threefry2x32 with 20 rounds (Salmon et al., SC'11, §3.3).
pub fn threefry2x32_20(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
    let schedule = [key[0], key[1], 0x1BD1_1BDA ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(schedule[0]), counter[1].wrapping_add(schedule[1])];
    for group in 0..5usize {
        for rotation in ROTATIONS[group % 2] {
            x[0] = x[0].wrapping_add(x[1]);
            x[1] = x[1].rotate_left(rotation) ^ x[0];
        }
        let injection = group + 1;
        x[0] = x[0].wrapping_add(schedule[injection % 3]);
        x[1] = x[1].wrapping_add(schedule[(injection + 1) % 3]).wrapping_add(injection as u32);
    }
    x
}
