//! One operation a file: shape rule, kernel calls, gradient.

mod add;
mod conv2d;

pub use add::Add;
pub use conv2d::Conv2d;
