//! Reverse-mode differentiation on the tape.

use super::ops::{Add, Scale, ScaleGradient};
use super::parameters::ParameterId;
use super::trace::{Graph, Value};
use crate::Result;

impl Graph {
    /// Appends the gradient of `loss` (one element) and returns the gradient's value for each trainable
    /// parameter that it depends on, by id.
    pub fn backward(&mut self, loss: Value) -> Result<Vec<(ParameterId, Value)>> {
        self.backward_weighted(&[(loss, 1.0)])
    }

    /// [`Graph::backward`] of Σ weight·loss in one walk. A loss is named once.
    pub fn backward_weighted(&mut self, losses: &[(Value, f32)]) -> Result<Vec<(ParameterId, Value)>> {
        self.backward_scaled(losses, None)
    }

    /// [`Graph::backward_weighted`], all gradients times the loss scale in `scale`, if it is given: a
    /// [`LossScaleState`](crate::kernels::loss_scale::LossScaleState).
    pub fn backward_scaled(
        &mut self,
        losses: &[(Value, f32)],
        scale: Option<Value>,
    ) -> Result<Vec<(ParameterId, Value)>> {
        let gradients = self.gradients(losses, scale)?;
        let parameters: Vec<_> = self.parameters().collect();
        Ok(parameters.into_iter().filter_map(|(id, v)| gradients[v.0].map(|g| (id, g))).collect())
    }

    /// The gradient of Σ weight·loss for every value that existed before, where there is one.
    fn gradients(&mut self, losses: &[(Value, f32)], scale: Option<Value>) -> Result<Vec<Option<Value>>> {
        let mut gradient: Vec<Option<Value>> = vec![None; self.values.len()];
        for index in (0..self.nodes.len()).rev() {
            let node = self.nodes[index].clone();
            let upstream: Vec<Option<Value>> = node.outputs.iter().map(|o| gradient[o.0]).collect();
            let root = losses.iter().find(|(loss, _)| node.outputs.contains(loss));
            if upstream.iter().all(Option::is_none) && root.is_none() {
                continue;
            }
            let wanted: Vec<bool> = node.inputs.iter().map(|i| self.values[i.0].differentiable).collect();
            if !wanted.contains(&true) {
                continue;
            }
            let inputs = node.operation.clone().backward(self, &node, &upstream, &wanted)?;
            let weight = root.map_or(1.0, |(_, weight)| *weight);
            for (&input, add) in node.inputs.iter().zip(inputs) {
                if let Some(mut add) = add {
                    // A loss is a root and knows no upstream: its weight joins here.
                    if weight != 1.0 {
                        add = self.apply1(Scale(weight), &[add])?;
                    }
                    if let (Some(scale), Some(_)) = (scale, root) {
                        add = self.apply1(ScaleGradient, &[add, scale])?;
                    }
                    gradient[input.0] = Some(match gradient[input.0] {
                        Some(sum) => self.apply1(Add, &[sum, add])?,
                        None => add,
                    });
                }
            }
        }
        Ok(gradient)
    }
}
