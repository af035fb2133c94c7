//! Fully connected networks with ReLU in f64 on the CPU, with the gradient of their input: for per-query searches, each of which
//! takes its own path and is too small for a GPU.

use crate::train::Values;
use crate::{Error, Result};

/// One layer: `weight` `[outputs, inputs]`, `bias` `[outputs]`.
#[derive(Clone, Debug, PartialEq)]
struct Layer {
    weight: Vec<f64>,
    bias: Vec<f64>,
}

/// ReLU between layers, none after the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    layers: Vec<Layer>,
}

impl Dense {
    /// The layers `<prefix>layers.<i>.{weight,bias}` of trained values, as [`Mlp`](crate::nn::Mlp) names them.
    ///
    /// # Errors
    /// No layer, or one whose weight is not a whole matrix, by name.
    pub fn from_values(values: &Values, prefix: &str) -> Result<Dense> {
        let mut layers = Vec::new();
        loop {
            let name = |end| format!("{prefix}layers.{}.{end}", layers.len());
            let (Some(weight), Some(bias)) = (values.get(&name("weight")), values.get(&name("bias"))) else {
                break;
            };
            if bias.is_empty() || weight.is_empty() || weight.len() % bias.len() != 0 {
                return Err(Error::shape(format!(
                    "{}: {} numbers do not fit {} biases",
                    name("weight"),
                    weight.len(),
                    bias.len()
                )));
            }
            let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect();
            layers.push(Layer { weight: wide(weight), bias: wide(bias) });
        }
        if layers.is_empty() {
            return Err(Error::shape(format!("{prefix}layers.0.weight: missing")));
        }
        Ok(Dense { layers })
    }

    /// Numbers of input, of each layer between, and of output.
    pub fn widths(&self) -> Vec<usize> {
        let input = self.layers.iter().take(1).map(|layer| layer.weight.len() / layer.bias.len().max(1));
        input.chain(self.layers.iter().map(|layer| layer.bias.len())).collect()
    }

    /// The results of all layers after their activation, the last being the output.
    fn activations(&self, x: &[f64]) -> Vec<Vec<f64>> {
        let mut all: Vec<Vec<f64>> = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let input = all.last().map_or(x, Vec::as_slice);
            let relu = index + 1 < self.layers.len();
            let of_output = |(w, b): (&[f64], &f64)| {
                let y = b + w.iter().zip(input).map(|(w, x)| w * x).sum::<f64>();
                if relu { y.max(0.0) } else { y }
            };
            let y = layer.weight.chunks(input.len().max(1)).zip(&layer.bias).map(of_output).collect();
            all.push(y);
        }
        all
    }

    /// The output for `x`.
    pub fn forward(&self, x: &[f64]) -> Vec<f64> {
        self.activations(x).pop().unwrap_or_default()
    }

    /// The output for `x`, and the gradient of Σ slope·output with respect to `x`, where `slope` is a function of the output.
    pub fn input_gradient(&self, x: &[f64], slope: impl FnOnce(&[f64]) -> Vec<f64>) -> (Vec<f64>, Vec<f64>) {
        let mut all = self.activations(x);
        let output = all.pop().unwrap_or_default();
        let mut gradient = slope(&output);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let input = if index == 0 { x } else { &all[index - 1] };
            let mut before = vec![0.0; input.len()];
            for (w, g) in layer.weight.chunks(input.len().max(1)).zip(&gradient) {
                before.iter_mut().zip(w).for_each(|(b, w)| *b += w * g);
            }
            if index > 0 {
                // `input` is a ReLU's result.
                before.iter_mut().zip(input).for_each(|(b, &y)| *b = if y > 0.0 { *b } else { 0.0 });
            }
            gradient = before;
        }
        (output, gradient)
    }
}
