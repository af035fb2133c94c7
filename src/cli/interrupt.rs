//! Ctrl-C: the first asks the running work to stop at its next step, the second ends the process at once.
//!
//! Library loops know nothing of signals: they take a `&dyn Fn() -> bool` and poll it between steps; commands pass
//! `&interrupt::requested`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Takes over Ctrl-C for the rest of the process. Commands whose work polls [`requested`] call it before they begin;
/// all others keep the system's own behaviour. Calling it again changes nothing.
///
/// # Errors
/// [`Error::Io`] when the system refuses the handler.
pub fn install() -> Result<()> {
    static INSTALLED: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let result = INSTALLED.get_or_init(|| ctrlc::set_handler(on_signal).map_err(|error| error.to_string()));
    result.clone().map_err(|error| Error::io("Ctrl-C handler", std::io::Error::other(error)))
}

/// Whether Ctrl-C was pressed.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

fn on_signal() {
    if REQUESTED.swap(true, Ordering::Relaxed) {
        std::process::exit(1);
    }
    eprintln!("\nstopping at the next step; Ctrl-C again ends at once");
}
