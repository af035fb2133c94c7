//! How fast long work goes, and how long it will take.

use std::fmt;
use std::time::{Duration, Instant};

/// Time over which the speed is averaged.
const MEMORY: Duration = Duration::from_secs(30);

/// How far work on many images is. The speed is a moving average over half a minute; images that were there from an
/// earlier run do not count for it.
#[derive(Clone, Debug)]
pub struct Pace {
    pub done: u64,
    pub total: u64,
    last: Instant,
    /// Images and seconds, both fading.
    images: f64,
    seconds: f64,
}

impl Pace {
    /// Work on `total` images of which `done` are there already.
    pub fn new(done: u64, total: u64) -> Pace {
        Pace { done, total, last: Instant::now(), images: 0.0, seconds: 0.0 }
    }

    /// `images` more are done.
    pub fn step(&mut self, images: u64) {
        let now = Instant::now();
        let spent = now.duration_since(self.last);
        self.last = now;
        // What comes before the first image, such as compiling, says nothing about the next.
        if images > 0 {
            self.record(images, spent);
        }
    }

    fn record(&mut self, images: u64, spent: Duration) {
        let fading = (-spent.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.images = self.images * fading + images as f64;
        self.seconds = self.seconds * fading + spent.as_secs_f64();
        self.done += images;
    }

    /// Images a second; none before the first step.
    pub fn per_second(&self) -> Option<f64> {
        (self.seconds > 0.0 && self.images > 0.0).then(|| self.images / self.seconds)
    }

    /// Time that the rest will take at this speed.
    pub fn left(&self) -> Option<Duration> {
        let rest = self.total.saturating_sub(self.done) as f64;
        self.per_second().and_then(|speed| Duration::try_from_secs_f64(rest / speed).ok())
    }
}

/// `1200 of 100000 images, 112.3 images/s, 14 min left`.
impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} images", self.done, self.total)?;
        if let (Some(speed), Some(left)) = (self.per_second(), self.left()) {
            let seconds = left.as_secs();
            let left = match seconds {
                0..120 => format!("{seconds} s"),
                120..7200 => format!("{} min", (seconds + 30) / 60),
                _ => format!("{:.1} h", seconds as f64 / 3600.0),
            };
            write!(f, ", {speed:.1} images/s, {left} left")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_follows_the_present_speed() {
        let mut pace = Pace::new(100, 1100);
        assert_eq!((pace.per_second(), pace.to_string().as_str()), (None, "100 of 1100 images"));
        pace.record(10, Duration::from_secs(1));
        assert_eq!(pace.per_second(), Some(10.0));
        assert_eq!(pace.left(), Some(Duration::from_secs(99)));
        assert_eq!(pace.to_string(), "110 of 1100 images, 10.0 images/s, 99 s left");
        // Twenty times slower for ten minutes: the beginning is forgotten.
        for _ in 0..60 {
            pace.record(5, Duration::from_secs(10));
        }
        let speed = pace.per_second().unwrap();
        assert!((speed - 0.5).abs() < 1e-3, "{speed}");
        assert_eq!(pace.to_string(), "410 of 1100 images, 0.5 images/s, 23 min left");
    }
}
