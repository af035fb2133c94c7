//! Small networks that attacks train: a multilayer perceptron and DeepSets.

use super::layers::{Linear, LinearInit, Names, Tracer};
use crate::Result;
use crate::graph::ops::{Activation, Add, SetBroadcastAdd, SetMax, SetSum};
use crate::graph::{ParameterId, Value};
use crate::kernels::elementwise::Unary;

/// Fully connected layers with one activation after all but the last, and another or none after that. Parameters `layers.<i>.{weight,bias}`.
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    /// Probability of dropout behind the first hidden layer.
    dropout: f32,
}

impl Mlp {
    /// `widths` from input to output, e.g. `[45, 256, 256, 2]`; `last` is applied to the outputs.
    pub fn new(
        names: &mut Names,
        widths: &[usize],
        activation: Unary,
        init: LinearInit,
        last: Option<Unary>,
    ) -> Mlp {
        let end = widths.len().saturating_sub(2);
        let layers = widths
            .windows(2)
            .enumerate()
            .map(|(i, pair)| {
                let mut names = names.inside("layers");
                let mut names = names.inside(i);
                let activation = if i < end { Some(activation) } else { last };
                Linear::new(&mut names, pair[0], pair[1], true, activation, init)
            })
            .collect();
        Mlp { layers, dropout: 0.0 }
    }

    /// The same with dropout behind the first hidden layer (in training).
    pub fn with_dropout(self, dropout: f32) -> Mlp {
        Mlp { dropout, ..self }
    }

    /// The weight matrices.
    pub fn weights(&self) -> Vec<ParameterId> {
        self.layers.iter().map(Linear::weight).collect()
    }

    /// `[N, widths[0]]` to `[N, widths.last()]`.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let mut x = x;
        for (index, layer) in self.layers.iter().enumerate() {
            if index == 1 && self.dropout > 0.0 {
                x = tracer.dropout(x, 0, self.dropout)?;
            }
            x = layer.forward(tracer, x)?;
        }
        Ok(x)
    }
}

/// DeepSets (Zaheer et al., NeurIPS 2017) as EncoderMI-S uses it.
///
/// φ: three layers x ← tanh(Γx + b − Λ·max_set x); pooling: maximum beside mean; ρ: dropout, linear, tanh, dropout, linear.
#[derive(Clone, Debug)]
pub struct DeepSets {
    /// Γ with its bias, and Λ.
    equivariant: Vec<(Linear, Linear)>,
    /// The halves of the first layer of ρ that see the maximum and the mean.
    from_max: Linear,
    from_mean: Linear,
    last: Linear,
    dropout: f32,
}

impl DeepSets {
    /// Sets of scalars, `width` channels inside, `classes` outputs.
    pub fn new(names: &mut Names, width: usize, classes: usize, dropout: f32) -> DeepSets {
        let mut linear =
            |name: String, i, o, bias, init| Linear::new(&mut names.inside(name), i, o, bias, None, init);
        let equivariant = (0..3)
            .map(|n| {
                let i = if n == 0 { 1 } else { width };
                let gamma = linear(format!("phi.{n}.gamma"), i, width, true, LinearInit::Default);
                let lambda = linear(format!("phi.{n}.lambda"), i, width, false, LinearInit::Default);
                (gamma, lambda)
            })
            .collect();
        // One layer of 2·width inputs, kept as two so that no columns need joining; the bound is that of the whole.
        let whole = LinearInit::Bound(1.0 / (2.0 * width as f64).sqrt());
        let from_max = linear("rho.0.max".to_string(), width, width, true, whole);
        let from_mean = linear("rho.0.mean".to_string(), width, width, false, whole);
        let last = linear("rho.1".to_string(), width, classes, true, LinearInit::Default);
        DeepSets { equivariant, from_max, from_mean, last, dropout }
    }

    /// `[sets · elements, 1]` to `[sets, classes]`.
    pub fn forward(&self, tracer: &mut Tracer, x: Value, elements: usize) -> Result<Value> {
        let mut x = x;
        for (gamma, lambda) in &self.equivariant {
            let most = tracer.graph.apply1(SetMax { elements }, &[x])?;
            let most = lambda.forward(tracer, most)?;
            let each = gamma.forward(tracer, x)?;
            let sum = tracer.graph.apply1(SetBroadcastAdd { elements, factor: -1.0 }, &[each, most])?;
            x = tracer.graph.apply1(Activation(Unary::Tanh), &[sum])?;
        }
        let most = tracer.graph.apply1(SetMax { elements }, &[x])?;
        let mean = tracer.graph.apply1(SetSum::mean(elements), &[x])?;
        let (most, mean) = (tracer.dropout(most, 0, self.dropout)?, tracer.dropout(mean, 1, self.dropout)?);
        let (a, b) = (self.from_max.forward(tracer, most)?, self.from_mean.forward(tracer, mean)?);
        let y = tracer.graph.apply1(Add, &[a, b])?;
        let y = tracer.graph.apply1(Activation(Unary::Tanh), &[y])?;
        let y = tracer.dropout(y, 2, self.dropout)?;
        self.last.forward(tracer, y)
    }
}

/// The point-cloud network of the public DeepSets code, on points of three coordinates (`--compat deepsets`):
/// three times x ← tanh(W(x − max_set x) + b), maximum over the set, dropout, linear, tanh, dropout, linear.
#[derive(Clone, Debug)]
pub struct PointSets {
    phi: Vec<Linear>,
    rho: [Linear; 2],
    dropout: f32,
}

impl PointSets {
    /// `width` channels inside, `classes` outputs.
    pub fn new(names: &mut Names, width: usize, classes: usize, dropout: f32) -> PointSets {
        let mut linear = |name: String, i, o, activation| {
            Linear::new(&mut names.inside(name), i, o, true, activation, LinearInit::Default)
        };
        let tanh = Some(Unary::Tanh);
        let phi =
            (0..3).map(|n| linear(format!("phi.{n}"), if n == 0 { 3 } else { width }, width, tanh)).collect();
        let rho = [linear("rho.0".into(), width, width, tanh), linear("rho.1".into(), width, classes, None)];
        PointSets { phi, rho, dropout }
    }

    /// `[sets · elements, 3]` to `[sets, classes]`.
    pub fn forward(&self, tracer: &mut Tracer, x: Value, elements: usize) -> Result<Value> {
        let mut x = x;
        for layer in &self.phi {
            let most = tracer.graph.apply1(SetMax { elements }, &[x])?;
            let centred = tracer.graph.apply1(SetBroadcastAdd { elements, factor: -1.0 }, &[x, most])?;
            x = layer.forward(tracer, centred)?;
        }
        let mut y = tracer.graph.apply1(SetMax { elements }, &[x])?;
        for (layer, linear) in self.rho.iter().enumerate() {
            y = tracer.dropout(y, layer as u16, self.dropout)?;
            y = linear.forward(tracer, y)?;
        }
        Ok(y)
    }
}
