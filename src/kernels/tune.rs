//! Rates of the tiled products, measured once for an adapter, driver and set of kernels: which size of tile is fastest
//! depends on registers, caches and schedulers that no limit tells.
//!
//! Each tile of the table runs a 3x3 convolution twice, with an adapter full of workgroups and with a workgroup alone; a
//! product takes the larger of what its workgroups take together and what one takes ([`TileRate::cost`]). The choice
//! changes no bits: every tile adds in the same order.

use super::conv::{Conv2d, Weights, conv2d};
use super::tile::TABLE;
use super::{Shape, Tensor};
use crate::gpu::shader::sources_sha256;
use crate::gpu::{
    Buffer, Facts, Gpu, GpuOptions, KernelClass, Products, Program, Recording, TileRate, TileRates,
    TuneCache, TuneKey,
};
use crate::{Error, Result};
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// What measuring may take, compilation left out. Each tile runs at least once.
const BUDGET: Duration = Duration::from_millis(800);
/// Images of 32 x 32 pixels that a full adapter works on: the first number that takes long enough.
const IMAGES: [usize; 4] = [2, 8, 32, 128];
const LONG_ENOUGH: Duration = Duration::from_micros(1250);
/// What a clock around a submit should see at least; shorter launches are repeated, at most so often.
const CLOCKED: Duration = Duration::from_millis(2);
const MOST_REPEATS: usize = 16;
/// Turns of all tiles; the fastest run of each counts, since others can only slow it down.
const ROUNDS: usize = 7;

/// Opens the adapter as [`Gpu::open`] does and, on GPUs, gives its kernels measured rates: from the user's cache, or
/// measured now and kept there. Not with [`GpuOptions::deterministic`].
///
/// # Errors
/// As [`Gpu::open`]. Rates that cannot be measured or kept are warnings.
pub fn open(options: &GpuOptions) -> Result<Gpu> {
    let mut gpu = Gpu::open(options)?;
    let tiled = matches!(gpu.facts().class, KernelClass::Integrated | KernelClass::Discrete);
    if tiled && !options.deterministic {
        // Rates are of products in f32; tiles on cooperative matrices have a table of their own.
        let facts = Facts { products: Products::Single, ..gpu.facts().clone() };
        let rates = tile_rates(&gpu, &facts, TuneCache::of_user().as_ref());
        gpu.set_tile_rates(rates);
    }
    Ok(gpu)
}

/// The rates of `gpu` with kernels for `facts`: what `cache` holds for them, or else measured and kept there; the
/// fixed ones where nothing can be measured.
pub fn tile_rates(gpu: &Gpu, facts: &Facts, cache: Option<&TuneCache>) -> TileRates {
    let key = key(gpu);
    if let Some(rates) = cache.and_then(|cache| cache.read(&key, &tile_sizes())) {
        return rates;
    }
    let start = Instant::now();
    let rates = match measure(gpu, facts) {
        Ok(rates) => rates,
        Err(error) => {
            tracing::warn!(
                "tiles of matrix products could not be measured: {error}; the fixed table is used"
            );
            return TileRates::default();
        }
    };
    tracing::info!("measured the tiles of matrix products in {:.1} s", start.elapsed().as_secs_f64());
    if let Some(cache) = cache
        && let Err(error) = cache.write(&key, &rates)
    {
        tracing::warn!("{error}; the tiles of matrix products will be measured again");
    }
    rates
}

/// What rates of `gpu` are kept under.
pub fn key(gpu: &Gpu) -> TuneKey {
    TuneKey::new(gpu, sources_sha256(&format!("{TABLE:?} {IMAGES:?}")))
}

/// Rows and columns of every tile that there are rates of.
pub fn tile_sizes() -> Vec<(u32, u32)> {
    TABLE.iter().map(|tile| (tile.rows, tile.columns)).collect()
}

/// Measures every tile of the table on `gpu`.
///
/// # Errors
/// No memory, kernels that do not compile, a clock that stands still; facts whose kernels are not tiled.
pub fn measure(gpu: &Gpu, facts: &Facts) -> Result<TileRates> {
    if facts.texture_kernels() {
        return Err(Error::gpu("the kernels of this class have no tiles to measure"));
    }
    let mut full = Problem::new(gpu, IMAGES[0])?;
    full.warm_up(gpu, facts)?;
    let deadline = Instant::now() + BUDGET;
    let clock = Clock::new(gpu, facts)?;
    for &images in &IMAGES[1..] {
        let program = full.program(gpu, facts, (64, 64), 1)?;
        program.run(gpu)?;
        if clock.time(&program)? >= LONG_ENOUGH {
            break;
        }
        full = Problem::new(gpu, images)?;
    }
    let mut runs = Vec::new();
    for size in tile_sizes() {
        let alone = Problem::alone(gpu, size)?;
        runs.push((size, Run::new(&clock, facts, &full, size)?, Run::new(&clock, facts, &alone, size)?));
    }
    'rounds: for _ in 0..ROUNDS {
        for (_, full, alone) in &mut runs {
            if Instant::now() >= deadline {
                break 'rounds;
            }
            full.again(&clock)?;
            alone.again(&clock)?;
        }
    }
    let rate = |((rows, columns), of_full, of_alone): &((u32, u32), Run, Run)| {
        let Shape { n, c, .. } = full.conv.output;
        let pixels = n * full.conv.output.pixels();
        let groups = pixels.div_ceil(*rows as usize) * c.div_ceil(*columns as usize);
        let full_ns = of_full.nanoseconds_a_term() / groups as f64;
        TileRate { rows: *rows, columns: *columns, full_ns, alone_ns: of_alone.nanoseconds_a_term() }
    };
    TileRates::measured(runs.iter().map(rate).collect())
}

/// A convolution with its operands, all zero: what is multiplied makes no difference to the time.
struct Problem {
    conv: Conv2d,
    x: Buffer,
    w: Buffer,
    y: Buffer,
}

impl Problem {
    /// 64 to 128 channels of `images` images.
    fn new(gpu: &Gpu, images: usize) -> Result<Problem> {
        Problem::of(gpu, Shape::new(images, 64, 32, 32), 128)
    }

    /// One tile of rows and columns, and a sum long enough for a clock.
    fn alone(gpu: &Gpu, (rows, columns): (u32, u32)) -> Result<Problem> {
        Problem::of(gpu, Shape::new(1, 256, 8, rows as usize / 8), columns as usize)
    }

    fn of(gpu: &Gpu, input: Shape, channels: usize) -> Result<Problem> {
        let conv = Conv2d::new(input, channels, 3, 1, 1)?;
        let buffer = |label, bytes| gpu.buffer(label, bytes);
        Ok(Problem {
            conv,
            x: buffer("measured input", conv.input.bytes())?,
            w: buffer("measured weights", conv.weight().bytes())?,
            y: buffer("measured output", conv.output.bytes())?,
        })
    }

    fn record(&self, recording: &mut Recording) {
        let [x, w, y] = [&self.x, &self.w, &self.y].map(|buffer| recording.persistent(buffer));
        let (x, y) = (Tensor::new(self.conv.input, x), Tensor::new(self.conv.output, y));
        conv2d(recording, &self.conv, x, Weights::new(self.conv.weight(), w), y);
    }

    fn program(&self, gpu: &Gpu, facts: &Facts, size: (u32, u32), repeats: usize) -> Result<Program> {
        let mut recording = Recording::new(&forced(facts, size));
        (0..repeats).for_each(|_| self.record(&mut recording));
        Program::build(gpu, &recording)
    }

    /// Compiles the kernels of all tiles at once and runs each.
    fn warm_up(&self, gpu: &Gpu, facts: &Facts) -> Result<()> {
        tile_sizes().into_par_iter().try_for_each(|size| self.program(gpu, facts, size, 1)?.run(gpu))
    }
}

fn forced(facts: &Facts, (rows, columns): (u32, u32)) -> Facts {
    Facts { tile_rates: TileRates::only(rows, columns), ..facts.clone() }
}

/// Wall time of submits, without what a submit and the wait for it cost by themselves. Timestamps of the device would be
/// finer, but not every adapter has them, and some have zeros.
struct Clock<'a> {
    gpu: &'a Gpu,
    overhead: Duration,
}

impl Clock<'_> {
    fn new<'a>(gpu: &'a Gpu, facts: &Facts) -> Result<Clock<'a>> {
        let least = Problem::of(gpu, Shape::new(1, 4, 1, 1), 4)?.program(gpu, facts, (32, 32), 1)?;
        let mut clock = Clock { gpu, overhead: Duration::ZERO };
        let times = (0..8).map(|_| clock.time(&least)).collect::<Result<Vec<_>>>()?;
        clock.overhead = times.into_iter().min().unwrap_or_default();
        Ok(clock)
    }

    fn time(&self, program: &Program) -> Result<Duration> {
        let start = Instant::now();
        program.run(self.gpu)?;
        Ok(start.elapsed().saturating_sub(self.overhead))
    }
}

/// Launches of one tile on one problem.
struct Run {
    program: Program,
    repeats: usize,
    /// Terms of a sum.
    terms: usize,
    /// The fastest launch.
    best: Duration,
}

impl Run {
    fn new(clock: &Clock, facts: &Facts, problem: &Problem, size: (u32, u32)) -> Result<Run> {
        let terms = problem.conv.weight().k();
        let once = problem.program(clock.gpu, facts, size, 1)?;
        let best = clock.time(&once)?;
        let wanted = CLOCKED.as_nanos() / best.as_nanos().max(1) + 1;
        let repeats = usize::try_from(wanted).unwrap_or(MOST_REPEATS).min(MOST_REPEATS);
        if repeats == 1 {
            return Ok(Run { program: once, repeats, terms, best });
        }
        let program = problem.program(clock.gpu, facts, size, repeats)?;
        let best = clock.time(&program)? / repeats as u32;
        Ok(Run { program, repeats, terms, best })
    }

    fn again(&mut self, clock: &Clock) -> Result<()> {
        self.best = self.best.min(clock.time(&self.program)? / self.repeats as u32);
        Ok(())
    }

    fn nanoseconds_a_term(&self) -> f64 {
        self.best.as_secs_f64() * 1e9 / self.terms as f64
    }
}
