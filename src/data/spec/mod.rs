//! The data SPEC of the command line: `KIND:LOCATION[#OPTION=VALUE,…]`.
//!
//! | kind | location | options of its own |
//! | --- | --- | --- |
//! | `cifar10:` `cifar100:` | folder of the binary version, or the one above it | `part=train\|test\|all` |
//! | `stl10:` | folder of the binary version, or the one above it | `part=train\|test\|unlabeled\|all` (all: train, then test) |
//! | `tiny-imagenet:` | folder `tiny-imagenet-200`, or the one above it | `part=train\|val\|all` |
//! | `fashion-mnist:` `mnist:` | folder of the IDX files | `part=train\|test\|all` |
//! | `utkface:` | folder of the aligned faces, or the one above it | `skip-bad=true` |
//! | `celeba:` | folder of the lists, or the one above it | `target=NAME` (`Male`), `attribute=NAME` or `NAME+NAME`, `part=train\|valid\|test\|all` |
//! | `places365:` | folder of the lists and of `data_256` | `subset=N` scenes (365), `per-scene=N`, `subset-seed=SEED` (0); or `list=FILE` |
//! | `folder:` | folder with a folder a class | `alpha=white\|drop`, `skip-bad=true` |
//! | `csv:` | CSV file; its first column holds image paths relative to it | `target=COLUMN`, `attribute=COLUMN`, `where=COLUMN=VALUE`, `where=COLUMN!=VALUE` (repeatable), `alpha=`, `skip-bad=` |
//! | `tensor:` | safetensors file | |
//! | `synthetic-faces:` | none; options may stand here too | `count=N`, `seed=N`, `correlation=0..1` |
//!
//! Every kind brings its images to one size with one of
//!
//! | options | what images become |
//! | --- | --- |
//! | `size=S` | S x S, bilinear, the aspect ratio not kept (synthetic faces: the drawn size) |
//! | `crop=S` | short side S, bicubic, then the middle S x S: what CLIP's encoders see |
//! | `crop=S,short=R,filter=bicubic\|bilinear` | short side R (S without it) with that filter (bicubic), then the middle S x S: `crop=224,short=256,filter=bilinear` is what torchvision's encoders see |
//!
//! Every kind: `shuffle=SEED`, `unique=true` (of images with the same pixels the first, before anything is drawn),
//! `take=A..B` (after the shuffle; `take=A..` and `take=..B` leave an end open), and the quarters of He & Zhang:
//! `quarter=1` to `4` is target-train, target-test, shadow-train, shadow-test of the pool that the other options
//! leave, cut by `quarter-seed=SEED` (0) or, with `quarters=torch`, as the released code cuts it;
//! `subset=N` (not of `places365:`, where it counts scenes) draws N images before they are cut. Shuffle and
//! take then act on the quarter.
//! In a location `%23` stands for `#`; in an option's value `%2C`, `%23`, `%3D`, `%21` and `%25` stand for
//! `,`, `#`, `=`, `!` and `%`.

mod parse;

use std::path::PathBuf;

use super::celeba::CelebaOptions;
use super::decode::Alpha;
use super::faces::FacesOptions;
use super::places365::PlacesImages;
use super::resize::Fit;
use super::select::Quarter;
use super::stl10::Stl10Part;

/// Kinds that can be read, in the order in which messages list them.
pub const KINDS: [&str; 13] = [
    "cifar10",
    "cifar100",
    "stl10",
    "tiny-imagenet",
    "fashion-mnist",
    "mnist",
    "utkface",
    "celeba",
    "places365",
    "folder",
    "csv",
    "tensor",
    "synthetic-faces",
];

/// Which official part of a data set is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Part {
    Train,
    Test,
    /// Train, then test.
    #[default]
    All,
}

impl Part {
    pub fn train(self) -> bool {
        self != Part::Test
    }
    pub fn test(self) -> bool {
        self != Part::Train
    }
}

/// Keeps the rows of a CSV whose `column` equals `value`, or differs from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    pub column: String,
    pub value: String,
    pub equal: bool,
}

/// How image files are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageOptions {
    pub alpha: Alpha,
    /// Leaves out files that cannot be used, before anything is selected, instead of failing.
    pub skip_bad: bool,
}

/// Columns of a CSV data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CsvOptions {
    pub target: Option<String>,
    pub attribute: Option<String>,
    pub filters: Vec<Filter>,
    pub images: ImageOptions,
}

/// Where images come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Cifar10 {
        folder: PathBuf,
        part: Part,
    },
    Cifar100 {
        folder: PathBuf,
        part: Part,
    },
    Stl10 {
        folder: PathBuf,
        part: Stl10Part,
    },
    /// [`Part::Test`] is the validation part.
    TinyImagenet {
        folder: PathBuf,
        part: Part,
    },
    FashionMnist {
        folder: PathBuf,
        part: Part,
    },
    Mnist {
        folder: PathBuf,
        part: Part,
    },
    UtkFace {
        folder: PathBuf,
        images: ImageOptions,
    },
    Celeba {
        folder: PathBuf,
        options: CelebaOptions,
    },
    Places365 {
        folder: PathBuf,
        images: PlacesImages,
    },
    Folder {
        folder: PathBuf,
        images: ImageOptions,
    },
    Csv {
        file: PathBuf,
        options: CsvOptions,
    },
    Tensor {
        file: PathBuf,
    },
    SyntheticFaces(FacesOptions),
}

/// A parsed data SPEC.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub source: Source,
    /// How images come to one size.
    pub fit: Fit,
    /// Of images with the same pixels (after resizing) only the first is kept, before anything is drawn.
    pub unique: bool,
    /// The quarter of the pool that is read.
    pub quarter: Option<Quarter>,
    /// Seed of the shuffle before `take`; the data set's own order without it.
    pub shuffle: Option<u64>,
    /// First image and one past the last; an open end reaches to the end of the set.
    pub take: Option<(usize, Option<usize>)>,
    /// As it was written, for messages and reports.
    pub text: String,
}
