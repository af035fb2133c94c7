//! `contraleak attack`: one attack, on encoders that exist.

mod attribute;
mod encodermi;
mod four_sets;
mod membership;

use clap::Subcommand;

use super::Global;
use crate::Result;

/// Attack encoders: find out what they tell about their training images
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  contraleak attack encodermi --help
  contraleak attack membership --help
  contraleak attack attribute --help")]
pub struct Args {
    #[command(subcommand)]
    attack: Attack,
}

#[derive(Subcommand, Debug)]
enum Attack {
    Encodermi(encodermi::Args),
    Membership(membership::Args),
    Attribute(attribute::Args),
}

pub fn run(args: &Args, global: &Global) -> Result<()> {
    match &args.attack {
        Attack::Encodermi(args) => encodermi::run(args, global),
        Attack::Membership(args) => membership::run(args, global),
        Attack::Attribute(args) => attribute::run(args, global),
    }
}

/// What was typed, for the report.
pub(super) fn command_line() -> String {
    let quote = |word: String| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,".contains(c));
        if plain { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let words: Vec<String> = std::env::args().skip(1).map(quote).collect();
    format!("contraleak {}", words.join(" "))
}
