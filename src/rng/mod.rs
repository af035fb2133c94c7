//! TODO room header
