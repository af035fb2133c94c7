//! The permutation that `torch.randperm` draws on the CPU, to split data as released code does.

use crate::{Error, Result};

const STATE: usize = 624;
const MIDDLE: usize = 397;

/// MT19937 (Matsumoto & Nishimura, 1998), initialised by `init_genrand`.
struct MersenneTwister {
    state: [u32; STATE],
    next: usize,
}

impl MersenneTwister {
    fn new(seed: u32) -> MersenneTwister {
        let mut state = [seed; STATE];
        for index in 1..STATE {
            let previous = state[index - 1];
            state[index] =
                1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(index as u32);
        }
        MersenneTwister { state, next: STATE }
    }

    fn twist(&mut self) {
        for index in 0..STATE {
            let joined = (self.state[index] & 0x8000_0000) | (self.state[(index + 1) % STATE] & 0x7fff_ffff);
            let matrix = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] = self.state[(index + MIDDLE) % STATE] ^ (joined >> 1) ^ matrix;
        }
        self.next = 0;
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == STATE {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }
}

/// A permutation of `0..count`: from the identity, entry i changes places with entry
/// `i + next_u32 mod (count - i)`, for i from 0 to `count - 2`.
///
/// # Errors
/// [`Error::Usage`] for more than 2^32 entries, which the released code does not draw this way.
pub fn torch_permutation(count: usize, seed: u32) -> Result<Vec<usize>> {
    if u32::try_from(count).is_err() {
        return Err(Error::usage(format!("expected at most {} images to permute, found {count}", u32::MAX)));
    }
    let mut random = MersenneTwister::new(seed);
    let mut order: Vec<usize> = (0..count).collect();
    for position in 0..count.saturating_sub(1) {
        let offset = random.next_u32() as usize % (count - position);
        order.swap(position, position + offset);
    }
    Ok(order)
}
