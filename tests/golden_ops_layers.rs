//! Batch norm, activations, pooling and cross-entropy kernels against the reference values, gradients included.

mod common;
use common::gpu::{Case, Done, gpu};
use common::{Golden, assert_close, golden_json};
use contraleak::kernels::elementwise::{self, Unary};
use contraleak::kernels::loss::{self, CrossEntropy};
use contraleak::kernels::norm::{self, BatchNormEval, BatchNormGrad, BatchNormTrain};
use contraleak::kernels::pool::{self, Pool2d};
use contraleak::kernels::{Shape, Tensor};
use serde_json::Value;

/// Of the largest magnitude: single precision, sums of at most a few hundred terms.
const TOLERANCE: f64 = 3e-6;

/// One case of `ops.json`.
struct Operation<'a> {
    golden: &'a Golden,
    settings: &'a Value,
}

impl Operation<'_> {
    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.settings["case"].as_str().expect("a case has a number"))
    }

    fn has(&self, part: &str) -> bool {
        self.golden.has(&self.name(part))
    }

    fn input(&self, case: &mut Case, part: &str) -> Tensor {
        let values = self.golden.tensor(&self.name(part));
        case.input(part, shape_of(&values.shape), &values.data)
    }

    fn in_out(&self, case: &mut Case, part: &str) -> Tensor {
        let values = self.golden.tensor(&self.name(part));
        case.in_out(part, shape_of(&values.shape), &values.data)
    }

    fn output(&self, case: &mut Case, part: &str) -> Tensor {
        case.output(part, shape_of(&self.golden.tensor(&self.name(part)).shape))
    }

    fn check(&self, done: &Done, part: &str, tensor: Tensor) {
        let name = self.name(part);
        let label = format!("{} {name}", self.settings["op"]);
        assert_close(&label, &done.values(tensor), &self.golden.data(&name), TOLERANCE);
    }

    fn size(&self, setting: &str) -> usize {
        self.settings[setting].as_u64().unwrap_or(0) as usize
    }
}

/// Vectors are rows.
fn shape_of(sizes: &[usize]) -> Shape {
    match *sizes {
        [] => Shape::matrix(1, 1),
        [c] => Shape::matrix(1, c),
        [n, c] => Shape::matrix(n, c),
        [n, c, h, w] => Shape::new(n, c, h, w),
        _ => panic!("a tensor of shape {sizes:?}"),
    }
}

fn batch_norm(op: &Operation) {
    let mut case = Case::new(gpu());
    for (setting, ours) in [("eps", norm::EPSILON), ("momentum", norm::MOMENTUM)] {
        assert_eq!(op.settings[setting].as_f64().map(|v| v as f32), Some(ours), "{setting}");
    }
    let (x, dy) = (op.input(&mut case, "in.x"), op.input(&mut case, "gout"));
    let (gamma, beta) = (op.input(&mut case, "in.w"), op.input(&mut case, "in.b"));
    let running_mean = op.in_out(&mut case, "running_mean_before");
    let running_variance = op.in_out(&mut case, "running_var_before");
    let y = op.output(&mut case, "out");
    let training = op.settings["training"].as_bool().expect("a batch norm says whether it trains");
    let (mean, spread) = if training {
        let (mean, inv_std) = (case.output("mean", gamma.shape), case.output("inv_std", gamma.shape));
        let forward = BatchNormTrain {
            x,
            gamma,
            beta,
            running_mean,
            running_variance,
            residual: None,
            activation: None,
            y,
            mean,
            inv_std,
        };
        norm::batch_norm_train(&mut case.recording, &forward);
        (mean, inv_std)
    } else {
        let forward = BatchNormEval {
            x,
            gamma,
            beta,
            running_mean,
            running_variance,
            residual: None,
            activation: None,
            y,
        };
        norm::batch_norm_eval(&mut case.recording, &forward);
        (running_mean, running_variance)
    };
    let grad = BatchNormGrad {
        dy_second: None,
        x,
        y,
        dy,
        gamma,
        beta,
        mean,
        spread,
        activation: None,
        dx: op.output(&mut case, "grad.x"),
        dresidual: None,
        dgamma: op.output(&mut case, "grad.w"),
        dbeta: op.output(&mut case, "grad.b"),
    };
    if training {
        norm::batch_norm_train_grad(&mut case.recording, &grad);
    } else {
        norm::batch_norm_eval_grad(&mut case.recording, &grad);
    }
    let done = case.run();
    op.check(&done, "out", y);
    op.check(&done, "running_mean_after", running_mean);
    op.check(&done, "running_var_after", running_variance);
    op.check(&done, "grad.x", grad.dx);
    op.check(&done, "grad.w", grad.dgamma);
    op.check(&done, "grad.b", grad.dbeta);
}

fn activation(op: &Operation, f: Unary) {
    let mut case = Case::new(gpu());
    let (x, dy) = (op.input(&mut case, "in.x"), op.input(&mut case, "gout"));
    let (y, dx) = (op.output(&mut case, "out"), op.output(&mut case, "grad.x"));
    elementwise::unary(&mut case.recording, f, x, y);
    elementwise::unary_grad(&mut case.recording, f, y, dy, dx);
    let done = case.run();
    op.check(&done, "out", y);
    op.check(&done, "grad.x", dx);
}

fn pooling(op: &Operation, kind: &str) {
    let mut case = Case::new(gpu());
    let (x, dy) = (op.input(&mut case, "in.x"), op.input(&mut case, "gout"));
    let (y, dx) = (op.output(&mut case, "out"), op.output(&mut case, "grad.x"));
    if kind == "global_avg_pool2d" {
        pool::global_avg_pool2d(&mut case.recording, x, y);
        pool::global_avg_pool2d_grad(&mut case.recording, dy, dx);
    } else {
        let pool = Pool2d::new(x.shape, op.size("kernel"), op.size("stride"), op.size("padding"))
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(pool.output, y.shape);
        if kind == "max_pool2d" {
            let places = case.recording.transient("places", pool.places_bytes());
            pool::max_pool2d(&mut case.recording, &pool, x, y, places);
            pool::max_pool2d_grad(&mut case.recording, &pool, places, dy, dx);
        } else {
            pool::avg_pool2d(&mut case.recording, &pool, x, y);
            pool::avg_pool2d_grad(&mut case.recording, &pool, dy, dx);
        }
    }
    let done = case.run();
    op.check(&done, "out", y);
    op.check(&done, "grad.x", dx);
}

fn cross_entropy(op: &Operation) {
    let mut case = Case::new(gpu());
    let logits = op.input(&mut case, "in.logits");
    let labels: Vec<u32> = op.golden.data(&op.name("in.target")).iter().map(|&t| t as u32).collect();
    let entropy = CrossEntropy {
        logits,
        labels: case.words("labels", Shape::matrix(1, labels.len()), &labels).slice,
        smoothing: 0.0,
        normalizers: case.output("normalizers", Shape::matrix(logits.shape.n, 1)),
    };
    let upstream = if op.has("gout") { op.golden.data(&op.name("gout"))[0] as f32 } else { 1.0 };
    let (loss, dlogits) = (op.output(&mut case, "out"), op.output(&mut case, "grad.logits"));
    loss::softmax_cross_entropy(&mut case.recording, &entropy, loss);
    loss::softmax_cross_entropy_grad(&mut case.recording, &entropy, upstream, dlogits);
    let done = case.run();
    op.check(&done, "out", loss);
    op.check(&done, "grad.logits", dlogits);
}

#[test]
fn layers_match_the_reference_values() {
    let golden = Golden::open("ops");
    let cases = golden_json("ops.json");
    let mut found = std::collections::BTreeMap::new();
    for settings in cases.as_array().expect("ops.json is a list") {
        let op = Operation { golden: &golden, settings };
        let kind = settings["op"].as_str().expect("a case has an operation");
        match kind {
            "batch_norm2d" => batch_norm(&op),
            "relu" => activation(&op, Unary::Relu),
            "relu6" => activation(&op, Unary::Relu6),
            "max_pool2d" | "avg_pool2d" | "global_avg_pool2d" => pooling(&op, kind),
            "softmax_cross_entropy" => cross_entropy(&op),
            _ => continue,
        }
        *found.entry(kind).or_insert(0) += 1;
    }
    // Both modes of batch norm, and every other operation, have run.
    assert_eq!(found.len(), 7, "{found:?}");
    assert!(found["batch_norm2d"] >= 2, "{found:?}");
}
