//! Batch norm kernels against their f64 twins: both modes, both directions, every fusion.

mod common;
use common::gpu::{Case, Draw, every_class, gpu, random_shapes};
use contraleak::gpu::{Facts, Recording};
use contraleak::graph::{Form, Graph, Init, Memory, ParameterSet, Role, Value, ops};
use contraleak::kernels::elementwise::Unary;
use contraleak::kernels::norm::{self, BatchNormEval, BatchNormGrad, BatchNormTrain};
use contraleak::kernels::{Shape, Tensor, elementwise};
use contraleak::reference::elementwise::Activation;
use contraleak::reference::norm as twin;

/// Half a unit in the last place of 1.
const U: f64 = 1.0 / 16_777_216.0;

fn twin_activation(f: Option<Unary>) -> Activation {
    match f {
        None => Activation::Identity,
        Some(Unary::Relu) => Activation::Relu,
        Some(Unary::Relu6) => Activation::Relu6,
        Some(Unary::Tanh) => Activation::Tanh,
    }
}

/// Random shapes with at least two values a channel, and shapes that reach the unrolled loops, shares of
/// many images, shares of a whole and a short segment, matrices and one long row.
fn shapes(seed: u64) -> Vec<(u64, Shape)> {
    let mut all = random_shapes(seed, 6);
    all.extend([
        (1, Shape::new(3, 5, 67, 61)),
        (2, Shape::new(130, 9, 4, 4)),
        (6, Shape::new(3, 5, 16, 40)),
        (3, Shape::matrix(257, 13)),
        (4, Shape::matrix(2, 1)),
        (5, Shape::new(1, 6, 1, 2)),
    ]);
    all.retain(|(_, shape)| shape.n * shape.pixels() > 1);
    all
}

const FUSIONS: [(Option<Unary>, bool); 7] = [
    (None, false),
    (None, true),
    (Some(Unary::Relu), false),
    (Some(Unary::Relu), true),
    (Some(Unary::Relu6), false),
    (Some(Unary::Relu6), true),
    (Some(Unary::Tanh), false),
];

/// Everything that one test case holds on the host.
struct Host {
    shape: Shape,
    sizes: twin::BatchNormShape,
    x: Vec<f64>,
    residual: Option<Vec<f64>>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    running_mean: Vec<f64>,
    running_variance: Vec<f64>,
    dy: Vec<f64>,
    activation: Option<Unary>,
    /// Added to every x: the mean that must not cost precision.
    offset: f64,
}

impl Host {
    fn new(seed: u64, shape: Shape, activation: Option<Unary>, residual: bool, offset: f64) -> Host {
        let mut draw = Draw(seed);
        let mut values = |count: usize, centre: f64, scale: f64| -> Vec<f64> {
            (0..count).map(|_| f64::from((centre + draw.unit() * scale) as f32)).collect()
        };
        let (elements, channels) = (shape.elements(), shape.c);
        Host {
            x: values(elements, offset, 2.0),
            residual: residual.then(|| values(elements, 0.0, 3.0)),
            gamma: values(channels, 0.5, 3.0),
            beta: values(channels, 0.0, 2.0),
            running_mean: values(channels, offset, 1.0),
            running_variance: values(channels, 1.5, 1.0),
            dy: values(elements, 0.1, 1.0),
            sizes: twin::BatchNormShape { batch: shape.n, channels, spatial: shape.pixels(), splits: 1 },
            shape,
            activation,
            offset,
        }
    }

    /// The same with statistics for each of `splits` parts of the batch.
    fn split(mut self, splits: usize) -> Host {
        self.sizes.splits = splits;
        self
    }

    fn layer(&self) -> twin::BatchNormLayer<'_> {
        twin::BatchNormLayer {
            weight: &self.gamma,
            bias: &self.beta,
            eps: f64::from(norm::EPSILON),
            activation: twin_activation(self.activation),
        }
    }

    fn channel(&self, i: usize) -> usize {
        i / self.sizes.spatial % self.sizes.channels
    }

    /// Place of an element's statistics in [splits, channels].
    fn group(&self, i: usize) -> usize {
        let sample = i / self.sizes.spatial / self.sizes.channels;
        sample % self.sizes.splits * self.sizes.channels + self.channel(i)
    }

    /// Additions that a term of a sum over a channel can meet: its share, a sixteenth of the parts, the fold.
    fn additions(&self) -> f64 {
        self.sizes.count().min(400) as f64 + 8.0 + self.sizes.splits as f64
    }

    /// Bound on the error of a batch mean: sums of differences to a pivot of at most 4, and the pivot itself.
    fn mean_error(&self) -> f64 {
        2.0 * U * (4.0 * self.additions() + self.offset.abs() + 2.0)
    }

    /// Bound on the relative error of 1/√(σ² + ε).
    fn deviation_error(&self, variance: f64) -> f64 {
        // Squares of differences to the pivot may be 12 times the variance (uniform values); a difference of
        // two means is wrong by a rounding of the means.
        let spread = (variance + f64::from(norm::EPSILON)).sqrt();
        U * 12.0 * (2.0 * self.additions() + 8.0) + 4.0 * U * (self.offset.abs() + 2.0) / spread
    }

    /// Bound on the error of an output element from those of the statistics.
    fn output_error(&self, i: usize, mean: f64, variance: f64, mean_error: f64, relative: f64) -> f64 {
        let c = self.channel(i);
        let inverse = 1.0 / (variance + f64::from(norm::EPSILON)).sqrt();
        let normal = (self.x[i] - mean).abs() * inverse;
        let residual = self.residual.as_ref().map_or(0.0, |r| r[i].abs());
        let tanh = if self.activation == Some(Unary::Tanh) { 4e-6 } else { 0.0 };
        self.gamma[c].abs() * (inverse * mean_error + normal * relative)
            + 8.0 * U * (self.gamma[c].abs() * normal + self.beta[c].abs() + residual)
            + tanh
    }
}

/// The tensors of a case that both modes need.
struct Device {
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    residual: Option<Tensor>,
    y: Tensor,
    dy: Tensor,
    dy_second: Option<Tensor>,
    dx: Tensor,
    dresidual: Option<Tensor>,
    dgamma: Tensor,
    dbeta: Tensor,
}

impl Device {
    fn new(case: &mut Case, host: &Host) -> Device {
        let vector = Shape::matrix(1, host.shape.c);
        // With ReLU the gradient comes as a sum of two: 2·dy − dy, which is exact.
        let second = host.activation == Some(Unary::Relu);
        let part = if second { 2.0 } else { 1.0 };
        Device {
            x: case.input("x", host.shape, &host.x),
            gamma: case.input("gamma", vector, &host.gamma),
            beta: case.input("beta", vector, &host.beta),
            residual: host.residual.as_ref().map(|r| case.input("residual", host.shape, r)),
            y: case.output("y", host.shape),
            dy: case.input("dy", host.shape, &host.dy.iter().map(|v| v * part).collect::<Vec<_>>()),
            dy_second: second.then(|| {
                let rest: Vec<f64> = host.dy.iter().map(|v| v * (1.0 - part)).collect();
                case.input("second dy", host.shape, &rest)
            }),
            dx: case.output("dx", host.shape),
            dresidual: host.residual.is_some().then(|| case.output("dresidual", host.shape)),
            dgamma: case.output("dgamma", vector),
            dbeta: case.output("dbeta", vector),
        }
    }

    fn grad(&self, host: &Host, mean: Tensor, spread: Tensor) -> BatchNormGrad {
        BatchNormGrad {
            x: self.x,
            y: self.y,
            dy: self.dy,
            dy_second: self.dy_second,
            gamma: self.gamma,
            beta: self.beta,
            mean,
            spread,
            activation: host.activation,
            dx: self.dx,
            dresidual: self.dresidual,
            dgamma: self.dgamma,
            dbeta: self.dbeta,
        }
    }

    fn check_gradients(
        &self,
        done: &common::gpu::Done,
        host: &Host,
        grads: &twin::BatchNormGradients,
        statistics: &twin::BatchStatistics,
        training: bool,
    ) {
        // Bounds are made for each split; those of dγ and dβ are the sums over splits.
        let channels = host.sizes.channels;
        let groups = statistics.mean.len();
        let inverse = |c: usize| 1.0 / (statistics.variance[c] + f64::from(norm::EPSILON)).sqrt();
        let normal = |i: usize| (host.x[i] - statistics.mean[host.group(i)]) * inverse(host.group(i));
        let (mut sum, mut product) = (vec![0.0; groups], vec![0.0; groups]);
        // Of g itself: 1 − y² of tanh cancels near ±1.
        let own = |i: usize| 4.0 * U * host.dy[i].abs();
        let (mut own_sum, mut own_product) = (sum.clone(), sum.clone());
        for (i, g) in grads.residual.iter().enumerate() {
            let c = host.group(i);
            sum[c] += g.abs();
            product[c] += (g * normal(i)).abs();
            own_sum[c] += own(i);
            own_product[c] += own(i) * normal(i).abs();
        }
        let mean_error = if training { host.mean_error() } else { 0.0 };
        let relative = |c: usize| {
            let statistic = if training { host.deviation_error(statistics.variance[c]) } else { 0.0 };
            statistic + 8.0 * U
        };
        // x − μ is rounded once more, which matters where both are large.
        let shift = |c: usize| inverse(c) * (mean_error + U * (host.offset.abs() + 3.0));
        let bias_error = |c: usize| 2.0 * U * host.additions() * sum[c] + own_sum[c];
        let weight_error = |c: usize| {
            (2.0 * U * host.additions() + relative(c)) * product[c] + shift(c) * sum[c] + own_product[c]
        };
        let over_splits =
            |of: &dyn Fn(usize) -> f64, c: usize| -> f64 { (c..groups).step_by(channels).map(of).sum() };
        done.assert_close(self.dbeta, &grads.bias, |c| over_splits(&bias_error, c));
        done.assert_close(self.dgamma, &grads.weight, |c| over_splits(&weight_error, c));
        let count = host.sizes.count() as f64;
        done.assert_close(self.dx, &grads.x, |i| {
            let c = host.group(i);
            let of_means = if training {
                bias_error(c) / count
                    + normal(i).abs() * weight_error(c) / count
                    + (shift(c) + normal(i).abs() * relative(c)) * product[c] / count
                    + sum[c] / count * 8.0 * U
            } else {
                0.0
            };
            let magnitude = grads.residual[i].abs()
                + if training { sum[c] / count + normal(i).abs() * product[c] / count } else { 0.0 };
            host.gamma[host.channel(i)].abs()
                * inverse(c)
                * (own(i) + of_means + magnitude * (relative(c) + 8.0 * U))
        });
        if let Some(dresidual) = self.dresidual {
            done.assert_close(dresidual, &grads.residual, own);
        }
    }
}

fn check_train(host: &Host) {
    // With one thread in one launch, where the shape allows it.
    let one_thread = Facts { threads: 1, ..gpu().facts().clone() };
    for facts in every_class(gpu()).into_iter().chain([one_thread]) {
        check_train_with(host, &facts);
    }
}

fn check_train_with(host: &Host, facts: &Facts) {
    let mut case = Case::with_facts(gpu(), facts);
    let vector = Shape::matrix(1, host.shape.c);
    let device = Device::new(&mut case, host);
    let running_mean = case.in_out("running mean", vector, &host.running_mean);
    let running_variance = case.in_out("running variance", vector, &host.running_variance);
    let statistics = Shape::matrix(host.sizes.splits, host.shape.c);
    let (mean, inv_std) = (case.output("mean", statistics), case.output("inv_std", statistics));
    let forward = BatchNormTrain {
        x: device.x,
        gamma: device.gamma,
        beta: device.beta,
        running_mean,
        running_variance,
        residual: device.residual,
        activation: host.activation,
        y: device.y,
        mean,
        inv_std,
    };
    norm::check_batch_norm(host.shape, host.sizes.splits).unwrap();
    norm::batch_norm_train(&mut case.recording, &forward);
    norm::batch_norm_train_grad(&mut case.recording, &device.grad(host, mean, inv_std));
    let done = case.run();

    let (y, statistics) =
        twin::batch_norm_train(&host.x, host.residual.as_deref(), host.layer(), host.sizes).unwrap();
    let relative = |c: usize| host.deviation_error(statistics.variance[c]);
    done.assert_close(mean, &statistics.mean, |_| host.mean_error());
    let inverse: Vec<f64> =
        statistics.variance.iter().map(|v| 1.0 / (v + f64::from(norm::EPSILON)).sqrt()).collect();
    done.assert_close(inv_std, &inverse, |c| inverse[c] * (relative(c) + 4.0 * U));
    done.assert_close(device.y, &y, |i| {
        let c = host.group(i);
        let mean_error = host.mean_error() + U * (host.offset.abs() + 3.0);
        host.output_error(i, statistics.mean[c], statistics.variance[c], mean_error, relative(c))
    });
    let (mut new_mean, mut new_variance) = (host.running_mean.clone(), host.running_variance.clone());
    let momentum = f64::from(norm::MOMENTUM);
    twin::batch_norm_update_running(&mut new_mean, &mut new_variance, &statistics, momentum, host.sizes);
    let largest = |of: &dyn Fn(usize) -> f64, c: usize| -> f64 {
        (c..statistics.mean.len()).step_by(host.shape.c).map(of).fold(0.0, f64::max)
    };
    done.assert_close(running_mean, &new_mean, |c| {
        host.mean_error() + 4.0 * U * (host.running_mean[c].abs() + largest(&|g| statistics.mean[g].abs(), c))
    });
    done.assert_close(running_variance, &new_variance, |c| {
        let of_split =
            |g: usize| 2.0 * relative(g) * 2.0 * statistics.variance[g].max(f64::from(norm::EPSILON));
        largest(&of_split, c) + 4.0 * U * host.running_variance[c].abs()
    });

    // What the activation let through is decided by the result the kernels wrote: an argument within rounding
    // of a corner may fall on either side.
    let out = done.values(device.y);
    let grads =
        twin::batch_norm_train_backward(&host.x, &out, &host.dy, host.layer(), &statistics, host.sizes);
    device.check_gradients(&done, host, &grads, &statistics, true);
}

fn check_eval(host: &Host) {
    for facts in every_class(gpu()) {
        check_eval_with(host, &facts);
    }
}

fn check_eval_with(host: &Host, facts: &Facts) {
    let mut case = Case::with_facts(gpu(), facts);
    let vector = Shape::matrix(1, host.shape.c);
    let device = Device::new(&mut case, host);
    let running_mean = case.input("running mean", vector, &host.running_mean);
    let running_variance = case.input("running variance", vector, &host.running_variance);
    let forward = BatchNormEval {
        x: device.x,
        gamma: device.gamma,
        beta: device.beta,
        running_mean,
        running_variance,
        residual: device.residual,
        activation: host.activation,
        y: device.y,
    };
    norm::batch_norm_eval(&mut case.recording, &forward);
    norm::batch_norm_eval_grad(&mut case.recording, &device.grad(host, running_mean, running_variance));
    let done = case.run();
    let (mean, variance) = (&host.running_mean, &host.running_variance);
    let residual = host.residual.as_deref();
    let y = twin::batch_norm_eval(&host.x, residual, host.layer(), mean, variance, host.sizes);
    done.assert_close(device.y, &y, |i| {
        let c = host.channel(i);
        host.output_error(i, mean[c], variance[c], U * (host.offset.abs() + 3.0), 4.0 * U)
    });
    let out = done.values(device.y);
    let grads =
        twin::batch_norm_eval_backward(&host.x, &out, &host.dy, host.layer(), mean, variance, host.sizes);
    let statistics = twin::BatchStatistics { mean: mean.clone(), variance: variance.clone() };
    device.check_gradients(&done, host, &grads, &statistics, false);
}

#[test]
fn training_matches_its_twin_with_every_fusion() {
    for (activation, residual) in FUSIONS {
        for (seed, shape) in shapes(11) {
            check_train(&Host::new(seed, shape, activation, residual, 0.0));
        }
    }
}

#[test]
fn splits_match_their_twin_with_every_fusion() {
    let shapes = [
        (31, Shape::new(4, 5, 7, 3), 2),
        (32, Shape::new(6, 9, 1, 5), 3),
        (33, Shape::new(128, 3, 4, 4), 8),
        (34, Shape::new(5, 16, 13, 11), 5),
        (35, Shape::matrix(96, 13), 4),
        (36, Shape::matrix(254, 1), 127),
        (37, Shape::new(34, 4, 37, 29), 17),
    ];
    for (activation, residual) in FUSIONS {
        for (seed, shape, splits) in shapes {
            check_train(&Host::new(seed, shape, activation, residual, 0.0).split(splits));
        }
    }
    check_train(&Host::new(38, Shape::new(8, 5, 31, 29), Some(Unary::Relu), false, 1000.0).split(4));
}

/// What a training pass and its gradients wrote, to the bit, in the samples' order: y, dx, dresidual, statistics; then
/// vectors of channels; and by how many kernels.
fn bits(host: &Host, facts: &Facts) -> (Vec<Vec<f32>>, usize) {
    let mut case = Case::with_facts(gpu(), facts);
    let vector = Shape::matrix(1, host.shape.c);
    let statistics = Shape::matrix(host.sizes.splits, host.shape.c);
    let device = Device::new(&mut case, host);
    let running_mean = case.in_out("running mean", vector, &host.running_mean);
    let running_variance = case.in_out("running variance", vector, &host.running_variance);
    let (mean, inv_std) = (case.output("mean", statistics), case.output("inv_std", statistics));
    let forward = BatchNormTrain {
        x: device.x,
        gamma: device.gamma,
        beta: device.beta,
        running_mean,
        running_variance,
        residual: device.residual,
        activation: host.activation,
        y: device.y,
        mean,
        inv_std,
    };
    norm::batch_norm_train(&mut case.recording, &forward);
    norm::batch_norm_train_grad(&mut case.recording, &device.grad(host, mean, inv_std));
    let kernels = case.recording.dispatches().count();
    let done = case.run();
    let tensors = [Some(device.y), Some(device.dx), device.dresidual, Some(mean), Some(inv_std)];
    let vectors = [running_mean, running_variance, device.dgamma, device.dbeta].map(Some);
    (tensors.into_iter().chain(vectors).flatten().map(|tensor| done.packed(tensor)).collect(), kernels)
}

/// How many threads there are decides the number of launches, not the bits.
#[test]
fn one_launch_has_the_bits_of_three() {
    let facts = gpu().facts();
    assert!(facts.texture_kernels(), "this test needs a software adapter with subgroups of 8 or 4");
    let [one_thread, many_threads] = [1, usize::MAX].map(|threads| Facts { threads, ..facts.clone() });
    let expected = if facts.lanes() == 8 && facts.shared_memory { [2, 6] } else { [6, 6] };
    for (activation, residual) in FUSIONS {
        // Several segments of an image; of several images, the last share of fewer; one image; lines that are no multiple of eight; one channel.
        for shape in [
            Shape::new(3, 6, 64, 76),
            Shape::new(70, 16, 4, 4),
            Shape::new(1, 5, 12, 20),
            Shape::new(9, 9, 16, 5),
            Shape::new(2, 1, 8, 10),
        ] {
            let host = Host::new(11, shape, activation, residual, 40.0);
            let ((one, few), (three, many)) = (bits(&host, &one_thread), bits(&host, &many_threads));
            assert_eq!([few, many], expected, "{shape}: kernels");
            for (i, (one, three)) in one.iter().zip(&three).enumerate() {
                let to_bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
                assert_eq!(to_bits(one), to_bits(three), "{activation:?} {residual} {shape}, output {i}");
            }
        }
    }
    let odd = Host::new(11, Shape::new(4, 6, 6, 6), None, false, 0.0);
    let five_groups = Host::new(11, Shape::new(2, 20, 4, 4), None, false, 0.0);
    let kernels_of = |threads| bits(&five_groups, &Facts { threads, ..facts.clone() }).1;
    assert_eq!(
        [3, 4, 5, 6].map(kernels_of),
        [2, 6, 2, 2].map(|n| n.max(expected[0])),
        "how busy threads are"
    );
    assert_eq!(bits(&odd, &one_thread).1, 6, "36 texels of an image are no pairs of eight lanes");
}

#[test]
fn a_split_has_the_bits_of_plain_batch_norm_on_its_samples() {
    for (activation, residual) in FUSIONS {
        for (shape, splits) in
            [(Shape::new(6, 5, 7, 3), 3), (Shape::new(24, 16, 4, 4), 4), (Shape::matrix(32, 9), 2)]
        {
            let whole = Host::new(5, shape, activation, residual, 0.5).split(splits);
            let (split_bits, _) = bits(&whole, gpu().facts());
            for split in 0..splits {
                let sample = shape.c * shape.pixels();
                let of_split = |x: &[f64]| -> Vec<f64> {
                    x.chunks(sample).skip(split).step_by(splits).flatten().copied().collect()
                };
                let part_shape = Shape { n: shape.n / splits, ..shape };
                let part = Host {
                    x: of_split(&whole.x),
                    residual: whole.residual.as_deref().map(of_split),
                    dy: of_split(&whole.dy),
                    gamma: whole.gamma.clone(),
                    beta: whole.beta.clone(),
                    ..Host::new(5, part_shape, activation, residual, 0.5)
                };
                let (part_bits, _) = bits(&part, gpu().facts());
                // Vectors of channels are of all splits.
                let of_splits = split_bits.len() - 4;
                for (i, (whole, part)) in split_bits.iter().zip(part_bits).take(of_splits).enumerate() {
                    // Statistics have a row for each split, the others one for each sample.
                    let row = part.len() / if i + 2 < of_splits { part_shape.n } else { 1 };
                    let rows: Vec<f32> =
                        whole.chunks(row).skip(split).step_by(splits).flatten().copied().collect();
                    assert_eq!(rows, part, "{activation:?} {residual} {shape} split {split}, output {i}");
                }
            }
        }
    }
}

#[test]
fn one_split_runs_the_kernels_of_plain_batch_norm() {
    let host = Host::new(6, Shape::new(4, 5, 7, 3), Some(Unary::Relu), false, 0.0);
    let mut case = Case::new(gpu());
    let device = Device::new(&mut case, &host);
    let [running_mean, running_variance, mean, inv_std] =
        ["a", "b", "c", "d"].map(|label| case.output(label, Shape::matrix(1, 5)));
    let forward = BatchNormTrain {
        x: device.x,
        gamma: device.gamma,
        beta: device.beta,
        running_mean,
        running_variance,
        residual: None,
        activation: host.activation,
        y: device.y,
        mean,
        inv_std,
    };
    norm::batch_norm_train(&mut case.recording, &forward);
    norm::batch_norm_train_grad(&mut case.recording, &device.grad(&host, mean, inv_std));
    for dispatch in case.recording.dispatches() {
        assert!(!format!("{:?}", dispatch.defines).contains("SPLIT"), "{}", dispatch.shader);
    }
}

#[test]
fn evaluation_matches_its_twin_with_every_fusion() {
    for (activation, residual) in FUSIONS {
        for (seed, shape) in shapes(12) {
            check_eval(&Host::new(seed, shape, activation, residual, 0.0));
        }
    }
}

#[test]
fn a_large_mean_costs_no_variance() {
    // Single-pass sums of squares in f32 would lose the variance (about 1.3) beside 10⁶ entirely.
    for shape in [Shape::new(4, 5, 31, 29), Shape::matrix(300, 7), Shape::new(70, 3, 4, 4)] {
        check_train(&Host::new(21, shape, Some(Unary::Relu), false, 1000.0));
        check_train(&Host::new(22, shape, None, false, -1000.0));
    }
}

/// Whether the sum of two gradients is a pass of its own or not is a question of time alone.
#[test]
fn a_second_gradient_has_the_bits_of_a_sum_before() {
    // The first in one launch, with one thread.
    let mut classes = every_class(gpu());
    classes.extend([1, usize::MAX].map(|threads| Facts { threads, ..gpu().facts().clone() }));
    for (shape, facts) in [Shape::new(70, 6, 4, 4), Shape::new(3, 9, 7, 5)]
        .into_iter()
        .flat_map(|shape| classes.iter().map(move |facts| (shape, facts.clone())))
    {
        let results = |fused: bool, residual: bool| {
            let mut draw = Draw(7);
            let mut case = Case::with_facts(gpu(), &facts);
            let mut input = |case: &mut Case, label, shape: Shape| {
                let values: Vec<f64> = (0..shape.elements()).map(|_| draw.unit()).collect();
                case.input(label, shape, &values)
            };
            let [x, y, dy, second] = ["x", "y", "dy", "second"].map(|label| input(&mut case, label, shape));
            let vector = Shape::matrix(1, shape.c);
            let [gamma, beta, mean, spread] =
                ["gamma", "beta", "mean", "spread"].map(|label| input(&mut case, label, vector));
            let [dx, dresidual] = ["dx", "dresidual"].map(|label| case.output(label, shape));
            let [dgamma, dbeta] = ["dgamma", "dbeta"].map(|label| case.output(label, vector));
            let mut grad = BatchNormGrad {
                x,
                y,
                dy,
                dy_second: Some(second),
                gamma,
                beta,
                mean,
                spread,
                activation: Some(Unary::Relu),
                dx,
                dresidual: residual.then_some(dresidual),
                dgamma,
                dbeta,
            };
            if !fused {
                let sum = case.output("sum", shape);
                elementwise::add(&mut case.recording, dy, second, sum);
                grad = BatchNormGrad { dy: sum, dy_second: None, ..grad };
            }
            norm::batch_norm_train_grad(&mut case.recording, &grad);
            let done = case.run();
            [Some(dx), residual.then_some(dresidual), Some(dgamma), Some(dbeta)]
                .into_iter()
                .flatten()
                .map(|t| done.packed(t).iter().map(|v| v.to_bits()).collect())
                .collect::<Vec<Vec<u32>>>()
        };
        for residual in [true, false] {
            let fused = results(true, residual);
            assert!(fused.iter().all(|bits| bits.iter().any(|b| *b != 0)), "{shape}: nothing but zeros");
            assert_eq!(fused, results(false, residual), "{shape}, {:?}, residual {residual}", facts.class);
        }
    }
}

/// The kernels of a graph in which `uses` layers read the result of a batch norm with or without a residual and an
/// activation, and of the gradient of its γ.
fn shaders_of_uses(uses: usize, activation: Option<Unary>, residual: bool) -> Vec<&'static str> {
    let rows = Form::Tensor(Shape::matrix(8, 12));
    let vector = Form::Tensor(Shape::matrix(1, 12));
    let mut parameters = ParameterSet::default();
    let id = parameters.add("gamma".into(), vector, vec![12], Init::Ones, Role::Trained);
    let mut graph = Graph::new();
    let mut recording = Recording::new(gpu().facts());
    let mut memory = Memory::default();
    let mut input = |name: &str, form: Form| {
        memory.inputs.insert(name.into(), recording.transient(name, form.bytes()));
        graph.input(name, form)
    };
    let (x, other) = (input("x", rows), input("residual", rows));
    let vectors = ["beta", "mean", "variance"].map(|name| input(name, vector));
    let gamma = graph.parameter(id, parameters.get(id));
    let inputs: Vec<Value> = [x, gamma].into_iter().chain(vectors).chain(residual.then_some(other)).collect();
    let y = graph.apply(ops::BatchNormTrain { activation, splits: 1 }, &inputs).expect("fits")[0];
    let mut sum = graph.apply1(ops::Scale(0.5), &[y]).expect("fits");
    for layer in 1..uses {
        let used = graph.apply1(ops::Scale(1.0 + layer as f32), &[y]).expect("fits");
        sum = graph.apply1(ops::Add, &[sum, used]).expect("fits");
    }
    let loss = graph.apply1(ops::NtXent { temperature: 0.5 }, &[sum]).expect("fits");
    let gradients = graph.backward(loss).expect("differentiable");
    memory.values.insert(gamma, recording.transient("gamma", vector.bytes()));
    memory.values.insert(gradients[0].1, recording.transient("gradient", vector.bytes()));
    graph.record(&mut recording, &memory).expect("has memory");
    recording.dispatches().map(|dispatch| dispatch.shader).collect()
}

#[test]
fn what_two_layers_pass_back_is_summed_by_the_batch_norm_before_them() {
    // Without those of the forward pass.
    let sums = |uses, activation, residual| {
        let shaders = shaders_of_uses(uses, activation, residual);
        assert!(shaders.contains(&"norm/batch_norm_grad_partials"), "{shaders:?}");
        shaders.iter().filter(|shader| **shader == "elementwise/binary").count() - (uses - 1)
    };
    assert_eq!(sums(2, Some(Unary::Relu), true), 0);
    assert_eq!(sums(3, Some(Unary::Relu), true), 1, "the last of two sums");
    assert_eq!(sums(2, None, true), 1, "the residual's gradient is the sum");
    assert_eq!(sums(2, Some(Unary::Relu), false), 0);
}

#[test]
fn one_value_a_channel_is_an_error_that_says_so() {
    let message = norm::check_batch_norm(Shape::matrix(1, 8), 1).unwrap_err().to_string();
    assert!(message.contains("[1, 8]") && message.contains("at least 2"), "{message}");
    assert!(norm::check_batch_norm(Shape::new(1, 8, 1, 2), 1).is_ok());
    assert!(norm::check_batch_norm(Shape::matrix(4, 8), 4).is_err(), "one value for each split");
    assert!(norm::check_batch_norm(Shape::matrix(8, 8), 4).is_ok());
    for splits in [0, 3] {
        let message = norm::check_batch_norm(Shape::new(8, 4, 2, 2), splits).unwrap_err().to_string();
        assert!(message.contains("8 images") && message.contains(&format!("{splits} splits")), "{message}");
    }
}
