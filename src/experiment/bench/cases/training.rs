//! The two ends of a step: augmentation and optimizers.

use super::{Case, Scale};
use crate::Result;
use crate::augment::{Recipe, augment};
use crate::experiment::bench::Workspace;
use crate::gpu::Slice;
use crate::kernels::augment::{Batch, BatchEntry, Images, PixelFormat, ViewOrder};
use crate::kernels::loss_scale;
use crate::kernels::optim::{self, Adam, Lars, Segment, SegmentTable, Sgd};
use crate::kernels::{Shape, Tensor};

pub(super) fn cases(scale: &Scale) -> Vec<Case> {
    let mut cases: Vec<Case> =
        ["moco-cifar", "simclr-96", "moco-v2-imagenet"].map(|recipe| views(recipe, scale.batch)).into();
    cases.extend(optimizers(scale));
    cases
}

/// Two views of each of half the batch's images.
fn views(recipe: &'static str, batch: usize) -> Case {
    let images = batch.div_ceil(2);
    Case::new("augment", format!("{recipe}, {images} images, 2 views"), move |space| {
        let recipe = Recipe::named(recipe)?;
        let size = recipe.size;
        let entries: Vec<BatchEntry> =
            (0..images as u32).map(|i| BatchEntry { sample: i, slot: i }).collect();
        let pixels: Vec<u32> =
            (0..images * size * size).map(|i| (i as u32).wrapping_mul(2_654_435_769) >> 8).collect();
        let source = Images {
            slice: space.words("images", &pixels)?,
            format: PixelFormat::Packed8,
            count: images,
            height: size,
            width: size,
        };
        let entries = space.words("entries", &entries)?;
        let batch = Batch { entries, images, views: 2, first_view: 0, order: ViewOrder::ViewMajor };
        let (step, y) = (space.step()?, space.output(Shape::new(2 * images, 3, size, size)));
        augment(&mut space.recording, step, &source, &batch, &recipe, y).map(|_records| ())
    })
}

/// A loss scale of one.
const LOSS_SCALE: [u32; 4] = [1f32.to_bits(), 0, 0, 0];
/// Tensors that LARS sees in the arena.
const SEGMENTS: usize = 60;

fn optimizers(scale: &Scale) -> Vec<Case> {
    let texels = scale.parameters / 4;
    let bytes = texels as u64 * 16;
    let gradient = Shape::matrix(scale.batch, 128);
    let text = format!("{} parameters", scale.parameters);
    // Step, parameters, gradients.
    let arena = move |space: &mut Workspace| -> Result<(Slice, Slice, Slice)> {
        Ok((space.step()?, space.floats("parameters", bytes)?, space.floats("gradients", bytes)?))
    };
    let adam = |name, decoupled| {
        Case::new(name, &text, move |space: &mut Workspace| {
            let (step, parameters, gradients) = arena(space)?;
            let (mean, square) = (space.zeros("mean", bytes)?, space.zeros("square", bytes)?);
            let settings = Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 1e-6, decoupled };
            optim::adam(&mut space.recording, step, &settings, parameters, gradients, mean, square)
        })
    };
    vec![
        Case::new("sgd", &text, move |space| {
            let (step, parameters, gradients) = arena(space)?;
            let velocity = space.zeros("velocity", bytes)?;
            let settings = Sgd { momentum: 0.9, nesterov: false, weight_decay: 1e-4 };
            optim::sgd(&mut space.recording, step, &settings, parameters, gradients, Some(velocity))
        }),
        adam("adam", false),
        adam("adamw", true),
        Case::new("lars", &text, move |space| {
            let (step, parameters, gradients) = arena(space)?;
            let velocity = space.zeros("velocity", bytes)?;
            let length = texels.div_ceil(SEGMENTS);
            let segments: Vec<Segment> = (0..texels)
                .step_by(length)
                .map(|offset| Segment { offset, length: length.min(texels - offset) })
                .collect();
            let table = SegmentTable::new(space.gpu, &segments)?;
            let settings = Lars { momentum: 0.9, weight_decay: 1e-6, trust: 1e-3 };
            optim::lars(&mut space.recording, step, &settings, &table, parameters, gradients, velocity)
        }),
        Case::new("ema", &text, move |space| {
            let (_, parameters, target) = arena(space)?;
            optim::ema(&mut space.recording, 0.999, target, parameters)
        }),
        Case::new("gradient_norm", &text, move |space| {
            let (_, _, gradients) = arena(space)?;
            let norm = space.output_bytes(16);
            optim::gradient_norm(&mut space.recording, &[gradients], norm);
            Ok(())
        }),
        Case::new("clip", &text, move |space| {
            let (_, _, gradients) = arena(space)?;
            // A norm within the limit: repeated calls must not shrink the gradients into denormals.
            let norm: Tensor = space.constant("norm", Shape::matrix(1, 4), 1.0)?;
            optim::clip(&mut space.recording, norm.slice, 10.0, &[gradients])
        }),
        Case::new("unscale", &text, move |space| {
            let (_, _, gradients) = arena(space)?;
            // By one, for the same reason.
            let state = space.words("loss scale", &LOSS_SCALE)?;
            loss_scale::unscale(&mut space.recording, state, gradients)
        }),
        Case::new("scale_gradient", gradient, move |space| {
            let state = space.words("loss scale", &LOSS_SCALE)?;
            let (x, y) = (space.tensor("gradient", gradient)?, space.output(gradient));
            loss_scale::scale_gradient(&mut space.recording, state, x, y);
            Ok(())
        }),
        Case::new("loss_scale update", "one", move |space| {
            let settings = loss_scale::Update {
                norm: space.zeros("norm", 16)?,
                corrections: space.zeros("corrections", 16)?,
                phase: 0,
                growth_interval: u32::MAX,
            };
            let (state, step) = (space.words("loss scale", &LOSS_SCALE)?, space.step()?);
            loss_scale::update(&mut space.recording, &settings, state, step);
            Ok(())
        }),
    ]
}
