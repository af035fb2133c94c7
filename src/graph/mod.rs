//! Model code is traced once into a graph of static shapes, differentiated, and lowered to a recording.
//!
//! 1. **Trace** (`trace`): model code calls methods of [`Graph`]; each appends a node and returns [`Value`]s.
//! 2. **Differentiate** (`differentiate`): walking the nodes backwards, each operation appends the nodes of
//!    its own gradient; a value used twice sums its gradients.
//! 3. **Lower** (`lower`): the nodes that the kept values need are recorded in order. Parameters, gradients and
//!    state lie in arenas ([`ParameterSet`]); everything else is transient, and `gpu`'s plan shares its memory.
//!
//! An operation lives in one file of [`ops`]: its shape rule, its kernel calls and its gradient.

mod differentiate;
mod form;
mod lower;
pub mod ops;
mod parameters;
mod trace;

pub use form::{Form, Operand};
pub use lower::Memory;
pub use parameters::{Init, Parameter, ParameterId, ParameterSet, Role};
pub use trace::{Graph, Node, Operation, Source, Value};
