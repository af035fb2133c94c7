//! Kernels of HopSkipJump against their f64 twins, and against themselves in another batch.

mod common;

use common::gpu::{Case, Draw, every_class, gpu};
use contraleak::kernels::hop_skip_jump::{self, Draws, PixelRange, Row, Rows};
use contraleak::kernels::{Shape, Tensor};
use contraleak::reference::hop_skip_jump as twin;
use contraleak::rng::{Key, Stream};

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;
/// Error of a normal number below 6: logarithm, root and cosine of drivers.
const NORMAL: f64 = 2e-6;
const RANGE: PixelRange = PixelRange { low: 0.125, high: 0.875 };
const ENDS: [f64; 2] = [0.125, 0.875];
const KEY: u64 = 99;

fn key() -> Key {
    Key::from_seed(KEY).stream(Stream::Boundary, 3)
}

/// Awkward images, few and many texels.
fn shapes() -> Vec<(u64, Shape)> {
    let mut shapes = common::gpu::random_shapes(48, 8);
    shapes.extend([(1, Shape::new(5, 3, 4, 4)), (2, Shape::new(3, 3, 41, 37)), (3, Shape::new(1, 1, 1, 1))]);
    shapes
}

/// `slots` images, `count` rows of work in mixed order, some without work.
struct Setting {
    rows: Vec<Row>,
    numbers: Vec<u32>,
}

impl Setting {
    fn new(seed: u64, slots: usize, others: usize) -> Setting {
        let mut draw = Draw(seed);
        let count = slots + 2;
        let mut rows: Vec<Row> = (0..count as u32)
            .map(|i| Row {
                slot: draw.range(0, slots - 1) as u32,
                number: draw.range(0, others - 1) as u32,
                output: count as u32 - 1 - i,
                scale: (0.5 + 0.4 * draw.unit()) as f32,
            })
            .collect();
        rows.insert(1, Row::NOTHING);
        rows.push(Row::NOTHING);
        Setting { rows, numbers: (0..slots as u32).map(|slot| 1000 + 7 * slot).collect() }
    }

    fn rows(&self, case: &mut Case) -> Rows {
        let slice = case.words("rows", Shape::matrix(self.rows.len(), 4), &self.rows).slice;
        Rows { slice, count: self.rows.len() }
    }

    fn draws(&self, case: &mut Case) -> Draws {
        let words = [key().0[0], key().0[1], 0, 0];
        Draws {
            key: case.words("key", Shape::matrix(1, 4), &words).slice,
            images: case.words("images", Shape::matrix(1, self.numbers.len()), &self.numbers).slice,
        }
    }

    fn draw(&self, row: &Row) -> twin::Draw {
        twin::Draw { key: key(), image: self.numbers[row.slot as usize], number: row.number }
    }

    fn work(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| **row != Row::NOTHING)
    }

    /// The results of all rows in the order of outputs, each by `of`.
    fn expected(&self, of: impl Fn(&Row) -> Vec<f64>) -> Vec<f64> {
        let mut rows: Vec<&Row> = self.work().collect();
        rows.sort_by_key(|row| row.output);
        rows.into_iter().flat_map(of).collect()
    }

    fn output(&self, shape: Shape) -> Shape {
        Shape { n: self.work().count(), ..shape }
    }
}

/// The values of one image of many.
fn image(values: &[f64], shape: Shape, i: u32) -> &[f64] {
    let each = shape.c * shape.pixels();
    &values[i as usize * each..(i as usize + 1) * each]
}

#[test]
fn uniform_images_are_their_twins() {
    for (seed, shape) in shapes() {
        for facts in every_class(gpu()) {
            let mut case = Case::with_facts(gpu(), &facts);
            let setting = Setting::new(seed, shape.n, 40);
            let (rows, draws) = (setting.rows(&mut case), setting.draws(&mut case));
            let y = case.output("y", setting.output(shape));
            hop_skip_jump::uniform_images(&mut case.recording, rows, draws, RANGE, y);
            let expected =
                setting.expected(|row| setting.draw(row).uniform_image(shape.c, shape.pixels(), ENDS));
            case.run().assert_close(y, &expected, |_| 2.0 * U);
        }
    }
}

#[test]
fn points_of_segments_are_exact_at_the_ends() {
    for (seed, shape) in shapes() {
        for facts in every_class(gpu()) {
            let mut case = Case::with_facts(gpu(), &facts);
            let others = Shape { n: shape.n + 1, ..shape };
            let mut setting = Setting::new(seed, shape.n, others.n);
            setting.rows[0].scale = 1.0;
            let last = setting.rows.len() - 2;
            setting.rows[last].scale = 0.0;
            let rows = setting.rows(&mut case);
            let (x, x_values) = case.random("x", shape, seed, 1.0);
            let (b, b_values) = case.random("b", others, seed, 1.0);
            let y = case.output("y", setting.output(shape));
            hop_skip_jump::interpolate(&mut case.recording, rows, x, b, y);
            let expected = setting.expected(|row| {
                let (x, b) = (image(&x_values, shape, row.slot), image(&b_values, shape, row.number));
                twin::interpolate(x, b, f64::from(row.scale))
            });
            let exact = setting.expected(|row| {
                let end = row.scale == 0.0 || row.scale == 1.0;
                vec![f64::from(u8::from(end)); shape.c * shape.pixels()]
            });
            case.run().assert_close(y, &expected, |i| if exact[i] == 1.0 { 0.0 } else { 4.0 * U });
        }
    }
}

#[test]
fn queries_lie_on_the_twin_s_sphere_and_within_the_range() {
    for (seed, shape) in shapes() {
        for facts in every_class(gpu()) {
            let mut case = Case::with_facts(gpu(), &facts);
            let setting = Setting::new(seed, shape.n, 300);
            let (rows, draws) = (setting.rows(&mut case), setting.draws(&mut case));
            let (x, values) = case.random("x", shape, seed, 1.0);
            let y = case.output("y", setting.output(shape));
            hop_skip_jump::directions(&mut case.recording, rows, draws, RANGE, x, y);
            let g = |row: &Row| setting.draw(row).normals(shape.c, shape.pixels());
            let expected = setting.expected(|row| {
                let x = image(&values, shape, row.slot);
                twin::step(x, &twin::unit(&g(row)).0, f64::from(row.scale), ENDS)
            });
            // δ/‖g‖ times the error of g, twice because the norm has it too; the sum of the norm; the last addition.
            let bounds = setting.expected(|row| {
                let norm = common::norm(&g(row));
                let count = (shape.c * shape.pixels()) as f64;
                let each = |g: f64| {
                    NORMAL / norm * (1.0 + g.abs() / norm * count.sqrt())
                        + (count / 64.0 + 80.0) * U * g.abs() / norm
                };
                g(row).iter().map(|g| f64::from(row.scale) * each(*g) + 2.0 * U).collect()
            });
            case.run().assert_close(y, &expected, |i| bounds[i]);
        }
    }
}

#[test]
fn normal_numbers_are_normal_and_differ() {
    let draw = |image, number| twin::Draw { key: key(), image, number }.normals(3, 4096);
    let (a, b) = (draw(1, 2), draw(2, 1));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let product = |a: &[f64], b: &[f64]| mean(&a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>());
    // Five standard errors of 12,288 numbers.
    let bound = 5.0 / (a.len() as f64).sqrt();
    assert!(mean(&a).abs() < bound && (product(&a, &a) - 1.0).abs() < 1.5 * bound, "{}", product(&a, &a));
    assert!(product(&a, &b).abs() < bound, "two draws are alike: {}", product(&a, &b));
    let (cosines, sines) = (&a[..4096], &a[4096..8192]);
    assert!(product(cosines, sines).abs() < 5.0 / 64.0, "both branches of a pair are alike");
}

#[test]
fn sums_of_directions_match_their_twin_and_do_not_depend_on_portions() {
    for (seed, shape) in shapes() {
        for facts in every_class(gpu()) {
            let mut draw = Draw(seed);
            // The slots in reverse order, with awkward numbers of queries.
            let counts: Vec<u32> = (0..shape.n).map(|_| draw.awkward(17) as u32).collect();
            let total: u32 = counts.iter().sum();
            let delta = 0.37f32;
            let mut whole = Vec::new();
            let mut first = 0;
            for slot in (0..shape.n as u32).rev() {
                let number = counts[slot as usize];
                whole.push(Row { slot, number, output: first, scale: delta });
                first += number;
            }
            whole.push(Row::NOTHING);
            // Each run cut in two.
            let head = |row: &Row| Row { number: row.number / 2, ..*row };
            let tail = |row: &Row| Row {
                number: row.number - row.number / 2,
                output: row.output + row.number / 2,
                ..*row
            };
            let mut case = Case::with_facts(gpu(), &facts);
            let (x, x_values) = case.random("x", shape, seed, 1.0);
            let queries_shape = Shape { n: total as usize, ..shape };
            let (queries, q_values) = case.random("queries", queries_shape, seed, 1.0);
            let signs: Vec<f32> = (0..total).map(|_| if draw.unit() < 0.0 { -1.0 } else { 1.0 }).collect();
            let signs_slice = case.words("signs", Shape::matrix(1, total as usize), &signs).slice;
            let zeros = vec![0.0; shape.elements()];
            let sums = |case: &mut Case, name: &str| -> [Tensor; 2] {
                ["signed", "plain"].map(|kind| case.in_out(&format!("{name} {kind}"), shape, &zeros))
            };
            let (once, twice) = (sums(&mut case, "once"), sums(&mut case, "twice"));
            let heads: Vec<Row> = whole.iter().map(head).collect();
            let tails: Vec<Row> = whole.iter().map(tail).collect();
            for (table, sums) in [(&whole, once), (&heads, twice), (&tails, twice)] {
                let slice = case.words("rows", Shape::matrix(table.len(), 4), table).slice;
                let rows = Rows { slice, count: table.len() };
                hop_skip_jump::accumulate(&mut case.recording, rows, signs_slice, x, queries, sums);
            }
            let (mut signed, mut plain) = (zeros.clone(), zeros.clone());
            let each = shape.c * shape.pixels();
            for row in whole.iter().filter(|row| **row != Row::NOTHING) {
                let range = row.output as usize..(row.output + row.number) as usize;
                let own: Vec<Vec<f64>> =
                    range.clone().map(|i| image(&q_values, shape, i as u32).to_vec()).collect();
                let own_signs: Vec<f64> = range.map(|i| f64::from(signs[i])).collect();
                let x = image(&x_values, shape, row.slot);
                let (s, p) = twin::accumulate(x, &own, &own_signs, f64::from(delta));
                let at = row.slot as usize * each;
                signed[at..at + each].copy_from_slice(&s);
                plain[at..at + each].copy_from_slice(&p);
            }
            let done = case.run();
            // |u| ≤ 2/δ, at most 17 of them.
            let bound = 17.0 * 2.0 / f64::from(delta) * (17.0 + 5.0) * U;
            done.assert_close(once[0], &signed, |_| bound);
            done.assert_close(once[1], &plain, |_| bound);
            for i in 0..2 {
                assert_eq!(done.packed(once[i]), done.packed(twice[i]), "{shape}: portions change the sum");
            }
        }
    }
}

#[test]
fn gradient_directions_and_distances_match_their_twins() {
    for (seed, shape) in shapes() {
        for facts in every_class(gpu()) {
            let mut case = Case::with_facts(gpu(), &facts);
            // Each slot once, because the direction is written to its own row.
            let rows: Vec<Row> = (0..shape.n as u32)
                .map(|slot| Row {
                    slot,
                    number: shape.n as u32 - 1 - slot,
                    output: shape.n as u32 - 1 - slot,
                    scale: 0.25,
                })
                .chain([Row::NOTHING])
                .collect();
            let slice = case.words("rows", Shape::matrix(rows.len(), 4), &rows).slice;
            let table = Rows { slice, count: rows.len() };
            let (signed, s) = case.random("signed", shape, seed, 3.0);
            let (plain, p) = case.random("plain", shape, seed, 3.0);
            let v = case.output("v", shape);
            let vector = Shape::matrix(1, shape.n);
            let (norms, lengths) = (case.output("norms", vector), case.output("lengths", vector));
            let r = &mut case.recording;
            hop_skip_jump::gradient_direction(r, table, [signed, plain], v, norms.slice);
            hop_skip_jump::distances(r, table, signed, plain, lengths.slice);
            let done = case.run();
            let (mut directions, mut expected_norms) = (Vec::new(), Vec::new());
            for slot in 0..shape.n as u32 {
                let (v, norm) =
                    twin::gradient_direction(image(&s, shape, slot), image(&p, shape, slot), 0.25);
                directions.extend(v);
                expected_norms.push(norm);
            }
            let relative = ((shape.c * shape.pixels()) as f64 / 8.0 + 72.0) * U;
            // Elements of size 4 rounded thrice before they are divided by the norm.
            let each = (shape.c * shape.pixels()) as f64;
            let bound =
                |i: usize| relative * directions[i].abs() + 12.0 * U / expected_norms[i / each as usize];
            done.assert_close(v, &directions, bound);
            let got = done.packed(norms);
            let got_lengths = done.packed(lengths);
            for row in &rows[..shape.n] {
                let (slot, output) = (row.slot as usize, row.output as usize);
                let expected = expected_norms[slot];
                let error = (f64::from(got[output]) - expected).abs();
                assert!(error <= relative * expected + 12.0 * U, "{shape} norm {slot}: {error:e}");
                let expected = twin::distance(image(&s, shape, row.slot), image(&p, shape, row.number));
                let error = (f64::from(got_lengths[output]) - expected).abs();
                assert!(error <= relative * expected + 12.0 * U, "{shape} distance {slot}: {error:e}");
            }
        }
    }
}

#[test]
fn steps_are_clipped() {
    for (seed, shape) in shapes() {
        for facts in every_class(gpu()) {
            let mut case = Case::with_facts(gpu(), &facts);
            let setting = Setting::new(seed, shape.n, 1);
            let rows = setting.rows(&mut case);
            let (x, x_values) = case.random("x", shape, seed, 1.0);
            let (v, v_values) = case.random("v", shape, seed, 1.0);
            let y = case.output("y", setting.output(shape));
            hop_skip_jump::step(&mut case.recording, rows, RANGE, x, v, y);
            let expected = setting.expected(|row| {
                let (x, v) = (image(&x_values, shape, row.slot), image(&v_values, shape, row.slot));
                twin::step(x, v, f64::from(row.scale), ENDS)
            });
            case.run().assert_close(y, &expected, |_| 3.0 * U);
        }
    }
}
