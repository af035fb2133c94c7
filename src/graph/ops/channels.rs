//! A range of channels.

use crate::gpu::Recording;
use crate::graph::{Form, Graph, Node, Operand, Operation, Value};
use crate::kernels::{Shape, elementwise};
use crate::{Error, Result};

/// Channels `first .. first + count`. `first` is a multiple of 4, and so is `count`, unless the range ends with the
/// last channel.
#[derive(Clone, Copy, Debug)]
pub struct TakeChannels {
    pub first: usize,
    pub count: usize,
}

impl Operation for TakeChannels {
    fn name(&self) -> &'static str {
        "take_channels"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        let end = self.first + self.count;
        let aligned = self.first.is_multiple_of(4) && (self.count.is_multiple_of(4) || end == x.c);
        if self.count == 0 || end > x.c || !aligned {
            return Err(Error::shape(format!(
                "take_channels: channels {}..{end} of {x}: expected a range within it whose ends are multiples of 4 or the last channel",
                self.first
            )));
        }
        Ok(vec![Form::Tensor(Shape { c: self.count, ..x })])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (x, y) = (inputs[0].tensor(), outputs[0].tensor());
        elementwise::copy_channels(recording, x, self.first, self.count, y, 0);
        Ok(())
    }
    fn backward(
        &self,
        graph: &mut Graph,
        node: &Node,
        upstream: &[Option<Value>],
        wanted: &[bool],
    ) -> Result<Vec<Option<Value>>> {
        let Some(dy) = upstream[0].filter(|_| wanted[0]) else { return Ok(vec![None]) };
        let channels = graph.shape(node.inputs[0])?.c;
        Ok(vec![Some(graph.apply1(PlaceChannels { first: self.first, channels }, &[dy])?)])
    }
}

/// The input as channels `first ..` of `channels`, zeros elsewhere: the gradient of [`TakeChannels`].
struct PlaceChannels {
    first: usize,
    channels: usize,
}

impl Operation for PlaceChannels {
    fn name(&self) -> &'static str {
        "place_channels"
    }
    fn forms(&self, inputs: &[Form]) -> Result<Vec<Form>> {
        let x = inputs[0].shape(self.name())?;
        Ok(vec![Form::Tensor(Shape { c: self.channels, ..x })])
    }
    fn record(&self, recording: &mut Recording, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (x, y) = (inputs[0].tensor(), outputs[0].tensor());
        recording.clear(y.slice);
        elementwise::copy_channels(recording, x, 0, x.shape.c, y, self.first);
        Ok(())
    }
}
