//! Matrix products in three layouts against the f64 twin, with and without bounds checks.

mod common;
use common::dense::{define, devices, sum_bound, tiled_classes};
use common::gpu::{Case, Draw};
use contraleak::gpu::{Facts, Gpu};
use contraleak::kernels::Shape;
use contraleak::kernels::matmul::{Layout, matmul};
use contraleak::reference::matmul::{MatmulShape, Transpose, matmul_batched};

const LAYOUTS: [(Layout, Transpose); 3] =
    [(Layout::Nn, Transpose::Nn), (Layout::Nt, Transpose::Nt), (Layout::Tn, Transpose::Tn)];

/// Runs one product on every device of `devices`, with `facts` changed, and returns the tile of its workgroups where it is tiled.
fn check(
    layout: (Layout, Transpose),
    shape: MatmulShape,
    batch: usize,
    seed: u64,
    facts: impl Fn(&Gpu) -> Facts,
) -> Option<(u32, u32)> {
    let MatmulShape { m, n, k } = shape;
    let ((a_rows, a_columns), (b_rows, b_columns)) = match layout.0 {
        Layout::Nn => ((m, k), (k, n)),
        Layout::Nt => ((m, k), (n, k)),
        Layout::Tn => ((k, m), (k, n)),
    };
    let mut expected = None;
    let mut tile = None;
    for gpu in devices() {
        let mut case = Case::with_facts(gpu, &facts(gpu));
        let (a, a_values) = case.random("a", Shape::matrix(batch * a_rows, a_columns), seed, 1.0);
        let (b, b_values) = case.random("b", Shape::matrix(batch * b_rows, b_columns), seed, 1.0);
        let c = case.output("c", Shape::matrix(batch * m, n));
        matmul(&mut case.recording, layout.0, batch, a, b, c);
        tile = case.recording.dispatches().next().and_then(|d| define(d, "BM").zip(define(d, "BN")));
        let (expected, size) = expected.get_or_insert_with(|| {
            let absolute = |values: &[f64]| values.iter().map(|v| v.abs()).collect::<Vec<f64>>();
            let twin = |a: &[f64], b: &[f64]| matmul_batched(layout.1, a, b, batch, shape);
            (twin(&a_values, &b_values), twin(&absolute(&a_values), &absolute(&b_values)))
        });
        case.run().assert_close(c, expected, |i| sum_bound(k) * size[i]);
    }
    tile
}

#[test]
fn products_match_the_twin_on_random_shapes() {
    let mut draw = Draw(21);
    for seed in 0..40 {
        let shape = MatmulShape { m: draw.awkward(129), n: draw.awkward(129), k: draw.awkward(129) };
        let batch = draw.range(1, 5);
        for layout in LAYOUTS {
            let software = check(layout, shape, batch, seed, |gpu| gpu.facts().clone());
            assert!(software.is_none(), "these tests need a software adapter with subgroups of 8 or 4");
            let tiled = check(layout, shape, batch, seed, |gpu| tiled_classes(gpu)[0].clone());
            assert!(tiled.is_some());
        }
    }
}

#[test]
fn every_tile_size_matches_the_twin() {
    // Problems of few products that still fill a large adapter: short sums, and tails in every dimension.
    for (m, n, k, batch, size) in [
        (509, 511, 5, 8, (128, 128)),
        (2045, 61, 19, 8, (128, 64)),
        (1021, 62, 7, 8, (64, 64)),
        (31, 33, 65, 3, (32, 32)),
    ] {
        for layout in LAYOUTS {
            let tile = check(layout, MatmulShape { m, n, k }, batch, 4, |gpu| tiled_classes(gpu)[1].clone());
            assert_eq!(tile, Some(size), "tile of {m} x {n} x {k}, {batch} times");
        }
    }
}

/// Several bands of panels, blocks that end within a tile, and sums that end within a texel.
#[test]
fn products_in_bands_match_the_twin() {
    for (m, n, k, batch) in [(70, 260, 1030, 2), (33, 700, 515, 1), (1, 129, 2049, 3)] {
        for layout in LAYOUTS {
            check(layout, MatmulShape { m, n, k }, batch, 6, |gpu| gpu.facts().clone());
        }
    }
}

#[test]
fn an_operand_may_be_both_sides() {
    let gpu = devices()[0];
    let mut case = Case::new(gpu);
    let (z, values) = case.random("z", Shape::matrix(45, 30), 9, 1.0);
    let c = case.output("c", Shape::matrix(45, 45));
    matmul(&mut case.recording, Layout::Nt, 1, z, z, c);
    let shape = MatmulShape { m: 45, n: 45, k: 30 };
    let absolute: Vec<f64> = values.iter().map(|v| v.abs()).collect();
    let size = matmul_batched(Transpose::Nt, &absolute, &absolute, 1, shape);
    let expected = matmul_batched(Transpose::Nt, &values, &values, 1, shape);
    case.run().assert_close(c, &expected, |i| sum_bound(30) * size[i]);
}

/// Loops that do as much in a turn as a core's cache holds add in the same order.
#[test]
fn longer_turns_change_no_bits() {
    let gpu = devices()[1];
    for (layout, _) in LAYOUTS {
        let results = [32, 64].map(|kilobytes| {
            let facts = Facts { code_cache_bytes: kilobytes << 10, ..gpu.facts().clone() };
            let mut case = Case::with_facts(gpu, &facts);
            let (a, _) = case.random("a", Shape::matrix(144, 144), 1, 1.0);
            let (b, _) = case.random("b", Shape::matrix(144, 144), 2, 1.0);
            let c = case.output("c", Shape::matrix(144, 144));
            matmul(&mut case.recording, layout, 1, a, b, c);
            let turns: Vec<_> = case.recording.dispatches().filter_map(|d| define(d, "ROUND")).collect();
            (turns, case.run().packed(c).into_iter().map(f32::to_bits).collect::<Vec<_>>())
        });
        assert_eq!(results[0].0, [2]);
        assert_eq!(results[1].0, [if gpu.facts().lanes() == 8 { 4 } else { 2 }]);
        assert!(results[0].1 == results[1].1);
    }
}

#[test]
fn subgroups_of_four_match_their_twins() {
    common::gpu::pass_with_subgroups_of_four(&[
        "products_match_the_twin_on_random_shapes",
        "products_in_bands_match_the_twin",
        "an_operand_may_be_both_sides",
    ]);
}
