//! The one error type of the library. Every message names the thing, the place, what was expected
//! and what was found, and says what to do where that can be known.

use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller asked for something that does not exist or makes no sense: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// A file or data set is not what its format says. `place` is `FILE`, `FILE:LINE` or `FILE@OFFSET`.
    #[error("{place}: {problem}")]
    Data { place: String, problem: String },
    /// Reading or writing failed in the operating system.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// No adapter, a limit exceeded, a device lost.
    #[error("{0}")]
    Gpu(String),
    /// More than the adapter takes in one piece; the advice says what would fit.
    #[error("{problem}; {advice}")]
    Limit { problem: String, advice: String },
    /// Shapes or settings that do not fit together.
    #[error("{0}")]
    Shape(String),
    /// The loss became NaN or infinite.
    #[error("{0}")]
    Diverged(String),
    /// Stopped by the user; the message says how to resume.
    #[error("{0}")]
    Interrupted(String),
}

impl Error {
    pub fn data(place: impl std::fmt::Display, problem: impl std::fmt::Display) -> Error {
        Error::Data { place: place.to_string(), problem: problem.to_string() }
    }
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Io { path: path.into(), source }
    }
    pub fn usage(message: impl std::fmt::Display) -> Error {
        Error::Usage(message.to_string())
    }
    /// An unknown name of a `kind` of thing, with the nearest known one and all of them.
    pub fn unknown(kind: &str, name: &str, known: &[&str]) -> Error {
        let nearest = known
            .iter()
            .map(|k| (strsim::damerau_levenshtein(name, k), *k))
            .min()
            .filter(|&(distance, k)| distance <= k.len().max(name.len()) / 2)
            .map(|(_, k)| format!("; did you mean {k}?"))
            .unwrap_or_default();
        Error::Usage(format!("unknown {kind} `{name}`{nearest} (known: {})", known.join(", ")))
    }
    pub fn gpu(message: impl std::fmt::Display) -> Error {
        Error::Gpu(message.to_string())
    }
    pub fn shape(message: impl std::fmt::Display) -> Error {
        Error::Shape(message.to_string())
    }
}
