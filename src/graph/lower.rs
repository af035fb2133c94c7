//! From the tape to a recording.

use super::form::{Form, Operand};
use super::trace::{Graph, Node, Source, Value};
use crate::gpu::{Recording, Slice};
use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Where values that outlive one run lie.
#[derive(Default)]
pub struct Memory {
    /// Inputs by name.
    pub inputs: BTreeMap<String, Slice>,
    /// Parameters and state by id, and any value that is to be computed in place of its own (gradients, results).
    pub values: BTreeMap<Value, Slice>,
    /// What parameters are called: results of their operations are named after them in messages.
    pub names: BTreeMap<Value, String>,
}

impl Memory {
    #[must_use]
    pub fn with_input(mut self, name: &str, slice: Slice) -> Memory {
        self.inputs.insert(name.to_string(), slice);
        self
    }
    #[must_use]
    pub fn with_value(mut self, value: Value, slice: Slice) -> Memory {
        self.values.insert(value, slice);
        self
    }
}

impl Graph {
    /// Records every node that a value of `memory.values` needs, in order. Values without a place of
    /// their own become transient. Returns the operand of each value that was computed or given; what lay inside a fused
    /// operation is not among them.
    ///
    /// # Errors
    /// An input or parameter without memory, by name.
    pub fn record(&self, recording: &mut Recording, memory: &Memory) -> Result<BTreeMap<Value, Operand>> {
        let needed = self.needed(memory.values.keys().copied());
        let mut operands: BTreeMap<Value, Operand> = BTreeMap::new();
        for (index, info) in self.values.iter().enumerate() {
            let value = Value(index);
            let slice = match (&info.source, memory.values.get(&value)) {
                (_, Some(&slice)) => Some(slice),
                (Source::Input(name), None) => memory.inputs.get(name).copied(),
                _ => None,
            };
            if let Some(slice) = slice {
                if slice.bytes < info.form.bytes() {
                    return Err(Error::shape(format!(
                        "{:?}: needs {} bytes for {:?}, got {}",
                        info.source,
                        info.form.bytes(),
                        info.form,
                        slice.bytes
                    )));
                }
                operands.insert(value, Operand { form: info.form, slice: slice.part(0, info.form.bytes()) });
            }
        }
        let mut nodes: Vec<Option<Cow<Node>>> = self
            .nodes
            .iter()
            .zip(needed)
            .map(|(node, needed)| needed.then_some(Cow::Borrowed(node)))
            .collect();
        self.fuse(&mut nodes, &operands);
        let mut steps = Vec::new();
        for node in nodes.iter().flatten() {
            let name = node.operation.name();
            if node.operation.view()
                && let ([input], [output]) = (&node.inputs[..], &node.outputs[..])
                && !operands.contains_key(output)
                && let Some(viewed) = operands.get(input)
            {
                let viewed = Operand { form: self.form(*output), slice: viewed.slice };
                operands.insert(*output, viewed);
                continue;
            }
            let layer = node.inputs.iter().find_map(|input| memory.names.get(input));
            let label = layer.map_or(name.to_string(), |layer| format!("{layer}, {name}"));
            for &output in &node.outputs {
                let form = self.form(output);
                operands.entry(output).or_insert_with(|| Operand {
                    form,
                    slice: recording.transient(label.as_str(), form.bytes()),
                });
            }
            let find = |v: &Value| {
                operands.get(v).copied().ok_or_else(|| {
                    Error::shape(format!("{name}: its operand {:?} was given no memory", self.source(*v)))
                })
            };
            let inputs = node.inputs.iter().map(find).collect::<Result<Vec<_>>>()?;
            let outputs = node.outputs.iter().map(find).collect::<Result<Vec<_>>>()?;
            steps.push((node, inputs, outputs));
        }
        recording.gather(|recording| {
            let ready = |node: &Node| !node.inputs.iter().any(|&input| self.is_made_weight(input));
            steps
                .iter()
                .filter(|(node, ..)| ready(node))
                .try_for_each(|(node, inputs, _)| node.operation.prepare(recording, inputs))
        })?;
        recording.gather(|recording| {
            steps
                .iter()
                .try_for_each(|(node, inputs, outputs)| node.operation.record(recording, inputs, outputs))
        })?;
        Ok(operands)
    }

    /// Whether a value is weights that a node computes.
    fn is_made_weight(&self, value: Value) -> bool {
        matches!(self.form(value), Form::Weight(_)) && matches!(self.source(value), Source::Node(_))
    }

    /// Puts one node in the place of two where the operation of the second does both at once and nothing but it needs the
    /// first one's result, which `placed` does not want either.
    fn fuse(&self, nodes: &mut [Option<Cow<Node>>], placed: &BTreeMap<Value, Operand>) {
        let mut uses = vec![0; self.values.len()];
        for input in nodes.iter().flatten().flat_map(|node| &node.inputs) {
            uses[input.0] += 1;
        }
        for index in 0..nodes.len() {
            let Some(node) = &nodes[index] else { continue };
            let Some(&first) = node.inputs.first() else { continue };
            let Source::Node(before) = self.values[first.0].source else { continue };
            if uses[first.0] > 1 || placed.contains_key(&first) {
                continue;
            }
            let Some(producer) = nodes[before].as_ref().filter(|producer| producer.outputs.len() == 1) else {
                continue;
            };
            if let Some(operation) = node.operation.fused(&*producer.operation) {
                let inputs = producer.inputs.iter().chain(&node.inputs[1..]).copied().collect();
                nodes[index] = Some(Cow::Owned(Node { operation, inputs, outputs: node.outputs.clone() }));
                nodes[before] = None;
            }
        }
    }

    /// For each node, whether one of `roots` depends on it.
    fn needed(&self, roots: impl Iterator<Item = Value>) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        let mut open: Vec<Value> = roots.collect();
        while let Some(value) = open.pop() {
            if let Source::Node(index) = self.values[value.0].source
                && !needed[index]
            {
                needed[index] = true;
                open.extend(&self.nodes[index].inputs);
            }
        }
        needed
    }
}
