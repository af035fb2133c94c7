//! What several test files share.
#![allow(dead_code)] // each test file uses its own part of this
pub mod gpu;
