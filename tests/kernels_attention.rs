//! Attention and token kernels against their f64 twins, on every class.

mod common;
use common::gpu::{Case, Draw, every_class, gpu};
use contraleak::gpu::Facts;
use contraleak::kernels::attention::{self, Attention, AttentionGrad, AttentionShape};
use contraleak::kernels::{Shape, tokens};
use contraleak::reference::attention as twin;

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

fn twin_shape(shape: &AttentionShape) -> twin::AttentionShape {
    twin::AttentionShape {
        images: shape.images,
        heads: shape.heads,
        head_dim: shape.head_dim,
        queries: shape.queries,
        keys: shape.keys,
    }
}

/// Random sizes with one token, primes and multiples of the tile; heads of 4 to 64 channels; then ViT-B/32's head,
/// CLIP's attention pool (one query), and a grid of several workgroups in every product.
fn shapes() -> Vec<AttentionShape> {
    let mut draw = Draw(11);
    let mut all: Vec<AttentionShape> = (0..14)
        .map(|_| AttentionShape {
            images: draw.range(1, 3),
            heads: draw.range(1, 3),
            head_dim: [4, 8, 12, 20, 52, 64][draw.range(0, 5)],
            queries: draw.awkward(37),
            keys: draw.awkward(37),
        })
        .collect();
    let fixed = [(2, 12, 64, 50, 50), (2, 4, 64, 1, 50), (1, 1, 4, 1, 1), (3, 2, 28, 65, 67)];
    all.extend(fixed.map(|(images, heads, head_dim, queries, keys)| AttentionShape {
        images,
        heads,
        head_dim,
        queries,
        keys,
    }));
    all
}

struct Operands {
    shape: AttentionShape,
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    dy: Vec<f64>,
}

const SCALE: f64 = 2.0;

impl Operands {
    fn check(&self, facts: &Facts) {
        let shape = self.shape;
        let channels = shape.heads * shape.head_dim;
        let of = |tokens| Shape::new(shape.images, channels, 1, tokens);
        let (queries, keys) = (of(shape.queries), of(shape.keys));
        assert_eq!(AttentionShape::new(shape.heads, queries, keys, keys).unwrap(), shape);
        let mut case = Case::with_facts(gpu(), facts);
        let [q, dy] =
            [("q", &self.q), ("dy", &self.dy)].map(|(name, values)| case.input(name, queries, values));
        let [k, v] = [("k", &self.k), ("v", &self.v)].map(|(name, values)| case.input(name, keys, values));
        let probabilities = case.output("probabilities", shape.probabilities());
        let [y, dq] = ["y", "dq"].map(|name| case.output(name, queries));
        let [dk, dv] = ["dk", "dv"].map(|name| case.output(name, keys));
        attention::attention(&mut case.recording, &Attention { shape, q, k, v, probabilities, y });
        let grad = AttentionGrad { shape, q, k, v, probabilities, dy, dq, dk, dv };
        attention::attention_grad(&mut case.recording, &grad);
        let done = case.run();

        let t = twin_shape(&shape);
        let expected = twin::attention_probabilities(&self.q, &self.k, t);
        // A score is a sum of head_dim products of at most SCALE² each, divided by √head_dim: its error, in the sum's
        // typical rather than largest growth, moves a probability by as much of itself, and so does that of exp.
        let d = shape.head_dim as f64;
        let relative = U * ((d + 2.0) * SCALE * SCALE * d.sqrt() + 4.0 * shape.keys as f64 + 40.0);
        done.assert_close(probabilities, &expected, |i| relative * expected[i].max(1e-6));
        // Sums of probabilities times values of at most SCALE: the probabilities of a row add up to 1.
        let expected = twin::attention(&self.q, &self.k, &self.v, t);
        done.assert_close(y, &expected, |_| SCALE * (relative + U * (shape.keys + 2) as f64));
        let expected = twin::attention_backward(&self.q, &self.k, &self.v, &self.dy, t);
        // A gradient to a probability is at most d·SCALE²; one to a score twice that times the probability. Each
        // carries the error of the probability and of a sum of d products.
        let upstream = d * SCALE * SCALE;
        let score = 2.0 * upstream * (2.0 * relative + U * (d + shape.keys as f64 + 4.0));
        done.assert_close(dq, &expected.q, |_| score * SCALE / d.sqrt());
        // Queries times as many terms, each with the probability of its own row.
        let p = twin::attention_probabilities(&self.q, &self.k, t);
        let column = |i: usize| {
            let (plane, j) = (i / shape.keys / shape.head_dim, i % shape.keys);
            let row = |query: usize| p[(plane * shape.queries + query) * shape.keys + j];
            (0..shape.queries).map(row).sum::<f64>()
        };
        let sum = U * (shape.queries + 2) as f64;
        let magnitude = upstream * 2.0 * SCALE / d.sqrt();
        done.assert_close(dk, &expected.k, |i| {
            column(i) * (score * SCALE / d.sqrt() + sum * magnitude) + 1e-7
        });
        done.assert_close(dv, &expected.v, |i| column(i) * SCALE * (relative + sum) + 1e-7);
    }
}

#[test]
fn attention_and_its_gradient_match_their_twins_on_every_class() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let mut draw = Draw(seed as u64);
        let mut values = |count: usize| -> Vec<f64> {
            (0..count).map(|_| f64::from((draw.unit() * SCALE) as f32)).collect()
        };
        let t = twin_shape(&shape);
        let (queries, keys) = (t.query_len(), t.key_len());
        let operands =
            Operands { shape, q: values(queries), k: values(keys), v: values(keys), dy: values(queries) };
        for facts in every_class(gpu()) {
            operands.check(&facts);
        }
    }
}

#[test]
fn large_scores_neither_overflow_nor_lose_the_maximum() {
    let shape = AttentionShape { images: 1, heads: 1, head_dim: 4, queries: 3, keys: 6 };
    let (queries, keys) = (Shape::new(1, 4, 1, 3), Shape::new(1, 4, 1, 6));
    // Scores of ±500: exp alone would be infinite.
    let q: Vec<f64> = (0..12).map(|i| if i < 3 { 1000.0 } else { 0.0 }).collect();
    let k: Vec<f64> = (0..24).map(|i| if i < 6 { i as f64 / 5.0 * 2.0 - 1.0 } else { 0.0 }).collect();
    let v: Vec<f64> = (0..24).map(f64::from).collect();
    for facts in every_class(gpu()) {
        let mut case = Case::with_facts(gpu(), &facts);
        let (q_, k_, v_) =
            (case.input("q", queries, &q), case.input("k", keys, &k), case.input("v", keys, &v));
        let (probabilities, y) = (case.output("p", shape.probabilities()), case.output("y", queries));
        attention::attention(
            &mut case.recording,
            &Attention { shape, q: q_, k: k_, v: v_, probabilities, y },
        );
        let expected = twin::attention(&q, &k, &v, twin_shape(&shape));
        case.run().assert_close(y, &expected, |_| 1e-5);
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let q = Shape::new(2, 24, 1, 5);
    let fails = |heads, k: Shape, v: Shape, text: &str| {
        let message = AttentionShape::new(heads, q, k, v).unwrap_err().to_string();
        assert!(message.contains(text), "{message}");
    };
    let k = Shape::new(2, 24, 1, 7);
    fails(0, k, k, "24 channels cannot be cut into 0 heads");
    fails(4, k, k, "24 channels cannot be cut into 4 heads of a multiple of 4");
    fails(2, k, q, "found [2, 24, 1, 5], [2, 24, 1, 7] and [2, 24, 1, 5]");
    fails(2, Shape { n: 3, ..k }, Shape { n: 3, ..k }, "keys and values [N, D, 1, Tk]");
    fails(2, Shape { w: 0, ..k }, Shape { w: 0, ..k }, "keys and values [N, D, 1, Tk]");
    assert!(AttentionShape::new(3, q, k, k).is_ok());
}

#[test]
fn tokens_are_prepended_taken_and_placed() {
    let mut draw = Draw(3);
    for seed in 0..10 {
        let (n, d, t) = (draw.range(1, 5), draw.awkward(33), draw.awkward(50));
        let (shape, longer) = (Shape::new(n, d, 1, t), Shape::new(n, d, 1, t + 1));
        let (first, count) = (draw.range(0, t), draw.range(1, 3).min(t));
        let first = first.min(t + 1 - count);
        for rows in [1, n] {
            let mut case = Case::new(gpu());
            let (x, x_values) = case.random("x", shape, seed, 1.0);
            let (token, token_values) = case.random("token", Shape::matrix(rows, d), seed, 1.0);
            let (y, taken) = (case.output("y", longer), case.output("taken", Shape { w: count, ..shape }));
            let placed = case.output("placed", longer);
            tokens::prepend_token(&mut case.recording, x, token, y);
            tokens::shift_tokens(&mut case.recording, y, first as i32, taken);
            tokens::shift_tokens(&mut case.recording, taken, -(first as i32), placed);
            let done = case.run();
            let expected = twin::prepend_token(&x_values, &token_values, t);
            done.assert_close(y, &expected, |_| 0.0);
            let expected = twin::take_tokens(&expected, t + 1, first, count);
            done.assert_close(taken, &expected, |_| 0.0);
            let expected = twin::take_tokens_backward(&expected, t + 1, first, count);
            done.assert_close(placed, &expected, |_| 0.0);
        }
    }
}

#[test]
fn positions_are_added_and_their_gradient_sums_over_images() {
    for (seed, n, d, t) in [(1, 1, 1, 1), (2, 5, 7, 13), (3, 3, 64, 50), (4, 8, 33, 2)] {
        let shape = Shape::new(n, d, 1, t);
        let one = Shape { n: 1, ..shape };
        let mut case = Case::new(gpu());
        let (x, x_values) = case.random("x", shape, seed, 2.0);
        let (position, position_values) = case.random("position", one, seed, 2.0);
        let (y, dposition) = (case.output("y", shape), case.output("dposition", one));
        tokens::add_position(&mut case.recording, x, position, y);
        tokens::add_position_grad(&mut case.recording, x, dposition);
        let done = case.run();
        let expected = twin::add_position(&x_values, &position_values);
        done.assert_close(y, &expected, |i| U * expected[i].abs());
        let expected = twin::add_position_backward(&x_values, position_values.len());
        done.assert_close(dposition, &expected, |_| U * (n * n) as f64 * 2.0);
    }
}

#[test]
fn subgroups_of_four_match_their_twins() {
    common::gpu::pass_with_subgroups_of_four(&[
        "attention_and_its_gradient_match_their_twins_on_every_class",
    ]);
}
