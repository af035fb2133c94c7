//! One list of recordings that together hold every shader variant that the launchers of `src/kernels` can ask for.
//! Recordings are plain data: shapes are as large as it takes to reach a variant, and nothing is allocated.

use contraleak::gpu::{Facts, Gpu, GpuOptions, KernelClass, Products, Recording, Slice, TileRates};
use contraleak::kernels::attention::{Attention, AttentionGrad, AttentionShape, attention, attention_grad};
use contraleak::kernels::augment::{self, Batch, Images, PixelFormat, ViewOrder, ViewSettings};
use contraleak::kernels::conv::depthwise::{
    DepthwiseShape, DepthwiseWeights, depthwise_conv2d, depthwise_conv2d_grad_input,
    depthwise_conv2d_grad_weight,
};
use contraleak::kernels::conv::{
    Conv2d, ConvNorm, Weights, conv2d, conv2d_grad_input, conv2d_grad_weight, conv2d_grads, conv2d_norm,
};
use contraleak::kernels::elementwise::{self, Dropout, Gelu, Unary};
use contraleak::kernels::hop_skip_jump::{self, Draws, PixelRange, Rows};
use contraleak::kernels::loss::{self, CrossEntropy};
use contraleak::kernels::loss_scale;
use contraleak::kernels::matmul::{Layout, matmul};
use contraleak::kernels::norm::{
    BatchNormEval, BatchNormGrad, BatchNormTrain, LayerNorm, LayerNormGrad, ask_for_statistics,
    batch_norm_eval, batch_norm_eval_grad, batch_norm_train, batch_norm_train_grad, layer_norm,
    layer_norm_grad, layer_norm_statistics_bytes,
};
use contraleak::kernels::optim::{self, Adam, Lars, Segment, SegmentTable, Sgd};
use contraleak::kernels::pool::{self, Pool2d};
use contraleak::kernels::similarity::{self, Similarity};
use contraleak::kernels::{Shape, Tensor, reduce, tokens};

/// The adapters that launchers tell apart, with the limits that every WebGPU adapter has.
pub fn adapters() -> Vec<(&'static str, Facts)> {
    let facts = |class, subgroup, int64| Facts {
        class,
        subgroup,
        int64,
        threads: 4,
        code_cache_bytes: 32 << 10,
        exact_conv: false,
        products: Products::Single,
        shared_memory: false,
        max_binding_bytes: 128 << 20,
        max_buffer_bytes: 256 << 20,
        max_texture_side: 8192,
        max_groups: 65_535,
        max_invocations: 256,
        max_workgroup_bytes: 16_384,
        offset_alignment: 256,
        tile_rates: TileRates::default(),
    };
    let discrete = facts(KernelClass::Discrete, Some(32), true);
    let cooperative = |subgroup| Facts {
        products: Products::Cooperative,
        subgroup: Some(subgroup),
        max_workgroup_bytes: 32_768,
        ..discrete.clone()
    };
    let texture_kernels = facts(KernelClass::Software, Some(8), true);
    let shared_memory = Facts { shared_memory: true, ..texture_kernels.clone() };
    let one_thread = Facts { threads: 1, ..shared_memory.clone() };
    let exact = Facts { exact_conv: true, ..texture_kernels.clone() };
    let tiles = |rows, columns| Facts {
        tile_rates: TileRates::only(rows, columns),
        ..facts(KernelClass::Discrete, None, false)
    };
    vec![
        ("software with texture kernels", texture_kernels),
        ("software with memory that is buffer and texture", shared_memory),
        ("software with one thread", one_thread),
        ("software with exact convolutions", exact),
        ("software with subgroups of 4", facts(KernelClass::Software, Some(4), true)),
        ("software without 64-bit integers", facts(KernelClass::Software, Some(8), false)),
        ("integrated", facts(KernelClass::Integrated, None, false)),
        ("discrete", discrete.clone()),
        ("discrete with wide tiles", tiles(64, 128)),
        ("discrete with narrow tiles", tiles(128, 32)),
        ("rounded operands", Facts { products: Products::Rounded, ..discrete.clone() }),
        ("cooperative matrices", cooperative(32)),
        ("cooperative matrices, subgroups of 16", cooperative(16)),
        ("cooperative matrices, subgroups of 64", cooperative(64)),
    ]
}

/// Every launcher with every option on one adapter.
pub fn record_all(facts: &Facts) -> Recording {
    let mut recording = Recording::new(facts);
    let r = &mut recording;
    elementwise_kernels(r);
    norms(r, IMAGE);
    // Images of whole pairs of eight lanes.
    norms(r, Shape::new(3, 10, 4, 8));
    transformers(r);
    pools(r);
    reductions(r);
    convolutions(r);
    depthwise_convolutions(r);
    products(r);
    similarities(r);
    losses(r);
    optimizers(r);
    augmentations(r);
    boundary_attacks(r);
    recording
}

fn tensor(r: &mut Recording, shape: Shape) -> Tensor {
    Tensor::transient(r, "operand", shape)
}

fn matrix(r: &mut Recording, rows: usize, columns: usize) -> Tensor {
    tensor(r, Shape::matrix(rows, columns))
}

fn bytes(r: &mut Recording, bytes: u64) -> Slice {
    r.transient("operand", bytes)
}

const ACTIVATIONS: [Option<Unary>; 4] = [None, Some(Unary::Relu), Some(Unary::Relu6), Some(Unary::Tanh)];
const IMAGE: Shape = Shape::new(3, 10, 5, 7);

fn elementwise_kernels(r: &mut Recording) {
    let [x, y, z] = [IMAGE; 3].map(|shape| tensor(r, shape));
    let bias = matrix(r, 1, IMAGE.c);
    for f in ACTIVATIONS {
        if let Some(f) = f {
            elementwise::unary(r, f, x, y);
            elementwise::unary_grad(r, f, x, y, z);
        }
        elementwise::bias_activation(r, x, bias, f, y);
    }
    elementwise::bias_add(r, x, bias, y);
    elementwise::add(r, x, y, z);
    elementwise::mul(r, x, y, z);
    elementwise::scale(r, x, 0.5, y);
    elementwise::accumulate(r, x, y);
    elementwise::accumulate_scaled(r, x, 2.0, y);
    let (step, samples) = (bytes(r, 64), bytes(r, 12));
    elementwise::dropout(r, &Dropout { step, samples, layer: 1, probability: 0.5 }, x, y);
    let wide = tensor(r, Shape { c: 22, ..IMAGE });
    elementwise::copy_channels(r, x, 0, 10, wide, 12);
    let rows = bytes(r, 4 * IMAGE.n as u64);
    elementwise::gather_rows(r, x, rows, y);
}

fn norms(r: &mut Recording, image: Shape) {
    let [x, y, residual, dy, dx, dresidual] = [image; 6].map(|shape| tensor(r, shape));
    let [gamma, beta, running_mean, running_variance, dgamma, dbeta] = [image.c; 6].map(|c| matrix(r, 1, c));
    let statistics = [1, image.n].map(|splits| [(); 2].map(|()| matrix(r, splits, image.c)));
    for activation in ACTIVATIONS {
        for residual in [None, Some(residual)] {
            for [mean, inv_std] in statistics {
                batch_norm_train(
                    r,
                    &BatchNormTrain {
                        x,
                        gamma,
                        beta,
                        running_mean,
                        running_variance,
                        residual,
                        activation,
                        y,
                        mean,
                        inv_std,
                    },
                );
            }
            batch_norm_eval(
                r,
                &BatchNormEval { x, gamma, beta, running_mean, running_variance, residual, activation, y },
            );
        }
        for dresidual in [None, Some(dresidual), Some(dy)] {
            // dy holds the residual's gradient only where nothing lies between.
            if dresidual == Some(dy) && activation.is_some() {
                continue;
            }
            let mut grad = BatchNormGrad {
                x,
                y,
                dy,
                dy_second: None,
                gamma,
                beta,
                mean: running_mean,
                spread: running_variance,
                activation,
                dx,
                dresidual,
                dgamma,
                dbeta,
            };
            batch_norm_eval_grad(r, &grad);
            // A sum of two gradients only before an activation.
            let seconds = if activation.is_some() { &[None, Some(residual)][..] } else { &[None] };
            for ([mean, inv_std], &second) in
                statistics.into_iter().flat_map(|s| seconds.iter().map(move |x| (s, x)))
            {
                (grad.mean, grad.spread, grad.dy_second) = (mean, inv_std, second);
                batch_norm_train_grad(r, &grad);
            }
        }
    }
}

fn transformers(r: &mut Recording) {
    let (queries, keys) = (Shape::new(3, 24, 1, 5), Shape::new(3, 24, 1, 7));
    let [x, dx, y, dy] = [queries; 4].map(|shape| tensor(r, shape));
    for f in [Gelu::Exact, Gelu::Quick] {
        elementwise::gelu(r, f, x, y);
        elementwise::gelu_grad(r, f, x, dy, dx);
    }
    let [gamma, beta, dgamma, dbeta] = [24; 4].map(|c| matrix(r, 1, c));
    let statistics = bytes(r, layer_norm_statistics_bytes(queries));
    layer_norm(r, &LayerNorm { x, gamma, beta, y, statistics });
    layer_norm_grad(r, &LayerNormGrad { x, dy, gamma, statistics, dx, dgamma, dbeta });
    let [k, v, dk, dv] = [keys; 4].map(|shape| tensor(r, shape));
    let shape = AttentionShape::new(2, queries, keys, keys).expect("fits");
    let probabilities = tensor(r, shape.probabilities());
    attention(r, &Attention { shape, q: x, k, v, probabilities, y });
    attention_grad(r, &AttentionGrad { shape, q: x, k, v, probabilities, dy, dq: dx, dk, dv });
    let (token, longer) = (matrix(r, 1, 24), tensor(r, Shape { w: 6, ..queries }));
    tokens::prepend_token(r, x, token, longer);
    tokens::shift_tokens(r, longer, 1, y);
    let position = tensor(r, Shape { n: 1, ..queries });
    tokens::add_position(r, x, position, y);
    tokens::add_position_grad(r, dy, position);
}

fn pools(r: &mut Recording) {
    let windows = Pool2d::new(IMAGE, 3, 2, 1).expect("fits");
    let (x, y) = (tensor(r, IMAGE), tensor(r, windows.output));
    let places = bytes(r, windows.places_bytes());
    pool::max_pool2d(r, &windows, x, y, places);
    pool::max_pool2d_grad(r, &windows, places, y, x);
    pool::avg_pool2d(r, &windows, x, y);
    pool::avg_pool2d_grad(r, &windows, y, x);
    let means = matrix(r, IMAGE.n, IMAGE.c);
    pool::global_avg_pool2d(r, x, means);
    pool::global_avg_pool2d_grad(r, means, x);
}

fn reductions(r: &mut Recording) {
    let (x, sums, one) = (tensor(r, IMAGE), matrix(r, 1, IMAGE.c), matrix(r, 1, 1));
    reduce::channel_sums(r, x, sums);
    reduce::sum(r, x, one);
    reduce::mean(r, x, one);
    let count = bytes(r, 16);
    reduce::count_non_finite(r, x.slice, count);
    let parts = bytes(r, 5 * sums.slice.bytes);
    reduce::sum_parts(r, parts, 5, sums.slice);
    let (all, sets) = (matrix(r, 12, 9), matrix(r, 3, 9));
    let places = bytes(r, reduce::set_places_bytes(sets.shape));
    reduce::set_max(r, all, sets, places);
    reduce::set_max_grad(r, sets, places, all);
    reduce::set_sum(r, all, 1.0, sets);
    reduce::set_mean(r, all, sets);
    reduce::set_mean_grad(r, sets, all);
    reduce::set_broadcast(r, sets, -1.0, all);
    let moved = matrix(r, 12, 9);
    reduce::set_broadcast_add(r, all, sets, -1.0, moved);
}

/// Sizes of a side of a result that make launchers choose each of their tiles.
const SIDES: [usize; 7] = [7, 40, 64, 128, 512, 1024, 2048];

fn convolutions(r: &mut Recording) {
    let mut convolve = |conv: Conv2d| {
        let (x, y) = (tensor(r, conv.input), tensor(r, conv.output));
        let w = Weights::new(conv.weight(), bytes(r, conv.weight().bytes()));
        conv2d(r, &conv, x, w, y);
        let vector = matrix(r, 1, conv.output.c);
        for (residual, activation) in [(None, None), (None, Some(Unary::Relu)), (Some(y), Some(Unary::Relu))]
        {
            let norm = ConvNorm {
                gamma: vector,
                beta: vector,
                running_mean: vector,
                running_variance: vector,
                residual,
                activation,
            };
            let z = tensor(r, conv.output);
            conv2d_norm(r, &conv, x, w, &norm, z);
        }
        let z = tensor(r, conv.output);
        ask_for_statistics(r, z, 1);
        conv2d(r, &conv, x, w, z);
        let [mean, inv_std] = [(); 2].map(|()| matrix(r, 1, conv.output.c));
        let normed = tensor(r, conv.output);
        for residual in [None, Some(y)] {
            batch_norm_train(
                r,
                &BatchNormTrain {
                    x: z,
                    gamma: vector,
                    beta: vector,
                    running_mean: vector,
                    running_variance: vector,
                    residual,
                    activation: Some(Unary::Relu),
                    y: normed,
                    mean,
                    inv_std,
                },
            );
        }
        conv2d_grad_input(r, &conv, y, w, x);
        conv2d_grad_weight(r, &conv, x, y, w);
        conv2d_grads(r, &conv, (x, w), y, (x, w));
    };
    // So few channels that a lane has all of them.
    convolve(Conv2d::new(Shape::new(8, 16, 8, 8), 16, 3, 1, 1).expect("fits"));
    // The same in images that fill too little of their tiles.
    convolve(Conv2d::new(Shape::new(8, 16, 3, 3), 16, 3, 1, 1).expect("fits"));
    // Sums of an odd number of texels, direct and by Winograd.
    convolve(Conv2d::new(Shape::new(8, 3, 8, 8), 40, 3, 2, 1).expect("fits"));
    convolve(Conv2d::new(Shape::new(8, 40, 8, 8), 17, 3, 2, 1).expect("fits"));
    convolve(Conv2d::new(Shape::new(8, 20, 8, 8), 20, 3, 1, 1).expect("fits"));
    // More pixels than f32 counts.
    convolve(Conv2d::new(Shape::new(2048, 1, 112, 112), 1, 1, 1, 0).expect("fits"));
    convolve(Conv2d::new(Shape::new(2048, 1, 224, 224), 1, 1, 2, 0).expect("fits"));
    for channels in SIDES {
        for outputs in SIDES {
            for (images, side) in [(1, 3), (8, 8), (64, 16), (256, 32), (16, 112)] {
                let input = Shape::new(images, channels, side, side);
                for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (1, 1, 0)] {
                    convolve(Conv2d::new(input, outputs, kernel, stride, padding).expect("fits"));
                }
            }
            // A linear layer.
            convolve(Conv2d::new(Shape::matrix(512, channels), outputs, 1, 1, 0).expect("fits"));
        }
    }
}

fn depthwise_convolutions(r: &mut Recording) {
    // Every direction is unrolled over a kernel's taps; these are the kernels of the networks and two more.
    for (kernel, stride) in [(1, 1), (3, 1), (3, 2), (5, 1), (7, 2)] {
        let conv = Conv2d::new(Shape::new(2, 10, 9, 11), 10, kernel, stride, kernel / 2).expect("fits");
        let shape = DepthwiseShape { channels: 10, kernel };
        let (x, y) = (tensor(r, conv.input), tensor(r, conv.output));
        let w = DepthwiseWeights::new(shape, bytes(r, shape.bytes()));
        depthwise_conv2d(r, &conv, x, w, y);
        depthwise_conv2d_grad_input(r, &conv, y, w, x);
        depthwise_conv2d_grad_weight(r, &conv, x, y, w);
    }
}

fn products(r: &mut Recording) {
    for (rows, columns, batch) in SIDES.into_iter().flat_map(|m| SIDES.map(|n| (m, n, 3))) {
        let depth = 33;
        let c = matrix(r, batch * rows, columns);
        for (layout, a, b) in [
            (Layout::Nn, (rows, depth), (depth, columns)),
            (Layout::Nt, (rows, depth), (columns, depth)),
            (Layout::Tn, (depth, rows), (depth, columns)),
        ] {
            let [a, b] = [a, b].map(|(rows, columns)| matrix(r, batch * rows, columns));
            matmul(r, layout, batch, a, b, c);
        }
    }
    // More tiles than f32 counts, and sums of an even number of texels.
    let [a, b, c] =
        [(1 << 25, 8), (1024, 8), (1 << 25, 1024)].map(|(rows, columns)| matrix(r, rows, columns));
    matmul(r, Layout::Nt, 1, a, b, c);
}

fn similarities(r: &mut Recording) {
    let (a, b, y) = (matrix(r, 40, 18), matrix(r, 70, 18), matrix(r, 40, 70));
    similarity::cosine_similarity_matrix(r, a, b, y).expect("fits");
    let (unit, norms) = (matrix(r, 40, 18), bytes(r, 160));
    similarity::l2_normalize(r, a, unit, norms);
    let da = matrix(r, 40, 18);
    similarity::l2_normalize_grad(r, unit, norms, a, da);
    let (features, means) = (matrix(r, 4, 45), matrix(r, 4, 1));
    for measure in [Similarity::Cosine, Similarity::Euclidean, Similarity::Pearson] {
        for ascending in [false, true] {
            similarity::pairwise_features(r, a, 10, measure, ascending, features, means).expect("fits");
        }
    }
}

fn losses(r: &mut Recording) {
    let loss = matrix(r, 1, 1);
    let (step, ring) = (bytes(r, 64), bytes(r, 64));
    loss::keep_loss(r, step, loss, ring);
    for rows in [2, 70, 4096] {
        let [z, k, dz] = [rows; 3].map(|rows| matrix(r, rows, 130));
        let queue = matrix(r, 2 * rows, 130);
        // Below 0.05 the sums keep a running maximum.
        for temperature in [0.5, 0.07, 0.05, 0.02] {
            let forward = loss::nt_xent(r, z, temperature, loss).expect("fits");
            loss::nt_xent_grad(r, &forward, 1.0, dz).expect("fits");
            let forward = loss::info_nce(r, z, k, queue, temperature, loss).expect("fits");
            loss::info_nce_grad(r, &forward, 1.0, dz).expect("fits");
        }
        loss::queue_update(r, k, step, queue).expect("fits");
    }
    let [logits, dlogits] = [(); 2].map(|()| matrix(r, 9, 10));
    let (labels, normalizers) = (bytes(r, 36), matrix(r, 9, 1));
    for smoothing in [0.0, 0.1] {
        let entropy = CrossEntropy { logits, labels, smoothing, normalizers };
        loss::softmax_cross_entropy(r, &entropy, loss);
        loss::softmax_cross_entropy_grad(r, &entropy, 1.0, dlogits);
    }
    loss::softmax(r, logits, dlogits);
    loss::softmax_grad(r, logits, logits, dlogits);
    let [row, each] = [(); 2].map(|()| matrix(r, 9, 1));
    for targets in [None, Some(normalizers)] {
        loss::sigmoid_mean(r, row, targets, loss);
        loss::sigmoid_mean_grad(r, row, targets, each);
    }
    loss::row_distance(r, logits, logits, each, loss);
    loss::row_distance_grad(r, logits, logits, each.slice, dlogits);
}

fn optimizers(r: &mut Recording) {
    let step = bytes(r, 64);
    let [p, g, v, s] = [4000; 4].map(|size| bytes(r, size));
    for (momentum, nesterov, velocity) in [(0.0, false, None), (0.9, false, Some(v)), (0.9, true, Some(v))] {
        let settings = Sgd { momentum, nesterov, weight_decay: 5e-4 };
        optim::sgd(r, step, &settings, p, g, velocity).expect("fits");
    }
    for decoupled in [false, true] {
        let settings = Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, decoupled };
        optim::adam(r, step, &settings, p, g, v, s).expect("fits");
    }
    optim::ema(r, 0.99, p, g).expect("fits");
    let norm = bytes(r, 16);
    optim::gradient_norm(r, &[g, v], norm);
    optim::clip(r, norm, 1.0, &[g, v]).expect("fits");
    let (scale, corrections) = (bytes(r, 16), bytes(r, 32));
    loss_scale::unscale(r, scale, g).expect("fits");
    let settings = loss_scale::Update { norm, corrections, phase: 0, growth_interval: 2000 };
    loss_scale::update(r, &settings, scale, step);
    let [loss, scaled] = [(); 2].map(|()| matrix(r, 6, 130));
    loss_scale::scale_gradient(r, scale, loss, scaled);
}

fn augmentations(r: &mut Recording) {
    let (step, entries) = (bytes(r, 64), bytes(r, 5 * 8));
    let constants = bytemuck::Zeroable::zeroed();
    for (order, format, blur_taps) in [
        (ViewOrder::ViewMajor, PixelFormat::Packed8, 0),
        (ViewOrder::ImageMajor, PixelFormat::Packed8, 9),
        (ViewOrder::ViewMajor, PixelFormat::Float, 3),
    ] {
        let batch = Batch { entries, images: 5, views: 2, first_view: 0, order };
        let records = bytes(r, 64 * 10);
        augment::draw(r, step, &batch, &constants, records).expect("fits");
        let images = Images { slice: bytes(r, 5 * 36 * 16), format, count: 5, height: 6, width: 6 };
        let y = tensor(r, Shape::new(10, 3, 8, 8));
        for flag in [false, true] {
            let settings = ViewSettings {
                antialias: flag,
                gray_first: flag,
                pil8: flag,
                blur_taps,
                mean: [0.5; 3],
                std: [0.25; 3],
            };
            augment::views(r, &images, &batch, records, &settings, y).expect("fits");
        }
    }
}

fn boundary_attacks(r: &mut Recording) {
    let range = PixelRange { low: 0.0, high: 1.0 };
    // Rows of few texels and of many are reduced by workgroups of different sizes.
    for side in [4, 23] {
        let rows = Rows { slice: bytes(r, 5 * 16), count: 5 };
        let draws = Draws { key: bytes(r, 16), images: bytes(r, 20) };
        let [x, b, y, sum] = [Shape::new(5, 5, side, side); 4].map(|shape| tensor(r, shape));
        let scalars = bytes(r, 20);
        hop_skip_jump::uniform_images(r, rows, draws, range, y);
        hop_skip_jump::interpolate(r, rows, x, b, y);
        hop_skip_jump::directions(r, rows, draws, range, x, y);
        hop_skip_jump::accumulate(r, rows, scalars, x, y, [b, sum]);
        hop_skip_jump::gradient_direction(r, rows, [b, sum], y, scalars);
        hop_skip_jump::step(r, rows, range, x, b, y);
        hop_skip_jump::distances(r, rows, x, b, scalars);
    }
}

/// LARS on `facts`. Its table of segments is the one operand of all launchers that cannot be transient, so this
/// needs a device, of whatever kind.
pub fn record_lars(facts: &Facts) -> Recording {
    let gpu =
        Gpu::open(&GpuOptions { checked: true, ..GpuOptions::default() }).unwrap_or_else(|e| panic!("{e}"));
    let table =
        SegmentTable::new(&gpu, &[Segment { offset: 0, length: 10 }]).unwrap_or_else(|e| panic!("{e}"));
    let mut recording = Recording::new(facts);
    let r = &mut recording;
    let step = bytes(r, 64);
    let [p, g, v] = [160; 3].map(|size| bytes(r, size));
    let settings = Lars { momentum: 0.9, weight_decay: 1e-6, trust: 1e-3 };
    optim::lars(r, step, &settings, &table, p, g, v).expect("fits");
    recording
}
