//! Batch norm with the residual sum and the activation that follow it, in training and in evaluation.

use super::add::Add;
use super::conv2d::{Conv2d, Conv2dNorm};
use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::elementwise::Unary;
use crate::kernels::{Shape, norm};
use crate::{Error, Result};
use std::any::Any;
use std::sync::Arc;

/// `y = f(bn(x) + residual)` with the batch's statistics, which also move the running ones.
/// Inputs x, γ, β, running mean, running variance, and optionally the residual. Outputs y, mean, 1/√(σ² + ε), the last
/// two with a row for each split.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormTrain {
    pub activation: Option<Unary>,
    /// Parts of the batch with statistics of their own, sample i in part i mod `splits`; 1 for plain batch norm.
    pub splits: usize,
}

/// The same with the running statistics. Output y.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormEval {
    pub activation: Option<Unary>,
}

fn check(name: &str, inputs: &[Form]) -> Result<Shape> {
    let [x, vectors @ ..] = inputs else { return Err(Error::shape(format!("{name}: expected inputs"))) };
    let x = x.shape(name)?;
    let vector = Form::Tensor(Shape::matrix(1, x.c));
    let fits = match vectors {
        [a, b, c, d] => [a, b, c, d].iter().all(|v| **v == vector),
        [a, b, c, d, residual] => [a, b, c, d].iter().all(|v| **v == vector) && *residual == Form::Tensor(x),
        _ => false,
    };
    if !fits {
        return Err(Error::shape(format!("{name}: operands {vectors:?} do not fit an input {x}")));
    }
    Ok(x)
}

impl Operation for BatchNormTrain {
    fn name(&self) -> &'static str {
        "batch_norm_train"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = check(self.name(), inputs)?;
        norm::check_batch_norm(x, self.splits)?;
        let statistics = Form::Tensor(Shape::matrix(self.splits, x.c));
        Ok(vec![Form::Tensor(x), statistics, statistics])
    }
    fn prepare(&self, recording: &mut Recording, inputs: &[Operand]) -> Result<()> {
        norm::ask_for_statistics(recording, inputs[0].tensor(), self.splits);
        Ok(())
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        norm::batch_norm_train(
            recording,
            &norm::BatchNormTrain {
                x: inputs[0].tensor(),
                gamma: inputs[1].tensor(),
                beta: inputs[2].tensor(),
                running_mean: inputs[3].tensor(),
                running_variance: inputs[4].tensor(),
                residual: inputs.get(5).map(Operand::tensor),
                activation: self.activation,
                y: outputs[0].tensor(),
                mean: outputs[1].tensor(),
                inv_std: outputs[2].tensor(),
            },
        );
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let statistics = (node.outputs[1], node.outputs[2]);
        backward(graph, node, upstream[0], wanted, self.activation, statistics, true)
    }
}

impl Operation for BatchNormEval {
    fn name(&self) -> &'static str {
        "batch_norm_eval"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        Ok(vec![Form::Tensor(check(self.name(), inputs)?)])
    }
    fn fused(&self, before: &dyn Operation) -> Option<Arc<dyn Operation>> {
        let conv = (before as &dyn Any).downcast_ref::<Conv2d>()?;
        Some(Arc::new(Conv2dNorm { conv: *conv, activation: self.activation }))
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        norm::batch_norm_eval(
            recording,
            &norm::BatchNormEval {
                x: inputs[0].tensor(),
                gamma: inputs[1].tensor(),
                beta: inputs[2].tensor(),
                running_mean: inputs[3].tensor(),
                running_variance: inputs[4].tensor(),
                residual: inputs.get(5).map(Operand::tensor),
                activation: self.activation,
                y: outputs[0].tensor(),
            },
        );
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let statistics = (node.inputs[3], node.inputs[4]);
        backward(graph, node, upstream[0], wanted, self.activation, statistics, false)
    }
}

fn backward(
    graph: &mut Graph,
    node: &Node,
    upstream: Option<Value>,
    wanted: &[bool],
    activation: Option<Unary>,
    (mean, spread): (Value, Value),
    training: bool,
) -> Result<Vec<Option<Value>>> {
    let Some(dy) = upstream else { return Ok(vec![None; wanted.len()]) };
    let residual = node.inputs.len() > 5;
    let operation = BatchNormGrad { activation, residual, training, sum: false };
    let inputs = [dy, node.inputs[0], node.outputs[0], node.inputs[1], node.inputs[2], mean, spread];
    let outputs = graph.apply(operation, &inputs)?;
    let mut gradients = vec![Some(outputs[0]), Some(outputs[1]), Some(outputs[2]), None, None];
    if residual {
        gradients.push(Some(outputs[3]));
    }
    Ok(gradients.into_iter().zip(wanted).map(|(g, &w)| g.filter(|_| w)).collect())
}

/// Inputs dy (or the two whose sum it is), x, y, γ, β, mean, spread. Outputs dx, dγ, dβ, and the residual's gradient.
#[derive(Clone, Copy)]
struct BatchNormGrad {
    activation: Option<Unary>,
    residual: bool,
    training: bool,
    /// Whether dy is the sum of two inputs, as in front of a residual block, whose two paths read y.
    sum: bool,
}

impl BatchNormGrad {
    /// Where x is among the inputs.
    fn first(&self) -> usize {
        1 + usize::from(self.sum)
    }
}

impl Operation for BatchNormGrad {
    fn name(&self) -> &'static str {
        "batch_norm_grad"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let own = &inputs[self.first()..];
        let mut forms = vec![own[0], own[2], own[3]];
        forms.extend(self.residual.then_some(own[0]));
        Ok(forms)
    }
    fn fused(&self, before: &dyn Operation) -> Option<Arc<dyn Operation>> {
        (before as &dyn Any).downcast_ref::<Add>()?;
        (self.activation.is_some() && !self.sum)
            .then(|| Arc::new(BatchNormGrad { sum: true, ..*self }) as Arc<dyn Operation>)
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (upstream, own) = inputs.split_at(self.first());
        let grad = norm::BatchNormGrad {
            x: own[0].tensor(),
            y: own[1].tensor(),
            dy: upstream[0].tensor(),
            dy_second: upstream.get(1).map(Operand::tensor),
            gamma: own[2].tensor(),
            beta: own[3].tensor(),
            mean: own[4].tensor(),
            spread: own[5].tensor(),
            activation: self.activation,
            dx: outputs[0].tensor(),
            dgamma: outputs[1].tensor(),
            dbeta: outputs[2].tensor(),
            dresidual: outputs.get(3).map(Operand::tensor),
        };
        if self.training {
            norm::batch_norm_train_grad(recording, &grad);
        } else {
            norm::batch_norm_eval_grad(recording, &grad);
        }
        Ok(())
    }
}
