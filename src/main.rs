//! The command line; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ask_for_software_threads();
    contraleak::cli::main()
}

/// Asks lavapipe for two threads a core where nobody has asked for another number. It cuts every launch into as many equal
/// parts as it has threads (32 at most) and waits for the last: with one a core, a core that something else slows down holds
/// up the rest. Other drivers do not read it.
fn ask_for_software_threads() {
    const THREADS: &str = "LP_NUM_THREADS";
    if std::env::var_os(THREADS).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // SAFETY: the first thing that this process does; there is no other thread that could read the environment.
        unsafe { std::env::set_var(THREADS, (2 * cores).to_string()) };
    }
}
