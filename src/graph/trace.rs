//! The tape: values, nodes, and the operation trait.

use super::form::{Form, Operand};
use super::parameters::{Parameter, ParameterId};
use crate::gpu::Recording;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value of one graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub(super) usize);

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Given from outside under this name.
    Input(String),
    Parameter(ParameterId),
    /// Output of the node of this index.
    Node(usize),
}

pub(super) struct ValueInfo {
    pub form: Form,
    pub source: Source,
    /// Whether a trainable parameter is among its ancestors.
    pub differentiable: bool,
}

/// One operation in the graph.
#[derive(Clone)]
pub struct Node {
    pub operation: Arc<dyn Operation>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
}

/// What an operation owns: its shape rule, its kernel calls, its gradient.
pub trait Operation: std::any::Any + Send + Sync {
    /// The field's name for it, for errors and listings.
    fn name(&self) -> &'static str;

    /// Forms of the outputs for these inputs, or why they do not fit.
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>>;

    /// Whether the one output is the first input's memory under another shape. Lowering then gives it no memory of
    /// its own, unless it was asked to lie somewhere; `record` copies it there.
    fn view(&self) -> bool {
        false
    }

    /// This operation and `before`, which makes its first input, as one, where a kernel does both at once. Inputs are those of
    /// `before`, then the others of this one; outputs are this one's. Lowering asks for it where nothing else needs that first
    /// input.
    fn fused(&self, before: &dyn Operation) -> Option<Arc<dyn Operation>> {
        let _ = before;
        None
    }

    /// Ahead of all operations: pushes what can be made of weights alone, so that layers share launches, and asks writers of `inputs` for what
    /// they can keep in passing. Of `inputs` weights hold their values, others do not yet.
    fn prepare(&self, recording: &mut Recording, inputs: &[Operand]) -> Result<()> {
        let _ = (recording, inputs);
        Ok(())
    }

    /// Pushes the kernels that compute `outputs` from `inputs`.
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()>;

    /// Appends the gradient's nodes. `upstream[i]` is the gradient of output i (`None` where nothing
    /// depends on it; a loss that is the root gets `None` and assumes 1). Returns one gradient for each
    /// input that `wanted` marks, `None` for the others.
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let _ = (graph, node, upstream, wanted);
        Err(Error::shape(format!("{}: has no gradient", self.name())))
    }
}

/// A tape of operations over values of static shape.
#[derive(Default)]
pub struct Graph {
    pub(super) values: Vec<ValueInfo>,
    pub(super) nodes: Vec<Node>,
    parameters: BTreeMap<ParameterId, Value>,
}

impl Graph {
    pub fn new() -> Graph {
        Graph::default()
    }

    /// A value given from outside at lowering, found there by `name`.
    pub fn input(&mut self, name: impl Into<String>, form: Form) -> Value {
        self.value(ValueInfo { form, source: Source::Input(name.into()), differentiable: false })
    }

    /// The value of a parameter; the same value for each call with one id.
    pub fn parameter(&mut self, id: ParameterId, parameter: &Parameter) -> Value {
        if let Some(&value) = self.parameters.get(&id) {
            return value;
        }
        let info = ValueInfo {
            form: parameter.form,
            source: Source::Parameter(id),
            differentiable: parameter.trainable(),
        };
        let value = self.value(info);
        self.parameters.insert(id, value);
        value
    }

    /// Appends a node.
    ///
    /// # Errors
    /// When the inputs' forms do not fit the operation.
    pub fn apply(&mut self, operation: impl Operation + 'static, inputs: &[Value]) -> Result<Vec<Value>> {
        let forms: Vec<Form> = inputs.iter().map(|&v| self.form(v)).collect();
        let outputs = operation.forms(&forms)?;
        let differentiable = inputs.iter().any(|v| self.values[v.0].differentiable);
        let node = self.nodes.len();
        let outputs = outputs
            .into_iter()
            .map(|form| self.value(ValueInfo { form, source: Source::Node(node), differentiable }))
            .collect();
        self.nodes.push(Node { operation: Arc::new(operation), inputs: inputs.to_vec(), outputs });
        Ok(self.nodes[node].outputs.clone())
    }

    /// [`Graph::apply`] for an operation whose first output is the one of interest.
    pub fn apply1(&mut self, operation: impl Operation + 'static, inputs: &[Value]) -> Result<Value> {
        let name = operation.name();
        let outputs = self.apply(operation, inputs)?;
        outputs.first().copied().ok_or_else(|| Error::shape(format!("{name}: has no output")))
    }

    pub fn form(&self, value: Value) -> Form {
        self.values[value.0].form
    }

    /// The shape of an activation value.
    pub fn shape(&self, value: Value) -> Result<crate::kernels::Shape> {
        self.form(value).shape("graph")
    }

    pub fn source(&self, value: Value) -> &Source {
        &self.values[value.0].source
    }

    /// The parameters that were used, with their values, in the order of their ids.
    pub fn parameters(&self) -> impl Iterator<Item = (ParameterId, Value)> + '_ {
        self.parameters.iter().map(|(&id, &value)| (id, value))
    }

    /// Bytes of the largest activation.
    pub fn largest_tensor(&self) -> u64 {
        let activations = self.values.iter().filter(|info| matches!(info.form, Form::Tensor(_)));
        activations.map(|info| info.form.bytes()).max().unwrap_or(0).max(1)
    }

    /// Operation names in order, for tests and listings.
    pub fn operations(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.nodes.iter().map(|n| n.operation.name())
    }

    fn value(&mut self, info: ValueInfo) -> Value {
        self.values.push(info);
        Value(self.values.len() - 1)
    }
}
