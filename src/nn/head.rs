//! Projection heads, saved under `projector.`.

use super::layers::{BatchNorm, Linear, LinearInit, Names, Tracer};
use crate::graph::Value;
use crate::kernels::elementwise::Unary;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which layers a projection head has; d is the encoder's feature dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// Linear(d, 128): MoCo v1.
    MocoLinear,
    /// Linear(d, d), ReLU, Linear(d, 128): MoCo v2.
    MocoMlp,
    /// Linear(d, 512) without bias, batch norm, ReLU, Linear(512, 128): the SimCLR of EncoderMI.
    SimclrBn,
    /// Linear(d, d), ReLU, Linear(d, 256): He & Zhang's ResNets.
    SimclrClResnet,
    /// Linear(d, 256), ReLU, Linear(256, 256): He & Zhang's MobileNetV2.
    SimclrClMobilenet,
}

impl HeadKind {
    pub const NAMES: [&'static str; 5] =
        ["moco-linear", "moco-mlp", "simclr-bn", "simclr-cl-resnet", "simclr-cl-mobilenet"];

    /// Length of a projection.
    pub fn output(&self) -> usize {
        match self {
            HeadKind::MocoLinear | HeadKind::MocoMlp | HeadKind::SimclrBn => 128,
            HeadKind::SimclrClResnet | HeadKind::SimclrClMobilenet => 256,
        }
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HeadKind::NAMES[*self as usize])
    }
}

impl FromStr for HeadKind {
    type Err = Error;
    fn from_str(name: &str) -> Result<HeadKind> {
        match name {
            "moco-linear" => Ok(HeadKind::MocoLinear),
            "moco-mlp" => Ok(HeadKind::MocoMlp),
            "simclr-bn" => Ok(HeadKind::SimclrBn),
            "simclr-cl-resnet" => Ok(HeadKind::SimclrClResnet),
            "simclr-cl-mobilenet" => Ok(HeadKind::SimclrClMobilenet),
            _ => Err(Error::unknown("head", name, &HeadKind::NAMES)),
        }
    }
}

/// A projection head `[N, d]` → `[N, out]`.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    first: Linear,
    norm: Option<BatchNorm>,
    last: Option<Linear>,
}

impl Head {
    pub fn new(names: &mut Names, kind: HeadKind, d: usize) -> Head {
        let mut names = names.inside("projector");
        let mut linear = |index: usize, i, o, bias, activation| {
            Linear::new(&mut names.inside(index), i, o, bias, activation, LinearInit::Default)
        };
        let (identity, relu) = (None, Some(Unary::Relu));
        let out = kind.output();
        match kind {
            HeadKind::MocoLinear => Head { first: linear(0, d, out, true, identity), norm: None, last: None },
            HeadKind::MocoMlp | HeadKind::SimclrClResnet => {
                let first = linear(0, d, d, true, relu);
                Head { first, norm: None, last: Some(linear(2, d, out, true, identity)) }
            }
            HeadKind::SimclrClMobilenet => {
                let first = linear(0, d, 256, true, relu);
                Head { first, norm: None, last: Some(linear(2, 256, out, true, identity)) }
            }
            HeadKind::SimclrBn => {
                let first = linear(0, d, 512, false, identity);
                let last = Some(linear(3, 512, out, true, identity));
                Head { first, norm: Some(BatchNorm::new(&mut names.inside(1), 512)), last }
            }
        }
    }

    pub fn forward(&self, tracer: &mut Tracer, features: Value) -> Result<Value> {
        let mut y = self.first.forward(tracer, features)?;
        if let Some(norm) = &self.norm {
            y = norm.forward(tracer, y, None, Some(Unary::Relu))?;
        }
        match &self.last {
            Some(last) => last.forward(tracer, y),
            None => Ok(y),
        }
    }
}
