//! Integer expressions of the shader preprocessor.

use crate::{Error, Result};
use std::collections::BTreeMap;

/// Most parentheses and signs within each other.
const MOST_DEPTH: usize = 64;

/// The value of `text`. With `unknown_is_zero`, a name that is not in `names` counts as 0.
///
/// # Errors
/// Names `place` and the column of what cannot be read, of a division by zero, of a number beyond 64 bits.
pub(super) fn evaluate(
    text: &str,
    names: &BTreeMap<String, String>,
    place: &str,
    unknown_is_zero: bool,
) -> Result<i64> {
    let text = text.trim();
    let mut parser = Parser { names, text, rest: text, place, unknown_is_zero, depth: 0 };
    let value = parser.any()?;
    parser.spaces();
    match parser.rest {
        "" => Ok(value),
        _ => Err(parser.fail("cannot read the rest")),
    }
}

/// Recursive descent, one method for each level of precedence.
struct Parser<'a> {
    names: &'a BTreeMap<String, String>,
    text: &'a str,
    /// What is not read yet: an end of `text`.
    rest: &'a str,
    place: &'a str,
    unknown_is_zero: bool,
    depth: usize,
}

impl Parser<'_> {
    fn fail(&self, problem: &str) -> Error {
        let column = self.text.chars().count() - self.rest.chars().count() + 1;
        Error::gpu(format!("{}: {problem} of `{}` at column {column}", self.place, self.text))
    }

    fn checked(&self, value: Option<i64>) -> Result<i64> {
        value.ok_or_else(|| self.fail("a number beyond 64 bits in the value"))
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.spaces();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn any(&mut self) -> Result<i64> {
        let mut value = self.all()?;
        while self.take("||") {
            let right = self.all()?;
            value = i64::from(value != 0 || right != 0);
        }
        Ok(value)
    }

    fn all(&mut self) -> Result<i64> {
        let mut value = self.comparison()?;
        while self.take("&&") {
            let right = self.comparison()?;
            value = i64::from(value != 0 && right != 0);
        }
        Ok(value)
    }

    fn comparison(&mut self) -> Result<i64> {
        let left = self.sum()?;
        for (token, holds) in [
            ("==", (|a, b| a == b) as fn(i64, i64) -> bool),
            ("!=", |a, b| a != b),
            ("<=", |a, b| a <= b),
            (">=", |a, b| a >= b),
            ("<", |a, b| a < b),
            (">", |a, b| a > b),
        ] {
            if self.take(token) {
                let right = self.sum()?;
                return Ok(i64::from(holds(left, right)));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<i64> {
        let mut value = self.product()?;
        loop {
            let result = if self.take("+") {
                value.checked_add(self.product()?)
            } else if self.take("-") {
                value.checked_sub(self.product()?)
            } else {
                return Ok(value);
            };
            value = self.checked(result)?;
        }
    }

    fn product(&mut self) -> Result<i64> {
        let mut value = self.unary()?;
        loop {
            let result = if self.take("*") {
                value.checked_mul(self.unary()?)
            } else if self.take("/") {
                value.checked_div(self.divisor()?)
            } else if self.take("%") {
                value.checked_rem(self.divisor()?)
            } else {
                return Ok(value);
            };
            value = self.checked(result)?;
        }
    }

    fn divisor(&mut self) -> Result<i64> {
        match self.unary()? {
            0 => Err(self.fail("division by zero in the value")),
            divisor => Ok(divisor),
        }
    }

    fn unary(&mut self) -> Result<i64> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(self.fail("too many signs and parentheses within each other in the value"));
        }
        let value = if self.take("!") {
            i64::from(self.unary()? == 0)
        } else if self.take("-") {
            let negated = self.unary()?.checked_neg();
            self.checked(negated)?
        } else if self.take("(") {
            let inner = self.any()?;
            if !self.take(")") {
                return Err(self.fail("missing `)` in the value"));
            }
            inner
        } else {
            self.word()?
        };
        self.depth -= 1;
        Ok(value)
    }

    /// A number or a name. The spaces before it are read already.
    fn word(&mut self) -> Result<i64> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        let value = match self.names.get(word) {
            Some(text) => text.parse().ok(),
            None if self.unknown_is_zero && word.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
                Some(0)
            }
            None => word.parse().ok(),
        };
        let value = value.ok_or_else(|| self.fail("not an integer or a defined constant in the value"))?;
        self.rest = after;
        Ok(value)
    }
}
