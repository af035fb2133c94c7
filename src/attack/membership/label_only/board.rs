//! The state of all attacked images on the GPU, and the programs that move it.

use super::decision::DecisionModel;
use super::ladder::Ladder;
use crate::Result;
use crate::gpu::{Buffer, Gpu, Program, Recording};
use crate::kernels::hop_skip_jump::{self, Draws, PixelRange, Row, Rows};
use crate::kernels::{Shape, Tensor};
use crate::rng::Key;

/// A set of images on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The images that are attacked, x.
    Original,
    /// On the adversarial side of the boundary, where the last search ended.
    Near,
    /// Adversarial and further away: a start, or where the last step ended.
    Far,
    /// Auxiliary images.
    Pool,
    Queries,
}

/// What one program does; the operands of [`Row`] are said beside each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Uniform images as queries.
    Uniform,
    /// `to[output] = (1 − scale)·original[slot] + scale·b[number]`.
    Interpolate { b: Place, to: Place },
    /// Queries around `Near`.
    Directions,
    /// Sums of directions of `number` queries from `output` on.
    Accumulate,
    /// The direction from those sums; its norm to `scalars[output]`.
    Gradient,
    /// `to[output] = clip(near[slot] + scale·direction[slot])`.
    Step { to: Place },
    /// `scalars[output] = ‖b[number] − original[slot]‖`.
    Distance { b: Place },
}

const INTERPOLATIONS: [(Place, Place); 6] = [
    (Place::Pool, Place::Near),
    (Place::Queries, Place::Near),
    (Place::Near, Place::Queries),
    (Place::Near, Place::Far),
    (Place::Far, Place::Queries),
    (Place::Far, Place::Near),
];

/// Buffers and programs for up to `slots` images.
pub(super) struct Board<'a> {
    gpu: &'a Gpu,
    image: Shape,
    /// Rows of the table, as many as the model has.
    rows: usize,
    table: Buffer,
    key: Buffer,
    images: Buffer,
    signs: Buffer,
    scalars: Buffer,
    original: Buffer,
    programs: Vec<(Work, Ladder)>,
    clear: Program,
}

impl<'a> Board<'a> {
    /// `pool` is `[P, C, H, W]`, row-major, P ≥ 0.
    pub fn new(
        gpu: &'a Gpu,
        model: &dyn DecisionModel,
        slots: usize,
        pool: &[f32],
        range: PixelRange,
    ) -> Result<Board<'a>> {
        let (image, rows) = (model.image(), model.rows());
        let state = Shape { n: slots, ..image };
        let pool_shape = Shape { n: pool.len() / image.elements(), ..image };
        let [original, near, far, direction, signed, plain] =
            ["original images", "near images", "far images", "directions", "signed sums", "plain sums"]
                .map(|label| gpu.buffer(label, state.bytes()));
        let (original, near, far) = (original?, near?, far?);
        let (direction, signed, plain) = (direction?, signed?, plain?);
        let pool = gpu.buffer_with("auxiliary images", &pool_shape.pack(pool))?;
        let table = gpu.buffer("rows of work", (rows * size_of::<Row>()) as u64)?;
        let key = gpu.buffer("key of draws", 16)?;
        let images = gpu.buffer("image numbers", slots as u64 * 4)?;
        let signs = gpu.buffer("signs", rows as u64 * 4)?;
        let scalars = gpu.buffer("distances", rows as u64 * 4)?;
        let build = |work: Work, count: usize| -> Result<Program> {
            let mut recording = Recording::new(gpu.facts());
            let r = &mut recording;
            let rows_slice = r.persistent(&table).part(0, (count * size_of::<Row>()) as u64);
            let work_rows = Rows { slice: rows_slice, count };
            let draws = Draws { key: r.persistent(&key), images: r.persistent(&images) };
            let mut tensor = |place: Place| {
                let (buffer, shape) = match place {
                    Place::Original => (&original, state),
                    Place::Near => (&near, state),
                    Place::Far => (&far, state),
                    Place::Pool => (&pool, pool_shape),
                    Place::Queries => (model.queries(), Shape { n: rows, ..image }),
                };
                let slice = r.persistent(buffer);
                // A pool of no images is a buffer that nothing reads.
                Tensor { shape, slice }
            };
            let [x, at, queries] = [Place::Original, Place::Near, Place::Queries].map(&mut tensor);
            let (b, to) = match work {
                Work::Interpolate { b, to } => (tensor(b), tensor(to)),
                Work::Step { to } => (x, tensor(to)),
                Work::Distance { b } => (tensor(b), x),
                _ => (x, x),
            };
            let v = Tensor::new(state, r.persistent(&direction));
            let sums = [&signed, &plain].map(|buffer| Tensor::new(state, r.persistent(buffer)));
            let result = r.persistent(&scalars);
            match work {
                Work::Uniform => hop_skip_jump::uniform_images(r, work_rows, draws, range, queries),
                Work::Interpolate { .. } => hop_skip_jump::interpolate(r, work_rows, x, b, to),
                Work::Directions => hop_skip_jump::directions(r, work_rows, draws, range, at, queries),
                Work::Accumulate => {
                    let signs = r.persistent(&signs);
                    hop_skip_jump::accumulate(r, work_rows, signs, at, queries, sums);
                }
                Work::Gradient => hop_skip_jump::gradient_direction(r, work_rows, sums, v, result),
                Work::Step { .. } => hop_skip_jump::step(r, work_rows, range, at, v, to),
                Work::Distance { .. } => hop_skip_jump::distances(r, work_rows, x, b, result),
            }
            Program::build(gpu, &recording)
        };
        let all = [Work::Uniform, Work::Directions, Work::Accumulate, Work::Gradient]
            .into_iter()
            .chain([Place::Queries, Place::Far].map(|to| Work::Step { to }))
            .chain([Place::Near, Place::Far, Place::Pool].map(|b| Work::Distance { b }))
            .chain(INTERPOLATIONS.map(|(b, to)| Work::Interpolate { b, to }));
        let programs = all
            .map(|work| Ok((work, Ladder::new(Ladder::eighths(rows), |count| build(work, count))?)))
            .collect::<Result<Vec<_>>>()?;
        let mut recording = Recording::new(gpu.facts());
        for buffer in [&signed, &plain] {
            let slice = recording.persistent(buffer);
            recording.clear(slice);
        }
        let clear = Program::build(gpu, &recording)?;
        Ok(Board { gpu, image, rows, table, key, images, signs, scalars, original, programs, clear })
    }

    /// Rows of work that fit one submit.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Puts images `[n, C, H, W]`, row-major, and their numbers into the first slots.
    pub fn begin(&self, images: &[f32], numbers: &[u32]) -> Result<()> {
        self.gpu.write(&self.original, 0, &Shape { n: numbers.len(), ..self.image }.pack(images))?;
        self.gpu.write(&self.images, 0, numbers)
    }

    /// The key of all draws from now on.
    pub fn set_key(&self, key: Key) -> Result<()> {
        self.gpu.write(&self.key, 0, &key.0)
    }

    /// Forgets the sums of directions.
    pub fn clear_sums(&self) {
        self.clear.submit(self.gpu);
    }

    pub fn set_signs(&self, signs: &[f32]) -> Result<()> {
        self.gpu.write(&self.signs, 0, signs)
    }

    /// Submits at most [`Board::rows`] rows of work.
    pub fn submit(&self, work: Work, rows: &[Row]) -> Result<()> {
        // Every kind of work has been recorded in `new`.
        let Some((_, ladder)) = self.programs.iter().find(|(known, _)| *known == work) else {
            return Err(crate::Error::gpu(format!("label-only attack: no program for {work:?}")));
        };
        let mut table = rows.to_vec();
        table.resize(ladder.size(rows.len())?, Row::NOTHING);
        self.gpu.write(&self.table, 0, &table)?;
        ladder.of(rows.len())?.submit(self.gpu);
        Ok(())
    }

    /// Submits any number of rows whose results are written where each row says.
    pub fn submit_all(&self, work: Work, rows: &[Row]) -> Result<()> {
        rows.chunks(self.rows).try_for_each(|chunk| self.submit(work, chunk))
    }

    /// Submits any number of rows of [`Work::Gradient`] or [`Work::Distance`] and returns the scalar of each.
    pub fn scalars(&self, work: Work, rows: &[Row]) -> Result<Vec<f32>> {
        let mut all = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(self.rows) {
            let numbered: Vec<Row> =
                chunk.iter().enumerate().map(|(i, row)| Row { output: i as u32, ..*row }).collect();
            self.submit(work, &numbered)?;
            all.extend(self.gpu.read::<f32>(&self.scalars, 0, chunk.len())?);
        }
        Ok(all)
    }
}
