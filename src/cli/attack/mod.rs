//! `contraleak attack`: one attack, on encoders that exist.

mod attribute;
mod encodermi;

use clap::Subcommand;

use super::Global;
use crate::Result;

/// Attack encoders: find out what they tell about their training images
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak attack encodermi --help
  contraleak attack attribute --help")]
pub struct Args {
    #[command(subcommand)]
    attack: Attack,
}

#[derive(Subcommand, Debug)]
enum Attack {
    Encodermi(encodermi::Args),
    Attribute(attribute::Args),
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.attack {
        Attack::Encodermi(args) => encodermi::run(args, global),
        Attack::Attribute(args) => attribute::run(args, global),
    }
}
