//! Kernels of the decision-boundary attack: one query of each of many images.

use super::{Case, Scale};
use crate::Result;
use crate::experiment::bench::Workspace;
use crate::kernels::hop_skip_jump::{self, Draws, PixelRange, Row, Rows};
use crate::kernels::{Shape, Tensor};

const RANGE: PixelRange = PixelRange { low: 0.0, high: 1.0 };

pub(super) fn cases(scale: &Scale) -> Vec<Case> {
    // The published image size, and the one whose boundary is known in closed form.
    [Shape::new(4 * scale.batch, 3, 96, 96), Shape::new(8 * scale.rows, 3, 4, 4)]
        .into_iter()
        .flat_map(of_shape)
        .collect()
}

/// Work for each image of `shape`, each result to a row of its own.
fn table(space: &mut Workspace, shape: Shape, number: impl Fn(u32) -> u32) -> Result<Rows> {
    let row = |i| Row { slot: i, number: number(i), output: i, scale: 0.25 };
    let rows: Vec<Row> = (0..shape.n as u32).map(row).collect();
    Ok(Rows { slice: space.words("rows", &rows)?, count: shape.n })
}

fn draws(space: &mut Workspace, shape: Shape) -> Result<Draws> {
    let images: Vec<u32> = (0..shape.n as u32).collect();
    Ok(Draws { key: space.words("key", &[1u32, 2, 0, 0])?, images: space.words("images", &images)? })
}

fn of_shape(shape: Shape) -> Vec<Case> {
    let case = |name, record: fn(&mut Workspace, Shape, Rows, Tensor) -> Result<()>| {
        Case::new(name, shape, move |space: &mut Workspace| {
            let rows = table(space, shape, |i| i)?;
            let x = space.tensor("x", shape)?;
            record(space, shape, rows, x)
        })
    };
    vec![
        case("hop_skip_jump uniform_images", |space, shape, rows, _| {
            let (draws, y) = (draws(space, shape)?, space.output(shape));
            hop_skip_jump::uniform_images(&mut space.recording, rows, draws, RANGE, y);
            Ok(())
        }),
        case("hop_skip_jump interpolate", |space, shape, rows, x| {
            let (b, y) = (space.tensor("b", shape)?, space.output(shape));
            hop_skip_jump::interpolate(&mut space.recording, rows, x, b, y);
            Ok(())
        }),
        case("hop_skip_jump directions", |space, shape, rows, x| {
            let (draws, y) = (draws(space, shape)?, space.output(shape));
            hop_skip_jump::directions(&mut space.recording, rows, draws, RANGE, x, y);
            Ok(())
        }),
        Case::new("hop_skip_jump accumulate", shape, move |space: &mut Workspace| {
            // One query each, which is the most that sums must be read and written for.
            let rows = table(space, shape, |_| 1)?;
            let (x, queries) = (space.tensor("x", shape)?, space.tensor("b", shape)?);
            let signs = space.constant("signs", Shape::matrix(shape.n.div_ceil(4), 4), 1.0)?;
            let sums = [space.tensor("signed", shape)?, space.tensor("plain", shape)?];
            hop_skip_jump::accumulate(&mut space.recording, rows, signs.slice, x, queries, sums);
            Ok(())
        }),
        case("hop_skip_jump gradient_direction", |space, shape, rows, x| {
            let (plain, v) = (space.tensor("b", shape)?, space.output(shape));
            let norms = space.output_bytes(shape.n as u64 * 4);
            hop_skip_jump::gradient_direction(&mut space.recording, rows, [x, plain], v, norms);
            Ok(())
        }),
        case("hop_skip_jump step", |space, shape, rows, x| {
            let (v, y) = (space.tensor("b", shape)?, space.output(shape));
            hop_skip_jump::step(&mut space.recording, rows, RANGE, x, v, y);
            Ok(())
        }),
        case("hop_skip_jump distances", |space, shape, rows, x| {
            let (b, norms) = (space.tensor("b", shape)?, space.output_bytes(shape.n as u64 * 4));
            hop_skip_jump::distances(&mut space.recording, rows, x, b, norms);
            Ok(())
        }),
    ]
}
