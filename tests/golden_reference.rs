//! The float64 reference functions against the stored reference values, every case of `ops.json` and
//! every trace of `optimizers.safetensors`. Both sides compute in float64 from identical inputs, so they
//! differ by the rounding of differently ordered sums only.

mod common;

use std::collections::BTreeMap;

use common::{Golden, Tensor, assert_close, fill, golden_json};
use contraleak::reference::conv::{ConvShape, conv2d, conv2d_grad_input, conv2d_grad_weight};
use contraleak::reference::elementwise::{self, Activation};
use contraleak::reference::loss::{self, InfoNceQueue};
use contraleak::reference::matmul::{MatmulShape, matmul_nn, matmul_nt, matmul_tn};
use contraleak::reference::norm::{self, BatchNormLayer, BatchNormShape};
use contraleak::reference::optim::{self, AdamSettings, LarsSettings};
use contraleak::reference::pool::{self, PoolShape};
use contraleak::reference::similarity::{self, Similarity};
use contraleak::reference::{augment, reduce};

/// Relative to the largest magnitude of the tensor.
const TOLERANCE: f64 = 1e-12;
/// For `adjust_hue`, whose stored values went through float32: torchvision converts to it before HSV,
/// and six times the hue amplifies the rounding.
const TOLERANCE_OF_FLOAT32: f64 = 2e-6;

/// One case of `ops.json` with its tensors.
struct Case<'a> {
    golden: &'a Golden,
    id: String,
    settings: serde_json::Value,
}

impl Case<'_> {
    fn op(&self) -> &str {
        self.settings["op"].as_str().expect("every case has an op")
    }
    fn number(&self, name: &str) -> f64 {
        self.settings[name].as_f64().unwrap_or_else(|| panic!("case {} has no number {name}", self.id))
    }
    fn size(&self, name: &str) -> usize {
        self.number(name) as usize
    }
    fn flag(&self, name: &str) -> bool {
        self.settings[name].as_bool().unwrap_or_else(|| panic!("case {} has no flag {name}", self.id))
    }
    fn tensor(&self, name: &str) -> Tensor {
        self.golden.tensor(&format!("{}.{name}", self.id))
    }
    fn input(&self, name: &str) -> Tensor {
        self.tensor(&format!("in.{name}"))
    }
    fn gout(&self) -> Vec<f64> {
        self.tensor("gout").data
    }
    fn check(&self, name: &str, actual: &[f64]) {
        let label = format!("case {} {} {name}", self.id, self.op());
        let tolerance = if self.op() == "adjust_hue" { TOLERANCE_OF_FLOAT32 } else { TOLERANCE };
        assert_close(&label, actual, &self.tensor(name).data, tolerance);
    }
    fn check_loss(&self, actual: f64) {
        self.check("out", &[actual]);
    }
}

#[test]
fn fill_gives_the_stored_numbers() {
    assert_eq!(fill("fill_check", &[8]), Golden::open("fill").data("fill_check"));
}

#[test]
fn every_case_of_ops_json() {
    let golden = Golden::open("ops");
    let listed = golden_json("ops.json");
    let listed = listed.as_array().expect("ops.json is a list");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for settings in listed {
        let id = settings["case"].as_str().expect("every case has a number").to_owned();
        let case = Case { golden: &golden, id, settings: settings.clone() };
        let known = run(&case);
        assert!(known, "case {} has the unknown operation {}", case.id, case.op());
        *counts.entry(case.op().to_owned()).or_default() += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), listed.len(), "cases run: {counts:?}");
    assert!(counts.len() >= 20, "operations run: {counts:?}");
    // A tensor that no listed case owns would be a case that nobody looked at.
    for name in golden.names() {
        assert!(listed.iter().any(|c| name.starts_with(c["case"].as_str().unwrap_or("?"))), "stray {name}");
    }
}

/// Runs one case; false if its operation is unknown.
fn run(case: &Case) -> bool {
    match case.op() {
        "conv2d" => convolution(case),
        "linear" => linear(case),
        "matmul" => matmul(case),
        "batch_norm2d" => batch_norm(case),
        "relu" | "relu6" => activation(case),
        "max_pool2d" | "avg_pool2d" => pooling(case),
        "global_avg_pool2d" => global_pooling(case),
        "softmax_cross_entropy" => cross_entropy(case),
        "nt_xent" => nt_xent(case),
        "info_nce_queue" => info_nce(case),
        "cosine_similarity_matrix" => cosine_matrix(case),
        "pairwise_cosine_features" => pairwise_features(case),
        "kl_div" => kl_div(case),
        "resized_crop_bilinear"
        | "adjust_brightness"
        | "adjust_contrast"
        | "adjust_saturation"
        | "adjust_hue"
        | "rgb_to_grayscale"
        | "gaussian_blur" => image_operator(case),
        _ => return false,
    }
    true
}

fn convolution(case: &Case) {
    let (x, w, gout) = (case.input("x"), case.input("w"), case.gout());
    let shape = ConvShape {
        batch: x.shape[0],
        in_channels: x.shape[1],
        height: x.shape[2],
        width: x.shape[3],
        out_channels: w.shape[0],
        kernel: case.size("kernel"),
        stride: case.size("stride"),
        padding: case.size("padding"),
        groups: case.size("groups"),
    };
    case.check("out", &conv2d(&x.data, &w.data, shape));
    case.check("grad.x", &conv2d_grad_input(&gout, &w.data, shape));
    case.check("grad.w", &conv2d_grad_weight(&gout, &x.data, shape));
}

fn linear(case: &Case) {
    let (x, w, b, gout) = (case.input("x"), case.input("w"), case.input("b"), case.gout());
    let (rows, inputs, outputs) = (x.shape[0], x.shape[1], w.shape[0]);
    let product = matmul_nt(&x.data, &w.data, MatmulShape { m: rows, n: outputs, k: inputs });
    case.check("out", &elementwise::bias(&product, &b.data, 1));
    case.check("grad.x", &matmul_nn(&gout, &w.data, MatmulShape { m: rows, n: inputs, k: outputs }));
    case.check("grad.w", &matmul_tn(&gout, &x.data, MatmulShape { m: outputs, n: inputs, k: rows }));
    case.check("grad.b", &reduce::column_sums(&gout, outputs));
}

fn matmul(case: &Case) {
    let (a, b, gout) = (case.input("a"), case.input("b"), case.gout());
    let (m, k, n) = (a.shape[0], a.shape[1], b.shape[1]);
    case.check("out", &matmul_nn(&a.data, &b.data, MatmulShape { m, n, k }));
    case.check("grad.a", &matmul_nt(&gout, &b.data, MatmulShape { m, n: k, k: n }));
    case.check("grad.b", &matmul_tn(&a.data, &gout, MatmulShape { m: k, n, k: m }));
}

fn batch_norm(case: &Case) {
    let (x, weight, bias, gout) = (case.input("x"), case.input("w"), case.input("b"), case.gout());
    let shape = BatchNormShape {
        batch: x.shape[0],
        channels: x.shape[1],
        spatial: x.shape[2] * x.shape[3],
        splits: 1,
    };
    let layer = BatchNormLayer {
        weight: &weight.data,
        bias: &bias.data,
        eps: case.number("eps"),
        activation: Activation::Identity,
    };
    let mut mean = case.tensor("running_mean_before").data;
    let mut variance = case.tensor("running_var_before").data;
    let (out, grads) = if case.flag("training") {
        let (out, statistics) = norm::batch_norm_train(&x.data, None, layer, shape).expect("enough values");
        let momentum = case.number("momentum");
        norm::batch_norm_update_running(&mut mean, &mut variance, &statistics, momentum, shape);
        let grads = norm::batch_norm_train_backward(&x.data, &out, &gout, layer, &statistics, shape);
        (out, grads)
    } else {
        let out = norm::batch_norm_eval(&x.data, None, layer, &mean, &variance, shape);
        let grads = norm::batch_norm_eval_backward(&x.data, &out, &gout, layer, &mean, &variance, shape);
        (out, grads)
    };
    case.check("out", &out);
    case.check("running_mean_after", &mean);
    case.check("running_var_after", &variance);
    case.check("grad.x", &grads.x);
    case.check("grad.w", &grads.weight);
    case.check("grad.b", &grads.bias);
}

fn activation(case: &Case) {
    let (x, gout) = (case.input("x").data, case.gout());
    let (out, grad) = if case.op() == "relu" {
        let out = elementwise::relu(&x);
        (out.clone(), elementwise::relu_backward(&out, &gout))
    } else {
        let out = elementwise::relu6(&x);
        (out.clone(), elementwise::relu6_backward(&out, &gout))
    };
    case.check("out", &out);
    case.check("grad.x", &grad);
}

fn pooling(case: &Case) {
    let (x, gout) = (case.input("x"), case.gout());
    let shape = PoolShape {
        batch: x.shape[0],
        channels: x.shape[1],
        height: x.shape[2],
        width: x.shape[3],
        kernel: case.size("kernel"),
        stride: case.size("stride"),
        padding: case.settings["padding"].as_u64().unwrap_or(0) as usize,
    };
    let (out, grad) = if case.op() == "max_pool2d" {
        (pool::max_pool2d(&x.data, shape), pool::max_pool2d_backward(&x.data, &gout, shape))
    } else {
        (pool::avg_pool2d(&x.data, shape), pool::avg_pool2d_backward(&gout, shape))
    };
    case.check("out", &out);
    case.check("grad.x", &grad);
}

fn global_pooling(case: &Case) {
    let x = case.input("x");
    let spatial = x.shape[2] * x.shape[3];
    case.check("out", &pool::global_avg_pool2d(&x.data, spatial));
    case.check("grad.x", &pool::global_avg_pool2d_backward(&case.gout(), spatial));
}

fn cross_entropy(case: &Case) {
    let logits = case.input("logits").data;
    let targets: Vec<usize> = case.input("target").data.iter().map(|&t| t as usize).collect();
    case.check_loss(loss::softmax_cross_entropy(&logits, &targets, 0.0));
    case.check("grad.logits", &loss::softmax_cross_entropy_backward(&logits, &targets, 0.0, case.gout()[0]));
}

fn nt_xent(case: &Case) {
    let (z, temperature) = (case.input("z"), case.number("temperature"));
    case.check_loss(loss::nt_xent(&z.data, z.shape[1], temperature));
    case.check("grad.z", &loss::nt_xent_backward(&z.data, z.shape[1], temperature, case.gout()[0]));
}

fn info_nce(case: &Case) {
    let (q, k, queue) = (case.input("q"), case.input("k"), case.input("queue"));
    let operands = InfoNceQueue {
        q: &q.data,
        k: &k.data,
        queue: &queue.data,
        dim: q.shape[1],
        temperature: case.number("temperature"),
    };
    case.check_loss(loss::info_nce_queue(operands));
    case.check("grad.q", &loss::info_nce_queue_backward(operands, case.gout()[0]));
}

fn cosine_matrix(case: &Case) {
    let (a, b) = (case.input("a"), case.input("b"));
    let dim = a.shape[1];
    case.check("out", &similarity::cosine_similarity_matrix(&a.data, &b.data, dim));
    let grads = similarity::cosine_similarity_matrix_backward(&a.data, &b.data, &case.gout(), dim);
    case.check("grad.a", &grads.0);
    case.check("grad.b", &grads.1);
}

fn pairwise_features(case: &Case) {
    let f = case.input("f");
    let (views, dim) = (f.shape[1], f.shape[2]);
    case.check("out", &similarity::pairwise_features(&f.data, views, dim, Similarity::Cosine, false));
}

fn kl_div(case: &Case) {
    let (a, b) = (case.input("a"), case.input("b"));
    let classes = a.shape[1];
    case.check_loss(loss::kl_div(&a.data, &b.data, classes));
    let (grad_a, grad_b) = loss::kl_div_backward(&a.data, &b.data, classes, case.gout()[0]);
    case.check("grad.a", &grad_a);
    case.check("grad.b", &grad_b);
}

fn image_operator(case: &Case) {
    let x = case.input("x");
    let (height, width) = (x.shape[2], x.shape[3]);
    let apply = |image: &[f64]| match case.op() {
        "resized_crop_bilinear" => {
            assert!(!case.flag("align_corners"), "corners are never aligned here");
            let crop = augment::CropBox {
                top: case.size("top"),
                left: case.size("left"),
                height: case.size("height"),
                width: case.size("width"),
            };
            let (size, antialias) = (case.size("size"), case.flag("antialias"));
            augment::resized_crop_bilinear(image, height, width, crop, size, antialias)
        }
        "adjust_brightness" => augment::adjust_brightness(image, case.number("factor")),
        "adjust_contrast" => augment::adjust_contrast(image, case.number("factor")),
        "adjust_saturation" => augment::adjust_saturation(image, case.number("factor")),
        "adjust_hue" => augment::adjust_hue(image, case.number("factor")),
        "rgb_to_grayscale" => augment::rgb_to_grayscale(image),
        _ => augment::gaussian_blur(image, height, width, case.size("kernel"), case.number("sigma")),
    };
    let out: Vec<f64> = x.data.chunks(3 * height * width).flat_map(apply).collect();
    case.check("out", &out);
}

#[test]
fn every_optimizer_trace() {
    let golden = Golden::open("optimizers");
    let start = golden.data("p0");
    let grads = golden.data("grads");
    let mut run = 0;
    for name in golden.names() {
        if name == "p0" || name == "grads" {
            continue;
        }
        let (mut p, mut first, mut second) = (start.clone(), vec![0.0; start.len()], vec![0.0; start.len()]);
        let mut trace = Vec::new();
        for (g, t) in grads.chunks(start.len()).zip(1..) {
            let adam = AdamSettings { lr: 1e-2, ..AdamSettings::default() };
            let decaying = AdamSettings { weight_decay: 1e-2, ..adam };
            match name.as_str() {
                "sgd" => optim::sgd(&mut p, g, 0.1, 0.0),
                "sgd_momentum_wd" => optim::momentum(&mut p, g, &mut first, 0.1, 0.9, 1e-2),
                "nesterov" => optim::nesterov(&mut p, g, &mut first, 0.1, 0.9, 0.0),
                "adam" => optim::adam(&mut p, g, &mut first, &mut second, t, adam),
                "adam_l2" => optim::adam_l2(&mut p, g, &mut first, &mut second, t, decaying),
                "adamw" => optim::adamw(&mut p, g, &mut first, &mut second, t, decaying),
                "lars" => {
                    let settings = LarsSettings { lr: 0.5, momentum: 0.9, weight_decay: 1e-2, trust: 1e-3 };
                    optim::lars(&mut p, g, &mut first, settings);
                }
                other => panic!("optimizers.safetensors holds the unknown trace {other}"),
            }
            trace.extend_from_slice(&p);
        }
        assert_close(&name, &trace, &golden.data(&name), TOLERANCE);
        run += 1;
    }
    assert_eq!(run, 7, "traces compared");
}
