//! A pickle machine that can only build data: protocols 2 to 5, as `torch.save` and `torch.jit.save` write them.
//!
//! Every instruction takes constant time beside the values that it moves, and every value that is kept is counted,
//! so that time and memory stay proportional to the pickle's length whatever it says.

use std::collections::HashMap;

use super::value::{Loaded, Object, Value};
use super::{Fault, shown};

/// Longest pickle that is read.
const MOST_BYTES: usize = 256 << 20;
const MOST_INSTRUCTIONS: u64 = 16_000_000;
const MOST_STACK: usize = 1_000_000;
const MOST_MEMO: usize = 1_000_000;
const MOST_OBJECTS: usize = 2_000_000;
/// Values in all lists, tuples and dicts together.
const MOST_ELEMENTS: usize = 4_000_000;

/// Instructions of protocols 0 and 1 that no later protocol writes, and those that call back: refused by name.
const REFUSED: [(u8, &str); 19] = [
    (b'F', "FLOAT"),
    (b'I', "INT"),
    (b'L', "LONG"),
    (b'P', "PERSID"),
    (b'S', "STRING"),
    (b'T', "BINSTRING"),
    (b'U', "SHORT_BINSTRING"),
    (b'V', "UNICODE"),
    (b'd', "DICT"),
    (b'g', "GET"),
    (b'i', "INST"),
    (b'l', "LIST"),
    (b'o', "OBJ"),
    (b'p', "PUT"),
    (0x82, "EXT1"),
    (0x83, "EXT2"),
    (0x84, "EXT4"),
    (0x97, "NEXT_BUFFER"),
    (0x98, "READONLY_BUFFER"),
];

pub struct Machine<'p> {
    pub pickle: &'p [u8],
    /// Next byte to read.
    position: usize,
    /// First byte of the instruction that runs.
    instruction: usize,
    stack: Vec<Value<'p>>,
    /// Heights of the stack at which MARK was said.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'p>>,
    objects: Vec<Object<'p>>,
    elements: usize,
}

/// Runs a pickle. Offsets in faults are those of the pickle.
pub fn load(pickle: &[u8]) -> Result<Loaded<'_>, Fault> {
    let mut machine = Machine {
        pickle,
        position: 0,
        instruction: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Vec::new(),
        elements: 0,
    };
    if pickle.len() > MOST_BYTES {
        return Err(machine.limit("bytes", MOST_BYTES));
    }
    for _ in 0..MOST_INSTRUCTIONS {
        machine.instruction = machine.position;
        let opcode = machine.take(1)?[0];
        if opcode == b'.' {
            let top = machine.pop()?;
            return Ok(Loaded { top, objects: machine.objects });
        }
        machine.step(opcode)?;
    }
    Err(machine.limit("instructions", MOST_INSTRUCTIONS as usize))
}

impl<'p> Machine<'p> {
    pub fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault::at(self.instruction as u64, problem)
    }

    pub fn limit(&self, what: &str, most: usize) -> Fault {
        self.fault(format!(
            "expected at most {most} {what}, found more; a checkpoint of weights is far smaller: save \
             model.state_dict() alone"
        ))
    }

    fn step(&mut self, opcode: u8) -> Result<(), Fault> {
        match opcode {
            0x80 => match self.take(1)?[0] {
                2..=5 => {}
                other => {
                    return Err(self.fault(format!(
                        "expected pickle protocol 2 to 5, found {other}; save it with torch.save's default"
                    )));
                }
            },
            // FRAME: a hint for readers of streams.
            0x95 => drop(self.take(8)?),
            b'(' => match self.marks.len() < MOST_STACK {
                true => self.marks.push(self.stack.len()),
                false => return Err(self.limit("marks", MOST_STACK)),
            },
            b'0' if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            b'0' => drop(self.pop()?),
            b'1' => {
                let mark = self.mark()?;
                self.stack.truncate(mark);
            }
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let number = self.number(4)? as u32 as i32;
                self.push(Value::Int(number.into()))?;
            }
            b'K' => self.counted(1)?,
            b'M' => self.counted(2)?,
            b'G' => {
                let bytes = self.take(8)?;
                let bits = bytes.iter().fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
                self.push(Value::Float(f64::from_bits(bits)))?;
            }
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            b'C' => self.bytes(1)?,
            b'B' => self.bytes(4)?,
            0x8e | 0x96 => self.bytes(8)?,
            b'q' => self.memoize(1)?,
            b'r' => self.memoize(4)?,
            0x94 => {
                let index = self.memo.len() as u32;
                self.remember(index)?;
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b')' => self.push_object(Object::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let floor = self.floor();
                let start = self.stack.len().checked_sub(count).filter(|&start| start >= floor);
                let items = self.stack.split_off(start.ok_or_else(|| self.empty())?);
                self.push_object(Object::Tuple(items))?;
            }
            b't' => {
                let items = self.since_mark()?;
                self.push_object(Object::Tuple(items))?;
            }
            // Sets are lists here: nothing asks whether something is in one.
            b']' | 0x8f => self.push_object(Object::List(Vec::new()))?,
            b'}' => self.push_object(Object::Dict(Vec::new()))?,
            0x91 => {
                let items = self.since_mark()?;
                self.push_object(Object::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set_items(items)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.global(module, name)?,
                _ => return Err(self.fault("STACK_GLOBAL: expected two names, found other values")),
            },
            b'Q' => {
                let storage = self.storage()?;
                self.push_object(Object::Storage(storage))?;
            }
            b'R' | 0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.reduce(class, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.reduce(class, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                let built = self.top()?;
                // Anything else (a dict's `_metadata`, a tensor's attributes) has no use for what is added.
                if let Value::Object(index) = built
                    && let Object::Record(record) = &mut self.objects[index as usize]
                {
                    record.state = state;
                }
            }
            other => return Err(self.refused(other)),
        }
        Ok(())
    }

    fn refused(&mut self, opcode: u8) -> Fault {
        let Some((_, name)) = REFUSED.iter().find(|(refused, _)| *refused == opcode) else {
            return self
                .fault(format!("expected an instruction of pickle protocols 2 to 5, found {opcode:#04x}"));
        };
        // INST and EXT mention what they would make.
        let what = match opcode {
            b'i' => match (self.line(), self.line()) {
                (Ok(module), Ok(class)) => format!(" of {}", shown(&format!("{module}.{class}"))),
                _ => String::new(),
            },
            0x82..=0x84 => match self.number(1 << (opcode - 0x82)) {
                Ok(code) => format!(" {code}"),
                Err(_) => String::new(),
            },
            _ => String::new(),
        };
        self.fault(format!(
            "refuses the instruction {name}{what}: torch.save does not write it; where you trust the file, load it \
             in Python and write it again with torch.save(model.state_dict(), FILE)"
        ))
    }

    // Bytes

    fn take(&mut self, count: usize) -> Result<&'p [u8], Fault> {
        let end = self.position.checked_add(count);
        match end.and_then(|end| self.pickle.get(self.position..end)) {
            Some(bytes) => {
                self.position += count;
                Ok(bytes)
            }
            None => Err(self.fault(format!(
                "expected {count} more bytes, found {}; the pickle is cut short or claims too much",
                self.pickle.len() - self.position
            ))),
        }
    }

    fn number(&mut self, width: usize) -> Result<u64, Fault> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// As many bytes as a number of `width` bytes says.
    fn counted_bytes(&mut self, width: usize) -> Result<&'p [u8], Fault> {
        let count = self.number(width)?;
        // A count beyond usize is beyond the pickle too.
        self.take(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn counted(&mut self, width: usize) -> Result<(), Fault> {
        let number = self.number(width)?;
        self.push(Value::Int(number as i64))
    }

    fn long(&mut self, width: usize) -> Result<(), Fault> {
        let bytes = self.counted_bytes(width)?;
        let negative = bytes.last().is_some_and(|&high| high >= 0x80);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        self.push(match wide.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Wide,
        })
    }

    fn text(&mut self, width: usize) -> Result<(), Fault> {
        let bytes = self.counted_bytes(width)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) => Err(self.fault("expected text in UTF-8, found other bytes")),
        }
    }

    fn bytes(&mut self, width: usize) -> Result<(), Fault> {
        let bytes = self.counted_bytes(width)?;
        self.push(Value::Bytes(bytes))
    }

    /// Text up to a line's end: names of classes.
    fn line(&mut self) -> Result<&'p str, Fault> {
        let rest = &self.pickle[self.position..];
        let length = rest.iter().take(1000).position(|&byte| byte == b'\n');
        let line = length.and_then(|length| std::str::from_utf8(&rest[..length]).ok());
        let line = line.ok_or_else(|| self.fault("expected a name that ends with its line, found none"))?;
        self.position += line.len() + 1;
        Ok(line)
    }

    // Stack and memo

    fn empty(&self) -> Fault {
        self.fault("expected a value on the stack, found none; not a pickle of torch.save, or damaged")
    }

    /// Height below which nothing may be taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub fn push(&mut self, value: Value<'p>) -> Result<(), Fault> {
        if self.stack.len() >= MOST_STACK {
            return Err(self.limit("values on the stack", MOST_STACK));
        }
        self.stack.push(value);
        Ok(())
    }

    pub fn pop(&mut self) -> Result<Value<'p>, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Result<Value<'p>, Fault> {
        let above = self.stack.len() > self.floor();
        self.stack.last().filter(|_| above).copied().ok_or_else(|| self.empty())
    }

    fn mark(&mut self) -> Result<usize, Fault> {
        self.marks.pop().ok_or_else(|| self.fault("expected a MARK before this instruction, found none"))
    }

    fn since_mark(&mut self) -> Result<Vec<Value<'p>>, Fault> {
        let mark = self.mark()?;
        // Never above the stack: nothing is taken from below a mark.
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn memoize(&mut self, width: usize) -> Result<(), Fault> {
        let index = self.number(width)? as u32;
        self.remember(index)
    }

    fn remember(&mut self, index: u32) -> Result<(), Fault> {
        let top = self.top()?;
        if self.memo.len() >= MOST_MEMO && !self.memo.contains_key(&index) {
            return Err(self.limit("values in the memo", MOST_MEMO));
        }
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<(), Fault> {
        let index = self.number(width)? as u32;
        match self.memo.get(&index).copied() {
            Some(value) => self.push(value),
            None => Err(self.fault(format!("expected a value in the memo at {index}, found none"))),
        }
    }

    // Objects

    pub fn count(&mut self, elements: usize) -> Result<(), Fault> {
        self.elements += elements;
        match self.elements > MOST_ELEMENTS {
            true => Err(self.limit("values in lists, tuples and dicts", MOST_ELEMENTS)),
            false => Ok(()),
        }
    }

    pub fn push_object(&mut self, object: Object<'p>) -> Result<(), Fault> {
        self.count(match &object {
            Object::List(items) | Object::Tuple(items) => items.len(),
            Object::Dict(items) => 2 * items.len(),
            Object::Tensor(tensor) => 4 + tensor.shape.len(),
            Object::Record(_) => 4,
            Object::Storage(_) | Object::OtherTensor(_) => 0,
        })?;
        if self.objects.len() >= MOST_OBJECTS {
            return Err(self.limit("objects", MOST_OBJECTS));
        }
        // Checked above to be far below u32's range.
        let index = self.objects.len() as u32;
        self.objects.push(object);
        self.push(Value::Object(index))
    }

    fn append(&mut self, items: Vec<Value<'p>>) -> Result<(), Fault> {
        self.count(items.len())?;
        let target = self.top()?;
        match self.object_mut(target) {
            Some(Object::List(list)) => list.extend(items),
            // What a list-like class of data holds is of no use.
            Some(Object::Record(_)) => {}
            _ => return Err(self.fault("expected a list to append to, found something else")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value<'p>>) -> Result<(), Fault> {
        self.count(items.len())?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.fault("expected as many keys as values, found one key more"));
        }
        let target = self.top()?;
        let entries = match self.object_mut(target) {
            Some(Object::Dict(entries)) => entries,
            Some(Object::Record(record)) => &mut record.items,
            _ => return Err(self.fault("expected a dict to put entries into, found something else")),
        };
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn object_mut(&mut self, value: Value<'p>) -> Option<&mut Object<'p>> {
        match value {
            Value::Object(index) => self.objects.get_mut(index as usize),
            _ => None,
        }
    }

    pub fn object(&self, value: Value<'p>) -> Option<&Object<'p>> {
        match value {
            Value::Object(index) => self.objects.get(index as usize),
            _ => None,
        }
    }
}
