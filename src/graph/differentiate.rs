//! Reverse-mode differentiation on the tape.

use super::ops::Add;
use super::parameters::ParameterId;
use super::trace::{Graph, Value};
use crate::Result;

impl Graph {
    /// Appends the gradient of `loss` (one element) and returns the gradient's value for each trainable
    /// parameter that it depends on, by id.
    pub fn backward(&mut self, loss: Value) -> Result<Vec<(ParameterId, Value)>> {
        self.backward_sum(&[loss])
    }

    /// [`Graph::backward`] of the sum of several losses.
    pub fn backward_sum(&mut self, losses: &[Value]) -> Result<Vec<(ParameterId, Value)>> {
        let gradients = self.gradients(losses)?;
        let parameters: Vec<_> = self.parameters().collect();
        Ok(parameters.into_iter().filter_map(|(id, v)| gradients[v.0].map(|g| (id, g))).collect())
    }

    /// The gradient of the sum of `losses` for every value that existed before, where there is one.
    fn gradients(&mut self, losses: &[Value]) -> Result<Vec<Option<Value>>> {
        let mut gradient: Vec<Option<Value>> = vec![None; self.values.len()];
        for index in (0..self.nodes.len()).rev() {
            let node = self.nodes[index].clone();
            let upstream: Vec<Option<Value>> = node.outputs.iter().map(|o| gradient[o.0]).collect();
            if upstream.iter().all(Option::is_none) && !node.outputs.iter().any(|o| losses.contains(o)) {
                continue;
            }
            let wanted: Vec<bool> = node.inputs.iter().map(|i| self.values[i.0].differentiable).collect();
            if !wanted.contains(&true) {
                continue;
            }
            let inputs = node.operation.clone().backward(self, &node, &upstream, &wanted)?;
            for (&input, add) in node.inputs.iter().zip(inputs) {
                if let Some(add) = add {
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
