//! What a pickle builds: small values, and objects that they point to by number, so that shared and circular
//! structures need no care and nothing is dropped recursively.

use super::globals::Known;
use crate::nn::element_type::ElementType;

/// A value. Text and bytes are borrowed from the pickle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'p> {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number beyond i64.
    Wide,
    Float(f64),
    Text(&'p str),
    Bytes(&'p [u8]),
    Global(Known),
    /// Index of an [`Object`].
    Object(u32),
}

#[derive(Debug)]
pub enum Object<'p> {
    List(Vec<Value<'p>>),
    Tuple(Vec<Value<'p>>),
    /// In the order of insertion.
    Dict(Vec<(Value<'p>, Value<'p>)>),
    Storage(Storage<'p>),
    Tensor(Box<Tensor<'p>>),
    /// A tensor of a kind that is not read: quantised, sparse.
    OtherTensor(&'static str),
    Record(Box<Record<'p>>),
}

/// Bytes in an entry `data/KEY` of the archive.
#[derive(Clone, Copy, Debug)]
pub struct Storage<'p> {
    /// `None` for untyped storages, whose elements are bytes.
    pub element_type: Option<ElementType>,
    pub key: &'p str,
    /// As claimed by the pickle.
    pub bytes: u64,
}

/// A view into a storage; offset and strides count elements.
#[derive(Debug)]
pub struct Tensor<'p> {
    pub storage: Storage<'p>,
    pub element_type: ElementType,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// An instance of a class that is known to be plain data: what it was made of, never made.
#[derive(Debug)]
pub struct Record<'p> {
    pub class: Known,
    pub arguments: Value<'p>,
    pub state: Value<'p>,
    pub items: Vec<(Value<'p>, Value<'p>)>,
}

/// The result of a pickle.
pub struct Loaded<'p> {
    pub top: Value<'p>,
    pub objects: Vec<Object<'p>>,
}

impl<'p> Loaded<'p> {
    pub fn object(&self, value: Value<'p>) -> Option<&Object<'p>> {
        match value {
            Value::Object(index) => self.objects.get(index as usize),
            _ => None,
        }
    }

    /// Entries of a dict, attributes of a TorchScript module, members of a namespace.
    pub fn items(&self, value: Value<'p>) -> Option<&[(Value<'p>, Value<'p>)]> {
        match self.object(value)? {
            Object::Dict(items) => Some(items),
            Object::Record(record) => match self.object(record.state) {
                Some(Object::Dict(items)) => Some(items),
                _ => Some(&record.items),
            },
            _ => None,
        }
    }

    /// A number or a text as people write it; `None` for everything else.
    pub fn simple(&self, value: Value<'p>) -> Option<String> {
        const LONGEST_TEXT: usize = 200;
        match value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::Text(text) if text.len() <= LONGEST_TEXT => Some(text.to_string()),
            _ => self.numpy_scalar(value),
        }
    }

    /// `numpy.float64(1.5)` and the like: a type (its name and byte order) and bytes.
    fn numpy_scalar(&self, value: Value<'p>) -> Option<String> {
        let Object::Record(record) = self.object(value)? else { return None };
        let Object::Tuple(arguments) = self.object(record.arguments)? else { return None };
        let (Known::NumpyScalar, &[dtype, bytes]) = (record.class, arguments.as_slice()) else { return None };
        let Object::Record(dtype) = self.object(dtype)? else { return None };
        let Object::Tuple(name) = self.object(dtype.arguments)? else { return None };
        let Some(Value::Text(name)) = name.first() else { return None };
        if let Some(Object::Tuple(order)) = self.object(dtype.state)
            && order.get(1) == Some(&Value::Text(">"))
        {
            return None;
        }
        let bytes = self.latin1(bytes)?;
        let eight = || bytes.first_chunk().copied();
        let four = || bytes.first_chunk().copied();
        match *name {
            "f8" => Some(f64::from_le_bytes(eight()?).to_string()),
            "f4" => Some(f32::from_le_bytes(four()?).to_string()),
            "i8" => Some(i64::from_le_bytes(eight()?).to_string()),
            "i4" => Some(i32::from_le_bytes(four()?).to_string()),
            "b1" => Some((*bytes.first()? != 0).to_string()),
            _ => None,
        }
    }

    /// Up to 16 bytes, which protocol 2 writes as Latin-1 text to be encoded.
    fn latin1(&self, value: Value<'p>) -> Option<Vec<u8>> {
        if let Value::Bytes(bytes) = value {
            return Some(bytes[..bytes.len().min(16)].to_vec());
        }
        let Object::Record(record) = self.object(value)? else { return None };
        let Object::Tuple(arguments) = self.object(record.arguments)? else { return None };
        let (Known::Encode, Some(Value::Text(text))) = (record.class, arguments.first()) else { return None };
        text.chars().take(16).map(|letter| u8::try_from(u32::from(letter)).ok()).collect()
    }
}
