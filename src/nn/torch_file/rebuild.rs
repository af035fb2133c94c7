//! What the pickle machine makes of the classes and functions that a pickle names: descriptions, never calls.

use super::globals::{self, Known};
use super::unpickle::Machine;
use super::value::{Object, Record, Storage, Tensor, Value};
use super::{Fault, shown};

/// PyTorch's own limit.
const MOST_DIMENSIONS: usize = 64;

impl<'p> Machine<'p> {
    pub fn global(&mut self, module: &'p str, name: &'p str) -> Result<(), Fault> {
        match globals::known(module, name) {
            Some(known) => self.push(Value::Global(known)),
            None => Err(self.fault(globals::refusal(module, name, self.pickle))),
        }
    }

    fn tuple(&self, value: Value<'p>) -> Option<&[Value<'p>]> {
        match self.object(value)? {
            Object::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// What a call of `class` with `arguments` would give, as data.
    pub fn reduce(&mut self, class: Value<'p>, arguments: Value<'p>) -> Result<(), Fault> {
        let Value::Global(known) = class else {
            return Err(
                self.fault("expected to make something of a named class, found a class that was made")
            );
        };
        let Some(given) = self.tuple(arguments) else {
            return Err(self.fault("expected arguments in a tuple, found something else"));
        };
        let first = given.first().copied();
        match known {
            Known::RebuildTensor | Known::RebuildTyped => {
                let tensor = self.tensor(known, arguments)?;
                self.push_object(Object::Tensor(Box::new(tensor)))
            }
            Known::RebuildFromType => match *given {
                // One level, so that no tuple that holds itself is followed.
                [Value::Global(function @ (Known::RebuildTensor | Known::RebuildTyped)), _, inner, ..] => {
                    let tensor = self.tensor(function, inner)?;
                    self.push_object(Object::Tensor(Box::new(tensor)))
                }
                _ => self.push_object(Object::OtherTensor("a tensor of a class of its own")),
            },
            Known::OtherTensor(kind) => self.push_object(Object::OtherTensor(kind)),
            Known::Dict => {
                let given = match first.and_then(|first| self.object(first)) {
                    Some(Object::List(items)) => items.len(),
                    _ => 0,
                };
                // Before they are walked: a list can be given again and again.
                self.count(given)?;
                let pairs = match first.and_then(|first| self.object(first)) {
                    Some(Object::List(items)) => {
                        let pair = |&item| match self.object(item) {
                            Some(Object::List(pair) | Object::Tuple(pair)) => match pair[..] {
                                [key, value] => Some((key, value)),
                                _ => None,
                            },
                            _ => None,
                        };
                        items.iter().filter_map(pair).collect()
                    }
                    _ => Vec::new(),
                };
                self.push_object(Object::Dict(pairs))
            }
            Known::Set | Known::List | Known::Tuple | Known::First => match first {
                Some(first) => self.push(first),
                None => self.push_object(Object::List(Vec::new())),
            },
            Known::Data | Known::Script | Known::NumpyScalar | Known::Encode => {
                let record = Record { class: known, arguments, state: Value::None, items: Vec::new() };
                self.push_object(Object::Record(Box::new(record)))
            }
            Known::Storage(_) | Known::UntypedStorage | Known::ElementType(_) => {
                Err(self.fault("expected a storage by its key, found one that is made; save tensors instead"))
            }
        }
    }

    /// A storage by its persistent identity: `('storage', class, key, device, number of elements)`.
    pub fn storage(&mut self) -> Result<Storage<'p>, Fault> {
        let identity = self.pop()?;
        let wrong = |machine: &Self| {
            machine
                .fault("expected ('storage', class, key, device, number of elements), found something else")
        };
        let Some(&[Value::Text("storage"), Value::Global(class), Value::Text(key), _, Value::Int(count), ..]) =
            self.tuple(identity)
        else {
            return Err(wrong(self));
        };
        let element_type = match class {
            Known::Storage(element_type) => Some(element_type),
            Known::UntypedStorage => None,
            _ => return Err(wrong(self)),
        };
        let width = element_type.map_or(1, |element_type| element_type.width as u64);
        let bytes = u64::try_from(count).ok().and_then(|count| count.checked_mul(width));
        match bytes {
            Some(bytes) => Ok(Storage { element_type, key, bytes }),
            None => Err(self.fault(format!("storage {}: {count} elements are impossible", shown(key)))),
        }
    }

    /// `(storage, offset, shape, strides, …)`; `_rebuild_tensor_v3` has its element type at the seventh place.
    fn tensor(&self, function: Known, arguments: Value<'p>) -> Result<Tensor<'p>, Fault> {
        let wrong =
            || self.fault("expected a tensor of (storage, offset, shape, strides, …), found something else");
        let Some(&[storage, Value::Int(offset), shape, strides, ref rest @ ..]) = self.tuple(arguments)
        else {
            return Err(wrong());
        };
        let Some(&Object::Storage(storage)) = self.object(storage) else { return Err(wrong()) };
        let element_type = match (function, rest.get(2)) {
            (Known::RebuildTyped, Some(&Value::Global(Known::ElementType(given)))) => given,
            (Known::RebuildTyped, _) => return Err(wrong()),
            _ => storage.element_type.ok_or_else(wrong)?,
        };
        let lengths = |value, what: &str| -> Result<Vec<u64>, Fault> {
            let items = self.tuple(value).ok_or_else(wrong)?;
            if items.len() > MOST_DIMENSIONS {
                return Err(self.limit("dimensions of a tensor", MOST_DIMENSIONS));
            }
            let length = |item: &Value<'p>| match *item {
                Value::Int(length) => u64::try_from(length)
                    .map_err(|_| self.fault(format!("expected {what} of 0 or more, found {length}"))),
                _ => {
                    Err(self.fault(format!("expected {what} in whole numbers within 64 bits, found others")))
                }
            };
            items.iter().map(length).collect()
        };
        let (shape, strides) = (lengths(shape, "a shape")?, lengths(strides, "strides")?);
        if shape.len() != strides.len() {
            return Err(self.fault(format!(
                "expected as many strides as dimensions, found {} and {}",
                strides.len(),
                shape.len()
            )));
        }
        let offset = u64::try_from(offset)
            .map_err(|_| self.fault(format!("expected an offset of 0 or more, found {offset}")))?;
        Ok(Tensor { storage, element_type, offset, shape, strides })
    }
}
