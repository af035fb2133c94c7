//! Files appear whole or not at all.

use std::fs;
use std::io::{self, Write};

use contraleak::Error;
use contraleak::files::{write_atomic, write_bytes_atomic};
use tempfile::tempdir;

use crate::assert_refused;

fn entries(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_whole() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("results.json");
    write_bytes_atomic(&path, b"first").unwrap();
    write_atomic(&path, |file| file.write_all(b"second, longer")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second, longer");
    assert_eq!(entries(folder.path()), ["results.json"]);
}

#[test]
fn a_failure_leaves_the_old_file_and_nothing_else() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("results.json");
    write_bytes_atomic(&path, b"old").unwrap();
    // What writing to a full disk returns after a part was written.
    let full = write_atomic(&path, |file| {
        file.write_all(&[7; 100_000])?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    });
    let error = assert_refused(full, &["results.json", "the disk is full", "free some space"]);
    assert!(matches!(error, Error::Io { .. }));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(entries(folder.path()), ["results.json"]);
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("file");
    write_bytes_atomic(&file, b"").unwrap();
    assert_refused(write_bytes_atomic(file.join("below"), b"x"), &["file/below", "is a file, not a folder"]);
    assert_refused(
        write_bytes_atomic(folder.path().join("absent/out.csv"), b"x"),
        &["absent/out.csv", "the folder does not exist"],
    );
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    assert_refused(write_bytes_atomic(&inner, b"x"), &["inner", "a folder stands where the file should be"]);
    assert_refused(write_bytes_atomic("/", b"x"), &["does not end in a file name"]);
    assert_eq!(entries(folder.path()), ["file", "inner"]);
    let read_only = write_atomic(folder.path().join("x"), |_| Err(io::ErrorKind::ReadOnlyFilesystem.into()));
    assert_refused(read_only, &["/x", "cannot be written to: choose another one"]);
    assert_eq!(entries(folder.path()), ["file", "inner"]);
}
