//! Counter-based random numbers: Threefry2x32-20, the same bits on the CPU and in WGSL
//! (`shaders/common/threefry.wgsl`).
//!
//! A number is a function of (run seed, [`Stream`], epoch, sample, view, draw) and of nothing else, so
//! a result does not depend on batch order, thread count or GPU model:
//!
//! ```
//! use contraleak::rng::{Key, Stream, uniform};
//! let key = Key::from_seed(7).stream(Stream::Augment, 3);
//! let [first, second] = key.draw(1234, 1, 0);
//! assert!(uniform(first) < 1.0 && first != second);
//! ```
//!
//! Source: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.

/// What a stream of random numbers is for. The numbers are part of every file that a run writes:
/// never renumber one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Stream {
    /// Which samples are members, non-members, shadow, ….
    Split = 1,
    /// Initial weights.
    Init = 2,
    /// The order of samples within an epoch.
    BatchOrder = 3,
    /// Augmentation parameters.
    Augment = 4,
    /// Dropout masks.
    Dropout = 5,
    /// Initial rows of the MoCo queue.
    Queue = 6,
    /// Training of attack networks.
    Attack = 7,
    /// Synthetic faces.
    Faces = 8,
    /// MoCo's shuffle of the key batch.
    Shuffle = 9,
    /// Bootstrap resamples of metrics.
    Bootstrap = 10,
    /// Augmentation of views that an encoder is asked about, which are never those that it was trained on.
    Query = 11,
    /// Starts and directions that a decision-boundary attack asks about.
    Boundary = 16,
    /// Sampling, noise and release of defences.
    Defence = 17,
}

/// A key of the generator: of a run ([`Key::from_seed`]) or of one stream of it ([`Key::stream`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub [u32; 2]);

impl Key {
    /// The key of a run: low word first.
    pub fn from_seed(seed: u64) -> Key {
        Key([seed as u32, (seed >> 32) as u32])
    }

    /// The key of one stream in one epoch: the generator keyed by `self` at counter [stream, epoch].
    pub fn stream(self, stream: Stream, epoch: u32) -> Key {
        Key(threefry2x32_20(self.0, [stream as u32, epoch]))
    }

    /// Two independent words of 32 random bits, at counter [sample, view·2¹⁶ + draw].
    pub fn draw(self, sample: u32, view: u16, draw: u16) -> [u32; 2] {
        threefry2x32_20(self.0, [sample, u32::from(view) << 16 | u32::from(draw)])
    }
}

/// Rotation distances of Threefry2x32, round by round, repeating every eight rounds.
const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
/// The parity constant of the key schedule for 32-bit words.
const PARITY: u32 = 0x1BD1_1BDA;

/// Threefry2x32 with 20 rounds: a keyed bijection of 64-bit counters.
pub fn threefry2x32_20(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let schedule = [key[0], key[1], PARITY ^ key[0] ^ key[1]];
    let mut x0 = counter[0].wrapping_add(schedule[0]);
    let mut x1 = counter[1].wrapping_add(schedule[1]);
    for round in 0..20 {
        x0 = x0.wrapping_add(x1);
        x1 = x1.rotate_left(ROTATIONS[round % 8]) ^ x0;
        if round % 4 == 3 {
            let injection = round / 4 + 1;
            x0 = x0.wrapping_add(schedule[injection % 3]);
            x1 = x1.wrapping_add(schedule[(injection + 1) % 3]).wrapping_add(injection as u32);
        }
    }
    [x0, x1]
}

/// The upper 24 bits as a number in [0, 1); exact in f32, so that CPU and GPU agree bit for bit.
pub fn uniform(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A standard normal number from two words (Box–Muller, cosine branch). Host only: logarithm and
/// cosine differ between GPUs.
pub fn normal(bits: [u32; 2]) -> f64 {
    // Adding a half keeps the logarithm's argument inside (0, 1).
    let radius = (-2.0 * ((f64::from(bits[0]) + 0.5) / 4_294_967_296.0).ln()).sqrt();
    let angle = std::f64::consts::TAU * (f64::from(bits[1]) / 4_294_967_296.0);
    radius * angle.cos()
}

/// A uniformly random permutation of `0..n` (Fisher–Yates from the top, each index drawn without bias).
/// At most 2³² elements; beyond that an index would need more than 32 random bits.
pub fn permutation(key: Key, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, bounded(key, last as u32, last as u64 + 1) as usize);
    }
    order
}

/// A number in `0..bound` (`bound` ≤ 2³²) without bias: words of the counters (index, 0), (index, 1), …
/// until one lies below the largest multiple of `bound`.
fn bounded(key: Key, index: u32, bound: u64) -> u64 {
    let limit = (1_u64 << 32) / bound * bound;
    let mut attempt = 0;
    loop {
        for word in threefry2x32_20(key.0, [index, attempt]) {
            if u64::from(word) < limit {
                return u64::from(word) % bound;
            }
        }
        attempt = attempt.wrapping_add(1);
    }
}
