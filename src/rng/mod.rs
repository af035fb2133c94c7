//! Random numbers by counter: every draw is a pure function of (seed, stream, epoch, sample, view, draw).

/// What a stream of random numbers is for. The numbers are part of the file formats: never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// A key of the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u32; 2]);

impl Key {
    /// Low word, then high word of the seed.
    pub fn from_seed(seed: u64) -> Key {
        Key([seed as u32, (seed >> 32) as u32])
    }
    /// The key of one stream in one epoch.
    pub fn stream(self, stream: Stream, epoch: u32) -> Key {
        Key(threefry2x32_20(self.0, [stream as u32, epoch]))
    }
    /// Two random words for (sample, view, draw).
    pub fn draw(self, sample: u32, view: u16, draw: u16) -> [u32; 2] {
        threefry2x32_20(self.0, [sample, (u32::from(view) << 16) | u32::from(draw)])
    }
}

/// Uniform in [0, 1) with 24 bits.
pub fn uniform(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Threefry-2x32 with 20 rounds (Salmon et al., SC 2011).
pub fn threefry2x32_20(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
    let keys = [key[0], key[1], 0x1BD1_1BDA ^ key[0] ^ key[1]];
    let mut x = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for round in 0..20usize {
        x[0] = x[0].wrapping_add(x[1]);
        x[1] = x[1].rotate_left(ROTATIONS[round % 8]) ^ x[0];
        if round % 4 == 3 {
            let inject = round / 4 + 1;
            x[0] = x[0].wrapping_add(keys[inject % 3]);
            x[1] = x[1].wrapping_add(keys[(inject + 1) % 3]).wrapping_add(inject as u32);
        }
    }
    x
}
