//! Batch norm, element-wise maps, pooling, reductions: what lies between the dense layers.

use super::{Case, Scale};
use crate::Result;
use crate::experiment::bench::Workspace;
use crate::gpu::Recording;
use crate::kernels::elementwise::{self, Dropout, Unary};
use crate::kernels::norm::{
    BatchNormEval, BatchNormGrad, BatchNormTrain, batch_norm_eval, batch_norm_eval_grad, batch_norm_train,
    batch_norm_train_grad,
};
use crate::kernels::pool::{self, Pool2d};
use crate::kernels::{Shape, Tensor, reduce};

pub(super) fn cases(scale: &Scale) -> Vec<Case> {
    [norms(scale), maps(scale), pools(scale), reductions(scale)].into_iter().flatten().collect()
}

fn first_stage(scale: &Scale) -> Shape {
    Shape::new(scale.batch, 64, 32, 32)
}
fn last_stage(scale: &Scale) -> Shape {
    Shape::new(scale.batch, 512, 4, 4)
}

/// A batch norm's surroundings: ReLU alone as after a block's first convolution, residual and ReLU as at its end.
#[derive(Clone, Copy)]
struct Norm {
    shape: Shape,
    residual: bool,
    activation: Option<Unary>,
    /// In training.
    splits: usize,
}

impl Norm {
    fn text(&self) -> String {
        let parts = [(self.residual, " + residual"), (self.activation.is_some(), ", relu")];
        let parts: String = parts.iter().filter(|(has, _)| *has).map(|(_, text)| *text).collect();
        let splits = if self.splits > 1 { format!(", {} splits", self.splits) } else { String::new() };
        format!("{}{parts}{splits}", self.shape)
    }

    /// The same in two splits.
    fn split(self) -> Norm {
        Norm { shape: Shape { n: self.shape.n.next_multiple_of(2), ..self.shape }, splits: 2, ..self }
    }

    fn statistics(&self) -> Shape {
        Shape::matrix(self.splits, self.shape.c)
    }

    fn vector(&self, space: &mut Workspace, label: &str, value: f32) -> Result<Tensor> {
        space.constant(label, Shape::matrix(1, self.shape.c), value)
    }

    fn train(self) -> Case {
        Case::new("batch_norm_train", self.text(), move |space| {
            let norm = BatchNormTrain {
                x: space.tensor("x", self.shape)?,
                gamma: self.vector(space, "gamma", 1.0)?,
                beta: self.vector(space, "beta", 0.0)?,
                running_mean: self.vector(space, "running mean", 0.0)?,
                running_variance: self.vector(space, "running variance", 1.0)?,
                residual: self.residual.then(|| space.tensor("residual", self.shape)).transpose()?,
                activation: self.activation,
                y: space.output(self.shape),
                mean: space.output(self.statistics()),
                inv_std: space.output(self.statistics()),
            };
            batch_norm_train(&mut space.recording, &norm);
            Ok(())
        })
    }

    fn eval(self) -> Case {
        Case::new("batch_norm_eval", self.text(), move |space| {
            let norm = BatchNormEval {
                x: space.tensor("x", self.shape)?,
                gamma: self.vector(space, "gamma", 1.0)?,
                beta: self.vector(space, "beta", 0.0)?,
                running_mean: self.vector(space, "running mean", 0.0)?,
                running_variance: self.vector(space, "running variance", 1.0)?,
                residual: self.residual.then(|| space.tensor("residual", self.shape)).transpose()?,
                activation: self.activation,
                y: space.output(self.shape),
            };
            batch_norm_eval(&mut space.recording, &norm);
            Ok(())
        })
    }

    /// `second`: dy as the sum of two gradients.
    fn grad(self, name: &'static str, launcher: fn(&mut Recording, &BatchNormGrad), second: bool) -> Case {
        let text = self.text() + if second { ", two dy" } else { "" };
        Case::new(name, text, move |space| {
            let vector = Shape::matrix(1, self.shape.c);
            let grad = BatchNormGrad {
                x: space.tensor("x", self.shape)?,
                y: space.tensor("y", self.shape)?,
                dy: space.tensor("dy", self.shape)?,
                dy_second: second.then(|| space.tensor("second dy", self.shape)).transpose()?,
                gamma: self.vector(space, "gamma", 1.0)?,
                beta: self.vector(space, "beta", 0.0)?,
                mean: space.constant("mean", self.statistics(), 0.0)?,
                spread: space.constant("spread", self.statistics(), 1.0)?,
                activation: self.activation,
                dx: space.output(self.shape),
                dresidual: self.residual.then(|| space.output(self.shape)),
                dgamma: space.output(vector),
                dbeta: space.output(vector),
            };
            launcher(&mut space.recording, &grad);
            Ok(())
        })
    }
}

fn norms(scale: &Scale) -> Vec<Case> {
    let relu = |shape, residual| Norm { shape, residual, activation: Some(Unary::Relu), splits: 1 };
    let (inner, end) = (|shape| relu(shape, false), |shape| relu(shape, true));
    let plain = |shape| Norm { activation: None, ..inner(shape) };
    let (first, last, head) = (first_stage(scale), last_stage(scale), Shape::matrix(scale.batch.max(2), 512));
    let all = [inner(first), end(first), plain(first), inner(last), inner(head)];
    let split = [inner(first).split(), end(first).split(), inner(last).split()];
    let trained = || all.iter().chain(&split);
    let mut cases: Vec<Case> = trained().map(|norm| norm.train()).collect();
    cases.extend(all[..2].iter().map(|norm| norm.eval()));
    cases.extend(trained().map(|norm| norm.grad("batch_norm_train_grad", batch_norm_train_grad, false)));
    cases.push(all[1].grad("batch_norm_train_grad", batch_norm_train_grad, true));
    cases.push(all[1].grad("batch_norm_eval_grad", batch_norm_eval_grad, false));
    cases
}

fn maps(scale: &Scale) -> Vec<Case> {
    let shape = first_stage(scale);
    let unary = |name, f| {
        Case::new(name, shape, move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.output(shape));
            elementwise::unary(&mut space.recording, f, x, y);
            Ok(())
        })
    };
    let binary = |name, launcher: fn(&mut Recording, Tensor, Tensor, Tensor)| {
        Case::new(name, shape, move |space| {
            let (a, b) = (space.tensor("a", shape)?, space.tensor("b", shape)?);
            let y = space.output(shape);
            launcher(&mut space.recording, a, b, y);
            Ok(())
        })
    };
    let features = Shape::matrix(4 * scale.batch, 512);
    vec![
        unary("unary relu", Unary::Relu),
        unary("unary relu6", Unary::Relu6),
        unary("unary tanh", Unary::Tanh),
        binary("unary_grad relu", |r, y, dy, dx| elementwise::unary_grad(r, Unary::Relu, y, dy, dx)),
        binary("add", elementwise::add),
        binary("mul", elementwise::mul),
        Case::new("scale", shape, move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.output(shape));
            elementwise::scale(&mut space.recording, x, 0.5, y);
            Ok(())
        }),
        Case::new("accumulate", shape, move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.tensor("y", shape)?);
            elementwise::accumulate(&mut space.recording, x, y);
            Ok(())
        }),
        Case::new("bias_activation relu", features, move |space| {
            let (x, b) = (space.tensor("x", features)?, space.tensor("b", Shape::matrix(1, 512))?);
            let y = space.output(features);
            elementwise::bias_activation(&mut space.recording, x, b, Some(Unary::Relu), y);
            Ok(())
        }),
        Case::new("dropout", features, move |space| {
            let samples: Vec<u32> = (0..features.n as u32).collect();
            let (step, samples) = (space.step()?, space.words("samples", &samples)?);
            let (x, y) = (space.tensor("x", features)?, space.output(features));
            let dropout = Dropout { step, samples, layer: 1, probability: 0.5 };
            elementwise::dropout(&mut space.recording, &dropout, x, y);
            Ok(())
        }),
        Case::new("gather_rows", shape, move |space| {
            let backwards: Vec<u32> = (0..shape.n as u32).rev().collect();
            let (x, y) = (space.tensor("x", shape)?, space.output(shape));
            let rows = space.words("rows", &backwards)?;
            elementwise::gather_rows(&mut space.recording, x, rows, y);
            Ok(())
        }),
        Case::new("copy_channels", shape, move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.output(Shape { c: 2 * shape.c, ..shape }));
            elementwise::copy_channels(&mut space.recording, x, 0, shape.c, y, shape.c);
            Ok(())
        }),
    ]
}

fn pools(scale: &Scale) -> Vec<Case> {
    let stem = Shape::new(scale.batch, 64, 48, 48);
    let maximum = move || Pool2d::new(stem, 3, 2, 1);
    let average = move || Pool2d::new(stem, 2, 2, 0);
    let maps = last_stage(scale);
    let features = Shape::matrix(maps.n, maps.c);
    vec![
        Case::new("max_pool2d", format!("{stem} 3x3 s2"), move |space| {
            let pool = maximum()?;
            let (x, y) = (space.tensor("x", pool.input)?, space.output(pool.output));
            let places = space.output_bytes(pool.places_bytes());
            pool::max_pool2d(&mut space.recording, &pool, x, y, places);
            Ok(())
        }),
        Case::new("max_pool2d_grad", format!("{stem} 3x3 s2"), move |space| {
            let pool = maximum()?;
            let (dy, dx) = (space.tensor("dy", pool.output)?, space.output(pool.input));
            let places = space.zeros("places", pool.places_bytes())?;
            pool::max_pool2d_grad(&mut space.recording, &pool, places, dy, dx);
            Ok(())
        }),
        Case::new("avg_pool2d", format!("{stem} 2x2 s2"), move |space| {
            let pool = average()?;
            let (x, y) = (space.tensor("x", pool.input)?, space.output(pool.output));
            pool::avg_pool2d(&mut space.recording, &pool, x, y);
            Ok(())
        }),
        Case::new("avg_pool2d_grad", format!("{stem} 2x2 s2"), move |space| {
            let pool = average()?;
            let (dy, dx) = (space.tensor("dy", pool.output)?, space.output(pool.input));
            pool::avg_pool2d_grad(&mut space.recording, &pool, dy, dx);
            Ok(())
        }),
        Case::new("global_avg_pool2d", maps, move |space| {
            let (x, y) = (space.tensor("x", maps)?, space.output(features));
            pool::global_avg_pool2d(&mut space.recording, x, y);
            Ok(())
        }),
        Case::new("global_avg_pool2d_grad", maps, move |space| {
            let (dy, dx) = (space.tensor("dy", features)?, space.output(maps));
            pool::global_avg_pool2d_grad(&mut space.recording, dy, dx);
            Ok(())
        }),
    ]
}

/// Elements of a set of the DeepSets attack: similarities of ten views.
const SET: usize = 45;

fn reductions(scale: &Scale) -> Vec<Case> {
    let shape = first_stage(scale);
    let features = Shape::matrix(4 * scale.batch, 512);
    let (elements, sets) = (Shape::matrix(SET * scale.batch, 256), Shape::matrix(scale.batch, 256));
    let parts = 16;
    let channel_sums = |shape: Shape| {
        Case::new("channel_sums", shape, move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.output(Shape::matrix(1, shape.c)));
            reduce::channel_sums(&mut space.recording, x, y);
            Ok(())
        })
    };
    let of_sets = |name, from: Shape, to: Shape, launcher: fn(&mut Recording, Tensor, Tensor)| {
        Case::new(name, elements, move |space| {
            let (x, y) = (space.tensor("x", from)?, space.output(to));
            launcher(&mut space.recording, x, y);
            Ok(())
        })
    };
    vec![
        channel_sums(shape),
        channel_sums(features),
        Case::new("sum", shape, move |space| {
            let (x, y) = (space.tensor("x", shape)?, space.output(Shape::matrix(1, 1)));
            reduce::sum(&mut space.recording, x, y);
            Ok(())
        }),
        Case::new("count_non_finite", shape, move |space| {
            let (x, count) = (space.tensor("x", shape)?, space.output_bytes(16));
            reduce::count_non_finite(&mut space.recording, x.slice, count);
            Ok(())
        }),
        Case::new("sum_parts", format!("{parts} of {features}"), move |space| {
            let all = space.floats("parts", parts as u64 * features.bytes())?;
            let y = space.output(features);
            reduce::sum_parts(&mut space.recording, all, parts, y.slice);
            Ok(())
        }),
        of_sets("set_mean", elements, sets, reduce::set_mean),
        of_sets("set_mean_grad", sets, elements, reduce::set_mean_grad),
        Case::new("set_max", elements, move |space| {
            let (x, y) = (space.tensor("x", elements)?, space.output(sets));
            let places = space.output_bytes(reduce::set_places_bytes(sets));
            reduce::set_max(&mut space.recording, x, y, places);
            Ok(())
        }),
        Case::new("set_max_grad", elements, move |space| {
            let (dy, dx) = (space.tensor("dy", sets)?, space.output(elements));
            let places = space.zeros("places", reduce::set_places_bytes(sets))?;
            reduce::set_max_grad(&mut space.recording, dy, places, dx);
            Ok(())
        }),
        Case::new("set_broadcast_add", elements, move |space| {
            let (x, b) = (space.tensor("x", elements)?, space.tensor("b", sets)?);
            let y = space.output(elements);
            reduce::set_broadcast_add(&mut space.recording, x, b, 1.0, y);
            Ok(())
        }),
    ]
}
