//! Classifiers that answer with labels only.

use super::ladder::Ladder;
use crate::gpu::{Buffer, Gpu, Program, Recording};
use crate::graph::ops::{BiasActivation, Conv2d};
use crate::graph::{Form, Graph, Init, Memory, ParameterSet, Role, Value};
use crate::kernels::Shape;
use crate::kernels::conv::WeightShape;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// A classifier that answers with labels, its queries on the GPU.
pub trait DecisionModel {
    /// Shape of one image: n = 1, any c, h, w.
    fn image(&self) -> Shape;

    /// Most queries of one submit, at least 1.
    fn rows(&self) -> usize;

    /// Where queries are put: NC4HW4 f32 `[rows, C, H, W]`, pixel values before normalisation, padding lanes zero.
    fn queries(&self) -> &Buffer;

    /// Labels of the first `rows` queries. The label of a query must not depend on its row nor on the others.
    ///
    /// # Errors
    /// When the device is lost, or logits are not finite.
    fn labels(&self, gpu: &Gpu, rows: usize) -> Result<Vec<u32>>;
}

/// A classifier that a graph computes: `[rows, C, H, W]` to logits `[rows, classes]`; the label is the largest logit, the
/// first of equal ones.
pub struct GraphModel {
    image: Shape,
    classes: usize,
    queries: Buffer,
    logits: Buffer,
    programs: Ladder,
}

/// What a classifier's tracing returns: the logits, and where its parameters lie.
pub type Traced = (Value, Memory);

impl GraphModel {
    /// `trace` is called once for each of `sizes`, the numbers of queries that a submit may have: it appends the
    /// classifier to the graph, given the queries' value. A submit runs the smallest size that holds its queries. Kernels
    /// may choose their tiles by the size, and then the last bits of logits may differ between sizes; one size alone
    /// gives labels that never depend on how queries are packed.
    ///
    /// # Errors
    /// No size or a size of zero, an image that is not one, logits that are not a matrix; whatever `trace` returns.
    pub fn new(
        gpu: &Gpu,
        image: Shape,
        sizes: &[usize],
        trace: &dyn Fn(&mut Graph, &mut Recording, Value) -> Result<Traced>,
    ) -> Result<GraphModel> {
        let most = sizes.iter().copied().max().unwrap_or(0);
        if most == 0 || sizes.contains(&0) || image.n != 1 || image.elements() == 0 {
            return Err(Error::shape(format!(
                "decision model: expected sizes of at least one query and one image, found {sizes:?} and {image}"
            )));
        }
        let queries = gpu.buffer("queries", Shape { n: most, ..image }.bytes())?;
        let (mut classes, mut logits) = (None, None);
        let programs = Ladder::new(sizes.to_vec(), |rows| {
            let mut recording = Recording::new(gpu.facts());
            let mut graph = Graph::new();
            let x = graph.input("queries", Form::Tensor(Shape { n: rows, ..image }));
            let (y, memory) = trace(&mut graph, &mut recording, x)?;
            let shape = graph.shape(y)?;
            if shape.n != rows || shape.pixels() != 1 || *classes.get_or_insert(shape.c) != shape.c {
                return Err(Error::shape(format!(
                    "decision model: expected logits of {rows} rows, the same classes for all sizes, found {shape}"
                )));
            }
            let logits: &Buffer = match &mut logits {
                Some(logits) => logits,
                empty => empty.insert(gpu.buffer("logits", Shape::matrix(most, shape.c).bytes())?),
            };
            let (from, to) = (recording.persistent(&queries), recording.persistent(logits));
            graph.record(&mut recording, &memory.with_input("queries", from).with_value(y, to))?;
            Program::build(gpu, &recording)
        })?;
        let (Some(classes), Some(logits)) = (classes, logits) else {
            return Err(Error::shape("decision model: no program was recorded"));
        };
        Ok(GraphModel { image, classes, queries, logits, programs })
    }

    /// Linear logits of square images: `weight` `[classes, C, H, W]` and `bias` `[classes]`, row-major.
    ///
    /// # Errors
    /// As [`GraphModel::new`]; images that are not square, weights of another size.
    pub fn linear(
        gpu: &Gpu,
        image: Shape,
        sizes: &[usize],
        weight: &[f32],
        bias: &[f32],
    ) -> Result<GraphModel> {
        let (classes, inputs) = (bias.len(), image.elements());
        if image.h != image.w || classes == 0 || weight.len() != classes * inputs {
            return Err(Error::shape(format!(
                "linear classifier: expected square images and {classes} rows of {inputs} weights, found {image} and {} weights",
                weight.len()
            )));
        }
        let mut parameters = ParameterSet::new();
        // A kernel as large as the image is the scalar product with all of it.
        let form = Form::Weight(WeightShape { o: classes, i: image.c, kernel: image.h });
        let dimensions = vec![classes, image.c, image.h, image.w];
        let w = parameters.add("weight".into(), form, dimensions, Init::Zeros, Role::Trained);
        let form = Form::Tensor(Shape::matrix(1, classes));
        let b = parameters.add("bias".into(), form, vec![classes], Init::Zeros, Role::Trained);
        let values =
            BTreeMap::from([("weight".to_string(), weight.to_vec()), ("bias".to_string(), bias.to_vec())]);
        let arena = gpu.buffer_with("linear classifier", &parameters.pack_arena(Role::Trained, &values)?)?;
        GraphModel::new(gpu, image, sizes, &|graph, recording, x| {
            let [weight, bias] = [w, b].map(|id| graph.parameter(id, parameters.get(id)));
            let product = graph.apply1(Conv2d { stride: 1, padding: 0 }, &[x, weight])?;
            let y = graph.apply1(BiasActivation(None), &[product, bias])?;
            let memory = Memory::default()
                .with_value(weight, parameters.slice(w, recording, &arena))
                .with_value(bias, parameters.slice(b, recording, &arena));
            Ok((y, memory))
        })
    }
}

impl DecisionModel for GraphModel {
    fn image(&self) -> Shape {
        self.image
    }
    fn rows(&self) -> usize {
        self.programs.most()
    }
    fn queries(&self) -> &Buffer {
        &self.queries
    }
    fn labels(&self, gpu: &Gpu, rows: usize) -> Result<Vec<u32>> {
        let shape = Shape::matrix(rows, self.classes);
        self.programs.of(rows)?.submit(gpu);
        let packed: Vec<f32> = gpu.read(&self.logits, 0, shape.texels() * 4)?;
        shape.unpack(&packed).chunks(self.classes).enumerate().map(|(row, l)| largest(row, l)).collect()
    }
}

/// The place of the largest logit, the first of equal ones.
fn largest(row: usize, logits: &[f32]) -> Result<u32> {
    let mut best = 0;
    for (class, &logit) in logits.iter().enumerate() {
        if !logit.is_finite() {
            return Err(Error::Diverged(format!(
                "decision model: logit {class} of query {row} is {logit}, expected a finite number; the classifier is broken"
            )));
        }
        if logit > logits[best] {
            best = class;
        }
    }
    Ok(best as u32)
}

/// Labels of images `[N, C, H, W]`, row-major, any number of them.
///
/// # Errors
/// Numbers that do not make whole images or are not finite; as [`DecisionModel::labels`].
pub fn labels_of(gpu: &Gpu, model: &dyn DecisionModel, images: &[f32]) -> Result<Vec<u32>> {
    let each = check_images(model, images)?;
    let mut labels = Vec::with_capacity(images.len() / each);
    for chunk in images.chunks(model.rows() * each) {
        let shape = Shape { n: chunk.len() / each, ..model.image() };
        gpu.write(model.queries(), 0, &shape.pack(chunk))?;
        labels.extend(model.labels(gpu, shape.n)?);
    }
    Ok(labels)
}

/// Numbers of one image, where `images` are whole finite ones.
pub(super) fn check_images(model: &dyn DecisionModel, images: &[f32]) -> Result<usize> {
    let each = model.image().elements();
    if each == 0 || model.rows() == 0 || !images.len().is_multiple_of(each) {
        return Err(Error::shape(format!(
            "label-only attack: {} numbers do not make images {} for a model of {} rows",
            images.len(),
            model.image(),
            model.rows()
        )));
    }
    match images.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(Error::shape(format!(
            "label-only attack: image {} holds {} at place {}; expected finite numbers",
            at / each,
            images[at],
            at % each
        ))),
        None => Ok(each),
    }
}
