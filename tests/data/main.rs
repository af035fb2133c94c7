//! The data room: every format written by a small synthetic writer and read back, everything that bad files
//! get, splits, synthetic faces, files that appear whole or not at all.

mod errors_images;
mod errors_photos;
mod errors_published;
mod errors_tables;
mod faces;
mod files;
mod formats;
mod formats_photos;
mod quarters;
mod spec;
mod splits;
mod writers;

use contraleak::{Error, Result};

/// Asserts that the work was refused with a message that contains every fragment.
fn assert_refused<T>(result: Result<T>, fragments: &[&str]) -> Error {
    let Err(error) = result else { panic!("expected an error with {fragments:?}, found success") };
    let message = error.to_string();
    for fragment in fragments {
        assert!(message.contains(fragment), "expected {fragment:?} in the message, found: {message}");
    }
    error
}
