//! The similarity and contrastive-loss cases of `tests/golden/ops.json`, forward and gradients, in every kernel class.

mod common;
use common::gpu::{Case, every_class, gpu};
use common::{Golden, Tensor, assert_close, golden_json};
use contraleak::gpu::Facts;
use contraleak::kernels::similarity::{self, Similarity};
use contraleak::kernels::{Shape, loss};

/// Relative to the largest magnitude: f32 sums of at most a few hundred terms, and logits of cosine/τ, τ ≥ 0.07, whose
/// rounding error 2^-24/τ · √terms exponentials carry over.
const TOLERANCE: f64 = 2e-5;

/// A case of the wanted op: its id, settings and tensors.
struct GoldenCase<'a> {
    file: &'a Golden,
    id: String,
    settings: serde_json::Value,
}

impl GoldenCase<'_> {
    fn tensor(&self, name: &str) -> Tensor {
        self.file.tensor(&format!("{}.{name}", self.id))
    }
    fn temperature(&self) -> f32 {
        self.settings["temperature"].as_f64().unwrap_or_else(|| panic!("case {}: no temperature", self.id))
            as f32
    }
    fn upstream(&self) -> f32 {
        self.tensor("gout").data[0] as f32
    }
    fn check(&self, facts: &Facts, name: &str, actual: &[f64]) {
        let label = format!("case {} {name} ({:?})", self.id, facts.class);
        assert_close(&label, actual, &self.tensor(name).data, TOLERANCE);
    }
}

/// Runs `check` on every case of `op` in every class; there must be some.
fn for_each(op: &str, check: impl Fn(&GoldenCase, &Facts)) {
    let file = Golden::open("ops");
    let cases = golden_json("ops.json");
    let cases: Vec<_> = cases.as_array().into_iter().flatten().filter(|c| c["op"] == op).collect();
    assert!(!cases.is_empty(), "ops.json has no case of {op}");
    for settings in cases {
        let id =
            settings["case"].as_str().unwrap_or_else(|| panic!("{op}: a case without number")).to_string();
        let case = GoldenCase { file: &file, id, settings: settings.clone() };
        for facts in every_class(gpu()) {
            check(&case, &facts);
        }
    }
}

fn matrix(tensor: &Tensor) -> Shape {
    Shape::matrix(tensor.shape[0], tensor.shape[1])
}

#[test]
fn golden_nt_xent() {
    for_each("nt_xent", |golden, facts| {
        let z = golden.tensor("in.z");
        let mut case = Case::with_facts(gpu(), facts);
        let input = case.input("z", matrix(&z), &z.data);
        let (mean, dz) = (case.output("loss", Shape::matrix(1, 1)), case.output("dz", matrix(&z)));
        let saved = loss::nt_xent(&mut case.recording, input, golden.temperature(), mean)
            .unwrap_or_else(|e| panic!("{e}"));
        loss::nt_xent_grad(&mut case.recording, &saved, golden.upstream(), dz)
            .unwrap_or_else(|e| panic!("{e}"));
        let done = case.run();
        golden.check(facts, "out", &done.values(mean));
        golden.check(facts, "grad.z", &done.values(dz));
    });
}

#[test]
fn golden_info_nce_queue() {
    for_each("info_nce_queue", |golden, facts| {
        let (q, k, queue) = (golden.tensor("in.q"), golden.tensor("in.k"), golden.tensor("in.queue"));
        let mut case = Case::with_facts(gpu(), facts);
        let q_input = case.input("q", matrix(&q), &q.data);
        let k_input = case.input("k", matrix(&k), &k.data);
        let raw = case.input("raw queue", matrix(&queue), &queue.data);
        let (mean, dq) = (case.output("loss", Shape::matrix(1, 1)), case.output("dq", matrix(&q)));
        // The stored queue is not normalised; a queue in use is.
        let unit = contraleak::kernels::Tensor::transient(&mut case.recording, "queue", matrix(&queue));
        let norms = case.recording.transient("queue norms", matrix(&queue).n as u64 * 4);
        similarity::l2_normalize(&mut case.recording, raw, unit, norms);
        let saved = loss::info_nce(&mut case.recording, q_input, k_input, unit, golden.temperature(), mean)
            .unwrap_or_else(|e| panic!("{e}"));
        loss::info_nce_grad(&mut case.recording, &saved, golden.upstream(), dq)
            .unwrap_or_else(|e| panic!("{e}"));
        let done = case.run();
        golden.check(facts, "out", &done.values(mean));
        golden.check(facts, "grad.q", &done.values(dq));
    });
}

#[test]
fn golden_cosine_similarity_matrix() {
    for_each("cosine_similarity_matrix", |golden, facts| {
        let (a, b) = (golden.tensor("in.a"), golden.tensor("in.b"));
        let mut case = Case::with_facts(gpu(), facts);
        let a_input = case.input("a", matrix(&a), &a.data);
        let b_input = case.input("b", matrix(&b), &b.data);
        let y = case.output("y", Shape::matrix(a.shape[0], b.shape[0]));
        similarity::cosine_similarity_matrix(&mut case.recording, a_input, b_input, y)
            .unwrap_or_else(|e| panic!("{e}"));
        golden.check(facts, "out", &case.run().values(y));
    });
}

#[test]
fn golden_pairwise_cosine_features() {
    for_each("pairwise_cosine_features", |golden, facts| {
        let f = golden.tensor("in.f");
        let (images, views, dim) = (f.shape[0], f.shape[1], f.shape[2]);
        let mut case = Case::with_facts(gpu(), facts);
        let input = case.input("f", Shape::matrix(images * views, dim), &f.data);
        let features = case.output("features", Shape::matrix(images, views * (views - 1) / 2));
        let means = case.output("means", Shape::matrix(images, 1));
        similarity::pairwise_features(
            &mut case.recording,
            input,
            views,
            Similarity::Cosine,
            false,
            features,
            means,
        )
        .unwrap_or_else(|e| panic!("{e}"));
        golden.check(facts, "out", &case.run().values(features));
    });
}
