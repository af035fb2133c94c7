//! What MoCo keeps beside the encoder that it trains: the key encoder, the queue, the order of shuffled batches.

use super::moco::MocoConfig;
use super::model::{Model, Values, Weights};
use crate::gpu::{Allocator, Buffer, Gpu, Recording};
use crate::kernels::{Shape, Tensor};
use crate::rng::{Key, Stream, normal, permutation};
use crate::{Error, Result};

/// What the key encoder's tensors are called in files, before the names that they share with the query encoder's.
pub(super) const PREFIX: &str = "encoder_k.";
/// The queue's name in files, where it is `[D, K]`.
pub(super) const QUEUE: &str = "queue";
/// The row of the queue that the next key overwrites.
pub(super) const QUEUE_POINTER: &str = "queue_ptr";

/// An encoder that follows the trained one, and the queue of its keys.
pub(super) struct KeyEncoder {
    config: MocoConfig,
    pub weights: Weights,
    queue: Buffer,
    shuffles: Vec<Shuffle>,
}

/// The order in which a view's rows go through the key encoder, and the way back: a u32 for each row.
pub(super) struct Shuffle {
    pub order: Buffer,
    pub inverse: Buffer,
}

/// The queue before the first step, `[K, D]` (`length` rows of `depth`): standard normal rows, L2-normalised. Element j of
/// row i is the draw (i, 0, j) of the stream [`Stream::Queue`].
pub fn initial_queue(seed: u64, length: usize, depth: usize) -> Vec<f32> {
    let key = Key::from_seed(seed).stream(Stream::Queue, 0);
    let mut queue = Vec::with_capacity(length * depth);
    for row in 0..length {
        let drawn: Vec<f64> = (0..depth).map(|j| normal(key.draw(row as u32, 0, j as u16))).collect();
        let norm = drawn.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        queue.extend(drawn.iter().map(|x| (x / norm) as f32));
    }
    queue
}

/// The order π of key pass `pass` in step `step`, counted from 0: row j of what the key encoder sees is row π\[j\] of the batch.
pub fn shuffled_order(seed: u64, step: u64, pass: usize, batch: usize) -> Vec<usize> {
    let key = Key::from_seed(seed).stream(Stream::Shuffle, step as u32).stream(Stream::Shuffle, pass as u32);
    permutation(key, batch)
}

impl KeyEncoder {
    /// A copy of the encoder with `values`, and a queue of noise; without values all is zero, for plans.
    pub fn new(
        allocator: Allocator,
        config: &MocoConfig,
        model: &Model,
        values: Option<&Values>,
    ) -> Result<KeyEncoder> {
        let shape = Shape::matrix(config.queue, config.head.output());
        let queue = match values {
            Some(_) => {
                let noise = initial_queue(config.seed, config.queue, config.head.output());
                allocator.buffer_with(QUEUE, &shape.pack(&noise))?
            }
            None => allocator.buffer(QUEUE, shape.bytes())?,
        };
        let rows = config.batch as u64 * 4;
        let passes = if config.shuffle { config.key_passes() } else { 0 };
        let shuffle = |_| -> Result<Shuffle> {
            Ok(Shuffle {
                order: allocator.buffer("shuffled order", rows)?,
                inverse: allocator.buffer("order before the shuffle", rows)?,
            })
        };
        Ok(KeyEncoder {
            weights: model.memory(allocator, values)?,
            queue,
            shuffles: (0..passes).map(shuffle).collect::<Result<_>>()?,
            config: config.clone(),
        })
    }

    fn shape(&self) -> Shape {
        Shape::matrix(self.config.queue, self.config.head.output())
    }

    /// The queue [K, D] as kernels take it.
    pub fn queue(&self, recording: &mut Recording) -> Tensor {
        Tensor::new(self.shape(), recording.persistent(&self.queue))
    }

    /// The shuffle of key pass `pass`, if batches are shuffled.
    pub fn shuffle(&self, pass: usize) -> Option<&Shuffle> {
        self.shuffles.get(pass)
    }

    /// Draws the orders of step `step`, counted from 0.
    pub fn prepare(&self, gpu: &Gpu, step: u64) -> Result<()> {
        for (pass, shuffle) in self.shuffles.iter().enumerate() {
            let order = shuffled_order(self.config.seed, step, pass, self.config.batch);
            let mut inverse = vec![0_u32; order.len()];
            for (place, &row) in order.iter().enumerate() {
                inverse[row] = place as u32;
            }
            let order: Vec<u32> = order.iter().map(|&row| row as u32).collect();
            gpu.write(&shuffle.order, 0, &order)?;
            gpu.write(&shuffle.inverse, 0, &inverse)?;
        }
        Ok(())
    }

    /// Makes it a copy of the encoder with `values` again; the queue stays.
    pub fn copy_of(&self, gpu: &Gpu, model: &Model, values: &Values) -> Result<()> {
        self.weights.write(gpu, &model.parameters, values)
    }

    /// Adds its tensors under the names that they have in files.
    pub fn download(&self, gpu: &Gpu, model: &Model, values: &mut Values) -> Result<()> {
        let own = model.download(gpu, &self.weights)?;
        values.extend(own.into_iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor)));
        let shape = self.shape();
        let packed: Vec<f32> = gpu.read(&self.queue, 0, shape.texels() * 4)?;
        values.insert(QUEUE.into(), transposed(&shape.unpack(&packed), shape.c));
        Ok(())
    }

    /// The inverse of [`KeyEncoder::download`].
    ///
    /// # Errors
    /// A tensor that is missing or of another size, by name.
    pub fn restore(&self, gpu: &Gpu, model: &Model, values: &Values) -> Result<()> {
        let own = values.iter().filter_map(|(name, tensor)| {
            name.strip_prefix(PREFIX).map(|name| (name.to_string(), tensor.clone()))
        });
        self.weights.write(gpu, &model.parameters, &own.collect())?;
        let shape = self.shape();
        let queue = values.get(QUEUE).filter(|queue| queue.len() == shape.elements()).ok_or_else(|| {
            Error::shape(format!(
                "{QUEUE}: expected {} values, {} keys of {}",
                shape.elements(),
                shape.n,
                shape.c
            ))
        })?;
        gpu.write(&self.queue, 0, &shape.pack(&transposed(queue, shape.n)))
    }
}

/// Rows of `columns` elements with rows and columns exchanged.
fn transposed(x: &[f32], columns: usize) -> Vec<f32> {
    let rows = x.len() / columns.max(1);
    (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect()
}
